import numpy as np
import pytest

from toolkit.errors import WorkspaceError
from toolkit.stages.compare import AREAS, MEANS, RunPair, compare, differences
from toolkit.workspace import sql
from toolkit.workspace.class_arrays import ClassArrays

OTHER = "0000000b"


@pytest.fixture
def two_runs(finished, copied):
    """A second run that gets the first two of its twin's errors on test right, and breaks one other case."""
    with copied.writing() as connection:
        own = finished.run_id
        connection.execute(f"insert into runs select * replace ('{OTHER}' as run_id) from runs where run_id = '{own}'")
        for table in ("predictions", "scores"):
            twin = f"select * replace ('{OTHER}' as run_id) from {table} where run_id = '{own}'"
            connection.execute(f"insert into {table} {twin}")
        rows = connection.execute(
            f"select case_id, truth, predicted from scored where run_id = '{own}' and part = 'test' order by case_id"
        ).fetchall()
        wrong = [row for row in rows if row[1] != row[2]][:2]
        right = next(row for row in rows if row[1] == row[2])
        classes = sorted({row[1] for row in rows})
        for case_id, truth, predicted in [*wrong, right]:
            changed = truth if truth != predicted else next(c for c in classes if c != truth)
            connection.execute(
                "update predictions set predicted = ?, confidence = 0.99, probabilities = map_from_entries("
                "list_transform(map_keys(probabilities), lambda k: (k, case when k = ? then 0.99 else 0.01 / 7 end)))"
                f" where run_id = '{OTHER}' and case_id = ?",
                [changed, changed, case_id],
            )
    copied.run(OTHER).mkdir()
    return copied


def test_fixed_and_broken_cases_are_counted_and_listed(finished, two_runs):
    result = compare(two_runs, finished.study_file.study, finished.run_id, OTHER)
    listed = two_runs.shipped_rows("fixed_and_broken", run=finished.run_id, other=OTHER)
    cases = result.cases["test"]

    assert (2, 1) == (cases["fixed"], cases["broken"])
    assert ["broken", "fixed", "fixed"] == [row["change"] for row in listed]
    assert 1 / sum(cases.values()) == pytest.approx(result.differences["test"]["accuracy"][0])
    assert 0 == result.differences["validation"]["accuracy"][0]


def test_a_comparison_stands_in_the_registry_once(finished, two_runs):
    for _ in range(2):
        compare(two_runs, finished.study_file.study, finished.run_id, OTHER)
    rows = two_runs.shipped_rows("comparison", run=finished.run_id, other=OTHER)
    keys = [(row["cause"], row["metric"], row["class_name"]) for row in rows]

    assert len(set(keys)) == len(keys) > 8
    scores = two_runs.rows(
        "select metric, class_name, value from scores where part = 'test' and run_id = $run",
        {"run": finished.run_id},
    )
    known = {(score["metric"], score["class_name"]): score["value"] for score in scores}
    for row in rows:
        assert known[row["metric"], row["class_name"]] == pytest.approx(row["value"], abs=1e-12, nan_ok=True)


def test_labels_that_did_not_change_explain_nothing(finished, two_runs):
    (export,) = two_runs.rows("select export_id from exports")
    result = compare(two_runs, finished.study_file.study, finished.run_id, OTHER, since=export["export_id"])

    assert 0 == result.relabelling["test"]["accuracy"][0]
    assert 1 == result.relabelling["test"]["accuracy"][3]


