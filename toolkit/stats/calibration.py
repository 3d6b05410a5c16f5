"""Whether probabilities mean what they say: calibration error, slope and intercept, reliability, temperature.

Refuses to know files and tables. A chance is the probability given to an event, `came` whether it happened: a class is
the truth, or the predicted class is right. Undefined is NaN.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit

from toolkit.stats.intervals import Interval, by_patient, clustered_wilson
from toolkit.stats.metrics import losses, ratio

EDGE = 1e-6
"""Chances nearer to 0 or 1 are taken for this far from them where their logit is needed."""
STEPS = 50
CONVERGED = 1e-10
HOTTEST = 20.0
"""Temperatures are sought between 1/HOTTEST and HOTTEST."""


class Bin(NamedTuple):
    """Cases whose chance lies from `low_edge` to below `high_edge`: their mean chance, how often it came true."""

    low_edge: float
    high_edge: float
    cases: int
    patients: int
    chance: float
    came: float
    interval: Interval


def places(chance: np.ndarray, bins: int) -> np.ndarray:
    """Return each chance's bin of equal width; a bin holds its lower edge, the last one 1 too."""
    return np.minimum((chance * bins).astype(int), bins - 1)


def gaps(chance: np.ndarray, came: np.ndarray, bins: int) -> np.ndarray:
    """Return what each case adds to the gap of its bin, (N, bins): what `calibration_error` is made from."""
    found = np.zeros((len(chance), bins))
    found[np.arange(len(chance)), places(chance, bins)] = came - chance
    return found


def calibration_error(summed: np.ndarray, cases: np.ndarray | float) -> np.ndarray:
    """Return the expected calibration error from the gaps summed over cases, (..., bins) (Naeini, AAAI 2015)."""
    return ratio(np.abs(summed).sum(axis=-1), np.asarray(cases))


def reliability(
    chance: np.ndarray, came: np.ndarray, patient: np.ndarray, *, bins: int, confidence: float
) -> list[Bin]:
    """Return the bins that hold cases, with the patient-clustered Wilson interval of how often it came true."""
    place, found = places(chance, bins), []
    for number in np.unique(place):
        own = place == number
        share = by_patient(came[own].astype(float), np.ones(own.sum()), patient[own])
        interval = clustered_wilson(share, confidence=confidence)
        patients = len(np.unique(patient[own]))
        edges = (number / bins, (number + 1) / bins)
        found.append(
            Bin(*edges, int(own.sum()), patients, float(chance[own].mean()), float(came[own].mean()), interval)
        )
    return found


class Recalibration(NamedTuple):
    """Slope and intercept, and the columns (N, 7) whose weighted sums give those of a replicate by one Newton step."""

    slope: float
    intercept: float
    columns: np.ndarray


def recalibration(chance: np.ndarray, came: np.ndarray) -> Recalibration:
    """Return the slope of a logistic regression of the events on the chances' logits, and the intercept beside slope 1.

    1 and 0 where chances are right (Cox 1958; Van Calster, J Clin Epidemiol 2016;74:167). NaN where no finite fit is.
    """
    x = logit(np.clip(chance, EDGE, 1 - EDGE))
    start, slope = _newton(x, came)
    shift = _newton_intercept(x, came)
    fitted, shifted = expit(start + slope * x), expit(shift + x)
    spread, spread_shifted = fitted * (1 - fitted), shifted * (1 - shifted)
    missing = came - fitted
    columns = [missing, missing * x, spread, spread * x, spread * x * x, came - shifted, spread_shifted]
    return Recalibration(slope, shift, np.stack(columns, axis=1))


def one_step(found: Recalibration, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return slope and intercept of replicates from weighted sums (R, 7) of the columns: one Newton step."""
    missing, missing_x, spread, spread_x, spread_xx, shifted, spread_shifted = sums.T
    determinant = spread * spread_xx - spread_x**2
    slope = found.slope + ratio(spread * missing_x - spread_x * missing, determinant)
    return slope, found.intercept + ratio(shifted, spread_shifted)


def _newton(x: np.ndarray, came: np.ndarray) -> tuple[float, float]:
    start, slope = 0.0, 1.0
    for _ in range(STEPS):
        fitted = expit(start + slope * x)
        missing, spread = came - fitted, fitted * (1 - fitted)
        determinant = spread.sum() * (spread * x * x).sum() - (spread * x).sum() ** 2
        if not determinant > EDGE**2:
            break
        step = (spread * x * x).sum() * missing.sum() - (spread * x).sum() * (missing * x).sum()
        turn = spread.sum() * (missing * x).sum() - (spread * x).sum() * missing.sum()
        start, slope = start + step / determinant, slope + turn / determinant
        if max(abs(step), abs(turn)) / determinant < CONVERGED:
            return start, slope
    return float("nan"), float("nan")


def _newton_intercept(x: np.ndarray, came: np.ndarray) -> float:
    shift = 0.0
    for _ in range(STEPS):
        fitted = expit(shift + x)
        spread = (fitted * (1 - fitted)).sum()
        if not spread > EDGE**2:
            break
        step = (came - fitted).sum() / spread
        shift += step
        if abs(step) < CONVERGED:
            return shift
    return float("nan")


def fit_temperature(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the temperature with the least log loss (Guo, ICML 2017): above 1 where probabilities are too sure."""

    def loss(log_temperature: float) -> float:
        return float(losses(truth, at_temperature(probabilities, np.exp(log_temperature)))["log_loss"].mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-np.log(HOTTEST), np.log(HOTTEST)), method="bounded").x))


def at_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return probabilities (N, C) to the power of 1/temperature, made to sum to 1 again."""
    powered = probabilities ** (1 / temperature)
    return powered / powered.sum(axis=1, keepdims=True)
