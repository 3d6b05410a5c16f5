"""The start of the process in which a person's SQL runs, also ahead of the question: it takes a quarter of a second.

This module imports nothing heavy, so that the process begins while its parent is still importing.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

KEPT_VARIABLES = ("TZ", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONHOME")
"""The environment that the process gets: where libraries are, and the time zone. No key is among it."""
REGISTRY = "registry.duckdb"
AHEAD: dict[Path, IO[bytes]] = {}
"""Empty files without a name, by the registry that will be copied into them."""
PROCESSES: dict[int, subprocess.Popen[bytes]] = {}
"""Processes that were started for such a file, by its number."""


@contextmanager
def started_ahead(workspace: Path) -> Generator[None]:
    """Start the process of the block's first question now; it is ended where none is asked."""
    if not (registry := workspace / REGISTRY).exists():
        yield
        return
    with _unnamed(registry) as copy, _started(copy) as process:
        number = copy.fileno()
        AHEAD[registry], PROCESSES[number] = copy, process
        try:
            yield
        finally:
            AHEAD.pop(registry, None)
            PROCESSES.pop(number, None)
            process.kill()


def empty_copy(registry: Path) -> IO[bytes]:
    """Return an empty file for a copy of the registry, open and without a name."""
    return AHEAD.pop(registry, None) or _unnamed(registry)


def process_of(copy: IO[bytes]) -> subprocess.Popen[bytes]:
    """Return the process that answers from a copy: the one that was started ahead, or a new one."""
    return PROCESSES.pop(copy.fileno(), None) or _started(copy)


def _unnamed(registry: Path) -> IO[bytes]:
    """Open an unnamed file beside the registry, where the disk may share the bytes, else where temporary files go."""
    try:
        return tempfile.TemporaryFile(dir=registry.parent)
    except OSError:
        from toolkit.files import writing_to  # noqa: PLC0415 - with pyarrow

        with writing_to(Path(tempfile.gettempdir())):
            return tempfile.TemporaryFile()


def _started(registry: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start the process: it knows this package, the open registry, and pipes; of the environment what it needs."""
    package = Path(__file__).parents[2]
    paths = [str(package), *(each for each in sys.path if each)]
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    return subprocess.Popen(
        # -P: a file of the current folder must not stand in for a module.
        [sys.executable, "-P", "-B", "-m", "toolkit.workspace.sql_process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=[registry.fileno()],
        # pyarrow's own allocator and glibc's many arenas would reserve far more address space than they use.
        env={
            **kept,
            "PYTHONPATH": os.pathsep.join(paths),
            "ARROW_DEFAULT_MEMORY_POOL": "system",
            "MALLOC_ARENA_MAX": "2",
        },
    )
