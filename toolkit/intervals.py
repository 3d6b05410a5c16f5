"""Knows how sure a number is: Wilson intervals and the bootstrap, both with the patient as the unit.

Refuses to know which metric it is given. Photographs of one patient are not independent: an interval that counts
them as such is too narrow (docs/method.md).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.stats import norm

CHUNK = 250
"""Replicates computed at once: bounds memory at CHUNK x cases."""


class Interval(NamedTuple):
    """Lower and upper bound; NaN where nothing can be said."""

    low: float
    high: float


UNDEFINED = Interval(float("nan"), float("nan"))


def wilson(successes: float, trials: float, *, confidence: float) -> Interval:
    """Return the Wilson score interval of a proportion; `trials` may be an effective (fractional) size.

    Wilson 1927; Newcombe, Stat Med 1998;17:857.
    """
    if trials <= 0:
        return UNDEFINED
    z = norm.ppf((1 + confidence) / 2)
    share = successes / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return Interval(
        0.0 if successes <= 0 else float(centre - half), 1.0 if successes >= trials else float(centre + half)
    )


def effective_size(success: np.ndarray, patient: np.ndarray) -> float:
    """Return how many independent cases these (N,) successes of (N,) patient numbers are worth; at most N.

    N divided by the design effect, the ratio of the between-patient variance of the proportion to its binomial
    variance (Kish 1965; the linearised variance of survey statistics). Where every case agrees that variance says
    nothing, and cases of one patient are taken as one observation: (sum n)^2 / sum n^2.
    """
    _, number = np.unique(patient, return_inverse=True)
    size = np.bincount(number).astype(float)
    total, patients = size.sum(), len(size)
    share = success.mean()
    if patients == total:
        return float(total)
    if patients == 1 or share in (0.0, 1.0):
        return float(total**2 / (size**2).sum())
    residual = np.bincount(number, weights=success) - share * size
    variance = patients / (patients - 1) * (residual**2).sum() / total**2
    return float(min(total, share * (1 - share) / variance)) if variance > 0 else float(total)


def clustered_wilson(success: np.ndarray, patient: np.ndarray, *, confidence: float) -> Interval:
    """Return the Wilson interval at the effective size: the plain one where every patient has a single case."""
    if len(success) == 0:
        return UNDEFINED
    trials = effective_size(success.astype(float), patient)
    return wilson(float(success.mean()) * trials, trials, confidence=confidence)


def patient_bootstrap(
    statistics: Callable[[np.ndarray], dict[str, np.ndarray]], patient: np.ndarray, *, replicates: int, seed: int
) -> dict[str, np.ndarray]:
    """Resample patients with all their cases; return every statistic's replicates, first axis `replicates`.

    `statistics` takes weights (R, N) and returns arrays with first axis R. `patient` (N,) numbers patients from 0 in
    an order that does not depend on pseudonyms, so that the same study and seed give the same interval everywhere.
    """
    generator = np.random.default_rng(seed)
    patients = int(patient.max()) + 1
    pieces = []
    for start in range(0, replicates, CHUNK):
        drawn = generator.multinomial(patients, np.full(patients, 1 / patients), size=min(CHUNK, replicates - start))
        pieces.append(statistics(drawn[:, patient].astype(float)))
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def percentile(replicates: np.ndarray, *, confidence: float) -> Interval:
    """Return the percentile interval of the defined replicates.

    It is undefined where over a tenth of them are NaN, and where all are the same: a class without a single hit, or
    without a single error, gives the bootstrap nothing to draw from, and an interval of no width would look certain.
    """
    defined = replicates[~np.isnan(replicates)]
    if len(defined) < 0.9 * len(replicates):
        return UNDEFINED
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high)) if high > low else UNDEFINED
