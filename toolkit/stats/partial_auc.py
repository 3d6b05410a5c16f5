"""Parts of the area under the ROC curve: above a sensitivity, between two sensitivities or two specificities.

Which part a report means has to be said: the ISIC challenges until 2020 took the whole height behind the point where a
sensitivity is reached (at most 1); ISIC 2024 what lies above 80 % sensitivity (at most 0.2).
"""

from typing import NamedTuple

import numpy as np

from toolkit.stats.metrics import roc_curve

CLOSE = 1e-12
"""Rates this near to one another are the same."""


class PartialArea(NamedTuple):
    """An area, and McClish's correction to between 0.5 and 1; NaN where the area is under that of chance."""

    area: float
    corrected: float


def roc_auc_above(positive: np.ndarray, score: np.ndarray, *, sensitivity: float) -> float:
    """Return the area under the ROC curve behind the point where it first reaches a sensitivity; NaN of one kind.

    Where a threshold has exactly that sensitivity, what lies at it counts: all false positive rates with it.

    >>> positive, score = np.array([0, 0, 1, 1]) == 1, np.array([0.3, 0.7, 0.3, 0.7])
    >>> round(roc_auc_above(positive, score, sensitivity=0.1), 3)
    0.495
    """
    curve = roc_curve(positive, score)
    if np.isnan(curve.x).any() or np.isnan(curve.y).any():
        return float("nan")
    first = int(np.argmax(curve.y >= sensitivity - CLOSE))
    start = curve.x[first]
    if curve.y[first] > sensitivity + CLOSE:
        before = curve.x[first - 1], curve.y[first - 1]
        start = before[0] + (start - before[0]) * (sensitivity - before[1]) / (curve.y[first] - before[1])
    return float(np.trapezoid(np.r_[sensitivity, curve.y[first:]], np.r_[start, curve.x[first:]]))


def between_sensitivities(positive: np.ndarray, score: np.ndarray, low: float, high: float = 1.0) -> PartialArea:
    """Return the specificity summed up over the sensitivities from `low` to `high`: ISIC 2024 takes 0.8 to 1."""
    curve = roc_curve(positive, score)
    return _corrected(_between(curve.y, 1 - curve.x, low, high), low, high)


def between_specificities(positive: np.ndarray, score: np.ndarray, low: float, high: float = 1.0) -> PartialArea:
    """Return the sensitivity summed up over the specificities from `low` to `high`."""
    curve = roc_curve(positive, score)
    return _corrected(_between(curve.x, curve.y, 1 - high, 1 - low), low, high)


def _between(x: np.ndarray, y: np.ndarray, low: float, high: float) -> float:
    """Return the area under straight lines between points in order of x, from `low` to `high`."""
    if np.isnan(x).any() or np.isnan(y).any():
        return float("nan")
    width, rise = np.diff(x), np.diff(y)
    slope = np.divide(rise, width, out=np.zeros_like(width), where=width > 0)
    left, right = np.clip(x[:-1], low, high), np.clip(x[1:], low, high)
    heights = 2 * y[:-1] + slope * (left + right - 2 * x[:-1])
    return float(((right - left) * heights / 2).sum())


def _corrected(area: float, low: float, high: float) -> PartialArea:
    """Correct an area as McClish does (Med Decis Making 1989;9:190)."""
    chance, most = ((1 - low) ** 2 - (1 - high) ** 2) / 2, high - low
    above = (area - chance) / (most - chance)
    return PartialArea(area, (1 + above) / 2 if above >= 0 else float("nan"))
