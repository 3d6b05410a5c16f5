"""How a text, a number and a table look in a terminal; the streams they go to.

Refuses to know results. Every text from a study or an export is hostile here: control characters are made visible and
markup is never interpreted.
"""

import math
import shutil
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from toolkit.formatting import THIN

KEPT = "\n" + THIN
BAR = "─"
BAR_WIDTH = 11

stdout = Console(markup=False, highlight=False, emoji=False, soft_wrap=False)
stderr = Console(markup=False, highlight=False, emoji=False, stderr=True)


def plain(value: object) -> str:
    """Return a text that can do nothing to a terminal: control characters become visible."""
    return "".join(c if c.isprintable() or c in KEPT else f"\\x{ord(c):02x}" for c in str(value))


def interval_bar(value: float | None, low: float | None, high: float | None) -> str:
    """Return an interval on a scale from 0 to 1: "·····──●──··"."""
    if value is None or math.isnan(value):
        return ""
    cells = ["·"] * BAR_WIDTH
    place = [min(BAR_WIDTH - 1, int(x * BAR_WIDTH)) for x in (value, low, high) if x is not None and not math.isnan(x)]
    if len(place) == 3:
        cells[place[1] : place[2] + 1] = [BAR] * (place[2] - place[1] + 1)
    cells[place[0]] = "●"
    return "".join(cells)


def table(*columns: str, title: str | None = None) -> Table:
    """Return an empty table; a column named with a leading > is set to the right."""
    made = Table(
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
        made.add_column(column.removeprefix(">"), justify="right" if right else "left", overflow="fold", no_wrap=right)
    return made


def line(text: str, style: str = "") -> Text:
    """Return one line of hostile text, made plain."""
    return Text(plain(text), style=style)


def told(stage: str, *lines: str) -> Table:
    """Return a stage's name and what it has to say beside it; a line that starts with ! is a warning."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(width=8, no_wrap=True)
    grid.add_column(overflow="fold")
    for position, text in enumerate(lines):
        warning = text.startswith("! ")
        grid.add_row(
            Text("" if position else stage, "bold green"), line(text.removeprefix("! "), "yellow" if warning else "")
        )
    return grid


def program() -> str:
    """Return what to type for the toolkit here: its name, or its path where it is not on the PATH."""
    beside = Path(sys.executable).with_name("toolkit")
    if shutil.which("toolkit") or not beside.is_file():
        return "toolkit"
    return str(beside.relative_to(Path.cwd()) if beside.is_relative_to(Path.cwd()) else beside)


def unwrapped(text: str) -> Text:
    """Return one line that is never wrapped, so that what stands in it can be copied."""
    label, space, rest = plain(text).partition(" ")
    return Text.assemble((label + space, "dim"), (rest, "bold"), no_wrap=True, overflow="ignore")


def next_step(command: str) -> Text:
    """Return the line that says what to type next."""
    return unwrapped(f"next: {command}")
