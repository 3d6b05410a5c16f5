"""The error rate of all labels from a random share: against closed forms, and in simulated reviews."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import dblquad
from scipy.stats import beta, betabinom, binomtest

from toolkit.stats.error_rate import (
    Population,
    ReviewedCases,
    corrected_accuracy,
    correlation,
    drawn_interval,
    share_of_all,
)
from toolkit.stats.intervals import Share

PATH = Path(__file__).parent / "benchmarks" / "impact.py"
SPEC = importlib.util.spec_from_file_location("impact_benchmark", PATH)
benchmark = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(benchmark)


def drawn(*pairs: tuple[int, int]) -> Share:
    return Share(*(np.array(numbers, dtype=float) for numbers in zip(*pairs, strict=True)))


def test_patients_with_one_case_give_clopper_and_pearsons_interval():
    share = drawn(*[(1, 1)] * 3, *[(0, 1)] * 37)
    expected = binomtest(3, 40).proportion_ci(method="exact")
    estimate = share_of_all(share, Population(10**9, 10**9), confidence=0.95)

    assert 3 / 40 == estimate.value
    assert (expected.low, expected.high) == pytest.approx(tuple(estimate.interval), abs=1e-6)


def test_all_patients_drawn_leave_nothing_uncertain():
    estimate = share_of_all(drawn((1, 3), (0, 4)), Population(2, 7), confidence=0.95)

    assert (1 / 7, 1 / 7, 1 / 7) == (estimate.value, *estimate.interval)


def test_nothing_drawn_is_undefined():
    nothing = share_of_all(Share(np.zeros(0), np.zeros(0)), Population(9, 20), confidence=0.95)

    assert np.isnan([nothing.value, *nothing.interval]).all()


def test_no_error_among_few_patients_leaves_much_possible_and_more_the_more_cases_each_has():
    few, many = (drawn_interval(drawn(*[(0, cases)] * 4), fraction=0.0, confidence=0.95).high for cases in (1, 10))

    assert 0.025 ** (1 / 4) == pytest.approx(1 - few)
    assert 1 - 0.025 ** (1 / 40) < many < few


def test_what_was_found_elsewhere_bounds_the_interval():
    share, patients = drawn(*[(0, 2)] * 10), 100
    plain = share_of_all(share, Population(patients, 200), confidence=0.95)
    known = share_of_all(share, Population(patients, 200, found=9, ruled_out=170), confidence=0.95)

    assert 0 == plain.value == known.value
    assert (0, 0.045) == (plain.interval.low, known.interval.low)
    assert 0.15 == pytest.approx(known.interval.high) != plain.interval.high


@pytest.mark.soak_after(1)
@pytest.mark.parametrize("pairs", [[(0, 5), (2, 6), (0, 3)], [(5, 5), (0, 6), (1, 8), (0, 2)]])
def test_the_correlation_is_the_posterior_mean_by_numerical_integration(pairs):
    def density(rho, p):
        spread = 1 / rho - 1
        return beta.pdf(p, 0.5, 0.5) * np.prod([betabinom.pmf(k, n, p * spread, (1 - p) * spread) for k, n in pairs])

    ends = (1e-4, 1 - 1e-4, 1e-4, 1 - 1e-4)
    total, _ = dblquad(density, *ends, epsabs=1e-4, epsrel=0.01)
    mean, _ = dblquad(lambda rho, p: rho * density(rho, p), *ends, epsabs=1e-4, epsrel=0.01)

    assert mean / total == pytest.approx(correlation(drawn(*pairs)), abs=0.02)


def of_cases(patient, random, decided) -> ReviewedCases:
    return ReviewedCases(np.array(patient), *(np.array(column, dtype=bool) for column in (random, decided)))


def test_the_corrected_accuracy_is_as_it_is_plus_gains_less_losses():
    """Of 8 cases 5 are right; of the 4 drawn at random two become right, and one that was right is not."""
    before = np.array([1, 1, 0, 0, 1, 1, 1, 0], dtype=bool)
    after = np.array([1, 0, 1, 1, 1, 1, 1, 0], dtype=bool)
    review = of_cases(range(8), [1, 1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 0, 0, 0])
    estimate = corrected_accuracy(before, after, review, confidence=0.95)

    assert 5 / 8 + 2 / 4 - 1 / 4 == pytest.approx(estimate.value)
    # 4 cases are known to be right, 1 to be wrong
    assert 4 / 8 <= estimate.interval.low < estimate.value <= estimate.interval.high <= 7 / 8


def test_the_corrected_accuracy_of_all_cases_reviewed_is_theirs():
    rng = np.random.default_rng(1)
    before, after = rng.random((2, 60)) < 0.7
    everyone = np.ones(60)
    estimate = corrected_accuracy(before, after, of_cases(np.arange(60) // 3, everyone, everyone), confidence=0.95)

    assert (after.mean(), after.mean(), after.mean()) == pytest.approx((estimate.value, *estimate.interval))


def test_without_a_case_drawn_the_corrected_accuracy_is_undefined():
    before = np.array([1, 1, 0], dtype=bool)
    estimate = corrected_accuracy(before, before, of_cases(range(3), [0, 0, 0], [1, 0, 0]), confidence=0.95)

    assert np.isnan([estimate.value, *estimate.interval]).all()


@pytest.mark.parametrize(
    "design",
    [
        benchmark.Design(300, "mostly few", 0.05, 60, 0.3),
        benchmark.Design(300, "evenly", 0.15, 240, 0.3),
        benchmark.Design(300, "mostly few", 0.15, 240, 0.15),
    ],
)
def test_the_random_share_tells_the_error_rate_and_disagreements_do_not(design):
    """`make coverage` has more kinds of studies, and 1,000 reviews of each."""
    times = 200
    simulated = benchmark.simulate(design, times, seed=3)
    for name, row in simulated.items():
        noise = 2 * 0.09 / np.sqrt(times)

        assert abs(row.bias) <= 0.01 + noise, name
        assert row.covered >= 0.93 - 2 * np.sqrt(0.93 * 0.07 / times), name
        assert row.width < 1, name
    assert simulated["error rate"].disagreements > design.rate
