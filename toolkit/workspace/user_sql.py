"""Answers to SQL that a person or a question file wrote: asked of a copy, in a process that can be ended.

The registry's file is copied first, under no name. Writers replace that file by renaming another one over it, so that a
copy is always one whole state, and a question that runs long keeps no writer waiting.
"""

import json
import math
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import IO, Any, cast

import pyarrow as pa

from toolkit.errors import QuestionError
from toolkit.files import copy_file, writing_to
from toolkit.workspace import sql_start
from toolkit.workspace.sql_process import FAULT, GIGABYTE
from toolkit.workspace.sql_rules import MOST_TEXT

READ = 1_048_576
MOST_MESSAGE = 65_536


@dataclass(frozen=True)
class Limits:
    """What a question may take: gigabytes of memory, for its work and for its answer, and seconds."""

    memory: float = 2.0
    seconds: float = 60.0

    def __post_init__(self) -> None:
        for name, value, most in (("memory", self.memory, 1e6), ("seconds", self.seconds, 1e8)):
            if not (math.isfinite(value) and 0 < value <= most):
                raise QuestionError(f"{name} must be a number above 0 and not above {most:.0f}, not {value}")


USUAL = Limits()


def snapshot(registry: Path) -> IO[bytes]:
    """Return a private copy of a file that has no name: nobody else can open it, and it is gone when it is closed."""
    copy = sql_start.empty_copy(registry)
    try:
        with writing_to(registry.parent):
            copy_file(registry, Path(f"/dev/fd/{copy.fileno()}"))
    except BaseException:
        copy.close()
        raise
    return copy


def answer(
    registry: IO[bytes],
    text: str,
    parameters: Mapping[str, Any],
    limits: Limits,
    *,
    place: str | None = None,
    judged: bool = True,
) -> pa.Table:
    """Return the rows that a statement gives on a snapshot of the registry; `place` says where the statement stands.

    Raises QuestionError for what is no question (`judged` false leaves that out, for tests), for DuckDB's own errors,
    and where a limit is passed.
    """
    place = place or shorten(text, 200, placeholder=" …")
    task = _task(registry, text, parameters, limits, judged=judged)
    if len(task) > 2 * MOST_TEXT:
        raise QuestionError("the SQL and its parameters are too long", place=place, remedy="write less text")
    with sql_start.process_of(registry) as process:
        try:
            output, message = _received(process, task, limits, place)
            process.wait(timeout=limits.seconds)
        except subprocess.TimeoutExpired:
            raise _too_long(limits, place) from None
        finally:
            process.kill()
    if process.returncode != 0:
        raise _fault(process.returncode, bytes(message), limits, place)
    with pa.ipc.open_stream(pa.py_buffer(output)) as stream:
        return stream.read_all()


def _task(registry: IO[bytes], text: str, parameters: Mapping[str, Any], limits: Limits, *, judged: bool) -> bytes:
    """Return what the process is told."""
    task = {
        "text": text,
        "parameters": dict(parameters),
        "judged": judged,
        "registry": registry.fileno(),
        "memory": limits.memory,
        "seconds": limits.seconds,
    }
    try:
        for value in (text, *(each for each in parameters.values() if isinstance(each, str))):
            value.encode()
        return json.dumps(task).encode()
    except UnicodeEncodeError:
        problem = "the SQL or a parameter holds bytes that are no UTF-8 text"
        raise QuestionError(problem, remedy="write it as UTF-8") from None
    except (TypeError, ValueError, RecursionError):
        raise QuestionError("a parameter is neither a text nor a number", remedy="give it as a text") from None


def _received(process: subprocess.Popen[bytes], task: bytes, limits: Limits, place: str) -> tuple[bytearray, bytearray]:
    """Return what the process wrote to its output and to its messages, within the limits."""
    ends = time.monotonic() + limits.seconds
    output, message = bytearray(), bytearray()
    pipes = cast("tuple[IO[bytes], ...]", (process.stdin, process.stdout, process.stderr))
    with suppress(BrokenPipeError):  # it has ended already, and why is told below
        pipes[0].write(task)
        pipes[0].close()
    with selectors.DefaultSelector() as selector:
        selector.register(pipes[1], selectors.EVENT_READ, output)
        selector.register(pipes[2], selectors.EVENT_READ, message)
        while selector.get_map():
            if (left := ends - time.monotonic()) <= 0:
                raise _too_long(limits, place)
            for key, _ in selector.select(left):
                data = os.read(key.fd, READ)
                if not data:
                    selector.unregister(key.fileobj)
                elif key.data is output or len(message) < MOST_MESSAGE:
                    key.data.extend(data)
            if len(output) > limits.memory * GIGABYTE:
                raise _too_large(limits, place)
    return output, message


def _fault(code: int, message: bytes, limits: Limits, place: str) -> QuestionError:
    """Return what to tell of a process that ended without an answer."""
    if code == -signal.SIGALRM:
        return _too_long(limits, place)
    try:
        fault: dict[str, str] = json.loads(message.splitlines()[-1]) if code == FAULT else {}
    except (ValueError, IndexError):
        fault = {}
    if "problem" not in fault:  # killed by the system, or no memory left to say more
        return _too_large(limits, place)
    remedy = fault.get("remedy") or "docs/tables.md lists tables and columns"
    return QuestionError(fault["problem"], place=place, remedy=remedy)


def _too_long(limits: Limits, place: str) -> QuestionError:
    return QuestionError(
        f"the question took more than {limits.seconds:g} s and was ended",
        place=place,
        remedy="ask for less, or give it more time: --seconds N (in Python: limits=Limits(seconds=N))",
    )


def _too_large(limits: Limits, place: str) -> QuestionError:
    return QuestionError(
        f"the question or its answer needs more than {limits.memory:g} GB of memory",
        place=place,
        remedy="ask for fewer rows, or give it more: --memory GB (in Python: limits=Limits(memory=GB))",
    )
