"""Arithmetic of printed areas under curves: means, numbers of classes and ranks that no areas can give at once.

A confusion matrix says nothing of an area. But an area lies between 0 and 1, and a mean of areas is a mean.
"""

import math
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import scipy

from toolkit.stages.claims.claims_file import ClaimSection
from toolkit.stages.claims.rounding import CLOSE, Range
from toolkit.stats.metrics import AREAS

INFEASIBLE = 2
"""The solver's status."""
Numbered = dict[int, ClaimSection]


def impossible(cases: dict[str, int], claim: ClaimSection) -> str:
    """Say why no ranking of the cases gives a class's ROC AUC; nothing where one does.

    Pairs of a positive and a negative case count 1, 0 or, tied, a half.
    """
    if claim.rate not in AREAS or claim.class_name is None or claim.printed is None:
        return ""
    own = cases[claim.class_name]
    others = sum(cases.values()) - own
    if not own or not others:
        return f"it is undefined: the class has {own} of {own + others} cases"
    if claim.rate == "roc_auc" and not _whole(claim.printed.range("any"), 2 * own * others):
        return f"with {own} cases and {others} others it is a multiple of 1/{2 * own * others}"
    return ""


def _whole(wanted: Range, denominator: int) -> bool:
    """Tell whether a share with this denominator lies in a range."""
    low, high = wanted.low * denominator, wanted.high * denominator
    first = math.floor(low) + 1 if wanted.low_open else math.ceil(low)
    last = math.ceil(high) - 1 if wanted.high_open else math.floor(high)
    return first <= min(last, denominator)


def contradicting(cases: dict[str, int], claims: Numbered) -> Iterator[list[int]]:
    """Yield, for each kind of area, a smallest group of claims that no areas give at once."""
    for metric in AREAS:
        own = {n: claim for n, claim in claims.items() if claim.rate == metric and claim.average != "micro"}
        if own and not possible(cases, list(own.values())):
            left = list(own)
            for number in own:
                without = [own[n] for n in left if n != number]
                if without and not possible(cases, without):
                    left.remove(number)
            yield left


def possible(cases: dict[str, int], claims: list[ClaimSection]) -> bool:
    """Tell whether areas of the classes exist for which claims about one kind of area hold.

    A class without cases, or with all of them, has no area: it is left out of means, or counted as 0.
    """
    total = sum(cases.values())
    defined = [name for name, own in cases.items() if 0 < own < total]
    return any(_solvable(cases, defined, claims, divisor) for divisor in {len(defined), len(cases)} - {0})


def _solvable(cases: dict[str, int], defined: list[str], claims: list[ClaimSection], divisor: int) -> bool:
    """Tell whether areas of the `defined` classes exist, where a macro average is their sum over `divisor`."""
    counted = [claim for claim in claims if claim.classes]
    size = len(defined)
    columns = size * (1 + len(counted))  # an area for each class, then whether it counts for each number of classes
    rows: list[np.ndarray] = []
    low: list[float] = []
    high: list[float] = []

    def require(row: np.ndarray, least: Fraction | float, most: Fraction | float) -> None:
        rows.append(row)
        low.append(float(least) - CLOSE)
        high.append(float(most) + CLOSE)

    for claim in claims:
        wanted = claim.printed.range("any") if claim.printed else Range(Fraction(0), Fraction(1))
        if claim.class_name:
            own = defined.index(claim.class_name)
            require(_unit(columns, own), wanted.low, wanted.high)
            for other in range(size) if claim.rank else ():
                difference = _unit(columns, own) - _unit(columns, other)
                require(difference, *((0, 1) if claim.rank == "highest" else (-1, 0)))
        elif claim.classes:
            place = size * (1 + [one is claim for one in counted].index(True))
            for k in range(size):
                counts = _unit(columns, place + k)
                # where it counts (1), the area lies in the range; where it does not (0), the row says nothing
                require(_unit(columns, k) - float(wanted.low) * counts, 0, 1)
                require(_unit(columns, k) + (1 - float(wanted.high)) * counts, 0, 1)
            require(sum((_unit(columns, place + k) for k in range(size)), np.zeros(columns)), claim.classes, size)
        elif claim.averaged:
            weights = np.array([cases[name] for name in defined], dtype=float)
            share = np.full(size, 1 / divisor) if claim.averaged == "macro" else weights / weights.sum()
            require(np.r_[share, np.zeros(columns - size)], wanted.low, wanted.high)
    integrality = np.r_[np.zeros(size), np.ones(columns - size)]
    constraints = scipy.optimize.LinearConstraint(np.array(rows), low, high)
    result = scipy.optimize.milp(
        np.zeros(columns), constraints=constraints, integrality=integrality, bounds=scipy.optimize.Bounds(0, 1)
    )
    return result.status != INFEASIBLE


def _unit(columns: int, place: int) -> np.ndarray:
    row = np.zeros(columns)
    row[place] = 1
    return row
