"""Lesions outlined by polygon or mask, and answers that stand where none is read."""

import base64
import io
import json
from collections import Counter
from hashlib import sha256

import exports
import numpy as np
import pytest
from exports import box, label, radio, row
from PIL import Image

from toolkit.cases import Box
from toolkit.errors import PhotographError
from toolkit.labelbox_json.outlines import address_digest
from toolkit.manifest import load_study
from toolkit.photographs.masks import Size, extent_of_png, extent_of_runs
from toolkit.stages.parse import parse
from toolkit.workspace.landed import PHOTOGRAPH_INDEX

SIZE = Size(200, 100)
TRIANGLE = [{"x": 10, "y": 20}, {"x": 50, "y": 30}, {"x": 30, "y": 80}, {"x": 10, "y": 20}]
OF_TRIANGLE = Box(10, 20, 40, 60)
COLOR = [200, 30, 60]
LESION = (slice(20, 80), slice(10, 50))
"""The rows and the columns of OF_TRIANGLE."""


def outline(object_id, *answers, name="lesion_roi", kind="ImagePolygon", **geometry):
    nested = [radio(answer) for answer in answers]
    return {
        "feature_id": object_id,
        "name": name,
        "value": name,
        "annotation_kind": kind,
        "classifications": nested,
    } | (geometry or {"polygon": TRIANGLE})


def mask(object_id, *answers, **written):
    return outline(object_id, *answers, kind="ImageSegmentationMask", **(written or {"mask": {"url": link(object_id)}}))


def link(object_id):
    return f"https://api.labelbox.com/masks/{object_id}?token=SECRET"


def png(array, mode=None):
    buffer = io.BytesIO()
    Image.fromarray(array, mode).save(buffer, "PNG") if mode is None else array.save(buffer, "PNG")
    return buffer.getvalue()


def drawn(*shape, value=255, size=SIZE):
    """Return the pixels of a mask whose lesion is OF_TRIANGLE."""
    pixels = np.zeros((size.height, size.width, *shape), np.uint8)
    pixels[LESION] = value
    return pixels


def of_two_objects():
    """Return a composite mask: OF_TRIANGLE in COLOR, all else in another object's colour."""
    pixels = np.full((SIZE.height, SIZE.width, 3), 8, np.uint8)
    pixels[LESION] = COLOR
    return pixels


def cases_of(workspace):
    rows = workspace.rows(
        "select image_id, class_name, resolved_by, roi_left, roi_top, roi_width, roi_height "
        "from cases left join truth using (case_id) order by all"
    )
    found = {}
    for r in rows:
        roi = None if r["roi_left"] is None else Box(*(r[f"roi_{side}"] for side in Box._fields))
        found.setdefault(r["image_id"], []).append((r["class_name"] or r["resolved_by"], roi))
    return found


def issues_of(workspace):
    rows = workspace.rows("select image_id, level, reason, detail from ingest_issues order by all")
    return [(r["image_id"], r["level"], r["reason"]) for r in rows], " ".join(r["detail"] for r in rows)


def put_mask(workspace, object_id, content, *, name=None):
    """Put a file where `pull` puts a fetched mask."""
    folder = workspace.folder / "masks"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / (name or object_id)).write_bytes(content)
    record = {"name": name or object_id, "address": address_digest(link(object_id)), "bytes": len(content)}
    with (folder / PHOTOGRAPH_INDEX).open("a") as file:
        file.write(json.dumps(record | {"sha256": sha256(content).hexdigest()}) + "\n")


def test_a_polygons_extent_is_the_roi_and_its_nested_answer_the_class(parsed):
    workspace = parsed(
        row("i1", label("L1", boxes=[outline("p1", "nevus")])),
        row("i2", label("L2", "melasma", boxes=[outline("p2")]), patient="P-2"),
        row("i3", label("L3", boxes=[outline("p3", name="nevus", polygon=[TRIANGLE])]), patient="P-3"),
    )

    assert {
        "i1": [("nevus", OF_TRIANGLE)],
        "i2": [("melasma", OF_TRIANGLE)],
        "i3": [("nevus", OF_TRIANGLE)],
    } == cases_of(workspace)
    assert ([], "") == issues_of(workspace)


def test_a_polygon_and_the_box_of_another_reader_are_matched_like_boxes(parsed):
    near = box("b1", 12, 22, 40, 60, "melasma")
    workspace = parsed(row("i1", label("L1", boxes=[outline("p1", "nevus")]), label("L2", boxes=[near], by="r2")))

    assert {"i1": [("tie", Box(11, 21, 40, 60))]} == cases_of(workspace)


