"""The search for a confusion matrix of whole numbers for which all claims of a group are true at once.

A binary unknown per class and pair of counts says which true and false positives the class has; where claims are about
pairs of classes, a whole number per pair says how often one was taken for the other. A mean of shares is linear in the
binaries, whatever the share: so F1 and precision fit into a linear programme (HiGHS through `scipy.optimize.milp`).
"""

from itertools import combinations
from typing import NamedTuple

import numpy as np
import scipy

from toolkit.stages.claims.claims_file import ClaimSection
from toolkit.stages.claims.rounding import CLOSE, Range, Rounding
from toolkit.stats.metrics import RATES, ConfusionCounts, shares

MOST_STATES = 10_000
"""Binaries in a programme; with more a single node of the search may take minutes."""
WORK = 1_000_000
"""Nodes of the search tree times columns of the programme: work and not time, so that a verdict is the same on every
machine, whatever else runs there."""
FEWEST_NODES = 20
INFEASIBLE = 2
"""The solver's status."""
SCALE = 1_000.0
"""Size of a mean's coefficients, against the solver's tolerance of 1e-6."""
NEAR = 3
"""Cases by which a class's false negatives and false positives differ in the first search."""

Share = tuple[np.ndarray, np.ndarray]
"""Numerator and denominator."""


class States(NamedTuple):
    """The counts that classes may have, each field (S,); `class_index` says whose."""

    class_index: np.ndarray
    tp: np.ndarray
    fp: np.ndarray
    fn: np.ndarray
    tn: np.ndarray
    left_out: np.ndarray
    """Whether what is undefined here is left out of means; else it counts as 0."""
    undefined: np.ndarray
    """Whether any metric is."""

    def where(self, keep: np.ndarray) -> "States":
        """Return some of the states."""
        return States(*(column[keep] for column in self))

    def share(self, rate: str) -> Share:
        """Return a metric of each state."""
        return shares(ConfusionCounts(self.tp, self.fp, self.fn, self.tn))[rate]


class Solution(NamedTuple):
    """A matrix (C, C) for which all claims hold; None where there is none, or where that is not known."""

    matrix: np.ndarray | None
    known: bool
    reason: str = ""


NONE = Solution(None, known=True)
TOO_MANY = Solution(None, known=False, reason="too many counts are possible to search them all")


def possible(cases: dict[str, int], claims: list[ClaimSection], rounding: Rounding) -> States | None:
    """Return the counts that claims about each class, and means, leave open; None where there are too many.

    A class without any state contradicts the claims.
    """
    sides = []
    for name in cases:
        side = _class_states(cases, name, claims, rounding)
        if side is None:
            return None
        sides.append(side)
    class_index = np.repeat(np.arange(len(sides)), [len(side[0]) for side in sides])
    tp, fp, left_out, undefined = (np.concatenate(column) for column in zip(*sides, strict=True))
    own = np.array(list(cases.values()))[class_index]
    states = States(class_index, tp, fp, own - tp, sum(cases.values()) - own - fp, left_out, undefined)
    return states.where(_possible_beside_others(states, len(cases)))


def _possible_beside_others(states: States, classes: int) -> np.ndarray:
    """Tell where a class's misses can be the others' false positives, and its false positives the others' misses."""
    own = [states.class_index == k for k in range(classes)]
    most_fn, most_fp = (np.array([side[k].max(initial=0) for k in own]) for side in (states.fn, states.fp))
    others_fn, others_fp = ((most.sum() - most)[states.class_index] for most in (most_fn, most_fp))
    return (states.fn <= others_fp) & (states.fp <= others_fn)


