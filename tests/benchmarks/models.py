"""The model that the benchmarks measure: InstructBLIP with flan-t5-xl at an eighteenth of its size, weights at random.

Its parts stand to each other about as in the real one (ViT 23 %, Q-Former 9 %, language model 68 % of the parameters).
"""

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from transformers import (
    InstructBlipConfig,
    InstructBlipForConditionalGeneration,
    InstructBlipQFormerConfig,
    InstructBlipVisionConfig,
    T5Config,
)

from toolkit.models.transformers_compat import quiet

REPEATS = 3
QUERY_TOKENS, IMAGE_TOKEN, PROMPT_TOKENS = 32, 32100, 18
VISION: dict[str, Any] = {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 16}
QFORMER: dict[str, Any] = {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 8}
LANGUAGE: dict[str, Any] = {"d_model": 640, "d_ff": 1600, "num_layers": 10, "num_heads": 10, "vocab_size": 32128}
# The eight answers of manifests/pigmented8.toml, in pieces about as long as those of T5's vocabulary.
PIECES = (
    "▁acquired ▁ der mal ▁ mel an o cy to s is",
    "▁bas al ▁cell ▁car cin oma",
    "▁ e phe lis",
    "▁ mal ign ant ▁ mel an oma",
    "▁ mel as ma",
    "▁ ne v us",
    "▁se bor r he ic ▁ker a to s is",
    "▁solar ▁l ent i go",
)


def measured(ways: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return the median CPU seconds of each way, taken in turn after one round that is not counted."""
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(REPEATS + 1):
        for name, way in ways.items():
            began = time.process_time()
            way()
            if number:
                spent[name].append(time.process_time() - began)
    return {name: statistics.median(seconds) for name, seconds in spent.items()}


class Ratio(NamedTuple):
    """How many times cheaper one way is than another, and the required minimum."""

    name: str
    value: float
    at_least: float


def check_ratios(ratios: list[Ratio]) -> None:
    """Print each ratio with its required minimum; exit with code 1 if one is below it."""
    for ratio in ratios:
        print(f"{ratio.name}: {ratio.value:.2f}, at least {ratio.at_least:.2f} required")
    if missed := [ratio.name for ratio in ratios if ratio.value < ratio.at_least]:
        raise SystemExit(f"below the minimum: {'; '.join(missed)}")


def build(seed: int = 0, *, config: Any = None) -> Any:
    """Return the model, or another of its kind: float32, ready to score."""
    config = config or InstructBlipConfig(
        vision_config=InstructBlipVisionConfig(
            image_size=224, patch_size=14, num_attention_heads=8, initializer_range=0.02, **VISION
        ),
        qformer_config=InstructBlipQFormerConfig(vocab_size=30523, num_attention_heads=4, **QFORMER),
        text_config=T5Config(feed_forward_proj="gated-gelu", d_kv=64, decoder_start_token_id=0, **LANGUAGE),
        num_query_tokens=QUERY_TOKENS,
        image_token_index=IMAGE_TOKEN,
    )
    with quiet():
        torch.manual_seed(seed)
        model = InstructBlipForConditionalGeneration(config)
    head = torch.empty_like(model.language_model.lm_head.weight).normal_(std=0.02)
    model.language_model.lm_head.weight = torch.nn.Parameter(head)
    torch.nn.init.normal_(model.query_tokens, std=0.02)
    return model.eval()


def inputs(batch: int, seed: int = 1) -> dict[str, torch.Tensor]:
    """Return random photographs under one random prompt."""
    generator = torch.Generator().manual_seed(seed)
    prompt = torch.randint(100, 30_000, (1, PROMPT_TOKENS), generator=generator).repeat(batch, 1)
    return {
        "pixel_values": torch.randn(batch, 3, 224, 224, generator=generator),
        "input_ids": torch.cat([torch.full((batch, QUERY_TOKENS), IMAGE_TOKEN), prompt], dim=1),
        "attention_mask": torch.ones(batch, QUERY_TOKENS + PROMPT_TOKENS, dtype=torch.long),
        "qformer_input_ids": prompt,
        "qformer_attention_mask": torch.ones_like(prompt),
    }


def answers() -> list[list[int]]:
    """Return the answers as tokens, the end token last: every piece is a token of its own."""
    numbers: dict[str, int] = {}
    return [[numbers.setdefault(piece, 100 + len(numbers)) for piece in text.split()] + [1] for text in PIECES]
