"""`impact` on a small registry: against scikit-learn, its own question in SQL, and by hand."""

import json
from collections import Counter
from datetime import timedelta

import duckdb
import numpy as np
import pytest
from queues import ITEMS, NAMES, QUEUE, a_queue, a_queued_registry, reviewed
from registries import IDS, TIME, a_registry, a_study
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from toolkit.cli import main
from toolkit.errors import WorkspaceError
from toolkit.stages.impact import impact


@pytest.fixture
def queued(tmp_path):
    return a_queued_registry(tmp_path)


def by_sklearn(workspace, changes: dict[str, str | None], part="test") -> dict[str, float]:
    scored = workspace.rows("select case_id, truth, predicted from scored where part = $part", {"part": part})
    pairs = [(changes.get(row["case_id"], row["truth"]), row["predicted"]) for row in scored]
    truth, predicted = zip(*[pair for pair in pairs if pair[0] is not None], strict=True)
    seen = sorted({*truth, *predicted})
    return {
        "accuracy": accuracy_score(truth, predicted),
        "macro_recall": balanced_accuracy_score(truth, predicted),
        "macro_f1": f1_score(truth, predicted, labels=seen, average="macro"),
    }


def values(result, column: str) -> dict[str, float]:
    return {row["metric"]: row[column] for row in result.of_run.scores if row["class_name"] is None}


SUGGESTED = {"0007": "nevus", "0006": "nevus", "0001": "malignant_melanoma", "0008": "nevus"}


def test_before_a_review_the_suggestions_are_told_and_nothing_is_estimated(queued):
    workspace, study = queued
    result = impact(workspace, study)

    assert (QUEUE, 6, 5, {"untouched": 6}) == (result.queue_id, result.cases, result.patients, result.outcomes)
    assert ("test", 0, 4) == (result.of_run.part, result.of_run.changed, result.of_run.suggested)
    for column, changes in {"before": {}, "reviewed": {}, "suggested": SUGGESTED}.items():
        expected = by_sklearn(workspace, changes)

        assert expected == pytest.approx({name: values(result, column)[name] for name in expected}), column
    for row in result.estimates:
        assert np.isnan([row["value"], row["low"], row["high"]]).all()
        assert (0, 0) == (row["patients"], row["cases"])


def test_what_reviewers_say_counts_and_suggestions_only_where_nobody_said_anything(queued):
    workspace, study = queued
    reviewed(workspace, ("0007", "r-1", "keratosis"), ("0006", "r-1", "malignant_melanoma"), ("0008", "r-1", None))
    result = impact(workspace, study)
    bounds = result.of_run.bounds
    two = [by_sklearn(workspace, {"0007": "keratosis", **more})["macro_f1"] for more in ({}, {"0001": NAMES[1]})]

    assert {"changed": 1, "confirmed": 1, "cannot_tell": 1, "untouched": 3} == result.outcomes
    assert (1, 1) == (result.of_run.changed, result.of_run.suggested)
    for column, changes in {"reviewed": {}, "suggested": {"0001": "malignant_melanoma"}}.items():
        expected = by_sklearn(workspace, {"0007": "keratosis", **changes})

        assert expected == pytest.approx({name: values(result, column)[name] for name in expected}), column
    assert (min(two), max(two)) == pytest.approx((bounds["low"], bounds["high"]))
    assert bounds["exact"]


@pytest.mark.soak
def test_the_question_gives_the_same_numbers_by_sql(queued):
    workspace, study = queued
    reviewed(workspace, ("0007", "r-1", "keratosis"), ("0003", "r-1", "keratosis"))
    result = impact(workspace, study)
    known = {(row["metric"], row["class_name"]): row for row in result.of_run.scores}
    undefined = dict.fromkeys(("before", "reviewed", "suggested"))

    for answer in (workspace.shipped_rows("impact"), workspace.sql(result.of_run.query).to_pylist()):
        by_sql = {(row["metric"], row["class_name"]): row for row in answer}
        assert set(by_sql) <= set(known)
        for key, row in known.items():
            for labels in undefined:
                value = by_sql.get(key, undefined)[labels]
                assert row[labels] == pytest.approx(np.nan if value is None else value, nan_ok=True), key


def test_a_suggestion_that_reviewers_are_not_shown_counts_for_nothing(queued):
    workspace, study = queued
    with workspace.writing() as connection:
        connection.execute("update queue_items set score = 0.019 where case_id in ('0007', '0006', '0008')")
    result = impact(workspace, study)

    assert 1 == result.of_run.suggested
    assert ["0001"] == [row["case_id"] for row in result.of_run.candidates]


def test_reviewers_who_differ_leave_a_case_without_a_class_and_a_newer_verdict_replaces_an_older_one(queued):
    workspace, study = queued
    reviewed(workspace, ("0007", "r-1", "keratosis"), ("0007", "r-2", "nevus"), ("0006", "r-1", "nevus"))
    reviewed(workspace, ("0006", "r-1", "malignant_melanoma"), review_id="eeee00000002", days=2)
    result = impact(workspace, study)
    expected = by_sklearn(workspace, {"0007": None})

    assert {"unresolved": 1, "confirmed": 1, "untouched": 4} == result.outcomes
    assert expected == pytest.approx({name: values(result, "reviewed")[name] for name in expected})


