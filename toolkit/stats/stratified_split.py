"""Stratified group splits: whole groups are assigned to parts, and every stratum comes as near its target as it can.

A group is a patient, or several linked ones. Any table of cases can be split with `count_groups` and
`stratified_group_split`; which patients belong together is decided in `stages/split/groups.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from toolkit.errors import SplitError
from toolkit.stats.split_search import SAME, Problem, cost_of, greedy_start, improved, least_cost_of

CLASS, TOTAL, PATIENTS = "class", "all cases", "patients"
"""The stratum that goes before all others, and the two that are always balanced beside it."""
WEIGHTS = {CLASS: 1000.0, TOTAL: 20.0, PATIENTS: 0.2}
"""What a case beyond the bound costs; strata of a study cost their own weight, 1 unless it is given."""
ROUNDING = 1e-9
NO_NAME = {"", "nan", "none", "nat", "<na>"}
"""What missing values are as texts."""


class Column(NamedTuple):
    """One stratum's value: what is counted in a column of a table."""

    stratum: str
    value: str


@dataclass(frozen=True)
class GroupCounts:
    """A table of groups × columns: how many cases of each group have each value of each stratum.

    `group_of` gives each case's row, `groups` the row's name.
    """

    groups: np.ndarray
    group_of: np.ndarray
    columns: tuple[Column, ...]
    counts: np.ndarray


@dataclass(frozen=True)
class StratumBalance:
    """A column's cases in each part beside the target; `bound` is the least distance that whole cases permit."""

    stratum: str
    value: str
    cases: int
    counts: tuple[int, ...]
    target: tuple[float, ...]
    bound: float
    distance: float


@dataclass(frozen=True)
class StratifiedSplit:
    """Each group's part, as its index; `counts` and `target` are parts × columns, `bounds` one per column.

    A bound is the least largest distance from the target that whole cases permit.
    """

    part_of: np.ndarray
    columns: tuple[Column, ...]
    counts: np.ndarray
    target: np.ndarray
    bounds: np.ndarray
    best: bool
    """Whether no other split is closer to the target: what is beyond a bound is forced by strata that weigh more."""

    def strata(self) -> list[StratumBalance]:
        """Return how near every column came to its target: the largest distance over the parts, in cases."""
        distances = np.abs(self.counts - self.target).max(axis=0)
        return [
            StratumBalance(
                *column,
                int(self.counts[:, n].sum()),
                tuple(self.counts[:, n].tolist()),
                tuple(np.round(self.target[:, n], 6).tolist()),
                round(float(self.bounds[n]), 6),
                round(float(distances[n]), 6),
            )
            for n, column in enumerate(self.columns)
        ]


@dataclass(frozen=True)
class SplitTarget:
    """The parts that a split aims at.

    `fractions` has one share per part and adds up to 1; `counts` sets exact numbers of cases, by part and class, and
    the rest of such a class is divided among the other parts by their fractions. `minimum` is the least number of cases
    of every class in every part. A class of which one group holds more than any part should have is refused, unless
    `uneven`.
    """

    fractions: Sequence[float]
    minimum: int = 0
    weights: Mapping[str, float] | None = None
    counts: Mapping[int, Mapping[str, int]] | None = None
    uneven: bool = False


def count_groups(
    groups: Sequence[str], strata: Mapping[str, Sequence[str]], *, patients: Sequence[str] | None = None
) -> GroupCounts:
    """Return the table of groups and strata from one entry per case; `class` is the stratum that goes first.

    `patients` names each case's patient where a group may have several: patients are then balanced, else groups are.
    Raises SplitError where an entry names no group, patient or class (None, NaN, NaT, an empty text, or such a value
    turned into a text), with their number and the first row: one group of all such cases would be none.

    >>> table = count_groups(["p1", "p1", "p2", "p3"], {"class": ["nevus", "melanoma", "nevus", "nevus"]})
    >>> [column.value for column in table.columns if column.stratum == "class"]
    ['melanoma', 'nevus']
    >>> table.counts[:, :2].tolist()
    [[1, 1], [0, 1], [0, 1]]
    """
    for what, units in (("group", groups), ("patient", patients), (CLASS, strata.get(CLASS))):
        _check_named(what, () if units is None else units)
    names, group_of = np.unique(np.asarray(groups), return_inverse=True)
    columns: list[Column] = []
    counts = []
    for stratum, values in strata.items():
        known, value_of = np.unique(np.asarray(values), return_inverse=True)
        flat = np.bincount(group_of * len(known) + value_of, minlength=len(names) * len(known))
        counts.append(flat.reshape(len(names), len(known)))
        columns += [Column(stratum, str(value)) for value in known]
    counts.append(np.bincount(group_of)[:, None])
    first = np.arange(len(names)) if patients is None else group_of[np.unique(patients, return_index=True)[1]]
    counts.append(np.bincount(first, minlength=len(names))[:, None])
    columns += [Column(TOTAL, ""), Column(PATIENTS, "")]
    return GroupCounts(names, group_of, tuple(columns), np.hstack(counts).astype(np.int64))


