"""The tables that `evaluate` writes: as Parquet beside the run and in the registry; each scoring is in the ledger."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from toolkit.errors import DamagedError
from toolkit.files import (
    make_folder,
    parquet_bytes,
    read_parquet,
    read_sealed,
    sha256_of_file,
    write_atomically,
    write_sealed,
)
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
KEPT = "scores_as_of"
"""The table of scores by label revision: a file for each export and revision in the folder AS_OF beside the run."""
AS_OF = "as_of"
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
    """Write the tables of an evaluation, and its scores by label revision, as Parquet, and note it in the ledger.

    The registry mirrors both. The scorings are open until `finish` is called. Where an interrupted attempt was to give
    the same scores, they are that attempt's, at its time, and count once.
    """
    tables = {name: pa.Table.from_pylist(rows[name], schema=file_schema(name)) for name in TABLES}
    kept = kept_table(rows[KEPT])
    files = {workspace.run(run_id) / f"{name}.parquet": parquet_bytes(table) for name, table in tables.items()}
    files |= {kept_file(workspace, run_id, kept): parquet_bytes(kept)}
    _write(workspace, run_id, files, scorings, workspace.run(run_id))
    with workspace.writing() as connection:
        for name, table in tables.items():
            connection.execute(f"delete from {name} where run_id = ?", [run_id])  # noqa: S608 - a name of our own
            insert(connection, name, table)
        _mirror_kept(connection, run_id, kept)
        mirror_scorings(connection, workspace, run_id)


def record_as_of(workspace: Workspace, run_id: str, rows: list[dict[str, Any]], scorings: list[dict[str, Any]]) -> None:
    """Keep the scores of one label revision, and note the scoring, as `record` does; the other tables stay."""
    kept = kept_table(rows)
    path = kept_file(workspace, run_id, kept)
    _write(workspace, run_id, {path: parquet_bytes(kept)}, scorings, path.parent)
    with workspace.writing() as connection:
        _mirror_kept(connection, run_id, kept)
        mirror_scorings(connection, workspace, run_id)


def kept_table(rows: list[dict[str, Any]]) -> pa.Table:
    """Return scores of one label revision with the columns of their file."""
    return pa.Table.from_pylist(rows, schema=file_schema(KEPT))


def kept_file(workspace: Workspace, run_id: str, kept: pa.Table) -> Path:
    """Return the file that holds a run's scores of one label revision."""
    export_id, truth_id = (kept[column][0].as_py() for column in ("export_id", "truth_id"))
    return workspace.run(run_id) / AS_OF / f"{export_id}-{truth_id}.parquet"


def kept_tables(workspace: Workspace, run_id: str, *, remedy: str) -> Iterator[pa.Table]:
    """Yield a run's scores of each label revision; raise DamagedError where the ledger does not know them."""
    for path in sorted((workspace.run(run_id) / AS_OF).glob("[!.]*.parquet")):
        _check(workspace, run_id, path)
        yield read_parquet(path, remedy=remedy)


def _mirror_kept(connection: duckdb.DuckDBPyConnection, run_id: str, kept: pa.Table) -> None:
    key = [run_id, kept["export_id"][0].as_py(), kept["truth_id"][0].as_py()]
    connection.execute("delete from scores_as_of where run_id = ? and export_id = ? and truth_id = ?", key)
    insert(connection, KEPT, kept)


def _write(
    workspace: Workspace, run_id: str, files: dict[Path, bytes], scorings: list[dict[str, Any]], folder: Path
) -> None:
    """Write an evaluation's files and note its scorings, which are open in `folder`."""
    check_ledger(workspace, run_id)
    make_folder(workspace.run(run_id) / AS_OF)
    digests = {path: hashlib.sha256(data).hexdigest() for path, data in files.items()}
    of_revision = next(digest for path, digest in digests.items() if path.parent.name == AS_OF)
    digest = digests.get(workspace.run(run_id) / SCORES, of_revision)
    noted = _open(folder, [{**scoring, "scored_at": scoring["scored_at"].isoformat()} for scoring in scorings], digest)
    for path, data in files.items():
        write_atomically(path, data)
    known = {"kind": "scoring", "scores_sha256": digest, "scores_as_of_sha256": of_revision}
    ledger.append(workspace, [{**scoring, **known} for scoring in noted])


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


def finish_as_of(workspace: Workspace, run_id: str) -> None:
    """Close a run's scorings as of an earlier moment."""
    (workspace.run(run_id) / AS_OF / OPEN).unlink(missing_ok=True)


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
    if (path := workspace.run(run_id) / SCORES).exists():
        _check(workspace, run_id, path)


def _check(workspace: Workspace, run_id: str, path: Path) -> None:
    """Raise DamagedError where the ledger does not know a file of a run's scores, unless it is being scored."""
    folder = workspace.run(run_id)
    if (path.parent / OPEN).exists() or (folder / OPEN).exists():
        return
    # Scorings that an earlier version noted say nothing of the scores' digest.
    scorings = ledger.scorings_of(workspace, run_id)
    known = {scoring.get(key) for scoring in scorings for key in ("scores_sha256", "scores_as_of_sha256")}
    earlier = any(scoring.get("scores_sha256") is None for scoring in scorings)
    if not earlier and sha256_of_file(path) not in known:
        name = path.relative_to(folder)
        raise _lost(workspace, f"the scoring of run {run_id} that {name} is from; or that file was changed")


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
