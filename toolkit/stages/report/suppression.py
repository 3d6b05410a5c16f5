"""Suppression of small cells in tables of counts, with the other cells that would reveal them.

A cell is small where it counts at least one and fewer than five patients. Linear programmes find which other cells must
be suppressed: a suppressed cell is revealed where the shown ones and their sums leave it only one possible count.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy

from toolkit.formatting import SMALLEST
from toolkit.stages.report.facts import CountCell

Place = tuple[Any, Any]
"""Row and column of a cell; None in one of them is the sum over it."""


def suppressed_cells(table: Mapping[Place, CountCell], *, diagonal: bool = False) -> set[Place]:
    """Return the cells to suppress: the small ones, and as few others as keep them from being worked out.

    Sums that stand in the table under None are taken as shown unless they are small themselves; with `diagonal` the
    sum of the cells whose row is their column is known too.
    """
    places = sorted(table, key=str)
    suppressed = {place for place in places if 0 < (table[place].patients or 0) < SMALLEST}
    sums = _sums(places, diagonal=diagonal)
    while (revealed := _revealed(table, suppressed, sums)) is not None:
        shown = [place for place in places if place not in suppressed]
        if not shown:
            return suppressed
        companions = [sum(place[side] == revealed[side] for place in suppressed) for side in (0, 1)]
        alone = companions.index(min(companions))
        near = [place for place in shown if place[alone] == revealed[alone]] or shown
        crossing = {place[1 - alone] for place in suppressed if place[alone] != revealed[alone]}
        suppressed.add(
            min(
                near,
                key=lambda place: (
                    None in place,  # sums last, then the diagonal
                    diagonal and place[0] == place[1],
                    place[1 - alone] not in crossing,  # what is suppressed there already helps
                    table[place].patients or 0,
                    str(place),
                ),
            )
        )
    return suppressed


def _sums(places: list[Place], *, diagonal: bool) -> list[dict[Place, int]]:
    """Return each known sum as the cells that enter it, with their signs; the cells of each add up to 0."""
    sums = []
    for side in (0, 1):
        for line in dict.fromkeys(place[side] for place in places):
            own = {place: -1 if place[1 - side] is None else 1 for place in places if place[side] == line}
            if -1 in own.values():
                sums.append(own)
    if diagonal:
        sums.append({place: 1 for place in places if place[0] == place[1] and place[0] is not None})
    return sums


def _revealed(table: Mapping[Place, CountCell], suppressed: set[Place], sums: list[dict[Place, int]]) -> Place | None:
    """Return a suppressed cell that can have one count only, given what is shown and that no count is below 0."""
    order = sorted(suppressed, key=str)
    for own in sums:
        alone = [place for place in order if place in own]
        if len(alone) == 1:  # no programme is needed to see it
            return alone[0]
    if not order:
        return None
    matrix = np.array([[own.get(place, 0) for place in order] for own in sums], dtype=float).reshape(-1, len(order))
    counts = np.array([table[place].cases for place in order], dtype=float)
    for number, place in enumerate(order):
        aim = np.eye(len(order))[number]
        least, most = (_extreme(sign * aim, matrix, matrix @ counts) for sign in (1, -1))
        if -most - least < 1:
            return place
    return None


def _extreme(aim: np.ndarray, matrix: np.ndarray, totals: np.ndarray) -> float:
    solution = scipy.optimize.linprog(aim, A_eq=matrix, b_eq=totals, bounds=(0, None))
    return float(solution.fun) if solution.status == 0 else -np.inf
