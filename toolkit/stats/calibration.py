"""Calibration of probabilities: reliability bins, calibration error, slope and intercept, temperature scaling.

An event has a probability and a 0 or 1 in `occurred`: a class is the true one, or the predicted class is right.
Undefined is NaN.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit

from toolkit.stats.intervals import Interval, by_patient, clustered_wilson
from toolkit.stats.metrics import losses, ratio

EDGE = 1e-6
"""Probabilities nearer to 0 or 1 are taken for this far from them where their logit is needed."""
STEPS = 50
CONVERGED = 1e-10
HOTTEST = 20.0
"""Temperatures are sought between 1/HOTTEST and HOTTEST."""


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


class Recalibration(NamedTuple):
    """Slope and intercept, and the columns (N, 7) whose weighted sums give those of a replicate by one Newton step."""

    slope: float
    intercept: float
    columns: np.ndarray


def recalibration(probability: np.ndarray, occurred: np.ndarray) -> Recalibration:
    """Return the slope of a logistic regression of the events on the logits, and the intercept where the slope is 1.

    1 and 0 for perfect calibration (Cox 1958; Van Calster, J Clin Epidemiol 2016;74:167). NaN without a finite fit.
    """
    x = logit(np.clip(probability, EDGE, 1 - EDGE))
    start, slope = _newton(x, occurred)
    shift = _newton_intercept(x, occurred)
    fitted, shifted = expit(start + slope * x), expit(shift + x)
    spread, spread_shifted = fitted * (1 - fitted), shifted * (1 - shifted)
    residual = occurred - fitted
    columns = [residual, residual * x, spread, spread * x, spread * x * x, occurred - shifted, spread_shifted]
    return Recalibration(slope, shift, np.stack(columns, axis=1))


def one_step(fit: Recalibration, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return slope and intercept of replicates from weighted sums (R, 7) of the columns: one Newton step."""
    residual, residual_x, spread, spread_x, spread_xx, shifted, spread_shifted = sums.T
    determinant = spread * spread_xx - spread_x**2
    slope = fit.slope + ratio(spread * residual_x - spread_x * residual, determinant)
    return slope, fit.intercept + ratio(shifted, spread_shifted)


def _newton(x: np.ndarray, occurred: np.ndarray) -> tuple[float, float]:
    start, slope = 0.0, 1.0
    for _ in range(STEPS):
        fitted = expit(start + slope * x)
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


def _newton_intercept(x: np.ndarray, occurred: np.ndarray) -> float:
    shift = 0.0
    for _ in range(STEPS):
        fitted = expit(shift + x)
        spread = (fitted * (1 - fitted)).sum()
        if not spread > EDGE**2:
            break
        step = (occurred - fitted).sum() / spread
        shift += step
        if abs(step) < CONVERGED:
            return shift
    return float("nan")


def fit_temperature(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the temperature with the least log loss (Guo, ICML 2017): above 1 where the model is overconfident."""

    def loss(log_temperature: float) -> float:
        return float(losses(truth, at_temperature(probabilities, np.exp(log_temperature)))["log_loss"].mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-np.log(HOTTEST), np.log(HOTTEST)), method="bounded").x))


def at_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return probabilities (N, C) to the power of 1/temperature, made to sum to 1 again."""
    powered = probabilities ** (1 / temperature)
    return powered / powered.sum(axis=1, keepdims=True)
