"""The processes that `torchrun` or `accelerate launch` started: which one this is, its share of work, and waiting.

Without a launcher there is one process, and it never waits. `watch.py` notices those that are gone.
"""

import os
import socket
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from toolkit.errors import ToolkitError
from toolkit.workspace.shared_disk import Mark

if TYPE_CHECKING:
    from torch.distributed import Store

Item = TypeVar("Item")
TIMEOUT = timedelta(days=7)
"""How long to wait for a process that still works; one that is gone is noticed long before: see `watch.py`."""
GATHERING = timedelta(minutes=10)
"""How long to wait until all have started: machines of a cluster do not begin at the same second."""
GONE = ("closed by peer", "reset by peer", "Broken pipe", "remote process exited", "Connection refused")
"""What the libraries below say where another process has ended."""
AGAIN = "its own message, on its machine, says why; then run the same command again on every machine (train: --resume)"
COME = "see what they say on their machine; every machine needs the same command, toolkit and torch"
SHARED_STORE = "TORCH_DISABLE_SHARE_RDZV_TCP_STORE"

LOADS_FIRST_ONLY = "FSDP_CPU_RAM_EFFICIENT_LOADING"
"""`accelerate launch --use_fsdp` sets it to true: then all processes but the first would read no weights."""


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
        """Return when every process has called this; raise ToolkitError where one has ended."""
        if self.count == 1:
            return
        import torch  # noqa: PLC0415 - one process works without torch
        from torch import distributed  # noqa: PLC0415

        _join(self)
        # Not a barrier: that would use the GPUs before each process has taken its own. A tensor on the CPU uses gloo.
        with lost_others():
            distributed.all_reduce(torch.zeros(1))

    @contextmanager
    def first_alone(self) -> Generator[None]:
        """Let the first process run the block, then the others, who find its results."""
        if self.count > 1:
            _join(self)
        if not self.is_first:
            self.wait_for_others()
        yield
        if self.is_first:
            self.wait_for_others()

    @contextmanager
    def together_in(self, folder: Path, lock: AbstractContextManager[None]) -> Generator[None]:
        """Hold a lock of a workspace within the block, the first process before the others.

        Raises ToolkitError where a process does not see the workspace that the first one sees.
        """
        with ExitStack() as held:
            with self.first_alone():
                held.enter_context(lock)
            if self.count > 1:
                self._check_workspace(folder)
            yield

    def told_by_first(self, value: Item) -> Item:
        """Return the first process's value in every process: machines may see a disk at different moments."""
        if self.count == 1:
            return value
        import torch  # noqa: PLC0415 - one process works without torch
        from torch import distributed  # noqa: PLC0415

        _join(self)
        values = [value]
        with lost_others():
            distributed.broadcast_object_list(values, src=0, device=torch.device("cpu"))
        return values[0]

    def _check_workspace(self, folder: Path) -> None:
        mark = self.told_by_first(Mark.new(folder))._replace(folder=folder)
        with mark.put() if self.is_first else ExitStack():
            self.wait_for_others()
            mark.check_seen()
            self.wait_for_others()


def this_process() -> Process:
    """Return which process this is, from the environment variables that torch's launchers set."""
    return Process(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))


@contextmanager
def lost_others() -> Generator[None]:
    """Turn what torch raises where another process has ended into one message."""
    try:
        yield
    except RuntimeError as error:
        if not any(words in str(error) for words in GONE):
            raise
        raise ToolkitError("another process of this command has ended", remedy=AGAIN) from error


def _join(process: Process) -> None:
    """Meet the other processes, once; from then on each notices when another is gone."""
    from torch import distributed  # noqa: PLC0415 - one process works without torch

    if distributed.is_initialized():
        return
    _check_restarts()
    os.environ[LOADS_FIRST_ONLY] = "false"
    from torch.distributed.rendezvous import rendezvous  # noqa: PLC0415

    from toolkit.models.watch import Watch  # noqa: PLC0415

    try:
        store, _, _ = next(rendezvous("env://", process.rank, process.count, timeout=GATHERING))
    except distributed.DistError as error:
        raise ToolkitError(
            f"the processes have not come together: {str(error).splitlines()[0][:200]}",
            place=f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}",
            remedy=COME,
        ) from error
    gather(store, process, GATHERING)
    Watch(store, process.rank, process.count).start()
    with lost_others():
        distributed.init_process_group(store=store, rank=process.rank, world_size=process.count, timeout=TIMEOUT)


def gather(store: "Store", process: Process, patience: timedelta) -> None:
    """Return when every process is here; raise ToolkitError that names those that have not come."""
    from torch.distributed import DistStoreError  # noqa: PLC0415 - one process works without torch

    keys = [f"here/{rank}" for rank in range(process.count)]
    store.set(keys[process.rank], socket.gethostname())
    try:
        store.wait(keys, patience)
    except DistStoreError:
        missing = [str(rank) for rank, key in enumerate(keys) if not store.check([key])]
        raise ToolkitError(
            f"{len(missing)} of {process.count} processes have not come within {patience.total_seconds():.0f} s: "
            f"number {', '.join(missing[:8])}",
            remedy=COME,
        ) from None


def _check_restarts() -> None:
    """Refuse to be started again by a launcher whose new processes would meet the addresses of the ended ones."""
    shares = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    if shares and int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0")) > 0:
        raise ToolkitError(
            "with --max-restarts, this launcher lets processes that it starts again look for the ended ones",
            place=SHARED_STORE,
            remedy=f"set {SHARED_STORE}=1 on every machine and start again, with --rdzv-backend c10d; "
            "or leave --max-restarts out",
        )
