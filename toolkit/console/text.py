"""The terminal's streams, and the texts, tables and bars that are printed to them.

Text from a study or an export may be hostile: control characters are made visible and markup is never interpreted.
"""

import math
import shlex
import shutil
import sys
import textwrap
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from toolkit.console.fitting import FittedTable
from toolkit.formatting import THIN, TYPED, in_units

KEPT = "\n" + THIN
NAME = "bold green"
BAR = "─"
BAR_WIDTH = 11

stdout = Console(markup=False, highlight=False, emoji=False, soft_wrap=False)
stderr = Console(markup=False, highlight=False, emoji=False, stderr=True)


def plain(value: object) -> str:
    """Return a text with its control characters made visible, so that it cannot control the terminal."""
    return "".join(c if c.isprintable() or c in KEPT else f"\\x{ord(c):02x}" for c in str(value))


def interval_bar(value: float | None, low: float | None, high: float | None) -> str:
    """Return an interval on a scale from 0 to 1: "·····──●──··"."""
    if value is None or math.isnan(value):
        return ""
    cells = ["·"] * BAR_WIDTH
    known = [x for x in (value, low, high) if x is not None and not math.isnan(x)]
    columns = [min(BAR_WIDTH - 1, int(x * BAR_WIDTH)) for x in known]
    if len(columns) == 3:
        cells[columns[1] : columns[2] + 1] = [BAR] * (columns[2] - columns[1] + 1)
    cells[columns[0]] = "●"
    return "".join(cells)


def table(*columns: str, title: str | None = None) -> Table:
    """Return an empty table; a column named with a leading > is aligned to the right. Names and title are our own."""
    columns, title = tuple(map(in_units, columns)), title and in_units(title)
    empty = FittedTable(
        title=title,
        title_justify="left",
        box=None,
        padding=(0, 1, 0, 0),
        title_style="bold",
        header_style="dim",
        caption_justify="left",
    )
    for column in columns:
        right = column.startswith(">")
        empty.add_column(column.removeprefix(">"), justify="right" if right else "left", overflow="fold", no_wrap=right)
    return empty


def line(text: str, style: str = "") -> Text:
    """Return a text that may be hostile as one that can be printed."""
    return Text(plain(text), style=style)


def summary(stage: str, *lines: str) -> Table:
    """Return a stage's name with lines beside it; a line that starts with "! " is a warning."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(width=8, no_wrap=True)
    grid.add_column(overflow="fold")
    for position, text in enumerate(lines):
        warning = text.startswith("! ")
        label = Text("!", "yellow", justify="right") if warning and position else Text("" if position else stage, NAME)
        grid.add_row(label, line(text.removeprefix("! "), "yellow" if warning else ""))
    return grid


def unwrapped(text: str) -> Text:
    """Return a line that is never wrapped, so that the path or command in it can be copied."""
    label, space, rest = plain(text).partition(" ")
    return Text.assemble((label + space, "dim"), (rest, "bold"), no_wrap=True, overflow="ignore")


def next_step(command: str) -> Text:
    """Return the line that shows the command to type next, with the toolkit's path where that has to be typed."""
    return unwrapped(f"next: {to_type(command)}")


def to_type(command: str) -> str:
    """Return a command as it has to be typed: with the toolkit's path where it needs one, and the options in use."""
    options = [(name, value) for name, value in TYPED.get({}).items() if name not in command.split()]
    typed = "".join(f" {name} {shlex.quote(value)}" for name, value in options)
    return f"{_program()}{typed}{command.removeprefix('toolkit')}"


def wrapped(text: str, width: int, *, before: int) -> str:
    """Return a text in lines of at most so many characters; what is longer stays whole.

    `before` characters stand before it on its first line; those after it are indented by nine.
    """
    lines = textwrap.TextWrapper(width, break_long_words=False, break_on_hyphens=False)
    lines.initial_indent, lines.subsequent_indent = " " * before, " " * 9
    return lines.fill(text)[before:]


def _program() -> str:
    """Return the toolkit's name, or its path where it is not on the PATH."""
    beside = Path(sys.executable).with_name("toolkit")
    if shutil.which("toolkit") or not beside.is_file():
        return "toolkit"
    return shlex.quote(str(beside.relative_to(Path.cwd()) if beside.is_relative_to(Path.cwd()) else beside))
