"""The rows of an answer on stdout: as a table for people, or as csv, json and parquet without rounding."""

import io
import json
import math
import sys
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from toolkit.console.text import line, plain, stderr, stdout, table
from toolkit.csv_files import csv_text
from toolkit.files import without_nan
from toolkit.formatting import UNDEFINED, counted

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
    records = rows.to_pylist(maps_as_pydicts="lossy")
    if form == "parquet":
        buffer = io.BytesIO()
        pq.write_table(rows, buffer)
        sys.stdout.buffer.write(buffer.getvalue())
    elif form == "json":
        print_json(records)
    elif form == "csv":
        sys.stdout.write(csv_text(rows.column_names, (row.values() for row in records)))
    else:
        _print_rows(rows.column_names, [[_cell(value) for value in row.values()] for row in records])
        stderr.print(counted(rows.num_rows, "row"), style="dim")


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
