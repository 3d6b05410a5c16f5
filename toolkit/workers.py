"""Work on every core: batches go to processes of this command's own, and the results come back in order.

A process is started as a program and spoken to over pipes, so that it ends with whoever started it, and neither a
notebook nor threads are copied into it.
"""

import os
import pickle
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from itertools import chain, islice
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import IO, Any, Self, TypeVar, cast

from toolkit.errors import ToolkitError

Batch = TypeVar("Batch")
Result = TypeVar("Result")
MOST = 8
"""Processes: each takes as much memory as a command that has just started."""
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""The cores are taken by the processes."""


def cores() -> int:
    """Return how many cores this process may use."""
    return min(MOST, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def spread(
    start: Callable[[], Callable[[Batch], Result]], batches: Iterable[Batch], *, processes: int | None = None
) -> Iterator[Result]:
    """Yield `work(batch)` for each batch in order; `work` is what `start()` returns, once in each process.

    One batch, or one core, is worked on here. Batches, results and `start` must be picklable. An exception of `work` is
    raised here. At most two batches a process are held.
    """
    processes = cores() if processes is None else processes
    waiting = iter(batches)
    first = list(islice(waiting, 2))
    if processes < 2 or len(first) < 2:
        work = start()
        yield from map(work, chain(first, waiting))
        return
    with ExitStack() as ended:
        pool = ended.enter_context(ThreadPoolExecutor(processes))  # ends last: what it waits for has ended by then
        idle: SimpleQueue[_Worker] = SimpleQueue()
        for _ in range(processes):
            idle.put(ended.enter_context(_Worker(start)))
        under_way: deque = deque()
        for batch in chain(first, waiting):
            under_way.append(pool.submit(_work, idle, batch))
            if len(under_way) > 2 * processes:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()


def _work(idle: "SimpleQueue[_Worker]", batch: Any) -> Any:
    worker = idle.get()
    try:
        return worker.work(batch)
    finally:
        idle.put(worker)


class _Worker:
    """A process that works on one batch after the other."""

    def __init__(self, start: Callable) -> None:
        paths = [str(Path(__file__).parents[1]), *(each for each in sys.path if each)]
        self.process: subprocess.Popen[bytes] = subprocess.Popen(
            [sys.executable, "-P", "-m", "toolkit.workers"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **ONE_THREAD, "PYTHONPATH": os.pathsep.join(paths)},
        )
        self.tasks, self.results = cast("tuple[IO[bytes], IO[bytes]]", (self.process.stdin, self.process.stdout))
        self.send(start)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.process.kill()
        for pipe in (self.tasks, self.results):
            with suppress(OSError):  # what was not sent any more
                pipe.close()
        self.process.wait()

    def send(self, thing: Any) -> None:
        """Send one thing."""
        try:
            pickle.dump(thing, self.tasks, protocol=pickle.HIGHEST_PROTOCOL)
            self.tasks.flush()
        except BrokenPipeError:
            raise self.ended() from None

    def work(self, batch: Any) -> Any:
        """Return what the process makes of a batch."""
        self.send(batch)
        try:
            done, result = pickle.load(self.results)  # noqa: S301 - of a process that was started here
        except EOFError:
            raise self.ended() from None
        if not done:
            raise result
        return result

    def ended(self) -> ToolkitError:
        """Return the error for a process that is gone."""
        return ToolkitError(
            f"a process that this command had started has ended (exit code {self.process.wait()})",
            remedy="see whether memory was short, then run the same command again",
        )


def main() -> None:
    """Work on what comes on standard input, until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends with the process that started it
    tasks, results = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what something prints is no result
    try:
        work = pickle.load(tasks)()  # noqa: S301 - of the process that started this one
        while True:
            batch = pickle.load(tasks)  # noqa: S301 - as above
            results.write(_answer(work, batch))
            results.flush()
    except (EOFError, BrokenPipeError):
        os._exit(0)


def _answer(work: Callable, batch: Any) -> bytes:
    try:
        return pickle.dumps((True, work(batch)), protocol=pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # noqa: BLE001 - raised where the work was asked for
        try:
            written = pickle.dumps((False, error))
            pickle.loads(written)  # noqa: S301 - as written
        except Exception:  # noqa: BLE001 - an error that cannot be written is told in words
            written = pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}")))
        return written


if __name__ == "__main__":
    main()
