import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from published import example
from scipy import stats

from toolkit.stats import intervals
from toolkit.stats.intervals import (
    Estimate,
    Interval,
    Share,
    by_patient,
    effective_trials,
    mean_interval,
    patient_bootstrap,
    patient_jackknife,
    percentile,
    wilson,
)


def clustered_wilson(success, patient, *, confidence) -> Interval:
    success = np.asarray(success, dtype=float)
    share = by_patient(success, np.ones_like(success), np.asarray(patient))
    return intervals.clustered_wilson(share, confidence=confidence)


def schools(data):
    """Whether each school is an elementary one, and the district it stands in."""
    pairs = list(zip(data["schools"], data["elementary"], strict=True))
    success = np.concatenate([np.arange(count) < elementary for count, elementary in pairs]).astype(float)
    return success, np.repeat(np.arange(len(pairs)), data["schools"])


def test_wilson_meets_the_published_values():
    reference = example("newcombe_1998")
    for expected in reference["expected"]:
        found = wilson(expected["x"], expected["n"], confidence=0.95)

        assert expected["wilson"] == pytest.approx(list(found), abs=reference["tolerance_abs"])


def test_wilson_agrees_with_scipy_for_many_at_once():
    hits = np.arange(0, 41)
    many = wilson(hits, np.full(41, 40), confidence=0.95)
    for k in hits:
        score = stats.binomtest(int(k), 40).proportion_ci(confidence_level=0.95, method="wilson")

        assert tuple(score) == pytest.approx((many.low[k], many.high[k]), abs=1e-12)


def test_the_error_between_patients_meets_the_published_one():
    reference = example("api_clusters")
    success, patient = schools(reference["data"])
    share = by_patient(success, np.ones_like(success), patient)
    error = intervals.standard_error(intervals.influence(share), int(patient.max()) + 1)
    half = stats.t.ppf(0.975, reference["expected"]["df"]) * error

    assert reference["expected"]["mean"] == pytest.approx(float(share.value), abs=1e-12)
    assert reference["expected"]["se"] == pytest.approx(float(error), abs=reference["tolerance_abs"])
    assert reference["expected"]["t_ci95"] == pytest.approx(
        [float(share.value - half), float(share.value + half)], abs=reference["tolerance_abs"]
    )


def test_bootstrap_and_jackknife_meet_the_law_school_example():
    reference = example("law_school")
    pairs = np.array([reference["data"]["LSAT"], reference["data"]["GPA"]], dtype=float)

    def correlation(weights):
        share = weights / weights.sum(axis=1, keepdims=True)
        centred = pairs[:, None, :] - (share @ pairs.T).T[:, :, None]
        product = (share * centred[0] * centred[1]).sum(axis=1)
        return {"r": product / np.sqrt(np.prod([(share * c * c).sum(axis=1) for c in centred], axis=0))}

    drawn = patient_bootstrap(correlation, np.arange(15), replicates=20000, seed=1)["r"]
    value = float(correlation(np.ones((1, 15)))["r"][0])
    left_out = patient_jackknife(correlation, np.arange(15))["r"]

    assert reference["expected"]["r"] == pytest.approx(value, abs=1e-12)
    assert reference["expected"]["boot_se_R20000"] == pytest.approx(drawn.std(), abs=reference["tolerance_abs"])
    each = [np.corrcoef(np.delete(pairs, n, axis=1))[0, 1] for n in range(15)]
    np.testing.assert_allclose(left_out, each, atol=1e-12)
    # 0.143 in Efron and Tibshirani 1993, chapter 11
    assert 0.143 == pytest.approx(np.sqrt(intervals.jackknife_variance(left_out)), abs=5e-4)


def test_the_patient_bootstrap_agrees_with_the_published_standard_error():
    reference = example("api_clusters")
    success, patient = schools(reference["data"])

    def share(weights):
        return {"share": weights @ success / weights.sum(axis=1)}

    drawn = patient_bootstrap(share, patient, replicates=2000, seed=1)["share"]

    assert reference["expected"]["se"] == pytest.approx(drawn.std(), rel=0.12)


def test_one_case_per_patient_gives_the_plain_interval():
    success = np.array([1, 1, 0, 1, 0], dtype=bool)

    assert wilson(3, 5, confidence=0.95) == clustered_wilson(success, np.arange(5), confidence=0.95)


def test_repeating_each_patients_case_does_not_narrow_the_interval():
    success = np.repeat([True, True, False, True, False, True], 4)
    patient = np.repeat(np.arange(6), 4)
    once = wilson(4, 6, confidence=0.95)

    assert clustered_wilson(success, patient, confidence=0.95).high - clustered_wilson(
        success, patient, confidence=0.95
    ).low >= (0.9 * (once.high - once.low))


def test_agreement_of_all_cases_does_not_make_them_independent():
    alike = Share(np.array([4.0, 4.0]), np.array([4.0, 4.0]))

    assert 1 < effective_trials(alike) < 4
    assert 6.0 == effective_trials(Share(np.array([1.0, 0, 1, 1, 0, 1]), np.ones(6)))


