"""Files written whole or not at all, digests of their bytes, and the JSON and Parquet that the toolkit writes."""

import errno
import hashlib
import json
import math
import os
import re
import secrets
import shutil
import stat
import tomllib
from collections.abc import Generator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.errors import DamagedError, ToolkitError

if TYPE_CHECKING:
    import pyarrow as pa

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""No room: on the disk, within the quota, in a file."""
UNWRITABLE = FULL | {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EIO}
PRIVATE = 0o600
"""Mode of what is written, unless it is meant for others: nobody else's to read."""
OPEN = 0o644
"""Mode of what is meant to be passed on."""
SEAL = "seal"
"""Key of a JSON file's own digest."""
PARQUET_SEAL = "lesion_toolkit_sha256"
BLANK = "0" * 64
"""What stands in a Parquet file's seal while the digest of its bytes is taken."""
MOST_BYTES = 512 * 1024**2
"""Larger files are none that the toolkit has written, and are not read into memory."""
MOST_PARQUET_BYTES = 16 * 1024**3
SUMS = "SHA256SUMS"
"""Beside the files of a page: their digests as `sha256sum --check` reads them."""
DIGESTS = "digests.json"
"""Beside files of others' making: the digest of each."""
MOST_TOML = 1024**2
MOST_KEY_PARTS = 16
_PART = r"""(?:(?<![\w-])[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+"""
LONG_KEY = re.compile(rf"{_PART}(?:\.[ \t]*+{_PART}){{{MOST_KEY_PARTS}}}")
"""A TOML key of too many parts; the parser's time grows with the square of their number."""
COPIED = 64 * 1024**2
"""Bytes copied at a time."""


@contextmanager
def written_atomically(path: Path, *, mode: int = PRIVATE) -> Generator[Path]:
    """Give a temporary path beside `path`; when the block ends well, fsync it and rename it into place.

    `mode` is narrowed by the process's umask, and so is that of folders that are made on the way.
    """
    with writing_to(path):
        temporary = _temporary_beside(path, mode)
        try:
            yield temporary
            move_into_place(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def writing_to(path: Path) -> Generator[None]:
    """Turn a disk that is full or fails, or a folder that may not be written, into a ToolkitError that names `path`."""
    try:
        yield
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        raise unwritable(path, error) from error


def private(path: str, flags: int) -> int:
    """Open a file for `open(…, opener=private)`: made if it is not there, and nobody else's to read from the start."""
    return os.open(path, flags | os.O_CREAT, PRIVATE)


@contextmanager
def private_writing() -> Generator[None]:
    """Let nobody else read what a library writes within the block, whatever mode it asks for."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def make_folder(folder: Path, *, mode: int = PRIVATE) -> Path:
    """Make a folder and those above it that are missing, each as open as a file of `mode` beside it would be."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=mode | (mode & 0o444) >> 2, exist_ok=True)
    return folder


def move_into_place(file: Path, path: Path, *, mode: int | None = None) -> None:
    """Rename a complete file to `path` on the same disk, synced; with `mode`, set before it can be seen there."""
    if mode is not None:
        file.chmod(mode)
    _fsync(file)
    file.replace(path)
    _fsync(path.parent)


def _temporary_beside(path: Path, mode: int) -> Path:
    make_folder(path.parent, mode=mode)
    temporary = path.with_name(f".{path.name[:40]}.{secrets.token_hex(4)}")
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
    return temporary


def unwritable(path: Path, error: OSError) -> ToolkitError:
    """Return what to tell when a file cannot be written."""
    broken = error.errno == errno.EIO
    return ToolkitError(
        f"could not write: {error.strerror or error}",
        place=str(path),
        remedy="the disk reports a fault: look at its health, then run the same command again"
        if broken
        else "free some disk space or choose a folder that may be written, then run the same command again",
    )


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with all that it holds; nothing where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def copy_file(source: Path, target: Path) -> None:
    """Copy a file's bytes to a file that exists; where the disk can, both share them until one changes."""
    with source.open("rb") as reader, target.open("wb") as writer:
        try:
            while os.copy_file_range(reader.fileno(), writer.fileno(), COPIED):
                pass
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL):
                raise
            shutil.copyfileobj(reader, writer, COPIED)


