"""A program that trains tiny models alone, then in two processes with FSDP that are killed and go on from a checkpoint.

It has imported what they need, and forks them: what torch takes to load is paid once. Run by `test_sharding.py`.
"""

import json
import os
import signal
import socket
import sys
from pathlib import Path

import numpy as np
from torch.distributed.tensor import DTensor

from toolkit.manifest.model import TrainSection
from toolkit.models.backend import Examples, TrainingJob
from toolkit.models.decoder.image_text_to_text import ImageTextToText
from toolkit.models.instructblip import InstructBlip
from toolkit.models.processes import this_process

PROMPT = "What is the diagnosis?"
ANSWERS = ["nevus", "melasma", "basal cell carcinoma"]
CLASSES = np.array([0, 0, 0, 0, 1, 1, 2, 2])
PHOTOGRAPHS = np.random.default_rng(5).integers(0, 256, (8, 64, 64, 3), dtype=np.uint8)
BACKENDS = {"instructblip": InstructBlip, "image-text-to-text": ImageTextToText}
STEPS_PER_EPOCH = 2


def trained(name: str, folder: Path, *, batch_size: int, killed_at: int | None, resume: bool) -> dict:
    """Train, save and read again; the process kills itself before a step where it is asked to."""
    examples = Examples(PHOTOGRAPHS, [PROMPT] * 8, CLASSES)
    model = BACKENDS[name].load(str(folder.parent / "tiny"), device="cpu", mode="full")
    cut = set()

    def progress(_: str, done: int, __: int | None) -> None:
        cut.add(isinstance(next(model.model.parameters()), DTensor))
        if done == killed_at:
            os.kill(os.getpid(), signal.SIGKILL)

    settings = TrainSection(
        mode="full", batch_size=batch_size, epochs=2, learning_rate=1e-3, balance="weights", best="validation_loss"
    )
    job = TrainingJob(examples, examples, ANSWERS, settings, 11, folder / "training", resume=resume, progress=progress)
    epochs = model.fit(job)
    result = {"losses": [[e.train_loss, e.validation_loss] for e in epochs], "cut": sorted(cut)}
    if this_process().is_first:
        model.save(folder / "checkpoint")
        again = BACKENDS[name].load(str(folder / "checkpoint"), device="cpu", mode="full")
        result["likelihoods"] = again.log_likelihoods(PHOTOGRAPHS, examples.prompts, ANSWERS).tolist()
        (folder / "result.json").write_text(json.dumps(result))
    this_process().wait_for_others()
    return result


def forked(count: int, name: str, folder: Path, **how) -> list[int]:
    """Train in so many processes; return how they ended."""
    folder.mkdir(exist_ok=True)
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    pids = []
    for rank in range(count):
        pids.append(os.fork())
        if not pids[-1]:
            if count > 1:
                own = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "MASTER_PORT": port}
                own |= {"MASTER_ADDR": "127.0.0.1", "ACCELERATE_USE_FSDP": "true"}
                # As `accelerate launch --use_fsdp` sets it.
                own |= {"FSDP_CPU_RAM_EFFICIENT_LOADING": "true"}
                os.environ.update({variable: str(value) for variable, value in own.items()})
                this_process().wait_for_others()
            try:
                trained(name, folder, **how)
            except BaseException:  # noqa: BLE001 - a fork never returns
                sys.excepthook(*sys.exc_info())
                os._exit(1)
            os._exit(0)
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]


if __name__ == "__main__":
    folder, *names = sys.argv[1:]
    for name in names:
        own = Path(folder) / name
        own.mkdir()
        BACKENDS[name].build_tiny(own / "tiny", [PROMPT, *ANSWERS], seed=3)
        codes = [
            forked(1, name, own / "alone", batch_size=4, killed_at=None, resume=False),
            forked(2, name, own / "together", batch_size=2, killed_at=STEPS_PER_EPOCH + 1, resume=False),
            forked(2, name, own / "together", batch_size=2, killed_at=None, resume=True),
        ]
        (own / "codes.json").write_text(json.dumps(codes))
