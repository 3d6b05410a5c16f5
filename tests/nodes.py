"""Two machines on this one: agents of a launcher that meet on the loopback, and are killed and started again."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

LAUNCHER = {
    "torchrun": (
        *("torch.distributed.run", "--nnodes=2", "--nproc-per-node={processes}", "--max-restarts={restarts}"),
        *("--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:{port}", "--rdzv-id=two", "--rdzv-conf=is_host={host}"),
    ),
    "accelerate": (
        *("accelerate.commands.launch", "--multi_gpu", "--num_machines=2", "--rdzv_backend=c10d"),
        *("--main_process_ip=127.0.0.1", "--main_process_port={port}", "--rdzv_conf=is_host={host}"),
        *("--machine_rank={number}", "--num_processes={all}", "--max_restarts={restarts}"),
        *("--mixed_precision=no", "--dynamo_backend=no"),
    ),
}
"""What is typed on each machine; on loopback, both could be the host, so that it is said which one is."""


class Nodes:
    """Two agents that run a program of Python with the same words, each with its log."""

    def __init__(self, folder: Path, program: Path, words: list[Any], **settings: Any) -> None:
        self.folder, self.program, self.words = folder, program, list(map(str, words))
        self.settings = {"launcher": "torchrun", "processes": 1, "restarts": 0, "options": (), **settings}
        self.agents: dict[int, subprocess.Popen] = {}
        self.meet_anew()

    def meet_anew(self) -> None:
        """Choose another port, as after both agents have ended."""
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port = one.getsockname()[1]

    def start(self, number: int) -> None:
        """Start the agent of a node, as typed there."""
        launcher = self.settings["launcher"]
        known = {**self.settings, "all": 2 * self.settings["processes"], "port": self.port, "number": number}
        filled = [option.format(**known, host=int(number == 0)) for option in LAUNCHER[launcher]]
        ends = ["--"] if launcher == "torchrun" else []  # or torchrun takes --run for an option of its own
        command = [sys.executable, "-m", *filled, *self.settings["options"], *ends, str(self.program), *self.words]
        surroundings = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "TOOLKIT_DEVICE": "cpu",
            "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
        }
        with self.log(number).open("ab") as log:
            self.agents[number] = subprocess.Popen(command, stdout=log, stderr=log, env=surroundings)

    def log(self, number: int) -> Path:
        return self.folder / f"node-{number}.log"

    def said(self, number: int) -> str:
        return self.log(number).read_text(errors="replace")

    def kill(self, number: int, what: str) -> None:
        """Kill the agent of a node, its workers, or both, with SIGKILL."""
        agent = self.agents[number]
        workers = [pid for pid in descendants(agent.pid) if pid != agent.pid]
        for pid in {"agent": [agent.pid], "workers": workers, "node": [agent.pid, *workers]}[what]:
            kill(pid)
        if what != "workers":
            agent.wait()

    def ended(self, seconds: float) -> list[int | None]:
        """Wait until both agents have ended, and return their codes; one that has not is killed, and has none."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and any(agent.poll() is None for agent in self.agents.values()):
            time.sleep(0.05)
        codes = [self.agents[number].poll() for number in sorted(self.agents)]
        self.close()
        return codes

    def close(self) -> None:
        """Kill whatever runs."""
        for number, agent in self.agents.items():
            if agent.poll() is None:
                self.kill(number, "node")


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def descendants(pid: int) -> list[int]:
    """Return a process and all that it and they have started."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(entry.name))
    found, left = [], [pid]
    while left:
        one = left.pop()
        found.append(one)
        left += children.get(one, [])
    return found
