"""Rows as they should not be: control characters, nulls, other media, contents where nothing is read, links twice."""

import copy
import json
from collections import Counter

import exports
import pytest
from exports import box, label, radio, row

from toolkit.labelbox_json.reader import RawRow
from toolkit.labelbox_json.rows import RowReader
from toolkit.stages.parse import parse


def rich(of=""):
    """Return a row with a text at every position of the format; its identifiers end with `of`."""
    mask = {
        "feature_id": f"m{of}",
        "name": "mask",
        "annotation_kind": "ImageSegmentationMask",
        "mask": {"url": "https://x/m"},
    }
    link = {
        "unidirectional_relationship": {"source": f"b{of}", "target": f"m{of}"},
        "feature_id": f"r{of}",
        "name": "part of",
    }
    drawn = [box(f"b{of}", 9, 9, 50, 50, "nevus"), mask]
    one = label(f"L1{of}", "nevus", boxes=drawn, relationships=[link])
    one["annotations"]["classifications"] += [
        {"name": "seen", "value": "seen", "checklist_answers": [{"name": "hair", "value": "hair"}]},
        {"name": "note", "value": "note", "text_answer": {"content": "as before"}},
        radio("sure", question="certainty", nested=[radio("very", question="how")]),
    ]
    one["label_details"]["reviews"] = [{"reviewed_by": "a@example.org"}]
    one["performance_details"]["benchmark_reference_label"] = f"L1{of}"
    made = row(f"i1{of}", one)
    made["attachments"] = [{"type": "RAW_TEXT", "value": "text", "name": "note"}]
    made["embeddings"] = [{"id": "e", "name": "clip", "dimensions": 1, "values": [{"value": [1.0]}]}]
    made["experiments"] = {
        "model-1": {"name": "m", "runs": {"run-1": {"name": "r", "split": "TEST", "predictions": []}}}
    }
    made["projects"]["project-1"]["project_tags"] = ["pilot"]
    return made


