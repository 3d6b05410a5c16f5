"""What metrics become when reference classes change: exact values for any subset of changes, bounds, contributions.

Only the confusion counts of the classes concerned move, so that a subset of K changes costs K · C additions, not a
scoring of all cases. Class -1 is no class: such a case is not scored. Undefined is NaN, as in `metrics`.
"""

from functools import partial
from typing import NamedTuple

import numpy as np

from toolkit.stats import metrics
from toolkit.stats.metrics import ConfusionCounts

MOST_SUBSETS = 100_000
"""Distinct subsets up to which bounds are found by looking at all of them."""
PERMUTATIONS = 200
"""Orders of the changes, half of them the reverse of the other half, over which contributions are averaged."""
CELLS = 2_000_000
"""Numbers that are computed at once."""


class LabelChanges(NamedTuple):
    """Cases whose reference class may change: class indices before, after and as predicted, each (K,)."""

    before: np.ndarray
    after: np.ndarray
    predicted: np.ndarray


class Bounds(NamedTuple):
    """The lowest and highest value over all subsets of changes.

    `low` and `high` are reached by a subset that was found, `least` and `most` cannot be passed by any; they are equal
    where `exact`.
    """

    low: float
    high: float
    least: float
    most: float
    exact: bool


class Recount:
    """The confusion counts of a run, and what each of K changes of a reference class adds to them.

    >>> truth, predicted = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    >>> recount = Recount(truth, predicted, LabelChanges(np.array([0]), np.array([1]), np.array([1])), classes=2)
    >>> recount.values(np.array([[False], [True]]))["accuracy"].tolist()
    [0.75, 1.0]
    """

    def __init__(self, truth: np.ndarray, predicted: np.ndarray, changes: LabelChanges, *, classes: int) -> None:
        known = truth >= 0
        self.classes, self.changes = classes, changes
        self.base = _marginals(metrics.confusion(truth[known], predicted[known], classes))
        kinds, self.kind_of, self.of_kind = np.unique(
            np.column_stack(changes).reshape(-1, 3), axis=0, return_inverse=True, return_counts=True
        )
        self.kind_of = self.kind_of.reshape(-1)
        self.deltas = _added(LabelChanges(*kinds.T), classes)

    def values(self, subsets: np.ndarray) -> dict[str, np.ndarray]:
        """Return the metrics after each subset (S, K) of changes: accuracy and macro averages (S,), rates (S, C)."""
        times = np.zeros((len(subsets), len(self.of_kind)))
        for kind in range(len(self.of_kind)):
            times[:, kind] = subsets[:, self.kind_of == kind].sum(axis=1)
        return self._values(times)

    def bounds(self, metric: str = "macro_f1", *, fixed: np.ndarray | None = None) -> Bounds:
        """Return the bounds of an average over all subsets of the changes that contain those that are `fixed` (K,).

        Changes of the same classes and prediction are interchangeable. Up to MOST_SUBSETS distinct subsets all are
        looked at; else subsets are climbed, a change at a time, from none and from all, and `least` and `most` let each
        class have the changes that suit it best (`macro_f1` only; NaN for other metrics).
        """
        first = self._times(np.zeros(len(self.kind_of), dtype=bool) if fixed is None else fixed)
        if np.prod(self.of_kind - first + 1.0) <= MOST_SUBSETS:
            grid = first + _grid(self.of_kind - first)
            low, high = _extremes(np.concatenate([self._values(part)[metric] for part in self._pieces(grid)]))
            return Bounds(low, high, low, high, exact=True)
        low, high = (self._climb(metric, first, sign) for sign in (-1, 1))
        least, most = self._relaxed(first) if metric == "macro_f1" else (np.nan, np.nan)
        return Bounds(low, high, least, most, exact=False)

    def contributions(self, metric: str = "macro_f1", *, seed: int = 0) -> np.ndarray:
        """Return what each change adds to the metric, (K,): its mean effect over orders in which changes are made.

        They add up to what all changes do together (Shapley 1953; sampled, Castro et al. 2009). Interchangeable changes
        have one value.
        """
        changes = len(self.kind_of)
        rng, added = np.random.default_rng(seed), np.zeros(changes)
        for _ in range(PERMUTATIONS // 2):
            drawn = rng.permutation(changes)
            for order in (drawn, drawn[::-1]):
                steps = np.zeros((changes + 1, len(self.of_kind)))
                steps[np.arange(1, changes + 1), self.kind_of[order]] = 1
                added[order] += np.diff(self._values(np.cumsum(steps, axis=0))[metric])
        sums = np.bincount(self.kind_of, weights=added, minlength=len(self.of_kind))
        return (sums / np.maximum(self.of_kind, 1))[self.kind_of] / PERMUTATIONS

    def _times(self, subset: np.ndarray) -> np.ndarray:
        return np.bincount(self.kind_of[subset], minlength=len(self.of_kind))

    def _pieces(self, times: np.ndarray) -> list[np.ndarray]:
        return np.array_split(times, max(1, len(times) * self.classes // CELLS))

    def _values(self, times: np.ndarray) -> dict[str, np.ndarray]:
        """Return the metrics where each kind of change is made so many times (S, kinds)."""
        counts = _counts(*(base + times @ delta for base, delta in zip(self.base, self.deltas, strict=True)))
        rates = metrics.rates(counts)
        right, total = counts.tp.sum(axis=-1), (counts.tp + counts.fn).sum(axis=-1)
        averages = {f"macro_{name}": value for name, value in metrics.macro(rates).items()}
        return {"accuracy": metrics.ratio(right, total), **averages, **rates}

    def _climb(self, metric: str, first: np.ndarray, sign: int) -> float:
        """Return the best value that single changes lead to, from none and from all of those that are open."""
        return sign * max(self._climbed(metric, first, start, sign) for start in (first, self.of_kind))

    def _climbed(self, metric: str, first: np.ndarray, start: np.ndarray, sign: int) -> float:
        place, moves = start.astype(float), np.vstack([np.eye(len(start)), -np.eye(len(start))])
        value = _worst_if_undefined(sign * self._values(place[None])[metric])[0]
        while True:
            near = place + moves
            inside = ((near >= first) & (near <= self.of_kind)).all(axis=1)
            values = np.where(inside, _worst_if_undefined(sign * self._values(near)[metric]), -np.inf)
            best = int(values.argmax())
            if not values[best] > value + 1e-12:
                return float(value)
            place, value = near[best], values[best]

    def _relaxed(self, first: np.ndarray) -> tuple[float, float]:
        """Return what the macro F1 cannot go below or above: each class by itself has the changes that suit it best.

        F1 is 2·tp/(actual + predicted), and a change moves it up or down whatever else has been changed: up where it
        adds a true positive, or takes a case away and no true positive.
        """
        tp, actual, predicted = (base + first @ delta for base, delta in zip(self.base, self.deltas, strict=True))
        left = (self.of_kind - first)[:, None]
        added, size = self.deltas[0], self.deltas[1] + self.deltas[2]
        up = (added > 0) | ((added == 0) & (size < 0))
        ends = [
            np.nan_to_num(metrics.ratio(*(
                2 * (tp + (left * added * side).sum(axis=0)), actual + predicted + (left * size * side).sum(axis=0)
            )))
            for side in (~up, up)
        ]  # fmt: skip
        smallest, largest = (
            actual + predicted + (left * part(size, 0)).sum(axis=0) for part in (np.minimum, np.maximum)
        )
        optional = (smallest <= 0) & (largest > 0)
        least, most = (
            sign * _best_mean(sign * end, smallest > 0, optional) for sign, end in zip((-1, 1), ends, strict=True)
        )
        return least, most


def _marginals(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return true positives, actual and predicted cases of each class, (C,) each."""
    return np.diagonal(matrix).astype(float), matrix.sum(axis=1).astype(float), matrix.sum(axis=0).astype(float)


def _counts(tp: np.ndarray, actual: np.ndarray, predicted: np.ndarray) -> ConfusionCounts:
    total = actual.sum(axis=-1, keepdims=True)
    return ConfusionCounts(tp, predicted - tp, actual - tp, total - actual - predicted + tp)


def _added(changes: LabelChanges, classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what each change adds to the marginals, (K, C) each."""
    is_it = partial(np.equal, np.arange(classes))
    before, after, predicted = (is_it(column[:, None]).astype(float) for column in changes)
    scored = (changes.after >= 0).astype(float) - (changes.before >= 0)
    return (after - before) * predicted, after - before, scored[:, None] * predicted


def _grid(most: np.ndarray) -> np.ndarray:
    """Return every way to make each kind of change at most so many times, (S, kinds)."""
    sizes = [int(number) + 1 for number in most]
    return np.indices(sizes).reshape(len(sizes), int(np.prod(sizes))).T


def _extremes(values: np.ndarray) -> tuple[float, float]:
    defined = values[~np.isnan(values)]
    return (float(defined.min()), float(defined.max())) if len(defined) else (np.nan, np.nan)


def _worst_if_undefined(values: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(values), -np.inf, values)


def _best_mean(values: np.ndarray, certain: np.ndarray, optional: np.ndarray) -> float:
    """Return the highest mean of the certain values and any of the optional ones; NaN of none."""
    best = np.r_[values[certain], np.sort(values[optional])[::-1]]
    means = np.cumsum(best)[max(certain.sum() - 1, 0) :] / np.arange(max(certain.sum(), 1), len(best) + 1)
    return float(means.max()) if len(means) else np.nan
