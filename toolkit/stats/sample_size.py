"""Widths of intervals and power of comparisons for a number of patients, by simulating studies of patients like some.

Patients are drawn with the numbers of cases of each class that they have, `counts` (P, C). How often cases of one
patient are right together is the intraclass correlation (ICC) of a beta-binomial distribution.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy

from toolkit.stats import delong
from toolkit.stats.intervals import (
    Estimate,
    Share,
    clustered_wilson,
    influence,
    mean_interval,
)

NAN = float("nan")
CELLS = 1_500_000
"""Patients, classes and studies simulated at once and for one size: bounds the time."""
STUDIES, FEWEST_STUDIES, MOST_STUDIES = 200, 25, 1_000
FACTORS = (0.25, 0.5, 1, 2, 4, 8, 16, 32)
"""Sizes that are simulated, in multiples of the present one."""
DIFFERENCES = (0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4)
FEWEST_DISCORDANT = 6
"""Patients in whom two runs differ: with fewer an exact test at 5 % cannot reject."""
QUANTILES = np.linspace(0.0005, 0.9995, 1000)


class Assumed(NamedTuple):
    """What a study is expected to find: each class's recall (C,), the area for `positive` classes, and ICCs."""

    recall: np.ndarray
    icc: float
    auc: float = NAN
    auc_icc: float = 0.0
    positive: tuple[int, ...] = ()


class RunPair(NamedTuple):
    """Two runs of which the second has every class's recall (C,) higher by `difference`."""

    recall: np.ndarray
    """Of the first."""
    disagreement: np.ndarray
    """(C,) share of cases that exactly one of them has right."""
    icc: float
    """How far a patient's cases go the same way where the runs disagree."""
    difference: float


class Widths(NamedTuple):
    """Mean widths of intervals over simulated studies; NaN where there is no interval."""

    recall: np.ndarray
    accuracy: float
    macro_recall: float
    roc_auc: float


class Powers(NamedTuple):
    """Shares of simulated comparisons that find the difference; NaN where it is impossible."""

    recall: np.ndarray
    accuracy: float
    macro_recall: float


def intraclass_correlation(residuals: np.ndarray, patient: np.ndarray) -> float:
    """Return the ICC of values about their expectation by analysis of variance, within 0 and 1.

    NaN where no patient has several (Ridout, Demétrio and Firth, Biometrics 1999;55:137).

    >>> intraclass_correlation(np.array([0.5, 0.5, -0.5, -0.5]), np.array([0, 0, 1, 1]))
    1.0
    """
    sizes = np.bincount(patient)
    sizes = sizes[sizes > 0]
    total, groups = sizes.sum(), len(sizes)
    if groups < 2 or total == groups:
        return NAN
    _, group = np.unique(patient, return_inverse=True)
    means = np.bincount(group, weights=residuals) / sizes
    between = float(sizes @ np.square(means - residuals.mean())) / (groups - 1)
    within = float(np.square(residuals - means[group]).sum()) / (total - groups)
    typical = (total - np.square(sizes).sum() / total) / (groups - 1)
    scale = between + (typical - 1) * within
    return float(np.clip((between - within) / scale, 0, 1)) if scale > 0 else NAN


