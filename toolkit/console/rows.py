"""The rows of an answer on stdout: as a table for people, or as csv, json and parquet without rounding."""

import json
import math
import re
import sys
from collections.abc import Callable, Generator, Iterable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from toolkit.console.text import line, plain, stderr, stdout, table
from toolkit.csv_files import guarded, text_lines
from toolkit.errors import ToolkitError
from toolkit.files import without_nan
from toolkit.formatting import UNDEFINED, counted
from toolkit.workspace.answer_values import ColumnKind, csv_texts, json_texts, kind_of

SHOWN = 10_000
"""Rows that are shown as a table; nobody reads more."""
READABLE = 16
"""Characters that a column needs before its texts are folded."""
NO_ROWS = "no row answers this question"
FRACTION = re.compile(r"\.\d+")


def print_json(document: Any) -> None:
    """Write a document as JSON; NaN, which JSON cannot write, is null."""
    sys.stdout.write(json.dumps(without_nan(document), ensure_ascii=False, indent=2, default=str) + "\n")


def write_text(text: str) -> None:
    """Write a text to stdout as it is."""
    sys.stdout.write(text)


def write_rows(rows: pa.Table, form: str) -> None:
    """Write the rows of an answer to stdout, csv and json never rounded; where there are none, say so on stderr."""
    if form == "parquet":
        _write_parquet(rows)
    elif form == "table":
        _print_rows(rows)
    else:
        for text in json_pieces(rows) if form == "json" else csv_pieces(rows, guard=guarded):
            sys.stdout.write(text)
    if form != "table" and rows.num_rows == 0:
        stderr.print(NO_ROWS, style="dim")


def csv_pieces(rows: pa.Table, *, guard: Callable[[str], str]) -> Generator[str]:
    """Yield CSV a batch of rows at a time; `guard` gives what stands in a cell of a text, for whoever opens it."""
    guards = [guard if kind_of(column).is_text else str for column in rows.schema.types]
    yield text_lines([map(guard, rows.column_names)])
    for records in csv_texts(rows):
        yield text_lines(_cells(record, guards) for record in records)


def _cells(record: Iterable[str | None], guards: list[Callable[[str], str]]) -> Generator[str]:
    return ("" if value is None else guard(value) for value, guard in zip(record, guards, strict=True))


def json_pieces(rows: pa.Table) -> Generator[str]:
    """Yield JSON, a list of objects, a batch of rows at a time."""
    keys = [json.dumps(name, ensure_ascii=False) for name in rows.column_names]
    separator = "["
    for records in json_texts(rows):
        objects = (
            ",\n    ".join(f"{key}: {value or 'null'}" for key, value in zip(keys, record, strict=True))
            for record in records
        )
        yield separator + ",".join(f"\n  {{\n    {each}\n  }}" for each in objects)
        separator = ","
    yield "[]\n" if separator == "[" else "\n]\n"


def _write_parquet(rows: pa.Table) -> None:
    """Write Parquet to stdout, never to a terminal."""
    if sys.stdout.isatty():
        raise ToolkitError("Parquet is no text for a terminal", remedy="add --output FILE.parquet, or redirect stdout")
    with pa.PythonFile(sys.stdout.buffer, mode="w") as output:
        pq.write_table(rows, output)


def _print_rows(rows: pa.Table) -> None:
    """Print rows as a table, or one below the other where the columns do not fit beside each other."""
    kinds = [kind_of(column) for column in rows.schema.types]
    first = rows.slice(0, SHOWN)
    shown = [
        [_shown(value, kind) for value, kind in zip(record, kinds, strict=True)]
        for records in csv_texts(first)
        for record in records
    ]
    columns = zip(rows.column_names, *shown, strict=True)
    if not shown:
        stdout.print(NO_ROWS)
    elif sum(1 + min(READABLE, max(map(len, texts))) for texts in columns) <= stdout.width:
        answer = table(*(plain(name) for name in rows.column_names))
        for row in shown:
            answer.add_row(*map(line, row))
        stdout.print(answer)
    else:
        for number, row in enumerate(shown, start=1):
            record = table(f"row {number}", "value")
            for name, text in zip(rows.column_names, row, strict=True):
                record.add_row(line(name, "dim"), line(text))
            stdout.print(record)
    of_all = f", the first {len(shown):,}; --format csv writes all" if rows.num_rows > len(shown) else ""
    stderr.print(counted(rows.num_rows, "row") + of_all, style="dim")


def _shown(text: str | None, kind: ColumnKind) -> str:
    """Return a value for people: a number of four digits, a time in whole seconds."""
    if text is None:
        return ""
    if kind.is_float:
        value = float(text)
        return UNDEFINED if math.isnan(value) else f"{value:.4g}"
    return FRACTION.sub("", text) if kind.is_time else text
