import json

import numpy as np
import pytest
from published import example
from scipy import optimize, special, stats
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression

from toolkit.stats import calibration


def test_published_brier_bins_and_calibration_errors_are_met():
    reference = example("calibration")
    data, expected, tolerance = reference["data"], reference["expected"], reference["tolerance_abs"]
    brier, curve, error = (
        [np.array(data[name][side], dtype=float) for side in ("p", "y")] for name in ("brier", "curve", "ece")
    )
    bins = calibration.reliability(*curve, np.arange(9), bins=3, confidence=0.95)
    gap = calibration.gaps(*error, 2)
    ece = calibration.calibration_error(gap.sum(axis=0), 5)
    of_bins = calibration.reliability(*error, np.arange(5), bins=2, confidence=0.95)
    squares = sum(b.cases / 5 * (b.came - b.chance) ** 2 for b in of_bins)

    assert expected["brier"] == pytest.approx(np.square(brier[0] - brier[1]).mean(), abs=tolerance)
    assert expected["prob_true"] == pytest.approx([b.came for b in bins], abs=tolerance)
    assert expected["prob_pred"] == pytest.approx([b.chance for b in bins], abs=tolerance)
    assert expected["l1"] == pytest.approx(float(ece), abs=tolerance)
    assert expected["l2"] == pytest.approx(np.sqrt(squares), abs=tolerance)
    assert expected["max"] == pytest.approx(max(abs(b.came - b.chance) for b in of_bins), abs=tolerance)


@pytest.fixture
def events():
    generator = np.random.default_rng(4)
    probability = generator.random(400)
    return probability, generator.random(400) < 1 / (1 + np.exp(-0.3 - 0.7 * np.log(probability / (1 - probability))))


def test_reliability_is_that_of_scikit_learn(events):
    probability, occurred = events
    bins = calibration.reliability(probability, occurred, np.arange(400), bins=10, confidence=0.95)
    true, predicted = calibration_curve(occurred, probability, n_bins=10)

    np.testing.assert_allclose([b.came for b in bins], true, atol=1e-12)
    np.testing.assert_allclose([b.chance for b in bins], predicted, atol=1e-12)


def test_slope_is_that_of_a_logistic_regression(events):
    probability, occurred = events
    found = calibration.recalibration(probability, occurred, np.arange(400), confidence=0.95)
    x = np.log(probability / (1 - probability))[:, None]
    theirs = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(x, occurred)

    assert theirs.coef_[0, 0] == pytest.approx(found.slope, abs=1e-5)
    shifted = 1 / (1 + np.exp(-found.intercept - x[:, 0]))
    assert occurred.mean() == pytest.approx(shifted.mean(), abs=1e-9)


def test_the_interval_of_the_slope_is_that_of_the_score_test_where_patients_have_one_case(events):
    """At the bounds, the score statistic in plain numpy is Student's quantile."""
    probability, occurred = events
    found = calibration.recalibration(probability, occurred, np.arange(400), confidence=0.95)
    x, least = np.log(probability / (1 - probability)), stats.t.ppf(0.975, 399)
    for bound in found.slope_interval:
        start = optimize.brentq(lambda a, b=bound: (occurred - special.expit(a + b * x)).sum(), -5, 5)
        fitted = special.expit(start + bound * x)
        spread = fitted * (1 - fitted)
        information = (spread * x * x).sum() - (spread * x).sum() ** 2 / spread.sum()
        statistic = ((occurred - fitted) * x).sum() / np.sqrt(information)

        assert least == pytest.approx(abs(statistic) / np.sqrt(400 / 398), rel=1e-3)
    for bound in found.intercept_interval:
        fitted = special.expit(bound + x)
        statistic = (occurred - fitted).sum() / np.sqrt((fitted * (1 - fitted)).sum())

        assert least == pytest.approx(abs(statistic) / np.sqrt(400 / 399), rel=1e-3)


def test_nearly_separated_events_have_a_long_interval_that_holds_the_fit():
    probability, occurred = np.linspace(0.1, 0.9, 8), np.array([0, 0, 0, 1, 0, 1, 1, 1], dtype=float)
    found = calibration.recalibration(probability, occurred, np.arange(8), confidence=0.95)

    assert found.slope_interval.low < found.slope < found.slope_interval.high
    assert found.slope_interval.high - found.slope > found.slope - found.slope_interval.low
    assert found.intercept_interval.low < found.intercept < found.intercept_interval.high


def test_events_told_apart_without_fail_have_no_slope():
    probability = np.array([0.2, 0.3, 0.7, 0.9])

    assert np.isnan(calibration.recalibration(probability, probability > 0.5, np.arange(4), confidence=0.95).slope)


def test_the_temperature_undoes_what_made_probabilities_too_sure():
    generator = np.random.default_rng(6)
    logits = generator.normal(0, 1.5, (4000, 4))
    honest = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = (honest.cumsum(axis=1) > generator.random(4000)[:, None]).argmax(axis=1)
    too_sure = calibration.at_temperature(honest, 1 / 2.5)

    assert 2.5 == pytest.approx(calibration.fit_temperature(truth, too_sure), rel=0.06)
    np.testing.assert_allclose(calibration.at_temperature(too_sure, 2.5), honest, atol=1e-9)


