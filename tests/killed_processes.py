"""A program that predicts with two processes, kills them when files of predictions appear, and lets both start again.

It has imported what they need, and forks them: what torch takes to load is paid once. Run by `test_two_processes.py`.
"""

import json
import os
import signal
import socket
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import torch.distributed  # noqa: F401 - for the forks

import toolkit.models.instructblip  # noqa: F401 - the same
from toolkit.cli import main
from toolkit.models import processes
from toolkit.stages import predict
from toolkit.workspace import shared_disk

SHARD = 4
LONGEST = 300


class Round(NamedTuple):
    """Two processes of `toolkit predict`; one is killed as soon as so many files are new."""

    workspaces: list[str]
    killed: int | None
    after: int
    gathering: float


def started(rank: int, port: int, one: Round, log: Path, words: list[str]) -> int:
    """Fork one of two processes, as a launcher would start it; return its number."""
    if pid := os.fork():
        return pid
    own = {"RANK": rank, "LOCAL_RANK": 0, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in own.items()})
    handle = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    predict.SHARD, shared_disk.PATIENCE, processes.GATHERING = SHARD, 1.0, timedelta(seconds=one.gathering)
    try:
        main(["--workspace", one.workspaces[rank], "--json", "--quiet", *words])
    except SystemExit as ended:
        os._exit(int(ended.code or 0))
    finally:
        os._exit(70)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def files(one: Round) -> list[Path]:
    return list(Path(one.workspaces[0]).glob("runs/*/predictions/[!.]*"))


def ended(one: Round, logs: Path, words: list[str]) -> list[int]:
    """Run two processes, and return how they ended."""
    port, before = free_port(), len(files(one))
    pids = [started(rank, port, one, logs / f"{rank}.log", words) for rank in (0, 1)]
    codes, end, killed = {}, time.monotonic() + LONGEST, one.killed
    while len(codes) < len(pids) and time.monotonic() < end:
        if killed is not None and len(files(one)) - before >= one.after:
            os.kill(pids[killed], signal.SIGKILL)
            killed = None
        for pid in set(pids) - set(codes):
            gone, status = os.waitpid(pid, os.WNOHANG)
            if gone:
                codes[pid] = os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    for pid in set(pids) - set(codes):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return [codes.get(pid, 1000) for pid in pids]


if __name__ == "__main__":
    folder, *words = sys.argv[2:]
    told = []
    for one in json.loads(sys.argv[1]):
        codes = ended(Round(*one), Path(folder), words)
        said = [(Path(folder) / f"{rank}.log").read_text() for rank in (0, 1)]
        told.append({"codes": codes, "said": said})
    print(json.dumps(told))
