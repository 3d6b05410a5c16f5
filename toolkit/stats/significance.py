"""Significance tests: McNemar, p-values from bootstrap and permutation, corrections for many comparisons.

An undefined p-value is NaN, and does not count among the comparisons.
"""

import numpy as np
import scipy


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the exact p-value for how many cases only the one and only the other got right (McNemar 1947)."""
    apart = only_first + only_second
    return float(scipy.stats.binomtest(only_first, apart).pvalue) if apart else 1.0


def bootstrap_p(replicates: np.ndarray) -> float:
    """Return the two-sided p-value of a difference from its bootstrap replicates: twice the share beyond 0."""
    defined = replicates[~np.isnan(replicates)]
    if len(defined) < 0.9 * len(replicates):
        return float("nan")
    beyond = min(np.count_nonzero(defined <= 0), np.count_nonzero(defined >= 0))
    return min(1.0, 2 * (beyond + 1) / (len(defined) + 1))


def permutation_p(value: float, permuted: np.ndarray) -> float:
    """Return the share of permutations with a difference at least as large, this one counted among them."""
    defined = permuted[~np.isnan(permuted)]
    if np.isnan(value) or not len(defined):
        return float("nan")
    return (np.count_nonzero(np.abs(defined) >= abs(value) - 1e-12) + 1) / (len(defined) + 1)


def holm(p: np.ndarray) -> np.ndarray:
    """Return p-values corrected for the chance of any false finding (Holm, Scand J Stat 1979;6:65)."""
    order = np.argsort(p)[: np.count_nonzero(~np.isnan(p))]  # NaN sorts last
    corrected = np.full(len(p), np.nan)
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1)
    return corrected


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """Return p-values corrected for the share of false ones among the findings (JRSS-B 1995;57:289)."""
    known, corrected = ~np.isnan(p), np.full(len(p), np.nan)
    corrected[known] = scipy.stats.false_discovery_control(p[known])
    return corrected