def test_the_debiased_error_meets_the_published_estimator():
    reference = example("calibration_error")
    data, expected, tolerance = reference["data"], reference["expected"], reference["tolerance_abs"]
    probability, occurred = (np.array(data["binary"][side], dtype=float) for side in ("p", "y"))
    sure, right = (np.array(data["top_label"][side], dtype=float) for side in ("p", "y"))

    assert expected["binary"] == calibration.debiased_error(probability, occurred, np.arange(9), bins=10)
    assert expected["top_label"] == calibration.debiased_error(sure, right, np.arange(14), bins=10)
    classes, truth = np.array(data["three_classes"]["p"]), np.array(data["three_classes"]["y"])
    squares = [
        calibration.debiased_error(classes[:, k], (truth == k).astype(float), np.arange(14), bins=10) ** 2
        for k in range(3)
    ]
    assert expected["squared_by_class_or_0"] == pytest.approx(squares, abs=tolerance)


def stretched(patients: int, most_cases: int, stretch: float, generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw events whose logits are `stretch` times too large, with half of the chance shared within a patient."""
    patient = np.repeat(np.arange(patients), generator.integers(1, most_cases + 1, patients))
    logits = 1 + 1.5 * generator.standard_normal(len(patient))
    shared = np.sqrt(0.5 if most_cases > 1 else 0)
    chance = shared * generator.standard_normal(patients)[patient]
    chance += np.sqrt(1 - shared**2) * generator.standard_normal(len(patient))
    occurred = stats.norm.cdf(chance) < 1 / (1 + np.exp(-logits / stretch))
    return 1 / (1 + np.exp(-logits)), occurred.astype(float), patient


@pytest.mark.soak_after(1)
@pytest.mark.parametrize(("patients", "most_cases"), [(60, 1), (60, 8), (150, 3)])
def test_calibrated_probabilities_are_seldom_rejected_and_the_power_is_what_it_says(patients, most_cases):
    generator = np.random.default_rng(5)
    calibrated = [calibration.calibration_test(*stretched(patients, most_cases, 1, generator)) for _ in range(500)]
    too_sure = [calibration.calibration_test(*stretched(patients, most_cases, 1.5, generator)) for _ in range(500)]
    rejected = np.mean([test.p < 0.05 for test in too_sure])

    assert 0.02 <= np.mean([test.p < 0.05 for test in calibrated]) <= 0.08
    # it promises no more than it has
    assert rejected - 0.2 < np.mean([test.power for test in calibrated]) < rejected + 0.03


def test_few_cases_of_a_calibrated_model_cannot_tell(events):
    probability, _ = events
    few = calibration.calibration_test(probability[:20], probability[:20] > 0.5, np.arange(20))

    assert few.power < 0.5
    assert np.isnan(calibration.calibration_test(np.full(9, 0.4), np.ones(9), np.arange(9)).p)


def test_repeating_patients_cases_makes_miscalibration_no_surer(events):
    probability, occurred = events
    once = calibration.calibration_test(probability[:60], occurred[:60], np.arange(60))
    twice = calibration.calibration_test(
        np.repeat(probability[:60], 2), np.repeat(occurred[:60], 2), np.repeat(np.arange(60), 2)
    )

    assert once == pytest.approx(twice, abs=0.01)


def error_of(probability, occurred, bins) -> float:
    gaps = calibration.gaps(np.array(probability, dtype=float), np.array(occurred, dtype=float), bins)
    return float(calibration.calibration_error(gaps.sum(axis=0), len(occurred)))


def test_calibration_errors_meet_every_published_one_of_equal_width_bins(shared):
    reference = json.loads((shared / "reference_values" / "ece_verified_calibration.json").read_text())
    data, expected = reference["data"], reference["expected"]
    several, six, cube = (
        (np.array(data[name]["p"], dtype=float), np.array(data[name]["y"]))
        for name in ("three_classes", "six_cases", "multiclass_torchmetrics")
    )

    def top_label(probabilities, truth, bins):
        predicted = probabilities.argmax(axis=1)
        return error_of(probabilities.max(axis=1), truth == predicted, bins)

    by_class = np.mean([error_of(several[0][:, k], several[1] == k, 10) for k in range(3)])
    found = [
        error_of(data["binary"]["p"], data["binary"]["y"], 10),
        top_label(*several, 10),
        by_class,
        top_label(*six, 3),
        error_of(data["width"]["p"], data["width"]["y"], data["width"]["bins"]),
        error_of(expected["one_class_only"]["p"], [0, 0, 0], 1),
        error_of(expected["one_class_only"]["p"], [1, 1, 1], 1),
    ]
    theirs = [
        expected["binary_distinct_values"]["1"],
        expected["three_classes_top_label"]["1"],
        expected["three_classes_per_class"]["1"],
        expected["six_cases"]["ece_3_equal_width_bins"],
        expected["width"],
        expected["one_class_only"]["all_negative"],
        expected["one_class_only"]["all_positive"],
    ]

    assert theirs == pytest.approx(found, abs=reference["tolerance_abs"])
    printed = expected["multiclass_torchmetrics"]
    assert printed["l1"] == pytest.approx(top_label(*cube, 3), abs=printed["tolerance_abs"])
    debiased = expected["debiased"]["three_classes_per_class"]["squared_by_class"]
    squares = [
        calibration.debiased_error(several[0][:, k], (several[1] == k).astype(float), np.arange(14), bins=10) ** 2
        for k in range(3)
    ]
    assert np.maximum(debiased, 0) == pytest.approx(squares, abs=reference["tolerance_abs"])
