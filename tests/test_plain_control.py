"""The control that every run must beat: plain colour, texture and shape of its training set."""

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from toolkit.console import show
from toolkit.errors import WorkspaceError
from toolkit.models import plain
from toolkit.stages.predict import predict
from toolkit.stages.report.facts import gather
from toolkit.stages.report.first_screen import badges
from toolkit.stages.report.methods import methods
from toolkit.stages.report.origin import trained
from toolkit.stages.status import status
from toolkit.stages.withdraw.results import runs_on
from toolkit.workspace import sql
from toolkit.workspace.measured_cases import measure
from toolkit.workspace.runs import find_run, read_run

PREDICTED = "select * from predictions where run_id = $run and part = 'test' order by case_id"


@pytest.fixture(scope="module")
def control(finished) -> str:
    """The run ID of the plain control of the finished run."""
    [row] = finished.workspace.rows("select run_id from runs where control = 'plain'")
    return row["run_id"]


def by_hand(workspace, classes, seed):
    """Return the probabilities of the test set by scikit-learn alone, in the order of case IDs."""
    [split] = {row["split_id"] for row in workspace.rows("select split_id from runs")}
    rows = workspace.rows(sql.statement("predict/plain_cases"), {"split_id": split})
    features = measure(workspace, rows, lambda *_: None).features
    frame = pd.DataFrame(rows)
    training = ((frame["part"] == "train") & frame["class_name"].notna()).to_numpy()
    scaler = StandardScaler().fit(features[training])
    columns = scaler.transform(features).clip(-6, 6)
    fitted = (
        LogisticRegression(C=1 / 300, max_iter=500),
        ExtraTreesClassifier(100, min_samples_leaf=2, max_features="sqrt", random_state=seed),
    )
    test = (frame["part"] == "test").to_numpy()
    product = np.ones((int(test.sum()), len(classes)))
    for estimator in fitted:
        estimator.fit(columns[training], frame["class_name"][training].map(classes.index))
        product *= estimator.predict_proba(columns[test]) + 1e-3
    return np.sqrt(product) / np.sqrt(product).sum(axis=1, keepdims=True)


def test_its_probabilities_are_those_of_scikit_learn_on_the_training_set_alone(finished, control):
    study = finished.study_file.study
    rows = finished.workspace.rows(PREDICTED, {"run": control})
    stored = np.array([[dict(row["probabilities"])[name] for name in study.class_names] for row in rows])

    expected = by_hand(finished.workspace, study.class_names, study.study.seed)

    np.testing.assert_allclose(stored, expected, atol=1e-6)
    assert {1.0} == {round(row["label_mass"], 9) for row in rows}


def test_it_is_never_the_latest_run_and_asks_for_no_next_step(finished, control):
    [named] = finished.workspace.rows("select run_id from run_names where name = 'latest'")

    assert finished.run_id == find_run(finished.workspace, "latest") == named["run_id"]
    assert control != finished.run_id
    assert "toolkit query" == status(finished.workspace).next


def test_whether_the_run_beats_it_is_said_by_query_page_and_terminal_alike(finished, control, capsys):
    study = finished.study_file.study
    compared = finished.results["ComparedWithControl"]
    [row] = [row for row in compared.rows if (row["part"], row["metric"]) == ("test", "macro_recall")]
    asked = {
        each["shown"]: each for each in finished.workspace.shipped_rows("controls", part="test", metric="macro_recall")
    }["plain"]
    facts = gather(finished.workspace, study, finished.run_id)
    [badge] = [badge for badge in badges(facts) if "plain colour, texture and shape alone" in badge.text]
    word = {True: "Better than", False: "Not clearly better than"}[row["high"] < 0]
    show(compared, as_json=False)

    assert control == row["other_run_id"] == asked["run_id"]
    assert (row["difference"], row["low"], row["high"]) == tuple(
        asked[f"difference_{name}"] for name in ("from_run", "low", "high")
    )
    assert badge.text.startswith("Worse than" if row["low"] > 0 else word)
    assert f"{row['other_value']:.3f} of the control, {row['value']:.3f} of the run" in capsys.readouterr().out


