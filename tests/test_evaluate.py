import math
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import binomtest, chi2
from sklearn.metrics import cohen_kappa_score

from toolkit.errors import WorkspaceError
from toolkit.manifest.evaluation import OperatingPoint
from toolkit.stages.evaluate import calibrated, evaluate, groups, operating, readers
from toolkit.stages.evaluate.scoring import OF_A_CLASS, OF_PROBABILITIES, SCALED, EvaluationKey, Scorer
from toolkit.stats import agreement, delong
from toolkit.stats.metrics import AVERAGED
from toolkit.workspace import ledger
from toolkit.workspace.class_arrays import ClassArrays, class_arrays
from toolkit.workspace.registry import table_schema
from toolkit.workspace.results import TABLES
from toolkit.workspace.runs import read_run, record_run

LATEST = "run_id in (select run_id from run_names where name = 'latest')"
"""The run that was trained, without its control."""


def test_every_score_is_given_again_by_its_query(finished):
    scores = finished.workspace.rows(f"from scores where {LATEST} and part = 'test'")
    with finished.workspace.reading() as connection:
        for score in scores:
            (again,) = connection.execute(score["query"]).fetchone()

            assert score["value"] == pytest.approx(again, abs=1e-12, nan_ok=True), (
                score["metric"],
                score["class_name"],
            )
    over_all = 2 + len(OF_PROBABILITIES) + len(SCALED) + 3 * len(AVERAGED)
    assert 8 * (len(AVERAGED) + len(OF_A_CLASS)) + over_all == len(scores)


def test_every_value_lies_in_its_interval_and_names_its_support(finished):
    scores = finished.workspace.rows(f"from scores where {LATEST}")
    known = [score for score in scores if not math.isnan(score["low"])]

    assert len(known) > len(scores) / 2
    for score in known:
        assert score["low"] <= score["high"]
        assert score["low"] - 1e-9 <= score["value"] <= score["high"] + 1e-9, score["metric"]
        if "calibration" not in score["metric"]:
            assert 0 <= score["low"]
    for score in scores:
        assert score["patients"] <= score["cases"]
        assert score["truth_id"].startswith("majority-")


def test_every_scoring_is_recorded_in_the_registry_and_in_the_ledger(finished, copied):
    before = len(copied.rows(f"from evaluations where {LATEST} and part = 'test'"))
    result = evaluate(copied, finished.study_file.study)
    scorings = ledger.scorings_of(copied, finished.run_id)

    assert before + 1 == result.times_scored["test"]
    assert before + 1 == sum(scoring["part"] == "test" for scoring in scorings)


def test_the_same_predictions_give_the_same_scores(finished, copied):
    before = (copied.run(finished.run_id) / "scores.parquet").read_bytes()
    evaluate(copied, finished.study_file.study)

    assert before == (copied.run(finished.run_id) / "scores.parquet").read_bytes()


def test_files_have_the_tables_columns_with_the_truth_after_the_part(finished):
    for name in TABLES:
        columns = pq.read_schema(finished.workspace.run(finished.run_id) / f"{name}.parquet").names

        assert set(table_schema(name).names) == set(columns)
        assert "part" not in columns or columns.index("part") + 1 == columns.index("truth_id")


def by_metric(study, truth, probabilities, patient):
    data = ClassArrays(np.array(truth), np.argmax(probabilities, axis=1), np.array(probabilities), np.array(patient))
    rows = Scorer(study, data, EvaluationKey("r", "test", "t")).rows()
    return {(row["metric"], row["class_name"]): row for row in rows}


def test_undefined_is_nan_with_its_support(study):
    one_class = np.eye(8)[[0, 0, 1]] * 0.9 + 0.0125
    rows = by_metric(study, [0, 0, 0], one_class, [0, 1, 2])
    first, second = study.class_names[:2]

    assert 2 / 3 == rows["recall", first]["value"]
    assert math.isnan(rows["recall", second]["value"])
    assert (0, 0) == (rows["recall", second]["cases"], rows["recall", second]["patients"])
    assert math.isnan(rows["recall", second]["low"])
    assert 1 == rows["macro_recall", None]["classes"]
    assert math.isnan(rows["roc_auc", first]["value"])


