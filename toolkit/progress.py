"""The callback through which a stage reports its progress: activity, items done, items in total if known."""

from collections.abc import Callable

Progress = Callable[[str, int, int | None], None]


def silent(activity: str, done: int, total: int | None) -> None:
    """Report nothing: the default of every stage."""
