"""Decision thresholds: choosing them, the rates and net benefit at them, and the sensitivity that data can confirm.

A case is flagged where its score is at least the threshold.
"""

from collections.abc import Callable, Collection
from math import ceil, log

import numpy as np
import scipy

from toolkit.stats.intervals import Interval, Share, by_patient, clustered_wilson
from toolkit.stats.metrics import outcomes, shares

MOST_NEEDED = 100_000


def for_sensitivity(positive: np.ndarray, score: np.ndarray, required: float) -> float:
    """Return the highest threshold with the required sensitivity; NaN without positives.

    It lies halfway to the next lower score, so that no case stands on it; 0 where there is none.
    """
    own = np.sort(score[positive])[::-1]
    if not len(own):
        return float("nan")
    return _below(own[ceil(required * len(own) - 1e-9) - 1], score)


def youden(positive: np.ndarray, score: np.ndarray) -> float:
    """Return the threshold with the largest sum of sensitivity and specificity, the highest of equals."""
    if positive.all() or not positive.any():
        return float("nan")
    tried = np.unique(score)[::-1]
    detected, passed = np.sort(score[positive]), np.sort(score[~positive])
    sensitivity = (len(detected) - np.searchsorted(detected, tried)) / len(detected)
    sums = sensitivity + np.searchsorted(passed, tried) / len(passed)
    return _below(tried[int(np.argmax(np.round(sums, 12)))], score)


def _below(place: float, score: np.ndarray) -> float:
    lower = score[score < place]
    return float((place + lower.max()) / 2) if len(lower) else 0.0


def rates_at(
    positive: np.ndarray,
    score: np.ndarray,
    threshold: float,
    patient: np.ndarray,
    *,
    confidence: float,
    further: Collection[str] = (),
) -> dict[str, tuple[Share, Interval]]:
    """Return recall, specificity, precision and npv at a threshold by patient, with their intervals.

    `further` may name f1 and accuracy.
    """
    counts = outcomes(positive, score >= threshold)
    of_cases = {**shares(counts), "accuracy": (counts.tp + counts.tn, np.ones(len(positive)))}
    left_out = {"f1", "accuracy"} - {*further}
    rates = {name: by_patient(*share, patient) for name, share in of_cases.items() if name not in left_out}
    return {name: (share, clustered_wilson(share, confidence=confidence)) for name, share in rates.items()}


Rate = tuple[float, Interval]
"""A value with its interval."""


def precision_at(prevalence: float, sensitivity: Rate, specificity: Rate) -> Rate:
    """Return the precision (PPV) where so many cases are positive, by Bayes' theorem.

    It rises with both rates, so its bounds are those at both lower and both upper bounds: they cover at least as much.

    >>> value, interval = precision_at(0.01, (0.9, Interval(0.8, 0.96)), (0.95, Interval(0.93, 0.97)))
    >>> round(value, 3), round(float(interval.low), 3), round(float(interval.high), 3)
    (0.154, 0.104, 0.244)
    """

    def of(found: float, passed: float) -> float:
        flagged = prevalence * found + (1 - prevalence) * (1 - passed)
        return prevalence * found / flagged if flagged > 0 else float("nan")

    return _at_both_bounds(of, sensitivity, specificity)


def npv_at(prevalence: float, sensitivity: Rate, specificity: Rate) -> Rate:
    """Return the negative predictive value where so many cases are positive, as for `precision_at`."""

    def of(found: float, passed: float) -> float:
        left = (1 - prevalence) * passed + prevalence * (1 - found)
        return (1 - prevalence) * passed / left if left > 0 else float("nan")

    return _at_both_bounds(of, sensitivity, specificity)


def _at_both_bounds(of: Callable[[float, float], float], sensitivity: Rate, specificity: Rate) -> Rate:
    (found, between), (passed, other) = sensitivity, specificity
    low, high = of(float(between.low), float(other.low)), of(float(between.high), float(other.high))
    return of(found, passed), Interval(low, high)


def confirmed_sensitivity(found: int, positives: int, *, confidence: float) -> float:
    """Return the sensitivity that is exceeded with this confidence: the exact one-sided binomial bound; NaN of none."""
    if positives == 0:
        return float("nan")
    return float(scipy.stats.beta.ppf(1 - confidence, found, positives - found + 1)) if found else 0.0


def needed(missed: int, required: float, *, confidence: float) -> int | None:
    """Return how many positives, of which so many are missed, confirm a sensitivity; None above MOST_NEEDED.

    59 without a miss confirm 0.95 with confidence 0.95.
    """
    if missed == 0:
        return ceil(log(1 - confidence) / log(required) - 1e-9)
    low, high = missed, MOST_NEEDED
    if confirmed_sensitivity(high - missed, high, confidence=confidence) < required:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        enough = confirmed_sensitivity(middle - missed, middle, confidence=confidence) >= required
        low, high = (low, middle) if enough else (middle, high)
    return high


def net_benefits(positive: np.ndarray, score: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Return what each case adds to the net benefit at each threshold, (N, T): its mean is the net benefit.

    A true positive counts 1, a false one the negative odds of the threshold (Vickers and Elkin, Med Decis Making
    2006;26:565).
    """
    flagged = score[:, None] >= thresholds
    return flagged * np.where(positive[:, None], 1.0, -thresholds / (1 - thresholds))
