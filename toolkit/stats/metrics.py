"""How truth and probabilities become numbers: confusion, metrics per class and their averages, curves.

Refuses to know files, tables and intervals. Every function takes optional weights of shape (R, N), one row per
bootstrap replicate, and answers for all R at once. Undefined is NaN: a recall without positives is no recall.

Sources: one against the rest from the argmax confusion matrix; ROC AUC as the Mann-Whitney statistic (ties count a
half), PR AUC as average precision (sum of precision times step in recall). docs/method.md has the formulas.
"""

from typing import NamedTuple

import numpy as np

RATES = ("precision", "recall", "specificity", "npv", "f1")
AREAS = ("roc_auc", "pr_auc")
AVERAGED = (*RATES, *AREAS)
"""What is averaged over classes: macro, weighted by cases, and micro (all classes' decisions pooled)."""
LEAST_PROBABILITY = float(np.finfo(float).eps)
"""What the log loss takes a probability of 0 for, as scikit-learn does."""


class Curve(NamedTuple):
    """Points of a ROC curve (x false positive rate, y recall) or a PR curve (x recall, y precision)."""

    x: np.ndarray
    y: np.ndarray


class ConfusionCounts(NamedTuple):
    """Decisions about a class: hits, false alarms, misses, rightly rejected; arrays of one shape."""

    hit: np.ndarray
    false_alarm: np.ndarray
    missed: np.ndarray
    rejected: np.ndarray


class Areas(NamedTuple):
    """Areas under the ROC and the PR curve, each (R,)."""

    roc: np.ndarray
    pr: np.ndarray


