"""The rows of an answer in a file: CSV and workbooks for spreadsheets, JSON or Parquet, never rounded."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from toolkit.console.rows import NO_ROWS, csv_pieces, json_pieces
from toolkit.console.text import stderr
from toolkit.csv_files import FORMULA, MARK, sheet_cell
from toolkit.errors import ToolkitError
from toolkit.files import written_atomically
from toolkit.formatting import counted
from toolkit.workspace.answer_values import ColumnKind, csv_texts, kind_of

if TYPE_CHECKING:
    from openpyxl.worksheet.worksheet import Worksheet

FORMS = ("csv", "json", "parquet", "xlsx")
MOST_ROWS, MOST_COLUMNS, MOST_CHARACTERS = 1_048_576, 16_384, 32_767
"""What a workbook's sheet and its cells hold."""
EXACT = 15
"""Digits of a number that spreadsheets keep; floats are shown with fewer, and stay."""

ODD = re.compile(r"[\x00-\x08\x0b-\x1f\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)")
"""What XML cannot hold, and what would be read as its escape."""


def file_form(path: Path, form: str, *, workspace: Path) -> str:
    """Return in which form a file is written: the one that was asked for, else the one that its name ends with.

    Raises ToolkitError where there is a file already, where the workspace is, and where the form is not clear.
    """
    chosen = path.suffix.lower().removeprefix(".") if form == "table" else form
    if chosen not in FORMS:
        problem, remedy = (
            "the form of the file is not clear",
            "name it .csv, .json, .parquet or .xlsx, or give --format",
        )
    elif path.exists() or path.is_symlink():
        problem, remedy = "there is a file already", "give another --output FILE, or move it away"
    elif path.resolve().is_relative_to(workspace.resolve()):
        problem, remedy = "the workspace holds what the toolkit keeps, not answers", "give an --output FILE elsewhere"
    else:
        return chosen
    raise ToolkitError(problem, place=str(path), remedy=remedy)


def save_rows(rows: pa.Table, form: str, *, path: Path) -> None:
    """Write the rows of an answer to a new file, whole or not at all, and say so."""
    writers: dict[str, Callable[[pa.Table, Path], None]] = {
        "parquet": pq.write_table,
        "json": _write_json,
        "csv": _write_sheet,
        "xlsx": _write_workbook,
    }
    with written_atomically(path) as temporary:
        writers[form](rows, temporary)
    told = f"{counted(rows.num_rows, 'row')}: {path}" if rows.num_rows else f"{NO_ROWS}: {path}"
    stderr.print(told, style="dim", markup=False, highlight=False, soft_wrap=True)


def _write_json(rows: pa.Table, path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json_pieces(rows))


def _write_sheet(rows: pa.Table, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(MARK)
        file.writelines(csv_pieces(rows, guard=sheet_cell))


def _write_workbook(rows: pa.Table, path: Path) -> None:
    """Write a workbook: numbers as numbers where it can hold them, all else as text that nothing changes."""
    import openpyxl  # noqa: PLC0415 - a quarter of a second, and only this form needs it

    if rows.num_rows >= MOST_ROWS or rows.num_columns > MOST_COLUMNS:
        problem = f"a workbook holds {MOST_ROWS - 1:,} rows and {MOST_COLUMNS:,} columns, and the answer has more"
        raise ToolkitError(problem, place=str(path), remedy="write .csv or .parquet, or ask for fewer rows")
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("answer")
    sheet.freeze_panes = "A2"
    kinds = [kind_of(column) for column in rows.schema.types]
    sheet.append([_cell(sheet, name, ColumnKind()) for name in rows.column_names])
    try:
        for records in csv_texts(rows):
            for record in records:
                sheet.append([_cell(sheet, text, kind) for text, kind in zip(record, kinds, strict=True)])
    except ToolkitError:
        sheet.close()
        raise
    book.save(path)


def _cell(sheet: "Worksheet", text: str | None, kind: ColumnKind) -> Any:
    """Return a value as a cell of a workbook."""
    from openpyxl.cell import WriteOnlyCell  # noqa: PLC0415 - see `_write_workbook`

    if text is None:
        return None
    if kind.is_number and (number := _number(text, kind)) is not None:
        return number
    if len(text) > MOST_CHARACTERS:
        problem = f"a cell of a workbook holds {MOST_CHARACTERS:,} characters, and a value has {len(text):,}"
        raise ToolkitError(problem, remedy="write .csv or .parquet")
    cell = WriteOnlyCell(sheet, value=ODD.sub(_escaped, text))
    cell.data_type = "s"
    cell.quotePrefix = bool(FORMULA.match(text))
    return cell


def _escaped(found: re.Match[str]) -> str:
    """Return a character as workbooks write it where XML cannot hold it."""
    return f"_x{ord(found[0]):04X}_"


def _number(text: str, kind: ColumnKind) -> float | bool | None:
    """Return a number, true or false that a workbook keeps as it is; None for any other."""
    if text in ("true", "false"):
        return text == "true"
    value = float(text)
    if not math.isfinite(value) or (not kind.is_float and len(text.lstrip("-0.").replace(".", "")) > EXACT):
        return None
    return value if kind.is_float or "." in text else int(text)
