"""What the registry holds of a patient, and a copy of the registry without what was removed."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from toolkit.stages.withdraw.results import shards, split_cases
from toolkit.workspace import sql
from toolkit.workspace.registry import Workspace


def images_of(workspace: Workspace, patient: str) -> set[str]:
    """Return a patient's photographs."""
    return _texts(workspace, "select image_id from images where patient_id = $patient", patient=patient)


def images_such(workspace: Workspace, wanted: Callable[[str], bool]) -> set[str]:
    """Return the photographs whose IDs are wanted."""
    return set(filter(wanted, _texts(workspace, "select image_id from images")))


def cases_of(workspace: Workspace, images: set[str]) -> set[str]:
    """Return the cases on photographs."""
    return {
        row["case_id"] for row in _rows(workspace, "select case_id, image_id from cases") if row["image_id"] in images
    }


def files_of(workspace: Workspace, images: set[str]) -> set[Path]:
    """Return the files of photographs that no other photograph shares."""
    rows = _rows(workspace, "select image_id, path from images where path is not null")
    others = {row["path"] for row in rows if row["image_id"] not in images}
    return {Path(row["path"]) for row in rows if row["image_id"] in images and row["path"] not in others}


def _texts(workspace: Workspace, text: str, **parameters: str) -> set[str]:
    return {next(iter(row.values())) for row in _rows(workspace, text, **parameters)}


def _rows(workspace: Workspace, text: str, **parameters: str) -> list[dict]:
    return workspace.rows(text, parameters) if workspace.is_parsed() else []


def make_anew(workspace: Workspace) -> None:
    """Copy the registry's living rows into a new file: a deleted row's bytes stay in DuckDB's file until then."""
    held = {
        "held_splits": [
            (split_id, row["case_id"]) for split_id, rows in split_cases(workspace).items() for row in rows
        ],
        "held_predictions": [(run_id, case) for run_id, path in shards(workspace) for case in _case_ids(path)],
        "held_scores": [(path.parent.name, "") for path in (workspace.folder / "runs").glob("*/scores.parquet")],
    }
    with tempfile.TemporaryDirectory(dir=workspace.folder, prefix=".parse-") as name:
        fresh = Workspace(Path(name))
        with fresh.writing() as connection:
            connection.execute(f"attach {sql.quoted(str(workspace.registry))} as old (read_only)")
            for table, pairs in held.items():
                of, cases = (pa.array([pair[place] for pair in pairs], pa.string()) for place in (0, 1))
                connection.register(table, pa.table({"held_by": of, "case_id": cases}))
            connection.execute(sql.statement("withdraw/copy_registry"))
        fresh.registry.replace(workspace.registry)
        workspace.registry.with_name(f"{workspace.registry.name}.wal").unlink(missing_ok=True)


def _case_ids(path: Path) -> list[str]:
    return pq.read_table(path, columns=["case_id"])["case_id"].to_pylist()
