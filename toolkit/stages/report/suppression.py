"""Which cells of a table of counts must stay hidden, so that no small one can be seen or worked out.

Knows nothing of reports. A cell is small where it counts at least one and fewer than five patients. What else must be
hidden is found by linear programmes: a hidden cell is told where the shown ones and their sums leave it one count only.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.optimize import linprog

from toolkit.formatting import SMALLEST
from toolkit.stages.report.facts import CountCell

Place = tuple[Any, Any]
"""Row and column of a cell; None in one of them is the sum over it."""


def hidden(table: Mapping[Place, CountCell], *, diagonal: bool = False) -> set[Place]:
    """Return the cells to hide: the small ones, and as few others as keep them from being worked out.

    Sums that stand in the table under None are taken as shown unless they are small themselves; with `diagonal` the
    sum of the cells whose row is their column is known too.
    """
    places = sorted(table, key=str)
    kept_back = {place for place in places if 0 < (table[place].patients or 0) < SMALLEST}
    sums = _sums(places, diagonal=diagonal)
    while (told := _told(table, kept_back, sums)) is not None:
        shown = [place for place in places if place not in kept_back]
        if not shown:
            return kept_back
        companions = [sum(place[side] == told[side] for place in kept_back) for side in (0, 1)]
        alone = companions.index(min(companions))
        near = [place for place in shown if place[alone] == told[alone]] or shown
        crossing = {place[1 - alone] for place in kept_back if place[alone] != told[alone]}
        kept_back.add(
            min(
                near,
                key=lambda place: (
                    None in place,  # sums last, then the diagonal
                    diagonal and place[0] == place[1],
                    place[1 - alone] not in crossing,  # what is hidden there already helps to hide it
                    table[place].patients or 0,
                    str(place),
                ),
            )
        )
    return kept_back


def _sums(places: list[Place], *, diagonal: bool) -> list[dict[Place, int]]:
    """Return each known sum as the cells that enter it, with their signs; the cells of each add up to 0."""
    found = []
    for side in (0, 1):
        for line in dict.fromkeys(place[side] for place in places):
            own = {place: -1 if place[1 - side] is None else 1 for place in places if place[side] == line}
            if -1 in own.values():
                found.append(own)
    if diagonal:
        found.append({place: 1 for place in places if place[0] == place[1] and place[0] is not None})
    return found


def _told(table: Mapping[Place, CountCell], kept_back: set[Place], sums: list[dict[Place, int]]) -> Place | None:
    """Return a hidden cell that can have one count only, given what is shown and that no count is below 0."""
    order = sorted(kept_back, key=str)
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
    found = linprog(aim, A_eq=matrix, b_eq=totals, bounds=(0, None))
    return float(found.fun) if found.status == 0 else -np.inf
