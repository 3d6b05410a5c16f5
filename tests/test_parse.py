import csv
import gzip
import json
import shutil
import stat
from pathlib import Path

import duckdb
import exports
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from exports import box, label, radio, row
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from toolkit.cases import case_id_of
from toolkit.errors import ExportError, WorkspaceError
from toolkit.files import sha256_of_file
from toolkit.privacy import PseudonymKey
from toolkit.stages.parse import parse
from toolkit.stages.parse.derive import register_tables
from toolkit.workspace.registry import Workspace


def said(workspace):
    """What the registry says of each case: who reads what, and the truth."""
    rows = workspace.rows(
        "select case_id, truth.class_name, resolved_by, coalesce(list(readings.class_name order by label_id, "
        "readings.class_name) filter (readings.case_id is not null), []) as readings "
        "from truth left join readings using (case_id) group by all"
    )
    return {r["case_id"]: (r["readings"], (r["class_name"], r["resolved_by"])) for r in rows}


def issues(workspace):
    return sorted((r["level"], r["reason"]) for r in workspace.rows("from ingest_issues"))


def conserved(workspace):
    rows = workspace.rows(
        "select noun, sum(read) as read, sum(stored) as stored, sum(quarantined) as q from conservation group by noun"
    )
    return {r["noun"]: (int(r["read"]), int(r["stored"]), int(r["q"])) for r in rows}


def test_two_lesions_two_annotators_and_a_moved_box_by_hand(parsed):
    """One photograph: reader 1 draws A and B, reader 2 draws both a little off; a later export moves reader 1's A."""
    a, b = (10, 10, 40, 40), (120, 20, 40, 40)
    first = label("L1", boxes=[box("a1", *a, "nevus"), box("b1", *b, "melasma")], day=1)
    second = label("L2", boxes=[box("b2", 122, 24, 40, 40, "ephelis"), box("a2", *a, "nevus")], by="r2@x.org", day=2)
    parsed(row("i1", first, second))
    case_a, case_b = case_id_of("i1", "a1"), case_id_of("i1", "b1")
    before = {case_a: (["nevus", "nevus"], ("nevus", "unanimous")), case_b: (["melasma", "ephelis"], (None, "tie"))}

    moved = label("L1", boxes=[box("a1", 60, 50, 30, 30, "nevus"), box("b1", *b, "ephelis")], day=9)
    workspace = parsed(row("i1", moved, second, updated_at=exports.TIMES[9]), name="later.ndjson")

    assert before[case_b][1] == (None, "tie")
    after = said(workspace)
    assert (["ephelis", "ephelis"], ("ephelis", "unanimous")) == after[case_b]
    assert {case_a, case_b} <= set(after)
    assert [1, 2] == [
        r["revision"] for r in workspace.rows("select revision from labels where label_id = 'L1' order by 1")
    ]
    assert {"roi_left": 121.0, "roi_top": 22.0} == workspace.rows(
        "select roi_left, roi_top from cases where case_id = $case", {"case": case_b}
    )[0]


def test_a_tie_is_unresolved_and_counted(workspace, study, key, tmp_path):
    torn = row("i1", label("L1", "nevus"), label("L2", "melasma", by="r2@x.org"))
    result = parse(workspace, study, key, [exports.write(tmp_path / "e.ndjson", [torn])])

    assert (1, 0, 1) == (result.cases, result.resolved, result.tied)


def test_the_majority_decides(parsed):
    votes = [label("L1", "nevus"), label("L2", "melasma", by="2"), label("L3", "nevus", by="3")]

    assert {case_id_of("i1", ""): (["nevus", "melasma", "nevus"], ("nevus", "majority"))} == said(
        parsed(row("i1", *votes))
    )


def test_photographs_without_a_reading_are_cases_that_say_why(parsed):
    workspace = parsed(
        row("i1"), row("i2", label("L2", skipped=True), patient="P-2"), row("i3", label("L3"), patient="P-3")
    )

    assert ["unlabelled", "skipped", "no_answer"] == [
        said(workspace)[case_id_of(image, "")][1][1] for image in ("i1", "i2", "i3")
    ]


