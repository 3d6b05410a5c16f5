"""Which unlabelled cases to label next: those that a model is least sure of, spread over patients."""

from collections import Counter

import numpy as np


def next_batch(
    uncertainty: np.ndarray, patients: list[str], *, size: int, known: frozenset[str] = frozenset()
) -> list[int]:
    """Return the places of the cases to label, in order: of each patient the least sure case, then the next, and so on.

    A patient of `known`, whom the model was trained on, comes a round later. Equal cases keep their order.

    >>> next_batch(np.array([0.9, 0.8, 0.3, 0.7]), ["a", "a", "b", "c"], size=3)
    [0, 3, 2]
    """
    taken = Counter(known)
    order = np.argsort(-uncertainty, kind="stable").tolist()
    rounds: list[tuple[int, int, int]] = []
    for rank, place in enumerate(order):
        rounds.append((taken[patients[place]], rank, place))
        taken[patients[place]] += 1
    return [place for _, _, place in sorted(rounds)][:size]