def test_each_rate_rests_on_the_cases_of_its_denominator(study):
    rows = by_metric(study, [0, 0, 0, 1, 1], np.eye(8)[[0, 0, 1, 1, 1]] * 0.9 + 0.0125, np.arange(5))
    support = {metric: rows[metric, study.class_names[0]]["cases"] for metric in ("precision", "recall", "npv", "f1")}

    assert {"precision": 2, "recall": 3, "npv": 3, "f1": 3} == support
    assert 2 == rows["specificity", study.class_names[0]]["cases"]


def test_rates_of_single_cases_have_scipys_wilson_interval_of_the_studys_confidence(study):
    truth = np.arange(80) % 8
    predicted = np.where(np.arange(80) < 40, truth, 0)
    rows = by_metric(study, truth, np.eye(8)[predicted] * 0.9 + 0.0125, np.arange(80))
    for metric, number, hits, trials in [("recall", 1, 5, 10), ("precision", 0, 10, 45), ("specificity", 0, 35, 70)]:
        row = rows[metric, study.class_names[number]]
        low, high = binomtest(hits, trials).proportion_ci(confidence_level=study.evaluate.confidence, method="wilson")

        assert (hits / trials, low, high) == pytest.approx((row["value"], row["low"], row["high"]), abs=1e-12)


def test_intervals_widen_when_the_same_cases_are_of_fewer_patients(study):
    generator = np.random.default_rng(5)
    truth = generator.integers(0, 8, 160)
    right = np.repeat(generator.random(40) < 0.7, 4)
    predicted = np.where(right, truth, (truth + 1) % 8)
    probabilities = np.eye(8)[predicted] * 0.9 + 0.0125
    alone = by_metric(study, truth, probabilities, np.arange(160))["accuracy", None]
    grouped = by_metric(study, truth, probabilities, np.repeat(np.arange(40), 4))["accuracy", None]

    assert alone["value"] == grouped["value"]
    assert grouped["high"] - grouped["low"] > 1.5 * (alone["high"] - alone["low"])
    assert (160, 40) == (grouped["cases"], grouped["patients"])


def test_the_temperature_is_fitted_on_validation_and_changes_no_prediction(finished):
    (fitted,) = finished.workspace.rows(f"from temperatures where {LATEST}")
    cases = finished.workspace.rows(f"select count(*) as n from scored where {LATEST} and part = 'validation'")[0]["n"]
    changed = finished.workspace.rows(
        "select 1 from scaled where list_max(map_values(probabilities)) - confidence > 1e-12"
    )

    assert ("validation", cases) == (fitted["fitted_on"], fitted["cases"])
    assert [] == changed


def test_scaling_lowers_the_log_loss_of_validation(finished):
    found = finished.workspace.rows(
        f"select metric, value from scores where {LATEST} and part = 'validation' and class_name is null"
    )
    loss = {row["metric"]: row["value"] for row in found}

    assert loss["scaled_log_loss"] <= loss["log_loss"] + 1e-9


def test_the_bins_of_a_part_hold_all_its_cases(finished):
    bins = finished.workspace.rows(
        "select probabilities, class_name, sum(cases)::bigint as cases from calibration_bins "
        f"where {LATEST} and part = 'test' "
        "group by all"
    )
    cases = finished.results["Evaluated"].cases["test"]

    assert {cases} == {row["cases"] for row in bins}
    assert 2 + 8 == len(bins)


def test_values_of_few_patients_are_marked(study):
    truth = np.arange(60) % 8
    rows = by_metric(study, truth, np.eye(8)[truth] * 0.9 + 0.0125, np.arange(60))

    assert rows["recall", study.class_names[0]]["too_few"]
    assert rows["macro_recall", None]["too_few"]
    assert not rows["accuracy", None]["too_few"]


