"""Calibration of probabilities: reliability bins, calibration error, slope and intercept, temperature scaling.

An event has a probability and a 0 or 1 in `occurred`: a class is the true one, or the predicted class is right.
Undefined is NaN.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy

from toolkit.stats.intervals import UNDEFINED, Interval, by_patient, clustered_wilson, students
from toolkit.stats.metrics import losses, ratio

EDGE = 1e-6
"""Probabilities nearer to 0 or 1 are taken for this far from them where their logit is needed."""
STEPS = 50
CONVERGED = 1e-10
HOTTEST = 20.0
"""Temperatures are sought between 1/HOTTEST and HOTTEST."""
TOO_SURE = 1.5
"""How many times too large the logits are, in the miscalibration whose detection `calibration_test` asks for."""
LEVEL = 0.05
SLOPE_AND_INTERCEPT = 2
"""Parameters fitted: the patients' variance has so many degrees of freedom fewer."""
WIDENED = 8
"""How often a bound of slope or intercept is sought twice as far away."""


class Bin(NamedTuple):
    """Cases with a probability from `low_edge` to below `high_edge`; fields are columns of `calibration_bins`.

    `chance` is their mean probability, `came` the observed frequency.
    """

    low_edge: float
    high_edge: float
    cases: int
    patients: int
    chance: float
    came: float
    interval: Interval


def bin_of(probability: np.ndarray, bins: int) -> np.ndarray:
    """Return each probability's bin of equal width; a bin holds its lower edge, the last one 1 too."""
    return np.minimum((probability * bins).astype(int), bins - 1)


def gaps(probability: np.ndarray, occurred: np.ndarray, bins: int) -> np.ndarray:
    """Return what each case adds to the gap of its bin, (N, bins): what `calibration_error` is made from."""
    of_cases = np.zeros((len(probability), bins))
    of_cases[np.arange(len(probability)), bin_of(probability, bins)] = occurred - probability
    return of_cases


def calibration_error(summed: np.ndarray, cases: np.ndarray | float) -> np.ndarray:
    """Return the expected calibration error from the gaps summed over cases, (..., bins) (Naeini, AAAI 2015)."""
    return ratio(np.abs(summed).sum(axis=-1), np.asarray(cases))


def reliability(
    probability: np.ndarray, occurred: np.ndarray, patient: np.ndarray, *, bins: int, confidence: float
) -> list[Bin]:
    """Return the bins that hold cases, with the patient-clustered Wilson interval of the observed frequency."""
    place, rows = bin_of(probability, bins), []
    for number in np.unique(place):
        own = place == number
        share = by_patient(occurred[own].astype(float), np.ones(own.sum()), patient[own])
        rows.append(
            Bin(
                number / bins,
                (number + 1) / bins,
                int(own.sum()),
                len(np.unique(patient[own])),
                float(probability[own].mean()),
                float(occurred[own].mean()),
                clustered_wilson(share, confidence=confidence),
            )
        )
    return rows


def debiased_error(probability: np.ndarray, occurred: np.ndarray, patient: np.ndarray, *, bins: int) -> float:
    """Return the root of the mean squared gap of the bins, less what chance alone adds to it; 0 where that is more.

    Kumar, Liang and Ma (NeurIPS 2019), with the variance of a bin's frequency between patients: the same where every
    patient has one case in it. Bins of one patient count 0.
    """
    place, squares = bin_of(probability, bins), 0.0
    for number in np.unique(place):
        own = place == number
        cases, (_, of) = own.sum(), np.unique(patient[own], return_inverse=True)
        patients = of.max() + 1
        if patients > 1:
            apart = np.bincount(of, occurred[own] - occurred[own].mean())
            by_chance = patients / (patients - 1) * np.square(apart).sum() / cases**2
            squares += cases * ((probability[own].mean() - occurred[own].mean()) ** 2 - by_chance)
    if not len(probability):
        return float("nan")
    mean = squares / len(probability)
    return float(np.sqrt(mean)) if mean > EDGE**2 else 0.0  # what rounding leaves has a root that can be seen


class CalibrationTest(NamedTuple):
    """p: of slope 1 and intercept 0 together. power: how often it is below LEVEL where logits are TOO_SURE-fold."""

    p: float
    power: float


