"""The share of wrong labels in a whole data set, from the cases of patients who were drawn at random and reviewed.

Only they tell it: what was ranked was looked for. Patients are drawn, so patients are the sampling units.
"""

from typing import NamedTuple

import numpy as np
import scipy

from toolkit.stats.intervals import UNDEFINED, Interval, Share, by_patient

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


class ReviewedCases(NamedTuple):
    """Cases (N,) with what a review says of them."""

    patient: np.ndarray
    """Patients, numbered from 0."""
    random: np.ndarray
    """Whether the patient was drawn at random and all of its cases were reviewed."""
    decided: np.ndarray
    """Whether the case was reviewed, and its class could be told."""

    def drawn(self, successes: np.ndarray) -> Share:
        """Return the successes among the decided cases of each patient drawn at random."""
        counts = self.random & self.decided
        share = by_patient((successes & counts).astype(float), counts.astype(float), self.patient)
        return Share(share.successes[share.trials > 0], share.trials[share.trials > 0])


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
    low = 0.0 if value <= 0 else float(scipy.special.betaincinv(hits, effective - hits + 1, tail))
    high = 1.0 if value >= 1 else float(scipy.special.betaincinv(hits + 1, effective - hits, 1 - tail))
    return Interval(low, high)


def correlation(share: Share) -> float:
    """Return the intraclass correlation of a patient's cases: its posterior mean under the beta-binomial distribution.

    The prior is uniform from 0 to 1, and Jeffreys's of the share. A moment estimate is 0, or far too small, where few
    patients have errors; this one is large until patients show that it is small.
    """
    shares = np.sin(np.pi * (np.arange(GRID) + 0.5) / (2 * GRID))[:, None] ** 2  # equal steps are Jeffreys's prior
    correlations = (np.arange(GRID) + 0.5)[None, :] / GRID
    first, second = shares * (1 / correlations - 1), (1 - shares) * (1 / correlations - 1)
    # the beta functions' ratios of whole numbers of cases, as sums of logarithms
    hits, trials = (numbers.astype(int) for numbers in share)
    likelihood = (_rising(first, hits) + _rising(second, trials - hits) - _rising(first + second, trials)).sum(axis=0)
    posterior = np.exp(likelihood - likelihood.max())
    return float((posterior * correlations).sum() / posterior.sum())


def _rising(start: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return log(start · (start + 1) · … ) of as many factors as each of the counts says, (P, GRID, GRID)."""
    steps = np.log(start + np.arange(counts.max(initial=0))[:, None, None])
    return np.concatenate([np.zeros((1, *start.shape)), np.cumsum(steps, axis=0)])[counts]


def corrected_accuracy(before: np.ndarray, after: np.ndarray, review: ReviewedCases, *, confidence: float) -> Estimated:
    """Return the accuracy that all cases would have with correct labels.

    `before` (N,) says which cases are right by the labels as they are, `after` which by the labels as reviewed; it
    counts where a case is decided. It is the accuracy as it is, plus what becomes right, less what does not stay right,
    each share by `share_of_all`; NaN where no case was drawn. The interval is recovered from theirs (Zou and Donner,
    Stat Med 2008;27:1693) and cut to what is known; the estimate is not: of few patients it may lie beyond 0 or 1.
    """
    gains = _change(after & ~before, ~before, review, confidence)
    losses = _change(before & ~after, before, review, confidence)
    value = float(before.mean()) + gains.value - losses.value
    (gains_down, gains_up), (losses_down, losses_up) = _spreads(gains), _spreads(losses)
    low, high = value - np.hypot(gains_down, losses_up), value + np.hypot(gains_up, losses_down)
    least, most = (review.decided & after).mean(), 1 - (review.decided & ~after).mean()
    bounds = Interval(float(np.clip(low, least, most)), float(np.clip(high, least, most)))
    return Estimated(value, bounds)


def _change(successes: np.ndarray, possible: np.ndarray, review: ReviewedCases, confidence: float) -> Estimated:
    """Return the share of all cases that change so; only those that are `possible` can."""
    found, decided = int((successes & review.decided).sum()), int((possible & review.decided).sum())
    ruled_out = int((~possible).sum()) + decided - found
    population = Population(len(np.unique(review.patient)), len(possible), found, ruled_out)
    return share_of_all(review.drawn(successes), population, confidence=confidence)


def _spreads(estimate: Estimated) -> tuple[float, float]:
    """Return how far the bounds are from the estimate; 0 where what is known puts one on its other side."""
    low, high = (float(bound) for bound in estimate.interval)
    return max(estimate.value - low, 0.0), max(high - estimate.value, 0.0)