def confusion(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Count cases by truth (rows) and predicted class (columns), (classes, classes)."""
    return np.bincount(truth * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def confusion_counts(matrix: np.ndarray) -> ConfusionCounts:
    """Return the decisions per class, each (..., C), from confusion matrices (..., C, C)."""
    hit = np.diagonal(matrix, axis1=-2, axis2=-1).astype(float)
    missed = matrix.sum(axis=-1) - hit
    false_alarm = matrix.sum(axis=-2) - hit
    return ConfusionCounts(hit, false_alarm, missed, matrix.sum(axis=(-2, -1))[..., None] - hit - missed - false_alarm)


def pooled(outcome: ConfusionCounts) -> ConfusionCounts:
    """Return the decisions of all classes together: what micro averages rest on."""
    return ConfusionCounts(*(side.sum(axis=-1) for side in outcome))


def rates(outcome: ConfusionCounts) -> dict[str, np.ndarray]:
    """Return the metrics of RATES, in the shape of the decisions."""
    return {name: ratio(*share) for name, share in shares(outcome).items()}


def shares(outcome: ConfusionCounts) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return numerator and denominator of each of RATES."""
    hit, false_alarm, missed, rejected = outcome
    return {
        "precision": (hit, hit + false_alarm),
        "recall": (hit, hit + missed),
        "specificity": (rejected, rejected + false_alarm),
        "npv": (rejected, rejected + missed),
        "f1": (2 * hit, 2 * hit + false_alarm + missed),
    }


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Divide; NaN where the denominator is zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(denominator > 0, numerator / denominator, np.nan)


class Ranking(NamedTuple):
    """Rows sorted by score, highest first, with what both areas need of them: made once, for any number of weights."""

    case: np.ndarray
    """Which case each row belongs to."""
    positive: np.ndarray
    """The case of each positive."""
    cuts: np.ndarray
    """Places at which positives' scores begin or end; the first is 0."""
    first: np.ndarray
    """Per positive: the cut at which its score begins."""
    last: np.ndarray
    """Per positive: the cut at which its score ends."""
    above: np.ndarray
    """Per positive: how many positives have a higher score."""
    upto: np.ndarray
    """Per positive: how many positives have its score or a higher one."""


def rank(positive: np.ndarray, score: np.ndarray, case: np.ndarray | None = None) -> Ranking:
    """Sort rows (M,) by score; `case` says whose weight a row has, without it each row is a case."""
    order = np.argsort(-score, kind="stable")
    ordered, flag = score[order], positive[order]
    of = order if case is None else case[order]
    new = np.r_[True, ordered[1:] != ordered[:-1]]
    starts = np.flatnonzero(new)
    group = np.cumsum(new)[flag] - 1
    first, end = starts[group], np.r_[starts[1:], len(score)][group]
    seen = np.cumsum(flag)
    cuts = np.unique(np.r_[0, first, end])
    return Ranking(
        case=of,
        positive=of[flag],
        cuts=cuts[cuts < len(score)],
        first=np.searchsorted(cuts, first),
        last=np.searchsorted(cuts, end),
        above=seen[first] - flag[first],
        upto=seen[end - 1],
    )


def areas(ranking: Ranking, weights: np.ndarray | None = None) -> Areas:
    """Return both areas.

    ROC AUC: how often a positive outranks a negative, ties counting a half. PR AUC: average precision, NaN without
    positives, as for recall; scikit-learn says 0 there.
    """
    weight = np.ones((1, ranking.case.max() + 1)) if weights is None else weights
    if not len(ranking.positive):
        return Areas(*np.full((2, len(weight)), np.nan))
    called = _running(np.add.reduceat(_columns(weight, ranking.case), ranking.cuts, axis=1))
    own = _columns(weight, ranking.positive)
    hits = _running(own)
    positives, negatives = hits[:, -1], called[:, -1] - hits[:, -1]
    called_to_last, hits_to_last = _columns(called, ranking.last), _columns(hits, ranking.upto)
    alarms = called_to_last - hits_to_last
    alarms += _columns(called, ranking.first)
    alarms -= _columns(hits, ranking.above)
    precision = np.divide(hits_to_last, called_to_last, out=np.zeros_like(called_to_last), where=called_to_last > 0)
    outranked = positives * negatives - np.einsum("rn,rn->r", own, alarms) / 2
    return Areas(ratio(outranked, positives * negatives), ratio(np.einsum("rn,rn->r", own, precision), positives))


def _columns(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    # four times as fast as values[:, places]
    return np.take(values, places, axis=1, mode="clip")


def _running(weight: np.ndarray) -> np.ndarray:
    """Return running sums that begin with 0: one more column."""
    sums = np.empty((len(weight), weight.shape[1] + 1))
    sums[:, 0] = 0
    np.cumsum(weight, axis=1, out=sums[:, 1:])
    return sums


def ranked_counts(positive: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return positives and negatives at each distinct score, highest first."""
    distinct, place = np.unique(-score, return_inverse=True)
    hits = np.bincount(place, weights=positive, minlength=len(distinct))
    return hits, np.bincount(place, minlength=len(distinct)) - hits


def roc_curve(positive: np.ndarray, score: np.ndarray) -> Curve:
    """Return the ROC curve from (0, 0) to (1, 1); NaN where a rate is undefined."""
    hits, alarms = (np.cumsum(counts) for counts in ranked_counts(positive, score))
    return Curve(np.r_[0, ratio(alarms, alarms[-1])], np.r_[0, ratio(hits, hits[-1])])


def roc_auc_above(positive: np.ndarray, score: np.ndarray, *, sensitivity: float) -> float:
    """Return the part of the area under the ROC curve that begins where it reaches a sensitivity (ISIC challenges)."""
    curve = roc_curve(positive, score)
    if np.isnan(curve.x).any() or np.isnan(curve.y).any():
        return float("nan")
    start = np.interp(sensitivity, curve.y, curve.x)
    behind = (curve.y >= sensitivity) & (curve.x >= start)
    return float(np.trapezoid(np.r_[sensitivity, curve.y[behind]], np.r_[start, curve.x[behind]]))


def pr_curve(positive: np.ndarray, score: np.ndarray) -> Curve:
    """Return recall and precision at each distinct score, from the highest score down."""
    hits, alarms = (np.cumsum(counts) for counts in ranked_counts(positive, score))
    return Curve(ratio(hits, hits[-1]), ratio(hits, hits + alarms))


class WeightedMetrics:
    """Truth (N,) as class indices and probabilities (N, C), prepared to be measured again and again with weights.

    The predicted class is the most probable one, or of equals the one given.
    """

    def __init__(self, truth: np.ndarray, probabilities: np.ndarray, predicted: np.ndarray | None = None) -> None:
        self.classes = probabilities.shape[1]
        predicted = probabilities.argmax(axis=1) if predicted is None else predicted
        is_it = truth[:, None] == np.arange(self.classes)
        self.rankings = [rank(is_it[:, k], probabilities[:, k]) for k in range(self.classes)]
        cells = np.zeros((len(truth), self.classes**2))
        cells[np.arange(len(truth)), truth * self.classes + predicted] = 1
        self.cells = cells
        rows = np.repeat(np.arange(len(truth)), self.classes)
        self.together = rank(is_it.ravel(), probabilities.ravel(), rows)

    def per_class(self, weights: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Return every metric of AVERAGED as (R, C), R = 1 without weights."""
        found = [areas(ranking, weights) for ranking in self.rankings]
        return {
            **rates(confusion_counts(self._matrix(weights))),
            "roc_auc": np.stack([area.roc for area in found], axis=1),
            "pr_auc": np.stack([area.pr for area in found], axis=1),
        }

    def averages(self, values: dict[str, np.ndarray], weights: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Return macro, weighted and micro averages (R,) of the per-class values (R, C).

        Macro is the plain mean over the classes where the metric is defined, weighted the mean weighted by their
        cases: scikit-learn's with zero_division=nan. Micro pools the decisions about all classes, and for the areas
        all classes' probabilities.
        """
        matrix = self._matrix(weights)
        cases = matrix.sum(axis=-1)
        area = areas(self.together, weights)
        pool = {**rates(pooled(confusion_counts(matrix))), "roc_auc": area.roc, "pr_auc": area.pr}
        return {
            **{f"macro_{name}": value for name, value in macro(values).items()},
            **{f"weighted_{name}": _mean_of_defined(value, cases) for name, value in values.items()},
            **{f"micro_{name}": value for name, value in pool.items()},
        }

    def _matrix(self, weights: np.ndarray | None) -> np.ndarray:
        counted = self.cells.sum(axis=0) if weights is None else weights @ self.cells
        return counted.reshape(-1, self.classes, self.classes)


def macro(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the plain mean (R,) of per-class values (R, C) over the classes where each is defined."""
    return {name: _mean_of_defined(value, np.ones_like(value)) for name, value in values.items()}


def _mean_of_defined(value: np.ndarray, weight: np.ndarray) -> np.ndarray:
    defined = ~np.isnan(value)
    return ratio(np.where(defined, value * weight, 0).sum(axis=-1), np.where(defined, weight, 0).sum(axis=-1))


def accuracy(truth: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Return the share of right predictions, (R,)."""
    return mean((truth == predicted).astype(float)[:, None], weights)[:, 0]


def mean(values: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Return the mean of each column of (N, K): (R, K)."""
    weight = np.ones((1, len(values))) if weights is None else weights
    return ratio(weight @ values, weight.sum(axis=1, keepdims=True))


def losses(truth: np.ndarray, probabilities: np.ndarray) -> dict[str, np.ndarray]:
    """Return what each case adds (N,): `brier`, the squared distance over all classes (0 to 2), and `log_loss`."""
    right = truth[:, None] == np.arange(probabilities.shape[1])
    chance = np.maximum(probabilities[np.arange(len(truth)), truth], LEAST_PROBABILITY)
    return {"brier": ((probabilities - right) ** 2).sum(axis=1), "log_loss": -np.log(chance)}


def macro_metrics(truth: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Return accuracy and the macro metrics as plain numbers: what is watched while a model trains."""
    values = macro(WeightedMetrics(truth, probabilities).per_class())
    found = {f"macro_{name}": value for name, value in values.items()}
    found["accuracy"] = accuracy(truth, probabilities.argmax(axis=1))
    return {name: float(value[0]) for name, value in found.items()}
