"""What a model backend must do, and how log-likelihoods of answers become probabilities.

Refuses to know any model: no torch, no transformers. A study may name its own backend as `package.module:Class`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, Self

import numpy as np

from toolkit.manifest.model import LoraSection, TrainMode, TrainSection
from toolkit.photographs.crops import Photographs
from toolkit.progress import Progress, silent


class Examples(NamedTuple):
    """Cases as a model takes them; the three are of one length."""

    photographs: Photographs
    """Cropped and resized to the backend's `input_size`."""
    prompts: Sequence[str]
    classes: np.ndarray
    """(N,) index into the answers."""


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training cases came to; `metrics` are those of `toolkit.metrics` on validation."""

    epoch: int
    step: int
    train_loss: float
    validation_loss: float
    metrics: dict[str, float]
    kept: bool = False
    """Whether the run's weights are those after this epoch."""


class Probabilities(NamedTuple):
    """`values` (B, C) add up to 1 over the answers; `label_mass` (B,) is what they hold of all there is to say."""

    values: np.ndarray
    label_mass: np.ndarray


@dataclass(frozen=True)
class Budget:
    """Memory of one mode of training, in bytes: weights, gradients and optimizer; activations come on top."""

    mode: TrainMode
    trained: int
    """Weights that are trained."""
    frozen: int
    """Weights that are not."""
    bytes_float32: int
    """With frozen weights in float32."""
    bytes_bfloat16: int
    """With frozen weights in bfloat16."""

    def needed(self, dtype: str) -> int:
        """Return the bytes that this mode takes with frozen weights of a type."""
        return self.bytes_bfloat16 if dtype == "bfloat16" else self.bytes_float32

    def least(self) -> int:
        """Return the fewest bytes that this mode takes; with everything trained there is nothing to make smaller."""
        return self.bytes_float32 if self.mode == "full" else self.bytes_bfloat16


class TrainingJob(NamedTuple):
    """Everything that a training depends on."""

    training: Examples
    validation: Examples
    answers: list[str]
    settings: TrainSection
    seed: int
    folder: Path
    """Where it keeps what a resume needs; the caller removes it in the end."""
    resume: bool = False
    """Whether to go on from what is kept there."""
    progress: Progress = silent


class Backend(Protocol):
    """A model that answers a prompt about a photograph, and can say how likely each answer is."""

    input_size: int

    @classmethod
    def load(cls, source: str, *, device: str, mode: TrainMode = "full", dtype: str = "float32") -> Self:
        """Read a checkpoint from a local directory or by its hub name; what `mode` does not train is of `dtype`."""
        ...

    @staticmethod
    def build_tiny(folder: Path, texts: list[str], *, seed: int) -> None:
        """Write a small checkpoint with random weights that knows the words of `texts`: for trials and tests."""
        ...

    @staticmethod
    def budgets(source: str, *, lora: LoraSection) -> Sequence[Budget]:
        """Return what each mode of training takes, before anything is loaded."""
        ...

    def keep_features(self, folder: Path, *, gigabytes: float) -> None:
        """Keep below `folder` what can be kept of the work on a photograph; a backend may keep nothing."""
        ...

    def fit(self, lesson: TrainingJob) -> list[Epoch]:
        """Train, keeping in the lesson's folder what a later call needs to resume after an interruption."""
        ...

    def log_likelihoods(self, photographs: np.ndarray, prompts: Sequence[str], answers: list[str]) -> np.ndarray:
        """Return (B, C) float64: the natural logarithm of the probability of each whole answer."""
        ...

    def answer_lengths(self, answers: list[str]) -> list[int]:
        """Return how many tokens each whole answer has, its end included; 1 for a model without tokens."""
        ...

    def generate(self, photographs: np.ndarray, prompts: Sequence[str]) -> list[str]:
        """Return what the model says freely, its likeliest word at every step."""
        ...

    def save(self, folder: Path) -> None:
        """Write a checkpoint that `load` reads, whole or not at all."""
        ...

    def facts(self) -> dict:
        """Return what a run records of its model: device, dtype, parameters, versions."""
        ...


def probabilities(log_likelihoods: np.ndarray) -> Probabilities:
    """Return the softmax over the answers and the probability that they hold together.

    A low label mass says "none of these": the softmax alone would hide it.
    """
    highest = log_likelihoods.max(axis=1, keepdims=True)
    relative = np.exp(log_likelihoods - highest)
    total = relative.sum(axis=1, keepdims=True)
    return Probabilities(relative / total, np.exp(highest[:, 0]) * total[:, 0])