@pytest.mark.soak
def test_a_run_against_itself_shows_what_new_labels_alone_change(finished, two_runs):
    run, study = finished.run_id, finished.study_file.study
    (export,) = two_runs.rows("select export_id, latest_at from exports")
    scored = two_runs.rows(f"select case_id, truth, predicted from scored where run_id = '{run}' and part = 'test'")
    wrong = next(row for row in scored if row["truth"] != row["predicted"])
    with two_runs.writing() as connection:
        connection.execute(
            "insert into exports select * replace ('e2' as export_id, 'e2' as sha256, 2 as moment) from exports"
        )
        new = "select * replace (2 as since, ? as class_name) from reading_history where case_id = ?"
        connection.execute(f"insert into reading_history {new}", [wrong["predicted"], wrong["case_id"]])
        connection.execute("update reading_history set until = 2 where case_id = ? and since < 2", [wrong["case_id"]])
    result = compare(two_runs, study, run, run, since=export["export_id"])
    by_time = compare(two_runs, study, run, OTHER, since=str(export["latest_at"]))
    stored = two_runs.shipped_rows("comparison", run=run, other=run)

    assert {} == result.differences
    assert {"fixed": 1, "broken": 0} == {name: result.cases["test"][name] for name in ("fixed", "broken")}
    assert 1 / len(scored) == pytest.approx(result.relabelling["test"]["accuracy"][0])
    assert {"relabelling"} == {row["cause"] for row in stored}
    # the second export has the same latest time: by time it counts
    assert 0 == by_time.relabelling["test"]["accuracy"][0]


@pytest.mark.soak_after(1)
@pytest.mark.parametrize("control_first", [False, True])
def test_a_comparison_with_a_control_is_found_whichever_run_was_given_first(finished, two_runs, control_first):
    run = finished.run_id
    with two_runs.writing() as connection:
        connection.execute(f"update runs set control = 'blank', control_of = '{run}' where run_id = '{OTHER}'")
    compare(two_runs, finished.study_file.study, *((OTHER, run) if control_first else (run, OTHER)))

    def asked(run_id, others):
        values = {"run_id": run_id, "others": others}
        return {(r["part"], r["metric"]): r for r in two_runs.rows(sql.statement("report/comparisons"), values)}

    row = asked(run, "controls")["test", "accuracy"]
    question = {r["shown"]: r for r in two_runs.shipped_rows("controls", run=run, part="test", metric="accuracy")}

    assert (run, OTHER, "blank") == (row["run_id"], row["other_run_id"], row["control"])
    assert row["other_value"] - row["value"] == pytest.approx(row["difference"])
    assert 0 < row["difference"]
    assert row["low"] <= row["difference"] <= row["high"]
    assert row["difference"] == question["blank"]["difference_from_run"]
    assert {} == asked(run, "runs")
    # the control's own page has a comparison, too
    assert asked(OTHER, "runs")


@pytest.mark.soak_after(1)
@pytest.mark.parametrize(
    ("other", "since", "message"),
    [("", "", "with itself"), ("nothing", "", "no such run"), (OTHER, "nothing", "no such export")],
)
def test_what_cannot_be_compared_is_said(finished, two_runs, other, since, message):
    run = finished.run_id
    with pytest.raises(WorkspaceError, match=message):
        compare(two_runs, finished.study_file.study, run, other or run, since=since)


def test_a_run_without_scores_is_refused_with_the_next_step(finished, two_runs):
    with two_runs.writing() as connection:
        connection.execute(f"delete from scores where run_id = '{OTHER}'")

    with pytest.raises(WorkspaceError, match=f"toolkit evaluate --run {OTHER}"):
        compare(two_runs, finished.study_file.study, finished.run_id, OTHER)


