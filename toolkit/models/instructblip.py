"""InstructBLIP as a backend: loading, training, scoring and saving behind one small class.

Refuses to know studies, parts and runs.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import transformers

from toolkit.files import sha256_of
from toolkit.manifest.model import LoraSection, TrainMode
from toolkit.models.backend import Budget, Epoch, TrainingJob
from toolkit.models.budget import budgets
from toolkit.models.checkpoint import Checkpoint, read_adapter, read_checkpoint, read_config, write_checkpoint
from toolkit.models.features import FeatureCache, let_features_in, weights_digest
from toolkit.models.inputs import Inputs, Tensors
from toolkit.models.sanity_checks import check_head
from toolkit.models.scoring import Trie, build_trie, log_likelihoods
from toolkit.models.tiny import build_tiny
from toolkit.models.trainable import freezes_vision, prepare, set_precision
from toolkit.models.training import train
from toolkit.models.transformers_compat import Model, Processor, quiet

LONGEST_TEXT = 32
"""Tokens of a freely given answer."""


class TrainableInstructBlip:
    """An InstructBLIP as the trainer sees it: batches with the tokens of the true answers, scored by their trie."""

    def __init__(self, model: Model, inputs: Inputs, answers: list[str]) -> None:
        self.model = model
        self.inputs = inputs
        self.tokens = inputs.answer_tokens(answers)
        self.lengths = np.array([len(tokens) for tokens in self.tokens])
        self.trie = build_trie(self.tokens, start=model.config.text_config.decoder_start_token_id)

    def batch(self, photographs: Sequence[np.ndarray], prompts: Sequence[str], classes: Sequence[int]) -> Tensors:
        """Return the model's inputs with the tokens of the true answers as `labels`."""
        labels = self.inputs.labels([self.tokens[index] for index in classes])
        return {**self.inputs(photographs, prompts), "labels": labels}

    def scores(self, model: Model, inputs: Tensors) -> torch.Tensor:
        """Return (B, C) log-likelihoods of the answers."""
        return log_likelihoods(plain(model), inputs, self.trie)


def plain(model: Model) -> Model:
    """Return the InstructBLIP itself: within LoRA's wrapping its layers hold the adapters all the same."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


class InstructBlip:
    """A loaded InstructBLIP with an encoder-decoder language model (Flan-T5).

    What `mode` trains is float32, the rest is `dtype`.
    """

    def __init__(self, checkpoint: Checkpoint, *, mode: TrainMode = "full") -> None:
        self.model, self.processor = checkpoint
        self.mode = mode
        self.inputs = Inputs(self.processor, self.model.config)
        self.adapted: Any = None
        """The wrapping that LoRA puts around the model; None for every other mode."""
        self.base: dict[str, str] = {}
        self._tries: dict[tuple[str, ...], Trie] = {}

    @classmethod
    def load(cls, source: str, *, device: str, mode: TrainMode = "full", dtype: str = "float32") -> Self:
        """Read a checkpoint, or a LoRA adapter and the checkpoint it belongs to; raise ModelError if it cannot be used.

        `source` is a folder or a hub name.
        """
        adapter = read_adapter(source)
        found = read_checkpoint(adapter.base if adapter else source)
        loaded = cls(found, mode=mode)
        loaded.base = {"weights_sha256": weights_digest(found.model), "name": adapter.base if adapter else source}
        set_precision(found.model, mode=mode, dtype=dtype)
        if adapter:
            loaded.adapted = adapter.put_around(found.model, weights_sha256=loaded.base["weights_sha256"])
        let_features_in(found.model)
        found.model.to(device).eval()
        return loaded

    build_tiny = staticmethod(build_tiny)

    @staticmethod
    def budgets(source: str, *, lora: LoraSection) -> list[Budget]:
        """Return what each mode of training takes, from the configuration alone."""
        return budgets(read_config(source), lora)

    def keep_features(self, folder: Path, *, gigabytes: float) -> None:
        """Keep below `folder` what the vision part makes of photographs, where training leaves it as it is."""
        if freezes_vision(self.mode) and gigabytes > 0:
            self.inputs.features = FeatureCache(self.model, self.processor, folder=folder, room=int(gigabytes * 1e9))

    @property
    def input_size(self) -> int:
        """The side of the square photographs that the model takes, in pixels."""
        return self.model.config.vision_config.image_size

    def fit(self, lesson: TrainingJob) -> list[Epoch]:
        """Train; after an interruption `resume` goes on from what is kept in `folder`."""
        torch.manual_seed(lesson.seed)  # new adapters are drawn from it
        prepared = prepare(self.model, mode=lesson.settings.mode, lora=lesson.settings.lora)
        self.adapted = prepared if lesson.settings.mode == "lora" else None
        learner = TrainableInstructBlip(prepared, self.inputs, lesson.answers)
        epochs = train(learner, lesson)
        check_head(self.model, place=str(lesson.folder))
        prepared.eval()
        return epochs

    def log_likelihoods(self, photographs: np.ndarray, prompts: Sequence[str], answers: list[str]) -> np.ndarray:
        """Return (B, C) float64: the natural logarithm of the probability of each whole answer."""
        self.model.eval()
        return log_likelihoods(self.model, self.inputs(photographs, prompts), self._trie(answers)).numpy()

    def save(self, folder: Path) -> None:
        """Write a checkpoint that `load` reads, whole or not at all."""
        check_head(self.model, place=str(folder))
        write_checkpoint(folder, Checkpoint(self.model, self.processor), adapted=self.adapted, base=self.base)

    def facts(self) -> dict[str, str | int]:
        """Return what a run records of its model."""
        parameters = list(self.model.parameters())
        return {
            "device": self.model.device.type,
            "dtype": str(self.model.language_model.dtype).removeprefix("torch."),
            "mode": self.mode,
            "base_weights_sha256": self.base["weights_sha256"],
            "tokenizer_sha256": tokenizer_digest(self.processor),
            "parameters": sum(p.numel() for p in parameters),
            "trainable_parameters": sum(p.numel() for p in parameters if p.requires_grad),
            "image_tokens": self.model.config.num_query_tokens,
            "input_size": self.input_size,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        }

    def answer_lengths(self, answers: list[str]) -> list[int]:
        """Return how many tokens each whole answer has, its end included."""
        return [len(tokens) for tokens in self.inputs.answer_tokens(answers)]

    @torch.inference_mode()
    def generate(self, photographs: np.ndarray, prompts: Sequence[str]) -> list[str]:
        """Return what the model says freely, its likeliest word at every step."""
        self.model.eval()
        tensors = {name: t.to(self.model.device) for name, t in self.inputs(photographs, prompts).items()}
        with quiet():
            said = self.model.generate(**tensors, max_new_tokens=LONGEST_TEXT, do_sample=False, num_beams=1)
        return self.processor.tokenizer.batch_decode(said, skip_special_tokens=True)

    def _trie(self, answers: list[str]) -> Trie:
        key = tuple(answers)
        if key not in self._tries:
            start = self.model.config.text_config.decoder_start_token_id
            self._tries[key] = build_trie(self.inputs.answer_tokens(answers), start=start)
        return self._tries[key]


def tokenizer_digest(processor: Processor) -> str:
    """Return the SHA-256 over what both tokenizers make of text: their vocabularies and settings."""
    both = (processor.tokenizer, processor.qformer_tokenizer)
    return sha256_of([json.loads(tokenizer.backend_tokenizer.to_str()) for tokenizer in both])