def test_a_box_and_the_outline_within_it_are_one_lesion_of_one_reader(parsed):
    around = box("b1", 10, 20, 40, 60)
    workspace = parsed(
        row("i1", label("L1", boxes=[around, outline("p1", "nevus")])),
        row("i2", label("L2", boxes=[box("b2", 10, 20, 40, 60, "nevus"), outline("p2", "melasma")]), patient="P-2"),
        row("i3", label("L3", boxes=[box("b3", 10, 20, 40, 60, "nevus"), mask("m3")]), patient="P-3"),
    )

    assert {"i1": [("nevus", OF_TRIANGLE)], "i3": [("nevus", OF_TRIANGLE)]} == cases_of(workspace)
    assert [("i2", "case", "ambiguous_label")] == issues_of(workspace)[0]


WITHOUT_EXTENT = [
    *([], [{"x": 1, "y": 1}, {"x": 1, "y": 9}], "what?", [{"x": "1", "y": 2}], [None], {}, [[1, 2], [3, 4], [5, 0]])
]


def rows_of(labels):
    """Rows of photographs i0, i1, … of a patient each: what is told of one does not depend on the others."""
    return [row(f"i{n}", one, patient=f"P-{n}") for n, one in enumerate(labels)]


def test_a_polygon_without_an_extent_leaves_the_answer_and_says_so(parsed):
    drawn = [label(f"L{n}", boxes=[outline(f"p{n}", "nevus", polygon=p)]) for n, p in enumerate(WITHOUT_EXTENT)]
    workspace = parsed(*rows_of(drawn))
    issues, details = issues_of(workspace)

    assert {f"i{n}": [("nevus", None)] for n in range(len(drawn))} == cases_of(workspace)
    assert [(f"i{n}", "warning", "roi_missing") for n in range(len(drawn))] == issues
    assert len(drawn) == details.count("its answer counts, without ROI")


def test_a_mask_without_its_pixels_leaves_the_answer_and_says_so(parsed):
    workspace = parsed(row("i1", label("L1", boxes=[mask("m1", "melasma")])))

    assert {"i1": [("melasma", None)]} == cases_of(workspace)
    assert [("i1", "warning", "roi_missing")] == issues_of(workspace)[0]


@pytest.mark.soak
def test_single_masks_without_pixels_are_one_lesion_whoever_drew_them(parsed):
    second = label("L2", boxes=[mask("m2", "nevus")], by="r2@x.org", day=2)
    third = label("L3", boxes=[box("b3", 9, 9, 30, 30, "nevus")], by="r3@x.org", day=3)
    workspace = parsed(row("i1", label("L1", boxes=[mask("m1", "melasma")]), second, third))

    assert {"i1": [("nevus", Box(9, 9, 30, 30))]} == cases_of(workspace)
    assert [3] == [r["readings"] for r in workspace.rows("from truth")]


@pytest.mark.soak
def test_several_masks_without_pixels_are_kept_out_since_nobody_knows_which_is_which(parsed):
    workspace = parsed(row("i1", label("L1", boxes=[mask("m1", "melasma"), mask("m2", "nevus")])))

    assert {} == cases_of(workspace)
    assert [("i1", "case", "roi_missing")] * 2 == issues_of(workspace)[0]
    assert "the photograph has 2 lesions" in issues_of(workspace)[1]


RUNS = [10 * 100 + 20, *[60, 40] * 39, 60, 20 + 150 * 100]
WRITTEN = {
    "grey PNG": {"mask": {"png": base64.b64encode(png(drawn())).decode()}},
    "a data URL": {"mask": {"url": "data:image/png;base64," + base64.b64encode(png(drawn(3))).decode()}},
    "transparent elsewhere": {
        "mask": {"instanceURI": "data:image/png;base64," + base64.b64encode(png(drawn(4))).decode()}
    },
    "one colour of a composite mask": {
        "composite_mask": {
            "url": "data:image/png;base64," + base64.b64encode(png(of_two_objects())).decode(),
            "color_rgb": COLOR,
        }
    },
    "runs": {"mask": {"counts": RUNS, "size": [100, 200]}},
    "runs in rle": {"mask": {"rle": {"counts": RUNS, "size": [100, 200]}}},
    "bare runs": {"mask": {"rle": RUNS}},
}


def test_a_mask_that_stands_in_the_export_is_decoded(parsed):
    labels = [label(f"L{n}", boxes=[mask(f"m{n}", "nevus", **each)]) for n, each in enumerate(WRITTEN.values())]
    workspace = parsed(*rows_of(labels))

    found = cases_of(workspace)
    for number, written in enumerate(WRITTEN):
        assert [("nevus", OF_TRIANGLE)] == found[f"i{number}"], written
    assert ([], "") == issues_of(workspace)


