"""What the registry knows of labels over several exports, and the policies by which readings become truth."""

import csv
import json
import random
from collections import Counter

import exports
import pytest
from exports import TIMES, box, label, row
from PIL import Image

from toolkit.cases import case_id_of
from toolkit.errors import QuestionError, StudyError
from toolkit.manifest import load_study
from toolkit.stages.parse import parse
from toolkit.stages.status import status
from toolkit.synthetic import sample
from toolkit.workspace.registry import Workspace

WHOLE = case_id_of("i1", "")


def at(day):
    """Details of a photograph that was last touched on a day: what makes an export newer."""
    return {"updated_at": TIMES[0], "last_activity_at": TIMES[day]}


def with_policy(study, **ingest):
    return type(study).model_validate({**study.model_dump(), "ingest": {**study.ingest.model_dump(), **ingest}})


@pytest.fixture
def ledger(tmp_path, study, key):
    """Parse exports, each given as a list of rows, oldest first; the order of import is the other way round."""

    def parse_all(*told, policy=None):
        workspace = Workspace(tmp_path / f"workspace-{len(list(tmp_path.iterdir()))}")
        paths = [exports.write(tmp_path / f"{number}.ndjson", rows) for number, rows in enumerate(told, start=1)]
        result = parse(workspace, with_policy(study, **(policy or {})), key, paths[::-1])
        return workspace, result

    return parse_all


def truth(workspace):
    return {r["case_id"]: (r["class_name"], r["resolved_by"]) for r in workspace.rows("from truth")}


def labels(workspace):
    text = "select label_id, revision, latest, deleted_by is not null as gone from labels order by all"
    return [tuple(r.values()) for r in workspace.rows(text)]


def changes(workspace, **given):
    return [(r["kind"], r["label_id"], r["before"], r["after"]) for r in workspace.shipped_rows("changes", **given)]


def lost(workspace):
    return sum(r["lost"] for r in workspace.shipped_rows("conservation"))


def test_a_label_that_a_newer_export_of_its_photograph_lacks_is_deleted_and_kept(ledger):
    kept, gone = label("L1", "nevus"), label("L2", "melasma", by="r2@example.org")
    workspace, result = ledger([row("i1", kept, gone)], [row("i1", kept, details=at(9))])
    newest = workspace.ask("exports")["export_id"].to_pylist()[-1]

    assert [("L1", 1, True, False), ("L2", 1, True, True)] == labels(workspace)
    assert [newest] == [r["deleted_by"] for r in workspace.rows("from labels where label_id = 'L2'")]
    assert {WHOLE: ("nevus", "single_reading")} == truth(workspace)
    assert ({"label_deleted": 1}, 1, 1) == (result.changes, result.labels, result.labels_deleted)
    assert [("label_deleted", "L2", "melasma", None)] == changes(workspace)
    assert 0 == lost(workspace)


def test_a_case_keeps_its_id_when_the_label_that_drew_it_first_is_deleted(ledger):
    first = label("L1", boxes=[box("a1", 10, 10, 40, 40, "nevus"), box("b1", 120, 20, 40, 40, "ephelis")])
    second = label("L2", boxes=[box("a2", 11, 10, 40, 40, "nevus")], by="r2@example.org", day=2)
    workspace, _ = ledger([row("i1", first, second)], [row("i1", second, details=at(9))])

    assert {case_id_of("i1", "a1"): ("nevus", "single_reading")} == truth(workspace)
    assert [11.0] == [r["roi_left"] for r in workspace.rows("from cases")]


def test_a_photograph_whose_labels_are_all_deleted_is_unlabelled(ledger):
    workspace, _ = ledger([row("i1", label("L1", boxes=[box("a", 1, 1, 9, 9, "nevus")]))], [row("i1", details=at(9))])

    assert {WHOLE: (None, "unlabelled")} == truth(workspace)


