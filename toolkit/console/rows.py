"""The rows of an answer on stdout: as a table for people, or as csv, json and parquet without rounding."""

import json
import math
import re
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from toolkit.console.fitting import least_width
from toolkit.console.text import line, plain, stderr, stdout, table
from toolkit.csv_files import guarded, text_lines
from toolkit.errors import ToolkitError
from toolkit.files import without_nan
from toolkit.formatting import UNDEFINED, counted, listed, spoken
from toolkit.workspace.answer_values import ColumnKind, csv_texts, json_texts, kind_of

SHOWN = 10_000
"""Rows that are shown as a table; nobody reads more."""
SHORT = 8
"""Characters of an ID that are shown at least."""
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
SQL_COLUMN = "query"
"""The column that holds SQL, for whoever computes a number again."""
NO_ROWS = "no row answers this question"
FRACTION = re.compile(r"\.\d+")


def print_json(document: Any) -> None:
    """Write a document as JSON; NaN, which JSON cannot write, is null."""
    sys.stdout.write(json.dumps(without_nan(document), ensure_ascii=False, indent=2, default=str) + "\n")


def write_text(text: str) -> None:
    """Write a text to stdout as it is."""
    sys.stdout.write(text)


def write_rows(rows: pa.Table, form: str, *, counted_by: str | None = None) -> None:
    """Write the rows of an answer to stdout, csv and json never rounded; where there are none, say so on stderr.

    A table is preceded by the numbers of rows of each kind, where a column with kinds is given.
    """
    if form == "parquet":
        _write_parquet(rows)
    elif form == "table":
        if counted_by and rows.num_rows:
            kinds = Counter(map(str, rows[counted_by].to_pylist()))
            stdout.print(line(listed({spoken(kind): times for kind, times in kinds.most_common()})), "")
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
    shown = _columns(rows)
    left_out: list[str] = []
    if not rows.num_rows:
        stdout.print(NO_ROWS)
    elif not _fit(shown) and rows.num_rows > 1:
        constant = {name: texts[0] for name, texts in shown.items() if len(set(texts)) == 1}
        left_out = [name for name in shown if name == SQL_COLUMN and name not in constant]
        shown = {name: texts for name, texts in shown.items() if name not in (*constant, *left_out)}
        if constant := {name: text for name, text in constant.items() if text}:
            stdout.print(line("; ".join(f"{name} {text}" for name, text in constant.items()), "dim"))
    short = {name: _shortened(texts) if name.endswith("_id") else texts for name, texts in shown.items()}
    if rows.num_rows and (_fit(shown) or _fit(short)):
        _print_table(shown if _fit(shown) else short)
    elif rows.num_rows:
        _print_records(shown)
    of_all = f", the first {SHOWN:,}; --format csv writes all" if rows.num_rows > SHOWN else ""
    without = f"; without {', '.join(left_out)}: --format csv has it" if left_out else ""
    stderr.print(counted(rows.num_rows, "row") + of_all + without, style="dim")


def _columns(rows: pa.Table) -> dict[str, list[str]]:
    """Return the texts of each column, for people."""
    kinds = [kind_of(column) for column in rows.schema.types]
    first = rows.slice(0, SHOWN)
    records = [record for records in csv_texts(first) for record in records]
    return {
        name: [_shown(record[number], kind) for record in records]
        for number, (name, kind) in enumerate(zip(rows.column_names, kinds, strict=True))
    }


def _fit(columns: dict[str, list[str]]) -> bool:
    """Tell whether columns stand beside each other without a word that is broken."""
    return sum(1 + least_width([name, *texts]) for name, texts in columns.items()) <= stdout.width


def _shortened(ids: list[str]) -> list[str]:
    """Return the beginnings of IDs, as long as they differ from each other."""
    different = set(ids)
    for length in range(SHORT, max(map(len, ids), default=0)):
        if len({each[:length] for each in different}) == len(different):
            return [f"{each[:length]}{ELLIPSIS}" if len(each) > length + 1 else each for each in ids]
    return ids


def _print_table(columns: dict[str, list[str]]) -> None:
    answer = table(*map(plain, columns))
    for row in zip(*columns.values(), strict=True):
        answer.add_row(*map(line, row))
    stdout.print(answer)


def _print_records(columns: dict[str, list[str]]) -> None:
    for number, row in enumerate(zip(*columns.values(), strict=True), start=1):
        record = table(f"row {number}", "value")
        for name, text in zip(columns, row, strict=True):
            record.add_row(line(name, "dim"), line(text))
        stdout.print(record)


def _shown(text: str | None, kind: ColumnKind) -> str:
    """Return a value for people: a number of four digits, a time in whole seconds."""
    if text is None:
        return ""
    if kind.is_float:
        value = float(text)
        return UNDEFINED if math.isnan(value) else f"{value:.4g}"
    return FRACTION.sub("", text) if kind.is_time else text
