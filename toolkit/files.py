"""Files written whole or not at all, digests of their bytes, and the JSON and CSV that the toolkit writes."""

import csv
import errno
import hashlib
import io
import json
import math
import os
import tempfile
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from toolkit.errors import ToolkitError

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""No room: on the disk, within the quota, in a file."""
UNWRITABLE = FULL | {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST}
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the start of a formula."""


@contextmanager
def written_atomically(path: Path, *, mode: int = 0o644) -> Generator[Path]:
    """Give a temporary path beside `path`; when the block ends well, fsync it and rename it into place.

    A full disk or a folder that may not be written becomes a ToolkitError that names the file.
    """
    temporary = _temporary_beside(path)
    try:
        yield temporary
        temporary.chmod(mode)
        _fsync(temporary)
        temporary.replace(path)
        _fsync(path.parent)
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        raise _unwritable(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def private(path: str, flags: int) -> int:
    """Open a file for `open(…, opener=private)`: made if it is not there, and nobody else's to read from the start."""
    return os.open(path, flags | os.O_CREAT, 0o600)


def move_into_place(file: Path, path: Path, *, mode: int) -> None:
    """Rename a complete file to `path` on the same disk, synced, with its mode set before it can be seen there."""
    file.chmod(mode)
    _fsync(file)
    file.replace(path)
    _fsync(path.parent)


def _temporary_beside(path: Path) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.")
    except OSError as error:
        raise _unwritable(path, error) from error
    os.close(handle)
    return Path(name)


def _unwritable(path: Path, error: OSError) -> ToolkitError:
    return ToolkitError(
        f"could not write: {error.strerror or error}",
        place=str(path),
        remedy="free some disk space or choose a folder that may be written, then run the same command again",
    )


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomically(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write `data` to `path`, whole or not at all."""
    with written_atomically(path, mode=mode) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, document: object) -> None:
    """Write `document` as readable JSON with sorted keys: the same document gives the same bytes."""
    text = json.dumps(without_nan(document), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_atomically(path, (text + "\n").encode())


def without_nan(document: Any) -> Any:
    """Return a document with null for every number that JSON cannot say: NaN and the infinities."""
    if isinstance(document, dict):
        return {key: without_nan(value) for key, value in document.items()}
    if isinstance(document, list | tuple):
        return [without_nan(value) for value in document]
    return None if isinstance(document, float) and not math.isfinite(document) else document


def size_of(folder: Path) -> int:
    """Return the bytes of all files below a folder; 0 where it is not there."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0


def sha256_of_file(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's bytes, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of(document: object) -> str:
    """Return the hexadecimal SHA-256 of a document's canonical JSON (sorted keys, no spaces)."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def short_id(document: object) -> str:
    """Return the 8 hexadecimal digits that name a split or a run: a pure function of what determined it."""
    return sha256_of(document)[:8]


def csv_text(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """Return CSV with a header; see `csv_lines`."""
    return csv_lines([columns]) + csv_lines(rows)


def csv_lines(rows: Iterable[Iterable[Any]]) -> str:
    """Return lines of CSV: numbers never rounded, NaN as nan, and no text that a spreadsheet takes for a formula."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([_csv_cell(value) for value in row] for row in rows)
    return buffer.getvalue()


def _csv_cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, datetime):
        return value.isoformat()
    text = value if isinstance(value, str) else json.dumps(without_nan(value), ensure_ascii=False, default=str)
    return f"'{text}" if text.startswith(FORMULA) else text