@pytest.mark.soak_after(1)
@pytest.mark.parametrize(
    "newer",
    [
        [row("i2", label("L2", "nevus", day=9), patient="P-2")],
        [{**row("i1", details=at(9)), "projects": {}}],
        [row("i1", details=at(1))],
        ["not a row", row("i2", label("L2", "nevus", day=9), patient="P-2")],
    ],
    ids=["another photograph", "without the project", "no newer", "a quarantined row"],
)
def test_what_an_export_does_not_hold_is_not_deleted(ledger, newer):
    workspace, result = ledger([row("i1", label("L1", "nevus", day=1))], newer)

    assert ("L1", 1, True, False) == labels(workspace)[0]
    assert ("nevus", "single_reading") == truth(workspace)[WHOLE]
    assert 0 == result.labels_deleted


def test_a_label_that_comes_back_is_there(ledger):
    one = row("i1", label("L1", "nevus"))
    workspace, _ = ledger([one], [row("i1", details=at(5))], [row("i1", label("L1", "nevus"), details=at(9))])
    history = workspace.rows("select revision from label_history inner join exports using (export_id) order by moment")

    assert [("L1", 1, True, False)] == labels(workspace)
    assert [1, None, 1] == [r["revision"] for r in history]


def test_relabelled_there_and_back_is_the_first_revision_again_and_the_history_says_so(ledger):
    there, back = label("L1", "nevus", day=1), label("L1", "melasma", day=2)
    told = [[row("i1", there)], [row("i1", back)], [row("i1", there, details=at(9))]]
    workspace, result = ledger(*told)
    ids = workspace.ask("exports")["export_id"].to_pylist()
    sources = workspace.rows("select revision, first_export, last_export from labels order by revision")

    assert [("L1", 1, True, False), ("L1", 2, False, False)] == labels(workspace)
    assert [(1, ids[0], ids[2]), (2, ids[1], ids[1])] == [tuple(r.values()) for r in sources]
    assert {WHOLE: ("nevus", "single_reading")} == truth(workspace)
    assert {"label_changed": 1} == result.changes
    assert [("label_changed", "L1", "melasma", "nevus")] == changes(workspace)
    assert [] == changes(workspace, before="first")
    assert ["melasma"] == workspace.ask("truth_as_of", export=ids[1])["class_name"].to_pylist()


def test_a_moved_box_keeps_its_case_and_is_told(ledger):
    drawn = label("L1", boxes=[box("a1", 10, 10, 40, 40, "nevus")], day=1)
    moved = label("L1", boxes=[box("a1", 90, 50, 30, 30, "nevus")], day=2)
    workspace, _ = ledger([row("i1", drawn)], [row("i1", moved)])
    told = workspace.shipped_rows("changes")

    assert {case_id_of("i1", "a1"): ("nevus", "single_reading")} == truth(workspace)
    assert [("box_moved", "L1", case_id_of("i1", "a1"))] == [(r["kind"], r["label_id"], r["case_id"]) for r in told]
    assert (10, 90) == tuple(json.loads(told[0][side])["bounding_box"]["left"] for side in ("before", "after"))


@pytest.mark.soak
def test_a_label_that_says_the_same_otherwise_is_told_too(ledger):
    workspace, _ = ledger([row("i1", label("L1", "nevus", day=1))], [row("i1", label("L1", "nevus", day=2))])

    assert [("label_changed", "L1", "nevus", "nevus")] == changes(workspace)


def test_workflow_patients_and_photographs_are_told(ledger):
    old = [
        row("i1", label("L1", "nevus"), status="IN_REVIEW"),
        row("i2", patient="P-2"),
        row("i3", patient="P-3"),
        row("i5", patient="P-5"),
    ]
    new = [
        row("i1", label("L1", "nevus"), details=at(9)),
        row("i2", patient="P-1"),
        row("i3", patient="P-33"),
        row("i4", patient="P-4"),
    ]
    workspace, result = ledger(old, new)
    moved = [change for change in changes(workspace) if change[0] == "workflow_moved"]
    once = ("patient_merged", "patient_renamed", "photograph_added", "photograph_gone", "workflow_moved")

    assert [("workflow_moved", None, "IN_REVIEW", "DONE")] == moved
    assert dict.fromkeys(once, 1) == result.changes


