"""Who works in a workspace: commands that would disturb each other wait, and what a killed one left is swept away.

A lock is the system's own (`flock`): it ends with the process that holds it, however that ends. Readers need none: what
they read is replaced as a whole and never changed in place.
"""

import fcntl
import json
import os
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import IO, Any, NamedTuple, ParamSpec, TypeVar

from toolkit.errors import ToolkitError
from toolkit.files import make_folder, private, remove
from toolkit.progress import Progress, silent

P = ParamSpec("P")
R = TypeVar("R")
EVERYTHING = "workspace"
"""The lock that every command shares, and that `withdraw` and `rebuild` hold alone."""
LABELS = "tables"
"""The lock of the commands that turn labels into tables, splits, scores and pages: one at a time."""
WAIT = 60.0
"""Seconds that a command waits for another before it gives up, before its own work."""
POLL = 0.05
LEFTOVERS = (
    *(".*", "exports/.*", "exports/label_versions/.*", "ledgers/.*", "audit/.*", "models/.*", "photographs/.*"),
    *("masks/.*", "reports/.*", "splits/.*", "splits/*/.*", "runs/*/.*", "runs/*/predictions/.*", "features/*/*/.*"),
    *("pushes/.*", "queues/.*", "reviews/.*", "attached/.*", "releases/.*"),
)
"""What the toolkit writes stands under such a name until it is whole; a finished command leaves none."""
KEPT = (".pull-", ".new-", ".lock-")
"""Names of what the next pull or withdraw finishes, and of locks."""
_held: set[tuple[Path, str]] = set()
"""Locks that this process holds alone."""


class Holder(NamedTuple):
    """A command that holds a lock."""

    pid: int
    command: str
    since: str
    """UTC."""

    def __str__(self) -> str:
        return f"toolkit {self.command} (process {self.pid}, since {self.since} UTC)"


def alone(command: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a stage work only while no other command works in its workspace, its first argument."""
    return _locked(lambda folder, progress: held(folder, EVERYTHING, command, progress=progress))


def one_at_a_time(command: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a stage work only while no other of these stages does; training and predicting may go on beside it."""
    return _locked(lambda folder, progress: beside_others(folder, LABELS, command, progress=progress))


def _locked(lock: Callable[[Path, Progress], Any]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    def decorator(stage: Callable[P, R]) -> Callable[P, R]:
        @wraps(stage)
        def locked(*args: P.args, **kwargs: P.kwargs) -> R:
            workspace: Any = args[0]
            progress: Any = kwargs.get("progress", silent)
            with lock(workspace.folder, progress):
                return stage(*args, **kwargs)

        return locked

    return decorator


@contextmanager
def beside_others(folder: Path, lane: str, command: str, *, progress: Progress = silent) -> Generator[None]:
    """Hold a lane of a workspace, while others may work in other lanes. The first to come sweeps up after dead ones."""
    with ExitStack() as stack:
        if (folder.resolve(), EVERYTHING) not in _held and folder.is_dir():
            shared = stack.enter_context(_lock_file(folder, EVERYTHING))
            if _is_first() and _taken(shared, fcntl.LOCK_EX):
                sweep(folder)
            _wait(shared, fcntl.LOCK_SH, folder, EVERYTHING, progress)
        stack.enter_context(held(folder, lane, command, progress=progress))
        yield


@contextmanager
def held(folder: Path, lane: str, command: str, *, progress: Progress = silent) -> Generator[None]:
    """Hold a lock of a workspace alone. Within the process that holds it already, this does nothing.

    Raises ToolkitError, which names the holder, when another process still has it after `WAIT` seconds.
    """
    mark = (folder.resolve(), lane)
    if mark in _held or (folder.resolve(), EVERYTHING) in _held or not _is_first():
        yield
        return
    with _lock_file(folder, lane) as file:
        _wait(file, fcntl.LOCK_EX, folder, lane, progress)
        if lane == EVERYTHING:
            sweep(folder)
        _write_holder(file, command)
        _held.add(mark)
        try:
            yield
        finally:
            _held.discard(mark)


def _is_first() -> bool:
    """Tell whether this process holds locks for those that were started with it: the first does, and sweeps."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def _lock_file(folder: Path, lane: str) -> Generator[IO[bytes]]:
    """Open the file of a lock; nobody needs it once it is let go of, so that it is removed then."""
    path = make_folder(folder) / f".lock-{lane}"
    with open(path, "r+b", opener=private) as file:
        try:
            yield file
        finally:
            with suppress(OSError):  # a lock's file that stays does no harm
                if _taken(file, fcntl.LOCK_EX) and _is_still(file, path):
                    path.unlink(missing_ok=True)


def _wait(file: IO[bytes], kind: int, folder: Path, lane: str, progress: Progress) -> None:
    path, started, told = folder / f".lock-{lane}", time.monotonic(), False
    while not (_taken(file, kind) and _is_still(file, path)):
        if not _is_still(file, path):  # its holder has removed it: take the one that stands there now
            _reopen(file, path)
            continue
        if time.monotonic() - started > WAIT:
            raise ToolkitError(
                f"another command has been working in this workspace for longer than {WAIT:.0f} s: "
                + (", ".join(map(str, holders(folder))) or "it does not say which"),
                place=str(folder),
                remedy="wait until it has ended, then run the same command again",
            )
        if not told and time.monotonic() - started > 1:
            progress(f"waiting for {', '.join(map(str, holders(folder)))}", 0, None)
            told = True
        time.sleep(POLL)


def _taken(file: IO[bytes], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise lockless(error, str(file.name)) from error
    return True


def lockless(error: OSError, place: str) -> ToolkitError:
    """Return what to tell where the disk keeps no locks, as Lustre does without a mount option."""
    return ToolkitError(
        f"the disk of this workspace cannot lock a file: {error.strerror}",
        place=place,
        remedy="mount it with locks (Lustre: -o flock), or use a disk that has them; see scale.md",
    )


def _is_still(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _reopen(file: IO[bytes], path: Path) -> None:
    handle = private(str(path), os.O_RDWR)
    os.dup2(handle, file.fileno())
    os.close(handle)


def _write_holder(file: IO[bytes], command: str) -> None:
    now = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
    file.truncate(0)
    file.seek(0)
    file.write(json.dumps(Holder(os.getpid(), command, now.isoformat(sep=" "))._asdict()).encode())
    file.flush()


def holders(folder: Path) -> list[Holder]:
    """Return the other commands that hold a lock of a workspace."""
    found = []
    for path in sorted(folder.glob(".lock-*")):
        try:
            with path.open("rb") as file:
                if not _taken(file, fcntl.LOCK_SH):
                    found.append(Holder(**json.loads(file.read())))
        except (OSError, ValueError, TypeError):
            continue
    return found


def sweep(folder: Path) -> None:
    """Remove what killed commands have left half-written; nobody else may be at work."""
    for pattern in LEFTOVERS:
        for path in folder.glob(pattern):
            if not path.name.startswith(KEPT):
                remove(path)
    for path in folder.glob(".lock-*"):
        if path.name != f".lock-{EVERYTHING}":
            with _lock_file(folder, path.name.removeprefix(".lock-")):
                pass  # it is removed where nobody holds it