def test_every_row_that_rests_on_few_patients_of_a_class_is_marked(study):
    """200 patients of whom 12 have the first class: its values and all averages are marked, nothing else is."""
    truth = np.where(np.arange(200) < 12, 0, 1 + np.arange(200) % 4)
    rows = by_metric(study, truth, np.eye(8)[truth] * 0.9 + 0.0125, np.arange(200))
    marked = {key for key, row in rows.items() if row["too_few"] and not math.isnan(row["value"])}
    first, rest = study.class_names[0], study.class_names[1:5]
    averages = {name for name, _ in rows if name.startswith(("macro_", "weighted_", "balanced_"))}

    assert averages == {name for name, class_name in marked if class_name is None}
    of_first = {name for name, class_name in marked if class_name == first}
    of_events = set(OF_A_CLASS) - {"calibration_slope"}  # separated events have none
    assert {"precision", "recall", "npv", "f1", "roc_auc", "pr_auc", *of_events} == of_first
    assert not {key for key in marked if key[1] in rest}


def test_an_area_of_few_other_cases_is_marked(study):
    truth = np.where(np.arange(60) < 8, 1, 0)
    rows = by_metric(study, truth, np.eye(8)[truth] * 0.9 + 0.0125, np.arange(60))

    assert rows["roc_auc", study.class_names[0]]["too_few"]
    assert not rows["recall", study.class_names[0]]["too_few"]


def test_an_area_near_one_of_single_cases_has_newcombes_interval(study):
    """Wald's around 0.98 with 20 positives would end at 1 and begin too high."""
    generator = np.random.default_rng(8)
    truth = (np.arange(120) >= 20).astype(int)
    logit = generator.normal(0, 1, 120) + 3 * (truth == 0)
    chance = 1 / (1 + np.exp(-logit))
    probabilities = np.zeros((120, 8))
    probabilities[:, 0], probabilities[:, 1] = chance, 1 - chance
    row = by_metric(study, truth, probabilities, np.arange(120))["roc_auc", study.class_names[0]]
    expected = delong.newcombe(row["value"], 20, 100, confidence=study.evaluate.confidence)

    assert tuple(expected) == pytest.approx((row["low"], row["high"]), abs=1e-12)
    assert row["high"] < 1


def test_a_calibration_error_has_no_interval_and_the_test_says_what_it_can_tell(study):
    """A calibrated model: its error is above 0, p is not small, and 60 cases could not have shown much."""
    generator = np.random.default_rng(3)
    logits = generator.normal(0, 1.5, (60, 8))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = (probabilities.cumsum(axis=1) > generator.random(60)[:, None]).argmax(axis=1)
    rows = by_metric(study, truth, probabilities, np.arange(60))
    sure, right = probabilities.max(axis=1), truth == probabilities.argmax(axis=1)

    for name in ("ece", "ece_debiased"):
        assert math.isnan(rows[name, None]["low"])
        assert rows[name, None]["method"].startswith("none")
    assert rows["ece_debiased", None]["value"] < rows["ece", None]["value"]
    # statsmodels-free score test: the observed score against its variance under the model's own probabilities
    x = np.log(sure / (1 - sure))
    design = np.stack([np.ones(60), x])
    score = design @ (right - sure)
    statistic = score @ np.linalg.inv((design * sure * (1 - sure)) @ design.T) @ score
    assert chi2.sf(statistic, 2) == pytest.approx(rows["calibration_p", None]["value"], abs=1e-9)
    assert rows["calibration_p", None]["value"] > 0.05
    assert rows["calibration_power", None]["value"] < 0.5


def test_every_operating_point_is_given_again_by_its_query(finished):
    points = finished.workspace.rows(f"from operating_points where {LATEST}")
    with finished.workspace.reading() as connection:
        for point in points:
            (again,) = connection.execute(point["query"]).fetchone()

            assert point["value"] == pytest.approx(again, abs=1e-12, nan_ok=True), (point["target"], point["metric"])
    assert 2 * 2 * 5 == len(points)


def test_a_threshold_is_chosen_on_validation_and_reaches_there_what_is_required(finished):
    points = finished.workspace.rows(f"from operating_points where {LATEST} and metric = 'recall'")
    thresholds = Counter((point["target"], point["threshold"]) for point in points)

    assert {2} == set(thresholds.values())
    on_validation = [point["value"] for point in points if point["part"] == "validation"]
    assert 2 == len(on_validation)
    assert all(value >= 0.95 for value in on_validation)