VOTES = (
    label("L1", "nevus", by="a@example.org", day=1),
    label("L2", "melasma", by="b@example.org", day=3),
    label("L3", "nevus", by="c@example.org", day=2),
)


def referring(to, *answers, **more):
    made = label(*answers, **more)
    made["performance_details"]["benchmark_reference_label"] = to
    return made


PHOTOGRAPHS = {
    "three": VOTES,
    "two": VOTES[:2],
    "agreed": VOTES[::2],
    "at once": (VOTES[0], label("L2", "melasma", by="b@example.org", day=1)),
    "benchmark": (
        VOTES[0],
        referring("L2", "L2", "melasma", by="b@example.org"),
        referring("L2", "L3", "nevus", by="c"),
    ),
    "no label": (),
}
NEVUS, MELASMA, TIE, OUT = ("nevus", "majority"), ("melasma", "benchmark"), (None, "tie"), (None, "not_counted")
LATEST, CHOSEN, UNANIMOUS, NONE = (
    ("melasma", "latest"),
    ("melasma", "annotator"),
    ("nevus", "unanimous"),
    (None, "unlabelled"),
)


@pytest.mark.soak_after(1)
@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({}, (NEVUS, TIE, UNANIMOUS, TIE, NEVUS, NONE)),
        ({"policy": "latest"}, (LATEST, LATEST, UNANIMOUS, TIE, ("nevus", "latest"), NONE)),
        ({"policy": "annotator", "annotator": "B@example.org "}, (CHOSEN, CHOSEN, OUT, CHOSEN, CHOSEN, NONE)),
        ({"policy": "reviewed"}, (NEVUS, TIE, UNANIMOUS, TIE, NEVUS, NONE)),
        ({"policy": "benchmark"}, (NEVUS, TIE, UNANIMOUS, TIE, MELASMA, NONE)),
        ({"workflow": ["TO_LABEL", "IN_REVIEW"]}, (*(OUT,) * 5, NONE)),
    ],
)
def test_a_policy_decides_by_hand(ledger, policy, expected):
    rows = []
    for name, given in PHOTOGRAPHS.items():
        text = json.dumps(row(name, *given, patient=name))
        rows.append(text.replace('"L', f'"{name}-L'))
    workspace, result = ledger(rows, policy=policy)
    decided = Counter(rule for class_name, rule in expected if class_name)

    assert {case_id_of(name, ""): told for name, told in zip(PHOTOGRAPHS, expected, strict=True)} == truth(workspace)
    assert (decided, expected.count(OUT)) == (result.decided, result.not_counted)


def test_reviewed_counts_only_what_is_done(ledger):
    done, open_ = row("i1", VOTES[0]), row("i2", label("L9", "nevus"), patient="P-2", status="IN_REVIEW")
    workspace, _ = ledger([done, open_], policy={"policy": "reviewed"})

    assert {WHOLE: ("nevus", "single_reading"), case_id_of("i2", ""): (None, "not_counted")} == truth(workspace)


def test_the_annotator_of_a_policy_is_never_stored(ledger):
    workspace, _ = ledger([row("i1", *VOTES)], policy={"policy": "annotator", "annotator": "b@example.org"})

    assert b"b@example" not in workspace.registry.read_bytes()


@pytest.mark.parametrize("ingest", ['policy = "annotator"', 'annotator = "b@example.org"'])
def test_an_annotator_and_the_policy_belong_together(tmp_path, ingest):
    sample(tmp_path / "sample", cases=16, photographs=False)
    study = tmp_path / "sample" / "study.toml"
    text = study.read_text(encoding="utf-8")
    study.write_text(
        text.replace("[ingest]", f"[ingest]\n{ingest}") if "[ingest]" in text else f"{text}\n[ingest]\n{ingest}\n"
    )

    with pytest.raises(StudyError, match="belong together"):
        load_study(study)