def _class_states(
    cases: dict[str, int], name: str, claims: list[ClaimSection], rounding: Rounding
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None:
    """Return tp, fp, left_out and undefined of a class's states; None where there are far too many."""
    own, others = cases[name], sum(cases.values()) - cases[name]
    tp, fp = np.arange(own + 1), np.arange(others + 1)
    # recall rests on tp alone, specificity on fp alone: what they rule out need not be combined
    tp = tp[_allowed("recall", (tp, np.full_like(tp, own)), cases, name, claims, rounding)]
    fp = fp[_allowed("specificity", (others - fp, np.full_like(fp, others)), cases, name, claims, rounding)]
    if len(tp) * len(fp) > 100 * MOST_STATES:
        return None
    tp, fp = (side.ravel() for side in np.meshgrid(tp, fp, indexing="ij"))
    share = shares(ConfusionCounts(tp, fp, own - tp, others - fp))
    undefined = np.any([denominator == 0 for _, denominator in share.values()], axis=0)
    # a state with something undefined comes twice: counted as 0, and left out of means
    every = np.r_[np.arange(len(tp)), np.flatnonzero(undefined)]
    left_out = np.arange(len(every)) >= len(tp)
    keep = np.ones(len(every), dtype=bool)
    for rate, (numerator, denominator) in share.items():
        pair = numerator[every], denominator[every]
        keep &= _allowed(rate, pair, cases, name, claims, rounding)
        if any(claim.class_name == name and claim.rate == rate and claim.printed for claim in claims):
            keep &= ~(left_out & (pair[1] == 0))
    return tp[every][keep], fp[every][keep], left_out[keep], undefined[every][keep]


def _allowed(
    rate: str, share: Share, cases: dict[str, int], name: str, claims: list[ClaimSection], rounding: Rounding
) -> np.ndarray:
    """Tell which shares of a class no claim about it rules out, and no mean even if all other classes were perfect."""
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
            reached = weight * (1 - value) <= total * (1 - float(wanted.low)) + CLOSE
            keep &= ~defined | (reached & (weight * value <= total * float(wanted.high) + CLOSE))
    return keep


def solve(cases: dict[str, int], claims: list[ClaimSection], rounding: Rounding, *, effort: float = 1.0) -> Solution:
    """Return a matrix for which the claims hold, or that there is none, or that the search was too short.

    `effort` multiplies the nodes that are searched.
    """
    states = possible(cases, claims, rounding)
    if states is None:
        return TOO_MANY
    if len(np.unique(states.class_index)) < len(cases):
        return NONE
    # most printed figures fit a matrix whose classes lose about as many cases as they gain: there it is found soon
    near = states.where(np.abs(states.fn - states.fp) <= NEAR)
    if len(near.tp) < len(states.tp) and len(np.unique(near.class_index)) == len(cases):
        solution = _Programme(near, cases, claims, rounding).solved(effort=effort / 4)
        if solution.matrix is not None:
            return solution
    if len(states.tp) > MOST_STATES:
        return TOO_MANY
    return _Programme(states, cases, claims, rounding).solved(effort=effort)


def _objective(states: States, claims: list[ClaimSection], rounding: Rounding) -> np.ndarray:
    """Return how far each state is from the printed means: no claim, but it shows the solver where to look first."""
    distance = np.zeros(len(states.tp))
    for claim in claims:
        if claim.averaged and claim.printed and claim.rate in RATES:
            numerator, denominator = states.share(claim.rate)
            distance += np.abs(numerator / np.maximum(denominator, 1) - claim.printed.range(rounding).middle)
    return distance


class _Programme:
    """Rows of a linear programme over states, pairs of classes, and the convention for undefined values."""

    def __init__(self, states: States, cases: dict[str, int], claims: list[ClaimSection], rounding: Rounding) -> None:
        self.states, self.names, self.cases = states, list(cases), np.array(list(cases.values()))
        self.classes = len(cases)
        self.pairs = _pairs(self.classes) if any(claim.pairs for claim in claims) else []
        self.objective = _objective(states, claims, rounding)
        self.rows: list[scipy.sparse.csr_array] = []
        self.low: list[float] = []
        self.high: list[float] = []
        self._matrix()
        self._one_convention()
        for claim in claims:
            self._claim(claim, rounding)

    def _row(
        self, states: np.ndarray, low: float, high: float, *, pairs: np.ndarray | None = None, convention: float = 0
    ) -> None:
        """Add a row: coefficients of states, pairs and the convention, and the bounds of their sum."""
        pairs = np.zeros(len(self.pairs)) if pairs is None else pairs
        self.rows.append(scipy.sparse.csr_array(np.concatenate([states, pairs, [convention]])[None].astype(float)))
        self.low.append(low)
        self.high.append(high)

    def _matrix(self) -> None:
        """Require that each class is one state, and that a matrix with these false negatives and positives exists.

        It does where all false negatives are as many as all false positives, and no class has more of both than there
        are errors.
        """
        fn, fp = self.states.fn, self.states.fp
        rows, columns = np.array(self.pairs).reshape(-1, 2).T
        for k in range(self.classes):
            own = self.states.class_index == k
            self._row(own, 1, 1)
            self._row(own * (fn + fp) - fn, -np.inf, 0)
            if self.pairs:
                self._row(own * fn, 0, 0, pairs=-(rows == k).astype(float))
                self._row(own * fp, 0, 0, pairs=-(columns == k).astype(float))
        self._row(fn - fp, 0, 0)

    def _one_convention(self) -> None:
        """Require that undefined values are left out of all means, or count as 0 in all of them."""
        zero = self.states.undefined & ~self.states.left_out
        if zero.any():
            self._row(zero, -np.inf, 0, convention=-self.classes)
            left_out = self.states.undefined & self.states.left_out
            self._row(left_out, -np.inf, self.classes, convention=self.classes)

    def _claim(self, claim: ClaimSection, rounding: Rounding) -> None:
        """Require what a claim says beyond the states that it has ruled out."""
        if claim.pairs:
            self._most_confused([(self.names.index(one), self.names.index(other)) for one, other in claim.pairs])
        elif claim.rank:
            self._ranked(claim, self.names.index(str(claim.class_name)))
        elif claim.printed and claim.averaged:
            self._mean(claim, claim.printed.range(rounding))
        elif claim.printed and claim.classes:
            self._row(claim.printed.range(rounding).has(*self.states.share(claim.rate)), claim.classes, np.inf)

    def _mean(self, claim: ClaimSection, wanted: Range) -> None:
        numerator, denominator = self.states.share(claim.rate)
        value = numerator / np.maximum(denominator, 1)
        weights = {"macro": np.ones(len(value)), "weighted": self.cases[self.states.class_index], "micro": denominator}
        weight = weights[str(claim.averaged)] * ~(self.states.left_out & (denominator == 0))
        scale = SCALE / max(weight.max(), 1)
        self._row(weight * (value - float(wanted.low) + CLOSE) * scale, 0, np.inf)
        self._row(weight * (value - float(wanted.high) - CLOSE) * scale, -np.inf, 0)

    def _ranked(self, claim: ClaimSection, number: int) -> None:
        numerator, denominator = self.states.share(claim.rate)
        # an undefined value ranks nowhere: it is put at the end where it contradicts nothing
        value = np.where(denominator > 0, numerator / np.maximum(denominator, 1), float(claim.rank == "lowest"))
        low, high = (-CLOSE, np.inf) if claim.rank == "highest" else (-np.inf, CLOSE)
        for other in set(range(self.classes)) - {number}:
            difference = value * (self.states.class_index == number) - value * (self.states.class_index == other)
            self._row(difference * SCALE, low * SCALE, high * SCALE)

    def _most_confused(self, most: list[tuple[int, int]]) -> None:
        named = {frozenset(pair) for pair in most}
        for one in named:
            for other in {frozenset(pair) for pair in combinations(range(self.classes), 2)} - named:
                sides = [(frozenset(pair) == one) - (frozenset(pair) == other) for pair in self.pairs]
                self._row(np.zeros(len(self.states.tp)), 0, np.inf, pairs=np.array(sides, dtype=float))

    def solved(self, *, effort: float) -> Solution:
        """Return a matrix that meets all rows."""
        count = len(self.objective)
        nodes = max(FEWEST_NODES, int(effort * WORK / count))
        upper = np.concatenate([np.ones(count), np.full(len(self.pairs), self.cases.sum()), [1]])
        rows = scipy.optimize.LinearConstraint(scipy.sparse.vstack(self.rows), self.low, self.high)
        # without whole numbers first: a contradiction there is found at once
        if (
            scipy.optimize.milp(np.zeros(len(upper)), constraints=rows, bounds=scipy.optimize.Bounds(0, upper)).status
            == INFEASIBLE
        ):
            return NONE
        result = scipy.optimize.milp(
            np.concatenate([self.objective, np.zeros(len(self.pairs) + 1)]),
            constraints=rows,
            integrality=np.ones(len(upper)),
            bounds=scipy.optimize.Bounds(0, upper),
            options={"node_limit": nodes, "mip_rel_gap": 1e9},  # the first matrix will do
        )
        if result.x is None:
            ended = Solution(None, known=False, reason=f"no matrix was found in {nodes} nodes of the search")
            return NONE if result.status == INFEASIBLE else ended
        taken = result.x[:count] > 0.5
        if self.pairs:
            off_diagonal = np.rint(result.x[count:-1]).astype(int)
        else:
            off_diagonal = _off_diagonal(self.states.fn[taken], self.states.fp[taken])
        matrix = np.zeros((self.classes, self.classes), dtype=int)
        matrix[tuple(np.array(_pairs(self.classes)).T)] = off_diagonal
        np.fill_diagonal(matrix, self.cases - matrix.sum(axis=1))
        return Solution(matrix, known=True)


def _pairs(classes: int) -> list[tuple[int, int]]:
    return [(i, j) for i in range(classes) for j in range(classes) if i != j]


def _off_diagonal(fn: np.ndarray, fp: np.ndarray) -> np.ndarray:
    """Return how often each class is taken for each other one, from each one's false negatives and positives."""
    rows, columns = np.array(_pairs(len(fn))).T
    sides = [[side == k for k in range(len(fn))] for side in (rows, columns)]
    sums = np.concatenate([fn, fp])
    result = scipy.optimize.milp(
        np.zeros(len(rows)),
        constraints=scipy.optimize.LinearConstraint(np.concatenate(sides).astype(float), sums, sums),
        integrality=np.ones(len(rows)),
    )
    return np.rint(result.x).astype(int)