def write_atomically(path: Path, data: bytes, *, mode: int = PRIVATE) -> None:
    """Write `data` to `path`, whole or not at all."""
    with written_atomically(path, mode=mode) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, document: object) -> None:
    """Write `document` as readable JSON with sorted keys: the same document gives the same bytes."""
    text = json.dumps(without_nan(document), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_atomically(path, (text + "\n").encode())


def write_sealed(path: Path, document: dict[str, Any]) -> None:
    """Write `document` as JSON with its own digest under `seal`, so that `read_sealed` notices a change."""
    stated = without_nan({key: value for key, value in document.items() if key != SEAL})
    write_json(path, {**stated, SEAL: sha256_of(stated)})


def read_bytes(path: Path, *, remedy: str | None = None, most: int = MOST_BYTES) -> bytes:
    """Return the bytes of an ordinary file of at most `most` bytes.

    Raises DamagedError for what cannot be read: nothing there, a folder, a pipe, a disk that fails, too much of it.
    """
    with ordinary_file(path, remedy=remedy) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            problem = f"the file is too large to be what it should be: {size / 1e6:.0f} MB"
            raise DamagedError(problem, place=str(path), remedy=remedy)
        return file.read()


@contextmanager
def ordinary_file(path: Path, *, remedy: str | None = None) -> Generator[BufferedReader]:
    """Open an ordinary file for reading; raise DamagedError for anything else, and for a disk that fails in the block.

    A pipe without a writer would let a plain `open` wait for ever.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise DamagedError("this is not an ordinary file", place=str(path), remedy=remedy)
            yield file
    except OSError as error:
        raise unreadable(path, error, remedy=remedy) from None


def unreadable(path: Path, error: OSError, *, remedy: str | None = None) -> DamagedError:
    """Return what to tell when a file cannot be read."""
    return DamagedError(f"the file cannot be read: {error.strerror or error}", place=str(path), remedy=remedy)


def read_json(path: Path, *, remedy: str | None = None) -> dict[str, Any]:
    """Return the JSON object in a file; raise DamagedError, with `remedy`, where there is none that can be used."""
    return json_object(read_bytes(path, remedy=remedy), place=path, remedy=remedy)


def json_object(data: bytes, *, place: Path, remedy: str | None = None) -> dict[str, Any]:
    """Return the JSON object in `data`, which came from `place`; raise DamagedError for anything else.

    Refused are also texts that could not be written again, and nesting deeper than Python can follow.
    """
    try:
        document = json.loads(data)
        json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]
        raise DamagedError(f"the file is not readable JSON: {reason}", place=str(place), remedy=remedy) from None
    if not isinstance(document, dict):
        raise DamagedError("the file holds no JSON object", place=str(place), remedy=remedy)
    return document


def read_toml(path: Path) -> dict[str, Any]:
    """Return the TOML document in a file; raise DamagedError where it cannot be read, ValueError where it is no TOML.

    Refused are also files larger than any that people write, and keys whose parts the parser would count for ever.
    """
    text = read_bytes(path, most=MOST_TOML).decode("utf-8")
    if key := LONG_KEY.search(text):
        line = text.count("\n", 0, key.start()) + 1
        raise ValueError(f"a key has more than {MOST_KEY_PARTS} parts with dots between them (at line {line})")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_sealed(path: Path, *, remedy: str | None = None) -> dict[str, Any]:
    """Return a JSON object without its seal; raise DamagedError where it was changed after it was sealed.

    Files that were written before files were sealed have none, and are taken as they are.
    """
    document = read_json(path, remedy=remedy)
    seal = document.pop(SEAL, None)
    if seal is not None and seal != sha256_of(document):
        raise changed(path, remedy=remedy)
    return document


def changed(path: Path, *, remedy: str | None = None) -> DamagedError:
    """Return what to tell of a file whose bytes are not those that were recorded."""
    return DamagedError("the file was changed or damaged after it was written", place=str(path), remedy=remedy)


def write_parquet(path: Path, table: "pa.Table") -> None:
    """Write a table as Parquet that holds the digest of its own bytes, so that `read_parquet` notices a change."""
    write_atomically(path, parquet_bytes(table))


def parquet_bytes(table: "pa.Table") -> bytes:
    """Return what `write_parquet` writes."""
    import pyarrow as pa  # noqa: PLC0415 - help answers without it
    import pyarrow.parquet as pq  # noqa: PLC0415 - help answers without it

    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, table.schema) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({PARQUET_SEAL: BLANK})
    data = sink.getvalue().to_pybytes()
    return _with_seal(data, hashlib.sha256(data).hexdigest())


def read_parquet(path: Path, *, remedy: str | None = None) -> "pa.Table":
    """Return a Parquet file's table; raise DamagedError where a byte of it was changed after it was written."""
    import pyarrow as pa  # noqa: PLC0415 - help answers without it
    import pyarrow.parquet as pq  # noqa: PLC0415 - help answers without it

    data = read_bytes(path, remedy=remedy, most=MOST_PARQUET_BYTES)
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        seal = (file.metadata.metadata or {}).get(PARQUET_SEAL.encode(), b"").decode(errors="replace")
        if seal and hashlib.sha256(_with_seal(data, BLANK, seal)).hexdigest() != seal:
            raise changed(path, remedy=remedy)
        return file.read(use_threads=False)
    except (pa.ArrowException, OSError, ValueError) as error:
        problem = f"the file is not readable Parquet: {str(error).splitlines()[0][:200]}"
        raise DamagedError(problem, place=str(path), remedy=remedy) from None


def _with_seal(data: bytes, seal: str, old: str = BLANK) -> bytes:
    """Return a Parquet file's bytes with another seal in its footer, which stands at the end."""
    at = data.rfind(old.encode())
    return data[:at] + seal.encode() + data[at + len(old) :]


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
    """Return the hexadecimal SHA-256 of a file's bytes, read in pieces; raise DamagedError where it cannot be read."""
    with ordinary_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digests_of(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below a folder, by its path from there; that of DIGESTS left out."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != DIGESTS)
    return {path.relative_to(folder).as_posix(): sha256_of_file(path) for path in paths}


def sums_text(digests: dict[str, str]) -> str:
    """Return digests as `sha256sum` writes them."""
    return "".join(f"{digest}  {name}\n" for name, digest in digests.items())


def check_sums(folder: Path, *, remedy: str) -> None:
    """Raise DamagedError that names a file of a folder which is not as its SUMS says; without SUMS, do nothing."""
    path = folder / SUMS
    if not path.exists():
        return
    lines = read_bytes(path, remedy=remedy).decode(errors="replace").splitlines()
    stated = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    if sums_text(stated).encode() != read_bytes(path):
        raise changed(path, remedy=remedy)
    for name, digest in stated.items():
        file = folder / name
        if not file.is_file() or sha256_of_file(file) != digest:
            raise DamagedError(f"this is not the file that {SUMS} beside it names", place=str(file), remedy=remedy)


def write_digests(folder: Path) -> None:
    """Note beside the files of a folder what they are, so that `check_digests` notices a change."""
    write_sealed(folder / DIGESTS, {"files": digests_of(folder)})


def check_digests(folder: Path, *, remedy: str) -> None:
    """Raise DamagedError that names a file of a folder which is not as `write_digests` noted it."""
    stated = read_sealed(folder / DIGESTS, remedy=remedy).get("files")
    if not isinstance(stated, dict):
        raise changed(folder / DIGESTS, remedy=remedy)
    check_files(folder, stated, remedy=remedy)


def check_files(folder: Path, stated: dict[str, str], *, remedy: str) -> None:
    """Raise DamagedError that names a file below a folder which has another digest, is gone or has come since."""
    found = digests_of(folder)
    for name in sorted({*stated, *found}):
        if name not in found:
            raise DamagedError("a file is gone", place=str(folder / name), remedy=remedy)
        if found[name] != stated.get(name):
            raise changed(folder / name, remedy=remedy)


def sha256_of(document: object) -> str:
    """Return the hexadecimal SHA-256 of a document's canonical JSON (sorted keys, no spaces)."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def short_id(document: object) -> str:
    """Return the 8 hexadecimal digits that name a split or a run: a pure function of what determined it."""
    return sha256_of(document)[:8]
