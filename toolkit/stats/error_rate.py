"""The share of wrong labels in a whole data set, from the cases of patients who were drawn at random and reviewed.

Only they tell it: what was ranked was looked for. Patients are drawn, so patients are the sampling units.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import betaincinv, betaln

from toolkit.stats.intervals import UNDEFINED, Interval, Share

GRID = 16
"""Values of the share and of the correlation over which the posterior is summed."""


class Population(NamedTuple):
    """All patients and cases of whom some were drawn, and what is known of them beside the draw."""

    patients: int
    cases: int
    found: int = 0
    """Successes that are known, drawn or not."""
    ruled_out: int = 0
    """Cases that are known to be no successes, drawn or not."""


class Estimated(NamedTuple):
    """An estimate for all cases, with its interval."""

    value: float
    interval: Interval


NOTHING = Estimated(float("nan"), UNDEFINED)


def share_of_all(share: Share, population: Population, *, confidence: float) -> Estimated:
    """Return the share of all cases from the successes and trials, (P,) each, of patients drawn at random.

    The ratio of their totals (Cochran, Sampling Techniques, 1977, 6.2); NaN without trials. The interval is that of
    `drawn_interval`, cut to what is possible with what is known of the cases. The estimate is not: it is unbiased as it
    is, and may lie below what was found elsewhere.

    >>> share = Share(np.array([1, 0, 0, 1]), np.array([2, 1, 4, 3]))
    >>> estimate = share_of_all(share, Population(patients=40, cases=95), confidence=0.95)
    >>> round(estimate.value, 2), [round(bound, 2) for bound in estimate.interval]
    (0.2, [0.02, 0.6])
    """
    if not share.trials.sum():
        return NOTHING
    value = float(share.value)
    fraction = np.count_nonzero(share.trials) / population.patients
    low, high = drawn_interval(share, fraction=fraction, confidence=confidence)
    least, most = population.found / population.cases, 1 - population.ruled_out / population.cases
    return Estimated(value, Interval(max(low, least), min(high, most)))


def drawn_interval(share: Share, *, fraction: float, confidence: float) -> Interval:
    """Return the interval of a share of the cases of patients drawn at random; `fraction` of all patients were drawn.

    It is Clopper and Pearson's at an effective size (Korn and Graubard, Surv Methodol 1998;24:193): the cases over the
    design effect 1 + (m - 1)·ICC, m the mean size of a patient's cases weighted by cases (Kerry and Bland, Stat Med
    2001;20:377), and over 1 - `fraction`, so that a share of all patients is certain.
    """
    value, trials = float(share.value), share.trials[share.trials > 0]
    if fraction >= 1:
        return Interval(value, value)
    size = np.square(trials).sum() / trials.sum()
    effective = trials.sum() / (1 + (size - 1) * correlation(share)) / (1 - fraction)
    hits, tail = value * effective, (1 - confidence) / 2
    low = 0.0 if value <= 0 else float(betaincinv(hits, effective - hits + 1, tail))
    high = 1.0 if value >= 1 else float(betaincinv(hits + 1, effective - hits, 1 - tail))
    return Interval(low, high)


def correlation(share: Share) -> float:
    """Return the intraclass correlation of a patient's cases: its posterior mean under the beta-binomial distribution.

    The prior is uniform from 0 to 1, and Jeffreys's of the share. A moment estimate is 0, or far too small, where few
    patients have errors; this one is large until patients show that it is small.
    """
    shares = np.sin(np.pi * (np.arange(GRID) + 0.5) / (2 * GRID))[:, None] ** 2  # equal steps are Jeffreys's prior
    correlations = (np.arange(GRID) + 0.5)[None, :] / GRID
    first, second = shares * (1 / correlations - 1), (1 - shares) * (1 / correlations - 1)
    kinds, times = np.unique(np.stack(share), axis=1, return_counts=True)
    likelihood = np.zeros((GRID, GRID))
    for (hits, trials), number in zip(kinds.T, times, strict=True):
        likelihood += number * (betaln(first + hits, second + trials - hits) - betaln(first, second))
    posterior = np.exp(likelihood - likelihood.max())
    return float((posterior * correlations).sum() / posterior.sum())


def difference(gains: Estimated, losses: Estimated) -> Estimated:
    """Return gains less losses, its interval recovered from theirs (Zou and Donner, Stat Med 2008;27:1693).

    A bound that what is known puts on the other side of its estimate counts as that estimate.
    """
    value = gains.value - losses.value
    (gains_down, gains_up), (losses_down, losses_up) = _spreads(gains), _spreads(losses)
    down, up = np.hypot(gains_down, losses_up), np.hypot(gains_up, losses_down)
    return Estimated(value, Interval(float(value - down), float(value + up)))


def _spreads(estimate: Estimated) -> tuple[float, float]:
    low, high = (float(bound) for bound in estimate.interval)
    return max(estimate.value - low, 0.0), max(high - estimate.value, 0.0)
