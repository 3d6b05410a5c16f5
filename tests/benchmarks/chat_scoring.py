"""Scoring eight answers of a decoder-only model against the plain ways, on about 100 M parameters; of `make bench`.

A Gemma 3 and a Qwen2.5-VL with random weights. CPU time of one thread, the ways taken in turn, median of three; it ends
with exit code 1 where a ratio is missed.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import models
import torch
from transformers import AutoConfig, AutoModelForImageTextToText

sys.path.insert(0, str(Path(__file__).parents[1]))

from plain_scoring import one_forward_per_answer

from toolkit.models.decoder.families import FAMILIES, Family
from toolkit.models.decoder.scoring import by_level, by_trie, log_likelihoods, read_prefix
from toolkit.models.decoder.self_test import generate
from toolkit.models.inputs import Tensors
from toolkit.models.scoring import build_trie
from toolkit.models.transformers_compat import quiet

BATCH, TEXT_TOKENS, GENERATED = 4, 96, 8
VOCABULARY, IMAGE, START = 32_000, 31_999, 31_998
TEXT: dict[str, Any] = {
    "hidden_size": 640,
    "intermediate_size": 2048,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 80,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 2048,
}


def gemma3() -> Any:
    """Return the configuration: 64 image tokens of a photograph of 112 pixels square."""
    vision = {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 6, "num_attention_heads": 4}
    return AutoConfig.for_model(
        "gemma3",
        text_config={"sliding_window": 512, "sliding_window_pattern": 6, "query_pre_attn_scalar": 80, **TEXT},
        vision_config={"model_type": "siglip_vision_model", "image_size": 112, "patch_size": 14, **vision},
        mm_tokens_per_image=64,
        image_token_index=IMAGE,
    )


def qwen2_5_vl() -> Any:
    """Return the configuration: 64 image tokens of a photograph of 224 pixels square."""
    rope = {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [8, 16, 16]}
    vision = {
        "depth": 6,
        "hidden_size": 256,
        "intermediate_size": 1024,
        "num_heads": 4,
        "fullatt_block_indexes": [2, 5],
    }
    return AutoConfig.for_model(
        "qwen2_5_vl",
        text_config={"rope_parameters": rope, **TEXT},
        vision_config={"out_hidden_size": TEXT["hidden_size"], "fullatt_block_indexes": [2, 5], **vision},
        image_token_id=IMAGE,
        vision_start_token_id=START,
    )


def prompts(model: Any, family: Family) -> tuple[list[list[int]], Tensors]:
    """Return the tokens of a batch of prompts and the pixels of its photographs."""
    generator = torch.Generator().manual_seed(1)
    rows = [
        [START, *[IMAGE] * 64, *torch.randint(100, 30_000, (TEXT_TOKENS,), generator=generator).tolist()]
        for _ in range(BATCH)
    ]
    if family.any_size:
        grid = torch.tensor([[1, 16, 16]]).repeat(BATCH, 1)
        pixels = torch.randn(BATCH * 256, 3 * 2 * 14 * 14, generator=generator)
        return rows, {"pixel_values": pixels, "image_grid_thw": grid}
    side = model.config.vision_config.image_size
    return rows, {"pixel_values": torch.randn(BATCH, 3, side, side, generator=generator)}


def inputs(model: Any, family: Family, rows: list[list[int]], pixels: Tensors) -> Tensors:
    """Return a batch of prompts of one length as the model takes it."""
    ids = torch.tensor(rows)
    types = {str(family.types): (ids == IMAGE).long()}
    mask = torch.ones_like(ids)
    if family.multimodal_positions:
        told = {"mm_token_type_ids": types["mm_token_type_ids"], "image_grid_thw": pixels["image_grid_thw"]}
        positions, _ = model.model.get_rope_index(ids, attention_mask=mask, **told)
    else:
        positions = mask.cumsum(-1) - 1
    return {"input_ids": ids, "attention_mask": mask, "position_ids": positions, **types, **pixels}


@torch.inference_mode()
def measure(name: str, config: Any) -> list[models.Ratio]:
    """Print a table of costs; return the required ratios."""
    with quiet():
        torch.manual_seed(0)
        model: Any = AutoModelForImageTextToText.from_config(config, trust_remote_code=False).eval()
    family, answers = FAMILIES[name], models.answers()
    rows, pixels = prompts(model, family)
    batch, trie = inputs(model, family, rows, pixels), build_trie(answers, start=0)
    ways: dict[str, Callable[[], Any]] = {
        "generate and parse (no probabilities)": lambda: generate(model, batch, tokens=GENERATED),
        "one forward per label": lambda: one_forward_per_answer(model, rows, pixels, answers, image=1, answer=0),
        "level by level": lambda: log_likelihoods(model, batch, trie, family, way=by_level),
        "trie": lambda: log_likelihoods(model, batch, trie, family, way=by_trie),
        "prompt alone": lambda: read_prefix(model, batch, family),
    }
    cost = models.measured(ways)
    size = sum(parameter.numel() for parameter in model.parameters())
    print(
        f"\n{name}, {size / 1e6:.0f} M parameters, prompt of {len(rows[0])} tokens (64 of the photograph), "
        f"{trie.answers} answers, {len(trie.tokens) - 1} nodes, batch {BATCH}\n"
    )
    print("| way | CPU ms per photograph | of the trie's |\n| --- | --- | --- |")
    for way, seconds in cost.items():
        print(f"| {way} | {1000 * seconds / BATCH:.0f} | {seconds / cost['trie']:.2f} |")
    worst = float((ways["one forward per label"]() - ways["trie"]()).abs().max())
    return [
        models.Ratio(f"{name}: one forward per label / trie", cost["one forward per label"] / cost["trie"], at_least=5),
        models.Ratio(f"{name}: prompt alone / trie", cost["prompt alone"] / cost["trie"], at_least=1 / 1.6),
        models.Ratio(f"{name}: 1e-4 / largest difference in log-likelihood", 1e-4 / worst, at_least=1),
    ]


def main() -> None:
    """Print a table of costs for each family, and the required ratios."""
    torch.set_num_threads(1)
    ratios = [ratio for make in (gemma3, qwen2_5_vl) for ratio in measure(make.__name__, make())]
    print()
    models.check_ratios(ratios)


if __name__ == "__main__":
    main()
