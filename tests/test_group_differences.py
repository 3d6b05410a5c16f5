import numpy as np
import pytest

from toolkit.stats.group_differences import GroupedCases, differences

RECALL = np.array([0.95, 0.8, 0.7, 0.5])
"""Of each class, the same in the group and outside it."""
STUDIES = 200


def a_study(rng, *, patients, mix, others=60, lower=0.0):
    """Return truth, right, patient, inside: one to three cases of a patient, with outcomes alike."""
    truth, right, patient, inside = [], [], [], []
    for number in range(patients + others):
        of_group = number < patients
        cases, shared = rng.integers(1, 4), rng.random()
        classes = np.full(cases, rng.choice(4, p=mix if of_group else [0.4, 0.3, 0.2, 0.1]))
        own = np.where(rng.random(cases) < 0.5, shared, rng.random(cases))
        truth.append(classes)
        right.append(own < RECALL[classes] - lower * of_group)
        patient.append(np.full(cases, number))
        inside.append(np.full(cases, of_group))
    return tuple(np.concatenate(each) for each in (truth, right, patient, inside))


def compared(study, seed=0, replicates=199):
    return differences(GroupedCases(*study), 4, replicates=replicates, confidence=0.95, seed=seed)


@pytest.mark.soak_after(1)
@pytest.mark.parametrize("patients", [5, 10, 20])
@pytest.mark.parametrize("mix", [[0.5, 0.5, 0, 0], [0.1, 0.1, 0.4, 0.4]], ids=["two of four classes", "another mix"])
def test_equal_recall_in_each_class_is_no_difference_whatever_the_classes_of_a_group(patients, mix):
    rng = np.random.default_rng(100 + patients)
    found = [compared(a_study(rng, patients=patients, mix=mix), seed) for seed in range(STUDIES)]
    most = 0.05 + 2 * np.sqrt(0.05 * 0.95 / STUDIES)

    for name in ("accuracy", "macro_recall"):
        own = [getattr(each, name) for each in found]

        assert most >= np.mean([each.p <= 0.05 for each in own])
        assert 0.05 > abs(np.nanmean([each.value for each in own]))
    assert most >= np.mean([each.recall[0].p <= 0.05 for each in found])


def test_a_group_that_is_worse_is_found_and_its_interval_holds_by_how_much():
    rng = np.random.default_rng(2)
    found = [compared(a_study(rng, patients=20, mix=[0.25] * 4, lower=0.3), seed).accuracy for seed in range(STUDIES)]
    least = 0.93 - 2 * np.sqrt(0.93 * 0.07 / STUDIES)

    assert np.mean([each.p <= 0.05 for each in found]) > 0.7
    assert np.mean([each.interval.low <= -0.3 <= each.interval.high for each in found]) >= least


def test_the_differences_are_those_of_standardised_recalls():
    truth, right, patient, inside = a_study(np.random.default_rng(4), patients=30, mix=[0.1, 0.1, 0.8, 0])
    found = compared((truth, right, patient, inside))
    shared = [k for k in range(4) if (inside & (truth == k)).any() and (~inside & (truth == k)).any()]
    own = np.array([right[inside & (truth == k)].mean() - right[~inside & (truth == k)].mean() for k in shared])
    cases = [(truth == k).sum() for k in shared]

    assert [0, 1, 2] == shared
    assert own.mean() == pytest.approx(found.macro_recall.value, abs=1e-12)
    assert np.average(own, weights=cases) == pytest.approx(found.accuracy.value, abs=1e-12)
    assert [*own] == pytest.approx([each.value for each in found.recall[:3]], abs=1e-12)
    assert np.isnan(found.recall[3].value)
    assert np.isnan(found.recall[3].p)


def test_the_others_against_the_group_give_the_same_with_the_other_sign():
    for seed in range(8):
        truth, right, patient, inside = a_study(np.random.default_rng(seed), patients=60, mix=[0.4, 0.3, 0.2, 0.1])
        one, other = compared((truth, right, patient, inside)), compared((truth, right, patient, ~inside))
        for a, b in zip([*one[:2], *one.recall], [*other[:2], *other.recall], strict=True):
            turned = [-b.value, -b.interval.high, -b.interval.low, b.p]
            assert turned == pytest.approx([a.value, *a.interval, a.p], abs=1e-12, nan_ok=True)


def test_p_is_that_of_a_permutation_test_where_every_patient_has_one_case_of_one_class():
    rng = np.random.default_rng(6)
    inside, patient = np.arange(60) < 20, np.arange(60)
    right = rng.random(60) < np.where(inside, 0.6, 0.85)
    p = compared((np.zeros(60, dtype=int), right, patient, inside), replicates=4000).accuracy.p
    exchanged = [rng.permutation(right) for _ in range(20_000)]
    apart = np.array([each[:20].mean() - each[20:].mean() for each in exchanged])
    observed = right[:20].mean() - right[20:].mean()
    # of 0 and 1 the standard error is a function of the difference, so ordering by the ratio hardly differs

    assert np.mean(np.abs(apart) >= abs(observed) - 1e-12) == pytest.approx(p, abs=0.03)


def test_interval_and_p_say_the_same():
    rng = np.random.default_rng(9)
    for seed in range(60):
        found = compared(a_study(rng, patients=12, mix=[0.25] * 4, lower=0.25), seed)
        for each in (found.accuracy, found.macro_recall, *found.recall):
            if not np.isnan(each.interval.low):
                assert (each.p <= 0.05) == (not each.interval.low <= 0 <= each.interval.high)


def test_where_nobody_can_be_exchanged_there_is_no_test():
    truth = np.repeat([0, 1], 20)
    found = compared((truth, np.ones(40, dtype=bool), np.arange(40), truth == 0))

    assert np.isnan(found.accuracy.value)
    assert np.isnan(found.accuracy.p)
    assert np.isnan(found.accuracy.interval.low)
