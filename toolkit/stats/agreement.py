"""How far readers agree beyond chance: Cohen's, Fleiss' and Randolph's kappa, Krippendorff's alpha.

Refuses to know files and who the readers are. Codes are whole numbers from 0; undefined is NaN. What takes
counts per case takes sums of weighted cases too, so that replicates are computed at once.
"""

from typing import Literal, NamedTuple

import numpy as np
from scipy.special import ndtri

from toolkit.stats.intervals import Interval
from toolkit.stats.metrics import ratio


class Kappa(NamedTuple):
    """Kappa, its asymptotic standard error and interval, and z against no agreement beyond chance."""

    value: float
    error: float
    interval: Interval
    z: float


def cohen(table: np.ndarray, *, weights: np.ndarray | None = None) -> np.ndarray:
    """Return Cohen's kappa of counts (..., K, K), rows the one reader, columns the other (Cohen 1960, weighted 1968).

    `weights` (K, K) are 1 on the diagonal; without them only equal answers agree.
    """
    agree = np.eye(table.shape[-1]) if weights is None else weights
    total = table.sum(axis=(-2, -1))
    by_chance = table.sum(axis=-1)[..., :, None] * table.sum(axis=-2)[..., None, :]
    seen = ratio((table * agree).sum(axis=(-2, -1)), total)
    expected = ratio((by_chance * agree).sum(axis=(-2, -1)), total**2)
    return ratio(seen - expected, 1 - expected)


def linear_weights(classes: int) -> np.ndarray:
    """Return weights that fall evenly with the distance of ordered answers."""
    order = np.arange(classes)
    return 1 - np.abs(order[:, None] - order) / max(classes - 1, 1)


def cohen_with_error(table: np.ndarray, *, confidence: float, weights: np.ndarray | None = None) -> Kappa:
    """Return Cohen's kappa with its large-sample errors (Fleiss, Cohen and Everitt, Psychol Bull 1969;72:323)."""
    agree = np.eye(len(table)) if weights is None else weights
    share = table / table.sum()
    rows, columns = share.sum(axis=1), share.sum(axis=0)
    mean = (agree @ columns)[:, None] + rows @ agree
    expected, value = rows @ agree @ columns, float(cohen(table, weights=weights))
    spread = (share * (agree - mean * (1 - value)) ** 2).sum() - (value - expected * (1 - value)) ** 2
    null = np.outer(rows, columns) * (agree - mean) ** 2
    error = np.sqrt(spread / table.sum()) / (1 - expected)
    error_0 = np.sqrt((null.sum() - expected**2) / table.sum()) / (1 - expected)
    half = ndtri((1 + confidence) / 2) * error
    return Kappa(value, float(error), Interval(value - half, min(value + half, 1.0)), float(value / error_0))


def fleiss(counts: np.ndarray) -> float:
    """Return Fleiss' kappa of counts per case and class (N, K), the same number of readers each (1971)."""
    return _beyond_chance(_agreeing(counts), np.square(counts.sum(axis=0) / counts.sum()).sum())


def fleiss_z(counts: np.ndarray) -> float:
    """Return Fleiss' kappa over its error without agreement (Fleiss, Nee and Landis, Psychol Bull 1979;86:974)."""
    readers, cases = counts.sum(axis=1)[0], len(counts)
    share = counts.sum(axis=0) / counts.sum()
    other = share * (1 - share)
    spread = other.sum() ** 2 - (other * (1 - 2 * share)).sum()
    error = np.sqrt(2 * spread / (cases * readers * (readers - 1))) / other.sum()
    return fleiss(counts) / error


def fleiss_by_class(counts: np.ndarray) -> np.ndarray:
    """Return Fleiss' kappa of each class against all others, (K,)."""
    every = counts.sum(axis=1)
    return np.array([fleiss(np.stack([own, every - own], axis=1)) for own in counts.T])


def randolph(counts: np.ndarray) -> float:
    """Return the kappa whose chance is one class as likely as another (Randolph 2005)."""
    return _beyond_chance(_agreeing(counts), 1 / counts.shape[1])


def _agreeing(counts: np.ndarray) -> float:
    readers = counts.sum(axis=1)
    return float((((counts * (counts - 1)).sum(axis=1)) / (readers * (readers - 1))).mean())


def _beyond_chance(seen: float, expected: float) -> float:
    return float(ratio(np.array(seen - expected), np.array(1 - expected)))


def coincidences(counts: np.ndarray) -> np.ndarray:
    """Return each case's pairs of answers (N, K, K) from its counts (N, K); cases with one reading have none."""
    pairs = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(counts.shape[1])
    readers = counts.sum(axis=1)[:, None, None]
    return np.where(readers > 1, pairs / np.maximum(readers - 1, 1), 0.0)


def krippendorff(pairs: np.ndarray, *, level: Literal["nominal", "ordinal"] = "nominal") -> np.ndarray:
    """Return Krippendorff's alpha from coincidences (..., K, K) summed over cases; missing answers are no pairs."""
    answers = pairs.sum(axis=-1)
    total = answers.sum(axis=-1)
    apart = 1 - np.eye(pairs.shape[-1]) if level == "nominal" else _ordinal(answers)
    seen = (pairs * apart).sum(axis=(-2, -1))
    expected = (answers[..., :, None] * answers[..., None, :] * apart).sum(axis=(-2, -1))
    return 1 - ratio((total - 1) * seen, expected)


def _ordinal(answers: np.ndarray) -> np.ndarray:
    middle = np.cumsum(answers, axis=-1) - answers / 2
    return np.square(middle[..., :, None] - middle[..., None, :])
