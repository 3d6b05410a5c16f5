"""Scores by label revision: two exports, of which the second relabels, and a run that was scored by both."""

import json
import math
import shutil

import exports
import exports_of_truth
import numpy as np
import pyarrow.parquet as pq
import pytest
from exports import TIMES
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, log_loss, roc_auc_score
from test_rebuild import differing, tables

from toolkit.cli import main
from toolkit.errors import DamagedError, WorkspaceError
from toolkit.files import write_parquet
from toolkit.manifest import load_study
from toolkit.pipeline import parse_study, rebuild, withdraw_and_parse
from toolkit.stages.compare import compare
from toolkit.stages.evaluate import evaluate
from toolkit.stages.evaluate.as_of import evaluate_as_of
from toolkit.stages.predict.imported import predict_from
from toolkit.stages.split import split
from toolkit.stages.status import status
from toolkit.study_file import StudyFile
from toolkit.workspace import ledger, results, sql
from toolkit.workspace.registry import Workspace, table_schema

CLASSES = {"melanoma": True, "nevus": False, "wart": False}
NAMES = list(CLASSES)
TRUTH = {f"ph-{n:02}": NAMES[n % 3] for n in range(48)}
PATIENTS = {name: f"P-{n // 2}" for n, name in enumerate(TRUTH)}
RELABELLED = {"ph-03": "nevus", "ph-10": "melanoma", "ph-17": "nevus", "ph-30": "wart", "ph-41": "melanoma"}
UNLABELLED, KEPT_OUT = "ph-07", "ph-20"
"""In the second export one has no label any more, and the other no patient: it is no case any more."""
CHANGED = len(RELABELLED) + 2
KEY = ("part", "metric", "class_name")
CHANCES = np.random.default_rng(4).dirichlet(np.ones(3), len(TRUTH)) + 0.4 * np.eye(3)[np.arange(len(TRUTH)) % 3]
CHANCES /= CHANCES.sum(axis=1, keepdims=True)


def second_export(path, first):
    """Write the first export's rows again, two weeks later: some relabelled, one label gone."""
    rows = [json.loads(line) for line in first.read_text().splitlines()]
    for row, name in zip(rows, TRUTH, strict=True):
        row["data_row"]["details"]["last_activity_at"] = TIMES[20]
        [label] = row["projects"]["project-1"]["labels"]
        if name in RELABELLED:
            label["label_details"]["updated_at"] = TIMES[14]
            label["annotations"]["classifications"] = [exports.radio(RELABELLED[name])]
        if name == UNLABELLED:
            row["projects"]["project-1"]["labels"] = []
        if name == KEPT_OUT:
            row["metadata_fields"] = []
    return exports.write(path, rows)


@pytest.fixture(scope="module")
def scored_twice(tmp_path_factory):
    """A workspace whose run was scored by the labels of the first export, and then by those of the second."""
    folder = tmp_path_factory.mktemp("as_of")
    file = exports_of_truth.study_file(folder / "study.toml", CLASSES)
    study, workspace = load_study(file), Workspace(folder / "workspace")
    study_file = StudyFile(study, file)
    first = exports_of_truth.export(folder / "first.ndjson", TRUTH, patients=PATIENTS)
    parse_study(workspace, study_file, [first])
    split(workspace, study, study_folder=folder)
    lines = [",".join([name, *map(repr, row)]) for name, row in zip(TRUTH, CHANCES.tolist(), strict=True)]
    (folder / "predictions.csv").write_text("\n".join([",".join(["file", *NAMES]), *lines]) + "\n")
    run_id = predict_from(workspace, study, folder / "predictions.csv", model_name="theirs").run_id
    evaluate(workspace, study, run=run_id)
    earlier = workspace.rows("from scores"), workspace.rows("select truth_id from label_states")[0]["truth_id"]
    parse_study(workspace, study_file, [second_export(folder / "second.ndjson", first)])
    evaluate(workspace, study, run=run_id)
    return workspace, study_file, run_id, earlier


@pytest.fixture
def here(scored_twice, tmp_path):
    return Workspace(shutil.copytree(scored_twice[0].folder, tmp_path / "workspace"))


