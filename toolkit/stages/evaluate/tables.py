"""The tables that `evaluate` writes, as Parquet beside the run and in the registry, and the ledger of scorings."""

import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from toolkit.files import write_atomically, written_atomically
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
    """Write the tables as Parquet, append to the ledger of scorings, mirror both in the registry."""
    folder = workspace.run(run_id)
    tables = {name: pa.Table.from_pylist(rows[name], schema=file_schema(name)) for name in TABLES}
    for name, table in tables.items():
        with written_atomically(folder / f"{name}.parquet") as temporary:
            pq.write_table(table, temporary)
    ledger = folder / "evaluations.jsonl"
    before = ledger.read_bytes() if ledger.exists() else b""
    lines = [json.dumps({**scoring, "scored_at": scoring["scored_at"].isoformat()}) for scoring in scorings]
    write_atomically(ledger, before + "".join(f"{line}\n" for line in lines).encode())
    with workspace.writing() as connection:
        for name, table in tables.items():
            connection.execute(f"delete from {name} where run_id = ?", [run_id])  # noqa: S608 - a name of our own
            insert(connection, name, table)
        insert(connection, "evaluations", pa.Table.from_pylist(scorings))
