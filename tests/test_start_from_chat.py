"""Training of a decoder-only model that starts from the weights of a run, and its adapters that rest on them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_families import build_family
from tiny_queries import build_queries

from toolkit.errors import ModelError
from toolkit.files import read_json
from toolkit.manifest.model import LoraSection, TrainSection
from toolkit.models.backend import Examples, TrainingJob
from toolkit.models.checkpoint import BASE
from toolkit.models.decoder.image_text_to_text import ImageTextToText

PROMPT = "USER: What is the diagnosis? ASSISTANT:"
OLD, NEW = ["nevus", "melasma"], ["nevus", "melasma", "blue nevus of Jadassohn"]
SETTINGS = {"epochs": 1, "learning_rate": 1e-3, "batch_size": 4, "threads": 1, "augment": False, "schedule": "constant"}


def fit(source: Path, folder: Path, answers: list[str], mode: str) -> Any:
    photographs = np.random.default_rng(5).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    examples = Examples(photographs, [PROMPT] * 8, np.arange(8) % len(answers))
    settings = TrainSection.model_validate(SETTINGS | {"mode": mode, "lora": {"rank": 2}})
    model = ImageTextToText.load(str(source), device="cpu", mode=mode)
    before = scores(model)
    model.fit(TrainingJob(examples, examples, answers, settings, 11, folder / "training"))
    model.save(folder / "checkpoint")
    return model, before


def scores(model: ImageTextToText) -> np.ndarray:
    photographs = np.random.default_rng(6).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    return model.log_likelihoods(photographs, [PROMPT] * 3, NEW)


@pytest.mark.soak_after(1)
@pytest.mark.parametrize(
    ("family", "mode"),
    [
        ("gemma3", "lora"),
        ("opt", "language_model"),
        *(pytest.param(family, "lora", marks=pytest.mark.soak) for family in ("qwen2_5_vl", "idefics3", "llama")),
    ],
)
def test_a_training_starts_from_the_weights_of_another_and_learns_a_class_that_it_did_not_have(tmp_path, family, mode):
    build = build_queries if family in ("opt", "llama") else build_family
    source = build(family, tmp_path / "published", [PROMPT, *OLD], seed=3)
    first, published = fit(source, tmp_path / "first", OLD, "full")
    second, before = fit(tmp_path / "first" / "checkpoint", tmp_path / "second", NEW, mode)
    again = ImageTextToText.load(str(tmp_path / "second" / "checkpoint"), device="cpu", mode=mode)

    np.testing.assert_array_equal(scores(first), before)
    assert np.abs(published - before).max() > 0.1
    assert (scores(second) - before)[:, 2].min() > 0.1  # the new class
    np.testing.assert_array_equal(scores(second), scores(again))
    assert {b.mode for b in ImageTextToText.budgets(str(tmp_path / "first" / "checkpoint"), lora=LoraSection())} >= {
        "full", "language_model", "lora"
    }  # fmt: skip
    if mode == "lora":
        base = tmp_path / "second" / "checkpoint" / read_json(tmp_path / "second" / "checkpoint" / BASE)["name"]
        assert tmp_path / "first" / "checkpoint" == base.resolve()


def test_adapters_of_a_run_do_not_go_onto_the_published_weights(tmp_path):
    source = build_family("gemma3", tmp_path / "published", [PROMPT, *OLD], seed=3)
    fit(source, tmp_path / "first", OLD, "full")
    fit(tmp_path / "first" / "checkpoint", tmp_path / "second", NEW, "lora")
    (tmp_path / "first" / "checkpoint").rename(tmp_path / "first" / "moved")
    source.rename(tmp_path / "first" / "checkpoint")

    with pytest.raises(ModelError, match="are not those that this adapter was trained on"):
        ImageTextToText.load(str(tmp_path / "second" / "checkpoint"), device="cpu", mode="lora")