def a_pair(*, cases_each: int, better: bool, seed: int = 4) -> RunPair:
    generator = np.random.default_rng(seed)
    patient = np.repeat(np.arange(240 // cases_each), cases_each)
    truth = generator.integers(0, 8, 240)

    def side(share):
        likely = np.where(generator.random(240) < share, truth, generator.integers(0, 8, 240))
        probabilities = np.eye(8)[likely] + generator.random((240, 8)) / 2
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        return ClassArrays(truth, probabilities.argmax(axis=1), probabilities, patient)

    return RunPair(side(0.6), side(0.9 if better else 0.6))


@pytest.mark.parametrize("cases_each", [1, 3])
@pytest.mark.parametrize("better", [True, False])
def test_p_is_below_the_level_exactly_where_the_interval_excludes_0(study, cases_each, better):
    rows = differences(study, a_pair(cases_each=cases_each, better=better), cause="model")
    known = [row for row in rows if row["p"] == row["p"]]
    accuracy = next(row for row in rows if row["metric"] == "accuracy")

    assert {AREAS, MEANS} == {row["method"] for row in rows}
    assert len(known) > len(rows) / 2
    for row in known:
        assert (row["p"] < 0.05) == (row["low"] > 0 or row["high"] < 0), row["metric"]
        assert row["low"] <= row["difference"] <= row["high"]
        assert row["p_corrected"] >= row["p"]
    if better:
        assert 0 < accuracy["low"] < accuracy["difference"] < accuracy["high"]
        assert accuracy["p"] < 0.01


def simulated(study, *, patients, most_cases, better, seed) -> dict[tuple[str, str | None], dict]:
    """Compare two models of three classes whose noise is partly the same, and partly the patient's own."""
    generator = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients), generator.integers(1, most_cases + 1, patients))
    cases = len(patient)
    truth = generator.integers(0, 3, patients)[patient]

    def noise():
        of_patients = generator.standard_normal((patients, 3))[patient]
        return np.sqrt(0.5) * of_patients + np.sqrt(0.5) * generator.standard_normal((cases, 3))

    common, sides = noise(), []
    for signal in (1.5, 2.5 if better else 1.5):
        logits = np.full((cases, 8), -20.0)
        logits[:, :3] = np.sqrt(0.6) * common + np.sqrt(0.4) * noise() + signal * np.eye(3)[truth]
        chances = np.exp(logits)
        chances /= chances.sum(axis=1, keepdims=True)
        sides.append(ClassArrays(truth, chances.argmax(axis=1), chances, patient))
    rows = differences(study, RunPair(*sides), cause="model")
    return {(row["metric"], row["class_name"]): row for row in rows}


@pytest.mark.parametrize("patients", [2, 3, 8])
def test_no_interval_of_two_rates_holds_what_they_cannot_differ_by(study, patients):
    truth = np.arange(patients) % 2
    sides = [np.eye(8)[(truth + shift) % 2] for shift in (0, 1)]  # one side is always right, the other never
    chances = [0.9 * side + 0.1 / 8 for side in sides]
    classes = [ClassArrays(truth, each.argmax(axis=1), each, np.arange(patients)) for each in chances]
    rows = differences(study, RunPair(*classes), cause="model")
    rates = [row for row in rows if row["metric"] not in ("brier", "log_loss") and row["low"] == row["low"]]

    assert len(rates) > 4
    for row in rates:
        assert -1 <= row["low"] <= row["difference"] <= row["high"] <= 1, row
    assert all(row["high"] > 1 for row in rows if row["metric"] == "log_loss")  # a loss has no such limit


COMPARED = ("accuracy", "brier", "log_loss", "macro_recall", "macro_roc_auc", "macro_pr_auc")


@pytest.mark.soak
def test_comparisons_of_few_patients_keep_their_level_and_their_coverage(study):
    """100 studies without a difference, of which 5 % may be found, and 100 with one, whose intervals hold it.

    `make coverage` has more kinds of studies, and more of each.
    """
    design = {"patients": 25, "most_cases": 4}
    true = simulated(study, **design | {"patients": 30_000}, better=True, seed=0)
    equal, better = (
        [simulated(study, **design, better=improved, seed=seed) for seed in range(1, 101)] for improved in (False, True)
    )
    for metric in COMPARED:
        found = np.mean([rows[metric, None]["p"] < 0.05 for rows in equal])
        held = [
            rows[metric, None]["low"] <= true[metric, None]["difference"] <= rows[metric, None]["high"]
            for rows in better
            if not np.isnan(rows[metric, None]["low"])
        ]

        assert found <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 100), metric
        assert np.mean(held) >= 0.93 - 2 * np.sqrt(0.93 * 0.07 / 100), metric


def test_few_patients_of_a_class_mark_its_differences_and_those_of_averages(study):
    rows = simulated(study, patients=40, most_cases=1, better=False, seed=3)
    first = study.class_names[0]

    assert rows["recall", first]["too_few"]
    assert rows["macro_roc_auc", None]["too_few"]
    assert not rows["accuracy", None]["too_few"]
    assert not any(
        row["too_few"]
        for row in simulated(study, patients=90, most_cases=1, better=False, seed=3).values()
        if row["class_name"] in (None, first)
    )
