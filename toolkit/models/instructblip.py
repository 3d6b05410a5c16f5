"""The backend for InstructBLIP and BLIP-2 with a Flan-T5 language model."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from toolkit.files import sha256_of
from toolkit.manifest.model import LoraSection, TrainMode
from toolkit.models.backend import Budget, Epoch, TrainingJob
from toolkit.models.budget import budgets_of
from toolkit.models.checkpoint import Checkpoint, read_adapter, read_checkpoint, read_config, write_checkpoint
from toolkit.models.decoder.families import BLIP_2
from toolkit.models.features import FeatureCache, let_features_in, vision_outputs, weights_digest
from toolkit.models.inputs import Inputs, Tensors
from toolkit.models.quantised import FOUR_BIT, check_four_bit, dtype_of, quantise
from toolkit.models.sanity_checks import check_head
from toolkit.models.scoring import Trie, build_trie, log_likelihoods
from toolkit.models.self_test import self_test
from toolkit.models.tiny import build_tiny
from toolkit.models.trainable import freezes_vision, plain, prepare, set_precision
from toolkit.models.training import train
from toolkit.models.transformers_compat import Model, Processor, model_facts, quiet
from toolkit.photographs.undecoded import Batch, Kept

LONGEST_TEXT = 32
"""Tokens of a generated text."""


class TrainableInstructBlip:
    """A model in training: its labels are the tokens of the true answers, and the trie scores all answers."""

    def __init__(self, model: Model, inputs: Inputs, answers: list[str]) -> None:
        self.model = model
        self.inputs = inputs
        self.tokens = inputs.answer_tokens(answers)
        self.lengths = np.array([len(tokens) for tokens in self.tokens])
        self.trie = build_trie(self.tokens, start=model.config.text_config.decoder_start_token_id)

    def batch(self, photographs: Batch, prompts: Sequence[str], classes: Sequence[int]) -> Tensors:
        """Return the model's inputs with the tokens of the true answers as `labels`."""
        labels = self.inputs.labels([self.tokens[index] for index in classes])
        return {**self.inputs(photographs, prompts), "labels": labels}

    def logits(self, model: Model, inputs: Tensors) -> torch.Tensor:
        """Return the model's own."""
        return model(**inputs).logits

    def scores(self, model: Model, inputs: Tensors) -> torch.Tensor:
        """Return (B, C) log-likelihoods of the answers."""
        return log_likelihoods(plain(model), inputs, self.trie)


