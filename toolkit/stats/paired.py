"""Paired differences of two numbers on the same patients: interval and p-value from one method, so that they agree.

Numbers are given with their values without each patient (`intervals.patient_jackknife`), (G,).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy

from toolkit.stats.intervals import UNDEFINED, Interval, jackknife_variance, logit_interval, students

LEAST_P = 1e-12
"""Smaller p-values of areas are given as this."""
SAME = 1e-12
"""Differences below it are those of rounding."""


class Number(NamedTuple):
    """A value, and what it would be without each patient."""

    value: float
    left_out: np.ndarray


class Difference(NamedTuple):
    """The second number minus the first; p is below 1 - confidence exactly where the interval excludes 0."""

    value: float
    interval: Interval
    p: float


def of_means(first: Number, second: Number, patients: int, *, confidence: float) -> Difference:
    """Return the difference of two means or rates, by Student's t with four half patients added.

    Agresti and Min (Stat Med 2005;24:729): of the four, one is in favour of either number, two of neither. Without
    them few differing cases would give too short an interval, and none at all one without width.

    >>> first, second = np.array([1, 0, 0, 1, 0, 0, 1, 0]), np.array([1, 1, 1, 1, 0, 1, 1, 1])
    >>> numbers = [Number(x.mean(), (x.sum() - x) / 7) for x in (first, second)]
    >>> found = of_means(*numbers, 8, confidence=0.95)
    >>> round(found.interval.low, 2), round(found.interval.high, 2), round(found.p, 3)
    (-0.03, 0.83, 0.063)
    """
    value, variance = second.value - first.value, jackknife_variance(second.left_out - first.left_out)
    if np.isnan(value) or np.isnan(variance) or patients < 2:
        return Difference(value, UNDEFINED, float("nan"))
    middle = patients * value / (patients + 2)
    error = np.sqrt(patients**2 * variance + 1) / (patients + 2)
    half = students(patients, confidence=confidence) * error
    bounds = Interval(float(min(middle - half, value)), float(max(middle + half, value)))
    return Difference(value, bounds, float(2 * scipy.special.stdtr(patients - 1, -abs(middle) / error)))


def of_areas(first: Number, second: Number, patients: int, *, confidence: float) -> Difference:
    """Return the difference of two numbers between 0 and 1, recovered from their intervals on the logit scale.

    Zou and Donner (Stat Med 2008;27:1693) for correlated numbers. The patient who changes the difference most counts
    twice: near 1 few patients make an area, and those of a study may show too little of it (docs/benchmarks.md). p is 1
    less the confidence of the interval that ends at 0.
    """
    value, difference = second.value - first.value, second.left_out - first.left_out
    if np.isnan(value) or np.isnan(jackknife_variance(difference)) or patients < 2:
        return Difference(value, UNDEFINED, float("nan"))
    twice = np.append(np.arange(len(difference)), np.nanargmax(np.abs(difference - np.nanmean(difference))))
    left_out = [number.left_out[twice] for number in (first, second)]
    variances, correlation = [jackknife_variance(each) for each in left_out], _correlation(*left_out)

    def bounds(p: float) -> Interval:
        below, above = (
            logit_interval(number.value, variance, patients, confidence=1 - p)
            for number, variance in zip((first, second), variances, strict=True)
        )
        sides = [
            (second.value - above.low, below.high - first.value),
            (above.high - second.value, first.value - below.low),
        ]
        down, up = (np.sqrt(max(a * a + b * b - 2 * correlation * a * b, 0)) for a, b in sides)
        return Interval(float(value - down), float(value + up))

    return Difference(value, bounds(1 - confidence), _least_that_holds_0(bounds, value))


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    known = ~np.isnan(first) & ~np.isnan(second)
    a, b = (side[known] - side[known].mean() for side in (first, second))
    size = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / size) if size > 0 else 0.0


def _least_that_holds_0(bounds: Callable[[float], Interval], value: float) -> float:
    if abs(value) < SAME:
        return 1.0

    def distance(logarithm: float) -> float:
        low, high = bounds(float(np.exp(logarithm)))
        return float(low if value > 0 else -high)

    least, most = np.log(LEAST_P), np.log(1 - LEAST_P)
    if distance(least) > 0:
        return LEAST_P
    return float(np.exp(scipy.optimize.brentq(distance, least, most, xtol=1e-12))) if distance(most) > 0 else 1.0
