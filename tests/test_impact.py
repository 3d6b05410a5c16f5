import itertools
import time

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from toolkit.stats.impact import LabelChanges, Recount


def a_run(seed: int, *, cases: int = 200, classes: int = 5, changed: int = 30, unlabelled: bool = False):
    """Reference classes and predictions of a run, and changes of some of its reference classes; the last is rare."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes - 1, cases)
    truth[:1] = classes - 1
    predicted = np.where(rng.random(cases) < 0.6, truth, rng.integers(0, classes, cases))
    places = np.r_[0, 1 + rng.permutation(cases - 1)[: changed - 1]]
    after = (truth[places] + rng.integers(1, classes, changed)) % classes
    if unlabelled:
        truth[places[1:4]], after[4:7] = -1, -1
    return truth, predicted, places, LabelChanges(truth[places], after, predicted[places])


def brute_force(truth, predicted, places, changes, subset) -> dict:
    """The metrics by scikit-learn, of all cases scored anew."""
    new = truth.copy()
    new[places[subset]] = changes.after[subset]
    known = new >= 0
    own, said = new[known], predicted[known]
    values = precision_recall_fscore_support(own, said, labels=np.arange(5), zero_division=np.nan)
    rates = dict(zip(("precision", "recall", "f1"), values, strict=False))
    return {
        "accuracy": np.mean(own == said),
        **rates,
        **{f"macro_{name}": np.nanmean(value) for name, value in rates.items()},
    }


@pytest.mark.soak
@pytest.mark.parametrize("unlabelled", [False, True])
def test_values_after_1000_subsets_are_those_of_scikit_learn(unlabelled):
    truth, predicted, places, changes = a_run(1, unlabelled=unlabelled)
    subsets = np.random.default_rng(2).random((1000, len(places))) < np.linspace(0, 1, 1000)[:, None]
    started = time.perf_counter()
    values = Recount(truth, predicted, changes, classes=5).values(subsets)
    seconds = time.perf_counter() - started

    assert seconds < 1
    for number, subset in enumerate(subsets):
        for name, expected in brute_force(truth, predicted, places, changes, subset).items():
            np.testing.assert_allclose(values[name][number], expected, rtol=0, atol=1e-12, err_msg=name)


def test_a_class_that_no_case_has_and_nobody_predicts_leaves_the_macro_average():
    truth, predicted = np.array([0, 0, 1, 2]), np.array([0, 1, 1, 0])
    recount = Recount(truth, predicted, LabelChanges(*np.array([[2], [0], [0]])), classes=3)
    values = recount.values(np.array([[False], [True]]))

    assert np.isnan(values["f1"][1, 2])
    assert values["macro_f1"].tolist() == pytest.approx([(1 / 2 + 2 / 3 + 0) / 3, (4 / 5 + 2 / 3) / 2])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("unlabelled", [False, True])
def test_exact_bounds_are_those_of_all_subsets_and_provable_ones_enclose_them(seed, unlabelled, monkeypatch):
    truth, predicted, places, changes = a_run(seed, cases=25, changed=7, unlabelled=unlabelled)
    recount = Recount(truth, predicted, changes, classes=5)
    fixed = np.arange(7) < seed % 3
    subsets = np.array([s for s in itertools.product([False, True], repeat=7) if not (fixed & ~np.array(s)).any()])
    every = [brute_force(truth, predicted, places, changes, subset)["macro_f1"] for subset in subsets]
    exact = recount.bounds(fixed=fixed)
    monkeypatch.setattr("toolkit.stats.impact.MOST_SUBSETS", 0)
    searched = recount.bounds(fixed=fixed)

    assert exact.exact
    assert not searched.exact
    assert (min(every), max(every)) == pytest.approx((exact.low, exact.high))
    assert searched.least <= exact.low + 1e-12
    assert exact.low - 1e-12 <= searched.low <= searched.high <= exact.high + 1e-12
    assert exact.high <= searched.most + 1e-12


def test_the_bounds_of_many_changes_are_found_in_seconds_and_hold_every_subset():
    truth, predicted, _, changes = a_run(3, cases=400, changed=120)
    recount = Recount(truth, predicted, changes, classes=5)
    bounds = recount.bounds()
    values = recount.values(np.random.default_rng(0).random((2000, 120)) < 0.5)["macro_f1"]

    assert not bounds.exact
    assert bounds.least <= bounds.low <= values.min() <= values.max() <= bounds.high <= bounds.most


@pytest.mark.parametrize("unlabelled", [False, True])
def test_contributions_add_up_to_what_all_changes_do(unlabelled):
    truth, predicted, _, changes = a_run(4, unlabelled=unlabelled)
    recount = Recount(truth, predicted, changes, classes=5)
    none, everything = recount.values(np.array([[False] * 30, [True] * 30]))["macro_f1"]
    contributions = recount.contributions()

    assert everything - none == pytest.approx(contributions.sum())
    assert contributions.tolist() == recount.contributions().tolist()
    kinds = {}
    for kind, value in zip(zip(*changes, strict=True), contributions, strict=True):
        assert kinds.setdefault(kind, value) == value


def test_contributions_are_the_mean_over_all_orders_of_a_few_changes():
    truth, predicted, places, changes = a_run(5, cases=20, changed=4)
    expected = np.zeros(4)
    for order in itertools.permutations(range(4)):
        subset = np.zeros(4, dtype=bool)
        for change in order:
            before = brute_force(truth, predicted, places, changes, subset)["macro_f1"]
            subset[change] = True
            expected[change] += brute_force(truth, predicted, places, changes, subset)["macro_f1"] - before

    assert expected / 24 == pytest.approx(Recount(truth, predicted, changes, classes=5).contributions(), abs=0.004)


def test_without_changes_the_metric_stays():
    truth, predicted, _, _ = a_run(6)
    none = np.zeros(0, dtype=int)
    recount = Recount(truth, predicted, LabelChanges(none, none, none), classes=5)
    (value,) = recount.values(np.zeros((1, 0), dtype=bool))["macro_f1"]

    assert (value, value, value, value, True) == recount.bounds()
    assert 0 == len(recount.contributions())