def test_few_melanomas_confirm_nothing(finished):
    (row,) = finished.workspace.rows(f"from guarantees where {LATEST} and part = 'test' and target = 'melanoma'")

    assert not row["vouched"]
    assert 59 == row["needed_without_a_miss"]
    assert row["patients"] < 59


def guaranteed(study, *, patients, missed_of_one):
    """Return the guarantee where every patient has one malignant lesion that is found, and one has more, all missed."""
    truth = np.zeros(patients + missed_of_one, dtype=int)
    patient = np.r_[np.arange(patients), np.zeros(missed_of_one, dtype=int)]
    score = np.r_[np.ones(patients), np.zeros(missed_of_one)]
    data = ClassArrays(truth, truth, np.stack([score, 1 - score], axis=1), patient)
    point = OperatingPoint(name="melanoma", classes=[study.class_names[0]])
    return operating.guarantee(study, data, EvaluationKey("r", "test", "t"), operating.Target(point, [0], 0.5))


def test_a_sensitivity_is_confirmed_only_where_patients_and_lesions_both_confirm_it(study):
    one_patient = guaranteed(study, patients=110, missed_of_one=30)
    none_missed = guaranteed(study, patients=110, missed_of_one=0)
    at_least = binomtest(109, 110).proportion_ci(confidence_level=0.9, method="exact").low

    assert at_least == pytest.approx(one_patient["at_least"])
    assert at_least > 0.95 > one_patient["found"] / one_patient["positives"]
    assert not one_patient["vouched"]
    assert none_missed["vouched"]


def test_the_decision_curve_stands_beside_calling_everyone(finished):
    curve = finished.workspace.rows(f"from decision_curves where {LATEST} and part = 'test' and target = 'malignant'")
    share = finished.workspace.rows(
        "select avg(cast(truth in ('basal_cell_carcinoma', 'malignant_melanoma') as integer)) as share from scored "
        f"where {LATEST} and part = 'test'"
    )[0]["share"]

    assert 49 == len(curve)
    for point in curve:
        odds = point["threshold"] / (1 - point["threshold"])
        assert share - (1 - share) * odds == pytest.approx(point["everyone"])


def grouped(study, values, *, right=bool, bands=None):
    section = study.evaluate.model_copy(update={"groups": ["site"], "bands": bands or {}, "replicates": 200})
    own = study.model_copy(update={"evaluate": section})
    cases = len(values)
    truth = np.arange(cases) % 8
    predicted = np.where([right(n + 1) for n in range(cases)], truth, (truth + 1) % 8)
    names = tuple(str(n) for n in range(cases))
    data = ClassArrays(truth, predicted, np.eye(8)[predicted], np.arange(cases), names)
    values = [
        {"case_id": name, "group_name": "site", "group_value": value}
        for name, value in zip(names, values, strict=True)
        if value is not None
    ]
    rows = groups.rows(
        own, data, EvaluationKey("r", "test", "t"), groups.groups_of(own, names, pa.Table.from_pylist(values))
    )
    return {(row["group_value"], row["metric"], row["class_name"]): row for row in rows}


def test_small_groups_are_counted_and_not_scored(study):
    rows = grouped(study, ["a"] * 40 + ["b"] * 4)

    assert (4, 4) == (rows["b", "accuracy", None]["cases"], rows["b", "accuracy", None]["patients"])
    assert rows["b", "accuracy", None]["refused"]
    assert math.isnan(rows["b", "accuracy", None]["value"])
    assert math.isnan(rows["b", "accuracy", None]["q"])


def test_scores_of_groups_are_marked_by_the_rule_of_all_others(study):
    rows = grouped(study, ["a"] * 160 + ["b"] * 24 + ["c"] * 16)
    marked = {(value, metric) for (value, metric, _), row in rows.items() if row["too_few"]}

    # 20 patients of each class in a; 24 patients in b, but 3 of each class; 16 in c.
    assert {"b", "c"} == {value for value, _ in marked}
    assert {"accuracy", "macro_recall", "macro_specificity", "macro_f1", "recall"} == {m for v, m in marked if v == "c"}
    assert {"macro_recall", "macro_specificity", "macro_f1", "recall"} == {m for v, m in marked if v == "b"}


