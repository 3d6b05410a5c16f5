"""The search for how many groups of each profile go to each part: a greedy start, then small integer programmes.

Profiles, columns and parts are positions in arrays here; their names are in `stratified_split`.
"""

from typing import NamedTuple

import numpy as np
import scipy

# Every limit is one of work, never of time, so that every machine finds the same split.
FREE_CELLS = 750
"""Whole-number unknowns of one programme."""
PATIENCE = 8
"""Programmes in a row that improve nothing, after which the search ends."""
NODES = 60
"""Branches of one programme."""
SAME = 1e-6
"""Costs that differ by less are equal: the precision of the solver's arithmetic."""


class Problem(NamedTuple):
    """Groups of cases to be assigned to parts.

    `profiles` (profiles, columns) are the different counts that a group can have, `available` how many groups have
    each. `fixed` and `target` (parts, columns) are the cases of groups that must stay in a part, and the cases that are
    aimed at. `low` and `high` are the fewest and the most cases that the bounds permit, (parts, columns).
    """

    profiles: np.ndarray
    available: np.ndarray
    fixed: np.ndarray
    target: np.ndarray
    low: np.ndarray
    high: np.ndarray
    weights: np.ndarray
    strata: np.ndarray
    """Each column's stratum, as a number: first those of the study, then all cases, then patients."""


def greedy_start(problem: Problem, rng: np.random.Generator) -> np.ndarray:
    """Return how many groups of each profile go to each part, (profiles, parts).

    Every profile is divided in proportion; what is left goes, large groups first, to the part that lacks it most.
    """
    missing = problem.target - problem.fixed
    share = np.maximum(missing[:, -2], 0)
    assigned = np.floor(np.outer(problem.available, share / max(share.sum(), 1))).astype(np.int64)
    rest = np.repeat(np.arange(len(problem.profiles)), problem.available - assigned.sum(axis=1))
    size = np.ceil(np.log2(problem.profiles[rest, -2] + 1))
    order = rest[np.lexsort((rng.random(len(rest)), -size))]
    scale = problem.weights / np.maximum(problem.target.sum(axis=0), 1)
    missing = (missing - assigned.T @ problem.profiles) * scale
    for profile, counts in zip(order, problem.profiles[order], strict=True):
        part = int((missing @ counts).argmax())
        assigned[profile, part] += 1
        missing[part] -= counts * scale
    return assigned


def _excess(problem: Problem, assigned: np.ndarray) -> np.ndarray:
    """Return by how many cases each part goes beyond what the bounds permit, (parts, columns)."""
    counts = problem.fixed + assigned.T @ problem.profiles
    return np.maximum(np.maximum(counts - problem.high, problem.low - counts), 0)


def improved(problem: Problem, assigned: np.ndarray, least_cost: float, rng: np.random.Generator) -> np.ndarray:
    """Solve small integer programmes, each over some of the profiles, until none finds a lower cost."""
    cost, turn, idle = cost_of(problem, assigned), 0, 0
    while len(problem.profiles) and cost > least_cost + SAME and idle < PATIENCE:
        free = _free_profiles(problem, _excess(problem, assigned), turn, rng)
        trial = assigned.copy()
        trial[free] = _solved(problem, assigned, free, least_cost)
        trial_cost = cost_of(problem, trial)
        turn, idle = turn + 1, 0 if trial_cost < cost - SAME else idle + 1
        if trial_cost <= cost:
            assigned, cost = trial, trial_cost
    return assigned


def cost_of(problem: Problem, assigned: np.ndarray) -> float:
    """Return the weighted sum of the cases beyond the bounds."""
    return float((_excess(problem, assigned) * problem.weights).sum())