UNDECODABLE = [
    ({"png": "?"}, "no Base64"),
    ({"png": base64.b64encode(b"GIF89a").decode()}, "no PNG that can be decoded"),
    ({"png": base64.b64encode(png(drawn(value=0))).decode()}, "marks no pixel"),
    ({"png": base64.b64encode(png(drawn(size=Size(90, 90)))).decode()}, "90 x 90, the photograph 200 x 100"),
    ({"rle": [1, 2, 3]}, "do not fill 200 x 100 pixels"),
    ({"counts": [20_000], "size": [100, 200]}, "marks no pixel"),
    ({"counts": [20_000], "size": [200, 100]}, "100 x 200, the photograph 200 x 100"),
    ({"counts": [-1, 20_001], "size": [100, 200]}, "do not fill"),
    ({"counts": "~~~~~~~~~~~~~", "size": [100, 200]}, "cannot be read"),
    ({}, "no geometry of it that can be read"),
]


def test_a_mask_that_cannot_be_decoded_leaves_the_answer_and_says_why(parsed):
    labels = [label(f"L{n}", boxes=[mask(f"m{n}", "nevus", mask=each)]) for n, (each, _) in enumerate(UNDECODABLE)]
    workspace = parsed(*rows_of(labels), row("other", patient="P-other"))
    rows = workspace.rows(
        "select image_id, detail from ingest_issues where (level, reason) = ('warning', 'roi_missing')"
    )
    details = {row["image_id"]: row["detail"] for row in rows}

    for number, (written, told) in enumerate(UNDECODABLE):
        assert told in details[f"i{number}"], written


def test_runs_as_text_are_those_of_coco():
    """The runs and their text as pycocotools writes them."""
    assert extent_of_runs([6, 1, 40, 4, 5, 4, 5, 4, 21], Size(9, 10)) == extent_of_runs(_as_text(), Size(9, 10))
    with pytest.raises(PhotographError):
        extent_of_runs(_as_text()[:-1], Size(9, 10))


def _as_text():
    """Return the runs of `maskApi.c`'s header (6 1 40 4 5 4 5 4 21) by its own rule, written out anew."""
    written, runs = "", [6, 1, 40, 4, 5, 4, 5, 4, 21]
    for number, run in enumerate(runs):
        value, more = run - runs[number - 2] if number > 2 else run, True
        while more:
            bits = value & 31
            value >>= 5
            more = value != -1 if bits & 16 else value != 0
            written += chr((bits | 32 if more else bits) + 48)
    assert "61X13mN000`0" == written  # as the header has it
    return written


def test_a_run_over_two_columns_touches_both_edges():
    assert Box(0, 0, 2, 5) == extent_of_runs([4, 2, 4], Size(2, 5))
    assert Box(1, 1, 1, 2) == extent_of_runs([6, 2, 2], Size(2, 5))


def test_palette_and_sixteen_bit_masks_are_read():
    palette = Image.fromarray(drawn(value=1), "P")
    palette.putpalette([0, 0, 0, 255, 0, 0])

    assert OF_TRIANGLE == extent_of_png(png(palette, "P"), SIZE)
    assert OF_TRIANGLE == extent_of_png(png(drawn().astype(np.uint16)), SIZE)
    assert OF_TRIANGLE == extent_of_png(png(Image.fromarray(drawn() > 0), "1"), SIZE)


def test_masks_that_were_fetched_give_the_roi(workspace, study, key, tmp_path):
    composite = {"url": link("m2"), "color_rgb": COLOR}
    rows = [
        row("i1", label("L1", boxes=[mask("m1", "nevus")])),
        row(
            "i2",
            label(
                "L2",
                boxes=[
                    mask("m2", "melasma", composite_mask={**composite, "color_rgb": [1, 1, 1]}),
                    mask("m3", "nevus", composite_mask=composite),
                ],
            ),
            patient="P-2",
        ),
    ]
    both = drawn(3, value=COLOR)
    both[:10, :10] = 1
    put_mask(workspace, "m1", png(drawn()))
    put_mask(workspace, "m2", png(both))
    parse(workspace, study, key, [exports.write(tmp_path / "e.ndjson", rows)])

    assert {"i1": [("nevus", OF_TRIANGLE)], "i2": [("melasma", Box(0, 0, 10, 10)), ("nevus", OF_TRIANGLE)]} == cases_of(
        workspace
    )
    (workspace.folder / "masks" / "m1").write_bytes(png(drawn(value=0)))
    parse(workspace, study, key, [])

    assert [("nevus", None)] == cases_of(workspace)["i1"]
    assert "was changed since it was fetched" in issues_of(workspace)[1]


@pytest.mark.soak
def test_polygons_of_2018_have_no_roi_since_their_y_counts_from_the_bottom(parsed):
    entry = {
        "ID": "L1",
        "DataRow ID": "d1",
        "External ID": "a.jpg",
        "Project Name": "pigmented-lesions",
        "Created By": "r@example.org",
        "Label": {"nevus": [TRIANGLE]},
        "DataRow Metadata": [{"schemaName": "patient_id", "value": "P-1"}],
    }
    workspace = parsed(entry)

    assert {"d1": [("nevus", None)]} == cases_of(workspace)
    assert "y counts from the bottom" in issues_of(workspace)[1]


