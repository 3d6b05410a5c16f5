"""Runs commands of the toolkit and kills them, or lets the disk fail, at an operation of one's choice.

Operations are what changes files below a folder: a file opened for writing, a rename, a removal, a new folder, a synced
file. Python's audit hooks tell of them before they happen, from whatever library; writes that happen in native code
(DuckDB, safetensors) are met by kills at a time, and by a limit of a file's size.

    with Commands(folder) as commands:
        done = commands.run(["--workspace", "w", "status"])              # done.operations tells how many there are
        commands.run([...], fault=Fault("kill", at=7))                    # SIGKILL before the seventh
        commands.run([...], fault=Fault("ENOSPC", at=7))                  # the seventh raises OSError
        commands.run([...], fault=Fault("kill", seconds=0.8))             # SIGKILL after that time
        commands.run([...], fault=Fault("EFBIG", size=100_000))           # no file may grow over this size

A command is a fork of a process that has imported the toolkit already, so that five hundred of them take minutes.
"""

import dataclasses
import errno
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Self

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink")


@dataclasses.dataclass(frozen=True)
class Fault:
    """What happens to a command: `kind` is kill or the name of an errno; at an operation (from 1), time or size."""

    kind: str
    at: int | None = None
    seconds: float | None = None
    size: int | None = None


@dataclasses.dataclass(frozen=True)
class Done:
    """How a command ended; `code` is negative for a signal."""

    code: int
    stdout: str
    stderr: str
    operations: int
    seconds: float


class Commands:
    """A process that forks once for each command; operations are those below `folder`."""

    def __init__(self, folder: Path, environment: dict[str, str] | None = None) -> None:
        self.folder, self.environment = folder, environment or {}

    def __enter__(self) -> Self:
        environment = {**os.environ, "TOOLKIT_DEVICE": "cpu", "OMP_NUM_THREADS": "1", **self.environment}
        self.server = subprocess.Popen(
            [sys.executable, __file__, str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self.server.stdin
        assert self.server.stdout
        self.server.stdin.close()
        self.server.wait()
        self.server.stdout.close()

    def run(self, arguments: list[object], *, fault: Fault | None = None) -> Done:
        """Run a command of the toolkit."""
        assert self.server.stdin
        assert self.server.stdout
        asked = {"arguments": [str(each) for each in arguments], "fault": fault and dataclasses.asdict(fault)}
        self.server.stdin.write(json.dumps(asked) + "\n")
        self.server.stdin.flush()
        return Done(**json.loads(self.server.stdout.readline()))


def serve(folder: Path) -> None:
    """Read a command from each line of stdin, fork for it, and say on stdout how it ended."""
    import torch  # noqa: F401 - so that the forks need not import them
    import transformers  # noqa: F401

    from toolkit import cli, pipeline  # noqa: F401

    own = folder / "commands"
    own.mkdir(exist_ok=True)
    for line in sys.stdin:
        asked = json.loads(line)
        fault = Fault(**asked["fault"]) if asked["fault"] else None
        files = {name: own / name for name in ("stdout", "stderr", "operations")}
        for file in files.values():
            file.write_bytes(b"")
        started = time.monotonic()
        child = os.fork()
        if not child:
            _become(asked["arguments"], fault, folder / "w", files)
        if fault and fault.seconds is not None:
            timer = threading.Timer(fault.seconds, os.kill, (child, signal.SIGKILL))
            timer.start()
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if fault and fault.seconds is not None:
            timer.cancel()
        done = {
            "code": code,
            "stdout": files["stdout"].read_text(encoding="utf-8", errors="replace"),
            "stderr": files["stderr"].read_text(encoding="utf-8", errors="replace"),
            "operations": len(files["operations"].read_bytes()),
            "seconds": time.monotonic() - started,
        }
        print(json.dumps(done), flush=True)


def _become(arguments: list[str], fault: Fault | None, watched: Path, files: dict[str, Path]) -> None:
    """Run a command in this process, a fork, and end it."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(files[name], os.O_WRONLY), number)
    if fault and fault.size is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (fault.size, fault.size))
    watch(fault, str(watched.resolve()), os.open(files["operations"], os.O_WRONLY | os.O_APPEND))
    from toolkit.cli import main

    code = 70
    try:
        main(arguments)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - a traceback is what the caller looks for
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def watch(fault: Fault | None, watched: str, log: int) -> None:
    """Note each operation below a folder in `log`, a byte each, and let the fault happen at its number."""
    count = 0
    real_fsync = os.fsync

    def operation() -> None:
        nonlocal count
        count += 1
        os.write(log, b".")
        if fault and fault.at == count:
            if fault.kind == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            code = getattr(errno, fault.kind)
            raise OSError(code, os.strerror(code))

    def hook(event: str, details: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = details
            if isinstance(flags, int) and flags & WRITING and _is_below(path, watched):
                operation()
        elif event in CHANGES and any(_is_below(path, watched) for path in details[:2]):
            operation()

    def fsync(file: int) -> None:
        if _is_below(Path(f"/proc/self/fd/{file}").readlink(), watched):
            operation()
        real_fsync(file)

    os.fsync = fsync
    sys.addaudithook(hook)


def _is_below(path: Any, folder: str) -> bool:
    if isinstance(path, bytes):
        path = os.fsdecode(path)
    if isinstance(path, os.PathLike):
        path = os.fspath(path)
    return isinstance(path, str) and os.path.abspath(path).startswith(folder)  # noqa: PTH100 - a link to a file below it is a change of the link


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
