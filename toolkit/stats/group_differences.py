"""Differences in recall between a group of cases and all others, at the same mix of classes, with permutation tests.

Groups differ in the classes that their cases have. Both sides are compared on the classes that both have, each with the
same weight on either side (direct standardisation), so a difference is one of recall, not of case mix.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from toolkit.stats.intervals import UNDEFINED, Interval
from toolkit.stats.significance import permutation_p

CELLS = 2_000_000
"""Exchanges made at once: bounds memory."""
MOST_CELLS = 200_000_000
"""Exchanges made in all: of over a hundred thousand unlike patients fewer permutations are made, at least FEWEST."""
FEWEST = 500
ROUNDING = 1e-12
"""What an interval is wider by, so that a difference as large as the critical one does not exclude 0."""
EXACTLY = 3
"""Cases up to which patients are exchanged only for such with as many cases of each class."""


class GroupedCases(NamedTuple):
    """Of each case (N,): its class, whether it was predicted, its patient, and whether it is in the group."""

    truth: np.ndarray
    right: np.ndarray
    patient: np.ndarray
    inside: np.ndarray


class Difference(NamedTuple):
    """A value inside a group minus that outside, and its interval and p from the same permutations."""

    value: float
    interval: Interval
    p: float


class Differences(NamedTuple):
    """Of accuracy at the same class weights, of macro recall over the shared classes, and of each class's recall."""

    accuracy: Difference
    macro_recall: Difference
    recall: list[Difference]


class _Blocks(NamedTuple):
    """What is exchanged: a patient's cases on one side. Those alike are one line.

    Of each line (B,): how many blocks, how many of them inside, the stratum; right cases and all cases of one block by
    class, (B, C).
    """

    number: np.ndarray
    inside: np.ndarray
    stratum: np.ndarray
    right: np.ndarray
    cases: np.ndarray


class _Compared(NamedTuple):
    """Differences and their standard errors, (R, 2 + C)."""

    value: np.ndarray
    error: np.ndarray


