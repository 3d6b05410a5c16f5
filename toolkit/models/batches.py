"""How training cases become batches: how each photograph is laid, and how often a class comes.

Refuses to know any model: what a batch is made of is the learner's own.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from torch.utils.data import Dataset, Sampler

from toolkit.models.backend import Examples
from toolkit.photographs.crops import DIHEDRAL, dihedral


class Example(NamedTuple):
    """One case of a batch to be."""

    photograph: np.ndarray
    prompt: str
    class_index: int


class Cases(Dataset):
    """Examples one by one; with a seed, each laid in one of eight ways, drawn anew for every epoch."""

    def __init__(self, examples: Examples, *, augment_seed: int | None = None) -> None:
        self.examples = examples
        self.augment_seed = augment_seed
        self.variants = np.zeros(len(self), dtype=int)

    def draw_variants(self, epoch: int) -> None:
        """Draw the variants of an epoch: they depend on nothing else, so a resumed training sees the same."""
        if self.augment_seed is not None:
            self.variants = np.random.default_rng([self.augment_seed, epoch]).integers(DIHEDRAL, size=len(self))

    def __len__(self) -> int:
        return len(self.examples.prompts)

    def __getitem__(self, index: int) -> Example:
        photograph = dihedral(self.examples.photographs[index], int(self.variants[index]))
        return Example(photograph, self.examples.prompts[index], int(self.examples.classes[index]))


class Balanced(Sampler[int]):
    """As many cases as there are, drawn so that every class that is there comes equally often."""

    def __init__(self, classes: np.ndarray, *, seed: int) -> None:
        self.chances = class_weights(classes)[classes] / len(classes)
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.chances)

    def __iter__(self) -> Iterator[int]:
        generator = np.random.default_rng([self.seed, self.epoch, len(self)])
        yield from generator.choice(len(self), size=len(self), p=self.chances / self.chances.sum()).tolist()


def class_weights(classes: np.ndarray, count: int = 0) -> np.ndarray:
    """Return a weight per class, inverse to its cases, that is 1 on average over the cases; 0 for a class without."""
    counts = np.bincount(classes, minlength=count)
    there = counts > 0
    weights = np.zeros(len(counts))
    weights[there] = len(classes) / (there.sum() * counts[there])
    return weights