def least_cost_of(problem: Problem) -> float:
    """Return a cost that no assignment can fall below: the columns of every stratum add up to a part's cases.

    Groups are ignored, so a part may have any cases of a column. Unknowns: cases by column and part, excess of each.
    """
    parts, columns = problem.target.shape
    cells = parts * columns
    strata = np.unique(problem.strata)[:-2]
    alike = (problem.strata == strata[:, None]).astype(float)
    alike[:, columns - 2] = -1
    total = problem.fixed.sum(axis=0) + problem.available @ problem.profiles
    rows = scipy.sparse.block_array(
        [
            [scipy.sparse.eye_array(cells), -scipy.sparse.eye_array(cells)],
            [scipy.sparse.eye_array(cells), scipy.sparse.eye_array(cells)],
            [scipy.sparse.kron(scipy.sparse.eye_array(columns), np.ones((1, parts))), None],
            [scipy.sparse.kron(alike, scipy.sparse.eye_array(parts)), None],
        ],
        format="csr",
    )
    nothing, unlimited = np.zeros(len(strata) * parts), np.full(cells, np.inf)
    solution = scipy.optimize.milp(
        np.concatenate([np.zeros(cells), np.repeat(problem.weights, parts)]),
        integrality=np.repeat([1, 0], cells),
        bounds=scipy.optimize.Bounds(np.concatenate([problem.fixed.T.ravel(), np.zeros(cells)]), np.inf),
        constraints=scipy.optimize.LinearConstraint(
            rows,
            np.concatenate([-unlimited, problem.low.T.ravel(), total, nothing]),
            np.concatenate([problem.high.T.ravel(), unlimited, total, nothing]),
        ),
        options={"node_limit": NODES},
    )
    return max(solution.mip_dual_bound or 0.0, 0.0)


def _free_profiles(problem: Problem, excess: np.ndarray, turn: int, rng: np.random.Generator) -> np.ndarray:
    """Return the profiles to assign anew: small and frequent ones first, later at random, rather those with excess."""
    room = max(FREE_CELLS // len(problem.target), 2)
    if len(problem.profiles) <= room:
        return np.arange(len(problem.profiles))
    size = problem.profiles[:, -2]
    if not turn:
        return np.sort(np.lexsort((-problem.available, size))[:room])
    has_excess = problem.profiles[:, excess.any(axis=0)].any(axis=1)
    key = rng.random(len(size)) ** (size / (1 + 3 * has_excess))
    return np.sort(np.argsort(-key)[:room])


def _solved(problem: Problem, assigned: np.ndarray, free: np.ndarray, least_cost: float) -> np.ndarray:
    """Return the best assignment of the free profiles while the others stay: least weighted excess over the bounds.

    Unknowns: groups by profile and part, then the excess by part and column.
    """
    parts, columns = problem.target.shape
    profiles = problem.profiles[free]
    others = problem.fixed + assigned.T @ problem.profiles - assigned[free].T @ profiles
    cells, slack = len(free) * parts, parts * columns
    each = scipy.sparse.csr_array(np.kron(profiles.T, np.eye(parts)).reshape(columns * parts, cells))
    total = scipy.sparse.kron(scipy.sparse.eye_array(len(free)), np.ones((1, parts)))
    beyond = scipy.sparse.eye_array(slack)
    cost = np.repeat(problem.weights, parts)
    rows = scipy.sparse.block_array(
        [[each, -beyond], [each, beyond], [total, None], [None, cost[None, :]]], format="csr"
    )
    low, high = (problem.low - others).T.ravel(), (problem.high - others).T.ravel()
    unlimited = np.full(slack, np.inf)
    available = problem.available[free]
    solution = scipy.optimize.milp(
        np.concatenate([np.zeros(cells), cost]),
        integrality=np.concatenate([np.ones(cells), np.zeros(slack)]),
        bounds=scipy.optimize.Bounds(0, np.concatenate([np.repeat(available, parts), unlimited])),
        constraints=scipy.optimize.LinearConstraint(
            rows,
            np.concatenate([-unlimited, low, available, [least_cost - SAME]]),
            np.concatenate([high, unlimited, available, [np.inf]]),
        ),
        options={"node_limit": NODES},
    )
    if solution.x is None:
        return assigned[free]
    return np.rint(solution.x[:cells]).astype(np.int64).reshape(len(free), parts)
