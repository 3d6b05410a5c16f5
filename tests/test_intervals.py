import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.intervals import clustered_wilson, effective_size, patient_bootstrap, percentile, wilson


def test_wilson_meets_the_published_values(shared):
    reference = json.loads((shared / "reference_values" / "binomial_ci_newcombe.json").read_text())
    for expected in reference["expected"]:
        found = wilson(expected["x"], expected["n"], confidence=0.95)

        assert expected["wilson"] == pytest.approx(list(found), abs=reference["tolerance_abs"])


def test_the_design_effect_meets_the_published_standard_error(shared):
    reference = json.loads((shared / "reference_values" / "cluster_proportion_api.json").read_text())
    success, cluster = np.array(reference["data"]["y"], dtype=float), np.array(reference["data"]["cluster"])
    share = success.mean()
    error = np.sqrt(share * (1 - share) / effective_size(success, cluster))

    assert reference["expected"]["se"] == pytest.approx(error, abs=reference["tolerance_abs"])


def test_the_patient_bootstrap_agrees_with_the_published_standard_error(shared):
    reference = json.loads((shared / "reference_values" / "cluster_proportion_api.json").read_text())
    success = np.array(reference["data"]["y"], dtype=float)
    patient = np.unique(reference["data"]["cluster"], return_inverse=True)[1]

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


def test_agreement_of_all_cases_counts_patients_not_cases():
    assert 2.0 == effective_size(np.ones(8), np.repeat([0, 1], 4))
    assert 1.0 == effective_size(np.array([1.0, 0.0]), np.array([5, 5]))


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
