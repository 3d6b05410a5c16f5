"""Whether `torch.compile` pays for scoring and training, and whether results stay the same; it is no option of a study.

CPU time of one thread on a tiny and on a mid-size random model: the first call with its compilation, later calls, and
the largest difference of a log-likelihood. `torch.compile` needs a C++ compiler.
"""

import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import models
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from toolkit.models.instructblip import InstructBlip
from toolkit.models.scoring import Trie, build_trie, log_likelihoods
from toolkit.models.tiny import build_tiny

BATCH = 4
LATER = 5
PROMPT = "USER: What is the diagnosis? ASSISTANT:"


def spent() -> float:
    """Return the CPU seconds of this process and of the compilers that it has waited for."""
    compilers = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + compilers.ru_utime + compilers.ru_stime


def timed(do: Callable[[], Any]) -> tuple[float, float, Any]:
    """Return CPU seconds of the first call, the least of later ones, and what the last returned."""
    began = spent()
    result = do()
    first, later = spent() - began, []
    for _ in range(LATER):
        began = spent()
        result = do()
        later.append(spent() - began)
    return first, min(later), result


def scored(model: torch.nn.Module, inputs: dict[str, torch.Tensor], trie: Trie) -> torch.Tensor:
    """Return log-likelihoods by the toolkit's own way."""
    return log_likelihoods(model, inputs, trie)


def stepped(model: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> float:
    """Return the loss of one forward and backward pass."""
    loss = model(**inputs).loss
    loss.backward()
    for parameter in model.parameters():
        parameter.grad = None
    return loss.item()


def compiled(model: Any) -> Any:
    """Compile the parts of a model in place: the toolkit calls them one by one."""
    for part in (model.vision_model, model.qformer, model.language_model.encoder, model.language_model.decoder):
        part.compile()
    return model


def tiny() -> tuple[Callable[[], Any], dict[str, torch.Tensor], list[list[int]]]:
    """Return what builds the demo's model, inputs for it, and the tokens of the answers."""
    folder, answers = Path(tempfile.mkdtemp()), ["nevus", "melasma", "basal cell carcinoma", "solar lentigo"]
    build_tiny(folder / "tiny", [PROMPT, *answers], seed=1)
    model = InstructBlip.load(str(folder / "tiny"), device="cpu")
    photographs = np.random.default_rng(1).integers(0, 256, (BATCH, 64, 64, 3), dtype=np.uint8)
    inputs = model.inputs(photographs, [PROMPT] * BATCH)
    return (
        lambda: InstructBlip.load(str(folder / "tiny"), device="cpu").model,
        inputs,
        model.inputs.answer_tokens(answers),
    )


def main() -> None:
    """Print a table."""
    torch.set_num_threads(1)
    sizes = {"tiny": tiny(), "223 M": (models.build, models.inputs(BATCH), models.answers())}
    print("| model | what | eager, CPU s | compiled, first | compiled, later | calls until it pays | difference |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for size, (build, inputs, tokens) in sizes.items():
        trie, width = build_trie(tokens, start=0), max(map(len, tokens))
        labels = torch.tensor([row + [-100] * (width - len(row)) for row in tokens[:BATCH]])
        ways: dict[str, Callable[[Any], Any]] = {
            "scoring": lambda model, given=inputs, trie=trie: scored(model, given, trie),
            "forward and backward": lambda model, given={**inputs, "labels": labels}: stepped(model, given),
        }
        for name, way in ways.items():
            torch.compiler.reset()  # what was compiled before counts against a limit
            plain, fast = build(), compiled(build())
            _, eager, expected = timed(lambda way=way, model=plain: way(model))
            first, later, found = timed(lambda way=way, model=fast: way(model))
            pays = f"{first / (eager - later):.0f}" if later < 0.98 * eager else "never"
            apart = float((torch.as_tensor(expected) - torch.as_tensor(found)).abs().max())
            print(f"| {size} | {name} | {eager:.3f} | {first:.1f} | {later:.3f} | {pays} | {apart:.1e} |", flush=True)


if __name__ == "__main__":
    main()