@pytest.mark.soak
def test_most_of_three_reviewers_decide(queued):
    workspace, study = queued
    reviewed(workspace, ("0007", "r-1", "keratosis"), ("0007", "r-2", "nevus"), ("0007", "r-3", "nevus"))
    expected = by_sklearn(workspace, {"0007": "nevus"})
    result = impact(workspace, study)

    assert expected == pytest.approx({name: values(result, "reviewed")[name] for name in expected})


@pytest.mark.soak
def test_the_error_rate_rests_on_the_random_patients_alone(queued):
    workspace, study = queued
    reviewed(workspace, ("0007", "r-1", "nevus"), ("0006", "r-1", "nevus"), ("0008", "r-1", "nevus"))
    reviewed(workspace, ("0000", "r-1", "nevus"), ("0001", "r-1", "malignant_melanoma"), review_id="eeee00000002")
    reviewed(workspace, ("0010", "r-1", "malignant_melanoma"), review_id="eeee00000003")
    rate, accuracy = impact(workspace, study).estimates

    assert (1 / 3, 3, 3, 12, 14) == tuple(
        rate[name] for name in ("value", "patients", "cases", "of_patients", "of_cases")
    )
    # 4 of 14 labels are known to be wrong, 2 to be right
    assert 4 / 14 <= rate["low"] <= rate["value"] <= rate["high"] <= 12 / 14
    # the random patients have two test cases, which the model had right: one of them it has not
    assert (2, 2, 7, 9) == tuple(accuracy[name] for name in ("patients", "cases", "of_patients", "of_cases"))
    assert 4 / 9 - 1 / 2 == pytest.approx(accuracy["value"])
    # of the 5 reviewed test cases the model has 4 right: one that it had, and three that it had wrong
    assert 4 / 9 <= accuracy["low"] <= accuracy["high"] <= 8 / 9


def test_the_corrected_accuracy_is_as_it_is_plus_gains_less_losses_of_random_patients(queued):
    workspace, study = queued
    with workspace.writing() as connection:
        connection.execute("update queue_items set random = true where patient_id in ('p-5', 'p-6')")
    changed = {"0001": "malignant_melanoma", "0006": "nevus", "0007": "nevus", "0008": "nevus"}
    reviewed(workspace, ("0000", "r-1", "nevus"), *((case_id, "r-1", name) for case_id, name in changed.items()))
    accuracy = impact(workspace, study).estimates[1]

    # of five random cases three become right, and one is wrong after all
    assert 4 / 9 + 3 / 5 - 1 / 5 == pytest.approx(accuracy["value"])
    assert (4, 5) == (accuracy["patients"], accuracy["cases"])
    assert 4 / 9 <= accuracy["low"] <= accuracy["value"] <= accuracy["high"] <= 8 / 9


def test_a_random_patient_counts_once_all_of_its_cases_are_reviewed(queued):
    workspace, study = queued
    with workspace.writing() as connection:
        connection.execute("update queue_items set patient_id = 'p-0' where case_id = '0001'")
    reviewed(workspace, ("0000", "r-1", "keratosis"))
    half = impact(workspace, study).estimates[0]
    reviewed(workspace, ("0001", "r-1", None), review_id="eeee00000002")
    whole = impact(workspace, study).estimates[0]

    assert (0, 0) == (half["patients"], half["cases"])
    assert np.isnan(half["value"])
    assert (1.0, 1, 1) == (whole["value"], whole["patients"], whole["cases"])


def test_only_patients_drawn_from_all_stand_for_all(queued):
    """A queue may draw more patients of the test set, beside those of whom a model alone is suspicious."""
    workspace, study = queued
    with workspace.writing() as connection:
        columns = {name for (name, *_) in connection.execute("describe queue_items").fetchall()}
        if "drawn_from" not in columns:
            connection.execute("alter table queue_items add column drawn_from text")
        connection.execute("update queue_items set drawn_from = if(case_id = '0001', 'test', 'all') where random")
    reviewed(workspace, *((case_id, "r-1", "keratosis") for case_id in ("0000", "0001", "0010")))
    rate = impact(workspace, study).estimates[0]

    assert (2, 2) == (rate["patients"], rate["cases"])


@pytest.mark.soak
def test_candidates_come_by_what_they_move(queued):
    workspace, study = queued
    reviewed(workspace, ("0008", "r-1", "keratosis"))
    result = impact(workspace, study)
    candidates = result.of_run.candidates
    expected = [abs(row["expected"]) for row in candidates]
    total = sum(row["contribution"] for row in candidates)

    assert {"0007", "0006", "0001", "0008"} == {row["case_id"] for row in candidates}
    assert sorted(expected, reverse=True) == expected
    assert values(result, "suggested")["macro_f1"] - values(result, "before")["macro_f1"] == pytest.approx(total)
    assert {"0008": 1.0, "0007": 0.9} == {
        row["case_id"]: row["probability"] for row in candidates if row["case_id"] in ("0007", "0008")
    }


