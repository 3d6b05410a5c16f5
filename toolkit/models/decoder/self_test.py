"""The test that every decoder-only checkpoint has to pass when it is loaded: before anything is trained or predicted.

Its photographs and texts are drawn here, so that it depends on nothing of a study.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch

from toolkit.errors import ModelError
from toolkit.models.decoder.families import Family
from toolkit.models.decoder.inputs import DecoderInputs
from toolkit.models.decoder.scoring import Way, by_level, by_trie, keeps_keys_only, log_likelihoods, read_prefix
from toolkit.models.inputs import Tensors
from toolkit.models.scoring import build_trie
from toolkit.models.transformers_compat import Model, quiet

PROMPTS = (
    "What is the diagnosis?",
    "Clinical photograph of a skin lesion of a patient of 61 years, on the left forearm. What is the diagnosis?",
    "Diagnosis?",
)
ANSWERS = ("nevus", "nevus of Ota", "acquired dermal melanocytosis", "melasma")
"""One begins another; the shortest and the longest are among them."""
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.2}
"""Largest difference of a log-likelihood; in bfloat16 other kernels round otherwise, also without any trie."""
PLAIN_TOLERANCE = 1e-3
"""Under plain attention, which rounds alike in a batch and alone."""
SMALLEST = 1e-6
LEAST_EFFECT = 10
"""How many times larger than the difference the effect of an exchanged photograph has to be."""


class Passed(NamedTuple):
    """The way of scoring that is exact for a checkpoint, and how exact it was."""

    way: Way
    name: str
    difference: float
    attention: str

    def __str__(self) -> str:
        return (
            f"this checkpoint scores exactly: {self.name} equals one forward per answer to {self.difference:.1e} "
            f"({self.attention} attention)"
        )


WAYS: tuple[tuple[str, Way], ...] = (("the trie", by_trie), ("level by level", by_level))


def self_test(model: Model, inputs: DecoderInputs, family: Family, *, side: int) -> Passed:
    """Return the first way that is exact; raise ModelError naming family, attention and difference if none is."""
    samples = _Samples(model, inputs, family, draw_photographs(side))
    found: dict[str, float] = {}
    for name, way in WAYS:
        if way is by_trie and not keeps_keys_only(model):
            continue
        plain, used = samples.differences(way)
        if plain <= PLAIN_TOLERANCE and used <= samples.tolerance:
            samples.check_sight(way, plain)
            samples.check_generation()
            return Passed(way, name, plain, _attention_of(model))
        found[name] = max(plain, used)
    stated = ", ".join(f"{name} {difference:.2g}" for name, difference in found.items())
    raise _refusal(model, f"no way of scoring is exact; the largest differences in a log-likelihood are: {stated}")


class _Samples:
    """Three photographs with prompts of three lengths for one model, in one batch and one by one."""

    def __init__(self, model: Model, inputs: DecoderInputs, family: Family, photographs: np.ndarray) -> None:
        self.model, self.inputs, self.family, self.photographs = model, inputs, family, photographs
        self.tokens = inputs.chat.answer_tokens(ANSWERS)
        self.trie = build_trie(self.tokens, start=0)
        self.dtype = model.get_input_embeddings().weight.dtype
        self.tolerance = TOLERANCE[self.dtype]

    def differences(self, way: Way) -> tuple[float, float]:
        """Return the largest differences to one forward per answer: where rounding is alike, and as it is used."""
        used = self._difference(way)
        if self.dtype == torch.float32:
            return used, used
        with _attention(self.model, "eager"):
            return self._difference(way), used

    def _difference(self, way: Way) -> float:
        pairs = zip(self.photographs, PROMPTS, strict=True)
        one_by_one = [alone(self.model, self.inputs, photograph, prompt, self.tokens) for photograph, prompt in pairs]
        return float((self._likelihoods(self.photographs, way) - torch.stack(one_by_one)).abs().max())

    def _likelihoods(self, photographs: np.ndarray, way: Way) -> torch.Tensor:
        return log_likelihoods(self.model, self.inputs(photographs, PROMPTS), self.trie, self.family, way=way)

    def check_sight(self, way: Way, difference: float) -> None:
        """Refuse a model whose likelihoods hardly change when the first and the last photograph are exchanged."""
        own, other = (self._likelihoods(photographs, way) for photographs in (self.photographs, self.photographs[::-1]))
        effect = float((own - other)[::2].abs().max())
        if effect <= LEAST_EFFECT * max(difference, SMALLEST):
            raise _refusal(self.model, f"exchanged photographs change log-likelihoods by {effect:.1e}: it is blind")

    @torch.inference_mode()
    def check_generation(self) -> None:
        """Refuse a model that generates from other probabilities than it is scored by."""
        inputs = {n: t.to(self.model.device) for n, t in self.inputs(self.photographs, PROMPTS).items()}
        expected = torch.log_softmax(read_prefix(self.model, inputs, self.family).logits.float(), dim=-1)
        generated = generate(self.model, inputs, tokens=1, output_logits=True, return_dict_in_generate=True)
        difference = float((torch.log_softmax(generated.logits[0].float(), dim=-1) - expected).abs().max())
        if difference > self.tolerance:
            raise _refusal(self.model, f"what it generates from differs from what is scored by {difference:.2g}")


@torch.inference_mode()
def alone(
    model: Model, inputs: DecoderInputs, photograph: np.ndarray, prompt: str, answers: list[list[int]]
) -> torch.Tensor:
    """Return (answers,) log-likelihoods by the definition: one forward each, without padding, cache or own mask."""
    totals = []
    for answer in answers:
        tensors = {n: t.to(model.device) for n, t in inputs(photograph[None], [prompt], [answer]).items()}
        given = {n: t for n, t in tensors.items() if n not in ("position_ids", "labels")}
        logits = model(**given).logits[0].float()
        steps = torch.log_softmax(logits[-len(answer) - 1 : -1], dim=-1)
        totals.append(steps.gather(1, tensors["labels"][0][:, None]).double().sum().cpu())
    return torch.stack(totals)


def generate(model: Model, inputs: Tensors, *, tokens: int, **options: bool) -> Any:
    """Generate greedily; positions are the library's own, which follow the mask."""
    given = {name: tensor for name, tensor in inputs.items() if name not in ("position_ids", "labels")}
    with quiet():
        return model.generate(**given, max_new_tokens=tokens, do_sample=False, num_beams=1, **options)


def draw_photographs(side: int) -> np.ndarray:
    """Return three photographs (3, S, S, 3): noise, a disc, a gradient."""
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    rows, columns = np.mgrid[:side, :side] / side - 0.5
    disc = np.where((rows**2 + columns**2 < 0.1)[..., None], [90, 50, 30], [230, 190, 170]).astype(np.uint8)
    gradient = np.stack([(rows + 0.5) * 255, (columns + 0.5) * 255, 0 * rows], axis=-1).astype(np.uint8)
    return np.stack([noise, disc, gradient])


def _attention_of(model: Model) -> str:
    return model.config.get_text_config()._attn_implementation  # noqa: SLF001 - there is no other name


@contextmanager
def _attention(model: Model, name: str) -> Generator[None]:
    before = _attention_of(model)
    model.set_attn_implementation(name)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def _refusal(model: Model, problem: str) -> ModelError:
    return ModelError(
        f"this checkpoint failed its self-test: {problem}",
        place=f"{model.config.model_type} checkpoint, {_attention_of(model)} attention",
        remedy="use a checkpoint of another family, or report this one",
    )
