"""Intervals and tests of the area under the ROC curve: DeLong's, and intervals for patients with several cases.

Arrays of scores are (K, N): K classifiers on the same N cases.
"""

from typing import NamedTuple

import numpy as np
import scipy

from toolkit.stats.intervals import UNDEFINED, Interval, standard_error

EDGE = 1e-9


class Placements(NamedTuple):
    """AUC per classifier (K,), and each positive's and negative's place among the others, (K, m) and (K, n)."""

    auc: np.ndarray
    of_positives: np.ndarray
    of_negatives: np.ndarray


class Difference(NamedTuple):
    """A paired difference of two areas: z, two-sided p, interval; NaN where it has no variance."""

    value: float
    z: float
    p: float
    interval: Interval


def placements(positive: np.ndarray, scores: np.ndarray) -> Placements:
    """Return the share of negatives that each positive outranks and of positives that outrank each negative.

    Ties count a half (DeLong, DeLong and Clarke-Pearson, Biometrics 1988;44:837).
    """
    high, low = scores[:, positive], scores[:, ~positive]
    if not high.shape[1] or not low.shape[1]:
        return Placements(np.full(len(scores), np.nan), np.full(high.shape, np.nan), np.full(low.shape, np.nan))
    over = np.stack([_mean_rank(row, among) for row, among in zip(high, low, strict=True)])
    under = np.stack([1 - _mean_rank(row, among) for row, among in zip(low, high, strict=True)])
    return Placements(over.mean(axis=1), over, under)


def _mean_rank(values: np.ndarray, among: np.ndarray) -> np.ndarray:
    ordered = np.sort(among)
    return (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / (2 * len(among))


def covariance(placed: Placements) -> np.ndarray:
    """Return the covariance (K, K) of the areas with every case independent; NaN with fewer than two of either kind."""
    sides = (placed.of_positives, placed.of_negatives)
    if min(side.shape[1] for side in sides) < 2:
        return np.full((len(placed.auc), len(placed.auc)), np.nan)
    return sum(np.atleast_2d(np.cov(side)) / side.shape[1] for side in sides)


def difference(positive: np.ndarray, scores: np.ndarray, *, confidence: float) -> Difference:
    """Return the difference of the first and the second classifier's areas by DeLong's paired test.

    >>> positive = np.array([True, True, True, False, False, False])
    >>> scores = np.array([[0.9, 0.7, 0.4, 0.6, 0.2, 0.1], [0.8, 0.3, 0.5, 0.7, 0.4, 0.2]])
    >>> result = difference(positive, scores, confidence=0.95)
    >>> round(result.value, 3), round(result.p, 3)
    (0.222, 0.371)
    """
    placed = placements(positive, scores)
    variance = np.array([1, -1]) @ covariance(placed) @ np.array([1, -1])
    value = float(placed.auc[0] - placed.auc[1])
    if not variance > 0:
        return Difference(value, float("nan"), float("nan"), UNDEFINED)
    error = np.sqrt(variance)
    half = scipy.special.ndtri((1 + confidence) / 2) * error
    z = value / error
    return Difference(value, float(z), float(2 * scipy.special.ndtr(-abs(z))), Interval(value - half, value + half))


def influence(positive: np.ndarray, scores: np.ndarray, patient: np.ndarray) -> np.ndarray:
    """Return each patient's influence on the areas, (K, P) (Obuchowski, Biometrics 1997;53:567)."""
    placed, patients = placements(positive, scores), int(patient.max()) + 1
    influences = np.zeros((len(scores), patients))
    for side, own in ((placed.of_positives, patient[positive]), (placed.of_negatives, patient[~positive])):
        for k, places in enumerate(side):
            influences[k] += np.bincount(own, weights=(places - placed.auc[k]) / len(own), minlength=patients)
    return influences


def clustered_interval(positive: np.ndarray, score: np.ndarray, patient: np.ndarray, *, confidence: float) -> Interval:
    """Return the interval of an area, whether patients have one case or several.

    Newcombe's (Stat Med 2006;25:559, method 5), which keeps its width where the area is near 1, with both numbers of
    cases divided by the design effect: the variance between patients over DeLong's, 1 where every patient has one case.
    """
    placed = placements(positive, score[None])
    auc, independent = float(placed.auc[0]), float(covariance(placed)[0, 0])
    if np.isnan(auc):
        return UNDEFINED
    sizes = np.bincount(patient[positive])
    between = float(standard_error(influence(positive, score[None], patient)[0], len(np.unique(patient)))) ** 2
    measurable = independent > 0 and between > 0
    effect = max(1.0, between / independent) if measurable else np.square(sizes).sum() / sizes.sum()
    if np.bincount(patient).max() == 1:
        effect = 1.0
    return newcombe(auc, positive.sum() / effect, (~positive).sum() / effect, confidence=confidence)


def newcombe(auc: float, positives: float, negatives: float, *, confidence: float) -> Interval:
    """Return Newcombe's score-like interval of an area from the (effective) numbers of cases."""
    z, typical = scipy.special.ndtri((1 + confidence) / 2), (positives + negatives) / 2 - 1

    def beyond(area: float) -> float:
        spread = 1 + typical * (1 - area) / (2 - area) + typical * area / (1 + area)
        return (auc - area) ** 2 - z * z * area * (1 - area) * spread / (positives * negatives)

    inside = min(max(auc, EDGE), 1 - EDGE)  # at the very ends the equation has a second root
    low = 0.0 if auc <= 0 else scipy.optimize.brentq(beyond, 0, inside, xtol=1e-12)
    high = 1.0 if auc >= 1 else scipy.optimize.brentq(beyond, inside, 1, xtol=1e-12)
    return Interval(float(low), float(high))
