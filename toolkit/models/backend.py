"""The protocol of a model backend, the types that it uses, and probabilities from log-likelihoods of answers.

A study may name a backend of its own as `package.module:Class`. Nothing here imports torch or transformers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, Self, runtime_checkable

import numpy as np

from toolkit.manifest.model import LoraSection, TrainMode, TrainSection
from toolkit.photographs.crops import Photographs
from toolkit.photographs.undecoded import Kept, UndecodedCrops
from toolkit.progress import Progress, silent


class Examples(NamedTuple):
    """Cases as the input of a model; the three have the same length."""

    photographs: Photographs | UndecodedCrops
    """Cropped and resized to the backend's `input_size`; not decoded yet for a backend that keeps features."""
    prompts: Sequence[str]
    classes: np.ndarray
    """(N,) index into the answers."""


@dataclass(frozen=True)
class Epoch:
    """Losses and metrics after one pass over the training cases; `metrics` are on the validation set."""

    epoch: int
    step: int
    train_loss: float
    validation_loss: float
    metrics: dict[str, float]
    kept: bool = False
    """Whether the run has the weights of this epoch."""


class Probabilities(NamedTuple):
    """`values` (B, C) sum to 1 over the answers; `label_mass` (B,) is their sum before that."""

    values: np.ndarray
    label_mass: np.ndarray


@dataclass(frozen=True)
class Budget:
    """Memory that one mode of training needs, in bytes: weights, gradients and optimizer, without activations."""

    mode: TrainMode
    trained: int
    frozen: int
    """Numbers of weights."""
    bytes_float32: int
    bytes_bfloat16: int
    """By the data type of the frozen weights."""
    bytes_4bit: int | None = None
    """The same with a language model of 4-bit weights; None for a mode that cannot have one."""

    def needed(self, dtype: str) -> int:
        """Return the bytes that this mode needs with frozen weights of a data type."""
        if dtype == "4bit" and self.bytes_4bit is not None:
            return self.bytes_4bit
        return self.bytes_float32 if dtype == "float32" else self.bytes_bfloat16

    def least(self) -> int:
        """Return the fewest bytes that this mode needs: bfloat16 makes only frozen weights smaller."""
        return self.bytes_float32 if self.mode == "full" else self.bytes_bfloat16


class TrainingJob(NamedTuple):
    """All inputs of a training."""

    training: Examples
    validation: Examples
    answers: list[str]
    settings: TrainSection
    seed: int
    folder: Path
    """Where the checkpoints of the training are; the caller removes it afterwards."""
    resume: bool = False
    """Whether to continue from the newest checkpoint there."""
    progress: Progress = silent


class Backend(Protocol):
    """A model that answers a prompt about a photograph, and gives the probability of any answer."""

    input_size: int

    @classmethod
    def load(cls, source: str, *, device: str, mode: TrainMode = "full", dtype: str = "float32") -> Self:
        """Read a checkpoint from a folder or by its hub name; weights that `mode` does not train have type `dtype`."""

    @staticmethod
    def build_tiny(folder: Path, texts: list[str], *, seed: int) -> None:
        """Write a small checkpoint with random weights, whose vocabulary has the words of `texts`: for trials."""

    @staticmethod
    def budgets(source: str, *, lora: LoraSection) -> Sequence[Budget]:
        """Return the memory that each mode of training needs, before weights are loaded."""

    def keep_features(self, folder: Path, *, gigabytes: float) -> None:
        """Cache below `folder` what need not be computed again for a photograph; a backend may cache nothing."""

    def fit(self, job: TrainingJob) -> list[Epoch]:
        """Train; after an interruption, a job with `resume` continues from the job's folder."""

    def log_likelihoods(self, photographs: np.ndarray, prompts: Sequence[str], answers: list[str]) -> np.ndarray:
        """Return (B, C) float64: the natural logarithm of the probability of each complete answer."""

    def answer_lengths(self, answers: list[str]) -> list[int]:
        """Return the number of tokens of each answer, end token included; 1 for a model without tokens."""

    def generate(self, photographs: np.ndarray, prompts: Sequence[str]) -> list[str]:
        """Return the model's own text, by greedy decoding."""

    def save(self, folder: Path) -> None:
        """Write a checkpoint that `load` reads, complete or not at all."""

    def facts(self) -> dict:
        """Return what a run records of its model: `device`, and what else is of use, as dtype, parameters, versions."""


@runtime_checkable
class KeepsFeatures(Protocol):
    """A backend that takes crops before they are decoded, and decodes only those of which it has kept nothing."""

    @property
    def kept(self) -> Kept | None:
        """What tells whether features of a crop are kept, by its name; None where none are kept at all."""


def kept_by(model: object) -> Kept | None:
    """Return what tells whether a model keeps something of a crop; None for one that takes decoded photographs."""
    return model.kept if isinstance(model, KeepsFeatures) else None


def user_words(prompt: str) -> str:
    """Return the words between "USER:" and "ASSISTANT:", or the whole text where it has neither."""
    return prompt.strip().removeprefix("USER:").removesuffix("ASSISTANT:").strip()


def probabilities(log_likelihoods: np.ndarray) -> Probabilities:
    """Return the softmax over the answers, and the label mass: the sum of their probabilities.

    A low label mass means "none of these answers", which the softmax alone would hide.
    """
    highest = log_likelihoods.max(axis=1, keepdims=True)
    relative = np.exp(log_likelihoods - highest)
    total = relative.sum(axis=1, keepdims=True)
    return Probabilities(relative / total, np.exp(highest[:, 0]) * total[:, 0])
