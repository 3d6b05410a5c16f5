"""All faults of a file of predictions, in one list by kind with row numbers."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from toolkit.errors import PredictionsError, ToolkitError

SHOWN = 5
"""Rows that a message names of each kind."""
PLAIN = re.compile(r"[\w .%+-]{1,60}", re.ASCII)
LONGEST = 60
"""Characters of a cell that a message shows."""


class Faults:
    """The faults of a file. Rows are counted from 1 below the header; `named` says more of a row than its number."""

    def __init__(self, named: Callable[[int], str] | None = None) -> None:
        self.kinds: dict[str, list[str]] = {}
        self.named = named or (lambda _: "")

    def add(self, kind: str, row: int, says: str = "", *, column: str = "") -> None:
        """Note a fault of a row, of one of its columns, with the rest of a sentence that begins with them."""
        inside = ", ".join(filter(None, (self.named(row), column and plain_name(column))))
        words = (f"row {row}", f"({inside})" if inside else "", says)
        self.kinds.setdefault(kind, []).append(" ".join(filter(None, words)))

    def __len__(self) -> int:
        """Return how many there are."""
        return sum(map(len, self.kinds.values()))

    def check(
        self,
        path: Path,
        *,
        rows: int,
        remedy: str,
        what: str = "predictions",
        error: type[ToolkitError] = PredictionsError,
    ) -> None:
        """Raise an error with every kind of fault, the first rows of each and their number."""
        if self.kinds:
            lines = "\n".join(f"  - {_line(kind, places)}" for kind, places in self.kinds.items())
            count = "a fault" if len(self) == 1 else f"{len(self)} faults"
            raise error(
                f"the {what} cannot be used, {count} in {rows} rows (counted from 1 below the header):\n{lines}",
                place=str(path),
                remedy=remedy,
            )


def _line(kind: str, places: list[str]) -> str:
    more = f"; and {len(places) - SHOWN} more" if len(places) > SHOWN else ""
    return f"{kind}: {'; '.join(places[:SHOWN])}{more}"


def shown(text: str) -> str:
    """Return a cell or a column's name as a message shows it: short, between quotes, without control characters.

    >>> shown("p_mel"), shown("x" * 100)[-4:]
    ("'p_mel'", "x …'")
    """
    return ascii(text if len(text) <= LONGEST else f"{text[:LONGEST]} …").replace("\\u2026", "…")


def plain_name(column: str) -> str:
    """Return a column's name as it is where it is an ordinary one, else as `shown` shows it."""
    return column if PLAIN.fullmatch(column) else shown(column)


def names(columns: Iterable[str]) -> str:
    """Return some columns' names as a message shows them; of many the first."""
    some = list(columns)
    more = f" and {len(some) - SHOWN} more" if len(some) > SHOWN else ""
    return ", ".join(map(plain_name, some[:SHOWN])) + more
