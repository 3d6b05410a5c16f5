"""The cells of a file of predictions as texts: CSV of any separator and encoding, Parquet, JSON Lines."""

import csv
import hashlib
import io
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from toolkit.errors import DamagedError, PredictionsError
from toolkit.files import read_bytes
from toolkit.prediction_files.faults import Faults, shown

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
KINDS = "a file of predictions is CSV, Parquet or JSON Lines"
OTHERS = {
    b"PK\x03\x04": "this is a workbook or an archive",
    b"\x1f\x8b": "this file is compressed",
    b"\xd0\xcf\x11\xe0": "this is a workbook of an old Excel",
}
"""What people have instead, by its first bytes."""
SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\r?\n', re.IGNORECASE)
"""First line by which Excel is told the separator."""
LONGEST_CELL = 10_000_000


class PredictionTable(NamedTuple):
    """The rows of a file, each with its number from 1 below the header; every cell is text, "" where it is empty."""

    path: Path
    sha256: str
    columns: list[str]
    rows: list[list[str]]
    numbers: list[int]
    notes: list[str]
    """How the file was read, where that is not the usual way."""
    total: int
    """Rows of the file, also those that are not as long as the header."""

    def texts(self, column: int) -> list[str]:
        """Return the cells of a column."""
        return [row[column] for row in self.rows]


def read_table(path: Path, faults: Faults) -> PredictionTable:
    """Read a file; note rows of another length than the header, raise PredictionsError where there is no table."""
    try:
        data = read_bytes(path)
    except DamagedError as error:
        raise PredictionsError(error.problem, place=str(path), remedy=KINDS) from None
    for start, what in OTHERS.items():
        if data.startswith(start):
            raise PredictionsError(what, place=str(path), remedy="save it as CSV, uncompressed")
    try:
        columns, rows, notes = _parsed(data)
        return _checked(path, hashlib.sha256(data).hexdigest(), columns, rows, notes, faults)
    except (ValueError, csv.Error, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)[:300]
        raise PredictionsError(f"the predictions cannot be read: {reason}", place=str(path), remedy=KINDS) from None


def _parsed(data: bytes) -> tuple[list[str], list[list[str]], list[str]]:
    if data.startswith(b"PAR1"):
        columns, rows = _of_records(_parquet(data))
        return columns, rows, []
    text, notes = _decoded(data)
    if text.lstrip().startswith(("{", "[")):
        columns, rows = _of_records(_json(text))
        return columns, rows, notes
    return _csv(text, notes)


def _checked(
    path: Path, sha256: str, columns: list[str], rows: list[list[str]], notes: list[str], faults: Faults
) -> PredictionTable:
    columns = [name.strip() for name in columns]
    while columns and not columns[-1] and not any("".join(row[len(columns) - 1 :]).strip() for row in rows):
        columns.pop()  # a spreadsheet's empty columns at the right
    if doubled := sorted({name for name in columns if name and columns.count(name) > 1}):
        raise ValueError(f"two columns are called {shown(doubled[0])}")
    kept, numbers = [], []
    for number, row in enumerate(rows, start=1):
        while len(row) > len(columns) and not row[-1].strip():
            row.pop()
        if len(row) == len(columns):
            kept.append([cell.strip() for cell in row])
            numbers.append(number)
        else:
            faults.add("not as many cells as the header", number, _length(len(row), len(columns)))
    if len(columns) < 2:
        raise ValueError("it has one column only; columns are separated by commas, semicolons or tabs")
    if not rows:
        raise ValueError("it holds no row below the header")
    return PredictionTable(path, sha256, columns, kept, numbers, notes, len(rows))


def _length(cells: int, columns: int) -> str:
    return f"has {cells} cell{'s' if cells != 1 else ''}, the header {columns}"


def _decoded(data: bytes) -> tuple[str, list[str]]:
    """Return the text of a file: UTF-8, UTF-16 as its mark or its zeros say, else what Windows writes."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16"), ["the text is UTF-16"]
    if b"\0" in data[:2]:
        return data.decode("utf-16-be" if data[:1] == b"\0" else "utf-16-le"), ["the text is UTF-16"]
    try:
        return data.decode("utf-8-sig"), []
    except UnicodeDecodeError:
        return data.decode("cp1252"), ["the text is no UTF-8 and was read as Windows-1252"]


def _csv(text: str, notes: list[str]) -> tuple[list[str], list[list[str]], list[str]]:
    said = SEPARATOR_LINE.match(text)
    text = text[said.end() :] if said else text
    text = text.lstrip("\r\n")
    separator = said[1] if said and said[1] in SEPARATORS else _separator(text)
    if separator != ",":
        notes = [*notes, f"the columns are separated by {SEPARATORS[separator]}"]
    before = csv.field_size_limit(LONGEST_CELL)
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True))
    finally:
        csv.field_size_limit(before)
    written = [row for row in rows if any(cell.strip() for cell in row)]
    return (written[0], written[1:], notes) if written else ([], [], notes)


def _separator(text: str) -> str:
    """Return what separates the most cells of the header."""
    line = io.StringIO(text, newline="").readline()
    cells = {one: len(next(csv.reader([line], delimiter=one), [])) for one in SEPARATORS}
    return max(cells, key=lambda one: cells[one])


def _parquet(data: bytes) -> list[Any]:
    import pyarrow as pa  # noqa: PLC0415 - help answers without it
    import pyarrow.parquet as pq  # noqa: PLC0415 - help answers without it

    try:
        return pq.read_table(pa.BufferReader(data), use_threads=False).to_pylist()
    except (pa.ArrowException, OSError, OverflowError) as error:
        raise ValueError(f"it is not readable Parquet: {str(error).splitlines()[0][:200]}") from None


def _json(text: str) -> list[Any]:
    """Return the objects of JSON Lines, or of one JSON array."""
    if text.lstrip().startswith("["):
        return json.loads(text)
    records = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                records.append(json.loads(line))
            except ValueError as error:
                raise ValueError(f"line {number} is no JSON: {str(error)[:200]}") from None
    return records


def _of_records(records: list[Any]) -> tuple[list[str], list[list[str]]]:
    """Return records as columns and rows; an object within a record has columns named `outer.inner`."""
    flat = []
    for number, record in enumerate(records, start=1):
        if not isinstance(record, dict):
            raise ValueError(f"record {number} is no object with names and values")  # noqa: TRY004 - a fault of the file
        flat.append(dict(_flattened(record)))
    columns = list(dict.fromkeys(name for record in flat for name in record))
    return columns, [[_text(record.get(name)) for name in columns] for record in flat]


def _flattened(record: dict[Any, Any]) -> list[tuple[str, Any]]:
    cells = []
    for name, value in record.items():
        inner = value.items() if isinstance(value, dict) else _entries(value)
        cells += [(f"{name}.{key}", one) for key, one in inner] if inner else [(str(name), value)]
    return cells


def _entries(value: Any) -> list[tuple[str, Any]]:
    """Return the entries of a map as Parquet gives it: a list of pairs whose first is a text."""
    pairs = value if isinstance(value, list) else []
    is_map = all(isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str) for pair in pairs)
    return [(pair[0], pair[1]) for pair in pairs] if is_map else []


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else repr(value) if isinstance(value, float) else str(value)
