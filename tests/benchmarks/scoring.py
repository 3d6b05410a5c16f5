"""Scoring eight answers by the trie against the plain ways, on a model of 223 M parameters. `make bench` runs it.

CPU time of one thread, the ways taken in turn, median of three; it ends with exit code 1 where a ratio is missed.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import models
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from plain_scoring import SCORERS

from toolkit.models.features import let_features_in
from toolkit.models.scoring import build_trie, encode

BATCH = 4


@torch.inference_mode()
def main() -> None:
    """Print a table of costs and the required ratios."""
    torch.set_num_threads(1)
    model, photographs = models.build(), models.inputs(BATCH)
    trie = build_trie(models.answers(), start=0)
    features = model.vision_model(photographs["pixel_values"]).last_hidden_state
    let_features_in(model)
    cached = {**photographs, "pixel_values": features}
    ways: dict[str, Callable[[], object]] = {
        name: lambda scorer=scorer: scorer(model, photographs, trie) for name, scorer in SCORERS.items()
    }
    ways["encoder alone"] = lambda: encode(model, photographs)
    for name in ("encode once, decode every label", "trie"):
        ways[f"{name}, cached ViT output"] = lambda scorer=SCORERS[name]: scorer(model, cached, trie)
    cost = models.measured(ways)
    size = sum(parameter.numel() for parameter in model.parameters())
    print(f"{size / 1e6:.0f} M parameters, {trie.answers} answers, {len(trie.tokens)} nodes, batch {BATCH}\n")
    print("| way | CPU ms per photograph | of the trie's |\n| --- | --- | --- |")
    for name, seconds in cost.items():
        print(f"| {name} | {1000 * seconds / BATCH:.0f} | {seconds / cost['trie']:.2f} |")
    worst = (ways["one forward per label"]() - ways["trie"]()).abs().max()
    trie_cost, cached_cost = cost["trie"], cost["trie, cached ViT output"]
    plain, once = cost["one forward per label"], cost["encode once, decode every label"]
    ratios = [
        models.Ratio("one forward per label / trie", plain / trie_cost, at_least=6.5),
        models.Ratio("encode once, decode every label / trie", once / trie_cost, at_least=1.15),
        models.Ratio("encoder alone / trie", cost["encoder alone"] / trie_cost, at_least=1 / 1.40),
        models.Ratio("one forward per label / trie, cached", plain / cached_cost, at_least=14),
        models.Ratio(
            "encode once / trie, both cached",
            cost["encode once, decode every label, cached ViT output"] / cached_cost,
            at_least=1.6,
        ),
        models.Ratio("1e-4 / largest difference in log-likelihood", 1e-4 / float(worst), at_least=1),
    ]
    models.check_ratios(ratios)


if __name__ == "__main__":
    main()
