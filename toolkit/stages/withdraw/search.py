"""The proof of a withdrawal: every file of the workspace is searched for what leads to the patient."""

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

import duckdb

from toolkit.files import read_parquet
from toolkit.progress import Progress
from toolkit.workspace import sql
from toolkit.workspace.registry import Workspace, table_names
from toolkit.workspace.withdrawn import WITHDRAWN_FILE

NUMBERS_ONLY = {"checkpoint", "training", "models", "features"}
"""Folders of weights and of what networks compute: no identifier is written there."""
SHORTEST = 4
"""Characters of an identifier that is searched for; a shorter one stands in many texts by chance."""
BLOCK = 1 << 24
OVERLAP = 1 << 10


def traces_left(workspace: Workspace, identifier: str, ids: set[str], progress: Progress) -> tuple[int, list[str]]:
    """Return how many files were searched, and those that still hold a patient's identifier or one of the `ids`.

    The list of withdrawn patients holds the pseudonyms and is left out. So are the landed exports for the identifier
    as a word: rows of other patients may mention it, and are counted.
    """
    own = [re.escape(each) for each in sorted(ids)]
    word = [rf"\b{re.escape(identifier)}\b"] if len(identifier) >= SHORTEST else []
    found = []
    paths = list(_files(workspace))
    for number, path in enumerate(paths):
        progress("searching what is left", number, len(paths))
        wanted = own if workspace.exports in path.parents else [*own, *word]
        if wanted and _holds(workspace, path, "(?i)" + "|".join(wanted)):
            found.append(str(path.relative_to(workspace.folder)))
    return len(paths), found


def _files(workspace: Workspace) -> Iterator[Path]:
    for path in sorted(workspace.folder.rglob("*")):
        inside = path.relative_to(workspace.folder).parts
        if path.is_file() and not NUMBERS_ONLY & set(inside) and inside[0] != WITHDRAWN_FILE:
            yield path


def _holds(workspace: Workspace, path: Path, pattern: str) -> bool:
    if path == workspace.registry:
        with workspace.reading() as connection:
            return any(_table_holds(connection, f'"{name}"', pattern) for name in table_names())
    if path.suffix == ".parquet":
        with duckdb.connect(":memory:") as connection:
            connection.register("rows_of_file", read_parquet(path))
            return _table_holds(connection, "rows_of_file", pattern)
    return _bytes_hold(path, re.compile(pattern.encode()))


def _table_holds(connection: duckdb.DuckDBPyConnection, table: str, pattern: str) -> bool:
    text = f"select 1 from {table} as one where regexp_matches(one::text, {sql.quoted(pattern)}) limit 1"  # noqa: S608 - our own names
    return bool(connection.execute(text).fetchall())


def _bytes_hold(path: Path, pattern: re.Pattern[bytes]) -> bool:
    with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
        before = b""
        while block := file.read(BLOCK):
            if pattern.search(before + block):
                return True
            before = block[-OVERLAP:]
    return False