def exports_of(workspace):
    return [row["export_id"] for row in workspace.rows("select export_id from exports order by moment")]


def by_key(rows):
    return {tuple(row[name] for name in KEY): row for row in rows}


def kept(workspace, export_id):
    return workspace.rows("from scores_as_of where export_id = $export", {"export": export_id})


def test_scores_as_of_an_export_are_those_that_were_given_when_it_was_the_newest(here, scored_twice):
    _, study_file, run_id, (earlier, truth_id) = scored_twice
    first, _ = exports_of(here)
    result = evaluate_as_of(here, study_file.study, first, run=run_id)
    then, now = by_key(kept(here, first)), by_key(earlier)

    assert (truth_id, first, len(TRUTH)) == (result.truth_id, result.export_id, result.cases["external"])
    assert {"external": CHANGED} == result.changed_since
    assert len(now) == len(then) > 60
    for key, row in now.items():
        same = ("value", "low", "high", "cases", "patients", "too_few", "method", "truth_id", "classes")

        assert [row[name] for name in same] == pytest.approx([then[key][name] for name in same], nan_ok=True), key


def test_they_are_what_scikit_learn_says_of_the_labels_of_that_export(here, scored_twice):
    _, study_file, run_id, _ = scored_twice
    result = evaluate_as_of(here, study_file.study, exports_of(here)[0], run=run_id)
    truth = [NAMES.index(name) for name in TRUTH.values()]
    predicted = CHANCES.argmax(axis=1)
    headline = {name: value for name, (value, _, _) in result.headline["external"].items()}
    expected = {
        "accuracy": accuracy_score(truth, predicted),
        "macro_recall": balanced_accuracy_score(truth, predicted),
        "macro_f1": f1_score(truth, predicted, average="macro"),
        "macro_roc_auc": roc_auc_score(truth, CHANCES, multi_class="ovr"),
        "log_loss": log_loss(truth, CHANCES),
    }

    assert expected == pytest.approx({name: headline[name] for name in expected}, abs=1e-9)


@pytest.mark.soak
def test_every_row_has_a_query_that_gives_its_value_again(here, scored_twice):
    _, study_file, run_id, _ = scored_twice
    first, second = exports_of(here)
    evaluate_as_of(here, study_file.study, first, run=run_id)
    rows = here.rows("from scores_as_of")
    with here.reading() as connection:
        again = [connection.execute(row["query"]).fetchone()[0] for row in rows]
    asked = here.sql(rows[0]["query"])["value"][0].as_py()

    assert {first, second} == {row["export_id"] for row in rows}
    assert [row["value"] for row in rows] == pytest.approx(again, abs=1e-12, nan_ok=True)
    assert again[0] == pytest.approx(asked, abs=1e-12, nan_ok=True)


def test_todays_scores_stay_and_the_same_command_leaves_the_same_file(here, scored_twice):
    _, study_file, run_id, _ = scored_twice
    first, _ = exports_of(here)
    before = here.rows("from scores"), (here.run(run_id) / "scores.parquet").read_bytes()
    [path] = (here.run(run_id) / "as_of").glob(f"{first}-*.parquet")
    found, times = [], []
    for _ in range(2):
        result = evaluate_as_of(here, study_file.study, first, run=run_id)
        found.append((path.read_bytes(), kept(here, first)))
        times.append(result.times_scored["external"])

    assert before[1] == (here.run(run_id) / "scores.parquet").read_bytes()
    assert repr(before[0]) == repr(here.rows("from scores"))
    assert repr(found[0]) == repr(found[1])
    assert [3, 4] == times  # each scoring counts
    assert set(table_schema("scores_as_of").names) == set(pq.read_schema(path).names)


