"""The kind of each column, by all its cells: numbers, dates, times, true or false, or text; and its values as texts."""

import math
import re
from datetime import date, datetime
from functools import partial
from typing import NamedTuple

from toolkit.csv_files import cell_text
from toolkit.labelbox_json.similar_ids import NOBODY
from toolkit.prediction_files.faults import SHOWN, Faults
from toolkit.stages.attach.table import FORMULA, OwnTable

LONGEST = 1_000
"""Characters of a text."""
MOSTLY = 0.8
"""Share of a column's cells from which those that are of another kind are named."""
NUMBER = re.compile(
    r"[+-]?(?:0|[1-9]\d*)?(?:(?<=\d)|(?=[.,]\d))(?:[.,]\d+)?(?:e[+-]?\d{1,3})?", re.ASCII | re.IGNORECASE
)
"""A number with a decimal point or comma; what has leading zeros is a code."""
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}", re.ASCII)
ISO = re.compile(r"\d{4}-\d{2}-\d{2}(?:[ T]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?)?", re.ASCII)
DOTTED = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})", re.ASCII)
SLASHED = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})", re.ASCII)
MIDNIGHT = "T00:00:00"
TRUE = ("true", "yes", "y", "ja", "j", "wahr", "oui", "sí", "vrai", "vero", "verdadero")
FALSE = ("false", "no", "n", "nein", "falsch", "non", "faux", "falso")
NOTHING = frozenset(("nan", "na", "n/a", "#n/a", "<na>", "nat", "null", "nil"))
"""What programs write into an empty cell; in a column of text, people's words (none, unknown) are values."""
ERRORS = frozenset(("#ref!", "#value!", "#name?", "#num!", "#div/0!", "#null!"))
MINUS = "\N{MINUS SIGN}"


class Typed(NamedTuple):
    """The values of columns as texts, one for each row, "" where there is none; their kinds; what is to be said."""

    values: dict[str, list[str]]
    kinds: dict[str, str]
    notes: list[str]


def is_bare_value(text: str) -> bool:
    """Tell whether a cell is a number or a date, and no words."""
    return bool(_bare(text)) and any(p.fullmatch(_bare(text)) for p in (NUMBER, ISO, DOTTED, SLASHED))


def typed(table: OwnTable, fields: dict[str, list[str]], places: list[int], faults: Faults) -> Typed:
    """Return the values of columns by their kinds; note cells that are no values.

    Looked at are the rows at `places`; a column without any value is left out.
    """
    values, kinds, notes = {}, {}, []
    for name, texts in fields.items():
        cells = {at: text for at in places if (text := _checked(table.numbers[at], name, texts[at], faults))}
        column = _Column(name, table.numbers, cells, faults)
        if kept := column.values():
            kinds[name], values[name] = column.kind, [kept.get(at, "") for at in range(len(texts))]
        notes += column.notes
    return Typed(values, kinds, notes)


def _checked(number: int, name: str, cell: str, faults: Faults) -> str:
    """Return a cell as one line without what spreadsheets and the toolkit's own CSV put before it."""
    text = " ".join(cell_text(cell).split())
    if text.startswith("="):
        faults.add(FORMULA, number, column=name)
    elif text.casefold() in ERRORS:
        faults.add("an error of a spreadsheet", number, column=name)
    elif len(text) > LONGEST:
        faults.add("a text too long", number, f"has {len(text):,} characters, {LONGEST:,} can be kept", column=name)
    elif not text.isprintable():
        faults.add("a control character", number, column=name)
    return "" if text.casefold() in NOTHING else text


class _Column:
    """Reads the filled cells of a column, by their places, as the first kind that all of them are."""

    def __init__(self, name: str, numbers: list[int], cells: dict[int, str], faults: Faults) -> None:
        self.name, self.numbers, self.cells, self.faults = name, numbers, cells, faults
        self.kind, self.notes = "text", []

    def values(self) -> dict[int, str]:
        """Return the value of each cell as text, and set the kind."""
        filled = {at: text for at, text in self.cells.items() if text.casefold() not in NOBODY}
        is_day_first = any(int(found[1]) > 12 for text in filled.values() if (found := SLASHED.fullmatch(text)))
        time = partial(_time, is_day_first=is_day_first)
        for kind, read in (("boolean", _boolean), ("number", _number), ("time", time)):
            found = {at: value for at, text in filled.items() if (value := read(_bare(text))) is not None}
            if filled and len(found) == len(filled):
                return self._as(kind, found, filled)
            if len(found) >= MOSTLY * len(filled) and filled:
                self._say(kind, [self.numbers[at] for at in filled if at not in found])
        return self.cells

    def _as(self, kind: str, values: dict[int, str], filled: dict[int, str]) -> dict[int, str]:
        self.kind = kind
        if kind == "number":
            self._check_commas(filled)
        if kind == "time":
            self._check_dates(filled)
        if kind == "time" and all(value.endswith(MIDNIGHT) for value in values.values()):
            self.kind, values = "date", {at: value.removesuffix(MIDNIGHT) for at, value in values.items()}
        return values

    def _check_commas(self, filled: dict[int, str]) -> None:
        """Note commas that may divide thousands, unless another cell of the column has a comma that cannot."""
        commas = [at for at, text in filled.items() if "," in text]
        if commas and all(THOUSANDS.fullmatch(_bare(filled[at])) for at in commas):
            self._fault("a comma that may divide thousands", commas)
        elif commas and any("." in text for text in filled.values()):
            self._fault("decimal commas beside decimal points", commas)
        elif commas:
            self.notes.append(f"{self.name} has decimal commas")

    def _check_dates(self, filled: dict[int, str]) -> None:
        """Note dates between slashes whose day and month no cell of the column tells apart."""
        slashed = {at: found for at, text in filled.items() if (found := SLASHED.fullmatch(text))}
        if not any(int(part) > 12 for found in slashed.values() for part in found.groups()[:2]):
            self._fault(
                "a date whose day may be its month", [at for at, found in slashed.items() if found[1] != found[2]]
            )

    def _fault(self, kind: str, places: list[int]) -> None:
        for at in places:
            self.faults.add(kind, self.numbers[at], column=self.name)

    def _say(self, kind: str, rows: list[int]) -> None:
        what = {"boolean": "neither yes nor no", "number": "no number", "time": "no date"}[kind]
        more = f" and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
        verb = "rows " + ", ".join(map(str, rows[:SHOWN])) + f"{more} hold" if len(rows) > 1 else f"row {rows[0]} holds"
        self.notes.append(f"{self.name} is text: {verb} {what}")


def _bare(text: str) -> str:
    return text.strip().replace(MINUS, "-")


def _boolean(text: str) -> str | None:
    word = text.casefold()
    return "true" if word in TRUE else "false" if word in FALSE else None


def _number(text: str) -> str | None:
    """Return a number with a decimal point, whole ones without, as `parse` writes metadata."""
    if not NUMBER.fullmatch(text) or not math.isfinite(value := float(text.replace(",", "."))):
        return None
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)


def _time(text: str, *, is_day_first: bool) -> str | None:
    try:
        if ISO.fullmatch(text):
            return datetime.fromisoformat(text).isoformat()
        if found := DOTTED.fullmatch(text):
            return date(int(found[3]), int(found[2]), int(found[1])).isoformat() + MIDNIGHT
        if found := SLASHED.fullmatch(text):
            day, month = (found[1], found[2]) if is_day_first else (found[2], found[1])
            return date(int(found[3]), int(month), int(day)).isoformat() + MIDNIGHT
    except ValueError:
        return None
    return None
