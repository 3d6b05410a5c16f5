"""How to search for the number of units of each kind in each part: a greedy start, then small integer programmes.

Knows nothing of names: kinds, columns and parts are places in arrays. Every limit is one of work, never of time, so
that every machine finds the same.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import block_array, csr_array, eye_array, kron

FREE_CELLS = 750
"""Whole-number unknowns of one programme."""
PATIENCE = 8
"""Programmes in a row that find nothing better."""
NODES = 60
"""Branches of one programme."""
SAME = 1e-6
"""Costs that are no further apart are the same: what the solver's arithmetic is good for."""


class Problem(NamedTuple):
    """Kinds (kinds, columns) and how many units there are of each; what already stands in the parts; what is wished.

    `low` and `high` are the fewest and the most cases that the bounds permit, (parts, columns).
    """

    kinds: np.ndarray
    available: np.ndarray
    there: np.ndarray
    wishes: np.ndarray
    low: np.ndarray
    high: np.ndarray
    weights: np.ndarray
    strata: np.ndarray
    """Each column's stratum, as a number: first those of the study, then all cases, then patients."""


def start(problem: Problem, luck: np.random.Generator) -> np.ndarray:
    """Share out every kind in proportion; then the rest, large units first, where they are missed most."""
    missing = problem.wishes - problem.there
    share = np.maximum(missing[:, -2], 0)
    allotted = np.floor(np.outer(problem.available, share / max(share.sum(), 1))).astype(np.int64)
    rest = np.repeat(np.arange(len(problem.kinds)), problem.available - allotted.sum(axis=1))
    size = np.ceil(np.log2(problem.kinds[rest, -2] + 1))
    order = rest[np.lexsort((luck.random(len(rest)), -size))]
    scale = problem.weights / np.maximum(problem.wishes.sum(axis=0), 1)
    missing = (missing - allotted.T @ problem.kinds) * scale
    for kind, unit in zip(order, problem.kinds[order], strict=True):
        part = int((missing @ unit).argmax())
        allotted[kind, part] += 1
        missing[part] -= unit * scale
    return allotted


def _excess(problem: Problem, allotted: np.ndarray) -> np.ndarray:
    """Return by how many cases each part goes beyond what the bounds permit, (parts, columns)."""
    counts = problem.there + allotted.T @ problem.kinds
    return np.maximum(np.maximum(counts - problem.high, problem.low - counts), 0)


def improved(problem: Problem, allotted: np.ndarray, floor: float, luck: np.random.Generator) -> np.ndarray:
    """Solve small integer programmes, each over some of the kinds, until no cheaper allotment can be or is found."""
    cost, turn, idle = cost_of(problem, allotted), 0, 0
    while len(problem.kinds) and cost > floor + SAME and idle < PATIENCE:
        free = _chosen(problem, _excess(problem, allotted), turn, luck)
        trial = allotted.copy()
        trial[free] = _programme(problem, allotted, free, floor)
        found = cost_of(problem, trial)
        turn, idle = turn + 1, 0 if found < cost - SAME else idle + 1
        if found <= cost:
            allotted, cost = trial, found
    return allotted


def cost_of(problem: Problem, allotted: np.ndarray) -> float:
    """Return what an allotment's cases beyond the bounds cost together."""
    return float((_excess(problem, allotted) * problem.weights).sum())


def floor_of(problem: Problem) -> float:
    """Return what any allotment costs at least: the columns of every stratum add up to the same cases in each part.

    Units are forgotten, so a part may have any cases of a column. Unknowns: cases by column and part, excess of each.
    """
    parts, columns = problem.wishes.shape
    cells = parts * columns
    strata = np.unique(problem.strata)[:-2]
    alike = (problem.strata == strata[:, None]).astype(float)
    alike[:, columns - 2] = -1
    whole = problem.there.sum(axis=0) + problem.available @ problem.kinds
    rows = block_array(
        [
            [eye_array(cells), -eye_array(cells)],
            [eye_array(cells), eye_array(cells)],
            [kron(eye_array(columns), np.ones((1, parts))), None],
            [kron(alike, eye_array(parts)), None],
        ],
        format="csr",
    )
    nothing, unlimited = np.zeros(len(strata) * parts), np.full(cells, np.inf)
    found = milp(
        np.concatenate([np.zeros(cells), np.repeat(problem.weights, parts)]),
        integrality=np.repeat([1, 0], cells),
        bounds=Bounds(np.concatenate([problem.there.T.ravel(), np.zeros(cells)]), np.inf),
        constraints=LinearConstraint(
            rows,
            np.concatenate([-unlimited, problem.low.T.ravel(), whole, nothing]),
            np.concatenate([problem.high.T.ravel(), unlimited, whole, nothing]),
        ),
        options={"node_limit": NODES},
    )
    return max(found.mip_dual_bound or 0.0, 0.0)


def _chosen(problem: Problem, excess: np.ndarray, turn: int, luck: np.random.Generator) -> np.ndarray:
    """Return the kinds to allot anew: small and frequent ones first, later such as touch what is off, by lot."""
    room = max(FREE_CELLS // len(problem.wishes), 2)
    if len(problem.kinds) <= room:
        return np.arange(len(problem.kinds))
    size = problem.kinds[:, -2]
    if not turn:
        return np.sort(np.lexsort((-problem.available, size))[:room])
    off = problem.kinds[:, excess.any(axis=0)].any(axis=1)
    key = luck.random(len(size)) ** (size / (1 + 3 * off))
    return np.sort(np.argsort(-key)[:room])


def _programme(problem: Problem, allotted: np.ndarray, free: np.ndarray, floor: float) -> np.ndarray:
    """Return the best allotment of the free kinds while the others stay: least weighted excess over the bounds.

    Unknowns: units by kind and part, then the excess by part and column.
    """
    parts, columns = problem.wishes.shape
    kinds = problem.kinds[free]
    fixed = problem.there + allotted.T @ problem.kinds - allotted[free].T @ kinds
    cells, slack = len(free) * parts, parts * columns
    each = csr_array(np.kron(kinds.T, np.eye(parts)).reshape(columns * parts, cells))
    whole = kron(eye_array(len(free)), np.ones((1, parts)))
    beyond = eye_array(slack)
    cost = np.repeat(problem.weights, parts)
    rows = block_array([[each, -beyond], [each, beyond], [whole, None], [None, cost[None, :]]], format="csr")
    low, high = (problem.low - fixed).T.ravel(), (problem.high - fixed).T.ravel()
    unlimited = np.full(slack, np.inf)
    available = problem.available[free]
    found = milp(
        np.concatenate([np.zeros(cells), cost]),
        integrality=np.concatenate([np.ones(cells), np.zeros(slack)]),
        bounds=Bounds(0, np.concatenate([np.repeat(available, parts), unlimited])),
        constraints=LinearConstraint(
            rows,
            np.concatenate([-unlimited, low, available, [floor - SAME]]),
            np.concatenate([high, unlimited, available, [np.inf]]),
        ),
        options={"node_limit": NODES},
    )
    if found.x is None:
        return allotted[free]
    return np.rint(found.x[:cells]).astype(np.int64).reshape(len(free), parts)
