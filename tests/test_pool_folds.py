"""The folds of a cross-validation, pooled: mean and spread over folds, and all held-out cases with their patients."""

import json

import exports
import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score
from texture_backend import textured_rows, textured_study

from toolkit.cli import main
from toolkit.errors import WorkspaceError
from toolkit.manifest import Study, load_study
from toolkit.shipped import shipped
from toolkit.stages.evaluate import evaluate
from toolkit.stages.evaluate.folds import pool_folds
from toolkit.stages.parse import parse
from toolkit.stages.predict import predict
from toolkit.stages.split import split
from toolkit.stages.train import train
from toolkit.workspace.registry import Workspace


@pytest.fixture(scope="module")
def folded(study, key, tmp_path_factory):
    """Two folds of a small cohort with a few labels that are wrong, each with a scored run."""
    folder = tmp_path_factory.mktemp("folds")
    whole = textured_study(study)
    section = whole.split.model_copy(update={"folds": 2})
    own = Study.model_validate(whole.model_copy(update={"split": section}).model_dump())
    rows = textured_rows(folder / "images", ["nevus", "melasma", "ephelis", "melasma"] * 12)
    for number, row in enumerate(rows[:8]):
        row["projects"]["project-1"]["labels"] = [exports.label(f"L{number}", "nevus")]
    workspace = Workspace(folder / "workspace")
    parse(workspace, own, key, [exports.write(folder / "export.ndjson", rows)], images=folder / "images")
    runs = []
    for split_id in split(workspace, own).folds:
        runs.append(train(workspace, own, study_folder=folder, split_id=split_id).run_id)
        predict(workspace, own, run=runs[-1], parts=("validation",))
        evaluate(workspace, own, run=runs[-1])
    return workspace, own, runs


def test_the_pooled_value_is_scikit_learn_s_over_all_held_out_cases_and_the_mean_that_of_the_folds(folded):
    workspace, study, runs = folded
    pooled = pool_folds(workspace, study, runs)
    [row] = [row for row in pooled.rows if row["metric"] == "balanced_accuracy"]
    asked = "select truth, predicted, case_id from scored where part = 'validation' and run_id = $run"
    cases = [workspace.rows(asked, {"run": run}) for run in runs]
    of_folds = [balanced_accuracy_score([c["truth"] for c in own], [c["predicted"] for c in own]) for own in cases]
    every = [c for own in cases for c in own]

    assert 30 < len(every) == len({c["case_id"] for c in every}) == pooled.cases
    assert pooled.cases == 2 * pooled.patients
    expected = balanced_accuracy_score([c["truth"] for c in every], [c["predicted"] for c in every])
    assert expected == pytest.approx(row["value"])
    assert (np.mean(of_folds), np.std(of_folds, ddof=1)) == pytest.approx((row["mean"], row["sd"]))
    assert row["low"] < row["value"] < row["high"]


def test_order_and_repetition_of_runs_change_nothing(folded):
    workspace, study, runs = folded
    once, twice = pool_folds(workspace, study, runs), pool_folds(workspace, study, [*runs[::-1], runs[0]])
    numbers = [
        [(r["metric"], r["class_name"], r["value"], r["low"], r["high"]) for r in each.rows] for each in (once, twice)
    ]

    assert str(numbers[0]) == str(numbers[1])


def test_two_runs_on_one_fold_one_run_and_an_unscored_run_are_refused(folded, finished, capsys):
    workspace, study, runs = folded
    command = ["--study", str(finished.study_file.path), "--workspace", str(finished.workspace.folder), "--json"]
    [plain] = finished.workspace.rows("select run_id from runs where control = 'plain'")
    with pytest.raises(WorkspaceError, match="the runs of two folds at least"):
        pool_folds(workspace, study, runs[:1])
    with pytest.raises(SystemExit) as ended:
        main([*command, "pool-folds", finished.run_id, plain["run_id"]])

    assert 1 == ended.value.code
    assert "of the same patients: they are not folds" in " ".join(capsys.readouterr().err.split())


def test_the_command_gives_the_same_numbers_as_json(folded, tmp_path, capsys):
    workspace, study, runs = folded
    text = (shipped("manifests") / "demo.toml").read_text().replace('pinned = "demo.split"', "uneven = true")
    (tmp_path / "study.toml").write_text(text)
    with pytest.raises(SystemExit) as ended:
        main(
            [
                "--study",
                str(tmp_path / "study.toml"),
                "--workspace",
                str(workspace.folder),
                "--json",
                "pool-folds",
                *runs,
            ]
        )
    result = json.loads(capsys.readouterr().out)

    assert 0 == ended.value.code
    assert runs == result["run_ids"]
    [expected] = [row for row in pool_folds(workspace, study, runs).rows if row["metric"] == "balanced_accuracy"]
    [said] = [row for row in result["rows"] if row["metric"] == "balanced_accuracy"]
    assert (expected["value"], expected["low"]) == pytest.approx((said["value"], said["low"]))


def test_the_study_of_pacheco_has_five_folds_six_classes_and_metadata_in_its_prompt_and_baseline():
    study = load_study(shipped("manifests") / "pad_ufes_20-pacheco.toml")

    assert 5 == study.split.folds
    assert 6 == len(study.classes)
    assert {"age", "sex", "anatomical_site"} == set(study.prompt.fields)
    assert set(study.prompt.fields) < set(study.baseline.fields)
