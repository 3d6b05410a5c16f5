"""InstructBLIP at the size of flan-t5-xl on a GPU, weights at random: scoring, training steps, memory and utilisation.

    python tests/benchmarks/gpu.py                  # on a GPU, some minutes: writes its table into docs/benchmarks.md
    python tests/benchmarks/gpu.py --small          # anywhere, at tiny size: prints the table only

Work is counted while the model runs (torch's FlopCounterMode: multiplications of matrices, and attention). Utilisation
is work / (seconds · peak), with the peak of NVIDIA's data sheet for dense bfloat16, also where trained parts compute in
float32. A mode that does not fit into the device's memory has empty cells.
"""

import argparse
import gc
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import models
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import InstructBlipConfig, InstructBlipQFormerConfig, InstructBlipVisionConfig, T5Config

sys.path.insert(0, str(Path(__file__).parents[1]))

from plain_scoring import SCORERS

from toolkit.manifest.model import LoraSection
from toolkit.models.budget import GIB, budgets, device_memory
from toolkit.models.features import let_features_in
from toolkit.models.scoring import build_trie, encode
from toolkit.models.trainable import prepare, set_precision

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
HEADING, NEXT = "## On a GPU\n", "\n## "
PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12}
"""FLOP/s in dense bfloat16."""
MODES = ("lora", "qformer", "language_model", "full")

COLUMNS = ["what", "photographs at a time", "photographs/s", "GFLOP each", "TFLOP/s", "of the peak", "GiB at most"]
COLUMNS += ["GiB by `train --plan`"]


class Setting(NamedTuple):
    """A model and a device to measure it on."""

    config: Any
    device: str
    batch: int
    training_batch: int
    repeats: int


def large() -> InstructBlipConfig:
    """Return the sizes of Salesforce/instructblip-flan-t5-xl."""
    text = {"d_model": 2048, "d_ff": 5120, "num_layers": 24, "num_heads": 32}
    return config({}, {}, text)


def small() -> InstructBlipConfig:
    """Return sizes at which a CPU tries the script in a minute."""
    part = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    return config(part, part, {"d_model": 64, "d_ff": 128, "num_layers": 2, "num_heads": 2})


def config(vision: dict[str, Any], qformer: dict[str, Any], text: dict[str, Any]) -> InstructBlipConfig:
    """Return a configuration; what is not given is as in the library's defaults, which are those of the real model."""
    flan: dict[str, Any] = {"feed_forward_proj": "gated-gelu", "scale_decoder_outputs": False}
    return InstructBlipConfig(
        vision_config=InstructBlipVisionConfig(initializer_range=0.02, **vision),
        qformer_config=InstructBlipQFormerConfig(vocab_size=30523, **qformer),
        text_config=T5Config(vocab_size=32128, d_kv=64, decoder_start_token_id=0, **flan, **text),
        num_query_tokens=models.QUERY_TOKENS,
        image_token_index=models.IMAGE_TOKEN,
    )


def seconds_of(way: Callable[[], object], setting: Setting) -> float:
    """Return the shortest of some rounds, after one that is not counted."""
    shortest = float("inf")
    for number in range(setting.repeats + 1):
        began = time.perf_counter()
        way()
        if setting.device == "cuda":
            torch.cuda.synchronize()
        if number:
            shortest = min(shortest, time.perf_counter() - began)
    return shortest