def calibration_test(probability: np.ndarray, occurred: np.ndarray, patient: np.ndarray) -> CalibrationTest:
    """Test slope 1 and intercept 0 by the score test, and say whether these data could have shown miscalibration.

    Cox, Biometrika 1958;45:562. The events' variance is that of the probabilities themselves; cases of a patient share
    the correlation of their residuals. NaN where all probabilities are the same.

    >>> probability, occurred = np.tile([0.1, 0.4, 0.9], 20), np.tile([0, 0, 1], 20)
    >>> p, power = calibration_test(probability, occurred, np.arange(60))
    >>> round(p, 3), round(power, 2)
    (0.001, 0.29)
    """
    x = scipy.special.logit(np.clip(probability, EDGE, 1 - EDGE))
    expected, less_sure = scipy.special.expit(x), scipy.special.expit(x / TOO_SURE)
    design = np.stack([np.ones_like(x), x])
    spread = expected * (1 - expected)
    correlation = _residual_correlation(occurred - expected, np.sqrt(spread), patient)
    score, shift = design @ (occurred - expected), design @ (less_sure - expected)
    between = (spread + less_sure * (1 - less_sure)) / 2
    variances = [_score_variance(design, spread, patient, correlation) for spread in (spread, between)]
    if not min(np.linalg.det(variance) for variance in variances) > EDGE**2:
        return CalibrationTest(float("nan"), float("nan"))
    distance, shifted = (
        v @ np.linalg.solve(variance, v) for v, variance in zip((score, shift), variances, strict=True)
    )
    return CalibrationTest(float(np.exp(-distance / 2)), float(scipy.stats.ncx2.sf(-2 * np.log(LEVEL), 2, shifted)))


def _residual_correlation(residual: np.ndarray, error: np.ndarray, patient: np.ndarray) -> float:
    """Return the correlation of residuals within patients from all their pairs of cases, 0 where it is negative."""
    together, alone = np.bincount(patient, residual), np.bincount(patient, error)
    pairs = np.square(alone).sum() - np.square(error).sum()
    observed = np.square(together).sum() - np.square(residual).sum()
    return float(np.clip(observed / pairs, 0, 1)) if pairs > EDGE else 0.0


def _score_variance(design: np.ndarray, spread: np.ndarray, patient: np.ndarray, correlation: float) -> np.ndarray:
    own = design * np.sqrt(spread)
    by_patient = np.stack([np.bincount(patient, row) for row in own])
    return (1 - correlation) * own @ own.T + correlation * by_patient @ by_patient.T


class Recalibration(NamedTuple):
    """Slope and intercept with their intervals."""

    slope: float
    intercept: float
    slope_interval: Interval
    intercept_interval: Interval


def recalibration(
    probability: np.ndarray, occurred: np.ndarray, patient: np.ndarray, *, confidence: float
) -> Recalibration:
    """Return the slope of a logistic regression of the events on the logits, and the intercept where the slope is 1.

    1 and 0 for perfect calibration (Cox 1958; Van Calster, J Clin Epidemiol 2016;74:167). NaN without a finite fit.
    The intervals hold what the score test with the correlation within patients does not reject; a bound is infinite
    where it rejects nothing.
    """
    x = scipy.special.logit(np.clip(probability, EDGE, 1 - EDGE))
    start, slope = _newton(x, occurred)
    shift = _newton_intercept(x, occurred)
    patients = len(np.unique(patient))
    of_slope = of_intercept = UNDEFINED
    if not np.isnan(slope) and patients > SLOPE_AND_INTERCEPT:
        least = students(patients, confidence=confidence) * np.sqrt(patients / (patients - SLOPE_AND_INTERCEPT))
        profile = _SlopeTest(x, occurred, patient, start, slope)
        of_slope = _not_rejected(profile, slope, least)
    if not np.isnan(shift) and patients > 1:
        least = students(patients, confidence=confidence) * np.sqrt(patients / (patients - 1))
        of_intercept = _not_rejected(_InterceptTest(x, occurred, patient, shift), shift, least)
    return Recalibration(slope, shift, of_slope, of_intercept)