def test_a_label_that_changed_in_labelbox_is_reviewed_and_one_labelled_again_is_confirmed(queued):
    workspace, study = queued
    later = (TIME + timedelta(days=3)).isoformat(sep=" ")
    with workspace.writing() as connection:
        connection.execute("update reading_history set class_name = 'nevus' where case_id = '0007'")
        connection.execute(f"update labels set updated_at = '{later}' where label_id in ('label-7', 'label-6')")
    result = impact(workspace, study)

    assert {"untouched": 4, "changed": 1, "confirmed": 1} == result.outcomes
    assert by_sklearn(workspace, {})["macro_f1"] == pytest.approx(values(result, "reviewed")["macro_f1"])
    assert by_sklearn(workspace, {"0007": NAMES[1]})["macro_f1"] == pytest.approx(values(result, "before")["macro_f1"])


@pytest.mark.soak
def test_the_newest_queue_is_meant_unless_one_is_named(queued):
    workspace, study = queued
    a_queue(workspace, ITEMS[:1], queue_id="dddd0002", made_at=TIME + timedelta(days=5))

    assert ("dddd0002", QUEUE) == (impact(workspace, study).queue_id, impact(workspace, study, QUEUE).queue_id)
    with pytest.raises(WorkspaceError, match=r"(?s)no such queue: x'y.*dddd0002, dddd0001"):
        impact(workspace, study, "x'y")


def test_without_a_queue_or_scores_the_next_step_is_told(tmp_path):
    study = a_study()
    workspace = a_registry(tmp_path, study)
    with pytest.raises(WorkspaceError, match=r"(?s)no queue was made yet.*toolkit queue"):
        impact(workspace, study)
    a_queue(workspace)
    with pytest.raises(WorkspaceError, match=f"toolkit evaluate --run {IDS['run_id']}"):
        impact(workspace, study)


def test_a_registry_of_an_earlier_version_has_no_queue(tmp_path):
    study = a_study()
    workspace = a_registry(tmp_path, study)
    with duckdb.connect(workspace.registry) as connection:
        connection.execute("drop view queue_outcomes; drop table queue_items; drop table queues")

    with pytest.raises(WorkspaceError, match="no queue was made yet"):
        impact(workspace, study)


@pytest.mark.soak
def test_without_a_run_the_error_rate_is_estimated_all_the_same(queued):
    workspace, study = queued
    for table in ("scores", "predictions", "epochs", "runs"):
        with workspace.writing() as connection:
            connection.execute(f"delete from {table}")
    reviewed(workspace, *((case, "r-1", "keratosis") for case in ("0000", "0001", "0010")))
    result = impact(workspace, study)

    assert result.of_run is None
    assert (1.0, 3) == (result.estimates[0]["value"], result.estimates[0]["patients"])


def test_a_part_that_was_not_scored_is_refused(queued):
    workspace, study = queued

    assert "validation" == impact(workspace, study, part="validation").of_run.part
    with pytest.raises(WorkspaceError, match=r"(?s)not scored.*train.*test, validation"):
        impact(workspace, study, part="train")


def test_the_scores_before_are_those_of_evaluate(finished, copied):
    case = copied.rows("select case_id, patient_id from scored where part = 'test' order by case_id limit 1")[0]
    with copied.writing() as connection:
        connection.execute("delete from queues; delete from queue_items")
    a_queue(copied, [(case["case_id"], case["patient_id"], True, None, float("nan"))])
    result = impact(copied, finished.study_file.study)
    scores = copied.rows(
        "select metric, class_name, value from scores where part = 'test' and run_id = $run", {"run": finished.run_id}
    )
    known = {(row["metric"], row["class_name"]): row["value"] for row in scores}

    assert len(result.of_run.scores) > 20
    for row in result.of_run.scores:
        for column in ("before", "reviewed", "suggested"):
            assert known[row["metric"], row["class_name"]] == pytest.approx(row[column], nan_ok=True)


def test_the_terminal_says_it_and_json_has_every_number(copied, capsys):
    rows = copied.rows(
        "select distinct case_id, patient_id, truth from scored where part = 'test' order by case_id limit 3"
    )
    other = Counter(row["truth"] for row in copied.rows("select truth from scored")).most_common()[-1][0]
    a_queue(copied, [(row["case_id"], row["patient_id"], True, other, 0.5) for row in rows])
    workspace = ["--workspace", str(copied.folder)]
    with pytest.raises(SystemExit) as ended:
        main([*workspace, "impact"])
    text = " ".join(capsys.readouterr().out.split())
    with pytest.raises(SystemExit):
        main([*workspace, "--json", "impact", QUEUE])
    document = json.loads(capsys.readouterr().out)

    assert 0 == ended.value.code
    assert "nothing reviewed" in text
    assert "macro F1 on the test set of run" in text
    assert QUEUE == document["impact"]["queue_id"]
    assert document["impact"]["estimates"][0]["value"] is None
    assert document["impact"]["of_run"]["bounds"]["exact"]
