"""Knows InstructBLIP as a backend: loading, training, scoring and saving behind one small class.

Refuses to know studies, parts and runs.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
import transformers

from toolkit.manifest import TrainSection
from toolkit.models.backend import Epoch, Examples
from toolkit.models.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from toolkit.models.guards import check_head
from toolkit.models.inputs import Inputs
from toolkit.models.library import quiet
from toolkit.models.scoring import Trie, build_trie, log_likelihoods
from toolkit.models.training import train
from toolkit.progress import Progress

LONGEST_TEXT = 32
"""Tokens of a freely given answer."""


class InstructBlip:
    """A loaded InstructBLIP with an encoder-decoder language model (Flan-T5), in float32."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.model, self.processor = checkpoint
        self.inputs = Inputs(self.processor, self.model.config)
        self._tries: dict[tuple[str, ...], Trie] = {}

    @classmethod
    def load(cls, source: str, *, device: str) -> Self:
        """Read a checkpoint from a folder or by its hub name; raise ModelError if it cannot be used as it stands."""
        return cls(read_checkpoint(source, device=device))

    @property
    def input_size(self) -> int:
        """The side of the square photographs that the model takes, in pixels."""
        return self.model.config.vision_config.image_size

    def fit(  # noqa: PLR0913 the interface of a backend
        self,
        training: Examples,
        validation: Examples,
        *,
        answers: list[str],
        settings: TrainSection,
        seed: int,
        folder: Path,
        resume: bool,
        progress: Progress,
    ) -> list[Epoch]:
        """Train; after an interruption `resume` goes on from the last whole epoch kept in `folder`."""
        return train(
            self.model,
            self.inputs,
            training=training,
            validation=validation,
            answers=answers,
            settings=settings,
            seed=seed,
            folder=folder,
            resume=resume,
            progress=progress,
        )

    def log_likelihoods(self, photographs: np.ndarray, prompts: Sequence[str], answers: list[str]) -> np.ndarray:
        """Return (B, C) float64: the natural logarithm of the probability of each whole answer."""
        self.model.eval()
        return log_likelihoods(self.model, self.inputs(photographs, prompts), self._trie(answers)).numpy()

    def save(self, folder: Path) -> None:
        """Write a checkpoint that `load` reads, whole or not at all."""
        check_head(self.model, place=str(folder))
        write_checkpoint(folder, Checkpoint(self.model, self.processor))

    def facts(self) -> dict[str, str | int]:
        """Return what a run records of its model."""
        parameters = list(self.model.parameters())
        return {
            "device": self.model.device.type,
            "dtype": str(self.model.dtype).removeprefix("torch."),
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
