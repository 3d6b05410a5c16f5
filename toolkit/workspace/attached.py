"""A study's own data about its patients, `attached/NAME.parquet`: a sealed file for each that was attached."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from toolkit.errors import DamagedError
from toolkit.files import changed, read_parquet, write_parquet
from toolkit.workspace.registry import Workspace

COLUMNS = ("file", "patient_id", "name", "kind", "value")
SCHEMA = pa.schema([(name, pa.string()) for name in COLUMNS])
AGAIN = "attach the file that it came from again, or move it away and parse"


def record(workspace: Workspace, name: str, rows: list[dict[str, str]]) -> bool:
    """Keep what a file says; return whether it takes the place of an earlier one of its name."""
    path = file_of(workspace, name)
    is_replaced = path.exists()
    write_parquet(path, pa.Table.from_pylist([{"file": name, **row} for row in rows], schema=SCHEMA))
    return is_replaced


def read(workspace: Workspace, *, but: str | None = None) -> pa.Table:
    """Return what all files say, but for one; raise DamagedError for a file that was changed."""
    paths = [path for path in _paths(workspace) if path.stem != but]
    return pa.concat_tables([SCHEMA.empty_table(), *map(_read, paths)])


def of_persons(workspace: Workspace, one_person: Callable[[str], tuple[str, ...]]) -> pa.Table:
    """Return what all files say, by the first pseudonym of each person."""
    rows = read(workspace)
    persons = [one_person(patient)[0] for patient in rows["patient_id"].to_pylist()]
    return rows.set_column(COLUMNS.index("patient_id"), "patient_id", pa.array(persons, pa.string()))


def leave_out(workspace: Workspace, persons: tuple[str, ...]) -> None:
    """Remove patients from every file; a file that nobody can read goes as a whole."""
    for path in _paths(workspace):
        try:
            rows = _read(path)
        except DamagedError:
            path.unlink()
            continue
        kept = rows.filter(pa.array([patient not in persons for patient in rows["patient_id"].to_pylist()], pa.bool_()))
        if not kept.num_rows:
            path.unlink()
        elif kept.num_rows < rows.num_rows:
            write_parquet(path, kept)


def file_of(workspace: Workspace, name: str) -> Path:
    """Return where the data of a file of this name are kept."""
    return workspace.folder / "attached" / f"{name}.parquet"


def _read(path: Path) -> pa.Table:
    rows = read_parquet(path, remedy=AGAIN)
    if rows.schema.names != list(COLUMNS):
        raise changed(path, remedy=AGAIN)
    return rows.cast(SCHEMA)


def _paths(workspace: Workspace) -> list[Path]:
    return sorted((workspace.folder / "attached").glob("[!.]*.parquet"))
