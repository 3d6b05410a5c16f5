import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from toolkit.stats import delong, paired
from toolkit.stats.paired import Number


def of_cases(values) -> Number:
    values = np.asarray(values, dtype=float)
    return Number(values.mean(), (values.sum() - values) / (len(values) - 1))


def areas(positive, score) -> Number:
    without = [np.arange(len(score)) != n for n in range(len(score))]
    left_out = [delong.placements(positive[kept], score[None][:, kept]).auc[0] for kept in without]
    return Number(delong.placements(positive, score[None]).auc[0], np.array(left_out))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 12), st.integers(0, 12), st.integers(4, 60))
def test_the_difference_of_two_rates_is_that_of_agresti_and_min(only_first, only_second, same):
    """From the four counts, a half added to each, with Student's quantile and the sample variance."""
    n = only_first + only_second + same
    first = np.r_[np.ones(only_first), np.zeros(only_second), np.ones(same)]
    second = np.r_[np.zeros(only_first), np.ones(only_second), np.ones(same)]
    found = paired.of_means(of_cases(first), of_cases(second), n, confidence=0.95)
    shift = (only_second - only_first) / (n + 2)
    squares = (only_first + only_second - (only_second - only_first) ** 2 / n) * n / (n - 1)
    error = np.sqrt(squares + 1) / (n + 2)
    half = stats.t.ppf(0.975, n - 1) * error

    assert 2 * stats.t.sf(abs(shift) / error, n - 1) == pytest.approx(found.p, abs=1e-12)
    assert [shift - half, shift + half] == pytest.approx(list(found.interval), abs=1e-12)
    assert (found.p < 0.05) == (found.interval.low > 0 or found.interval.high < 0)


def test_the_difference_of_two_areas_is_near_delongs_in_a_large_study():
    generator = np.random.default_rng(2)
    positive = np.arange(400) < 150
    common = generator.normal(0, 1, 400)
    scores = [common + generator.normal(0, 0.7, 400) + signal * positive for signal in (1.0, 1.15)]
    theirs = delong.difference(positive, np.array([scores[1], scores[0]]), confidence=0.95)
    found = paired.of_areas(*(areas(positive, score) for score in scores), 400, confidence=0.95)

    assert theirs.value == pytest.approx(found.value, abs=1e-12)
    assert list(theirs.interval) == pytest.approx(list(found.interval), abs=0.004)
    assert found.p == pytest.approx(theirs.p, abs=0.005)


def test_the_difference_of_two_areas_in_plain_steps():
    generator = np.random.default_rng(5)
    positive = np.arange(60) < 20
    scores = generator.normal(0, 1, (2, 60)) + np.array([[1.0], [1.8]]) * positive
    first, second = (areas(positive, score) for score in scores)
    found = paired.of_areas(first, second, 60, confidence=0.95)

    difference = second.left_out - first.left_out
    most = np.argmax(np.abs(difference - difference.mean()))
    a, b = (np.append(number.left_out, number.left_out[most]) for number in (first, second))
    r = np.corrcoef(a, b)[0, 1]
    sides = []
    for number, left_out in ((first, a), (second, b)):
        error = np.sqrt(60 / 61 * ((left_out - left_out.mean()) ** 2).sum()) / (number.value * (1 - number.value))
        odds = np.log(number.value / (1 - number.value)) + np.array([-1, 1]) * stats.t.ppf(0.975, 59) * error
        sides.append(1 / (1 + np.exp(-odds)))
    down, up = second.value - sides[1][0], sides[1][1] - second.value
    own_down, own_up = first.value - sides[0][0], sides[0][1] - first.value
    low = found.value - np.sqrt(down**2 + own_up**2 - 2 * r * down * own_up)
    high = found.value + np.sqrt(up**2 + own_down**2 - 2 * r * up * own_down)
    assert [low, high] == pytest.approx(list(found.interval), abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10_000), st.integers(6, 40), st.sampled_from([0.8, 0.95, 0.99]))
def test_p_and_interval_of_areas_agree(seed, cases, confidence):
    generator = np.random.default_rng(seed)
    positive = np.arange(cases) < cases // 2
    scores = generator.integers(0, 6, (2, cases)) + generator.integers(0, 3) * positive
    found = paired.of_areas(*(areas(positive, score) for score in scores), cases, confidence=confidence)

    assert (found.p < 1 - confidence) == (found.interval.low > 0 or found.interval.high < 0)
    assert found.interval.low - 1e-12 <= found.value <= found.interval.high + 1e-12


def test_equal_numbers_have_p_1_and_an_interval():
    same = of_cases([1, 1, 0, 1, 1, 1, 1, 1])
    for found in (paired.of_means(same, same, 8, confidence=0.95), paired.of_areas(same, same, 8, confidence=0.95)):
        assert found.p == 1
        assert found.interval.low <= 0 <= found.interval.high
    unknown = Number(float("nan"), np.full(8, np.nan))
    assert np.isnan(paired.of_means(same, unknown, 8, confidence=0.95).p)
    assert np.isnan(paired.of_areas(same, unknown, 8, confidence=0.95).interval.low)
