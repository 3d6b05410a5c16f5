"""Batches of training cases: augmentation of the photographs, sampling and weights against uneven classes."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from torch.utils.data import Dataset, Sampler

from toolkit.models.backend import Examples
from toolkit.photographs.crops import DIHEDRAL
from toolkit.photographs.undecoded import Crop, turned


class Example(NamedTuple):
    """One case of a batch."""

    photograph: np.ndarray | Crop
    prompt: str
    class_index: int


class Cases(Dataset):
    """Examples one by one; with a seed, each in one of eight orientations, drawn anew for every epoch."""

    def __init__(self, examples: Examples, *, augment_seed: int | None = None) -> None:
        self.examples = examples
        self.augment_seed = augment_seed
        self.variants = np.zeros(len(self), dtype=int)

    def draw_variants(self, epoch: int) -> None:
        """Draw the orientations of an epoch, from seed and epoch alone: a resumed training gets the same."""
        if self.augment_seed is not None:
            self.variants = np.random.default_rng([self.augment_seed, epoch]).integers(DIHEDRAL, size=len(self))

    def __len__(self) -> int:
        return len(self.examples.prompts)

    def __getitem__(self, index: int) -> Example:
        photograph = turned(self.examples.photographs[index], int(self.variants[index]))
        return Example(photograph, self.examples.prompts[index], int(self.examples.classes[index]))


class Balanced(Sampler[int]):
    """Draws as many cases as there are, each class with equal probability."""

    def __init__(self, classes: np.ndarray, *, seed: int) -> None:
        self.probabilities = class_weights(classes)[classes] / len(classes)
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.probabilities)

    def __iter__(self) -> Iterator[int]:
        generator = np.random.default_rng([self.seed, self.epoch, len(self)])
        yield from generator.choice(len(self), size=len(self), p=self.probabilities / self.probabilities.sum()).tolist()


def class_weights(classes: np.ndarray, count: int = 0) -> np.ndarray:
    """Return a weight per class, inverse to its cases and 1 on average over the cases; 0 for a class without cases."""
    counts = np.bincount(classes, minlength=count)
    present = counts > 0
    weights = np.zeros(len(counts))
    weights[present] = len(classes) / (present.sum() * counts[present])
    return weights
