"""The tables that `evaluate` writes: as Parquet beside the run and in the registry; each scoring is in the ledger."""

import hashlib
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from toolkit.errors import DamagedError
from toolkit.files import parquet_bytes, read_sealed, sha256_of_file, write_atomically, write_sealed
from toolkit.workspace import ledger
from toolkit.workspace.registry import Workspace, insert, table_schema

TABLES = (
    "scores",
    "temperatures",
    "calibration_bins",
    "operating_points",
    "guarantees",
    "decision_curves",
    "subgroup_scores",
    "agreement",
)
"""Every table of a run's evaluation."""
SCORES = "scores.parquet"
OPEN = "scoring.json"
"""Beside a run while it is scored: a scoring that was interrupted is the same one when the command is run again."""


def file_schema(name: str) -> pa.Schema:
    """Return the columns of a table's Parquet file: those of the registry, but the truth's ID follows the part."""
    schema = table_schema(name)
    names = schema.names
    if "part" in names:
        names.remove("truth_id")
        names.insert(names.index("part") + 1, "truth_id")
    return pa.schema([schema.field(column) for column in names])


def record(
    workspace: Workspace, run_id: str, rows: dict[str, list[dict[str, Any]]], scorings: list[dict[str, Any]]
) -> None:
    """Write the tables as Parquet, note the scorings in the ledger, and mirror both in the registry.

    The scorings are open until `finish` is called. Where an interrupted attempt was to give the same scores, they are
    that attempt's, at its time, and count once.
    """
    check_ledger(workspace, run_id)
    folder = workspace.run(run_id)
    tables = {name: pa.Table.from_pylist(rows[name], schema=file_schema(name)) for name in TABLES}
    files = {f"{name}.parquet": parquet_bytes(table) for name, table in tables.items()}
    digest = hashlib.sha256(files[SCORES]).hexdigest()
    noted = _open(folder, [{**scoring, "scored_at": scoring["scored_at"].isoformat()} for scoring in scorings], digest)
    for name, data in files.items():
        write_atomically(folder / name, data)
    ledger.append(workspace, [{"kind": "scoring", **scoring, "scores_sha256": digest} for scoring in noted])
    with workspace.writing() as connection:
        for name, table in tables.items():
            connection.execute(f"delete from {name} where run_id = ?", [run_id])  # noqa: S608 - a name of our own
            insert(connection, name, table)
        mirror_scorings(connection, workspace, run_id)


def _open(folder: Path, scorings: list[dict[str, Any]], digest: str) -> list[dict[str, Any]]:
    """Note that a run is being scored; return the scorings, or those of an attempt that was to give the same."""
    path = folder / OPEN
    if path.exists():
        begun = read_sealed(path, remedy="toolkit evaluate scores the run again once the file is moved away")
        if begun["scores_sha256"] == digest and _without_times(begun["scorings"]) == _without_times(scorings):
            return begun["scorings"]
    write_sealed(path, {"scorings": scorings, "scores_sha256": digest})
    return scorings


def _without_times(scorings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in scoring.items() if key != "scored_at"} for scoring in scorings]


def finish(workspace: Workspace, run_id: str) -> None:
    """Close a run's scorings: the next ones are others."""
    (workspace.run(run_id) / OPEN).unlink(missing_ok=True)


def mirror_scorings(connection: duckdb.DuckDBPyConnection, workspace: Workspace, run_id: str | None = None) -> None:
    """Replace the registry's scorings of a run, or of all runs, by those of the ledger."""
    if run_id is None:
        connection.execute("delete from evaluations")
    else:
        connection.execute("delete from evaluations where run_id = ?", [run_id])
    known = {name for (name,) in connection.execute("select run_id from runs").fetchall()}
    scorings = [scoring for scoring in ledger.scorings_of(workspace, run_id) if scoring["run_id"] in known]
    columns = table_schema("evaluations").names
    rows = [{name: scoring.get(name) for name in columns} for scoring in scorings]
    if rows:
        insert(connection, "evaluations", pa.Table.from_pylist(rows, schema=table_schema("evaluations")))


def check_ledger(workspace: Workspace, run_id: str) -> None:
    """Raise DamagedError where the ledger lacks a scoring that the registry or the run's own scores tell of."""
    if lost := [row for row in unnoted(workspace) if row["run_id"] == run_id]:
        raise _lost(workspace, f"the scoring of {lost[0]['part']} at {lost[0]['scored_at']}, which the registry holds")
    check_scores(workspace, run_id)


def check_scores(workspace: Workspace, run_id: str) -> None:
    """Raise DamagedError where the ledger does not know the scores that stand beside a run."""
    folder = workspace.run(run_id)
    if not (folder / SCORES).exists() or (folder / OPEN).exists():
        return
    # Scorings that an earlier version noted say nothing of the scores' digest.
    known = {scoring.get("scores_sha256") for scoring in ledger.scorings_of(workspace, run_id)}
    if None not in known and sha256_of_file(folder / SCORES) not in known:
        raise _lost(workspace, f"the scoring of run {run_id} that {SCORES} is from; or that file was changed")


def unnoted(workspace: Workspace) -> list[dict[str, Any]]:
    """Return the scorings that the registry holds and the ledger does not."""
    noted = {(each["run_id"], each["part"], each["scored_at"]) for each in ledger.scorings_of(workspace)}
    rows = workspace.rows("from evaluations order by scored_at, run_id, part")
    return [row for row in rows if (row["run_id"], row["part"], row["scored_at"]) not in noted]


def _lost(workspace: Workspace, what: str) -> DamagedError:
    return DamagedError(
        f"the ledger lacks {what}",
        place=str(ledger.path_of(workspace)),
        remedy="restore it from a backup; toolkit rebuild takes back the scorings that the registry still holds",
    )
