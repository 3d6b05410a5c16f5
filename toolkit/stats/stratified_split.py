"""Which part each group goes to, so that every stratum comes as near its wish as whole cases permit.

Knows nothing of patients, files or studies: a table of units and strata goes in, each unit's part comes out. A unit
(a patient, or a group of linked ones) is never divided. Any table can be split with `tally` and `allot`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from toolkit.errors import SplitError
from toolkit.stats.split_search import SAME, Problem, cost_of, floor_of, improved, start

CLASS, TOTAL, UNITS = "class", "all cases", "patients"
"""The stratum that goes before all others, and the two that always stand beside it."""
WEIGHTS = {CLASS: 1000.0, TOTAL: 20.0, UNITS: 0.2}
"""What a case beyond the bound costs; strata of a study cost their own weight, 1 unless it is given."""
ROUNDING = 1e-9


class Column(NamedTuple):
    """One stratum's value: what is counted in a column of a table."""

    stratum: str
    value: str


@dataclass(frozen=True)
class GroupCounts:
    """A table of units × columns: how many cases of each unit have each value of each stratum.

    `unit_of` gives each case's row, `units` the row's name.
    """

    units: np.ndarray
    unit_of: np.ndarray
    columns: tuple[Column, ...]
    counts: np.ndarray


@dataclass(frozen=True)
class StratumBalance:
    """A column's cases in each part beside what was wished; `bound` is the least distance whole cases permit."""

    stratum: str
    value: str
    cases: int
    counts: tuple[int, ...]
    wished: tuple[float, ...]
    bound: float
    distance: float


@dataclass(frozen=True)
class StratifiedSplit:
    """Each unit's part, as its index; `counts` and `wish` are parts × columns, `bounds` one per column.

    A bound is the least largest distance from the wish that whole cases permit.
    """

    part_of: np.ndarray
    columns: tuple[Column, ...]
    counts: np.ndarray
    wish: np.ndarray
    bounds: np.ndarray
    best: bool
    """Whether no split is nearer: what is beyond a bound is forced by the bounds of strata that weigh more."""

    @cached_property
    def distances(self) -> np.ndarray:
        """Return each column's largest distance from its wish over the parts, in cases."""
        return np.abs(self.counts - self.wish).max(axis=0)

    def strata(self) -> list[StratumBalance]:
        """Return what became of every column."""
        return [
            StratumBalance(
                *column,
                int(self.counts[:, n].sum()),
                tuple(self.counts[:, n].tolist()),
                tuple(np.round(self.wish[:, n], 6).tolist()),
                round(float(self.bounds[n]), 6),
                round(float(self.distances[n]), 6),
            )
            for n, column in enumerate(self.columns)
        ]


@dataclass(frozen=True)
class SplitTarget:
    """What parts are wished for.

    `fractions` has one share per part and adds up to 1; `targets` names exact counts, by part and class, and the rest
    of such a class is divided among the other parts by their fractions. `minimum` is the least number of cases of every
    class in every part. A class of which one unit holds more than any part is to have is refused, unless `uneven`.
    """

    fractions: Sequence[float]
    minimum: int = 0
    weights: Mapping[str, float] | None = None
    targets: Mapping[int, Mapping[str, int]] | None = None
    uneven: bool = False


def count_groups(
    units: Sequence[str], strata: Mapping[str, Sequence[str]], *, beside: Sequence[str] | None = None
) -> GroupCounts:
    """Return the table of units and strata from one entry per case; `class` is the stratum that goes first.

    `beside` names each case's patient where units are groups of patients: patients are then balanced, else units are.
    """
    names, unit_of = np.unique(np.asarray(units), return_inverse=True)
    columns: list[Column] = []
    counts = []
    for stratum, values in strata.items():
        known, value_of = np.unique(np.asarray(values), return_inverse=True)
        flat = np.bincount(unit_of * len(known) + value_of, minlength=len(names) * len(known))
        counts.append(flat.reshape(len(names), len(known)))
        columns += [Column(stratum, str(value)) for value in known]
    counts.append(np.bincount(unit_of)[:, None])
    counts.append(_patients(unit_of, beside)[:, None] if beside is not None else np.ones((len(names), 1), dtype=int))
    return GroupCounts(
        names, unit_of, (*columns, Column(TOTAL, ""), Column(UNITS, "")), np.hstack(counts).astype(np.int64)
    )


