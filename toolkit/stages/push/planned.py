"""A call that is planned: what a dry run shows, and what is then sent."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from toolkit.workspace.pushes import DONE, PushItem, PushJournal

Items = list[PushItem]


class PlannedCall(NamedTuple):
    """The items of one call, and what it sends for them."""

    operation: str
    target: str
    items: Items
    payload: Callable[[Items], dict[str, Any]]


def left_of(journal: PushJournal, calls: Iterable[PlannedCall]) -> tuple[list[dict[str, Any]], int]:
    """Return what the calls that are left send, and how many things were sent before."""
    left, before = [], 0
    for call in calls:
        items = [item for item in call.items if journal.state(call.operation, call.target, item) not in DONE]
        before += len(call.items) - len(items)
        if items:
            left.append(call.payload(items))
    return left, before
