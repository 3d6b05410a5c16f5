"""When a difference is more than chance: McNemar, p-values of replicates, corrections for many comparisons.

Refuses to know what is compared. Undefined is NaN, and is not counted among the comparisons.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.stats import binom, chi2


class McNemar(NamedTuple):
    """P-values for two classifiers on the same cases: exact, and from chi-squared without and with correction."""

    exact: float
    chi2: float
    p: float
    corrected_chi2: float
    corrected_p: float


def mcnemar(only_first: int, only_second: int) -> McNemar:
    """Compare how many cases only the one and only the other got right (McNemar, Psychometrika 1947;12:153)."""
    apart = only_first + only_second
    if apart == 0:
        return McNemar(1.0, 0.0, 1.0, 0.0, 1.0)
    exact = min(1.0, 2 * float(binom.cdf(min(only_first, only_second), apart, 0.5)))
    plain = (only_first - only_second) ** 2 / apart
    corrected = max(abs(only_first - only_second) - 1, 0) ** 2 / apart
    return McNemar(exact, plain, float(chi2.sf(plain, 1)), corrected, float(chi2.sf(corrected, 1)))


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
    """Return p-values corrected so that any false finding is as rare as said (Holm, Scand J Stat 1979;6:65)."""
    return _corrected(p, lambda ordered: np.maximum.accumulate(ordered * np.arange(len(ordered), 0, -1)))


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """Return p-values corrected for the share of false ones among the findings (JRSS-B 1995;57:289)."""
    return _corrected(
        p,
        lambda ordered: np.minimum.accumulate((ordered * len(ordered) / np.arange(1, len(ordered) + 1))[::-1])[::-1],
    )


def _corrected(p: np.ndarray, correct: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    found = np.full(len(p), np.nan)
    found[order] = np.minimum(correct(p[order]), 1)
    return found