def test_evaluate_keeps_each_revision_and_the_question_shows_them_side_by_side(scored_twice):
    workspace, _, run_id, _ = scored_twice
    old, new = workspace.shipped_rows("scores_by_revision", run=run_id, part="external", metric="accuracy")
    right = {"old": 0, "new": 0}
    for name, chosen in zip(TRUTH, CHANCES.argmax(axis=1), strict=True):
        right["old"] += NAMES[chosen] == TRUTH[name]
        right["new"] += name not in (UNLABELLED, KEPT_OUT) and NAMES[chosen] == RELABELLED.get(name, TRUTH[name])

    assert exports_of(workspace) == [old["export_id"], new["export_id"]]
    assert (48, 46) == (old["cases"], new["cases"])
    assert [right["old"] / 48, right["new"] / 46] == pytest.approx([old["value"], new["value"]])
    assert [None, CHANGED] == [old["changed_diagnoses"], new["changed_diagnoses"]]
    assert [True, True] == [old["same_predictions"], new["same_predictions"]]
    assert old["truth_id"] != new["truth_id"]


@pytest.mark.soak
def test_compare_since_and_evaluate_as_of_agree(scored_twice, here):
    """Compare takes the cases that have a reference diagnosis by both revisions: so there is none without one."""
    _, study_file, run_id, _ = scored_twice
    first, second = exports_of(here)
    resolved = "select case_id from truth where class_name is not null"
    with here.writing() as connection:
        connection.execute(f"delete from predictions where case_id not in ({resolved})")
    evaluate(here, study_file.study, run=run_id)
    evaluate_as_of(here, study_file.study, first, run=run_id)
    compare(here, study_file.study, run_id, run_id, since=first)
    then, now = by_key(kept(here, first)), by_key(kept(here, second))
    rows = [row for row in here.rows("from comparisons") if row["cause"] == "relabelling"]

    assert len(rows) > 20
    for row in rows:
        key = tuple(row[name] for name in KEY)

        assert (row["value"], row["other_value"]) == pytest.approx((then[key]["value"], now[key]["value"]), nan_ok=True)


@pytest.mark.soak
def test_a_time_stands_for_the_last_export_before_it(here, scored_twice):
    _, study_file, run_id, _ = scored_twice
    first, second = here.rows("select export_id, latest_at from exports order by moment")
    between = first["latest_at"] + (second["latest_at"] - first["latest_at"]) / 2
    found = [
        evaluate_as_of(here, study_file.study, asked, run=run_id).export_id
        for asked in (str(between), str(second["latest_at"]), "2030-01-01")
    ]

    assert [first["export_id"], second["export_id"], second["export_id"]] == found


@pytest.mark.parametrize("asked", ["nothing", "2001-01-01", ""])
def test_a_moment_without_an_export_is_an_error_that_names_the_exports(scored_twice, asked):
    workspace, study_file, run_id, _ = scored_twice

    with pytest.raises(WorkspaceError, match="no such export") as error:
        evaluate_as_of(workspace, study_file.study, asked, run=run_id)
    for export_id in exports_of(workspace):
        assert export_id in str(error.value)
    with pytest.raises(WorkspaceError, match="no such run: none"):
        evaluate_as_of(workspace, study_file.study, exports_of(workspace)[0], run="none")


def test_an_export_that_resolves_no_case_is_an_error(here, scored_twice):
    _, study_file, run_id, _ = scored_twice
    first, _ = exports_of(here)
    with here.writing() as connection:
        connection.execute("update reading_history set since = 2 where until is null or until > 2")
        connection.execute("delete from reading_history where since = 1")

    with pytest.raises(WorkspaceError, match=f"(?s)resolved class.*later export than {first}"):
        evaluate_as_of(here, study_file.study, first, run=run_id)


@pytest.mark.soak
def test_the_revision_of_a_moment_has_the_name_that_it_had_then(scored_twice, here):
    _, study_file, run_id, (_, truth_id) = scored_twice
    first, second = exports_of(here)
    names = [evaluate_as_of(here, study_file.study, each, run=run_id).truth_id for each in (first, second)]

    assert [truth_id, status(here).truth_id] == names


def test_rebuild_reads_them(here, scored_twice):
    _, study_file, run_id, _ = scored_twice
    evaluate_as_of(here, study_file.study, exports_of(here)[0], run=run_id)
    before = tables(here)
    rebuild(here, study_file)

    assert before["scores_as_of"]
    assert {None, exports_of(here)[0]} == {row["as_of"] for row in before["evaluations"]}
    assert [] == differing(before, tables(here))


