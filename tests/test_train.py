import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
from exports import label, row

from toolkit.errors import ModelError, WorkspaceError
from toolkit.photographs.crops import case_pixels
from toolkit.progress import silent
from toolkit.prompts.ablation import photographs
from toolkit.prompts.prompt import prompts_of
from toolkit.stages.split import split
from toolkit.stages.train import _examples, train
from toolkit.workspace.runs import find_split, resolved_cases


def test_a_run_leaves_a_checkpoint_its_losses_and_its_record(finished):
    folder = finished.workspace.run(finished.run_id)
    facts = json.loads((folder / "run.json").read_text())
    with (folder / "loss.csv").open(newline="") as file:
        losses = list(csv.DictReader(file))

    assert {"config.json", "model.safetensors"} <= {path.name for path in (folder / "checkpoint").iterdir()}
    assert 5 == len(losses) == len(facts["epochs"])
    assert float(losses[-1]["train_loss"]) < float(losses[0]["train_loss"])
    assert {"macro_recall", "macro_specificity", "macro_pr_auc"} <= set(losses[0])
    assert finished.run_id == facts["run_id"]
    assert not (folder / "training").exists()


def test_the_record_holds_no_key(finished):
    text = (finished.workspace.run(finished.run_id) / "run.json").read_text()

    assert "privacy" not in text
    assert finished.study_file.study.privacy.published_key not in text


def test_a_finished_run_is_not_trained_again(finished):
    again = train(finished.workspace, finished.study_file.study, study_folder=finished.study_file.folder)

    assert again.already_there
    assert finished.run_id == again.run_id
    assert finished.results["Trained"].metrics == again.metrics


def test_only_training_cases_are_trained_on(finished):
    counted = finished.workspace.rows("select part, count(*) as n from splits group by part")
    cases = {r["part"]: r["n"] for r in counted}

    assert cases["train"] == finished.results["Trained"].train_cases
    assert cases["validation"] == finished.results["Trained"].validation_cases


def test_training_is_asked_what_prediction_is_asked(finished):
    study = finished.study_file.study
    asked = study.prompt.model_copy(update={"user": "A lesion[ of a {age} year old]. What is it?"})
    study = study.model_copy(update={"prompt": asked})
    cases = resolved_cases(finished.workspace, finished.results["Split"].split_id, "train")[:3]
    examples = _examples(finished.workspace, study, SimpleNamespace(input_size=8), cases, silent)

    assert prompts_of(finished.workspace, study, [case.case_id for case in cases]).texts == examples.prompts
    assert any("year old" in prompt for prompt in examples.prompts)


@pytest.mark.parametrize("shape", ["squash", "pad"])
def test_training_and_prediction_see_the_same_crops(finished, shape):
    study = finished.study_file.study
    study = study.model_copy(update={"model": study.model.model_copy(update={"roi_shape": shape})})
    cases = resolved_cases(finished.workspace, finished.results["Split"].split_id, "train")[:3]
    trained_on = _examples(finished.workspace, study, SimpleNamespace(input_size=32), cases, silent).photographs
    predicted_from = photographs(None, cases, study.model, size=32, seed=0)

    margin = study.model.roi_margin
    for n, case in enumerate(cases):
        expected = case_pixels(case.path.read_bytes(), case.roi, margin=margin, size=32, shape=shape)
        np.testing.assert_array_equal(expected, trained_on[n])
        np.testing.assert_array_equal(expected, predicted_from[n])


@pytest.mark.soak
def test_an_interrupted_training_is_not_thrown_away(finished, copied):
    study = finished.study_file.study
    longer = study.model_copy(update={"train": study.train.model_copy(update={"epochs": 2})})

    def interrupt(activity, done, total):
        if activity == "training" and done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(copied, longer, study_folder=finished.study_file.folder, progress=interrupt)
    with pytest.raises(ModelError, match="--resume"):
        train(copied, longer, study_folder=finished.study_file.folder)
    resumed = train(copied, longer, study_folder=finished.study_file.folder, resume=True)

    assert 2 == resumed.epochs
    assert np.isfinite(resumed.validation_loss)
    assert resumed.run_id != finished.run_id


def test_a_split_without_photographs_cannot_be_trained_on(parsed, study, tmp_path):
    rows = [row(f"i{n}", label(f"L{n}", ["nevus", "melasma"][n % 2]), patient=f"P-{n}") for n in range(20)]
    workspace = parsed(*rows)
    split(workspace, study)

    with pytest.raises(WorkspaceError, match="have no photograph"):
        train(workspace, study, study_folder=tmp_path)


def test_a_model_that_is_not_there_is_named(finished):
    study = finished.study_file.study
    other = study.model_copy(update={"model": study.model.model_copy(update={"name": "./no-such-folder"})})

    with pytest.raises(ModelError, match="no-such-folder"):
        train(finished.workspace, other, study_folder=finished.study_file.folder)


def test_no_split_says_what_to_do(parsed, study, tmp_path):
    with pytest.raises(WorkspaceError, match="no split"):
        train(parsed(row("i1", label("L1", "nevus"))), study, study_folder=tmp_path)


def test_the_split_to_train_on_can_be_named(finished):
    again = train(
        finished.workspace,
        finished.study_file.study,
        study_folder=finished.study_file.folder,
        split_id=finished.results["Split"].split_id,
    )

    assert finished.run_id == again.run_id
    with pytest.raises(WorkspaceError, match="no such split: nosuch"):
        train(finished.workspace, finished.study_file.study, study_folder=finished.study_file.folder, split_id="nosuch")


def test_each_fold_of_a_cross_validation_can_be_found(parsed, study):
    rows = [row(f"i{n}", label(f"L{n}", ("nevus", "melasma")[n % 2]), patient=f"P-{n}") for n in range(20)]
    workspace = parsed(*rows)
    folds = study.split.model_copy(update={"folds": 3})
    made = split(workspace, study.model_copy(update={"split": folds}))

    assert 3 == len(set(made.folds))
    assert made.folds == [find_split(workspace, name) for name in ("latest", *made.folds[1:])]
