"""The download of an export's bytes in chunks, resumable after any interruption.

The bytes so far are in `exports/.pull-<task>/`, with a state that never counts more than what is synced to the disk.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from toolkit.errors import ServiceError
from toolkit.files import private, write_json
from toolkit.labelbox_service.exports import BLOCK, Chunk, ExportService
from toolkit.labelbox_service.patience import PassingError
from toolkit.progress import Progress
from toolkit.workspace.registry import Workspace

FRESH = 20 * 3600
"""Seconds for which the addresses of photographs in an export are good; Labelbox signs them for about a day."""


@dataclass(frozen=True)
class DownloadState:
    """The state of a pull: its task, how many bytes are synced and their digest, and the landed export's SHA-256."""

    task: str
    kind: str
    source: str
    params: dict[str, bool]
    filters: dict[str, Any]
    offset: int = 0
    sha256: str = field(default=hashlib.sha256().hexdigest())
    landed: str | None = None

    def asks_like(self, other: "DownloadState", *, at_any_time: bool) -> bool:
        """Tell whether this pull requests the same as another."""
        names = ("kind", "source", "params", *(() if at_any_time else ("filters",)))
        return all(getattr(self, name) == getattr(other, name) for name in names)


def folder_of(workspace: Workspace, task: str) -> Path:
    """Return the folder of an unfinished pull; a task's ID comes from a server, so it is made a safe name."""
    name = task if task.isalnum() and task.isascii() else hashlib.sha256(task.encode()).hexdigest()[:25]
    return workspace.exports / f".pull-{name}"


def unfinished(workspace: Workspace) -> Iterator[tuple[Path, DownloadState | None]]:
    """Yield every unfinished pull; one that cannot be read has no state."""
    for folder in sorted(workspace.exports.glob(".pull-*")):
        try:
            yield folder, DownloadState(**json.loads((folder / "state.json").read_bytes()))
        except (OSError, ValueError, TypeError):
            yield folder, None


def is_fresh(folder: Path) -> bool:
    """Tell whether the addresses in a landed export are still good."""
    return time.time() - (folder / "state.json").stat().st_mtime < FRESH


def save(workspace: Workspace, state: DownloadState) -> DownloadState:
    """Write a state, synced."""
    folder = folder_of(workspace, state.task)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_json(folder / "state.json", asdict(state))
    return state


def forget(workspace: Workspace, state: DownloadState) -> None:
    """Remove the files of an ended pull, and those of unfinished pulls of the same source."""
    for folder, other in unfinished(workspace):
        if other is None or (other.kind, other.source) == (state.kind, state.source):
            shutil.rmtree(folder)


def download(
    service: ExportService, workspace: Workspace, state: DownloadState, *, size: int, progress: Progress
) -> DownloadState:
    """Download what is missing of a task's result into `part_of`, and return the state of the whole."""
    with open(part_of(workspace, state), "r+b", opener=private) as part:
        digest, state = _checked_part(part, state)
        while state.offset < size:
            progress("landing rows", state.offset, size)
            chunk = _copy(service, state, part)
            _add(part, digest, chunk.end + 1 - state.offset)
            state = save(workspace, replace(state, offset=chunk.end + 1, sha256=digest.hexdigest()))
        progress("landing rows", state.offset, size)
    if state.offset != size:
        raise ServiceError(
            f"Labelbox announced {size} bytes and sent {state.offset}", remedy="run the same command again"
        )
    return state


def part_of(workspace: Workspace, state: DownloadState) -> Path:
    """Return the file of the bytes so far."""
    return folder_of(workspace, state.task) / "part.ndjson"


def _checked_part(part: Any, state: DownloadState) -> tuple[Any, DownloadState]:
    """Cut off what was written after the last state; begin anew where the rest does not match the state's digest."""
    digest = hashlib.sha256()
    _add(part, digest, state.offset)
    if (part.tell(), digest.hexdigest()) != (state.offset, state.sha256):
        part.seek(0)
        state, digest = replace(state, offset=0, sha256=hashlib.sha256().hexdigest()), hashlib.sha256()
    part.truncate()
    return digest, state


def _add(part: Any, digest: Any, count: int) -> None:
    while count and (block := part.read(min(count, BLOCK))):
        digest.update(block)
        count -= len(block)


def _copy(service: ExportService, state: DownloadState, part: Any) -> Chunk:
    """Write the next chunk, synced; the file then stands where the chunk begins."""

    def attempt() -> Chunk:
        part.seek(state.offset)
        part.truncate()
        chunk = service.chunk(state.task, "RESULT", state.offset)
        service.copy(chunk, part, offset=state.offset)
        part.flush()
        os.fsync(part.fileno())
        return chunk

    try:
        chunk = service.patience.keep(attempt)
    except PassingError as error:
        raise ServiceError(
            f"the export stopped coming after {state.offset} bytes: {error}",
            place=f"task {state.task}",
            remedy="look at the network, then run the same command: it goes on where it stopped",
        ) from None
    part.seek(state.offset)
    return chunk
