"""Knows which cells of a table of counts must stay hidden, so that no small one can be seen or worked out.

Knows nothing of reports. A cell is small where it counts at least one and fewer than five patients. What else must be
hidden is found by linear algebra: a hidden cell is given away where the sums that are shown determine it.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from toolkit.report.facts import Cell
from toolkit.report.wording import SMALLEST

Place = tuple[Any, Any]
"""Row and column of a cell; None in one of them is the sum over it."""


def hidden(table: Mapping[Place, Cell], *, diagonal: bool = False) -> set[Place]:
    """Return the cells to hide: the small ones, and as few others as keep them from being worked out.

    Sums that stand in the table under None are taken as shown unless they are small themselves; with `diagonal` the
    sum of the cells whose row is their column is known too.
    """
    places = sorted(table, key=str)
    kept_back = {place for place in places if 0 < (table[place].patients or 0) < SMALLEST}
    sums = _sums(places, diagonal=diagonal)
    while given_away := _given_away(kept_back, sums):
        row, column = given_away[0]
        near = [p for p in places if p not in kept_back and (p[0] == row or p[1] == column)] or [
            p for p in places if p not in kept_back
        ]
        if not near:
            return kept_back
        kept_back.add(min(near, key=lambda place: _price(table[place], place)))
    return kept_back


def _price(cell: Cell, place: Place) -> tuple[bool, bool, int, str]:
    """Return what it costs to hide a cell: sums last, empty cells before them, else the fewest patients first."""
    return None in place, not cell.patients, cell.patients or 0, str(place)


def _sums(places: list[Place], *, diagonal: bool) -> list[dict[Place, int]]:
    """Return each known sum as the cells that enter it, with their signs."""
    found = []
    for side in (0, 1):
        for line in dict.fromkeys(place[side] for place in places):
            own = {place: -1 if place[1 - side] is None else 1 for place in places if place[side] == line}
            if -1 in own.values():
                found.append(own)
    if diagonal:
        found.append({place: 1 for place in places if place[0] == place[1] and place[0] is not None})
    return found


def _given_away(kept_back: set[Place], sums: list[dict[Place, int]]) -> list[Place]:
    """Return the hidden cells that the shown ones determine."""
    order = sorted(kept_back, key=str)
    if not order:
        return []
    matrix = np.array([[own.get(place, 0) for place in order] for own in sums], dtype=float).reshape(-1, len(order))
    free = np.eye(len(order)) - np.linalg.pinv(matrix) @ matrix
    return [place for place, row in zip(order, free, strict=True) if np.abs(row).max() < 1e-9]
