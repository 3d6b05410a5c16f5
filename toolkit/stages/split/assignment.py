"""The assignment of cases to train, validation and test set: fractions, exact counts, folds, a held-out test set.

The algorithm is in `stats/stratified_split`.
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
from toolkit.workspace.certificate import EXTERNAL, PARTS, Shares

TRAIN, VALIDATION, TEST = range(3)


class SplitAssignment(NamedTuple):
    """Each case's part, the target share of every stratum's value in each of PARTS, and whether the split is optimal.

    `best` refers to what was free: with an earlier split to the other groups, with a held-out test set to both steps.
    """

    parts: list[str]
    shares: Shares
    best: bool


def assign(
    cases: list[SplitCase], section: SplitSection, *, seed: int, fixed: Mapping[str, str]
) -> list[SplitAssignment]:
    """Return one assignment, or one for each fold; `fixed` is the part of groups that must stay in it."""
    table = _group_counts(cases, list(section.strata))
    if section.external:
        shares = {tuple(column): (1.0,) for column in table.columns}
        return [SplitAssignment([*EXTERNAL] * len(cases), shares, best=True)]
    if section.folds:
        return _folds(table, section, folds=section.folds, seed=seed)
    if section.held_out_first and not fixed:
        return [_held_out(table, section, seed=seed)]
    stay = np.array([PARTS.index(fixed[group]) if group in fixed else -1 for group in table.groups])
    return [_assignment(table, stratified_group_split(table, _target(section), seed=seed, fixed=stay))]


def _group_counts(cases: list[SplitCase], strata: list[str]) -> GroupCounts:
    """Return the table of groups and strata."""
    named = {name: [case.strata[n] for case in cases] for n, name in enumerate(strata)}
    return count_groups(
        [case.group_id for case in cases],
        {CLASS: [case.class_name for case in cases], **named},
        patients=[case.patient_id for case in cases],
    )


def _target(section: SplitSection, fractions: list[float] | None = None, parts: list[int] | None = None) -> SplitTarget:
    """Return a study's target for train, validation and test, or for other fractions.

    `parts` says which of train, validation and test each fraction stands for, so that exact counts go there.
    """
    exact = {PARTS.index(part): counts for part, counts in section.targets.items()}
    parts = [TRAIN, VALIDATION, TEST] if parts is None else parts
    return SplitTarget(
        [getattr(section, part) for part in PARTS] if fractions is None else fractions,
        minimum=section.minimum,
        weights=section.strata,
        counts={place: exact[part] for place, part in enumerate(parts) if part in exact},
        uneven=section.uneven,
    )


def _assignment(table: GroupCounts, made: StratifiedSplit, role: np.ndarray | None = None) -> SplitAssignment:
    """Return what a split means for cases; `role` says which of PARTS each of its parts is, if not the same."""
    role = np.arange(len(PARTS)) if role is None else role
    target = np.array([made.target[role == part].sum(axis=0) for part in range(len(PARTS))])
    totals = made.target.sum(axis=0)
    shares = {tuple(column): tuple(target[:, n] / totals[n]) for n, column in enumerate(table.columns)}
    return SplitAssignment([PARTS[part] for part in role[made.part_of][table.group_of]], shares, made.best)


def _held_out(table: GroupCounts, section: SplitSection, *, seed: int) -> SplitAssignment:
    """Draw the test set from all groups, then divide the rest; the first draw does not depend on how that is done."""
    share = 1 - section.test
    first = stratified_group_split(table, _target(section, [share, section.test], [-1, TEST]), seed=seed)
    is_test = first.part_of == 1
    rest = GroupCounts(table.groups[~is_test], table.group_of, table.columns, table.counts[~is_test])
    fractions = [section.train / share, section.validation / share]
    second = stratified_group_split(rest, _target(section, fractions, [TRAIN, VALIDATION]), seed=seed)
    part_of = np.full(len(table.groups), TEST)
    part_of[~is_test] = second.part_of
    whole = _assignment(table, stratified_group_split(table, _target(section), seed=seed, fixed=part_of))
    return whole._replace(best=first.best and second.best)


def _folds(table: GroupCounts, section: SplitSection, *, folds: int, seed: int) -> list[SplitAssignment]:
    """Divide all but the test set into folds; each is the validation set of an assignment of its own."""
    fractions = [(1 - section.test) / folds] * folds + [section.test]
    made = stratified_group_split(table, _target(section, fractions, [-1] * folds + [TEST]), seed=seed)
    roles = np.full((folds, folds + 1), TRAIN)
    np.fill_diagonal(roles, VALIDATION)
    roles[:, -1] = TEST
    return [_assignment(table, made, role) for role in roles]