class _SlopeTest:
    """The score statistic of a slope, with the intercept that fits best beside it."""

    def __init__(self, x: np.ndarray, occurred: np.ndarray, patient: np.ndarray, start: float, slope: float) -> None:
        self.x, self.occurred, self.patient, self.start, self.slope = x, occurred, patient, start, slope
        fitted = scipy.special.expit(start + slope * x)
        self.correlation = _residual_correlation(occurred - fitted, np.sqrt(fitted * (1 - fitted)), patient)

    def __call__(self, slope: float) -> float:
        shift = _newton_intercept(slope * self.x, self.occurred, self.start, longest=1.0)
        fitted = scipy.special.expit(shift + slope * self.x)
        spread = fitted * (1 - fitted)
        if np.isnan(shift) or not spread.sum() > EDGE:
            return float(np.copysign(np.inf, self.slope - slope))
        centred = self.x - (spread * self.x).sum() / spread.sum()
        variance = _score_variance(centred[None], spread, self.patient, self.correlation)[0, 0]
        return float(((self.occurred - fitted) * centred).sum() / np.sqrt(max(variance, EDGE**2)))


class _InterceptTest:
    """The score statistic of an intercept, with the slope held at 1."""

    def __init__(self, x: np.ndarray, occurred: np.ndarray, patient: np.ndarray, shift: float) -> None:
        self.x, self.occurred, self.patient = x, occurred, patient
        fitted = scipy.special.expit(shift + x)
        self.correlation = _residual_correlation(occurred - fitted, np.sqrt(fitted * (1 - fitted)), patient)

    def __call__(self, shift: float) -> float:
        fitted = scipy.special.expit(shift + self.x)
        variance = _score_variance(np.ones((1, len(fitted))), fitted * (1 - fitted), self.patient, self.correlation)
        return float((self.occurred - fitted).sum() / np.sqrt(max(variance[0, 0], EDGE**2)))


def _not_rejected(statistic: Callable[[float], float], fit: float, least: float) -> Interval:
    """Return the values around the fit at which the statistic stays below the least that rejects."""

    def bound(side: int) -> float:
        inside, step = fit, 0.25
        for _ in range(WIDENED):
            outside = fit + side * step
            if -side * statistic(outside) > least:
                return float(
                    scipy.optimize.brentq(
                        lambda v: min(-side * statistic(v), 2 * least) - least, inside, outside, xtol=1e-6
                    )
                )
            inside, step = outside, 2 * step
        return side * float("inf")

    return Interval(bound(-1), bound(1))


def _newton(x: np.ndarray, occurred: np.ndarray) -> tuple[float, float]:
    start, slope = 0.0, 1.0
    for _ in range(STEPS):
        fitted = scipy.special.expit(start + slope * x)
        residual, spread = occurred - fitted, fitted * (1 - fitted)
        determinant = spread.sum() * (spread * x * x).sum() - (spread * x).sum() ** 2
        if not determinant > EDGE**2:
            break
        step = (spread * x * x).sum() * residual.sum() - (spread * x).sum() * (residual * x).sum()
        turn = spread.sum() * (residual * x).sum() - (spread * x).sum() * residual.sum()
        start, slope = start + step / determinant, slope + turn / determinant
        if max(abs(step), abs(turn)) / determinant < CONVERGED:
            return start, slope
    return float("nan"), float("nan")


def _newton_intercept(x: np.ndarray, occurred: np.ndarray, shift: float = 0.0, longest: float = float("inf")) -> float:
    for _ in range(STEPS):
        fitted = scipy.special.expit(shift + x)
        spread = (fitted * (1 - fitted)).sum()
        if not spread > EDGE**2:
            break
        step = np.clip((occurred - fitted).sum() / spread, -longest, longest)
        shift += step
        if abs(step) < CONVERGED:
            return shift
    return float("nan")


def fit_temperature(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the temperature with the least log loss (Guo, ICML 2017): above 1 where the model is overconfident."""

    def loss(log_temperature: float) -> float:
        return float(losses(truth, at_temperature(probabilities, np.exp(log_temperature)))["log_loss"].mean())

    return float(
        np.exp(scipy.optimize.minimize_scalar(loss, bounds=(-np.log(HOTTEST), np.log(HOTTEST)), method="bounded").x)
    )


def at_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return probabilities (N, C) to the power of 1/temperature, made to sum to 1 again."""
    powered = probabilities ** (1 / temperature)
    return powered / powered.sum(axis=1, keepdims=True)
