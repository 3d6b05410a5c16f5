"""How the rows of an answer are written: as a table for people, or as csv, json and parquet, never rounded.

Refuses to know the question.
"""

import io
import json
import math
import sys
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from toolkit.console.text import line, plain, stderr, stdout, table
from toolkit.files import csv_text, without_nan
from toolkit.formatting import UNDEFINED

WIDE = 6
"""A single row of more columns than this is shown as a list."""


def print_json(document: Any) -> None:
    """Write a document as JSON; what JSON cannot say is null."""
    sys.stdout.write(json.dumps(without_nan(document), ensure_ascii=False, indent=2, default=str) + "\n")


def write_text(text: str) -> None:
    """Write a text to stdout as it is."""
    sys.stdout.write(text)


def write_rows(rows: pa.Table, form: str) -> None:
    """Write the rows of an answer to stdout; csv and json are never rounded."""
    if form == "parquet":
        buffer = io.BytesIO()
        pq.write_table(rows, buffer)
        sys.stdout.buffer.write(buffer.getvalue())
    elif form == "json":
        print_json(_plain_rows(rows))
    elif form == "csv":
        sys.stdout.write(csv_text(rows.column_names, (row.values() for row in _plain_rows(rows))))
    elif rows.num_rows == 1 and rows.num_columns > WIDE:
        made = table("column", "value")
        for name, value in _plain_rows(rows)[0].items():
            made.add_row(line(name, "dim"), line(_cell(value)))
        stdout.print(made)
    else:
        made = table(*(plain(name) for name in rows.column_names))
        for row in _plain_rows(rows):
            made.add_row(*(line(_cell(value)) for value in row.values()))
        stdout.print(made)
        stderr.print(f"{rows.num_rows} {'row' if rows.num_rows == 1 else 'rows'}", style="dim")


def _plain_rows(rows: pa.Table) -> list[dict[str, Any]]:
    """Return rows as dictionaries, with maps as dictionaries too."""
    maps = {field.name for field in rows.schema if pa.types.is_map(field.type)}
    return [
        {name: dict(value) if name in maps and value is not None else value for name, value in row.items()}
        for row in rows.to_pylist()
    ]


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