class InstructBlip:
    """A loaded InstructBLIP; the weights that `mode` trains are float32, the others `dtype`."""

    def __init__(self, checkpoint: Checkpoint, *, mode: TrainMode = "full") -> None:
        self.model, self.processor = checkpoint
        self.mode = mode
        self.inputs = Inputs(self.processor, self.model.config)
        self.adapted: Any = None
        """The model in LoRA's wrapper; None for every other mode."""
        self.base: dict[str, str] = {}
        self.passed = ""
        """What the self-test of a BLIP-2 says."""
        self._tries: dict[tuple[str, ...], Trie] = {}

    @classmethod
    def load(cls, source: str, *, device: str, mode: TrainMode = "full", dtype: str = "float32") -> Self:
        """Read a checkpoint, or a LoRA adapter and its checkpoint, from a folder or by hub name."""
        check_four_bit(dtype, mode=mode, device=device)
        adapter = read_adapter(source)
        name = adapter.base if adapter else source
        loaded = cls(read_checkpoint(name), mode=mode)
        model, digest = loaded.model, weights_digest(loaded.model)
        loaded.base = {"weights_sha256": digest, "name": name}
        set_precision(model, mode=mode, dtype=dtype)
        if dtype == FOUR_BIT:
            quantise(model)
        if adapter:
            loaded.adapted = adapter.put_around(model, weights_sha256=digest)
        let_features_in(model)
        model.to(device).eval()
        if model.config.model_type == BLIP_2:
            with quiet():
                loaded.passed = self_test(model, loaded.inputs, side=loaded.input_size)
        return loaded

    build_tiny = staticmethod(build_tiny)

    @staticmethod
    def budgets(source: str, *, lora: LoraSection) -> list[Budget]:
        """Return the memory that each mode of training needs, from the configuration alone."""
        return budgets_of(source, lora, read=read_config)

    def keep_features(self, folder: Path, *, gigabytes: float) -> None:
        """Cache the output of the vision encoder below `folder`, unless it is trained."""
        if freezes_vision(self.mode) and gigabytes > 0:
            encoder = vision_outputs(self.model, self.processor)
            self.inputs.features = FeatureCache(encoder, folder=folder, room=int(gigabytes * 1e9))

    @property
    def kept(self) -> Kept | None:
        """What tells whether features of a crop are kept; None where the vision part is trained."""
        return self.inputs.features.has if self.inputs.features else None

    @property
    def input_size(self) -> int:
        """The side of the square photographs that the model takes, in pixels."""
        return self.model.config.vision_config.image_size

    def fit(self, job: TrainingJob) -> list[Epoch]:
        """Train the weights of the job's mode."""
        torch.manual_seed(job.seed)  # new adapters are drawn from it
        prepared = prepare(self.adapted or self.model, mode=job.settings.mode, lora=job.settings.lora)
        self.adapted = prepared if job.settings.mode == "lora" else None
        epochs = train(TrainableInstructBlip(prepared, self.inputs, job.answers), job)
        check_head(self.model, place=str(job.folder))
        return epochs

    def log_likelihoods(self, photographs: Batch, prompts: Sequence[str], answers: list[str]) -> np.ndarray:
        """Return (B, C) float64: the natural logarithm of the probability of each complete answer."""
        self.model.eval()
        return log_likelihoods(self.model, self.inputs(photographs, prompts), self._trie(answers)).numpy()

    def save(self, folder: Path) -> None:
        """Write a checkpoint that `load` reads, complete or not at all."""
        check_head(self.model, place=str(folder))
        write_checkpoint(folder, Checkpoint(self.model, self.processor), adapted=self.adapted, base=self.base)

    def facts(self) -> dict[str, str | int]:
        """Return what a run records of its model."""
        tested = {"self_test": self.passed} if self.passed else {}
        return (
            model_facts(self.model)
            | tested
            | {
                "dtype": dtype_of(self.model, self.model.language_model.dtype),
                "mode": self.mode,
                "base_weights_sha256": self.base["weights_sha256"],
                "tokenizer_sha256": tokenizer_digest(self.processor),
                "image_tokens": self.model.config.num_query_tokens,
                "input_size": self.input_size,
            }
        )

    def answer_lengths(self, answers: list[str]) -> list[int]:
        """Return the number of tokens of each answer, end token included."""
        return [len(tokens) for tokens in self.inputs.answer_tokens(answers)]

    @torch.inference_mode()
    def generate(self, photographs: Batch, prompts: Sequence[str]) -> list[str]:
        """Return the model's own text, by greedy decoding."""
        self.model.eval()
        tensors = {name: t.to(self.model.device) for name, t in self.inputs(photographs, prompts).items()}
        with quiet():
            texts = self.model.generate(**tensors, max_new_tokens=LONGEST_TEXT, do_sample=False, num_beams=1)
        return self.processor.tokenizer.batch_decode(texts, skip_special_tokens=True)

    def _trie(self, answers: list[str]) -> Trie:
        key = tuple(answers)
        if key not in self._tries:
            start = self.model.config.text_config.decoder_start_token_id
            self._tries[key] = build_trie(self.inputs.answer_tokens(answers), start=start)
        return self._tries[key]


def tokenizer_digest(processor: Processor) -> str:
    """Return the SHA-256 over the vocabularies and settings of the tokenizers, the Q-Former's included."""
    tokenizers = [processor.tokenizer, getattr(processor, "qformer_tokenizer", None)]
    return sha256_of([json.loads(each.backend_tokenizer.to_str()) for each in tokenizers if each is not None])