def _patients(unit_of: np.ndarray, patients: Sequence[str]) -> np.ndarray:
    """Return how many patients each unit has."""
    first = np.unique(np.asarray(patients), return_index=True)[1]
    return np.bincount(unit_of[first], minlength=unit_of.max() + 1)


def stratified_group_split(
    table: GroupCounts, wish: SplitTarget, *, seed: int, fixed: np.ndarray | None = None
) -> StratifiedSplit:
    """Give every unit a part; the same table, wish and seed give the same parts.

    `fixed` has a part's index for each unit that must stay in it, -1 for the others. Units of the same counts are
    interchangeable; how many of each such kind go to which part is found by a greedy start and small integer
    programmes, which of them is drawn by the seed. Raises AllotmentError where the wish cannot be met.
    """
    fixed = np.full(len(table.units), -1) if fixed is None else fixed
    free = np.flatnonzero(fixed < 0)
    wishes = _wishes(table, wish)
    least = np.array([wish.minimum if column.stratum == CLASS else 0 for column in table.columns])
    _refuse_impossible(table, wish, wishes)
    bounds = np.array([integer_bound(wishes[:, n], least[n]) for n in range(len(table.columns))])
    there = np.array([table.counts[fixed == part].sum(axis=0) for part in range(len(wishes))])
    kinds, kind_of = _kinds(table.counts[free])
    luck = np.random.default_rng(seed)
    available = np.bincount(kind_of, minlength=len(kinds))
    strata = np.array([list(dict.fromkeys(c.stratum for c in table.columns)).index(c.stratum) for c in table.columns])
    problem = Problem(kinds, available, there, wishes, *_room(wishes, bounds, least), _weights(table, wish), strata)
    floor = floor_of(problem)
    allotted = improved(problem, start(problem, luck), floor, luck)
    part_of = fixed.copy()
    part_of[free] = _drawn(kind_of, allotted, luck)
    counts = there + allotted.T @ kinds
    made = StratifiedSplit(
        part_of, table.columns, counts, wishes, bounds, best=cost_of(problem, allotted) <= floor + SAME
    )
    _refuse_too_few(table, wish, made)
    return made


def _weights(table: GroupCounts, wish: SplitTarget) -> np.ndarray:
    given = {**WEIGHTS, **(wish.weights or {})}
    return np.array([given.get(column.stratum, 1.0) for column in table.columns])


def _wishes(table: GroupCounts, wish: SplitTarget) -> np.ndarray:
    """Return the wished number of cases, (parts, columns)."""
    fractions = np.asarray(wish.fractions, dtype=float)
    totals = table.counts.sum(axis=0)
    wishes = np.outer(fractions, totals)
    if not wish.targets:
        return wishes
    targeted = sorted(wish.targets)
    others = np.setdiff1d(np.arange(len(fractions)), targeted)
    for n, column in enumerate(table.columns):
        if column.stratum == CLASS:
            given = {part: wish.targets[part].get(column.value, wishes[part, n]) for part in targeted}
            wishes[targeted, n] = list(given.values())
            left = totals[n] - sum(given.values())
            if left < 0:
                raise _impossible(table, n, f"{sum(given.values())} cases are wished, there are {totals[n]}")
            wishes[others, n] = left * fractions[others] / fractions[others].sum()
    of_class = [column.stratum == CLASS for column in table.columns]
    share = wishes[:, of_class].sum(axis=1) / totals[of_class].sum()
    for n, column in enumerate(table.columns):
        if column.stratum != CLASS:
            wishes[:, n] = share * totals[n]
    return wishes


