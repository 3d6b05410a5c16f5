"""Photographs that nobody has labelled: predicted, and listed in the order in which to label them."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import entropy

from toolkit.cli import main
from toolkit.csv_files import MARK
from toolkit.errors import WorkspaceError
from toolkit.robustness import next_batch_with_page
from toolkit.stages.evaluate import evaluate
from toolkit.stages.next_batch import next_batch
from toolkit.stages.predict import predict
from toolkit.stages.push.predictions import plan_of
from toolkit.stats.next_batch import next_batch as in_order
from toolkit.workspace.registry import Workspace


@pytest.fixture(scope="module")
def unlabelled(textured, tmp_path_factory):
    """The run that rests on texture, with its predictions of the photographs without a label."""
    copy = Workspace(tmp_path_factory.mktemp("unlabelled") / "workspace")
    shutil.copytree(textured.workspace.folder, copy.folder)
    return copy, textured, predict(copy, textured.study, parts=("unlabelled",))


def test_only_photographs_without_a_label_and_outside_the_split_are_predicted(unlabelled):
    workspace, _, made = unlabelled
    rows = workspace.shipped_rows("unlabelled")
    labelled = {
        row["case_id"] for row in workspace.rows("select case_id from readings union select case_id from splits")
    }

    assert {"unlabelled": 24} == made.cases
    assert 24 == len(rows)
    assert set() == labelled & {row["case_id"] for row in rows}
    assert made.scores_are_older is False


def test_uncertainty_is_scipy_s_entropy_over_that_of_equal_probabilities(unlabelled):
    workspace, _, _ = unlabelled
    asked = "select case_id, probabilities from predictions where part = 'unlabelled'"
    expected = {
        row["case_id"]: entropy(list(dict(row["probabilities"]).values())) / np.log(len(row["probabilities"]))
        for row in workspace.rows(asked)
    }

    assert expected == pytest.approx(
        {row["case_id"]: row["uncertainty"] for row in workspace.shipped_rows("unlabelled")}
    )


def test_each_patient_comes_once_before_any_comes_twice_and_known_patients_a_round_later():
    uncertainty = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    patients = ["a", "a", "b", "c", "b"]

    assert [0, 2, 3, 1, 4] == in_order(uncertainty, patients, size=9)
    assert [2, 3, 0, 4, 1] == in_order(uncertainty, patients, size=9, known=frozenset("a"))
    assert [0, 2] == in_order(uncertainty, patients, size=2)
    assert [] == in_order(np.array([]), [], size=3)


def test_a_run_with_unlabelled_predictions_is_evaluated_as_before(unlabelled):
    workspace, textured, _ = unlabelled
    scored = evaluate(workspace, textured.study)

    assert {"test", "validation"} == set(scored.cases)
    assert [] == workspace.rows("select * from scored where part = 'unlabelled'")


def test_the_batch_is_on_the_page_in_the_csv_and_in_the_terminal(unlabelled):
    workspace, textured, _ = unlabelled
    batch, page = next_batch_with_page(workspace, textured.study, cases=5)
    text = Path(page.page).read_text(encoding="utf-8")
    content = (Path(page.page).parent / "next_batch.csv").read_text(encoding="utf-8").removeprefix(MARK)
    rows = list(csv.DictReader(content.splitlines()))

    assert 5 == len(batch.rows) == batch.patients
    assert [row["case_id"] for row in batch.rows] == [row["case_id"] for row in rows]
    assert all(row["case_id"] in text for row in batch.rows)
    assert batch.mean_uncertainty == pytest.approx(np.mean([row["uncertainty"] for row in batch.rows]))
    assert batch.mean_uncertainty >= batch.mean_uncertainty_of_all
    assert batch == next_batch(workspace, cases=5)


def test_labelbox_gets_their_predictions_and_no_subset_for_them(unlabelled):
    workspace, textured, _ = unlabelled
    plan, _ = plan_of(workspace, textured.study, textured.run_id)
    images = {row["image_id"] for row in workspace.shipped_rows("unlabelled")}

    assert images < {item.image_id for item in plan.predictions}
    assert set() == images & {item.image_id for item in plan.splits}


def test_what_was_labelled_since_is_not_proposed_again(unlabelled, tmp_path):
    workspace, _, _ = unlabelled
    copy = Workspace(tmp_path / "workspace")
    shutil.copytree(workspace.folder, copy.folder)
    first = next_batch(copy, cases=1).rows[0]["case_id"]
    with copy.writing() as connection:
        connection.execute(
            "insert into readings select * replace (? as case_id) from readings limit 1", [first]
        )  # as if an export had brought it

    assert first not in {row["case_id"] for row in next_batch(copy, cases=100).rows}


def test_without_predictions_or_without_such_photographs_the_next_step_is_said(textured, finished, capsys):
    with pytest.raises(WorkspaceError, match="has predicted no photograph without a label") as refused:
        next_batch(textured.workspace)
    command = ["--study", str(finished.study_file.path), "--workspace", str(finished.workspace.folder), "--json"]
    with pytest.raises(SystemExit) as ended:
        main([*command, "next-batch", "--cases", "0"])

    assert "--part unlabelled" in refused.value.remedy
    assert 2 == ended.value.code
    assert json.dumps("usage")[1:-1] in capsys.readouterr().err
