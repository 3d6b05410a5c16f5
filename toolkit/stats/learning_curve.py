"""Learning curves: how a score grows with the patients that a model is trained on, and what more of them would give.

The error falls as a power of the number of patients down to a floor: floor + scale * n**-power (L. Mukherjee et al.,
J Comput Biol 2003;10:119).
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

POWERS = np.arange(0.2, 1.55, 0.1)
"""Powers that are tried; floor and scale follow from each by least squares."""


class CurveFit(NamedTuple):
    """Floor, scale and power of the error of B curves, (B,) each."""

    floor: np.ndarray
    scale: np.ndarray
    power: np.ndarray

    def score(self, patients: float) -> np.ndarray:
        """Return the score (B,) that so many patients give by the curve."""
        return 1 - self.floor - self.scale * patients**-self.power


class MeasuredCurve(NamedTuple):
    """Scores of models trained on nested subsets of patients.

    Each of R orders of the patients gives a model for each of S sizes, the largest of which is all patients.
    """

    sizes: np.ndarray
    """(S,) numbers of patients, increasing."""
    scores: np.ndarray
    """(R, S) on all evaluated patients."""
    resampled: np.ndarray
    """(B, R, S) on B resamples of them, of each resample the same for all models."""


@dataclass(frozen=True)
class Extrapolated:
    """The score that is expected of so many patients, with its interval."""

    patients: int
    value: float
    low: float
    high: float


def patient_order(cases: Iterable[tuple[str, str]], *, seed: int) -> list[str]:
    """Return the patients of cases, given as (patient, case), in a random order by seed; no pseudonym decides it.

    The first n are the subset of n patients, so subsets are nested.
    """
    first: dict[str, str] = {}
    for patient, case in cases:
        first[patient] = min(case, first.get(patient, case))

    def random_key(patient: str) -> str:
        return hashlib.sha256(f"learning curve\0{seed}\0{first[patient]}".encode()).hexdigest()

    return sorted(first, key=random_key)


def fit_curves(sizes: np.ndarray, scores: np.ndarray) -> CurveFit:
    """Fit each row of scores (B, S), a size weighted by its number of patients; scores never fall with patients.

    >>> sizes = np.array([25, 50, 100, 200])
    >>> found = fit_curves(sizes, 1 - (0.1 + 2 * sizes[None] ** -0.5))
    >>> round(float(found.floor[0]), 3), round(float(found.power[0]), 1), round(float(found.score(400)[0]), 3)
    (0.1, 0.5, 0.8)
    """
    errors, weights = 1 - scores, sizes / sizes.sum()
    best = CurveFit(*(np.zeros(len(scores)) for _ in range(3)))
    least = np.full(len(scores), np.inf)
    mean = errors @ weights
    for power in POWERS:
        column = sizes**-power
        centred = column - column @ weights
        scale = np.maximum((errors @ (weights * centred)) / (centred @ (weights * centred)), 0)
        floor = mean - scale * (column @ weights)
        # Below 0 there is no error: the scale alone is fitted.
        alone = np.maximum(errors @ (weights * column) / (column @ (weights * column)), 0)
        scale, floor = np.where(floor < 0, alone, scale), np.maximum(floor, 0)
        distance = np.square(errors - floor[:, None] - scale[:, None] * column) @ weights
        better = distance < least - 1e-15
        least = np.where(better, distance, least)
        new = CurveFit(floor, scale, np.full(len(scores), power))
        best = CurveFit(*(np.where(better, own, old) for own, old in zip(new, best, strict=True)))
    return best


def patients_variance(curve: MeasuredCurve) -> float:
    """Return the variance that a score owes to which patients a model was trained on, times their number.

    Between the orders; a subset of n of N patients varies by a share of 1 - n/N less than n new patients would. With
    one order it is told from the distances to the fitted curve.
    """
    below = curve.sizes < curve.sizes[-1]
    sizes, missing = curve.sizes[below], 1 - curve.sizes[below] / curve.sizes[-1]
    if len(curve.scores) > 1:
        variances = curve.scores[:, below].var(axis=0, ddof=1)
    else:
        fit = fit_curves(curve.sizes, curve.scores)
        left = len(curve.sizes) - 2
        distances = np.array([curve.scores[0, n] - fit.score(size)[0] for n, size in enumerate(curve.sizes)])
        variances = np.square(distances[below]) * len(curve.sizes) / max(left, 1)
    return float(np.mean(sizes * variances / missing)) if below.any() else 0.0


def extrapolate(
    curve: MeasuredCurve, at: list[int], *, confidence: float, rng: np.random.Generator
) -> list[Extrapolated]:
    """Return what a model trained on the present patients and more would score on patients like those evaluated.

    The interval counts which patients were evaluated, which orders were taken, and which patients will be added.
    """
    orders = len(curve.scores)
    value = fit_curves(curve.sizes, curve.scores.mean(axis=0)[None])
    drawn = rng.integers(0, orders, (len(curve.resampled), orders))
    means = np.take_along_axis(curve.resampled, drawn[:, :, None], axis=1).mean(axis=1)
    known = ~np.isnan(means).any(axis=1)
    replicates, variance, present = fit_curves(curve.sizes, means[known]), patients_variance(curve), curve.sizes[-1]
    found = []
    for patients in at:
        # The present patients stay: only what the new ones bring is chance.
        chance = np.sqrt(variance * max(patients - present, 0) / (present * patients))
        outcomes = replicates.score(patients) + rng.normal(0, 1, int(known.sum())) * chance
        low, high = np.quantile(np.clip(outcomes, 0, 1), [(1 - confidence) / 2, (1 + confidence) / 2])
        found.append(Extrapolated(patients, float(value.score(patients)[0]), float(low), float(high)))
    return found


def macro_recall(truth: np.ndarray, predicted: np.ndarray, classes: int, weights: np.ndarray) -> np.ndarray:
    """Return the macro recall (B,) of N cases with weights (B, N), over the classes that have any weight."""
    is_it = (truth[:, None] == np.arange(classes)).astype(float)
    total = weights @ is_it
    hits = weights @ (is_it * (truth == predicted)[:, None])
    recall = np.divide(hits, total, out=np.full_like(total, np.nan), where=total > 0)
    return np.nanmean(recall, axis=1)
