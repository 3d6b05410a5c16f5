"""CSV as the toolkit writes and reads it: for programs, and for spreadsheets, which change what they take for a value.

A text that a spreadsheet would take for a formula gets an apostrophe in front; in a file for spreadsheets, one that it
would take for a number, a date or the like, too. Where an apostrophe stands there already, another is added, so that
`read_csv` finds every text again.
"""

import csv
import io
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import Any

from toolkit.errors import DamagedError
from toolkit.files import read_bytes, without_nan

MARK = "\ufeff"
"""The byte-order mark, without which Excel takes UTF-8 for something else."""
BLANK = r"\s\x00-\x20\x7f-\xa0\xad\u061c\u180e\u200b-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff\"'’‘“”`"
"""What programs drop, or people do not see, before a formula. In an expression of Python and of JavaScript."""
FORMULA = re.compile(rf"^(?:'*[\t\r\n]|[{BLANK}]*[=+\-@＝＋－＠﹦﹢﹣﹫])")
"""Texts that a spreadsheet takes for a formula: OWASP's list, with what may stand before it."""
MONTH = (
    "jan(?:uary|uar|vier|eiro)?|janv|jän(?:ner)?|ene(?:ro)?|gen(?:naio)?|feb(?:ruary|ruar|brero|braio|ruari)?|"
    "févr?(?:ier)?|fev(?:ereiro)?|mar(?:ch|s|zo|ço|t)?|märz?|mrz|mrt|maart|apr(?:il|ile)?|avr(?:il)?|abr(?:il)?|"
    "may|mayo|mai|maio|mei|mag(?:gio)?|june?|juni|juin|junio|junho|giu(?:gno)?|jul[yi]?|juil(?:let)?|julio|julho|"
    "lug(?:lio)?|aug(?:ust|ustus)?|août|ago(?:sto)?|sept?(?:ember|embre|iembre)?|set(?:embro|tembre)?|"
    "oct(?:ober|obre|ubre)?|okt(?:ober)?|out(?:ubro)?|ott(?:obre)?|nov(?:ember|embre|iembre|embro)?|"
    "dec(?:ember)?|déc(?:embre)?|dez(?:ember|embro)?|dic(?:iembre|embre)?"
)
"""Months in the languages in which a spreadsheet reads dates most often."""
VALUE = re.compile(
    rf"^'*(?:"
    rf"(?=.*\d)(?:[\d\s.,:;/%’'()$€£¥+\-–−]|(?<=[\d.])e(?=[\d+-])|(?<=\d)t(?=\d)|(?<=\d)z)+|"  # number, date, time
    rf"\d{{1,2}}(?::\d{{2}}){{0,2}}(?:\s+[ap]m?|[ap]m)|"  # 3 PM
    rf"(?:\d{{1,4}}(?:st|nd|rd|th)?[\s./,-]*)?(?:{MONTH})\.?(?:[\s./,-]*\d{{1,4}}){{1,2}}|"  # MAR1, March 2020
    rf"\d{{1,4}}(?:st|nd|rd|th)?[\s./,-]*(?:{MONTH})\.?|"  # 1-Mar
    r"true|false|wahr|falsch|vrai|faux|verdadero|falso|vero|verdadeiro|waar|onwaar|"
    r"#(?:n/a|nv|[a-z]+(?:/0)?[!?])"
    r")$",
    re.IGNORECASE,
)
"""Texts that a spreadsheet takes for a number, a date, a time, a truth value or an error."""
WHOLE = re.compile(r"^(?:0|[1-9]\d{0,10})$", re.ASCII)
"""Texts that stay as they are when a spreadsheet takes them for a number."""
NO_TEXT = '""'
"""The only cell of a row, where it is empty: a line without anything would be no row."""
WRITTEN: tuple[tuple[Any, Callable[[Any], str]], ...] = (
    (type(None), lambda _: ""),
    (bool, lambda value: str(value).lower()),
    (int, lambda value: str(int(value))),
    (float, lambda value: repr(float(value))),
    (Decimal, lambda value: f"{value:f}"),  # DuckDB's sums of whole numbers
    (date | time, lambda value: value.isoformat()),
    (bytes, lambda value: value.hex()),
)
"""How values are written, by type; a bool is an int, and a datetime is a date."""
QUOTED = re.compile(r'[",\x00-\x1f\x7f\x85\u2028\u2029]')
"""What a cell holds that has to stand between quotes; programs differ in what ends a row."""


