"""Versions of labels as Labelbox records them at each hand-off: a sealed Parquet file for each project.

They stand under exports/, since texts in them are as Labelbox has them. Labelbox never changes or deletes a version, so
that `pull` only adds; `withdraw` leaves out those of a patient.
"""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from toolkit.files import read_parquet, write_parquet
from toolkit.photographs.opening import file_name
from toolkit.workspace.locks import held
from toolkit.workspace.registry import Workspace

COLUMNS = (
    *("version_id", "label_id", "image_id", "project_id", "action", "created_at", "created_by_id", "stage"),
    *("annotations", "label"),
)
"""As Labelbox gives them, as text; `label` is JSON in the form of legacy exports, null where it was not read."""
LOST = "move the file away, then pull again: Labelbox keeps every version"

Version = dict[str, Any]


def versions(workspace: Workspace, project_id: str | None = None) -> Iterator[Version]:
    """Yield the versions of one project's labels or of all, oldest first within a project."""
    wanted = [_path(workspace, project_id)] if project_id else sorted(_folder(workspace).glob("[!.]*.parquet"))
    for path in filter(Path.exists, wanted):
        yield from read_parquet(path, remedy=LOST).to_pylist()


def add_versions(workspace: Workspace, project_id: str, new: list[Version]) -> int:
    """Add versions that are not there yet; return how many."""
    with held(workspace.folder, "label-versions", "writing versions of labels"):
        before = list(versions(workspace, project_id))
        known = {version["version_id"] for version in before}
        added = list({version["version_id"]: version for version in new if version["version_id"] not in known}.values())
        if added:
            _write(_path(workspace, project_id), [*before, *added])
    return len(added)


def leave_out(workspace: Workspace, of_photograph: Callable[[str], bool]) -> None:
    """Leave out the versions of labels on some photographs."""
    for path in sorted(_folder(workspace).glob("[!.]*.parquet")):
        rows = read_parquet(path, remedy=LOST).to_pylist()
        kept = [row for row in rows if not of_photograph(row["image_id"])]
        if not kept:
            path.unlink()
        elif len(kept) < len(rows):
            _write(path, kept)


def _write(path: Path, rows: list[Version]) -> None:
    import pyarrow as pa  # noqa: PLC0415 - help answers without it

    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    rows = sorted(rows, key=lambda row: (row["created_at"], row["version_id"]))
    write_parquet(path, pa.Table.from_pylist(rows, schema=pa.schema([(name, pa.string()) for name in COLUMNS])))


def _folder(workspace: Workspace) -> Path:
    return workspace.exports / "label_versions"


def _path(workspace: Workspace, project_id: str) -> Path:
    return _folder(workspace) / f"{file_name(project_id)}.parquet"


def digest_of(label: str) -> str:
    """Return the SHA-256 of a version's label."""
    return hashlib.sha256(label.encode()).hexdigest()
