"""The registry's tables that are no labels, from splits and runs to pushes and releases, read from their files.

`rebuild` fills a new registry with them, beside the tables that `parse` makes from the landed exports.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from toolkit.errors import DamagedError
from toolkit.files import read_parquet
from toolkit.workspace import audited, ledger, pushes, queues, reader_studies, releases, results, runs
from toolkit.workspace.certificate import CERTIFICATE, has_certificate, read_certificate, read_rows, split_folders
from toolkit.workspace.registry import Workspace, insert, table_schema
from toolkit.workspace.verification import certified_split

SCORE_AGAIN = (
    "restore the file from a backup, or move it away: toolkit evaluate makes it again (--as-of EXPORT one in as_of/)"
)


def restore(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> None:
    """Insert what stands in the workspace's files into the empty tables of a registry.

    Raises DamagedError for a file that was changed after it was written.
    """
    for folder in split_folders(workspace):
        if _holds_a_split(workspace, folder):
            insert(connection, "splits", split_rows(workspace, folder.name))
    records = list(runs.records(workspace))
    for record in records:
        runs.insert_run(connection, record)
    for record in records:
        for table in predictions(workspace, record.run_id):
            insert(connection, "predictions", table)
        for name, table in _results(workspace, record.run_id):
            insert(connection, name, table)
    results.mirror_scorings(connection, workspace)
    for table in _comparisons(workspace):
        insert(connection, "comparisons", table)
    for name, table in (*audited.read(workspace), *reader_studies.read(workspace), *queues.read(workspace)):
        insert(connection, name, table)
    insert(connection, "pushes", pushes.read(workspace))
    insert(connection, "releases", releases.read(workspace))


def _holds_a_split(workspace: Workspace, folder: Path) -> bool:
    """Tell whether a folder holds a split; one that a killed command left without its certificate holds none yet.

    Raises LeakError for a split that is not the one that the ledger knows.
    """
    if not has_certificate(folder) and ledger.last(workspace, "split", folder.name) is None:
        return False
    certified_split(workspace, folder.name)
    return True


def adopt(workspace: Workspace) -> None:
    """Write what earlier versions left in the registry alone into files, and scorings that the ledger has lost.

    Nothing is done where there is no registry that can be read.
    """
    try:
        if not workspace.is_parsed():
            return
        splits = workspace.rows("select split_id, min(created_at) as made from splits group by split_id order by all")
        scorings = results.unnoted(workspace)
    except DamagedError:
        return
    noted = {entry["split_id"] for entry in ledger.entries(workspace, "split")}
    for row in splits:
        if row["split_id"] not in noted and has_certificate(workspace.split(row["split_id"])):
            note_split(workspace, row["split_id"], row["made"])
    rows = [{"kind": "scoring", **row, "scored_at": row["scored_at"].isoformat()} for row in scorings]
    ledger.append(workspace, rows)
    audited.adopt(workspace)


def note_split(workspace: Workspace, split_id: str, created_at: datetime, *, folder: Path | None = None) -> None:
    """Note in the ledger which certificate a split has now, or will have once `folder` is in its place."""
    seal = read_certificate(folder or workspace.split(split_id))["seal"]
    entry = {"kind": "split", "split_id": split_id, "seal": seal, "created_at": created_at.isoformat()}
    ledger.append(workspace, [entry])


def split_rows(workspace: Workspace, split_id: str) -> pa.Table:
    """Return a split's rows of the table `splits`; its time stands in the ledger, else it is its file's."""
    rows, created_at = read_rows(workspace.split(split_id)), split_time(workspace, split_id)
    columns: dict[str, list[Any]] = {
        name: [getattr(row, name) for row in rows] for name in ("case_id", "part", "class_name")
    }
    columns |= {"split_id": [split_id] * len(rows), "created_at": [created_at] * len(rows)}
    return pa.Table.from_pydict(columns, schema=table_schema("splits"))


def split_time(workspace: Workspace, split_id: str) -> datetime:
    """Return when a split was made (UTC): as the ledger says, else when its certificate was written."""
    noted = [entry for entry in ledger.entries(workspace, "split") if entry["split_id"] == split_id]
    if noted:
        return datetime.fromisoformat(noted[0]["created_at"])
    written = (workspace.split(split_id) / CERTIFICATE).stat().st_mtime
    return datetime.fromtimestamp(written, UTC).replace(tzinfo=None)


def predictions(workspace: Workspace, run_id: str) -> Iterator[pa.Table]:
    """Yield a run's predictions, a file at a time."""
    for path in runs.predicted_files(workspace, run_id):
        table = read_parquet(path, remedy=f"move the file away: toolkit predict --run {run_id} makes it again")
        yield table.cast(table_schema("predictions"))


def _results(workspace: Workspace, run_id: str) -> Iterator[tuple[str, pa.Table]]:
    """Yield the tables of a run's evaluation, unless it was interrupted before it counted, and its earlier scores."""
    folder = workspace.run(run_id)
    for table in results.kept_tables(workspace, run_id, remedy=SCORE_AGAIN):
        yield results.KEPT, table
    if not (folder / results.SCORES).exists():
        return
    results.check_scores(workspace, run_id)
    for name in (*results.TABLES, "departures"):
        path = folder / f"{name}.parquet"
        if path.exists():
            yield name, read_parquet(path, remedy=SCORE_AGAIN)


def _comparisons(workspace: Workspace) -> Iterator[pa.Table]:
    """Yield the comparisons of scored runs. Earlier versions wrote the effect of relabelling beside any comparison."""
    scored = {path.parent.name for path in workspace.folder.glob(f"runs/[!.]*/{results.SCORES}")}
    for run_id in sorted(scored):
        paths = sorted(workspace.run(run_id).glob("compared-with-*.parquet"), key=lambda path: path.stat().st_mtime_ns)
        relabelled = None
        for path in paths:
            table = read_parquet(path, remedy="restore the file from a backup, or compare the runs again")
            rows = table.to_pylist()
            if {row["other_run_id"] for row in rows} <= scored:
                yield table.filter(pa.array([row["cause"] == "model" for row in rows], pa.bool_()))
                own = pa.array([row["cause"] == "relabelling" for row in rows], pa.bool_())
                relabelled = table.filter(own) if table.filter(own).num_rows else relabelled
        if relabelled is not None:
            yield relabelled
