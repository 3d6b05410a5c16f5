"""A workspace on a disk that several machines share: whether they see the same one, and each other's files."""

import secrets
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Self

from toolkit.errors import WorkspaceError
from toolkit.files import write_atomically

PATIENCE = 90.0
"""Seconds until a file of another machine must be seen: NFS looks at a folder again after 60 s at most."""
POLL = 0.1
REMEDY = "let every machine see the same workspace, on a disk that they share, under the same path; then run it again"


class Mark(NamedTuple):
    """A file that the first process puts into a workspace, for the others to see."""

    folder: Path
    name: str

    @classmethod
    def new(cls, folder: Path) -> Self:
        """Return a mark that nobody has put before."""
        return cls(folder, f".mark-{secrets.token_hex(8)}")

    @contextmanager
    def put(self) -> Generator[None]:
        """Let the mark stand within the block."""
        path = self.folder / self.name
        write_atomically(path, b"")
        try:
            yield
        finally:
            path.unlink(missing_ok=True)

    def check_seen(self) -> None:
        """Raise WorkspaceError where this process does not see it."""
        if unseen([self.folder / self.name]):
            raise WorkspaceError("another workspace than the first process has", place=str(self.folder), remedy=REMEDY)


def wait_for_files(paths: Iterable[Path]) -> None:
    """Return when files that other machines have written can be seen here; raise WorkspaceError that names one."""
    if missing := unseen(paths):
        raise WorkspaceError(
            f"{len(missing)} files that other processes have written cannot be seen here",
            place=str(missing[0]),
            remedy=REMEDY,
        )


def unseen(paths: Iterable[Path]) -> list[Path]:
    """Return the files that cannot be seen within the patience."""
    started, missing = time.monotonic(), list(paths)
    while True:
        # Listing a folder asks its server; whether a file exists may be answered from memory.
        names = {folder: set(_names(folder)) for folder in {path.parent for path in missing}}
        missing = [path for path in missing if path.name not in names[path.parent]]
        if not missing or time.monotonic() - started > PATIENCE:
            return missing
        time.sleep(POLL)


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []
