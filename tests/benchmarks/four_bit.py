"""A base of 4-bit weights under adapters, tried with tiny checkpoints: loaded, trained, saved and read again.

Needs the package bitsandbytes. Without a GPU the toolkit refuses such weights: here the check is passed by, and they
are read by bitsandbytes' plain kernels on the CPU.
"""

import importlib
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from tiny_families import build_family
from tiny_queries import build_queries

from toolkit.manifest.model import TrainSection
from toolkit.models import instructblip
from toolkit.models.backend import Examples, TrainingJob
from toolkit.models.decoder import image_text_to_text

PROMPT = "USER: What is the diagnosis? ASSISTANT:"
ANSWERS = ["nevus", "nevus of Ota", "melasma", "basal cell carcinoma"]
SETTINGS = {"mode": "lora", "epochs": 3, "learning_rate": 1e-2, "batch_size": 4, "augment": False, "lora": {"rank": 2}}
FAMILIES = {"t5": build_queries, "opt": build_queries, "llama": build_queries, "gemma3": build_family}
FAMILIES |= {"qwen3_vl": build_family}
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def allow_the_cpu() -> None:
    """Let 4-bit weights onto the CPU, with the kernels that read them as a GPU's do."""
    for module in (instructblip, image_text_to_text):
        setattr(module, "check_four_bit", lambda *_, **__: None)  # noqa: B010 - it is no constant
    layers: Any = importlib.import_module("bitsandbytes.nn.modules")
    layers.has_avx512bf16 = lambda: False


def tried(family: str, folder: Path) -> str:
    """Return a row of the table: how exactly it scores, how far it is from bfloat16, its losses, and a second read."""
    FAMILIES[family](family, folder / family, [PROMPT, *ANSWERS], seed=3)
    backend: Any = instructblip.InstructBlip if family == "t5" else image_text_to_text.ImageTextToText
    photographs = np.random.default_rng(5).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    examples = Examples(photographs, [PROMPT] * 8, np.arange(8) % 4)

    def load(source: Path, dtype: str) -> Any:
        return backend.load(str(source), device=DEVICE, mode="lora", dtype=dtype)

    def scores(model: Any) -> np.ndarray:
        return model.log_likelihoods(photographs, examples.prompts, ANSWERS)

    model = load(folder / family, "4bit")
    apart = np.abs(scores(model) - scores(load(folder / family, "bfloat16"))).max()
    job = TrainingJob(
        examples, examples, ANSWERS, TrainSection.model_validate(SETTINGS), 11, folder / f"{family}-training"
    )
    losses = " ".join(f"{epoch.train_loss:.2f}" for epoch in model.fit(job))
    model.save(folder / f"{family}-run")
    again = np.abs(scores(load(folder / f"{family}-run", "4bit")) - scores(model)).max()
    exactly = model.facts()["self_test"].partition(": ")[2]
    return f"| {family} | {exactly} | {apart:.1f} | {losses} | {again:.3f} |"


def main() -> None:
    """Print a table with a row for each family."""
    if DEVICE == "cpu":
        allow_the_cpu()
    print(f"on {DEVICE}\n| language model | self-test | nats from bfloat16 | losses | read again |")
    print("| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for family in FAMILIES:
            print(tried(family, Path(folder)))


if __name__ == "__main__":
    main()
