"""The rows of an answer on stdout: as a table for people, or as csv, json and parquet without rounding."""

import json
import math
import sys
from collections.abc import Generator
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from toolkit.console.text import line, plain, stderr, stdout, table
from toolkit.csv_files import csv_lines
from toolkit.errors import QuestionError
from toolkit.files import without_nan
from toolkit.formatting import UNDEFINED, counted

BATCH = 10_000
SHOWN = 10_000
"""Rows that are shown as a table; nobody reads more."""
READABLE = 16
"""Characters that a column needs before its texts are folded."""


def print_json(document: Any) -> None:
    """Write a document as JSON; NaN, which JSON cannot write, is null."""
    sys.stdout.write(json.dumps(without_nan(document), ensure_ascii=False, indent=2, default=str) + "\n")


def write_text(text: str) -> None:
    """Write a text to stdout as it is."""
    sys.stdout.write(text)


def write_rows(rows: pa.Table, form: str) -> None:
    """Write the rows of an answer to stdout; csv and json are never rounded."""
    if form == "parquet":
        with pa.PythonFile(sys.stdout.buffer, mode="w") as output:
            pq.write_table(rows, output)
    elif form == "json":
        _write_json(rows)
    elif form == "csv":
        sys.stdout.write(csv_lines([rows.column_names]))
        for records in _batches(rows):
            sys.stdout.write(csv_lines(records))
    else:
        shown = [[_cell(value) for value in record] for records in _batches(rows.slice(0, SHOWN)) for record in records]
        _print_rows(rows.column_names, shown)
        of_all = f", the first {len(shown):,}; --format csv writes all" if rows.num_rows > len(shown) else ""
        stderr.print(counted(rows.num_rows, "row") + of_all, style="dim")


def _batches(rows: pa.Table) -> Generator[list[tuple]]:
    """Return the values of some rows at a time: as Python's values they take many times the memory."""
    for batch in rows.to_batches(max_chunksize=BATCH):
        try:
            columns = [column.to_pylist(maps_as_pydicts="lossy") for column in batch.columns]
        except (ValueError, OverflowError, pa.ArrowException) as error:
            problem = f"a value of the answer cannot be written: {error}"
            raise QuestionError(problem, remedy="turn the column into text: column::varchar") from None
        yield list(zip(*columns, strict=True))


def _write_json(rows: pa.Table) -> None:
    """Write rows as `print_json` would write a list of them, some at a time."""
    separator = "["
    for records in _batches(rows):
        for record in records:
            document = without_nan(dict(zip(rows.column_names, record, strict=True)))
            text = json.dumps(document, ensure_ascii=False, indent=2, default=str)
            sys.stdout.write(f"{separator}\n  " + text.replace("\n", "\n  "))
            separator = ","
    sys.stdout.write("[]\n" if separator == "[" else "\n]\n")


def _print_rows(names: list[str], rows: list[list[str]]) -> None:
    """Print rows as a table, or one below the other where the columns do not fit beside each other."""
    columns = zip(names, *rows, strict=True)
    if sum(1 + min(READABLE, max(map(len, texts))) for texts in columns) <= stdout.width:
        answer = table(*(plain(name) for name in names))
        for row in rows:
            answer.add_row(*map(line, row))
        stdout.print(answer)
        return
    for number, row in enumerate(rows, start=1):
        record = table(f"row {number}", "value")
        for name, text in zip(names, row, strict=True):
            record.add_row(line(name, "dim"), line(text))
        stdout.print(record)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return UNDEFINED if math.isnan(value) else f"{value:.4g}"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    if isinstance(value, list | dict):
        return json.dumps(without_nan(value), ensure_ascii=False, default=str)
    return str(value)