def positions(value, *, of, path=()):
    """Yield the paths of the values of a type, and of keys where the type is `key`."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if of == "key":
                yield (*path, name)
            yield from positions(inner, of=of, path=(*path, name))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from positions(inner, of=of, path=(*path, number))
    if of != "key" and isinstance(value, of) and path:
        yield path


def changed(document, path, change):
    """Return a copy of a document in which the value at a path is another."""
    made = copy.deepcopy(document)
    held = made
    for step in path[:-1]:
        held = held[step]
    held[path[-1]] = change(held[path[-1]])
    return made


def renamed(document, path, name):
    made = copy.deepcopy(document)
    held = made
    for step in path[:-1]:
        held = held[step]
    held[name] = held.pop(path[-1])
    return made


def read(study, key, document):
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    return RowReader(study, key).read(RawRow(1, 1, 0, text))


def conserved(workspace):
    found = workspace.rows("select noun, read, stored, quarantined from conservation")
    return {r["noun"]: (r["read"], r["stored"], r["quarantined"]) for r in found}


CONTROLS = ["\0", "\x01", "\b", "\x0b", "\f", "\x1b", "\x7f", "\x80", "\x92", "\x9b"]
TEXTS = list(positions(rich(), of=str))


@pytest.mark.soak_after(2)
@pytest.mark.parametrize("ascii_only", [True, False], ids=["escaped", "as it is"])
@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: f"U+{ord(control):04X}")
def test_a_control_character_in_any_text_or_key_keeps_its_row_out(study, key, control, ascii_only):
    for path in TEXTS:
        for made in (f"{{}}{control}", f"{control}{{}}"):
            document = changed(rich(), path, made.format)
            taken = read(study, key, json.dumps(document, ensure_ascii=ascii_only).encode())

            assert "control_char" == taken.reason, path
            assert f"holds U+{ord(control):04X}" in taken.detail, path
    for path in positions(rich(), of="key"):
        document = renamed(rich(), path, f"{path[-1]}{control}")

        assert "control_char" == read(study, key, json.dumps(document, ensure_ascii=ascii_only).encode()).reason, path


def test_white_space_may_stand_in_any_text(study, key):
    times = [path for path in TEXTS if str(path[-1]).endswith("_at")]
    for path in set(TEXTS) - set(times):
        document = changed(rich(), path, "a\t{} \r\n\x85".format)

        assert read(study, key, document).reason in (None, "unsupported_annotation_kind"), path


def test_the_detail_of_a_control_character_names_its_place_and_no_id(study, key):
    document = rich()
    document["projects"]["project-1"]["name"] = "skin\0"

    assert "projects.*.name holds U+0000" == read(study, key, document).detail


CONTAINERS = [*positions(rich(), of=dict), *positions(rich(), of=list)]


def test_nulls_may_stand_where_objects_and_lists_may(workspace, study, key, tmp_path):
    documents = [changed(rich(f"-{n}"), path, lambda _: None) for n, path in enumerate(CONTAINERS)]
    parse(workspace, study, key, [exports.write(tmp_path / "e.ndjson", [*documents, row("i2", patient="P-2")])])
    found = workspace.rows("select reason, line from ingest_issues where level = 'row'")

    assert [("schema_type:data_row", 1 + CONTAINERS.index(("data_row",)))] == [(r["reason"], r["line"]) for r in found]
    assert all(read == stored + quarantined for read, stored, quarantined in conserved(workspace).values())


@pytest.mark.soak
@pytest.mark.parametrize("path", CONTAINERS, ids=lambda path: ".".join(map(str, path)))
def test_null_may_stand_where_an_object_or_a_list_may(workspace, study, key, tmp_path, path):
    document = changed(rich(), path, lambda _: None)
    parse(workspace, study, key, [exports.write(tmp_path / "e.ndjson", [document, row("i2", patient="P-2")])])
    reasons = [r["reason"] for r in workspace.rows("from ingest_issues where level = 'row'")]

    assert ([] if path != ("data_row",) else ["schema_type:data_row"]) == reasons
    assert all(read == stored + quarantined for read, stored, quarantined in conserved(workspace).values())


def test_a_null_among_the_objects_of_a_list_is_none(parsed):
    one = label("L1", "nevus", boxes=[box("b", 9, 9, 50, 50)])
    one["annotations"]["objects"].append(None)
    one["annotations"]["classifications"].append(None)
    made = row("i1", one, None)
    made["metadata_fields"].append(None)
    workspace = parsed(made)

    assert {"label": (1, 1, 0), "object": (1, 1, 0), "answer": (1, 1, 0)} == {
        noun: conserved(workspace)[noun] for noun in ("label", "object", "answer")
    }
    assert [] == workspace.rows("from ingest_issues")


def entry(**more):
    return {
        "ID": "L1",
        "DataRow ID": "d1",
        "Labeled Data": "https://storage.example.org/d1.jpg",
        "Label": {"diagnosis": "nevus"},
        "Created By": "r@example.org",
        "Project Name": "pigmented-lesions",
        "External ID": "d1.jpg",
        "Seconds to Label": "12.5",
        "Agreement": "",
        "Benchmark Agreement": "",
        "Benchmark ID": "",
        "DataRow Metadata": [{"schemaName": "patient_id", "value": "P-1"}],
        **more,
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, "") for name in ("Agreement", "Seconds to Label", "Created At", "Updated At", "Skipped", "Label")),
        *((name, "") for name in ("Media Attributes", "Reviews", "Global Key", "View Label", "Dataset Name", "Masks")),
        ("Agreement", "0.75"),
        ("Benchmark Agreement", "-1"),
    ],
)
def test_an_empty_text_of_the_oldest_form_is_nothing(study, key, name, value):
    taken = read(study, key, entry(**{name: value}))

    assert taken.reason is None
    assert (0.75 if value == "0.75" else None) == taken.records["labels"][0].consensus_score
    assert None is taken.records["labels"][0].benchmark_score


def video_row(image_id="v1", **media):
    """Return a row of a video as Labelbox exports it: objects and answers in frames."""
    drawn = {"feature_id": "o1", "name": "lesion_roi", "annotation_kind": "VideoBoundingBox"}
    drawn |= {"bounding_box": {"top": 1, "left": 1, "height": 9, "width": 9}, "classifications": [radio("nevus")]}
    frame = {"objects": {"o1": drawn}, "classifications": [radio("melasma")], "relationships": []}
    made = row(image_id, label(f"L-{image_id}", "nevus"))
    made["projects"]["project-1"]["labels"][0]["annotations"] = {
        "frames": {"1": frame, "2": frame},
        "segments": {"o1": [[1, 2]]},
        "key_frame_feature_map": {"o1": [1]},
        "classifications": [radio("nevus")],
    }
    made["media_attributes"] = {"frame_rate": 25, **media}
    return made


def with_kind(kind):
    made = row("t1", label("L-t1", "nevus"))
    made["projects"]["project-1"]["labels"][0]["annotations"]["objects"] = [
        {"name": "word", "annotation_kind": kind, "location": {"start": 1, "end": 2}}
    ]
    del made["media_attributes"]
    return made


OTHERS = {
    "a video": (video_row(asset_type="video", mime_type="video/mp4"), "video"),
    "a video by its type": (video_row(mime_type="video/mp4"), "video"),
    "a video by its frames": (video_row(), "video"),
    "capital letters": (video_row(asset_type="VIDEO"), "video"),
    "a text": (
        row("t1", label("L1", "nevus"), size=(1, 1)) | {"media_attributes": {"mime_type": "text/plain"}},
        "text",
    ),
    "a web page": (row("t1") | {"media_attributes": {"mime_type": "text/html; charset=utf-8"}}, "html"),
    "a document": (row("t1") | {"media_attributes": {"mime_type": "application/pdf"}}, "document"),
    "a conversation": (
        row("t1") | {"media_attributes": {"mime_type": "application/vnd.labelbox.conversational"}},
        "conversational",
    ),
    "tiles": (row("t1") | {"media_attributes": {"asset_type": "Tiled Imagery <b>"}}, "tiled_imagery_b"),
    "a text by its objects": (with_kind("TextEntity"), "text"),
    "a legacy video": (entry(Label={"frames": "https://api.labelbox.com/v1/frames/x"}), "video"),
    "a legacy text": (entry(**{"Media Attributes": {"mimeType": "text/plain"}}), "text"),
}


@pytest.mark.parametrize(("made", "medium"), OTHERS.values(), ids=OTHERS)
def test_a_row_of_another_medium_is_told_by_its_type(study, key, made, medium):
    assert f"unsupported_media:{medium}" == read(study, key, made).reason


@pytest.mark.parametrize(
    "media",
    [
        {"mime_type": "image/png"},
        {"mime_type": "application/octet-stream"},
        {"asset_type": "IMAGE"},
        {"asset_type": "", "mime_type": None},
        {"asset_type": 7, "mime_type": []},
    ],
)
def test_a_row_that_may_be_a_photograph_is_read(study, key, media):
    assert None is read(study, key, row("i1") | {"media_attributes": media}).reason


def test_what_stands_in_the_frames_of_a_video_is_counted_as_read_and_quarantined(parsed):
    workspace = parsed(video_row(asset_type="video"), row("i2", label("L2", "nevus")))

    assert {"row": (2, 1, 1), "label": (2, 1, 1), "object": (2, 0, 2), "answer": (6, 1, 5)} == {
        noun: conserved(workspace)[noun] for noun in ("row", "label", "object", "answer")
    }
    assert ["unsupported_media:video"] == [r["reason"] for r in workspace.rows("from ingest_issues")]


def test_what_stands_where_nothing_is_read_is_counted_and_told(parsed):
    made = row("i1", label("L1", "nevus"))
    made["media_attributes"]["asset_type"] = "image"
    made["projects"]["project-1"]["labels"][0]["annotations"]["frames"] = {"1": {"objects": {"x": {"name": "a"}}}}
    made["projects"]["project-1"]["labels"][0]["next"] = [[{"radio_answer": {"name": "nevus"}}]]
    made["metadata_fields"].append({"schema_name": "free", "value": {"labels": [{}], "objects": [{}]}})
    workspace = parsed(made)

    assert {"row": (1, 1, 0), "label": (1, 1, 0), "object": (1, 0, 1), "answer": (2, 1, 1)} == {
        noun: conserved(workspace)[noun] for noun in ("row", "label", "object", "answer")
    }
    assert {("object", "unread_content")} == {(r["level"], r["reason"]) for r in workspace.rows("from ingest_issues")}
    assert (
        "1 answer, 1 object where nothing is read: projects.*.labels.annotations.frames, projects.*.labels.next"
        == (workspace.rows("from ingest_issues")[0]["detail"])
    )


def related(feature_id, source, target, name="part of"):
    link = {"name": name, "unidirectional_relationship": {"source": source, "target": target}}
    return link | ({"feature_id": feature_id} if feature_id else {})


RELATED = [
    ([related("r", "a", "b")], [related("r", "a", "b")], 1),
    ([related("r", "a", "b")], [related(None, "a", "b")], 1),
    ([related("r", "a", "b")], [related("s", "b", "a")], 2),
    ([related("r", "a", "b")], [related("r", "a", "b"), related("s", "a", "b")], 2),
    ([related("r", "a", "b"), related("s", "a", "b")], [related("s", "a", "b"), related("r", "a", "b")], 2),
    ([], [related(None, "a", "b"), related(None, "a", "b")], 2),
]


@pytest.mark.soak_after(1)
@pytest.mark.parametrize(("among_objects", "of_their_own", "times"), RELATED)
def test_a_relationship_that_stands_in_two_places_is_one(parsed, among_objects, of_their_own, times):
    workspace = parsed(row("i1", label("L1", boxes=among_objects, relationships=of_their_own)))

    assert (times, times, 0) == conserved(workspace)["relationship"]
    assert times == len(workspace.rows("from relationships"))


def test_relationships_of_a_legacy_entry_are_stored_once(parsed):
    link = {"title": "part of", "unidirectional_relationship": {"source": "a", "target": "b"}}
    workspace = parsed(entry(Label={"objects": [link], "relationships": [link], "classifications": []}))

    assert (1, 1, 0) == conserved(workspace)["relationship"]


def test_an_answer_on_a_relationship_is_counted_and_told_not_read_as_the_photographs(parsed):
    link = related("r", "a", "b") | {"classifications": [radio("nevus")]}
    workspace = parsed(
        row("i1", label("L1", boxes=[link])), row("i2", label("L2", relationships=[link]), patient="P-2")
    )

    assert (2, 0, 2) == conserved(workspace)["answer"]
    assert Counter(no_answer=2) == Counter(r["unread"] for r in workspace.rows("from cases"))
    assert ["unread_content"] * 2 == [r["reason"] for r in workspace.rows("from ingest_issues")]


def steps(workspace, table):
    return [tuple(r.values()) for r in workspace.rows(f"select * from {table} order by all")]


def test_reviews_of_both_versions_and_the_workflow_are_stored(parsed, key):
    reviewer = key.pseudonym("a", "rev@example.org")
    one = label("L1", "nevus")
    one["label_details"]["reviews"] = [
        {"reviewed_at": "2025-03-02T10:00:00.000+02:00", "reviewed_by": "Rev@example.org"},
        {"score": -1, "created_by": {"email": "rev@example.org"}},
    ]
    made = row("i1", one)
    made["projects"]["project-1"]["project_details"]["workflow_history"] = [
        {"action": "Approve", "created_at": "2025-03-03T10:00:00Z", "created_by": "rev@example.org"},
        {
            "action": "Move",
            "previous_task_name": "Label",
            "next_task_name": "Review",
            "created_at": "?",
            "created_by": 7,
        },
    ]
    old = entry(
        Reviews=[{"id": "r1", "score": 1, "createdAt": "2021-07-13T21:19:39.000Z", "createdBy": "rev@example.org"}],
        **{"Has Open Issues": 1, "ID": "L9"},
    )
    workspace = parsed(made, old)

    assert [
        ("L1", "i1", 0, None, None, "2025-03-02 08:00:00", reviewer),
        ("L1", "i1", 1, None, -1.0, None, reviewer),
        ("L9", "d1", 0, "r1", 1.0, "2021-07-13 21:19:39", reviewer),
    ] == [(*r[:5], r[5] and str(r[5]), r[6]) for r in steps(workspace, "reviews")]
    assert [
        ("d1", "pigmented-lesions", "L9", 0, "has_open_issues", None, None, None, None),
        ("i1", "project-1", None, 0, "Approve", "2025-03-03 10:00:00", reviewer, None, None),
        ("i1", "project-1", None, 1, "Move", None, None, "Label", "Review"),
    ] == [(*r[:5], r[5] and str(r[5]), *r[6:]) for r in steps(workspace, "workflow")]
    assert b"rev@example.org" not in workspace.registry.read_bytes()


def test_reviews_are_those_of_the_newest_export_that_holds_the_label(parsed):
    one = label("L1", "nevus")
    one["label_details"]["reviews"] = [{"score": 1}, {"score": 1}]
    parsed(row("i1", one))
    one["label_details"]["reviews"] = [{"score": -1}]
    workspace = parsed(row("i1", one, last_activity_at=exports.TIMES[9]), name="later.ndjson")

    assert [-1.0] == [r["score"] for r in workspace.rows("from reviews")]


def test_every_review_of_the_real_legacy_export_is_stored(parsed, shared):
    written = json.loads((shared / "labelbox_exports" / "v1_labelbox-python_image_export.json").read_text())
    written["Reviews"] = [{"id": f"r{n}", "score": n % 2 or -1, "createdBy": "a@example.org"} for n in range(59)]
    workspace = parsed(written)

    assert 59 == len(workspace.rows("from reviews"))