def test_the_group_that_is_furthest_below_the_others_is_named(study):
    rows = grouped(study, ["a"] * 48 + ["b"] * 48, right=lambda n: n <= 48 or n % 2 == 0)
    worst = rows["b", "accuracy", None]

    assert worst["worst"]
    assert -0.5 == worst["difference"]
    assert worst["difference_high"] < 0
    assert worst["p"] <= worst["q"] < 0.05
    assert not rows["a", "accuracy", None]["worst"]


def test_a_group_with_other_classes_and_the_same_recall_in_each_is_not_below_the_others(study):
    own = study.model_copy(
        update={"evaluate": study.evaluate.model_copy(update={"groups": ["site"], "replicates": 200})}
    )
    low = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        inside = np.arange(160) < 60
        truth = np.where(inside, rng.integers(4, 8, 160), rng.integers(0, 8, 160))
        right = rng.random(160) < np.where(truth < 4, 0.95, 0.55)  # the same wherever the case is
        predicted = np.where(right, truth, (truth + 1) % 8)
        names = tuple(str(n) for n in range(160))
        data = ClassArrays(truth, predicted, np.eye(8)[predicted], np.arange(160), names)
        rows = groups.rows(own, data, EvaluationKey("r", "test", "t"), [groups.Group("site", "a", inside)])
        low += any(row["q"] < 0.05 for row in rows if row["metric"] in ("accuracy", "macro_recall"))

    assert low <= 3


def test_nothing_is_compared_with_the_cases_of_four_patients(study):
    rows = grouped(study, ["a"] * 40 + ["b"] * 4)

    assert not math.isnan(rows["a", "accuracy", None]["value"])
    assert math.isnan(rows["a", "accuracy", None]["difference"])
    assert math.isnan(rows["a", "accuracy", None]["p"])


def test_no_group_is_the_worst_where_q_says_nothing(study):
    rows = grouped(study, ["a"] * 48 + ["b"] * 48, right=lambda n: n % 3 > 0 or n < 6)

    assert 0 > min(row["difference"] for row in rows.values())
    assert 0.05 < min(row["q"] for row in rows.values())
    assert not any(row["worst"] for row in rows.values())


def test_numbers_are_grouped_by_bands_and_cases_without_a_value_by_themselves(study):
    values = ["39"] * 20 + ["40"] * 20 + ["60.5"] * 20 + ["unknown"] * 20 + [None] * 20
    rows = grouped(study, values, bands={"site": [40, 60]})

    assert {"under 40", "40 to under 60", "60 and over", "unknown", "(none)"} == {value for value, _, _ in rows}


def test_the_model_is_one_more_reader_beside_annotators_and_truth(finished):
    rows = finished.workspace.shipped_rows("agreement", part="test")
    both = rows + finished.workspace.shipped_rows("agreement", part="validation")
    alphas = [row["value"] for row in both if row["measure"] == "krippendorff"]
    pairs = {(row["reader"], row["other_reader"]): row for row in rows if row["measure"] == "cohen"}
    cases = finished.workspace.rows(f"select truth, predicted from scored where {LATEST} and part = 'test'")
    theirs = cohen_kappa_score([row["truth"] for row in cases], [row["predicted"] for row in cases])

    assert alphas
    assert all(0.5 < alpha <= 1 for alpha in alphas)
    assert theirs == pytest.approx(pairs["model", "truth"]["value"], abs=1e-12)
    annotators = {name for pair in pairs for name in pair} - {"model", "truth"}
    assert len(annotators) > 1
    assert all((name, "model") in pairs and (name, "truth") in pairs for name in annotators)


