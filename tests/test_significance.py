import numpy as np
import pytest
from published import example

from toolkit.stats import significance


def test_the_published_mcnemar_example_is_met():
    reference = example("mcnemar")
    (_, first), (second, _) = reference["data"]
    found, expected = significance.mcnemar(first, second), reference["expected"]

    assert expected["p_exact"] == pytest.approx(found, abs=reference["tolerance_abs"])


@pytest.mark.parametrize(("first", "second", "expected"), [(0, 0, 1), (0, 5, 2 / 32), (3, 3, 1), (7, 2, 92 / 512)])
def test_the_exact_p_value_is_that_counted_by_hand(first, second, expected):
    """Of 2^5 orders of five cases two are all on one side; of 2^9 orders of nine, 2 * (1 + 9 + 36) are as uneven."""
    assert expected == pytest.approx(significance.mcnemar(first, second), abs=1e-12)


def test_published_corrected_p_values_are_met():
    reference = example("benjamini_hochberg_1995")
    p, expected = np.array(reference["data"], dtype=float), reference["expected"]
    found = significance.benjamini_hochberg(p)

    assert expected["BH"] == pytest.approx(found.tolist(), abs=reference["tolerance_abs"])
    assert expected["n_reject_BH_05"] == (found <= 0.05).sum()
    # the first step of Holm is Bonferroni's
    assert expected["bonferroni"][0] == pytest.approx(significance.holm(p)[0])
    assert expected["n_reject_bonf_05"] == (significance.holm(p) <= 0.05).sum()


def test_undefined_p_values_are_no_comparisons():
    p = np.array([0.01, np.nan, 0.04, 0.03])

    np.testing.assert_allclose(significance.holm(p), [0.03, np.nan, 0.06, 0.06])
    np.testing.assert_allclose(significance.benjamini_hochberg(p), [0.03, np.nan, 0.04, 0.04])


def test_replicates_on_both_sides_of_zero_are_no_finding():
    assert 1.0 == significance.bootstrap_p(np.array([-1.0, 1.0] * 50))
    assert 2 / 101 == pytest.approx(significance.bootstrap_p(np.ones(100)))
    assert np.isnan(significance.bootstrap_p(np.full(10, np.nan)))
    assert 1 / 101 == pytest.approx(significance.permutation_p(2.0, np.zeros(100)))