@pytest.mark.soak_after(1)
@pytest.mark.parametrize(
    ("given", "key_of", "reason"),
    [
        (label("L1", skipped=True), "skipped_label", "skipped_label"),
        (label("L1"), "empty_label", "empty_label"),
        (label("L1", boxes=[box("o", -10, 0, 40, 40, "nevus")]), "box_over_edge", "box_over_edge"),
    ],
)
def test_what_the_study_keeps_out_is_kept_out_and_told(ledger, given, key_of, reason):
    workspace, result = ledger([row("i1", given)], policy={key_of: "keep_out"})

    assert {} == truth(workspace)
    assert {reason: 1} == result.kept_out


def test_another_policy_is_another_truth_and_makes_runs_stale(copied, finished):
    study = finished.study_file.study
    key = finished.study_file.key(copied)
    result = parse(copied, with_policy(study, policy="latest"), key, [])
    found = status(copied)

    assert result.truth_id.startswith("latest-")
    assert result.truth_id != finished.results["Parsed"].truth_id
    assert [True, True] == [run["stale"] for run in found.runs]
    assert result.tied == 0 < found.splits[0]["changed_cases"]


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stages")
    return [sample(folder / str(stage), cases=120, stage=stage, photographs=False) for stage in (1, 2, 3)]


@pytest.fixture(scope="module")
def staged(stages, study, key, tmp_path_factory):
    workspace = Workspace(tmp_path_factory.mktemp("staged"))
    parse(workspace, study, key, [stage.export for stage in stages])
    return workspace


@pytest.mark.soak_after(1)
@pytest.mark.parametrize("policy", ["majority", "reviewed"])
def test_truth_as_of_an_export_is_what_the_older_exports_alone_say(stages, staged, study, key, tmp_path, policy):
    paths, told, everything = [stage.export for stage in stages], with_policy(study, policy=policy), staged
    if policy != "majority":
        everything = Workspace(tmp_path / "all")
        parse(everything, told, key, paths)
    ids = everything.ask("exports")["export_id"].to_pylist()
    for count in (1, 2):
        older = Workspace(tmp_path / str(count))
        parse(older, told, key, paths[:count])
        expected = older.rows("select case_id, class_name, resolved_by from truth order by case_id")

        assert expected == everything.shipped_rows("truth_as_of", export=ids[count - 1])
    assert everything.ask("truth_as_of") == everything.sql(
        "select case_id, class_name, resolved_by from truth order by case_id"
    )


def test_truth_as_of_a_time_is_that_of_the_last_export_before_it(staged):
    first = staged.shipped_rows("truth_as_of", export="first")

    assert first == staged.shipped_rows("truth_as_of", time="2025-03-01")
    assert first != staged.shipped_rows("truth_as_of")
    with pytest.raises(QuestionError, match="exports"):
        staged.ask("truth_as_of", time="2020-01-01")
    with pytest.raises(QuestionError, match="exports"):
        staged.ask("truth_as_of", export="nonsense")
    with pytest.raises(QuestionError, match="exports"):
        staged.ask("changes", before="nonsense")


def planted(stage):
    with (stage.truth / "planted.csv").open(newline="") as file:
        found = [r for r in csv.DictReader(file) if int(r["stage"]) == stage.stage]
    return lambda kind, column: sorted(r[column] for r in found if r["kind"] == kind)


