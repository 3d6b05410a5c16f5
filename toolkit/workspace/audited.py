"""What `audit` found: the findings, the pairs of duplicates and what was searched, as Parquet and in the registry."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from toolkit.files import read_parquet, write_parquet
from toolkit.workspace.registry import Workspace, insert, table_schema

ONCE_WITHOUT_FILES = ("duplicates", "duplicate_searches", "findings")
"""Those that earlier versions left in the registry alone."""
TABLES = (
    *ONCE_WITHOUT_FILES,
    *("same_lesion_pairs", "same_lesion_searches", "photograph_quality", "label_evidence", "label_searches"),
)
"""Every table that `audit` writes; of the findings, those that it made."""
AUDIT_AGAIN = "restore the file from a backup, or move the folder away: toolkit audit makes it again"


def record(workspace: Workspace, tables: dict[str, pa.Table]) -> None:
    """Replace some of the tables, as files and in the registry; nothing is written where both hold the same."""
    with workspace.reading():
        if all(_is_recorded(workspace, name, table) for name, table in tables.items()):
            return
    for name, table in tables.items():
        write_parquet(_file(workspace, name), table)
    with workspace.writing() as connection:
        for name, table in tables.items():
            connection.execute(f"delete from {name}{_own(name)}")  # noqa: S608 - names of our own schema
            insert(connection, name, table)


def _is_recorded(workspace: Workspace, name: str, table: pa.Table) -> bool:
    file = _file(workspace, name)
    if not (file.is_file() and workspace.has_table(name)):
        return False
    columns = ", ".join(table.column_names)
    registered = workspace.read(f"select {columns} from {name}{_own(name)}")  # noqa: S608 - our own names
    try:
        same = registered.cast(table.schema).equals(table)
    except pa.ArrowInvalid:
        return False
    return same and read_parquet(file, remedy=AUDIT_AGAIN).equals(table)


def read(workspace: Workspace) -> Iterator[tuple[str, pa.Table]]:
    """Yield the tables that an audit has written, by name."""
    for name in TABLES:
        path = _file(workspace, name)
        if path.exists():
            yield name, read_parquet(path, remedy=AUDIT_AGAIN)


def adopt(workspace: Workspace) -> None:
    """Write the files that earlier versions did not write, from what the registry holds."""
    for name in ONCE_WITHOUT_FILES:
        if not _file(workspace, name).exists():
            columns = ", ".join(table_schema(name).names)
            table = workspace.read(f"select {columns} from {name}{_own(name)} order by all")  # noqa: S608 - our own names
            if table.num_rows:
                write_parquet(_file(workspace, name), table.cast(table_schema(name)))


def leave_out(workspace: Workspace, *, images: set[str], cases: set[str]) -> None:
    """Remove the rows about some photographs and cases from the files."""
    asked = {"image_id": images, "other_image_id": images, "case_id": cases, "other_case_id": cases}
    for name, table in list(read(workspace)):
        kept = [all(row[column] not in asked[column] for column in row if column in asked) for row in table.to_pylist()]
        write_parquet(_file(workspace, name), table.filter(pa.array(kept, pa.bool_())))


def _own(name: str) -> str:
    return " where source = 'audit'" if name == "findings" else ""


def _file(workspace: Workspace, name: str) -> Path:
    return workspace.folder / "audit" / f"{name}.parquet"
