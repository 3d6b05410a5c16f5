"""What a workspace holds, without the times: to be compared after a command was disturbed and run again."""

import hashlib
import json
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

TIMES = ("scored_at", "created_at", "finished_at", "seconds", "task")
"""Columns and keys that are others each time; Labelbox gives each export a new task."""
DIGESTS_OF_TIMES = ("record_sha256", "previous", "sha256", "seal")
"""Digests of what holds times, too."""


def state_of(workspace: Path) -> dict[str, Any]:
    """Return by name every table of the registry and every file; a page is compared byte for byte."""
    found: dict[str, Any] = {}
    for path in sorted(workspace.rglob("*")):
        if path.is_file():
            name = path.relative_to(workspace).as_posix()
            if path.suffix == ".parquet":
                found[name] = repr(pq.ParquetFile(path).read().to_pylist())
            elif path.name == "ledger.jsonl":
                found[name] = [without_times(json.loads(line)) for line in path.read_text().splitlines()]
            elif path.name == "run.json" or path.match("exports/*.json"):
                found[name] = without_times(json.loads(path.read_text()))
            elif path.name != "registry.duckdb":
                found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        elif not any(path.iterdir()):
            found[f"{path.relative_to(workspace)}/"] = "an empty folder"
    if (workspace / "registry.duckdb").exists():
        found |= {f"table {name}": rows for name, rows in tables_of(workspace / "registry.duckdb").items()}
    return found


def tables_of(registry: Path) -> dict[str, list[tuple]]:
    """Return the sorted rows of every table."""
    with duckdb.connect(str(registry), read_only=True) as connection:
        names = [name for (name,) in connection.execute("select table_name from duckdb_tables()").fetchall()]
        tables = {}
        for name in names:
            columns = [row[0] for row in connection.execute(f"describe {name}").fetchall() if row[0] not in TIMES]
            rows = connection.execute(f"select {', '.join(columns)} from {name}").fetchall()
            tables[name] = sorted(rows, key=repr)
        return tables


def without_times(document: Any) -> Any:
    """Return a document without its times and the digests that depend on them."""
    if isinstance(document, dict):
        return {k: without_times(v) for k, v in document.items() if k not in (*TIMES, *DIGESTS_OF_TIMES)}
    return document


def differences(expected: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """Return the names of what differs."""
    return sorted(name for name in {*expected, *found} if repr(expected.get(name)) != repr(found.get(name)))
