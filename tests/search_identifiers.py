"""Looks for identifiers in everything below folders, however they are written there, without the toolkit's own code.

    places = search([workspace, temporary], planted(sample), {"stdout": done.stdout})
    assert [] == [place for place in places if "exports" not in place.path.parts]

Looked into are each file's bytes, compressed files, the text of each Parquet and DuckDB table, and names of files. An
identifier is found as it is, in other case, in UTF-16, in the escapes of JSON and HTML, percent-encoded, in base64.
"""

import base64
import csv
import gzip
import html
import io
import json
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, quote_plus

import duckdb
import numpy as np
import pyarrow.parquet as pq

SHORTEST = 5
"""Characters of an identifier that is looked for."""
BLOCK, SMALL = 1 << 22, 1 << 16
SIGNED = {"Signature=", "Expires="}
"""Of addresses that open a photograph to whoever has them."""


class Place(NamedTuple):
    """Where an identifier was found, and in which form it stands there."""

    path: Path
    within: str
    form: str
    identifier: str


def planted(sample: Path) -> set[str]:
    """Return what a sample study holds that leads to a person: patients, lesions, e-mails, names, signed addresses."""
    found = set(SIGNED)
    for line in (sample / "export.ndjson").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        found |= identifiers_of_row(row)
    with (sample / "truth" / "annotators.csv").open(encoding="utf-8", newline="") as file:
        found |= {row["annotator"] for row in csv.DictReader(file)}
    with (sample / "truth" / "planted.csv").open(encoding="utf-8", newline="") as file:
        found |= {row["detail"] for row in csv.DictReader(file) if row["kind"].startswith("name_in")}
    return long_enough(found)


def identifiers_of_row(row: dict) -> set[str]:
    """Return the patients, lesions and e-mail addresses of a row of an export."""
    fields = {field["schema_name"]: str(field["value"]).strip() for field in row.get("metadata_fields", ())}
    e_mails = set(re.findall(r"[\w.+-]+@[\w.-]+\w", json.dumps(row)))
    return e_mails | {fields[name] for name in ("patient_id", "lesion_id") if fields.get(name)}


def long_enough(identifiers: Iterable[str]) -> set[str]:
    """Return the identifiers that can be looked for: a short one stands in many texts by chance."""
    return {each for each in identifiers if len(each) >= SHORTEST}


def search(folders: Iterable[Path], identifiers: Iterable[str], texts: Mapping[str, str] | None = None) -> list[Place]:
    """Return every place below folders, or in texts that were printed, where an identifier stands."""
    needles = Needles(identifiers)
    places = [place for name, text in (texts or {}).items() for place in _in(text.encode(), Path(name), "", needles)]
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            name = str(path.relative_to(folder)).encode()
            places += _in(name, path, "name", needles)
            for within, data in contents(path) if path.is_file() and not path.is_symlink() else ():
                places += _in(data, path, within, needles)
    return places


def forms(identifier: str) -> list[tuple[str, bytes]]:
    """Return the names and bytes of the forms of an identifier, each once."""
    raw = identifier.encode()
    named = {
        "as it is": raw,
        "UTF-16": identifier.encode("utf-16-le"),
        "UTF-16 big": identifier.encode("utf-16-be"),
        "JSON": json.dumps(identifier)[1:-1].encode(),
        "HTML": html.escape(identifier).encode(),
        "percent": quote(identifier, safe="").encode(),
        "percent and plus": quote_plus(identifier).encode(),
        "hexadecimal": raw.hex().encode(),
        **{f"base64 at {shift}": _base64(raw, shift) for shift in range(3)},
    }
    first_names = {form: name for name, form in reversed(named.items())}
    return [(name, form) for form, name in first_names.items()]