def test_what_cannot_be_a_case_is_kept_out_but_its_row_is_stored(parsed):
    reasons = {
        "wart": "unknown_class",
        "homoglyph": "unknown_class",
        "two": "ambiguous_label",
        "nobody": "missing_patient_id",
        "blank": "missing_patient_id",
        "outside": "box_outside",
    }
    workspace = parsed(
        row("wart", label("L1", "wart")),
        row("homoglyph", label("L2", "nеvus")),
        row("two", label("L3", "nevus", "melasma")),
        row("nobody", label("L4", "nevus"), patient=None),
        row("blank", label("L5", "nevus"), patient="  "),
        row("outside", label("L6", boxes=[box("o", 500, 500, 9, 9, "nevus")])),
    )

    kept_out = workspace.rows("select image_id, level, reason from ingest_issues")
    assert [("case", reason) for reason in sorted(reasons.values())] == issues(workspace)
    assert reasons == {issue["image_id"]: issue["reason"] for issue in kept_out}
    assert (6, 6, 0) == conserved(workspace)["row"]
    assert {} == said(workspace)


def test_two_patients_on_one_photograph_are_never_guessed(parsed):
    torn = row("i1", label("L1", "nevus"))
    torn["metadata_fields"] *= 2
    torn["metadata_fields"][1] = {**torn["metadata_fields"][1], "value": "P-2"}

    assert [("case", "ambiguous_patient_id")] == issues(parsed(torn))


def test_spellings_of_one_patient_are_one_patient(parsed):
    workspace = parsed(row("i1", label("L1", "nevus"), patient="P-1"), row("i2", label("L2", "nevus"), patient="p-1 "))

    assert [{"images": 2, "spellings": 2}] == workspace.rows("select images, spellings from patients")


def test_a_box_over_the_edge_is_clipped_and_the_original_kept(parsed):
    workspace = parsed(row("i1", label("L1", boxes=[box("o", -10, -20, 40, 40, "nevus")])))

    assert [(0.0, 0.0, 30.0, 20.0)] == [
        tuple(r.values()) for r in workspace.rows("select roi_left, roi_top, roi_width, roi_height from cases")
    ]
    assert [-10.0] == [r["box_left"] for r in workspace.rows("select box_left from objects")]
    assert [("warning", "clipped:bbox")] == issues(workspace)


def test_a_name_and_a_slug_that_mean_different_classes_are_no_class(parsed):
    torn = label("L1", "nevus")
    torn["annotations"]["classifications"][0]["radio_answer"]["value"] = "melasma"

    assert [("case", "unknown_class")] == issues(parsed(row("i1", torn)))


def test_other_projects_are_stored_and_counted(workspace, study, key, tmp_path):
    path = exports.write(tmp_path / "e.ndjson", [row("i1", label("L1", "nevus"), project="something else")])
    result = parse(workspace, study, key, [path])

    assert (1, 0, 1, ["something else"]) == (
        result.labels,
        result.cases,
        result.photographs_elsewhere,
        result.projects_elsewhere,
    )


def test_nested_answers_and_relationships_are_all_kept(parsed):
    link = {"name": "near", "unidirectional_relationship": {"source": "a1", "target": "b1"}}
    among_objects = {
        **link,
        "feature_id": "r1",
        "annotation_kind": "ImageUnidirectionalRelationship",
        "classifications": [],
    }
    deep = label("L1", boxes=[box("a1", 1, 1, 9, 9), box("b1", 50, 50, 9, 9), among_objects], relationships=[link])
    deep["annotations"]["classifications"] = [radio("nevus", nested=[radio("sure", question="certainty")])]
    workspace = parsed(row("i1", deep))

    assert (2, 2, 0) == conserved(workspace)["object"]
    assert (1, 1, 0) == conserved(workspace)["relationship"]  # among the objects and in a list of its own
    assert [("diagnosis", None), ("certainty", 0)] == [
        (r["question"], r["parent"]) for r in workspace.rows("from answers order by position")
    ]


