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
WAYS = [("full", "none"), ("full", "weights"), ("lora", "weights")]
"""Modes of training and balances."""


def main(source: Path, folder: Path, shapes: list[tuple[int, int]]) -> None:
    """Train in every way with each batch size and accumulation; write loss, gradient norm and likelihoods as JSON."""
    photographs = np.random.default_rng(5).integers(0, 256, (8, 64, 64, 3), dtype=np.uint8)
    examples = Examples(photographs, [PROMPT] * 8, CLASSES)
    results = []
    for mode, balance in WAYS:
        for size, accumulate in shapes:
            settings = TrainSection(
                mode=mode, balance=balance, batch_size=size, accumulate=accumulate, epochs=2, learning_rate=1e-3
            )
            model = InstructBlip.load(str(source), device="cpu", mode=mode)
            training = folder / f"{mode}-{balance}-{size}x{accumulate}"
            epochs = model.fit(TrainingJob(examples, examples, ANSWERS, settings, 11, training))
            this_process().wait_for_others()
            state = json.loads((training / "checkpoint-2" / "trainer_state.json").read_text(encoding="utf-8"))
            log = [entry for entry in state["log_history"] if "grad_norm" in entry]
            results.append(
                {
                    "way": [mode, balance],
                    "losses": [epoch.train_loss for epoch in epochs],
                    "grad_norm": log[0]["grad_norm"],
                    "likelihoods": model.log_likelihoods(photographs, examples.prompts, ANSWERS).tolist(),
                }
            )
    if this_process().is_first:
        (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
