"""What the registry holds of a patient, and a copy of the registry without what was removed."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from toolkit.stages.withdraw.results import predicted_cases, shards, split_cases
from toolkit.workspace import sql
from toolkit.workspace.registry import Workspace, table_names, table_schema

FILTERED = ("findings", "duplicates", "splits", "predictions")
"""Tables that may lose rows; `sql/stages/withdraw/kept_rows.sql` says which stay."""
SCORES = (
    *("departures", "scores", "temperatures", "calibration_bins", "operating_points", "guarantees"),
    *("decision_curves", "subgroup_scores", "comparisons", "agreement"),
)
"""Tables of which only the rows of runs that still have their scores stay."""


def photographs_in(workspace: Workspace) -> list[dict]:
    """Return the registry's photographs: image_id, patient_id, path."""
    return _rows(workspace, "select image_id, patient_id, path from images")


def cases_of(workspace: Workspace, images: set[str]) -> set[str]:
    """Return the cases on photographs."""
    cases = _rows(workspace, "select case_id, image_id from cases")
    return {row["case_id"] for row in cases if row["image_id"] in images}


def files_of(photographs: list[dict], images: set[str]) -> set[Path]:
    """Return the files of some photographs that no other photograph shares."""
    own = {row["path"] for row in photographs if row["image_id"] in images}
    others = {row["path"] for row in photographs if row["image_id"] not in images}
    return {Path(path) for path in own - others - {None}}


def _rows(workspace: Workspace, text: str) -> list[dict]:
    return workspace.rows(text) if workspace.is_parsed() else []


def make_anew(workspace: Workspace) -> None:
    """Copy the registry's living rows into a new file: a deleted row's bytes stay in DuckDB's file until then."""
    splits = [(split_id, row.case_id) for split_id, rows in split_cases(workspace).items() for row in rows]
    predictions = [(run_id, case_id) for run_id, path in shards(workspace) for case_id in predicted_cases(path)]
    scores = [(path.parent.name,) for path in (workspace.folder / "runs").glob("*/scores.parquet")]
    with tempfile.TemporaryDirectory(dir=workspace.folder, prefix=".parse-") as name:
        fresh = Workspace(Path(name))
        with fresh.writing() as connection:
            connection.execute(f"attach {sql.quoted(str(workspace.registry))} as old (read_only)")
            connection.register("split_files", _text_table(("split_id", "case_id"), splits))
            connection.register("prediction_files", _text_table(("run_id", "case_id"), predictions))
            connection.register("score_files", _text_table(("run_id",), scores))
            connection.execute(sql.statement("withdraw/kept_rows"))
            for table in table_names():
                connection.execute(f"insert into {table} by name select * from {_kept_rows(table)}")  # noqa: S608 - names of our schema
        fresh.registry.replace(workspace.registry)
        workspace.registry.with_name(f"{workspace.registry.name}.wal").unlink(missing_ok=True)


def _kept_rows(table: str) -> str:
    """Return where a table's rows are copied from: those that stay where some may go, else all of them."""
    if table in FILTERED:
        return f"kept_{table}"
    kept = [f"{run} in (from score_files)" for run in ("run_id", "other_run_id") if run in table_schema(table).names]
    return f"old.{table} where {' and '.join(kept)}" if table in SCORES else f"old.{table}"


def _text_table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> pa.Table:
    return pa.table({name: pa.array([row[place] for row in rows], pa.string()) for place, name in enumerate(columns)})
