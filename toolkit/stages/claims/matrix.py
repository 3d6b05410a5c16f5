"""Whether whole numbers can stand in a confusion matrix so that all claims of a group come true at once.

Refuses to know where claims come from. One binary unknown per class, hits and false alarms says which of them is so;
where claims are about pairs of classes, a whole number per pair says how often one was taken for the other. A mean of
shares is linear in the binaries, whatever the share: that is what makes F1 and precision fit into a linear programme
(HiGHS through `scipy.optimize.milp`).
"""

from itertools import combinations
from typing import NamedTuple

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array, vstack

from toolkit.stages.claims.printed import CLOSE, Range, Rounding
from toolkit.stages.claims.stated import ClaimSection
from toolkit.stats.metrics import RATES, ConfusionCounts, shares

MOST_STATES = 10_000
"""Binaries in a programme; with more the solver may run far past its time."""
INFEASIBLE = 2
"""The solver's word for it."""
SCALE = 1_000.0
"""Size of a mean's coefficients, against the solver's tolerance of 1e-6."""


class States(NamedTuple):
    """What may be of a class: its hits and false alarms, each (S,)."""

    of: np.ndarray
    """The class."""
    hit: np.ndarray
    false_alarm: np.ndarray
    missed: np.ndarray
    left_out: np.ndarray
    """Whether what is undefined here is left out of means; else it counts as 0."""
    undefined: np.ndarray
    """Whether anything is."""
    shares: dict[str, tuple[np.ndarray, np.ndarray]]


class Solution(NamedTuple):
    """A matrix (C, C) for which all claims hold; None where there is none, or where nobody knows."""

    matrix: np.ndarray | None
    known: bool
    reason: str = ""


NONE = Solution(None, known=True)
TOO_MANY = Solution(None, known=False, reason="too many counts are possible to try them")
NEAR = 3
"""Cases by which a class's misses and false alarms differ in the first search."""


def possible(cases: dict[str, int], claims: list[ClaimSection], rounding: Rounding) -> States | None:
    """Return what each class may be by the claims about it, and by what means leave open; None where it is too much.

    A class without any entry contradicts the claims.
    """
    sides = [_of_class(cases, name, claims, rounding) for name in cases]
    if any(side is None for side in sides):
        return None
    made = [side for side in sides if side is not None]
    of = np.repeat(np.arange(len(made)), [len(side[0]) for side in made])
    hit, false_alarm, left_out, undefined = (np.concatenate(column) for column in zip(*made, strict=True))
    own = np.array(list(cases.values()))[of]
    outcome = ConfusionCounts(hit, false_alarm, own - hit, sum(cases.values()) - own - false_alarm)
    states = States(of, hit, false_alarm, own - hit, left_out, undefined, shares(outcome))
    return _kept_states(states, _possible_beside_others(states, len(cases)))


def _possible_beside_others(states: States, classes: int) -> np.ndarray:
    """Say where a class's misses can be the others' false alarms, and its false alarms the others' misses."""
    each = [states.of == k for k in range(classes)]
    missed, alarms = (
        np.array([side[own].max(initial=0) for own in each]) for side in (states.missed, states.false_alarm)
    )
    return (states.missed <= (alarms.sum() - alarms)[states.of]) & (
        states.false_alarm <= (missed.sum() - missed)[states.of]
    )


