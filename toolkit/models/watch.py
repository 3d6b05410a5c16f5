"""Notices when a process that works with this one is gone, or when the launcher of this one is.

Where a process ends, the connections to it close, and who waits for it is told. Where a machine loses its power or its
network, nothing closes: each process says every few seconds that it lives, and ends where another has said nothing for
minutes. One whose launcher was killed ends too: nobody else would end it, and it would hold its lock all the while.
"""

import atexit
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

from toolkit.errors import ToolkitError

BEAT = 5.0
"""Seconds between two signs of life."""
SILENCE = 300.0
"""Seconds without one after which a process counts as gone; a machine that swaps may be silent for a minute."""
AFTER = "see whether its machine runs and can be reached; then run the same command again on every machine"


class Watch:
    """A thread that says that this process lives, and looks for the others; `ended` is called where one is gone."""

    def __init__(
        self, store: Any, rank: int, count: int, *, ended: Callable[[ToolkitError], None] | None = None
    ) -> None:
        # Another connection, since the first may be waiting for something; torch's types of Store lack it.
        self.store = store.clone()
        self.store.set_timeout(timedelta(seconds=60))
        self.rank, self.count, self.ended = rank, count, ended or end
        self.parent = os.getppid()
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._run, name="watch", daemon=True)
        now = time.monotonic()
        self.heard = {other: (b"", now) for other in range(count) if other != rank}

    def start(self) -> None:
        """Watch until the process ends; the thread ends before the interpreter does, which it could crash."""
        self.thread.start()
        atexit.register(self.stop)

    def stop(self) -> None:
        """Stop watching."""
        self.stopped.set()
        self.thread.join(BEAT)

    def _run(self) -> None:
        beat = 0
        while not self.stopped.wait(BEAT if beat else 0):
            beat += 1
            with suppress(RuntimeError):  # the first process keeps what is said: it has ended or cannot be reached
                self._look(beat)
            if fault := self._fault():
                self.ended(fault)
                return

    def _look(self, beat: int) -> None:
        self.store.set(f"alive/{self.rank}", str(beat))
        for other, (last, _) in self.heard.items():
            key = f"alive/{other}"
            said = self.store.get(key) if self.store.check([key]) else b""
            if said != last:
                self.heard[other] = (said, time.monotonic())

    def _fault(self) -> ToolkitError | None:
        if os.getppid() != self.parent:
            return ToolkitError("the launcher of this process has ended", remedy="run the same command again")
        silent = [other for other, (_, since) in self.heard.items() if time.monotonic() - since > SILENCE]
        if not silent:
            return None
        numbers = ", ".join(map(str, silent[:8]))
        return ToolkitError(
            f"nothing was heard for {SILENCE:.0f} s of {len(silent)} of the {self.count} processes: number {numbers}",
            remedy=AFTER,
        )


def end(fault: ToolkitError) -> None:
    """End this process from any thread, as a command ends with an error."""
    print(f"error: {fault}", file=sys.stderr, flush=True)  # noqa: T201 - the main thread waits in torch
    os._exit(1)