ELSEWHERE = {
    "ImagePolyline": [outline("x", "nevus", kind="ImagePolyline", line=TRIANGLE)],
    "ImagePoint": [outline("x", name="nevus", kind="ImagePoint", point=TRIANGLE[0])],
    "ImageBoundingBox": [box("x", 1, 1, 9, 9, "nevus", name="something")],
    "an object without geometry": [outline("x", "nevus", kind=None, line=None)],
}


def test_an_answer_that_is_stored_but_not_read_has_a_reason_of_its_own(parsed):
    labels = [label(f"L{n}", boxes=boxes) for n, boxes in enumerate(ELSEWHERE.values())]
    workspace = parsed(*rows_of(labels), row("other", label("L-other"), patient="P-other"))
    details = workspace.rows("select detail from ingest_issues order by image_id")

    read = {f"i{n}": [("answer_elsewhere", None)] for n in range(len(labels))} | {"other": [("no_answer", None)]}
    assert read == cases_of(workspace)
    assert [(f"i{n}", "warning", "answer_elsewhere") for n in range(len(labels))] == issues_of(workspace)[0]
    assert [f"label L{n}: its answer is not read: {place}" for n, place in enumerate(ELSEWHERE)] == [
        row["detail"] for row in details
    ]


ANSWERED = [
    ({"text_answer": {"content": "nevus"}}, "a text answer"),
    ({"radio_answers": [{"name": "nevus"}]}, "an answer of a shape that is not known"),
    ({"text_answer": {"content": " "}}, None),
    ({"checklist_answers": []}, None),
    ({"radio_answer": None}, None),
]


@pytest.mark.soak
def test_an_answer_in_words_or_of_a_new_shape_is_told(parsed):
    labels = [label(f"L{n}") for n in range(len(ANSWERED))]
    for one, (answered, _) in zip(labels, ANSWERED, strict=True):
        one["annotations"]["classifications"] = [{"name": "diagnosis", "value": "diagnosis", **answered}]
    workspace = parsed(*rows_of(labels))

    assert {
        f"i{n}": [("answer_elsewhere" if place else "no_answer", None)] for n, (_, place) in enumerate(ANSWERED)
    } == cases_of(workspace)
    assert [f"label L{n}: its answer is not read: {place}" for n, (_, place) in enumerate(ANSWERED) if place] == [
        row["detail"] for row in workspace.rows("select detail from ingest_issues order by image_id")
    ]


def test_one_answer_for_several_lesions_is_not_no_answer(parsed):
    workspace = parsed(row("i1", label("L1", "nevus", boxes=[box("a", 1, 1, 20, 20), box("b", 90, 50, 20, 20)])))

    assert {"i1": [("answer_elsewhere", Box(1, 1, 20, 20)), ("answer_elsewhere", Box(90, 50, 20, 20))]} == cases_of(
        workspace
    )


def test_another_class_about_the_photograph_than_in_the_box_is_a_finding(parsed):
    drawn = box("b", 9, 9, 30, 30, "nevus")
    workspace = parsed(
        row("i1", label("L1", "melasma", boxes=[drawn])), row("i2", label("L2", "nevus", boxes=[drawn]), patient="P-2")
    )

    assert [("contradiction", "label L1: nevus in the box, melasma about the photograph")] == [
        (r["kind"], r["detail"]) for r in workspace.rows("from findings")
    ]
    assert {"i1", "i2"} == set(cases_of(workspace))


def test_the_public_case_of_polygons_and_levels_ends_as_it_says(shared, workspace, key):
    folder = shared / "public_cases" / "06_polygon_and_levels"
    study = load_study(folder / "study.toml")
    parse(workspace, study, key, [folder / "export.ndjson"], images=folder / "images")
    found, (issues, details) = cases_of(workspace), issues_of(workspace)

    assert [("nevus", Box(10, 10, 30, 40))] == found["dr0000"]
    assert [("melanoma", None)] == found["dr0001"]
    assert ("dr0001", "warning", "roi_missing") in issues
    assert [("dr0004", "contradiction")] == [
        (r["image_id"], r["kind"])
        for r in workspace.rows("select image_id, kind from findings inner join cases using (case_id)")
    ]
    assert {"dr0005", "dr0006"} == {image for image, _, reason in issues if reason == "ambiguous_label"}
    assert [("answer_elsewhere", None)] == found["dr0007"]
    assert "lb0007: its answer is not read: a text answer" in details
    assert Counter(nevus=5, melanoma=1, answer_elsewhere=2, no_answer=1) == Counter(
        name for cases in found.values() for name, _ in cases
    )
