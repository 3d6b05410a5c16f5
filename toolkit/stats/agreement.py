"""Agreement of readers beyond chance: Cohen's kappa and Krippendorff's alpha.

Counts may be sums of weighted cases, so that all bootstrap replicates are computed at once. Undefined is NaN.
"""

from typing import Literal

import numpy as np

from toolkit.stats.metrics import ratio


def cohen(table: np.ndarray, *, weights: np.ndarray | None = None) -> np.ndarray:
    """Return Cohen's kappa of counts (..., K, K), rows the one reader, columns the other (Cohen 1960, weighted 1968).

    `weights` (K, K) are 1 on the diagonal; without them only equal answers agree.

    >>> round(float(cohen(np.array([[20, 5], [10, 15]]))), 3)
    0.4
    """
    agree = np.eye(table.shape[-1]) if weights is None else weights
    total = table.sum(axis=(-2, -1))
    by_chance = table.sum(axis=-1)[..., :, None] * table.sum(axis=-2)[..., None, :]
    observed = ratio((table * agree).sum(axis=(-2, -1)), total)
    expected = ratio((by_chance * agree).sum(axis=(-2, -1)), total**2)
    return ratio(observed - expected, 1 - expected)


def linear_weights(classes: int) -> np.ndarray:
    """Return weights that fall evenly with the distance of ordered answers."""
    order = np.arange(classes)
    return 1 - np.abs(order[:, None] - order) / max(classes - 1, 1)


def coincidences(counts: np.ndarray) -> np.ndarray:
    """Return each case's pairs of answers (N, K, K) from its counts (N, K); cases with one reading have none."""
    pairs = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(counts.shape[1])
    readers = counts.sum(axis=1)[:, None, None]
    return np.where(readers > 1, pairs / np.maximum(readers - 1, 1), 0.0)


def krippendorff(pairs: np.ndarray, *, level: Literal["nominal", "ordinal"] = "nominal") -> np.ndarray:
    """Return Krippendorff's alpha from coincidences (..., K, K) summed over cases; missing answers are no pairs.

    Four readers, the last of whom read two of the four cases:

    >>> counts = np.array([[4, 0], [3, 1], [0, 3], [0, 3]])
    >>> round(float(krippendorff(coincidences(counts).sum(axis=0))), 3)
    0.735
    """
    answers = pairs.sum(axis=-1)
    total = answers.sum(axis=-1)
    apart = 1 - np.eye(pairs.shape[-1]) if level == "nominal" else _ordinal(answers)
    observed = (pairs * apart).sum(axis=(-2, -1))
    expected = (answers[..., :, None] * answers[..., None, :] * apart).sum(axis=(-2, -1))
    return 1 - ratio((total - 1) * observed, expected)


def _ordinal(answers: np.ndarray) -> np.ndarray:
    middle = np.cumsum(answers, axis=-1) - answers / 2
    return np.square(middle[..., :, None] - middle[..., None, :])
