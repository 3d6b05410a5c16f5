"""What takes long to make is made by the worker that needs it first; the other waits, and has it from the file."""

import fcntl
import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any


def made_once(name: str, make: Callable[[Path], Any]) -> Path:
    """Return the folder that `make` filled, once for all workers; `result` in it is what it returned."""
    folder = Path(os.environ["LESION_TOOLKIT_TESTS"]) / "made" / name
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "result").exists():
            result = pickled(make(folder), folder / "workspace")
            (folder / "result").write_bytes(result)
    return folder


def pickled(made: Any, workspace: Path) -> bytes:
    """Write what was made, and places within the workspace so that they can be those of a copy."""

    class Movable(pickle.Pickler):
        def persistent_id(self, value: Any) -> tuple[type, str] | None:
            inside = isinstance(value, str | Path) and str(value).startswith(str(workspace))
            return (type(value), str(value)[len(str(workspace)) :]) if inside else None

    file = io.BytesIO()
    Movable(file).dump(made)
    return file.getvalue()


def read_back(folder: Path, workspace: Path) -> Any:
    """Return what was made, with its workspace in another place."""

    class Moved(pickle.Unpickler):
        def persistent_load(self, place: tuple[type, str]) -> Any:
            kind, inside = place
            return kind(f"{workspace}{inside}")

    with (folder / "result").open("rb") as file:
        return Moved(file).load()