def differences(group: GroupedCases, classes: int, *, replicates: int, confidence: float, seed: int) -> Differences:
    """Compare the cases inside a group with all others.

    Patients are exchanged between the sides among those with the same classes.
    The statistic is the difference over its standard error (Janssen, Stat Probab Lett 1997;36:9), so that one set of
    permutations gives p and interval: 0 lies outside the interval where p is at most 1 - confidence. The others against
    the group give the same with the other sign.

    >>> truth, patient = np.zeros(40, dtype=int), np.arange(40)
    >>> group = GroupedCases(truth, right=patient > 15, patient=patient, inside=patient < 20)
    >>> accuracy = differences(group, 2, replicates=999, confidence=0.95, seed=1).accuracy
    >>> round(accuracy.value, 2), accuracy.p < 0.01
    (-0.8, True)
    """
    blocks = _blocks(group, classes)
    if tuple(blocks.inside) > tuple(blocks.number - blocks.inside):
        others = group._replace(inside=~group.inside)
        return _turned(differences(others, classes, replicates=replicates, confidence=confidence, seed=seed))
    observed = _compared(blocks, blocks.inside[None])
    made = min(replicates, max(FEWEST, MOST_CELLS // len(blocks.inside)))
    permuted = [_compared(blocks, sides) for sides in _exchanged(blocks, made, seed)]
    ratios = np.concatenate([_ratio(each) for each in permuted]) if permuted else np.full((0, 2 + classes), np.nan)
    ratio = _ratio(observed)[0]
    found = []
    for place in range(2 + classes):
        value, own = float(observed.value[0, place]), ratios[:, place]
        critical = _critical(own, confidence=confidence)
        half = critical * float(observed.error[0, place]) + ROUNDING
        interval = UNDEFINED if np.isnan(half) else Interval(max(value - half, -1), min(value + half, 1))
        found.append(Difference(value, interval, float(permutation_p(float(ratio[place]), own))))
    return Differences(found[0], found[1], found[2:])


def _turned(found: Differences) -> Differences:
    def turned(each: Difference) -> Difference:
        return Difference(0.0 - each.value, Interval(0.0 - each.interval.high, 0.0 - each.interval.low), each.p)

    return Differences(turned(found.accuracy), turned(found.macro_recall), [turned(each) for each in found.recall])


def _blocks(group: GroupedCases, classes: int) -> _Blocks:
    keys, block = np.unique(group.patient * 2 + group.inside, return_inverse=True)
    place = block * classes + group.truth
    size = len(keys) * classes
    cases = np.bincount(place, minlength=size).reshape(-1, classes).astype(float)
    hits = np.bincount(place, weights=group.right, minlength=size).reshape(-1, classes)
    lines, line, number = np.unique(
        np.column_stack([_strata(cases), hits, cases]), axis=0, return_inverse=True, return_counts=True
    )
    inside = np.bincount(line.ravel(), weights=keys % 2, minlength=len(lines)).astype(int)
    return _Blocks(number, inside, lines[:, 0], lines[:, 1 : 1 + classes], lines[:, 1 + classes :])


def _strata(cases: np.ndarray) -> np.ndarray:
    """Return which blocks may be exchanged: of a few cases those with as many of each class, else about such ones."""
    many = cases.sum(axis=1)
    about = np.zeros_like(cases)
    about[np.arange(len(cases)), cases.argmax(axis=1)] = 2.0 ** np.floor(np.log2(many))
    return np.unique(np.where(many[:, None] <= EXACTLY, cases, about), axis=0, return_inverse=True)[1].ravel()


def _exchanged(blocks: _Blocks, replicates: int, seed: int) -> Iterator[np.ndarray]:
    """Yield how many are inside, (R, B): as many of each stratum as there are; nothing where none can change."""
    strata = [np.flatnonzero(blocks.stratum == stratum) for stratum in np.unique(blocks.stratum)]
    mixed = [own for own in strata if len(own) > 1 and 0 < blocks.inside[own].sum() < blocks.number[own].sum()]
    rng, at_once = np.random.default_rng(seed), max(1, CELLS // len(blocks.number))
    for start in range(0, replicates if mixed else 0, at_once):
        rows = min(at_once, replicates - start)
        sides = np.repeat(blocks.inside[None], rows, axis=0)
        for own in mixed:
            sides[:, own] = rng.multivariate_hypergeometric(blocks.number[own], blocks.inside[own].sum(), size=rows)
        yield sides


def _compared(blocks: _Blocks, sides: np.ndarray) -> _Compared:
    own, others = (_side(blocks, each.astype(float)) for each in (sides, blocks.number - sides))
    shared = (own.cases > 0) & (others.cases > 0)
    apart = np.where(shared, own.recall - others.recall, 0)
    variance = np.where(shared, own.variance + others.variance, 0)
    each = shared[:, None, :] * np.eye(shared.shape[1])
    total_cases = blocks.number @ blocks.cases
    weights = np.concatenate([(shared * total_cases)[:, None], shared[:, None], each], axis=1)
    total = weights.sum(axis=2, keepdims=True)
    weights = np.divide(weights, total, out=np.full(weights.shape, np.nan), where=total > 0)
    value, squared = np.einsum("rkc,rc->rk", weights, apart), np.einsum("rkc,rc->rk", weights**2, variance)
    return _Compared(value, np.sqrt(squared))


class _Side(NamedTuple):
    """Of each class on one side, (R, C)."""

    cases: np.ndarray
    recall: np.ndarray
    variance: np.ndarray


def _side(blocks: _Blocks, sides: np.ndarray) -> _Side:
    """Return recalls with their variance between patients, two patients of average size added (docs/method.md)."""
    right, of = blocks.right, blocks.cases
    cases, hits, patients = sides @ of, sides @ right, sides @ (of > 0).astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        size = cases / patients
        both = cases + 2 * size
        share = (hits + size) / both
        squares = sides @ (right * right) - 2 * share * (sides @ (right * of)) + share**2 * (sides @ (of * of))
        squares += size**2 * (share**2 + (1 - share) ** 2)
        return _Side(cases, hits / cases, (patients + 2) / (patients + 1) * squares / both**2)


def _ratio(compared: _Compared) -> np.ndarray:
    return np.divide(
        compared.value, compared.error, out=np.full(compared.value.shape, np.nan), where=compared.error > 0
    )


def _critical(ratios: np.ndarray, *, confidence: float) -> float:
    """Return what a ratio must exceed for p to be at most 1 - confidence; NaN of too short a list."""
    defined = np.sort(np.abs(ratios[~np.isnan(ratios)]))
    largest = int((1 - confidence) * (len(defined) + 1) + 1e-9)
    return float(defined[-largest]) if largest else float("nan")