def _check_named(what: str, units: Sequence[object]) -> None:
    missing = [row for row, unit in enumerate(units) if _is_missing(unit)]
    if missing:
        raise SplitError(
            f"{len(missing)} of {len(units)} entries name no {what}; the first is in row {missing[0]}, counted from 0",
            remedy=f"leave these cases out, or find out their {what}",
        )


def _is_missing(unit: object) -> bool:
    try:
        return unit is None or bool(unit != unit) or str(unit).strip().casefold() in NO_NAME  # noqa: PLR0124 - NaN
    except TypeError:  # pandas.NA is neither equal to itself nor unequal
        return True


def stratified_group_split(
    table: GroupCounts, target: SplitTarget, *, seed: int, fixed: np.ndarray | None = None
) -> StratifiedSplit:
    """Assign every group to a part; the same table, target and seed give the same parts.

    `fixed` has a part's index for each group that must stay in it, -1 for the others. Groups with the same counts are
    interchangeable: how many of each such profile go to which part is found by a greedy start and small integer
    programmes, which of them is drawn by the seed. Raises SplitError where the target cannot be met.

    >>> patients, classes = [f"p{n // 2}" for n in range(40)], ["nevus", "melanoma"] * 20
    >>> made = stratified_group_split(
    ...     count_groups(patients, {"class": classes}), SplitTarget([0.6, 0.2, 0.2]), seed=7
    ... )
    >>> made.counts[:, :2].tolist(), made.best
    ([[12, 12], [4, 4], [4, 4]], True)
    """
    fixed = np.full(len(table.groups), -1) if fixed is None else fixed
    free = np.flatnonzero(fixed < 0)
    wanted = _target_counts(table, target)
    least = np.array([target.minimum if column.stratum == CLASS else 0 for column in table.columns])
    _refuse_impossible(table, target, wanted)
    bounds = np.array([integer_bound(wanted[:, n], least[n]) for n in range(len(table.columns))])
    profiles, profile_of = _profiles(table.counts[free])
    problem = Problem(
        profiles,
        np.bincount(profile_of, minlength=len(profiles)),
        np.array([table.counts[fixed == part].sum(axis=0) for part in range(len(wanted))]),
        wanted,
        *_room(wanted, bounds, least),
        _weights(table, target),
        _stratum_numbers(table),
    )
    rng = np.random.default_rng(seed)
    least_cost = least_cost_of(problem)
    assigned = improved(problem, greedy_start(problem, rng), least_cost, rng)
    part_of = fixed.copy()
    part_of[free] = _drawn_parts(profile_of, assigned, rng)
    counts = problem.fixed + assigned.T @ profiles
    _refuse_too_few(table, target, counts)
    return StratifiedSplit(
        part_of, table.columns, counts, wanted, bounds, best=cost_of(problem, assigned) <= least_cost + SAME
    )


def _weights(table: GroupCounts, target: SplitTarget) -> np.ndarray:
    weights = {**WEIGHTS, **(target.weights or {})}
    return np.array([weights.get(column.stratum, 1.0) for column in table.columns])


def _stratum_numbers(table: GroupCounts) -> np.ndarray:
    strata = list(dict.fromkeys(column.stratum for column in table.columns))
    return np.array([strata.index(column.stratum) for column in table.columns])


def _target_counts(table: GroupCounts, target: SplitTarget) -> np.ndarray:
    """Return the number of cases that each part should have, (parts, columns)."""
    fractions = np.asarray(target.fractions, dtype=float)
    totals = table.counts.sum(axis=0)
    wanted = np.outer(fractions, totals)
    if not target.counts:
        return wanted
    exact = sorted(target.counts)
    others = np.setdiff1d(np.arange(len(fractions)), exact)
    for n, column in enumerate(table.columns):
        if column.stratum == CLASS:
            cases = {part: target.counts[part].get(column.value, wanted[part, n]) for part in exact}
            wanted[exact, n] = list(cases.values())
            left = totals[n] - sum(cases.values())
            if left < 0:
                raise _impossible(table, n, f"the target asks for {sum(cases.values())} cases, there are {totals[n]}")
            wanted[others, n] = left * fractions[others] / fractions[others].sum()
    of_class = [column.stratum == CLASS for column in table.columns]
    share = wanted[:, of_class].sum(axis=1) / totals[of_class].sum()
    for n, column in enumerate(table.columns):
        if column.stratum != CLASS:
            wanted[:, n] = share * totals[n]
    return wanted


