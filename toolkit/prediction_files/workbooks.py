"""The cells of a workbook's sheet as texts, of the first sheet that has the columns that are looked for."""

import zipfile
from collections.abc import Callable
from datetime import date, datetime, time
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from toolkit.errors import PredictionsError, ToolkitError

WORKBOOK = b"PK\x03\x04"
"""First bytes of an xlsx file."""
LARGEST = 200_000_000
"""Bytes that a workbook may unpack to."""
MOST_COLUMNS = 200
"""Columns of a sheet that are looked at; a cell far out would make each row as long as it lies."""
BY_HAND = "save its sheet as CSV"


class Sheet(NamedTuple):
    """The rows of a sheet below its header, each as long as that, with texts; "" where a cell is empty."""

    columns: list[str]
    rows: list[list[str]]
    uncomputed: list[tuple[int, str]]
    """Formulas whose value the file does not hold: the row, from 1 below the header, and the column."""


def read_sheet(
    path: Path, is_wanted: Callable[[list[str]], bool], *, missing: str, error: type[ToolkitError] = PredictionsError
) -> Sheet:
    """Return the first sheet with a wanted header; raise `error`, which says `missing` where there is none."""
    import openpyxl  # noqa: PLC0415 - a quarter of a second, and only this needs it

    try:
        with zipfile.ZipFile(path) as archive:
            is_large = sum(entry.file_size for entry in archive.infolist()) > LARGEST
        if not is_large:
            books = [openpyxl.load_workbook(path, read_only=True, data_only=only) for only in (True, False)]
            for values, formulas in zip(*(book.worksheets for book in books), strict=True):
                if sheet := _sheet(values, formulas, is_wanted):
                    return sheet
    except Exception as fault:  # noqa: BLE001 - whatever a damaged or hostile workbook makes openpyxl raise
        problem = f"the workbook cannot be read: {type(fault).__name__}"
        raise error(problem, place=str(path), remedy=BY_HAND) from None
    raise error("the workbook is too large" if is_large else missing, place=str(path), remedy=BY_HAND)


def _sheet(values: Any, formulas: Any, is_wanted: Callable[[list[str]], bool]) -> Sheet | None:
    header: list[str] | None = None
    rows, uncomputed = [], []
    for cells, written in zip_longest(_rows(values), _rows(formulas), fillvalue=()):
        texts = [_text(value) for value in cells]
        lost = [at for at, one in enumerate(written) if _is_formula(one) and not "".join(texts[at : at + 1])]
        if not any(texts) and not lost:
            continue
        if header is None:
            if not is_wanted(texts):
                return None
            header = texts
            continue
        rows.append((texts + [""] * len(header))[: len(header)])
        uncomputed += [(len(rows), header[at]) for at in lost if at < len(header)]
    return Sheet(header, rows, uncomputed) if header else None


def _rows(sheet: Any) -> Any:
    sheet.reset_dimensions()  # what the file says of its size is not believed
    return sheet.iter_rows(values_only=True, max_col=MOST_COLUMNS)


def _is_formula(value: Any) -> bool:
    return (isinstance(value, str) and value.startswith("=")) or type(value).__name__ == "ArrayFormula"


def _text(value: Any) -> str:
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return "" if value is None else str(value).strip()