def test_readers_that_share_few_cases_are_not_compared(study):
    names = tuple(str(n) for n in range(24))
    truth = np.arange(24) % 8
    data = ClassArrays(truth, truth, np.eye(8)[truth], np.arange(24), names)
    readings = [{"case_id": n, "annotator": "a", "class_name": study.class_names[int(n) % 8]} for n in names]
    readings += [{**reading, "annotator": "b"} for reading in readings[:9]]
    short = study.model_copy(update={"evaluate": study.evaluate.model_copy(update={"replicates": 100})})
    rows = readers.rows(short, data, EvaluationKey("r", "test", "t"), pa.Table.from_pylist(readings))

    assert {("a", "model"), ("a", "truth"), ("model", "truth")} == {(r["reader"], r["other_reader"]) for r in rows}
    assert {1.0} == {row["value"] for row in rows}


def read_by(study, codes_of: dict[str, np.ndarray], **evaluate) -> dict[tuple[str, str | None, str | None], float]:
    """Return the agreement of readers who give a class index to each case, by measure, other reader and class."""
    truth = next(iter(codes_of.values()))
    names = tuple(str(n) for n in range(len(truth)))
    data = ClassArrays(truth, truth, np.eye(8)[truth], np.arange(len(truth)), names)
    readings = [
        {"case_id": name, "annotator": reader, "class_name": study.class_names[code]}
        for reader, codes in codes_of.items()
        for name, code in zip(names, codes, strict=True)
        if code >= 0
    ]
    wanted = study.model_copy(update={"evaluate": study.evaluate.model_copy(update={"replicates": 100, **evaluate})})
    rows = readers.rows(wanted, data, EvaluationKey("r", "test", "t"), pa.Table.from_pylist(readings))
    return {
        (r["measure"], r["other_reader"], r["class_name"]): r["value"]
        for r in rows
        if r["reader"] in ("a", "annotators")
    }


def test_fleiss_kappa_stands_only_where_all_cases_have_as_many_readers(study):
    codes = dict(zip("abc", np.random.default_rng(1).integers(0, 3, (3, 30)), strict=True))
    counts = (np.stack(list(codes.values()))[:, :, None] == np.arange(8)).sum(axis=0)
    kappas = read_by(study, codes)

    assert fleiss(counts) == pytest.approx(kappas["fleiss", None, None], abs=1e-12)
    one = fleiss(np.stack([counts[:, 1], 3 - counts[:, 1]], axis=1))
    assert one == pytest.approx(kappas["fleiss", None, study.class_names[1]], abs=1e-12)
    codes["c"] = np.where(np.arange(30) == 0, -1, codes["c"])
    assert {"cohen", "krippendorff"} == {measure for measure, _, _ in read_by(study, codes)}


def fleiss(counts: np.ndarray) -> float:
    """Return Fleiss' kappa of counts (N, K), three readers each (1971)."""
    seen = (counts * (counts - 1)).sum() / (len(counts) * 3 * 2)
    by_chance = np.square(counts.sum(axis=0) / counts.sum()).sum()
    return (seen - by_chance) / (1 - by_chance)


def test_agreement_is_weighted_by_distance_only_where_classes_are_ordered(study):
    first, second = np.random.default_rng(2).integers(0, 8, (2, 40))
    order = study.class_names[::-1]
    order[0], order[3] = order[3], order[0]
    places = [order.index(name) for name in study.class_names]
    by_place = [[places[code] for code in codes] for codes in (first, second)]
    counts = (np.array(by_place)[:, :, None] == np.arange(8)).sum(axis=0)
    found = read_by(study, {"a": first, "b": second}, ordered=order)
    alpha = agreement.krippendorff(agreement.coincidences(counts).sum(axis=0), level="ordinal")

    assert cohen_kappa_score(*by_place, weights="linear") == pytest.approx(
        found["cohen_weighted", "b", None], abs=1e-12
    )
    assert float(alpha) == pytest.approx(found["krippendorff_ordinal", None, None], abs=1e-12)
    assert ("cohen_weighted", "b", study.class_names[0]) not in found


def test_without_a_positive_on_validation_there_is_no_operating_point(study):
    truth = np.zeros(10, dtype=int)
    data = ClassArrays(truth, truth, np.eye(8)[truth], np.arange(10))

    assert [] == operating.targets(study, {"validation": data}, {})
    assert [] == operating.targets(study, {"test": data}, {})