def test_no_label_of_the_test_set_has_a_part_in_it(copied, finished, control):
    before = copied.rows(PREDICTED, {"run": control})
    test = [row["case_id"] for row in before]
    with copied.writing() as connection:
        connection.execute(
            "update reading_history set class_name = 'nevus' where case_id in (select unnest(?))", [test]
        )
    now = {row["class_name"] for row in copied.rows("from truth where list_contains($test, case_id)", {"test": test})}
    again = predict(copied, finished.study_file.study, control="plain")

    assert {"nevus"} == now
    assert 0 == again.scored_now
    assert before == copied.rows(PREDICTED, {"run": control})


def test_other_labels_in_training_make_other_predictions(copied, finished, control):
    before = copied.rows(PREDICTED, {"run": control})
    [split] = {row["split_id"] for row in copied.rows("select split_id from runs")}
    with copied.writing() as connection:
        connection.execute(
            "update reading_history set class_name = 'nevus' where case_id in "
            "(select case_id from splits where split_id = ? and part = 'train' order by case_id limit 20)",
            [split],
        )
    again = predict(copied, finished.study_file.study, run=control, parts=("test",))

    assert (control, finished.run_id) == (again.run_id, again.control_of)
    assert len(before) == again.scored_now
    assert before != copied.rows(PREDICTED, {"run": control})


def test_a_control_that_was_fitted_again_is_of_the_labels_of_today_in_record_and_registry(copied, finished, control):
    with copied.writing() as connection:
        connection.execute("update label_states set truth_id = 'majority-00000000'")
    before = [run["stale"] for run in status(copied).runs if run["control"]]
    predict(copied, finished.study_file.study, control="plain")
    after = [run["stale"] for run in status(copied).runs if run["control"]]

    assert ([True], [False]) == (before, after)
    assert "majority-00000000" == read_run(copied, control).truth_id
    assert [{"truth_id": "majority-00000000"}] == copied.rows(
        "select truth_id from runs where run_id = $run", {"run": control}
    )


def test_its_own_page_says_what_it_is(finished, control):
    facts = gather(finished.workspace, finished.study_file.study, control)
    text = " ".join(paragraph.text for paragraph in methods(facts))

    assert trained(facts).startswith(f"This is a control of run {finished.run_id} without a neural network")
    assert "on 2" in text or "plain features of colour, texture and shape" in text
    assert "AdamW" not in text
    assert "gets no prompt" in text


def test_a_split_without_a_training_set_has_none(copied, finished):
    with copied.writing() as connection:
        connection.execute("update splits set part = 'validation' where part = 'train'")

    with pytest.raises(WorkspaceError, match="no case of part train has a reference diagnosis"):
        predict(copied, finished.study_file.study, control="plain")


@pytest.mark.soak
def test_a_photograph_that_cannot_be_opened_is_named(copied, finished):
    (copied.features / "plain" / "cases.parquet").unlink()
    [row, *_] = copied.rows("select case_id, image_id from splits inner join cases using (case_id) order by case_id")
    with copied.writing() as connection:
        connection.execute("update images set path = path || '-gone' where image_id = ?", [row["image_id"]])

    with pytest.raises(WorkspaceError, match=f"the first is of case {row['case_id']}"):
        predict(copied, finished.study_file.study, control="plain")


def test_it_saw_the_patients_of_the_training_set(finished, control):
    split = read_run(finished.workspace, control).split_id

    assert {finished.run_id, control} == set(runs_on(finished.workspace, {split}))


def test_a_training_set_of_one_class_gives_that_class():
    model = plain.fit(np.random.default_rng(0).normal(size=(12, 3)), np.full(12, 2), seed=0)

    assert [[0, 0, 1, 0]] * 2 == model.probabilities(np.zeros((2, 3)), classes=4).tolist()