def csv_text(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """Return CSV with a header; see `csv_lines`."""
    return csv_lines([columns]) + csv_lines(rows)


def csv_lines(rows: Iterable[Iterable[Any]]) -> str:
    r"""Return lines of CSV for programs: numbers never rounded, NaN as nan, and no text that is taken for a formula.

    >>> csv_lines([["nevus", 1 / 3, None], ["=1+1", True, "1e5"]])
    "nevus,0.3333333333333333,\n'=1+1,true,1e5\n"
    """
    return _lines(rows, cell)


def sheet_text(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """Return CSV for spreadsheets with a header, beginning with MARK; see `sheet_lines`."""
    return MARK + sheet_lines([columns]) + sheet_lines(rows)


def sheet_lines(rows: Iterable[Iterable[Any]]) -> str:
    r"""Return lines of CSV for spreadsheets: as `csv_lines`, and no text becomes a number, a date or the like.

    >>> sheet_lines([["1045408649593e03", 0.5, "2-1"]])
    "'1045408649593e03,0.5,'2-1\n"
    """
    return _lines(rows, sheet_cell)


def text_lines(rows: Iterable[Iterable[str]]) -> str:
    r"""Return lines of CSV of texts that are what should stand in each cell.

    >>> text_lines([["'=1+1", "-0.5", "a,b"]])
    "'=1+1,-0.5,\"a,b\"\n"
    """
    return _lines(rows, str)


def read_csv(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file that the toolkit wrote, of either kind; raise DamagedError where none can be read.

    Every cell is text.
    """
    data = read_bytes(path)
    try:
        return rows_of(data.decode())
    except (ValueError, csv.Error) as error:
        raise DamagedError(f"the file is not readable CSV: {error}", place=str(path)) from None


def rows_of(text: str) -> list[dict[str, str]]:
    r"""Return the rows of a CSV text that the toolkit wrote; one that begins with MARK is for spreadsheets.

    >>> rows_of(sheet_text(["case_id", "value"], [["1e5", -0.5]]))
    [{'case_id': '1e5', 'value': '-0.5'}]
    """
    rows = _texts(text)
    columns = next(rows, [])
    return [dict(zip(columns, row, strict=False)) for row in rows]


def columns_of(text: str) -> list[str]:
    """Return the columns of a CSV text that the toolkit wrote."""
    return next(_texts(text), [])


def _texts(text: str) -> Iterator[list[str]]:
    """Yield the texts of each row, as they were before they were written."""
    read = sheet_cell_text if text.startswith(MARK) else cell_text
    lines = io.StringIO(text.removeprefix(MARK), newline="")
    yield from ([read(text) for text in row] for row in csv.reader(lines))


def _lines(rows: Iterable[Iterable[Any]], written: Callable[[Any], str]) -> str:
    lines = (",".join(quoted(written(value)) for value in row) for row in rows)
    return "".join(f"{line or NO_TEXT}\n" for line in lines)


def cell(value: Any) -> str:
    """Return what stands in a cell: numbers never rounded, NaN as nan, and no text that is taken for a formula."""
    return guarded(value) if isinstance(value, str) else _unguarded(value)


def sheet_cell(value: Any) -> str:
    """Return what stands in a cell of a file for spreadsheets: there, no text becomes a number, a date or the like."""
    text = cell(value)
    return f"'{text}" if isinstance(value, str) and text == value and is_changed(value) else text


def guarded(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula.

    >>> guarded("=1+1"), guarded("'=1+1"), guarded("a=1")
    ("'=1+1", "''=1+1", 'a=1')
    """
    return f"'{text}" if FORMULA.match(text) else text


def is_changed(text: str) -> bool:
    """Tell whether a spreadsheet takes a text for a value, and shows it otherwise.

    >>> is_changed("1045408649593e03"), is_changed("007"), is_changed("40"), is_changed("nevus")
    (True, True, False, False)
    """
    return bool(VALUE.fullmatch(unicodedata.normalize("NFKC", text))) and not WHOLE.fullmatch(text)


def cell_text(text: str) -> str:
    """Return the text of a cell without the apostrophe that `cell` put there.

    >>> cell_text("'=1"), cell_text("''=1"), cell_text("'1e5")
    ('=1', "'=1", "'1e5")
    """
    return text[1:] if text.startswith("'") and FORMULA.match(text) else text


def sheet_cell_text(text: str) -> str:
    """Return the text of a cell without the apostrophe that `sheet_cell` put there.

    >>> sheet_cell_text("'=1"), sheet_cell_text("'1e5"), sheet_cell_text("'s")
    ('=1', '1e5', "'s")
    """
    return text[1:] if text.startswith("'") and (FORMULA.match(text) or is_changed(text)) else text


def quoted(text: str) -> str:
    """Return a cell between quotes where it needs them."""
    return '"' + text.replace('"', '""') + '"' if QUOTED.search(text) else text


def _unguarded(value: Any) -> str:
    """Return what stands for anything but a text, by the first of WRITTEN that it is."""
    written = next((written for kind, written in WRITTEN if isinstance(value, kind)), None)
    return written(value) if written else guarded(json.dumps(without_nan(value), ensure_ascii=False, default=str))
