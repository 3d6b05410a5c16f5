"""How a stage tells how far it is: a callback taking what is done, how many, and of how many.

Knows nothing of terminals: `console` draws, and the default is silence.
"""

from collections.abc import Callable

Progress = Callable[[str, int, int | None], None]


def silent(activity: str, done: int, total: int | None) -> None:
    """Report nothing: the default of every stage."""