def integer_bound(wanted: np.ndarray, least: int = 0) -> float:
    """Return the least largest distance from these target counts that whole cases permit, no part below `least`.

    The target counts add up to a whole number. A distance d permits ceil(target - d) to floor(target + d) cases in a
    part; it will do if the sum lies between the sums of both.
    """
    total = round(float(wanted.sum()))
    part = wanted - np.floor(wanted)
    steps = np.arange(max(least, 1) + 1)
    for distance in np.unique(np.round(np.concatenate([np.add.outer(part, steps), np.add.outer(1 - part, steps)]), 9)):
        low, high = _room(wanted, distance, least)
        if (low <= high).all() and low.sum() <= total <= high.sum():
            return float(distance)
    return float("inf")


def _room(wanted: np.ndarray, distance: float | np.ndarray, least: int | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the fewest and the most cases that a distance permits."""
    low = np.maximum(np.ceil(wanted - distance - ROUNDING), least)
    return low.astype(np.int64), np.floor(wanted + distance + ROUNDING).astype(np.int64)


def _profiles(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the different rows of a table, and which of them each row is."""
    code = np.zeros(len(counts), dtype=np.int64)
    for column in counts.T:
        code = np.unique(code * (int(column.max(initial=0)) + 1) + column, return_inverse=True)[1]
    first, profile_of = np.unique(code, return_index=True, return_inverse=True)[1:]
    return counts[first], profile_of


def _drawn_parts(profile_of: np.ndarray, assigned: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return each group's part: of the groups of a profile, the seed draws which go where."""
    order = np.lexsort((rng.random(len(profile_of)), profile_of))
    part_of = np.empty(len(profile_of), dtype=np.int64)
    part_of[order] = np.repeat(np.tile(np.arange(assigned.shape[1]), len(assigned)), assigned.ravel())
    return part_of


def _refuse_impossible(table: GroupCounts, target: SplitTarget, wanted: np.ndarray) -> None:
    """Raise SplitError for what no search could find."""
    parts = len(wanted)
    if len(table.groups) < parts:
        raise SplitError(
            f"the split should have {parts} subsets, but there are only {len(table.groups)} groups of patients",
            remedy="choose fewer subsets or folds: a group is never divided",
        )
    for n, column in enumerate(table.columns):
        if column.stratum != CLASS:
            continue
        largest = int(table.counts[:, n].max())
        holding = int((table.counts[:, n] > 0).sum())
        if target.minimum and (holding < parts or table.counts[:, n].sum() < target.minimum * parts):
            raise _impossible(table, n, f"each of {parts} subsets needs at least {target.minimum} cases of it")
        if not target.uneven and largest > np.ceil(wanted[:, n].max() - ROUNDING):
            raise _impossible(table, n, f"no subset should have more than {wanted[:, n].max():.1f} cases of it")


def _refuse_too_few(table: GroupCounts, target: SplitTarget, counts: np.ndarray) -> None:
    for n, column in enumerate(table.columns):
        if column.stratum == CLASS and (fewest := counts[:, n].min()) < target.minimum:
            why = f"each subset needs at least {target.minimum} cases of it; in the best split found one has {fewest}"
            raise _impossible(table, n, why)


def _impossible(table: GroupCounts, n: int, why: str) -> SplitError:
    """Return the error that names a class and the largest group that holds it."""
    of_class = table.counts[:, n]
    largest = int(of_class.argmax())
    patients = int(table.counts[largest, -1])
    return SplitError(
        f"class {table.columns[n].value} cannot be divided as the target asks: {why}; its {int(of_class.sum())} cases "
        f"are in {int((of_class > 0).sum())} groups, {int(of_class[largest])} of them in the largest, which has "
        f"{patients} patient{'s' if patients > 1 else ''}",
        place=f"group {table.groups[largest]}",
        remedy="choose other fractions, fewer subsets or a smaller minimum; uneven = true accepts the nearest split",
    )