def flop_of(way: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        way()
    return counter.get_total_flops()


def utilisation(flop: int, seconds: float, setting: Setting) -> str:
    """Return the share of the peak in percent, empty where the device's peak is not known."""
    name = torch.cuda.get_device_name() if setting.device == "cuda" else ""
    peak = next((peak for model, peak in PEAKS.items() if model in name), None)
    return f"{100 * flop / seconds / peak:.0f} %" if peak else ""


def row(name: str, count: int, way: Callable[[], object], setting: Setting, *, budget: str = "") -> str:
    """Return a line of the table: what was measured, with the work of one photograph and the peak of memory."""
    if setting.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    flop, seconds = flop_of(way), seconds_of(way, setting)
    peak = f"{torch.cuda.max_memory_allocated() / GIB:.1f}" if setting.device == "cuda" else ""
    cells = [name, count, f"{count / seconds:.1f}", f"{flop / count / 1e9:.0f}", f"{flop / seconds / 1e12:.2f}"]
    return line([*cells, utilisation(flop, seconds, setting), peak, budget])


def line(cells: list[Any]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


@torch.inference_mode()
def scoring(model: Any, setting: Setting) -> list[str]:
    """Return the lines of scoring, in bfloat16."""
    given = moved(models.inputs(setting.batch), setting.device)
    trie = build_trie(models.answers(), start=0)
    ways: dict[str, Callable[[], object]] = {
        name: lambda scorer=scorer: scorer(model, given, trie)
        for name, scorer in SCORERS.items()
        if "generate" not in name
    }
    ways["encoder alone (the limit)"] = lambda: encode(model, given)
    return [row(name, setting.batch, way, setting) for name, way in ways.items()]


def moved(tensors: dict[str, torch.Tensor], device: str) -> dict[str, torch.Tensor]:
    return {name: tensor.to(device) for name, tensor in tensors.items()}


def built(setting: Setting, mode: Any) -> Any:
    """Return the model with the weights that a mode does not train in bfloat16."""
    with torch.device(setting.device):
        model = models.build(config=setting.config)
    set_precision(model, mode=mode, dtype="bfloat16")
    let_features_in(model)
    return model


def training(setting: Setting) -> list[str]:
    """Return the lines of a training step in each mode, frozen weights in bfloat16."""
    lines = []
    for budget in sorted(budgets(setting.config, LoraSection()), key=lambda each: MODES.index(each.mode)):
        needed = f"{budget.bytes_bfloat16 / GIB:.1f}"
        if budget.bytes_bfloat16 > 0.9 * device_memory(setting.device):
            lines.append(line([f"training step, {budget.mode}", *[""] * 6, needed]))
            continue
        lines.append(step(budget.mode, needed, setting))
        gc.collect()
        if setting.device == "cuda":
            torch.cuda.empty_cache()
    return lines


def step(mode: Any, needed: str, setting: Setting) -> str:
    """Return the line of one mode: forward, backward and AdamW on random photographs."""
    model = built(setting, mode)
    prepared = prepare(model, mode=mode, lora=LoraSection()).to(setting.device).train()
    count, tokens = setting.training_batch, models.answers()
    given = moved(models.inputs(count), setting.device)
    longest = max(map(len, tokens))
    rows = [tokens[n % len(tokens)] for n in range(count)]
    given["labels"] = torch.tensor([each + [-100] * (longest - len(each)) for each in rows], device=setting.device)
    optimizer = torch.optim.AdamW((p for p in prepared.parameters() if p.requires_grad), lr=1e-6)

    def once() -> None:
        prepared(**given).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return row(f"training step, {mode}", count, once, setting, budget=needed)


def main() -> None:
    """Measure, print the table, and on a GPU write it into docs/benchmarks.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="at tiny size, also on a CPU")
    tried = parser.parse_args().small
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and not tried:
        raise SystemExit("there is no GPU here: --small tries the script at tiny size")
    setting = Setting(small(), device, 2, 1, 1) if tried else Setting(large(), device, 32, 8, 3)
    model = built(setting, "lora")
    size = sum(parameter.numel() for parameter in model.parameters())
    where = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    lines = [
        f"`tests/benchmarks/gpu.py`, {where}, torch {torch.__version__}: {size / 1e9:.3f} G random weights, 8 answers.",
        "",
        line(COLUMNS),
        line(["---"] * len(COLUMNS)),
        *scoring(model, setting),
    ]
    del model
    gc.collect()
    text = "\n".join([*lines, *training(setting)])
    print(text)
    if device == "cuda" and not tried:
        before, _, after = PAGE.read_text(encoding="utf-8").partition(HEADING)
        PAGE.write_text(f"{before}{HEADING}\n{text}\n{NEXT}{after.partition(NEXT)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
