"""The processes that `torchrun` or `accelerate launch` started: which one this is, its share of work, and waiting.

Without a launcher there is one process, and it never waits.
"""

import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import NamedTuple, TypeVar

Item = TypeVar("Item")
TIMEOUT = timedelta(days=7)
"""How long to wait for a process that still works; where one fails, the launcher ends them all."""


class Process(NamedTuple):
    """One of `count` processes that were started with the same command."""

    rank: int
    count: int

    @property
    def is_first(self) -> bool:
        """Whether this process writes the registry and shows results."""
        return self.rank == 0

    def share(self, items: Sequence[Item]) -> list[Item]:
        """Return this process's items: each item belongs to exactly one process."""
        return list(items[self.rank :: self.count])

    def wait_for_others(self) -> None:
        """Return when every process has called this."""
        if self.count == 1:
            return
        import torch  # noqa: PLC0415 - one process works without torch
        from torch import distributed  # noqa: PLC0415

        if not distributed.is_initialized():
            distributed.init_process_group(timeout=TIMEOUT)
        # Not a barrier: that would use the GPUs before each process has taken its own. A tensor on the CPU uses gloo.
        distributed.all_reduce(torch.zeros(1))

    @contextmanager
    def first_alone(self) -> Generator[None]:
        """Let the first process run the block, then the others, who find its results."""
        if not self.is_first:
            self.wait_for_others()
        yield
        if self.is_first:
            self.wait_for_others()


def this_process() -> Process:
    """Return which process this is, from the environment variables that torch's launchers set."""
    return Process(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))
