"""The tables that `evaluate` writes: their columns, their files beside the run, their mirror in the registry.

Refuses to compute.
"""

import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from toolkit.files import write_atomically, written_atomically
from toolkit.workspace.registry import Workspace, insert

INTERVAL = [("value", pa.float64()), ("low", pa.float64()), ("high", pa.float64()), ("confidence", pa.float64())]
SUPPORT = [("cases", pa.int64()), ("patients", pa.int64())]
MADE = [("method", pa.string()), ("replicates", pa.int64()), *SUPPORT]
KEY = [("run_id", pa.string()), ("part", pa.string()), ("truth_id", pa.string())]
SCHEMAS = {
    "scores": pa.schema(
        [
            *KEY,
            ("metric", pa.string()),
            ("class_name", pa.string()),
            *INTERVAL,
            *MADE,
            ("too_few", pa.bool_()),
            ("classes", pa.int64()),
            ("query", pa.string()),
        ]
    ),
    "temperatures": pa.schema(
        [
            ("run_id", pa.string()),
            ("temperature", pa.float64()),
            ("fitted_on", pa.string()),
            ("cases", pa.int64()),
            ("truth_id", pa.string()),
        ]
    ),
    "calibration_bins": pa.schema(
        [
            *KEY,
            ("probabilities", pa.string()),
            ("class_name", pa.string()),
            *((name, pa.float64()) for name in ("low_edge", "high_edge")),
            *SUPPORT,
            *((name, pa.float64()) for name in ("chance", "came", "low", "high", "confidence")),
            ("method", pa.string()),
        ]
    ),
    "operating_points": pa.schema(
        [
            *KEY,
            ("target", pa.string()),
            ("classes", pa.string()),
            ("rule", pa.string()),
            ("required", pa.float64()),
            ("threshold", pa.float64()),
            ("metric", pa.string()),
            *INTERVAL,
            ("method", pa.string()),
            *SUPPORT,
            ("too_few", pa.bool_()),
            ("query", pa.string()),
        ]
    ),
    "guarantees": pa.schema(
        [
            *KEY,
            ("target", pa.string()),
            ("required", pa.float64()),
            ("confidence", pa.float64()),
            *((name, pa.int64()) for name in ("positives", "found", "patients", "patients_found")),
            ("at_least", pa.float64()),
            ("vouched", pa.bool_()),
            ("needed_without_a_miss", pa.int64()),
            ("needed", pa.int64()),
        ]
    ),
    "decision_curves": pa.schema(
        [
            *KEY,
            ("target", pa.string()),
            *((name, pa.float64()) for name in ("threshold", "net_benefit", "low", "high", "everyone", "confidence")),
            *MADE,
        ]
    ),
    "subgroup_scores": pa.schema(
        [
            ("group_name", pa.string()),
            ("group_value", pa.string()),
            *KEY,
            ("metric", pa.string()),
            ("class_name", pa.string()),
            *INTERVAL,
            *MADE,
            *((name, pa.float64()) for name in ("difference", "difference_low", "difference_high", "p", "q")),
            ("worst", pa.bool_()),
            ("refused", pa.string()),
        ]
    ),
    "agreement": pa.schema(
        [
            *KEY,
            *((name, pa.string()) for name in ("measure", "reader", "other_reader", "class_name")),
            *INTERVAL,
            *MADE,
        ]
    ),
}
"""Every table of a run's evaluation."""


def record(workspace: Workspace, run_id: str, tables: dict[str, list[dict[str, Any]]], looks: list[dict]) -> None:
    """Write the tables as Parquet, append to the ledger of scorings, mirror both in the registry."""
    folder = workspace.run(run_id)
    made = {name: pa.Table.from_pylist(tables[name], schema=schema) for name, schema in SCHEMAS.items()}
    for name, table in made.items():
        with written_atomically(folder / f"{name}.parquet") as temporary:
            pq.write_table(table, temporary)
    ledger = folder / "evaluations.jsonl"
    before = ledger.read_bytes() if ledger.exists() else b""
    lines = [json.dumps({**look, "scored_at": look["scored_at"].isoformat()}) for look in looks]
    write_atomically(ledger, before + "".join(f"{line}\n" for line in lines).encode())
    with workspace.writing() as connection:
        for name, table in made.items():
            connection.execute(f"delete from {name} where run_id = ?", [run_id])  # noqa: S608 - a name of our own
            insert(connection, name, table)
        insert(connection, "evaluations", pa.Table.from_pylist(looks))