def integer_bound(wishes: np.ndarray, least: int = 0) -> float:
    """Return the least largest distance from these wishes that whole cases permit, no part below `least`.

    The wishes add up to a whole number. A distance d permits ceil(wish - d) to floor(wish + d) cases in a part; it
    will do if the sum lies between the sums of both.
    """
    total = round(float(wishes.sum()))
    part = wishes - np.floor(wishes)
    steps = np.arange(max(least, 1) + 1)
    for distance in np.unique(np.round(np.concatenate([np.add.outer(part, steps), np.add.outer(1 - part, steps)]), 9)):
        low, high = _room(wishes, distance, least)
        if (low <= high).all() and low.sum() <= total <= high.sum():
            return float(distance)
    return float("inf")


def _room(wishes: np.ndarray, distance: float | np.ndarray, least: int | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the fewest and the most cases that a distance permits."""
    low = np.maximum(np.ceil(wishes - distance - ROUNDING), least)
    return low.astype(np.int64), np.floor(wishes + distance + ROUNDING).astype(np.int64)


def _kinds(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the different rows of a table, and which of them each row is."""
    code = np.zeros(len(counts), dtype=np.int64)
    for column in counts.T:
        code = np.unique(code * (int(column.max(initial=0)) + 1) + column, return_inverse=True)[1]
    first, kind_of = np.unique(code, return_index=True, return_inverse=True)[1:]
    return counts[first], kind_of


def _drawn(kind_of: np.ndarray, allotted: np.ndarray, luck: np.random.Generator) -> np.ndarray:
    """Return each unit's part: of the units of a kind, the seed draws which go where."""
    order = np.lexsort((luck.random(len(kind_of)), kind_of))
    part_of = np.empty(len(kind_of), dtype=np.int64)
    part_of[order] = np.repeat(np.tile(np.arange(allotted.shape[1]), len(allotted)), allotted.ravel())
    return part_of


def _refuse_impossible(table: GroupCounts, wish: SplitTarget, wishes: np.ndarray) -> None:
    """Raise AllotmentError for what no search could find."""
    parts = len(wishes)
    if len(table.units) < parts:
        raise SplitError(
            f"{parts} parts are wished, and there are {len(table.units)} groups of patients",
            remedy="wish fewer parts or folds: a group stands in one part as a whole",
        )
    for n, column in enumerate(table.columns):
        if column.stratum != CLASS:
            continue
        largest = int(table.counts[:, n].max())
        holding = int((table.counts[:, n] > 0).sum())
        if wish.minimum and (holding < parts or table.counts[:, n].sum() < wish.minimum * parts):
            raise _impossible(table, n, f"at least {wish.minimum} cases are wished in each of {parts} parts")
        if not wish.uneven and largest > np.ceil(wishes[:, n].max() - ROUNDING):
            raise _impossible(table, n, f"no part is to have more than {wishes[:, n].max():.1f} cases of it")


def _refuse_too_few(table: GroupCounts, wish: SplitTarget, made: StratifiedSplit) -> None:
    for n, column in enumerate(table.columns):
        if column.stratum == CLASS and made.counts[:, n].min() < wish.minimum:
            found = f"at least {wish.minimum} cases are wished in every part, at best one has {made.counts[:, n].min()}"
            raise _impossible(table, n, found)


def _impossible(table: GroupCounts, n: int, why: str) -> SplitError:
    """Return the error that names a class and the largest unit that holds it."""
    of_class = table.counts[:, n]
    largest = int(of_class.argmax())
    patients = int(table.counts[largest, -1])
    return SplitError(
        f"class {table.columns[n].value} cannot be divided as wished: {why}; its {int(of_class.sum())} cases stand in "
        f"{int((of_class > 0).sum())} groups, {int(of_class[largest])} of them in the largest, which has "
        f"{patients} patient{'s' if patients > 1 else ''}",
        place=f"group {table.units[largest]}",
        remedy="wish other fractions, fewer parts or a smaller minimum; uneven = true takes it as near as can be",
    )
