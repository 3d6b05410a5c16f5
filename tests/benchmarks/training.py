"""One training step with kept ViT output against one without, on a model of 223 M parameters. `make bench` runs it.

CPU time of one thread, batch 8, AdamW, the ways taken in turn, median of three; same photographs, same random numbers.
"""

import copy
import functools
from collections.abc import Callable

import models
import torch

from toolkit.manifest.model import LoraSection
from toolkit.models.features import let_features_in
from toolkit.models.trainable import freezes_vision, prepare

BATCH = 8
MODES = ("full", "language_model", "qformer")
LOSSES: dict[str, float] = {}


def step(name: str, model: torch.nn.Module, moved: torch.optim.Optimizer, inputs: dict[str, torch.Tensor]) -> None:
    """Take one step from the weights as they are, and note the loss before it."""
    torch.manual_seed(1)  # the same units are dropped out
    loss = model(**inputs).loss
    loss.backward()
    moved.step()
    moved.zero_grad()
    LOSSES.setdefault(name, loss.item())


def main() -> None:
    """Print a table of costs and the required ratios."""
    torch.set_num_threads(1)
    plain, photographs = models.build(), models.inputs(BATCH)
    tokens = models.answers()
    longest = max(map(len, tokens))
    photographs["labels"] = torch.tensor([row + [-100] * (longest - len(row)) for row in tokens])
    with torch.inference_mode():
        features = plain.vision_model(photographs["pixel_values"]).last_hidden_state.clone()
    let_features_in(plain)
    kept = {**photographs, "pixel_values": features.clone()}
    ways: dict[str, Callable[[], object]] = {}
    for mode in MODES:
        model = prepare(copy.deepcopy(plain), mode=mode, lora=LoraSection()).train()
        # A step of length 0 costs as much, and leaves the weights for the next way as they are.
        moved = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=0.0, weight_decay=0.0)
        ways[mode] = functools.partial(step, mode, model, moved, photographs)
        if freezes_vision(mode):
            name = f"{mode}, kept ViT output"
            ways[name] = functools.partial(step, name, model, moved, kept)
    cost = models.measured(ways)
    print("| step | CPU s | loss |\n| --- | --- | --- |")
    for name, seconds in cost.items():
        print(f"| {name} | {seconds:.2f} | {LOSSES[name]:.6f} |")
    ratios = []
    for mode in filter(freezes_vision, MODES):
        name = f"{mode}, kept ViT output"
        ratios.append(models.Ratio(f"{mode} without / with", cost[mode] / cost[name], at_least=1.9))
        apart = abs(LOSSES[mode] - LOSSES[name])
        ratios.append(models.Ratio(f"{mode}, 1e-6 / difference of the losses", 1e-6 / max(apart, 1e-9), at_least=1))
    models.check_ratios(ratios)


if __name__ == "__main__":
    main()
