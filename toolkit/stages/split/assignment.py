"""How a study's wish becomes parts: fractions, folds, targets, a test part that is drawn first.

Refuses to know where cases come from.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from toolkit.manifest.cohort import SplitSection
from toolkit.stages.split.groups import SplitCase
from toolkit.stats.stratified_split import (
    CLASS,
    GroupCounts,
    SplitTarget,
    StratifiedSplit,
    count_groups,
    stratified_group_split,
)
from toolkit.workspace.certificate import EXTERNAL, PARTS

TRAIN, VALIDATION, TEST = range(3)


class SplitAssignment(NamedTuple):
    """Each case's part, the wished share of every stratum's value in each of PARTS, and whether nothing is nearer.

    `best` is said of what was free: with a kept split of the others' places, with a held-out test of each of two steps.
    """

    parts: list[str]
    shares: dict[tuple[str, str], tuple[float, ...]]
    best: bool


def assign(
    cases: list[SplitCase], section: SplitSection, *, seed: int, fixed: Mapping[str, str]
) -> list[SplitAssignment]:
    """Return one placing, or one for each fold; `fixed` is the part of groups that must stay in it."""
    table = group_counts_of(cases, list(section.strata))
    if section.external:
        return [
            SplitAssignment([*EXTERNAL] * len(cases), {tuple(column): (1.0,) for column in table.columns}, best=True)
        ]
    kept = np.array([PARTS.index(fixed[unit]) if unit in fixed else -1 for unit in table.units])
    wish = target_of(section)
    if section.folds:
        return _folds(table, section, wish, seed=seed)
    if section.held_out_first and not fixed:
        return [_held_out(table, section, wish, seed=seed)]
    return [_placing(table, stratified_group_split(table, wish, seed=seed, fixed=kept))]


def group_counts_of(cases: list[SplitCase], strata: list[str]) -> GroupCounts:
    """Return the table of groups and strata."""
    named = {name: [case.strata[n] for case in cases] for n, name in enumerate(strata)}
    return count_groups(
        [case.group_id for case in cases],
        {CLASS: [case.class_name for case in cases], **named},
        beside=[case.patient_id for case in cases],
    )


def target_of(section: SplitSection) -> SplitTarget:
    """Return a study's wish for train, validation and test."""
    return SplitTarget(
        [getattr(section, part) for part in PARTS],
        minimum=section.minimum,
        weights=section.strata,
        targets={PARTS.index(part): counts for part, counts in section.targets.items()},
        uneven=section.uneven,
    )


def _placing(table: GroupCounts, made: StratifiedSplit) -> SplitAssignment:
    totals = made.wish.sum(axis=0)
    shares = {tuple(column): tuple(made.wish[:, n] / totals[n]) for n, column in enumerate(table.columns)}
    return SplitAssignment([PARTS[part] for part in made.part_of[table.unit_of]], shares, made.best)


def _held_out(table: GroupCounts, section: SplitSection, wish: SplitTarget, *, seed: int) -> SplitAssignment:
    """Draw test from all groups and share out the rest, both without a look at how the rest is to be divided."""
    targets = {1: wish.targets[TEST]} if wish.targets and TEST in wish.targets else {}
    first = SplitTarget([1 - section.test, section.test], section.minimum, section.strata, targets, section.uneven)
    drawn = stratified_group_split(table, first, seed=seed)
    is_test = drawn.part_of == 1
    rest = GroupCounts(table.units[~is_test], table.unit_of, table.columns, table.counts[~is_test])
    share = 1 - section.test
    targets = {part: counts for part, counts in (wish.targets or {}).items() if part != TEST}
    fractions = [section.train / share, section.validation / share]
    second = SplitTarget(fractions, section.minimum, section.strata, targets, section.uneven)
    part_of = np.full(len(table.units), TEST)
    shared = stratified_group_split(rest, second, seed=seed)
    part_of[~is_test] = shared.part_of
    whole = _placing(table, stratified_group_split(table, wish, seed=seed, fixed=part_of))
    return whole._replace(best=drawn.best and shared.best)


def _folds(table: GroupCounts, section: SplitSection, wish: SplitTarget, *, seed: int) -> list[SplitAssignment]:
    """Cut what is not test into folds; each validates in a placing of its own, the others train."""
    folds = section.folds or 0
    targets = {folds: wish.targets[TEST]} if wish.targets and TEST in wish.targets else {}
    fractions = [(1 - section.test) / folds] * folds + [section.test]
    made = stratified_group_split(
        table, SplitTarget(fractions, section.minimum, section.strata, targets, section.uneven), seed=seed
    )
    totals = made.wish.sum(axis=0)
    placings = []
    for fold in range(folds):
        role = np.array([VALIDATION if part == fold else TRAIN for part in range(folds)] + [TEST])
        wished = np.array([made.wish[role == part].sum(axis=0) for part in range(3)])
        shares = {tuple(column): tuple(wished[:, n] / totals[n]) for n, column in enumerate(table.columns)}
        parts = [PARTS[part] for part in role[made.part_of][table.unit_of]]
        placings.append(SplitAssignment(parts, shares, made.best))
    return placings
