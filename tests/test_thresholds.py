import numpy as np
import pytest
from published import example

from toolkit.stats import metrics, thresholds
from toolkit.stats.intervals import wilson


def test_published_operating_points_are_met():
    reference = example("asah")
    positive, score = np.array(reference["data"]["poor_outcome"]) == 1, np.array(reference["data"]["s100b"])
    expected, tolerance = reference["expected"]["s100b"], reference["tolerance_abs"]
    found = {
        "youden": thresholds.youden(positive, score),
        "highest_threshold_with_sens_ge_0_90": thresholds.for_sensitivity(positive, score, 0.9),
        "sens_ge_0_80": thresholds.for_sensitivity(positive, score, 0.8),
    }

    for name, threshold in found.items():
        rates = thresholds.rates_at(positive, score, threshold, np.arange(len(score)), confidence=0.95)

        assert expected[name]["threshold"] == pytest.approx(threshold, abs=tolerance)
        assert expected[name]["sensitivity"] == pytest.approx(float(rates["recall"][0].value), abs=tolerance)
        assert expected[name]["specificity"] == pytest.approx(float(rates["specificity"][0].value), abs=tolerance)
    counts = metrics.outcomes(positive, score >= found["youden"])._asdict()
    assert {name: expected["youden"][name] for name in counts} == {name: side.sum() for name, side in counts.items()}


def test_the_published_net_benefit_is_met():
    reference = example("net_benefit")
    data, expected, at = reference["data"], reference["expected"], np.array([reference["expected"]["threshold"]])
    counts = list(zip(data["patients"], data["events"], strict=True))
    positive = np.concatenate([np.arange(patients) < events for patients, events in counts])
    score = np.repeat(np.array(data["percent"]) / 100, data["patients"])
    model = thresholds.net_benefits(positive, score, at).mean()
    everyone = thresholds.net_benefits(positive, np.ones(len(score)), at).mean()

    assert expected["model"] == pytest.approx(model, abs=reference["tolerance_abs"])
    assert expected["all"] == pytest.approx(everyone, abs=reference["tolerance_abs"])


def test_fifty_nine_melanomas_without_a_miss_confirm_95_percent():
    assert 59 == thresholds.needed(0, 0.95, confidence=0.95)
    assert 0.95 <= thresholds.confirmed_sensitivity(59, 59, confidence=0.95)
    assert 0.95 > thresholds.confirmed_sensitivity(58, 58, confidence=0.95)
    assert 93 == thresholds.needed(1, 0.95, confidence=0.95)
    assert np.isnan(thresholds.confirmed_sensitivity(0, 0, confidence=0.95))
    assert 0 == thresholds.confirmed_sensitivity(0, 5, confidence=0.95)


def test_intervals_of_predictive_values_at_a_prevalence_cover_what_they_state():
    rng, prevalence, studies = np.random.default_rng(3), 0.03, 400
    sensitivity, specificity = 0.9, 0.95
    ppv = prevalence * sensitivity / (prevalence * sensitivity + (1 - prevalence) * (1 - specificity))
    npv = (1 - prevalence) * specificity / ((1 - prevalence) * specificity + prevalence * (1 - sensitivity))
    held = np.zeros(2)
    for _ in range(studies):
        rates = [
            (hits / trials, wilson(hits, trials, confidence=0.95))
            for hits, trials in ((rng.binomial(60, sensitivity), 60), (rng.binomial(150, specificity), 150))
        ]
        bounds = [of(prevalence, *rates)[1] for of in (thresholds.precision_at, thresholds.npv_at)]
        held += [low <= true <= high for (low, high), true in zip(bounds, (ppv, npv), strict=True)]

    assert (held / studies >= 0.95 - 2 * np.sqrt(0.95 * 0.05 / studies)).all()


@pytest.mark.parametrize(("required", "threshold"), [(1.0, 0.15), (0.75, 0.35), (0.5, 0.55)])
def test_the_threshold_is_the_highest_that_finds_enough(required, threshold):
    score = np.array([0.9, 0.6, 0.4, 0.2, 0.5, 0.3, 0.1])
    positive = np.array([True] * 4 + [False] * 3)

    assert threshold == pytest.approx(thresholds.for_sensitivity(positive, score, required))


def test_without_positives_there_is_no_threshold():
    assert np.isnan(thresholds.for_sensitivity(np.array([False]), np.array([0.5]), 0.9))
    assert np.isnan(thresholds.youden(np.array([False]), np.array([0.5])))


def test_youdens_threshold_has_the_largest_sum_and_is_found_among_a_hundred_thousand_scores():
    rng = np.random.default_rng(5)
    positive, score = rng.random(300) < 0.3, rng.integers(0, 40, 300) / 40
    tried = np.unique(score)[::-1]
    sums = [(score[positive] >= t).mean() + (score[~positive] < t).mean() for t in tried]
    best = tried[int(np.argmax(np.round(sums, 12)))]
    many = rng.random(100_000)

    assert best == score[score >= thresholds.youden(positive, score)].min()
    assert 0.5 == pytest.approx(thresholds.youden(many > 0.5, many), abs=1e-4)
