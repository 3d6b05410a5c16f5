"""Tables that fit a terminal: columns get the room that their words need, and names may be broken at underscores."""

import re
from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Column, Table
from rich.text import Text

LONGEST = 40
"""Characters of a word that a column must have room for; a longer one is folded."""
BREAK = re.compile(r"(?<=[\s_])")
"""Where a text may be broken."""


class FittedTable(Table):
    """A table that breaks no word where there is room for all; else rich divides the room as it does."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Give each column its width, then draw the table."""
        texts = [[str(column.header), *map(str, column.cells)] for column in self.columns]
        least = [_least(column, own) for column, own in zip(self.columns, texts, strict=True)]
        if sum(least) + len(least) <= options.max_width:
            for column, width in zip(self.columns, _widths(texts, least, options.max_width), strict=True):
                column.width = width
                column.header = _in_width(column.header, width)
                column._cells = [_in_width(cell, width) for cell in column.cells]  # noqa: SLF001 - rich has no other way
        yield from super().__rich_console__(console, options)


def least_width(texts: Sequence[str]) -> int:
    """Return the characters of the longest piece of some texts; one that is too long for any column is folded."""
    return min(LONGEST, max((len(piece.rstrip()) for text in texts for piece in BREAK.split(text)), default=0))


def _least(column: Column, texts: list[str]) -> int:
    """Return what a column needs: numbers, which stand on the right, are never broken, but their heading is."""
    if column.justify != "right":
        return least_width(texts)
    return max(least_width(texts[:1]), *map(len, texts[1:]), 0)


def _widths(texts: list[list[str]], least: list[int], room: int) -> list[int]:
    """Return the width of each column: what it needs, and of the room left to those most that want least more."""
    widths, wanted = list(least), [max(map(len, own)) for own in texts]
    room -= sum(widths) + len(widths)
    order = sorted(range(len(widths)), key=lambda n: wanted[n] - widths[n])
    for position, n in enumerate(order):
        more = max(0, min(wanted[n] - widths[n], room // (len(order) - position)))
        widths[n] += more
        room -= more
    return widths


def _in_width(cell: RenderableType, width: int) -> RenderableType:
    """Return a cell in lines of at most so many characters, broken between its pieces; one with styles as it is."""
    if isinstance(cell, Text):
        return cell if cell.spans else Text(_folded(cell.plain, width), style=cell.style)
    return _folded(cell, width) if isinstance(cell, str) else cell


def _folded(text: str, width: int) -> str:
    lines = [""]
    for piece in BREAK.split(text):
        if len((lines[-1] + piece).rstrip()) > width and lines[-1]:
            lines.append("")
        lines[-1] += piece
    return "\n".join(each.rstrip(" ") for each in lines)
