"""The rows of an answer in a file: CSV for spreadsheets, JSON or Parquet, never rounded."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from toolkit.console.text import stderr
from toolkit.csv_files import MARK, sheet_lines
from toolkit.errors import ToolkitError
from toolkit.files import without_nan, written_atomically
from toolkit.formatting import counted

BATCH = 10_000
"""Rows that are written at a time: as Python's values they take many times the memory."""
FORMS = ("csv", "json", "parquet")


def file_form(path: Path, form: str, *, workspace: Path) -> str:
    """Return in which form a file is written: the one that was asked for, else the one that its name ends with.

    Raises ToolkitError where there is a file already, where the workspace is, and where the form is not clear.
    """
    chosen = path.suffix.lower().removeprefix(".") if form == "table" else form
    if chosen not in FORMS:
        problem, remedy = "the form of the file is not clear", "name it .csv, .json or .parquet, or give --format"
    elif path.exists() or path.is_symlink():
        problem, remedy = "there is a file already", "give another --output FILE, or move it away"
    elif path.resolve().is_relative_to(workspace.resolve()):
        problem, remedy = "the workspace holds what the toolkit keeps, not answers", "give an --output FILE elsewhere"
    else:
        return chosen
    raise ToolkitError(problem, place=str(path), remedy=remedy)


def save_rows(rows: pa.Table, form: str, *, path: Path) -> None:
    """Write the rows of an answer to a new file, whole or not at all, and say so."""
    with written_atomically(path) as temporary:
        if form == "parquet":
            pq.write_table(rows, temporary)
        elif form == "json":
            document = without_nan(rows.to_pylist(maps_as_pydicts="lossy"))
            text = json.dumps(document, ensure_ascii=False, indent=2, default=str)
            temporary.write_text(f"{text}\n", encoding="utf-8")
        else:
            _write_sheet(rows, temporary)
    stderr.print(f"{counted(rows.num_rows, 'row')}: {path}", style="dim", markup=False, highlight=False, soft_wrap=True)


def _write_sheet(rows: pa.Table, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(MARK + sheet_lines([rows.column_names]))
        for batch in rows.to_batches(max_chunksize=BATCH):
            columns = [column.to_pylist(maps_as_pydicts="lossy") for column in batch.columns]
            file.write(sheet_lines(zip(*columns, strict=True)))
