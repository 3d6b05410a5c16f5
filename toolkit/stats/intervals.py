"""Confidence intervals with the patient as the unit: Wilson at the effective size, jackknife, bootstrap, means.

Photographs of one patient are not independent: an interval that counts them as such is too narrow (docs/method.md).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy

CELLS = 160_000
"""Weights computed at once: bounds memory, and keeps them within the processor's cache."""
MOST_JACKKNIFED = 400
"""Groups of patients left out in turn by the jackknife."""
LEAST_DEFINED = 0.9
"""Share of replicates, or of values without a patient, that must be defined."""
TOO_FEW = 20
"""Patients; intervals of values that rest on fewer are not reliable (docs/benchmarks.md)."""


class Interval(NamedTuple):
    """Lower and upper bounds, one or an array of them; NaN where nothing can be said."""

    low: float | np.ndarray
    high: float | np.ndarray


class Share(NamedTuple):
    """Successes and trials per patient, (..., P): a share of cases, or of what else can be counted."""

    successes: np.ndarray
    trials: np.ndarray

    @property
    def value(self) -> np.ndarray:
        """The share, NaN without trials."""
        total = self.trials.sum(axis=-1)
        return np.divide(self.successes.sum(axis=-1), total, out=np.full(np.shape(total), np.nan), where=total > 0)


UNDEFINED = Interval(float("nan"), float("nan"))


def by_patient(successes: np.ndarray, trials: np.ndarray, patient: np.ndarray) -> Share:
    """Return the share of (..., N) successes among (..., N) trials of (N,) patient numbers."""
    return Share(_summed(successes, patient), _summed(trials, patient))


def _summed(values: np.ndarray, patient: np.ndarray) -> np.ndarray:
    patients = int(patient.max(initial=-1)) + 1
    if not patients:
        return np.zeros((*np.shape(values)[:-1], 0))
    rows = np.reshape(values, (-1, len(patient)))
    place = np.arange(len(rows))[:, None] * patients + patient
    summed = np.bincount(place.ravel(), weights=rows.ravel(), minlength=len(rows) * patients)
    return summed.reshape(*np.shape(values)[:-1], patients)


def too_few(patient: np.ndarray, *rests_on: np.ndarray) -> bool:
    """Return whether a group of cases, (N,) each, that a value rests on has cases of fewer than TOO_FEW patients.

    A class's value rests on its denominator, an average over classes on each class's (`classes_in`).
    """
    return any(len(np.unique(patient[cases])) < TOO_FEW for cases in rests_on)


def classes_in(truth: np.ndarray) -> list[np.ndarray]:
    """Return the cases, (N,) each, of every class that has any."""
    return [truth == number for number in np.unique(truth)]


def wilson(successes: float | np.ndarray, trials: float | np.ndarray, *, confidence: float) -> Interval:
    """Return the Wilson score interval of a proportion; `trials` may be an effective (fractional) size.

    Wilson 1927; Newcombe, Stat Med 1998;17:857.
    """
    return _wilson(successes, trials, float(scipy.special.ndtri((1 + confidence) / 2)))


def _wilson(successes: float | np.ndarray, trials: float | np.ndarray, z: float | np.ndarray) -> Interval:
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.divide(successes, trials)
        centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
        spread = np.maximum(share * (1 - share) / trials + z * z / (4 * np.square(trials)), 0)
        half = z / (1 + z * z / trials) * np.sqrt(spread)
    undefined = np.isnan(share) | (np.asarray(trials) <= 0)
    low = np.where(undefined, np.nan, np.where(share <= 0, 0.0, centre - half))
    high = np.where(undefined, np.nan, np.where(share >= 1, 1.0, centre + half))
    return Interval(low, high) if np.ndim(low) else Interval(float(low), float(high))


def influence(share: Share) -> np.ndarray:
    """Return each patient's influence on the share, (..., P): the linearised ratio of two totals (Woodruff 1971)."""
    total = share.trials.sum(axis=-1, keepdims=True)
    residual = share.successes - share.value[..., None] * share.trials
    return np.divide(residual, total, out=np.zeros(np.broadcast_shapes(residual.shape, total.shape)), where=total > 0)


def standard_error(influences: np.ndarray, patients: np.ndarray | int) -> np.ndarray:
    """Return the standard error between patients of a number from their influences on it, (..., P)."""
    correction = np.where(np.asarray(patients) > 1, patients / np.maximum(np.asarray(patients) - 1, 1), np.nan)
    return np.sqrt(correction * np.square(influences).sum(axis=-1))