def widths(
    counts: np.ndarray, assumed: Assumed, *, patients: int, confidence: float, rng: np.random.Generator
) -> Widths:
    """Return the mean widths of the intervals that `evaluate` gives, from studies of so many patients."""
    classes = counts.shape[1]
    studies = int(np.clip(CELLS // (patients * classes), FEWEST_STUDIES, STUDIES))
    recall, accuracy, macro, area = [], [], [], []
    shares = _Shares(assumed.recall, assumed.icc)
    for _ in range(studies):
        trials = counts[rng.integers(0, len(counts), patients)]
        hits = rng.binomial(trials, shares(rng.random(patients)))
        each = Share(hits.T.astype(float), trials.T.astype(float))
        bounds = clustered_wilson(each, confidence=confidence)
        recall.append(np.asarray(bounds.high) - np.asarray(bounds.low))
        whole = Share(hits.sum(axis=1).astype(float), trials.sum(axis=1).astype(float))
        accuracy.append(_width(clustered_wilson(whole, confidence=confidence)))
        macro.append(_width(mean_interval(Estimate(each.value, bounds, influence(each)))))
        if len(area) < max(FEWEST_STUDIES, studies // 4) and assumed.positive and not np.isnan(assumed.auc):
            area.append(_area_width(trials, assumed, confidence=confidence, rng=rng))
    return Widths(_mean(np.stack(recall)), *(float(_mean(np.array(each))) for each in (accuracy, macro, area or [NAN])))


def powers(counts: np.ndarray, runs: RunPair, *, patients: int, confidence: float, rng: np.random.Generator) -> Powers:
    """Return how often two runs are found to differ.

    The test is the normal form of the exchange of the runs within patients; with one case per patient it is McNemar's.
    """
    differ = np.maximum(runs.disagreement, runs.difference)
    shares = _Shares((1 + runs.difference / differ) / 2, runs.icc)
    studies = int(np.clip(CELLS // patients // counts.shape[1], 4 * FEWEST_STUDIES, MOST_STUDIES))
    critical = float(scipy.special.ndtri((1 + confidence) / 2))
    found = np.zeros((studies, counts.shape[1] + 2))
    for number in range(studies):
        trials = counts[rng.integers(0, len(counts), patients)]
        differing = rng.binomial(trials, differ)
        better = rng.binomial(differing, shares(rng.random(patients)))
        gains = 2.0 * better - differing
        of_class = trials.sum(axis=0)
        known = of_class > 0
        macro = (gains[:, known] / of_class[known]).sum(axis=1)
        found[number] = _differs(np.column_stack([gains, gains.sum(axis=1), macro]), critical)
    share, possible = found.mean(axis=0), runs.recall + runs.difference <= 1
    there = counts.sum(axis=0) > 0
    together = share[-2:] if possible[there].all() else np.full(2, NAN)
    return Powers(np.where(possible & there, share[:-2], NAN), float(together[0]), float(together[1]))


def independent_disagreement(recall: np.ndarray, difference: float) -> np.ndarray:
    """Return the share of cases that exactly one of two runs has right, where their errors are independent."""
    other = np.minimum(recall + difference, 1)
    return recall * (1 - other) + other * (1 - recall)


def size_for_width(sizes: list[int], found: list[float], width: float) -> float:
    """Return the patients it takes for a width, between simulated sizes; infinite where none suffices."""
    return _crossing(np.log(sizes), np.log(found), float(np.log(width)), back=np.exp)


def size_for_power(sizes: list[int], found: list[float], power: float) -> float:
    """Return the patients it takes for a power, between simulated sizes; infinite where none suffices."""
    return _crossing(np.sqrt(sizes), -_probit(found), -float(scipy.special.ndtri(power)), back=np.square)


def detectable(differences: list[float], found: list[float], power: float) -> float:
    """Return the smallest difference that is found with a power; infinite where none is."""
    return _crossing(np.array(differences), -_probit(found), -float(scipy.special.ndtri(power)), back=np.asarray)


def _probit(shares: list[float]) -> np.ndarray:
    return scipy.special.ndtri(np.clip(shares, 0.001, 0.999))


def _crossing(
    places: np.ndarray, heights: np.ndarray, target: float, *, back: Callable[[np.ndarray], np.ndarray]
) -> float:
    """Return where heights that go down first reach a target, on a straight line between two places."""
    known = ~np.isnan(heights)
    places, heights = np.asarray(places)[known], np.asarray(heights)[known]
    if not len(heights):
        return NAN
    below = np.nonzero(heights <= target)[0]
    if not len(below):
        return float("inf")
    first = int(below[0])
    if first == 0:
        return float(back(places[0]))
    share = (heights[first - 1] - target) / (heights[first - 1] - heights[first])
    return float(back(places[first - 1] + share * (places[first] - places[first - 1])))


class _Shares:
    """Each patient's own shares (P, C): beta quantiles at the patient's rank, which is the same in all classes."""

    def __init__(self, mean: np.ndarray, icc: float) -> None:
        self.mean, self.icc = mean, min(icc, 0.999)
        if icc > 0:
            strength = (1 - self.icc) / self.icc
            self.tables = [
                np.full(len(QUANTILES), share)
                if share <= 0 or share >= 1
                else scipy.special.betaincinv(share * strength, (1 - share) * strength, QUANTILES)
                for share in mean
            ]

    def __call__(self, ranks: np.ndarray) -> np.ndarray:
        if self.icc <= 0:
            return np.broadcast_to(self.mean, (len(ranks), len(self.mean)))
        return np.column_stack([np.interp(ranks, QUANTILES, table) for table in self.tables])


def _differs(gains: np.ndarray, critical: float) -> np.ndarray:
    """Return in which columns (P, K) the patients' gains differ from 0."""
    squares = np.square(gains).sum(axis=0)
    z = np.divide(gains.sum(axis=0), np.sqrt(squares), out=np.zeros(len(squares)), where=squares > 0)
    return (z > critical) & ((gains != 0).sum(axis=0) >= FEWEST_DISCORDANT)


def _area_width(trials: np.ndarray, assumed: Assumed, *, confidence: float, rng: np.random.Generator) -> float:
    """Return the width for scores that are normal in either kind of cases (binormal), with patients' own levels."""
    chosen = np.zeros(trials.shape[1], dtype=bool)
    chosen[list(assumed.positive)] = True
    kinds = [trials[:, chosen].sum(axis=1), trials[:, ~chosen].sum(axis=1)]
    if not all(kind.sum() for kind in kinds):
        return NAN
    patient = np.concatenate([np.repeat(np.arange(len(trials)), kind) for kind in kinds])
    positive = np.repeat([True, False], [kind.sum() for kind in kinds])
    level = rng.normal(size=len(trials))[patient] * np.sqrt(assumed.auc_icc)
    score = level + rng.normal(size=len(patient)) * np.sqrt(1 - assumed.auc_icc)
    score += np.sqrt(2) * scipy.special.ndtri(np.clip(assumed.auc, 0.001, 0.999)) * positive
    _, patient = np.unique(patient, return_inverse=True)
    return _width(delong.clustered_interval(positive, score, patient, confidence=confidence))


def normal_scores(values: np.ndarray) -> np.ndarray:
    """Return values as the normal quantiles of their ranks, so that their correlation does not depend on a scale."""
    order = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    return scipy.special.ndtri((order + 0.5) / len(values))


def _width(interval: tuple) -> float:
    return float(interval[1]) - float(interval[0])


def _mean(values: np.ndarray) -> np.ndarray:
    """Return the mean over studies of what is defined; NaN where most of them have none."""
    known = ~np.isnan(values)
    enough = known.mean(axis=0) >= 0.5
    return np.where(enough, np.where(known, values, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1), NAN)