def test_a_file_that_the_ledger_does_not_know_is_refused(here, scored_twice):
    _, study_file, run_id, _ = scored_twice
    old, new = sorted((here.run(run_id) / "as_of").glob("*.parquet"))
    table = pq.read_table(old)
    changed = table.set_column(table.schema.get_field_index("cases"), "cases", [[1] * len(table)])
    write_parquet(old, changed.cast(table.schema))

    with pytest.raises(DamagedError, match=r"as_of/.*or that file was changed"):
        rebuild(here, study_file)
    assert new.exists()


@pytest.mark.soak
def test_withdraw_takes_them_away_with_the_scores(here, scored_twice):
    _, study_file, run_id, _ = scored_twice
    withdraw_and_parse(here, study_file, "P-3", apply=True)

    assert [] == here.rows("from scores") == here.rows("from scores_as_of")
    assert not (here.run(run_id) / "as_of").exists()
    first = exports_of(here)[0]
    assert {"external": 46} == evaluate_as_of(here, study_file.study, first, run=run_id).cases
    assert [] == here.rows("from scores")


def test_an_attempt_that_was_interrupted_counts_once(here, scored_twice, monkeypatch):
    _, study_file, run_id, _ = scored_twice
    first, _ = exports_of(here)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(results, "_mirror_kept", interrupt)
        evaluate_as_of(here, study_file.study, first, run=run_id)
    result = evaluate_as_of(here, study_file.study, first, run=run_id)

    assert 3 == result.times_scored["external"] == len(ledger.scorings_of(here, run_id))


def interrupt(*_, **__):
    raise KeyboardInterrupt


@pytest.mark.soak
def test_scoring_an_earlier_revision_is_no_scoring_by_todays_labels(here, scored_twice):
    _, study_file, run_id, _ = scored_twice
    before = here.rows(sql.statement("report/scorings"), {"run_id": run_id})[0]
    scored = status(here).runs[0]["scored"]
    evaluate_as_of(here, study_file.study, exports_of(here)[1], run=run_id)
    evaluate_as_of(here, study_file.study, exports_of(here)[0], run=run_id)
    after = here.rows(sql.statement("report/scorings"), {"run_id": run_id})[0]

    assert scored == status(here).runs[0]["scored"] == 1
    assert before["times"] + 2 == after["times"]
    assert (before["last_scored_at"], before["unresolved"]) == (after["last_scored_at"], after["unresolved"])


@pytest.mark.soak
def test_the_terminal_says_which_revision_and_json_has_every_number(here, scored_twice, capsys):
    _, study_file, run_id, (_, truth_id) = scored_twice
    first, _ = exports_of(here)
    command = ["--study", str(study_file.path), "--workspace", str(here.folder)]

    def told(*arguments, code=0):
        with pytest.raises(SystemExit) as ended:
            main([*command, *arguments, "evaluate", "--run", run_id, "--as-of", first])
        assert code == ended.value.code
        return capsys.readouterr()

    text = " ".join(told().out.split())
    numbers = json.loads(told("--json").out)

    assert f"reference diagnoses as of export {first} of 2025-03-02 10:00 UTC: {truth_id}" in text
    assert f"{CHANGED} cases of the external set" in text
    assert (first, truth_id, "2025-03-02 10:00:00") == (
        numbers["export_id"],
        numbers["truth_id"],
        numbers["latest_at"][:19],
    )
    first = "nothing"
    assert "no such export" in told(code=1).err


@pytest.mark.soak
def test_another_policy_is_another_revision_of_the_same_export(here, scored_twice):
    """What became of the reference diagnoses is then no change of labels: it is not counted as one."""
    _, study_file, run_id, _ = scored_twice
    ingest = study_file.study.ingest.model_copy(update={"policy": "latest"})
    other = StudyFile(study_file.study.model_copy(update={"ingest": ingest}), study_file.path)
    parse_study(here, other, [])
    evaluate(here, other.study, run=run_id)
    rows = here.shipped_rows("scores_by_revision", run=run_id, part="external", metric="accuracy")

    assert ["majority", "latest", "majority"] == [row["truth_id"].partition("-")[0] for row in rows]
    assert {None} == {row["changed_diagnoses"] for row in rows}
    assert not any(math.isnan(row["value"]) for row in rows)