def effective_trials(share: Share) -> np.ndarray:
    """Return how many independent trials these are worth, (...): trials over the design effect, at most all of them.

    The design effect is the variance of the share between patients over its binomial variance (Kish 1965). It is
    estimated with two patients more, of average size, one with successes only and one without any: from few patients,
    or all alike, it would otherwise come out far too small (docs/benchmarks.md has the coverage with and without).
    """
    successes, trials = share
    total, patients = trials.sum(axis=-1), np.count_nonzero(trials, axis=-1)
    size = np.divide(total, patients, out=np.zeros(np.shape(total)), where=patients > 0)
    both = total + 2 * size
    with np.errstate(divide="ignore", invalid="ignore"):
        value = (successes.sum(axis=-1) + size) / both
        squares = np.square(successes - value[..., None] * trials).sum(axis=-1)
        squares = squares + np.square(size) * (value**2 + (1 - value) ** 2)
        effect = (patients + 2) / (patients + 1) * squares / both / (value * (1 - value))
    one_each = trials.max(axis=-1, initial=0) <= 1
    return total / np.where(one_each, 1, np.fmax(1, effect))


def clustered_wilson(share: Share, *, confidence: float) -> Interval:
    """Return the Wilson interval at the effective size: the plain one where every patient has a single trial.

    Where patients have several the size rests on an estimated variance, so the quantile is Student's.

    >>> correct, patient = np.array([1, 1, 1, 0, 1, 1]), np.array([0, 0, 1, 1, 2, 2])
    >>> interval = clustered_wilson(by_patient(correct, np.ones(6), patient), confidence=0.95)
    >>> round(interval.low, 3), round(interval.high, 3)
    (0.101, 0.996)
    """
    trials = effective_trials(share)
    z = float(scipy.special.ndtri((1 + confidence) / 2))
    patients = np.count_nonzero(share.trials, axis=-1)
    several = (share.trials.max(axis=-1, initial=0) > 1) & (patients > 1)
    quantile = np.where(several, scipy.special.stdtrit(np.maximum(patients - 1, 1), (1 + confidence) / 2), z)
    return _wilson(share.value * trials, trials, quantile)


class Estimate(NamedTuple):
    """Values of K classes with their intervals, and each of P patients' influence on them, (K, P)."""

    value: np.ndarray
    interval: Interval
    influence: np.ndarray

    def interval_of(self, number: int) -> Interval:
        """Return the interval of one class."""
        return Interval(*(float(np.asarray(side)[number]) for side in self.interval))


def mean_interval(estimate: Estimate) -> Interval:
    """Return the interval of the plain mean of the defined values, from their own intervals.

    Method of variance estimates recovery (Zou and Donner, Stat Med 2008;27:1693), with the correlation between
    classes that patients with lesions of several classes make.
    """
    known = ~np.isnan(estimate.value)
    if not known.any() or np.isnan(estimate.interval.low)[known].any():
        return UNDEFINED
    value, influences = estimate.value[known], estimate.influence[known]
    covariance = influences @ influences.T
    norm = np.sqrt(np.diag(covariance))
    product = np.outer(norm, norm)
    correlation = np.divide(covariance, product, out=np.zeros_like(covariance), where=product > 0)
    np.fill_diagonal(correlation, 1)
    below = value - np.asarray(estimate.interval.low)[known]
    above = np.asarray(estimate.interval.high)[known] - value
    down, up = (np.sqrt(max(side @ correlation @ side, 0)) / len(value) for side in (below, above))
    return Interval(float(max(value.mean() - down, 0)), float(min(value.mean() + up, 1)))