def test_nothing_private_reaches_the_registry(parsed):
    row_with_more = row("i1", label("L1", "nevus", by="dr.jane.doe@example.org"), patient="Jane Doe 1970")
    row_with_more["metadata_fields"].append(
        {"schema_name": "note", "schema_kind": "CustomMetadataString", "value": "JANE DOE 1970, mail jane@example.org"}
    )
    workspace = parsed(row_with_more, "garbage with jane@example.org")
    content = workspace.registry.read_bytes().lower()

    for secret in (b"jane", b"doe 1970", b"signature", b"example.org"):
        assert secret not in content, secret
    landed = next(workspace.exports.glob("*.ndjson"))
    assert 0o600 == stat.S_IMODE(landed.stat().st_mode)
    assert b"jane.doe" in landed.read_bytes()


@pytest.mark.soak
def test_parsing_again_changes_nothing_and_the_order_of_exports_does_not_matter(study, key, tmp_path):
    old = exports.write(
        tmp_path / "old.ndjson", [row("i1", label("L1", "nevus", day=1)), row("i2", label("L2", "nevus"))]
    )
    new = exports.write(
        tmp_path / "new.ndjson", [row("i1", label("L1", "melasma", day=5), updated_at=exports.TIMES[5])]
    )
    states = []
    for number, order in enumerate(([old, new, old], [new, old])):
        workspace = Workspace(tmp_path / f"w{number}")
        for count, path in enumerate(order, start=1):
            result = parse(workspace, study, key, [path])
            if count > 1:
                states.append((said(workspace), result.truth_id))

    assert 3 == len(states)
    assert states[0] == states[1] == states[2]
    assert ("melasma", "single_reading") == states[0][0][case_id_of("i1", "")][1]


def test_repeated_rows_are_stored_once_and_contradicting_ones_not_at_all(parsed):
    same, torn = row("i1", label("L1", "nevus")), row("i2", label("L2", "nevus"))
    workspace = parsed(same, same, torn, row("i2", label("L2", "melasma")))

    assert (3, 1, 2) == conserved(workspace)["row"]
    assert [1] == [r["repeated"] for r in workspace.rows("select repeated from conservation where noun = 'label'")]
    assert [("row", "conflicting_duplicate")] * 2 == issues(workspace)


def test_another_key_is_refused(parsed, study, tmp_path):
    workspace = parsed(row("i1", label("L1", "nevus")))

    with pytest.raises(WorkspaceError, match="pseudonym key"):
        parse(workspace, study, PseudonymKey(b"another", published=True), [tmp_path / "export.ndjson"])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "empty"),
        (b"\xff\xfe{\x00", "UTF-16"),
        (b"[{}]", "no row"),
        (b"hello\nworld\n", "no row"),
        (b"\x1f\x8bnothing", "cannot be read"),
    ],
)
def test_a_file_that_is_no_export_is_refused_and_changes_nothing(parsed, study, key, tmp_path, content, told):
    workspace = parsed(row("i1", label("L1", "nevus")))
    (tmp_path / "bad").write_bytes(content)

    with pytest.raises(ExportError, match=told):
        parse(workspace, study, key, [tmp_path / "bad"])
    assert 2 == len(list(workspace.exports.iterdir()))
    assert 1 == len(said(workspace))


