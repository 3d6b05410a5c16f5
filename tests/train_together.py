"""A program that `test_train_together.py` starts alone and in two processes: it trains the same cases each time."""

import json
import sys
from pathlib import Path

import numpy as np

from toolkit.manifest.model import TrainSection
from toolkit.models.backend import Examples, TrainingJob
from toolkit.models.instructblip import InstructBlip
from toolkit.models.processes import this_process

PROMPT = "What is the diagnosis?"
ANSWERS = ["nevus", "melasma", "basal cell carcinoma"]
CLASSES = np.array([0, 0, 0, 0, 1, 1, 2, 2])
WAYS = [("full", "none", "tiny"), ("full", "weights", "tiny"), ("lora", "weights", "tiny"), ("lora", "none", "adapter")]
"""Modes of training, balances, and checkpoints to start from."""


def job(folder: Path, **settings: object) -> TrainingJob:
    """Return a training of two epochs on the eight cases."""
    photographs = np.random.default_rng(5).integers(0, 256, (8, 64, 64, 3), dtype=np.uint8)
    examples = Examples(photographs, [PROMPT] * 8, CLASSES)
    chosen = TrainSection.model_validate({"epochs": 2, **settings})
    return TrainingJob(examples, examples, ANSWERS, chosen, 11, folder)


def main(source: Path, folder: Path, shapes: list[tuple[int, int]]) -> None:
    """Train in every way with each batch size and accumulation; write loss, gradient norm and likelihoods as JSON.

    The checkpoints are in `source`.
    """
    results = []
    for mode, balance, name in WAYS:
        for size, accumulate in shapes:
            settings = {"mode": mode, "balance": balance, "batch_size": size, "accumulate": accumulate}
            model = InstructBlip.load(str(source / name), device="cpu", mode=mode)
            training = folder / f"{mode}-{balance}-{name}-{size}x{accumulate}"
            epochs = model.fit(given := job(training, learning_rate=1e-3, **settings))
            this_process().wait_for_others()
            state = json.loads((training / "checkpoint-2" / "trainer_state.json").read_text(encoding="utf-8"))
            log = [entry for entry in state["log_history"] if "grad_norm" in entry]
            results.append(
                {
                    "way": [mode, balance, name],
                    "losses": [epoch.train_loss for epoch in epochs],
                    "grad_norm": log[0]["grad_norm"],
                    "likelihoods": model.log_likelihoods(*given.training[:2], ANSWERS).tolist(),
                }
            )
    if this_process().is_first:
        (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