def patient_bootstrap(
    statistics: Callable[[np.ndarray], dict[str, np.ndarray]], patient: np.ndarray, *, replicates: int, seed: int
) -> dict[str, np.ndarray]:
    """Resample patients with all their cases; return every statistic's replicates, first axis `replicates`.

    `statistics` takes weights (R, N) and returns arrays with first axis R. `patient` (N,) numbers patients from 0 in
    an order that does not depend on pseudonyms, so that the same study and seed give the same interval everywhere.

    >>> correct, patient = np.array([1, 1, 1, 0, 1, 1]), np.array([0, 0, 1, 1, 2, 2])
    >>> replicates = patient_bootstrap(
    ...     lambda weights: {"accuracy": weights @ correct / weights.sum(axis=1)}, patient, replicates=2000, seed=7
    ... )
    >>> [float(bound) for bound in percentile(replicates["accuracy"], confidence=0.95)]
    [0.5, 1.0]
    """
    rng = np.random.default_rng(seed)
    patients, at_once = int(patient.max()) + 1, max(8, CELLS // len(patient))
    pieces = []
    for start in range(0, replicates, at_once):
        rows = min(at_once, replicates - start)
        drawn = rng.integers(0, patients, (rows, patients)) + np.arange(rows)[:, None] * patients
        weights = np.bincount(drawn.ravel(), minlength=rows * patients).reshape(rows, patients).astype(float)
        pieces.append(statistics(np.take(weights, patient, axis=1, mode="clip")))
    return _joined(pieces)


def patient_jackknife(
    statistics: Callable[[np.ndarray], dict[str, np.ndarray]], patient: np.ndarray
) -> dict[str, np.ndarray]:
    """Leave out one patient after the other (or groups of them, of many); return the statistics, first axis those."""
    groups = min(int(patient.max()) + 1, MOST_JACKKNIFED)
    out, at_once = patient % groups, max(8, CELLS // len(patient))
    pieces = [
        statistics((out[None, :] != np.arange(start, min(start + at_once, groups))[:, None]).astype(float))
        for start in range(0, groups, at_once)
    ]
    return _joined(pieces)


def _joined(pieces: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def jackknife_variance(left_out: np.ndarray) -> float:
    """Return the variance between patients of a number from its values without each of them; NaN where many are."""
    defined = left_out[~np.isnan(left_out)]
    if len(defined) < max(2, LEAST_DEFINED * len(left_out)):
        return float("nan")
    return float((len(defined) - 1) / len(defined) * np.square(defined - defined.mean()).sum())


def students(patients: int, *, confidence: float) -> float:
    """Return the quantile of Student's t for a variance between so many patients."""
    return float(scipy.special.stdtrit(max(patients - 1, 1), (1 + confidence) / 2))


def effective_wilson(value: float, variance: float, patients: int, *, confidence: float) -> Interval:
    """Return the Wilson interval of any number between 0 and 1 at the size that its variance between patients gives.

    Two patients more, one with 0 and one with 1, keep a size from few patients, or all alike, from being too large, as
    in `effective_trials`. The quantile is Student's.
    """
    if np.isnan(variance) or not patients:
        return UNDEFINED
    more = patients + 2
    middle = (patients * value + 1) / more
    spread = (patients**2 * variance + middle**2 + (1 - middle) ** 2) / (more * (more - 1))
    trials = middle * (1 - middle) / spread * patients / more
    return _wilson(value * trials, trials, students(patients, confidence=confidence))


def log_interval(value: float, variance: float, patients: int, *, confidence: float) -> Interval:
    """Return the interval of a positive number, symmetric on the logarithmic scale, with Student's quantile."""
    if not value > 0 or np.isnan(variance):
        return UNDEFINED
    times = float(np.exp(students(patients, confidence=confidence) * np.sqrt(variance) / value))
    return Interval(value / times, value * times)


def logit_interval(value: float, variance: float, patients: int, *, confidence: float) -> Interval:
    """Return the interval of a number between 0 and 1, symmetric on the logit scale, with Student's quantile.

    At 0 or 1, or without variance, it is that of `effective_wilson`.
    """
    if not 0 < value < 1 or not variance > 0:
        return effective_wilson(value, variance, patients, confidence=confidence)
    half = students(patients, confidence=confidence) * np.sqrt(variance) / (value * (1 - value))
    return Interval(
        float(scipy.special.expit(scipy.special.logit(value) - half)),
        float(scipy.special.expit(scipy.special.logit(value) + half)),
    )


def percentile(replicates: np.ndarray, *, confidence: float) -> Interval:
    """Return the percentile interval of the defined replicates.

    It is undefined where over a tenth of them are NaN, and where all are the same: a class without a single hit, or
    without a single error, gives the bootstrap nothing to resample, and an interval of no width would look certain.
    """
    defined = replicates[~np.isnan(replicates)]
    if len(defined) < LEAST_DEFINED * len(replicates):
        return UNDEFINED
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high)) if high > low else UNDEFINED