def test_shares_of_many_classes_at_once_are_those_of_each():
    generator = np.random.default_rng(3)
    trials = generator.integers(0, 4, (5, 12)).astype(float)
    successes = generator.binomial(trials.astype(int), 0.7).astype(float)
    together = intervals.clustered_wilson(Share(successes, trials), confidence=0.95)
    for k in range(5):
        alone = intervals.clustered_wilson(Share(successes[k], trials[k]), confidence=0.95)

        assert (alone.low, alone.high) == pytest.approx((together.low[k], together.high[k]), abs=1e-15)


def test_the_interval_of_a_mean_of_one_is_its_own_and_of_independent_ones_shrinks_with_the_root():
    one = Estimate(np.array([0.5]), Interval(np.array([0.3]), np.array([0.6])), np.ones((1, 2)))
    four = Estimate(np.full(4, 0.5), Interval(np.full(4, 0.3), np.full(4, 0.6)), np.eye(4))

    assert (0.3, 0.6) == pytest.approx(tuple(mean_interval(one)))
    assert (0.4, 0.55) == pytest.approx(tuple(mean_interval(four)))


def test_no_case_gives_no_interval():
    assert np.isnan(clustered_wilson(np.array([], dtype=bool), np.array([], dtype=int), confidence=0.95).low)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=1, max_size=40))
def test_an_interval_holds_its_value_and_stays_between_0_and_1(cases):
    success, patient = np.array([s for s, _ in cases]), np.array([p for _, p in cases])
    low, high = clustered_wilson(success, patient, confidence=0.95)

    assert 0 <= low <= success.mean() + 1e-12
    assert success.mean() - 1e-12 <= high <= 1


def test_the_bootstrap_is_the_same_for_the_same_seed_and_resamples_patients_whole():
    patient = np.array([0, 0, 1, 2, 2, 2])
    seen = []

    def remember(weights):
        seen.append(weights)
        return {"mean": weights.sum(axis=1)}

    first = patient_bootstrap(remember, patient, replicates=300, seed=4)["mean"]
    again = patient_bootstrap(remember, patient, replicates=300, seed=4)["mean"]

    assert 300 == len(first)
    np.testing.assert_array_equal(first, again)
    for weights in seen:
        assert (weights[:, 0] == weights[:, 1]).all()
        assert (weights[:, [0, 2, 3]].sum(axis=1) == 3).all()


def test_percentiles_are_undefined_where_many_replicates_are():
    mostly = np.r_[np.full(20, np.nan), np.linspace(0, 1, 80)]

    assert np.isnan(percentile(mostly, confidence=0.95).low)
    assert (0.25, 0.75) == pytest.approx(tuple(percentile(np.linspace(0, 1, 101), confidence=0.5)))


def test_the_jackknife_of_a_mean_gives_its_variance_and_the_effective_size_its_number():
    values = np.random.default_rng(3).random(40) < 0.7
    left_out = np.array([np.delete(values, n).mean() for n in range(40)])
    variance = intervals.jackknife_variance(left_out)
    found = intervals.effective_wilson(values.mean(), variance, 40, confidence=0.95)
    plain = wilson(values.sum(), 40, confidence=2 * stats.norm.cdf(stats.t.ppf(0.975, 39)) - 1)

    assert values.var(ddof=1) / 40 == pytest.approx(variance, rel=1e-12)
    assert tuple(plain) == pytest.approx(tuple(found), abs=0.01)
    assert np.isnan(intervals.jackknife_variance(np.r_[np.full(10, np.nan), np.ones(40)]))


def test_a_perfect_value_without_variance_has_an_interval_from_its_patients():
    low, high = intervals.effective_wilson(1.0, 0.0, 20, confidence=0.95)

    assert 1.0 == high
    assert 0.7 < low < 0.95
    assert intervals.logit_interval(1.0, 0.0, 20, confidence=0.95) == (low, high)
    assert np.isnan(intervals.effective_wilson(0.5, float("nan"), 20, confidence=0.95).low)


def test_intervals_on_other_scales_are_students_there():
    quantile = stats.t.ppf(0.975, 29)
    log = intervals.log_interval(0.4, 0.01, 30, confidence=0.95)
    logit = intervals.logit_interval(0.9, 0.001, 30, confidence=0.95)

    assert np.log(log.high / 0.4) == pytest.approx(quantile * 0.1 / 0.4)
    assert np.log(0.4 / log.low) == pytest.approx(quantile * 0.1 / 0.4)
    odds = np.log(np.array(logit) / (1 - np.array(logit))) - np.log(9)
    assert odds == pytest.approx(np.array([-1, 1]) * quantile * np.sqrt(0.001) / 0.09)


def test_a_value_rests_on_few_patients_where_any_of_its_groups_does():
    patient = np.repeat(np.arange(30), 2)
    truth = (patient < 15).astype(int)

    assert not intervals.too_few(patient, np.ones(60, dtype=bool))
    assert intervals.too_few(patient, np.ones(60, dtype=bool), *intervals.classes_in(truth))
    assert intervals.too_few(patient, patient < 19)
    assert not intervals.too_few(patient, patient < 20)
