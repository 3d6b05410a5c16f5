"""Which of several processes this is, where `torchrun` or `accelerate launch` started several, and how they wait.

Refuses to know what they do; without a launcher there is one process, and it never waits.
"""

import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import NamedTuple, TypeVar

Item = TypeVar("Item")
PATIENCE = timedelta(days=7)
"""How long to wait for another process that works; one that fails is noticed by the launcher, which ends them all."""


class Process(NamedTuple):
    """One of `count` processes that were started with the same command."""

    rank: int
    count: int

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes the registry and shows results."""
        return self.rank == 0

    def share(self, items: Sequence[Item]) -> list[Item]:
        """Return this process's items: every item is one process's, whatever others have done by now."""
        return list(items[self.rank :: self.count])

    def wait_for_others(self) -> None:
        """Return when every process has come here."""
        if self.count == 1:
            return
        import torch  # noqa: PLC0415 - one process needs no torch to know that it is alone
        from torch import distributed  # noqa: PLC0415

        if not distributed.is_initialized():
            distributed.init_process_group(timeout=PATIENCE)
        # A barrier would be the GPUs' own, before each process has taken its one; a tensor on the CPU is gloo's.
        distributed.all_reduce(torch.zeros(1))

    @contextmanager
    def first_alone(self) -> Generator[None]:
        """Let the first do the block, then the others, who find done what is done once."""
        if not self.is_first:
            self.wait_for_others()
        yield
        if self.is_first:
            self.wait_for_others()


def this_process() -> Process:
    """Return which process this is, by the variables that every launcher of torch sets."""
    return Process(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))