@pytest.mark.soak
def test_probabilities_of_a_balanced_training_are_corrected_for_the_classes_of_the_training_set(finished, copied):
    assert not copied.rows(f"select 1 from scores where {LATEST} and metric like 'prior_%'")
    record = read_run(copied, finished.run_id)
    balanced = record.study | {"train": record.study["train"] | {"balance": "weights"}}
    record_run(copied, record.model_copy(update={"study": balanced}))
    evaluate(copied, finished.study_file.study)
    found = copied.rows(f"from scores where {LATEST} and metric like 'prior_%' and part = 'test'")
    rows = {row["metric"]: row for row in found}
    with copied.reading() as connection:
        again = {name: connection.execute(row["query"]).fetchone()[0] for name, row in rows.items()}

    assert {"prior_accuracy", "prior_brier", "prior_log_loss", "prior_ece"} == set(rows)
    assert {name: row["value"] for name, row in rows.items()} == pytest.approx(again, abs=1e-12)
    counts = Counter(row["class_name"] for row in copied.rows("select class_name from splits where part = 'train'"))
    cases = copied.rows(f"select truth, probabilities from scored where {LATEST} and part = 'test'")
    weighed = [{name: p * counts[name] for name, p in dict(case["probabilities"]).items()} for case in cases]
    chances = [each[case["truth"]] / sum(each.values()) for each, case in zip(weighed, cases, strict=True)]
    assert -np.log(np.maximum(chances, 2.2e-16)).mean() == pytest.approx(rows["prior_log_loss"]["value"])
    right = [max(each, key=each.get) == case["truth"] for each, case in zip(weighed, cases, strict=True)]
    assert np.mean(right) == rows["prior_accuracy"]["value"]
    for name in ("prior_accuracy", "prior_brier", "prior_log_loss"):
        assert rows[name]["low"] < rows[name]["value"] < rows[name]["high"], name


def test_a_shift_of_classes_is_undone_by_the_prior():
    rng, prior = np.random.default_rng(8), np.array([0.8, 0.15, 0.05])
    truth = rng.choice(3, 40_000, p=prior)
    seen = rng.normal(truth[:, None] == np.arange(3), 1.0)
    balanced = np.exp(seen) / np.exp(seen).sum(axis=1, keepdims=True)  # Bayes' rule for equally frequent classes
    corrected = calibrated.at_prior(balanced, prior)

    assert abs(corrected.mean(axis=0) - prior).max() < 0.01 < abs(balanced.mean(axis=0) - prior).max()
    assert (corrected.argmax(axis=1) == truth).mean() > (balanced.argmax(axis=1) == truth).mean()


def test_predictive_values_at_a_prevalence_follow_bayes_and_are_given_again_by_their_queries(finished, copied):
    evaluated = finished.study_file.study.evaluate.model_copy(update={"prevalences": [0.01, 0.05]})
    evaluate(copied, finished.study_file.study.model_copy(update={"evaluate": evaluated}))
    points = copied.rows(f"from operating_points where {LATEST} and part = 'test'")
    by = {(point["target"], point["metric"]): point for point in points}
    with copied.reading() as connection:
        again = [connection.execute(point["query"]).fetchone()[0] for point in points]

    assert [point["value"] for point in points] == pytest.approx(again, abs=1e-12, nan_ok=True)
    for target in ("malignant", "melanoma"):
        sensitivity, specificity = (by[target, name]["value"] for name in ("recall", "specificity"))
        for prevalence in (0.01, 0.05):
            # of a million cases
            found = 1e6 * prevalence * sensitivity
            false = 1e6 * (1 - prevalence) * (1 - specificity)
            missed = 1e6 * prevalence * (1 - sensitivity)
            passed = 1e6 * (1 - prevalence) * specificity
            ppv, npv = by[target, f"precision_at_{prevalence}"], by[target, f"npv_at_{prevalence}"]

            assert found / (found + false) == pytest.approx(ppv["value"])
            assert passed / (passed + missed) == pytest.approx(npv["value"])
            assert ppv["low"] <= ppv["value"] <= ppv["high"]
            assert npv["low"] <= npv["value"] <= npv["high"]
    asked = [row["metric"] for row in copied.shipped_rows("operating_points", part="test")][:9]
    assert ["recall", "specificity", "precision", "npv", "benign_per_found"] == asked[:5]
    assert {"precision_at_0.01", "precision_at_0.05", "npv_at_0.01", "npv_at_0.05"} == set(asked[5:])