def _of_class(
    cases: dict[str, int], name: str, claims: list[ClaimSection], rounding: Rounding
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None:
    own, everyone = cases[name], sum(cases.values())
    hits, alarms = np.arange(own + 1), np.arange(everyone - own + 1)
    # recall rests on hits alone, specificity on false alarms alone: what they rule out need not be combined
    hits = hits[_kept("recall", (hits, np.full_like(hits, own)), cases, name, claims, rounding)]
    others = np.full_like(alarms, everyone - own)
    alarms = alarms[_kept("specificity", (others - alarms, others), cases, name, claims, rounding)]
    if len(hits) * len(alarms) > 100 * MOST_STATES:
        return None
    hit, alarm = (side.ravel() for side in np.meshgrid(hits, alarms, indexing="ij"))
    found = shares(ConfusionCounts(hit, alarm, own - hit, everyone - own - alarm))
    undefined = np.any([denominator == 0 for _, denominator in found.values()], axis=0)
    twice = np.flatnonzero(undefined)
    hit, alarm = np.r_[hit, hit[twice]], np.r_[alarm, alarm[twice]]
    left_out = np.arange(len(hit)) >= len(undefined)
    undefined = np.r_[undefined, undefined[twice]]
    keep = np.ones(len(hit), dtype=bool)
    for rate, share in shares(ConfusionCounts(hit, alarm, own - hit, everyone - own - alarm)).items():
        keep &= _kept(rate, share, cases, name, claims, rounding) & ~(
            left_out & (share[1] == 0) & _is_printed(rate, name, claims)
        )
    return hit[keep], alarm[keep], left_out[keep], undefined[keep]


def _is_printed(rate: str, name: str, claims: list[ClaimSection]) -> bool:
    return any(claim.class_name == name and claim.rate == rate and claim.printed for claim in claims)


def _kept(
    rate: str,
    share: tuple[np.ndarray, np.ndarray],
    cases: dict[str, int],
    name: str,
    claims: list[ClaimSection],
    rounding: Rounding,
) -> np.ndarray:
    """Say which of a class's shares no claim about it rules out, and no mean even if all other classes were perfect."""
    keep = np.ones(len(share[0]), dtype=bool)
    defined = share[1] > 0
    for claim in claims:
        if claim.rate != rate or claim.printed is None:
            continue
        wanted = claim.printed.range(rounding)
        if claim.class_name == name:
            keep &= wanted.has(*share)
        elif claim.averaged in ("macro", "weighted"):
            weight, total = (1, len(cases)) if claim.averaged == "macro" else (cases[name], sum(cases.values()))
            value = share[0] / np.maximum(share[1], 1)
            missing = weight * (1 - value) <= total * (1 - float(wanted.low)) + CLOSE
            keep &= ~defined | (missing & (weight * value <= total * float(wanted.high) + CLOSE))
    return keep


def solve(cases: dict[str, int], claims: list[ClaimSection], rounding: Rounding, *, seconds: float) -> Solution:
    """Return a matrix for which the claims hold, or say that there is none, or that the time was too short."""
    states = possible(cases, claims, rounding)
    if states is None:
        return TOO_MANY
    if len(np.unique(states.of)) < len(cases):
        return NONE
    # most printed figures fit a matrix whose classes lose about as many cases as they gain: there it is found soon
    near = _kept_states(states, np.abs(states.missed - states.false_alarm) <= NEAR)
    if len(near.of) < len(states.of) and len(np.unique(near.of)) == len(cases):
        found = _solved(near, cases, claims, rounding, seconds=seconds / 4)
        if found.matrix is not None:
            return found
    return TOO_MANY if len(states.of) > MOST_STATES else _solved(states, cases, claims, rounding, seconds=seconds)


def _kept_states(states: States, keep: np.ndarray) -> States:
    shares = {name: (above[keep], below[keep]) for name, (above, below) in states.shares.items()}
    return States(*(column[keep] for column in states[:-1]), shares)


def _solved(
    states: States, cases: dict[str, int], claims: list[ClaimSection], rounding: Rounding, *, seconds: float
) -> Solution:
    counts = np.array(list(cases.values()))
    programme = _Programme(states, len(cases), with_pairs=any(claim.pairs for claim in claims))
    programme.matrix()
    programme.one_convention()
    for claim in claims:
        programme.claim(claim, list(cases), counts, rounding)
    return programme.solved(_towards(states, claims, rounding), counts, seconds=seconds)


def _towards(states: States, claims: list[ClaimSection], rounding: Rounding) -> np.ndarray:
    """Return how far each state is from the printed means: no claim, but it shows the solver where to look first."""
    away = np.zeros(len(states.of))
    for claim in claims:
        if claim.averaged and claim.printed and claim.rate in RATES:
            wanted = claim.printed.range(rounding)
            numerator, denominator = states.shares[claim.rate]
            away += np.abs(numerator / np.maximum(denominator, 1) - float(wanted.low + wanted.high) / 2)
    return away


class _Programme:
    """Rows of a linear programme over states, pairs of classes, and the convention about what is undefined."""

    def __init__(self, states: States, classes: int, *, with_pairs: bool) -> None:
        self.states = states
        self.classes = classes
        self.pairs = _pairs(classes) if with_pairs else []
        self.rows: list[csr_array] = []
        self.low: list[float] = []
        self.high: list[float] = []

    def row(self, states: np.ndarray, low: float, high: float, pairs: np.ndarray | None = None, z: float = 0) -> None:
        """Add a row of coefficients of states, pairs and the convention."""
        pairs = np.zeros(len(self.pairs)) if pairs is None else pairs
        self.rows.append(csr_array(np.concatenate([states, pairs, [z]])[None].astype(float)))
        self.low.append(low)
        self.high.append(high)

    def matrix(self) -> None:
        """Say that each class is one state, and that a matrix with these misses and false alarms exists.

        It does where all misses are as many as all false alarms, and no class has more of both than there are errors.
        """
        rows, columns = np.array(self.pairs).reshape(-1, 2).T
        for k in range(self.classes):
            own = self.states.of == k
            self.row(own, 1, 1)
            self.row(own * (self.states.missed + self.states.false_alarm) - self.states.missed, -np.inf, 0)
            if self.pairs:
                self.row(own * self.states.missed, 0, 0, -(rows == k).astype(float))
                self.row(own * self.states.false_alarm, 0, 0, -(columns == k).astype(float))
        self.row(self.states.missed - self.states.false_alarm, 0, 0)

    def one_convention(self) -> None:
        """Say that what is undefined is left out of all means, or counts as 0 in all of them."""
        zero = self.states.undefined & ~self.states.left_out
        if zero.any():
            self.row(zero, -np.inf, 0, z=-self.classes)
            self.row(self.states.undefined & self.states.left_out, -np.inf, self.classes, z=self.classes)

    def claim(self, claim: ClaimSection, classes: list[str], cases: np.ndarray, rounding: Rounding) -> None:
        """Add what a claim says beyond the states that it has ruled out."""
        if claim.pairs:
            self._most_confused([(classes.index(one), classes.index(other)) for one, other in claim.pairs])
        elif claim.rank:
            self._ranked(claim, classes.index(str(claim.class_name)))
        elif claim.printed and claim.averaged:
            self._mean(claim, cases, claim.printed.range(rounding))
        elif claim.printed and claim.classes:
            self.row(claim.printed.range(rounding).has(*self.states.shares[claim.rate]), claim.classes, np.inf)

    def _mean(self, claim: ClaimSection, cases: np.ndarray, wanted: Range) -> None:
        numerator, denominator = self.states.shares[claim.rate]
        value = numerator / np.maximum(denominator, 1)
        weight = {
            "macro": np.ones(len(value)),
            "weighted": cases[self.states.of],
            "micro": denominator,
        }[str(claim.averaged)] * ~(self.states.left_out & (denominator == 0))
        scale = SCALE / max(weight.max(), 1)
        self.row(weight * (value - float(wanted.low) + CLOSE) * scale, 0, np.inf)
        self.row(weight * (value - float(wanted.high) - CLOSE) * scale, -np.inf, 0)

    def _ranked(self, claim: ClaimSection, number: int) -> None:
        numerator, denominator = self.states.shares[claim.rate]
        # an undefined value ranks nowhere: it is put at the end where it contradicts nothing
        value = np.where(denominator > 0, numerator / np.maximum(denominator, 1), float(claim.rank == "lowest"))
        for other in set(range(self.classes)) - {number}:
            difference = value * (self.states.of == number) - value * (self.states.of == other)
            low, high = (-CLOSE, np.inf) if claim.rank == "highest" else (-np.inf, CLOSE)
            self.row(difference * SCALE, low * SCALE, high * SCALE)

    def _most_confused(self, most: list[tuple[int, int]]) -> None:
        named = {frozenset(pair) for pair in most}
        for one in named:
            for other in {frozenset(pair) for pair in combinations(range(self.classes), 2)} - named:
                sides = [(frozenset(pair) == one) - (frozenset(pair) == other) for pair in self.pairs]
                self.row(np.zeros(len(self.states.of)), 0, np.inf, np.array(sides, dtype=float))

    def solved(self, away: np.ndarray, cases: np.ndarray, *, seconds: float) -> Solution:
        """Solve it."""
        count = len(away)
        most = np.concatenate([np.ones(count), np.full(len(self.pairs), cases.sum()), [1]])
        rows = LinearConstraint(vstack(self.rows), self.low, self.high)
        # without whole numbers first: what contradicts itself already there is told at once
        if milp(np.zeros(len(most)), constraints=rows, bounds=Bounds(0, most)).status == INFEASIBLE:
            return NONE
        found = milp(
            np.concatenate([away, np.zeros(len(self.pairs) + 1)]),
            constraints=rows,
            integrality=np.ones(len(most)),
            bounds=Bounds(0, most),
            options={"time_limit": seconds, "mip_rel_gap": 1e9},  # the first matrix will do
        )
        if found.x is None:
            late = Solution(None, known=False, reason=f"nothing found in {seconds:g} s")
            return NONE if found.status == INFEASIBLE else late
        taken = found.x[:count] > 0.5
        if self.pairs:
            off = np.rint(found.x[count:-1]).astype(int)
        else:
            off = _off_diagonal(self.states.missed[taken], self.states.false_alarm[taken])
        matrix = np.zeros((self.classes, self.classes), dtype=int)
        for (i, j), times in zip(_pairs(self.classes), off, strict=True):
            matrix[i, j] = times
        np.fill_diagonal(matrix, cases - matrix.sum(axis=1))
        return Solution(matrix, known=True)


def _pairs(classes: int) -> list[tuple[int, int]]:
    return [(i, j) for i in range(classes) for j in range(classes) if i != j]


def _off_diagonal(missed: np.ndarray, false_alarm: np.ndarray) -> np.ndarray:
    """Return how often each class is taken for each other one, given each one's misses and false alarms."""
    rows, columns = np.array(_pairs(len(missed))).T
    sides = [[side == k for k in range(len(missed))] for side in (rows, columns)]
    given = np.concatenate([missed, false_alarm])
    found = milp(
        np.zeros(len(rows)),
        constraints=LinearConstraint(np.concatenate(sides).astype(float), given, given),
        integrality=np.ones(len(rows)),
    )
    return np.rint(found.x).astype(int)
