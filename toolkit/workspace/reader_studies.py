"""The tables that `readers` writes: as Parquet in the workspace and in the registry; each study replaces the last."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from toolkit.files import read_parquet, write_parquet
from toolkit.workspace.registry import Workspace, insert, table_schema

TABLES = ("reader_study", "reader_components", "reader_left_out")
"""Every table of a reader study."""
READ_AGAIN = "restore the file from a backup, or move the folder away: toolkit readers makes it again"


def record(workspace: Workspace, tables: dict[str, pa.Table]) -> None:
    """Replace the tables, as files and in the registry."""
    for name, table in tables.items():
        write_parquet(_file(workspace, name), table.cast(table_schema(name)))
    with workspace.writing() as connection:
        for name, table in tables.items():
            connection.execute(f"delete from {name}")  # noqa: S608 - names of our own schema
            insert(connection, name, table)


def read(workspace: Workspace) -> Iterator[tuple[str, pa.Table]]:
    """Yield the tables that a reader study has written, by name."""
    for name in TABLES:
        if _file(workspace, name).exists():
            yield name, read_parquet(_file(workspace, name), remedy=READ_AGAIN)


def forget(workspace: Workspace) -> None:
    """Remove the files: they rest on a patient who leaves, and have to be made again."""
    for name in TABLES:
        _file(workspace, name).unlink(missing_ok=True)


def _file(workspace: Workspace, name: str) -> Path:
    return workspace.folder / "readers" / f"{name}.parquet"
