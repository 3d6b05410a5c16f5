"""Verdicts of reviewers: a Parquet file for each review, whose digest stands in the ledger.

A review is noted once its file is there; a file that no line of the ledger notes was left by a killed command.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from toolkit.errors import DamagedError
from toolkit.files import parquet_bytes, read_parquet, sha256_of_file, write_atomically
from toolkit.workspace import ledger
from toolkit.workspace.locks import held
from toolkit.workspace.registry import Workspace, table_schema

LOST = "restore the file from a backup: verdicts cannot be made again"


class ReviewFile(NamedTuple):
    """A file of verdicts that was taken in; `rows` are those of the table `verdicts`."""

    review_id: str
    sha256: str
    source: str
    rows: list[dict[str, Any]]


def reviews(workspace: Workspace) -> list[ReviewFile]:
    """Return every review in the order in which they were taken in; raise DamagedError for one that was changed."""
    noted: dict[str, list[dict[str, Any]]] = {}
    for entry in ledger.entries(workspace, "review"):
        noted.setdefault(entry["review_id"], []).append(entry)
    return [_read(workspace, review_id, entries) for review_id, entries in noted.items()]


def record(workspace: Workspace, review_id: str, source: str, rows: list[dict[str, Any]]) -> None:
    """Add a review; one that is there already stays as it is."""
    with held(workspace.folder, "reviews", "writing verdicts"):
        if any(entry["review_id"] == review_id for entry in ledger.entries(workspace, "review")):
            return
        path = _file(workspace, review_id)
        data = _bytes(rows)
        path.parent.mkdir(exist_ok=True, mode=0o700)
        write_atomically(path, data)
        _note(workspace, review_id, source, data)


def leave_out(workspace: Workspace, cases: set[str], images: set[str]) -> None:
    """Remove the verdicts on some cases and photographs; what is noted is the digest of what is left."""
    with held(workspace.folder, "reviews", "writing verdicts"):
        for review in reviews(workspace):
            kept = [row for row in review.rows if row["case_id"] not in cases and row["image_id"] not in images]
            if len(kept) < len(review.rows):
                data = _bytes(kept)
                _note(workspace, review.review_id, review.source, data)
                write_atomically(_file(workspace, review.review_id), data)


def _read(workspace: Workspace, review_id: str, entries: Iterable[dict[str, Any]]) -> ReviewFile:
    path = _file(workspace, review_id)
    noted = {entry["sha256_of_file"]: entry["source"] for entry in entries}
    found = sha256_of_file(path) if path.is_file() else None
    if found is None or found not in noted:
        what = "was changed or damaged" if found else "is missing"
        raise DamagedError(f"a file of verdicts {what}", place=str(path), remedy=LOST)
    return ReviewFile(review_id, found, noted[found], read_parquet(path, remedy=LOST).to_pylist())


def _bytes(rows: list[dict[str, Any]]) -> bytes:
    return parquet_bytes(pa.Table.from_pylist(rows, schema=table_schema("verdicts")))


def _note(workspace: Workspace, review_id: str, source: str, data: bytes) -> None:
    digest = hashlib.sha256(data).hexdigest()
    entry = {"kind": "review", "review_id": review_id, "sha256_of_file": digest, "source": source}
    ledger.append(workspace, [entry])


def _file(workspace: Workspace, review_id: str) -> Path:
    return workspace.folder / "reviews" / f"{review_id}.parquet"
