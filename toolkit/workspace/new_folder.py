"""A new folder of an export or a release: written whole or not at all, for nobody else to read."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from toolkit.errors import ToolkitError
from toolkit.files import FULL, make_folder, private_writing, remove, unwritable, writing_to


@contextmanager
def new_folder(folder: Path, *, workspace: Path) -> Generator[Path]:
    """Give an empty folder beside `folder` to write into; when the block ends well it becomes `folder`.

    What a killed command of the same `folder` has left is removed first. Refused are a place where
    something stands, and the workspace, where `withdraw` would not find the copy.
    """
    refuse_place(folder, workspace)
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    with writing_to(folder), private_writing(), _disk_faults(folder):
        remove(unfinished)
        try:
            yield make_folder(unfinished)
            unfinished.rename(folder)
        finally:
            remove(unfinished)


def refuse_place(folder: Path, workspace: Path) -> None:
    """Raise ToolkitError where something stands already, and within the workspace."""
    if os.path.lexists(folder):
        raise ToolkitError(
            "this is written to a new folder, and something stands here already",
            place=str(folder),
            remedy="name another folder, or remove this one first",
        )
    if folder.resolve().is_relative_to(workspace.resolve()):
        raise ToolkitError(
            "a copy inside the workspace would be kept when a patient is withdrawn",
            place=str(folder),
            remedy="name a folder outside the workspace",
        )


@contextmanager
def _disk_faults(folder: Path) -> Generator[None]:
    """Turn what DuckDB says of a disk that is full into a ToolkitError that names `folder`."""
    try:
        yield
    except duckdb.Error as error:
        code = next((code for code in FULL if os.strerror(code) in str(error)), None)
        if code is None:
            raise
        raise unwritable(folder, OSError(code, os.strerror(code))) from None