def test_an_archive_cut_short_keeps_what_it_holds_and_says_so(workspace, study, key, tmp_path):
    rows = [row(f"i{n}", label(f"L{n}", "nevus"), patient=f"P-{n}") for n in range(400)]
    whole = gzip.compress("".join(json.dumps(r) + "\n" for r in rows).encode(), mtime=0)
    (tmp_path / "cut.ndjson.gz").write_bytes(whole[: len(whole) * 3 // 4])
    result = parse(workspace, study, key, [tmp_path / "cut.ndjson.gz"])

    assert 0 < result.photographs < 400
    assert 1 <= result.rows_quarantined <= 2


def draw_photograph(path: Path, size=(200, 100), orientation=None, colour=(120, 80, 60)):
    image = Image.new("RGB", size, colour)
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    image.save(path, exif=exif)


def test_photographs_are_found_opened_and_held_against_the_export(workspace, study, key, tmp_path):
    folder = tmp_path / "photographs"
    folder.mkdir()
    draw_photograph(folder / "upright.jpg")
    draw_photograph(folder / "turned.jpg", size=(100, 200), orientation=6)
    draw_photograph(folder / "wrong.jpg", size=(150, 100))
    (folder / "page.jpg").write_text("<html>not found</html>")
    rows = [
        row(name, label(f"L-{name}", "nevus"), patient=name) for name in ("upright", "turned", "wrong", "page", "gone")
    ]
    result = parse(workspace, study, key, [exports.write(tmp_path / "e.ndjson", rows)], images=folder)

    assert {"image_missing": 1, "image_unreadable": 1, "size_mismatch": 1} == result.kept_out
    assert {case_id_of("upright", ""), case_id_of("turned", "")} == set(said(workspace))


@st.composite
def photographs(draw):
    answers = ["nevus", "melasma", "wart"]
    rows = []
    for number in range(draw(st.integers(1, 6))):
        labels = []
        for reader in range(draw(st.integers(0, 3))):
            boxes = [
                box(
                    f"o{number}-{reader}-{n}",
                    10 + 50 * n,
                    10,
                    30,
                    30,
                    *draw(st.lists(st.sampled_from(answers), max_size=2)),
                )
                for n in range(draw(st.integers(0, 3)))
            ]
            given = draw(st.lists(st.sampled_from(answers), max_size=2))
            labels.append(
                label(f"L{number}-{reader}", *given, boxes=boxes, by=f"r{reader}", day=draw(st.integers(1, 20)))
            )
        rows.append(row(f"i{number}", *labels, patient=draw(st.sampled_from(["P-1", "p-1", "P-2", None]))))
    return rows


LAW = {
    "deadline": None,
    "phases": [Phase.explicit, Phase.reuse, Phase.generate],
    "suppress_health_check": [HealthCheck.function_scoped_fixture],
}
DRAWN = {
    "rows": photographs(),
    "bad": st.lists(st.sampled_from(["{", '{"data_row": 1}', "\x00"]), max_size=2),
    "random": st.randoms(use_true_random=False),
}


@settings(max_examples=2, **LAW)  # 60 in soak
@given(**DRAWN)
def test_parse_never_loses_a_label_and_the_order_of_rows_does_not_matter(
    tmp_path_factory, study, key, rows, bad, random
):
    hold_the_law(tmp_path_factory.mktemp("law"), study, key, rows, bad, random)


def hold_the_law(folder, study, key, rows, bad, random):
    states = []
    for shuffled in (False, True):
        lines = [*rows, *bad]
        if shuffled:
            random.shuffle(lines)
        workspace = Workspace(folder / str(shuffled))
        result = parse(workspace, study, key, [exports.write(folder / f"{shuffled}.ndjson", lines)])
        states.append((said(workspace), result.truth_id, conserved(workspace)))
    labels = [one for r in rows for one in r["projects"]["project-1"]["labels"]]
    objects = [o for one in labels for o in one["annotations"]["objects"]]
    answers = sum(len(one["annotations"]["classifications"]) for one in labels) + sum(
        len(o["classifications"]) for o in objects
    )

    assert states[0] == states[1]
    counts = states[0][2]
    assert (len(rows) + len(bad), len(rows), len(bad)) == counts["row"]
    assert [(n, n, 0) for n in (len(labels), len(objects), answers)] == [
        counts[noun] for noun in ("label", "object", "answer")
    ]


NAMED_BY_THEIR_PAYLOAD = ("43_xss_label_name", "44_sqli_class", "45_rich_markup")
"""The payload is the project's name too: a study that names it meets it as a class."""


def hostile_exports(shared) -> dict[Path, dict[str, str]]:
    """Return what is expected of each hostile export."""
    with (shared / "hostile" / "MANIFEST.csv").open(newline="") as file:
        listed = {shared / "hostile" / r["name"]: r for r in csv.DictReader(file) if r["kind"] == "ndjson"}
    legacy = next(path for path in listed if path.stem == "31_mixed_v1_v2")
    listed[legacy] |= {"rows_accepted": "3", "rows_quarantined": "0", "reason": ""}  # legacy rows are read
    return listed


def naming(study, paths):
    """Return a study that names every project of some exports beside its own."""
    lines = [json.loads(text) for path in paths for text in path.read_text().splitlines()]
    names = {project["name"] for line in lines for project in line["projects"].values()}
    projects = sorted({*study.labelbox.projects, *names})
    return study.model_copy(update={"labelbox": study.labelbox.model_copy(update={"projects": projects})})


def test_hostile_exports_end_as_their_manifest_says(shared, study, key, workspace):
    """No two hold the same photograph, so one parse tells what becomes of each; `make soak` parses each alone."""
    listed = hostile_exports(shared)
    refused = [path for path, expected in listed.items() if expected["expected"] == "reject_file"]
    for path in refused:
        with pytest.raises(ExportError):
            parse(workspace, study, key, [path])
    taken = [path for path in listed if path not in refused]
    parse(workspace, naming(study, [p for p in taken if p.stem in NAMED_BY_THEIR_PAYLOAD]), key, taken)
    of_file = {sha256_of_file(path): path for path in taken}
    counts = workspace.rows(
        "select sha256, stored, quarantined from conservation inner join exports using (export_id) where noun = 'row'"
    )
    reasons = workspace.rows("select sha256, reason from ingest_issues inner join exports using (export_id)")

    assert (55, 2) == (len(listed), len(refused))
    assert len(taken) == len(counts)
    for count in counts:
        expected = listed[of_file[count["sha256"]]]
        found = {issue["reason"] for issue in reasons if issue["sha256"] == count["sha256"]}
        rows = (int(expected["rows_accepted"]), int(expected["rows_quarantined"]))

        assert rows == (count["stored"], count["quarantined"]), expected["name"]
        assert not expected["reason"] or set(expected["reason"].split("|")) & found, expected["name"]


@pytest.mark.soak
def test_hostile_sets_of_exports_give_one_state_whatever_their_order(shared, study, key, tmp_path):
    folder = shared / "hostile" / "multi"

    def state(*numbers):
        workspace = Workspace(tmp_path / "-".join(numbers))
        before = tmp_path / "-".join(numbers[:-1])
        if numbers[:-1] and before.exists():
            shutil.copytree(before, workspace.folder)
        for number in numbers[-1:] if workspace.folder.exists() else numbers:
            parse(workspace, study, key, [next(folder.glob(f"{number}_*.ndjson"))])
        revisions = workspace.rows("select label_id, revision, latest from labels order by all")
        return said(workspace), workspace.rows("select truth_id from label_states"), revisions

    reference, updated = state("01"), state("01", "04")

    assert 20 == len(reference[0])
    assert reference == state("02") == state("03") == state("01", "05") == state("05", "01")
    assert updated == state("04", "01")
    assert reference != updated


def test_a_table_that_cannot_be_written_leaves_the_registry_as_it_was(parsed, tmp_path):
    workspace = parsed(row("i1", label("L1", "nevus")))
    before = workspace.registry.read_bytes()
    tables = ("metadata", "labels", "cases")
    for name in tables:
        pq.write_table(workspace.read(f"from {name}")[:0], tmp_path / f"{name}.parquet")
    (tmp_path / "cases.parquet").write_bytes(b"no table")

    with pytest.raises((duckdb.Error, pa.ArrowInvalid)):
        register_tables(workspace, {name: tmp_path / f"{name}.parquet" for name in tables}, anew=False)
    assert before == workspace.registry.read_bytes()
    assert not list(workspace.folder.glob(".registry*"))