ROW = {"case_id": "c", "patient_id": "p", "truth": "nevus", "predicted": "mole", "probabilities": [("nevus", 0.4)]}
SCORED = pa.schema(
    [
        *((name, pa.string()) for name in ("case_id", "patient_id", "truth", "predicted")),
        ("probabilities", pa.map_(pa.string(), pa.float64())),
    ]
)


def test_a_class_that_the_study_does_not_name_is_one_clear_error():
    with pytest.raises(WorkspaceError, match="the study does not name the class mole"):
        class_arrays(pa.Table.from_pylist([ROW], schema=SCORED), ["nevus", "melanoma"])


def test_rows_become_arrays_with_patients_numbered_as_first_seen():
    rows = [{**ROW, "patient_id": patient, "predicted": "nevus"} for patient in ("q", "p", "q")]
    arrays = class_arrays(pa.Table.from_pylist(rows, schema=SCORED), ["melanoma", "nevus"])

    assert [1, 1, 1] == arrays.truth.tolist() == arrays.predicted.tolist()
    assert [0, 1, 0] == arrays.patient.tolist()
    assert [[0, 0.4]] * 3 == arrays.probabilities.tolist()
    assert (0, 2) == class_arrays(SCORED.empty_table(), ["melanoma", "nevus"]).probabilities.shape


def test_probabilities_are_those_of_the_rows_of_a_slice():
    chances = [{"nevus": 0.1, "melanoma": 0.9}, {"mole": 1.0}, {"melanoma": 0.3, "nevus": 0.7}]
    rows = [{**ROW, "predicted": "nevus", "probabilities": list(each.items())} for each in chances]
    table = pa.Table.from_pylist(rows, schema=SCORED)

    assert [[0.9, 0.1], [0, 0], [0.3, 0.7]] == class_arrays(table, ["melanoma", "nevus"]).probabilities.tolist()
    assert [[0, 0], [0.3, 0.7]] == class_arrays(table[1:], ["melanoma", "nevus"]).probabilities.tolist()


def test_photographs_are_grouped_by_thirds_of_their_measured_quality(finished, copied):
    names = ["photograph_sharpness", "photograph_brightness", "photograph_resolution"]
    study = finished.study_file.study
    study = study.model_copy(update={"evaluate": study.evaluate.model_copy(update={"groups": names})})
    evaluate(copied, study)
    rows = copied.rows(f"from subgroup_scores where {LATEST} and part = 'test' and metric = 'accuracy'")
    quality = copied.table("photograph_quality").sort_values(["effective_pixels", "image_id"])
    lowest = set(quality["image_id"][: math.ceil(len(quality) / 3)])
    cases = copied.rows("select image_id, truth = predicted as correct from results inner join cases using (case_id) "
                        "where results.part = 'test'")  # fmt: skip
    own = [case["correct"] for case in cases if case["image_id"] in lowest]
    [row] = [r for r in rows if (r["group_name"], r["group_value"]) == ("photograph_resolution", "lowest third")]

    assert {(name, f"{third} third") for name in names for third in ("lowest", "middle", "highest")} == {
        (r["group_name"], r["group_value"]) for r in rows
    }
    assert len(own) == row["cases"]
    assert math.isnan(row["value"]) or np.mean(own) == pytest.approx(row["value"])


def test_quality_that_was_never_measured_is_no_group(finished, copied):
    study = finished.study_file.study
    groups_ = {"evaluate": study.evaluate.model_copy(update={"groups": ["photograph_sharpness"]})}
    with copied.writing() as connection:
        connection.execute("delete from photograph_quality")

    with pytest.raises(WorkspaceError, match="was never measured"):
        evaluate(copied, study.model_copy(update=groups_))
