"""Review queues: a sealed file for each, `queues/<queue_id>.json`, and the tables `queues` and `queue_items`."""

import math
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from toolkit.errors import DamagedError, WorkspaceError
from toolkit.files import changed, read_sealed, write_sealed
from toolkit.workspace.names import chosen_id
from toolkit.workspace.registry import Workspace, insert, table_schema

TABLES = ("queues", "queue_items")
NUMBERS = ("score", "probability", "harm")
"""Columns that are NaN where JSON has null."""
LEAST_SCORE = 0.02
"""Probability of an error under which a label gives no reason to look at its patient, and none is shown."""
LOST = "restore the file from a backup, or move it away: toolkit queue makes a queue"


def record(workspace: Workspace, queue: dict[str, Any], items: list[dict[str, Any]]) -> bool:
    """Keep a queue, as a file and in the registry; return False where it is there already.

    One whose command was killed after it was written comes into the registry now.
    """
    path = _file(workspace, queue["queue_id"])
    is_new = not path.exists()
    if is_new:
        path.parent.mkdir(exist_ok=True, mode=0o700)
        write_sealed(path, {"queue": {**queue, "made_at": queue["made_at"].isoformat()}, "items": items})
    key = {"id": queue["queue_id"]}
    if not (workspace.has_table("queues") and workspace.rows("from queues where queue_id = $id", key)):
        kept, of_it = _read(path)
        _mirror(workspace, kept["queue_id"], {"queues": [kept], "queue_items": of_it})
    return is_new


def _mirror(workspace: Workspace, queue_id: str, rows: dict[str, list[dict[str, Any]]]) -> None:
    with workspace.writing() as connection:
        for name in TABLES:
            connection.execute(f"delete from {name} where queue_id = $id", {"id": queue_id})  # noqa: S608 - our own names
            insert(connection, name, pa.Table.from_pylist(rows[name], schema=table_schema(name)))


def read(workspace: Workspace) -> Iterator[tuple[str, pa.Table]]:
    """Yield the tables of every queue that has a file, by name."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
    for path in sorted((workspace.folder / "queues").glob("[!.]*.json")):
        queue, items = _read(path)
        found["queues"].append(queue)
        found["queue_items"] += items
    for name in TABLES:
        yield name, pa.Table.from_pylist(found[name], schema=table_schema(name))


def _read(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    document = read_sealed(path, remedy=LOST)
    try:
        queue = {**document["queue"], "made_at": datetime.fromisoformat(document["queue"]["made_at"])}
        items = [{**item, **{name: _number(item[name]) for name in NUMBERS}} for item in document["items"]]
    except (KeyError, TypeError, ValueError):
        raise changed(path, remedy=LOST) from None
    return queue, items


def _number(stated: float | None) -> float:
    return math.nan if stated is None else stated


def leave_out(workspace: Workspace, cases: set[str]) -> None:
    """Remove cases from every queue's file."""
    for path in sorted((workspace.folder / "queues").glob("[!.]*.json")):
        try:
            queue, items = _read(path)
        except DamagedError:
            path.unlink()  # nobody can tell what stands in it
            continue
        kept = [item for item in items if item["case_id"] not in cases]
        if len(kept) < len(items):
            write_sealed(path, {"queue": {**queue, "made_at": queue["made_at"].isoformat()}, "items": kept})


def find_queue(workspace: Workspace, name: str = "latest") -> str:
    """Return a queue's ID, by it or its beginning; "latest" is the one that was made last.

    Raises WorkspaceError where there is none.
    """
    ordered = "select queue_id from queues order by made_at desc, queue_id"
    known = [row["queue_id"] for row in workspace.rows(ordered)] if workspace.has_table("queues") else []
    place = str(workspace.folder / "queues")
    if not known:
        raise WorkspaceError("no queue was made yet", place=place, remedy="toolkit queue")
    return known[0] if name == "latest" else chosen_id(name, known, kind="queue", place=place, remedy="toolkit queue")


def _file(workspace: Workspace, queue_id: str) -> Path:
    return workspace.folder / "queues" / f"{queue_id}.json"