def test_changes_are_what_was_planted(staged, stages):
    ids = staged.ask("exports")["export_id"].to_pylist()
    keys = {r["image_id"]: r["global_key"] for r in staged.rows("select image_id, global_key from images")}
    found = {}
    for stage, before, after in zip(stages[1:], ids, ids[1:], strict=False):
        rows = staged.shipped_rows("changes", before=before, after=after)
        found[stage.stage] = lambda kind, rows=rows: [r for r in rows if r["kind"] == kind]
    review, later = planted(stages[1]), planted(stages[2])
    relabelled = [(r["before"], r["after"]) for r in found[2]("label_changed")]
    added = {keys[r["image_id"]] for r in found[3]("photograph_added")}

    assert all(review(kind, "label_id") for kind in ("relabelled", "deleted_label", "moved_box"))
    assert review("relabelled", "label_id") == sorted(r["label_id"] for r in found[2]("label_changed"))
    assert set(review("relabelled", "detail")) >= {f"from {before} to {after}" for before, after in relabelled[:1]}
    assert review("deleted_label", "label_id") == sorted({r["label_id"] for r in found[2]("label_deleted")})
    assert review("moved_box", "label_id") == sorted(r["label_id"] for r in found[2]("box_moved"))
    assert review("newly_labelled", "global_key") == sorted({keys[r["image_id"]] for r in found[2]("label_added")})
    assert later("patient_merge", "global_key") == sorted(keys[r["image_id"]] for r in found[3]("patient_merged"))
    assert set(later("new_patient", "global_key")) <= added
    assert len(stages[2].export.read_text().splitlines()) - len(stages[1].export.read_text().splitlines()) == len(added)
    assert {"label_changed", "label_deleted", "label_added", "box_moved", "workflow_moved"} == {
        r["kind"] for r in staged.shipped_rows("changes", before=ids[0], after=ids[1])
    }
    assert {"patient_merged", "photograph_added", "label_added"} == {r["kind"] for r in staged.shipped_rows("changes")}


def reversed_keys(document):
    if isinstance(document, dict):
        return {key: reversed_keys(value) for key, value in reversed(document.items())}
    return [reversed_keys(item) for item in document] if isinstance(document, list) else document


def written_otherwise(paths, folder):
    """Write exports again: their keys in reverse, each row twice, the rows shuffled."""
    copies = []
    for path in paths:
        lines = [json.dumps(reversed_keys(json.loads(line))) for line in path.read_text().splitlines()] * 2
        random.Random(5).shuffle(lines)
        copies.append(exports.write(folder / f"copy-{path.parent.name}.ndjson", lines))
    return copies


@pytest.mark.soak
def test_the_same_content_has_the_same_hash_whatever_its_exports_are_like(stages, staged, study, key, tmp_path):
    paths = [stage.export for stage in stages]
    hashes, truths = {status(staged).content_hash}, {status(staged).truth_id}
    for number, order in enumerate((paths[1:] + paths[:1], written_otherwise(paths[::-1], tmp_path))):
        workspace = Workspace(tmp_path / f"workspace-{number}")
        result = parse(workspace, study, key, order)
        hashes.add(status(workspace).content_hash)
        truths.add(result.truth_id)

    assert (1, 1) == (len(hashes), len(truths))


@pytest.mark.soak
def test_other_content_has_another_hash(ledger):
    same = row("i1", label("L1", "nevus"), label("L2", "nevus", by="r2@example.org"))
    results = [
        ledger([same]),
        ledger([same], [row("i1", label("L1", "nevus"), details=at(9))]),
        ledger([row("i1", label("L1", "nevus"), label("L2", "melasma", by="r2@example.org"))]),
    ]

    assert 3 == len({result.content_hash for _, result in results})


@pytest.mark.soak
def test_a_newer_export_without_a_folder_does_not_lose_sight_of_photographs(study, key, workspace, tmp_path):
    folder = tmp_path / "photographs"
    folder.mkdir()
    Image.new("RGB", (200, 100), "tan").save(folder / "i1.jpg")
    older = exports.write(tmp_path / "older.ndjson", [row("i1", label("L1", "nevus", day=1))])
    newer = exports.write(tmp_path / "newer.ndjson", [row(f"i{n}", label(f"L{n}", "nevus", day=2)) for n in (1, 2)])
    parse(workspace, study, key, [older], images=folder)
    result = parse(workspace, study, key, [newer])

    assert (2, 1, 2) == (result.photographs, result.photographs_opened, result.cases)