def _base64(raw: bytes, shift: int) -> bytes:
    """Return the characters of base64 that depend on these bytes alone, where `shift` bytes stand before them."""
    text = base64.b64encode(bytes(shift) + raw)
    first, last = -(-shift * 8 // 6), (shift + len(raw)) * 8 // 6
    return text[first:last]


def contents(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield what a file holds: its bytes, and what is compressed or stands in tables."""
    data = path.read_bytes()
    yield "", data
    if data.startswith(b"\x1f\x8b"):
        yield "decompressed", _decompressed(data)
    elif data.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            yield from ((name, archive.read(name)) for name in archive.namelist())
    elif data.startswith(b"PAR1") and data.endswith(b"PAR1"):
        table = pq.read_table(io.BytesIO(data))
        yield "metadata", repr(pq.read_schema(io.BytesIO(data)).metadata).encode()
        yield "table", json.dumps(table.to_pylist(), default=str, ensure_ascii=False).encode()
    elif data[8:12] == b"DUCK":
        yield from _tables(path)


def _decompressed(data: bytes) -> bytes:
    try:
        return gzip.decompress(data)
    except (OSError, EOFError):  # cut short: what there is
        return zlib.decompressobj(31).decompress(data)


def _tables(path: Path) -> Iterator[tuple[str, bytes]]:
    with duckdb.connect(str(path), read_only=True) as connection:
        names = connection.execute("select database_name, schema_name, table_name from duckdb_tables()").fetchall()
        for database, schema, name in names:
            rows = connection.execute(f'select one::text from "{database}"."{schema}"."{name}" as one').fetchall()
            yield name, "\n".join(text for (text,) in rows).encode()


def _in(data: bytes, path: Path, within: str, needles: "Needles") -> Iterator[Place]:
    lowered = data.lower()
    possible, in_other_case = needles.possible(data, lowered)
    for number in np.flatnonzero(possible | in_other_case):
        identifier, name, form = needles.forms[number]
        if possible[number] and form in data:
            yield Place(path, within, name, identifier)
        elif (
            name == "as it is" and in_other_case[number] and form.lower() in lowered and _as_word(form.lower(), lowered)
        ):
            yield Place(path, within, "in other case", identifier)


class Needles:
    """The forms of identifiers, with the three-byte pieces of each: what lacks one of them cannot hold the form."""

    def __init__(self, identifiers: Iterable[str]) -> None:
        self.forms = [(each, *form) for each in sorted(long_enough(identifiers)) for form in forms(each)]
        self.exact = _pieces([form for _, _, form in self.forms])
        self.lower = _pieces([form.lower() for _, _, form in self.forms])

    def possible(self, data: bytes, lowered: bytes) -> tuple[np.ndarray, np.ndarray]:
        """Tell of each form whether the data, and whether the data in lower case, can hold it."""
        return _have(data, *self.exact), _have(lowered, *self.lower)


def _pieces(texts: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Return the three-byte pieces of all texts as numbers, and where those of each text begin."""
    pieces = [_as_numbers(text) for text in texts]
    starts = np.cumsum([0, *(len(each) for each in pieces[:-1])])
    return np.concatenate([*pieces, np.zeros(0, np.int32)]), starts[: len(texts)]


def _as_numbers(data: bytes) -> np.ndarray:
    bytes_of = np.frombuffer(data, np.uint8).astype(np.int32)
    return bytes_of[:-2] << 16 | bytes_of[1:-1] << 8 | bytes_of[2:]


def _have(data: bytes, pieces: np.ndarray, starts: np.ndarray) -> np.ndarray:
    if len(data) < SMALL:  # the first piece of each text alone, and no table of all pieces
        own = np.unique(_as_numbers(data)) if len(data) > 2 else np.zeros(1, np.int32)
        first = pieces[starts]
        return own[np.minimum(np.searchsorted(own, first), len(own) - 1)] == first
    there = np.zeros(1 << 24, bool)
    for start in range(0, len(data), BLOCK):
        there[_as_numbers(data[start : start + BLOCK + 2])] = True
    return np.logical_and.reduceat(there[pieces], starts)


def _as_word(form: bytes, data: bytes) -> bool:
    """Tell whether a text stands by itself: P-1234 in other case begins many a pseudonym."""
    return bool(re.search(rb"(?<![0-9a-z])" + re.escape(form) + rb"(?![0-9a-z])", data))
