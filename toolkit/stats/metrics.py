"""Classification metrics: confusion counts, metrics per class and their averages, ROC and PR curves, losses.

Weights have the shape (R, N), one row per bootstrap replicate; all R replicates are computed at once. Undefined is
NaN: there is no recall without positives. docs/method.md has the formulas; intervals are in `intervals` and `delong`.
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
    """True positives, false positives, false negatives and true negatives of a class; arrays of one shape."""

    tp: np.ndarray
    fp: np.ndarray
    fn: np.ndarray
    tn: np.ndarray


class Areas(NamedTuple):
    """Areas under the ROC and the PR curve, each (R,)."""

    roc: np.ndarray
    pr: np.ndarray


def confusion(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Count cases by truth (rows) and predicted class (columns), (classes, classes)."""
    return np.bincount(truth * classes + predicted, minlength=classes * classes).reshape(classes, classes)


class Matrices:
    """The confusion matrices (R, C, C) of weighted cases, all or those `inside`: sorted by cell once, then summed."""

    def __init__(
        self, truth: np.ndarray, predicted: np.ndarray, classes: int, inside: np.ndarray | None = None
    ) -> None:
        cell = truth * classes + predicted
        cases = np.arange(len(cell)) if inside is None else np.flatnonzero(inside)
        self.classes, self.case = classes, cases[np.argsort(cell[cases], kind="stable")]
        self.cells, self.starts = np.unique(cell[self.case], return_index=True)

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """Return one matrix per row of weights (R, N)."""
        matrix = np.zeros((len(weights), self.classes**2))
        matrix[:, self.cells] = np.add.reduceat(_columns(weights, self.case), self.starts, axis=1)
        return matrix.reshape(-1, self.classes, self.classes)


def confusion_counts(matrix: np.ndarray) -> ConfusionCounts:
    """Return the counts per class, each (..., C), from confusion matrices (..., C, C)."""
    tp = np.diagonal(matrix, axis1=-2, axis2=-1).astype(float)
    fn = matrix.sum(axis=-1) - tp
    fp = matrix.sum(axis=-2) - tp
    return ConfusionCounts(tp, fp, fn, matrix.sum(axis=(-2, -1))[..., None] - tp - fn - fp)


def outcomes(positive: np.ndarray, flagged: np.ndarray) -> ConfusionCounts:
    """Return which of the four outcomes each decision has, as 1 or 0 in the shape of the arguments."""
    four = (positive & flagged, ~positive & flagged, positive & ~flagged, ~positive & ~flagged)
    return ConfusionCounts(*(outcome.astype(float) for outcome in four))


def pooled(counts: ConfusionCounts) -> ConfusionCounts:
    """Return the counts of all classes together: what micro averages rest on."""
    return ConfusionCounts(*(count.sum(axis=-1) for count in counts))


def rates(counts: ConfusionCounts) -> dict[str, np.ndarray]:
    """Return the metrics of RATES, in the shape of the counts."""
    return {name: ratio(*share) for name, share in shares(counts).items()}


def shares(counts: ConfusionCounts) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return numerator and denominator of each of RATES."""
    tp, fp, fn, tn = counts
    return {
        "precision": (tp, tp + fp),
        "recall": (tp, tp + fn),
        "specificity": (tn, tn + fp),
        "npv": (tn, tn + fn),
        "f1": (2 * tp, 2 * tp + fp + fn),
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
    flagged = _running(np.add.reduceat(_columns(weight, ranking.case), ranking.cuts, axis=1))
    own = _columns(weight, ranking.positive)
    tp = _running(own)
    positives, negatives = tp[:, -1], flagged[:, -1] - tp[:, -1]
    flagged_to_last, tp_to_last = _columns(flagged, ranking.last), _columns(tp, ranking.upto)
    fp = flagged_to_last - tp_to_last
    fp += _columns(flagged, ranking.first)
    fp -= _columns(tp, ranking.above)
    precision = np.divide(tp_to_last, flagged_to_last, out=np.zeros_like(flagged_to_last), where=flagged_to_last > 0)
    outranked = positives * negatives - np.einsum("rn,rn->r", own, fp) / 2
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


def _running_counts(positive: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return true and false positives with each distinct score as the threshold, highest first."""
    distinct, place = np.unique(-score, return_inverse=True)
    tp = np.bincount(place, weights=positive, minlength=len(distinct))
    return np.cumsum(tp), np.cumsum(np.bincount(place, minlength=len(distinct)) - tp)


def roc_curve(positive: np.ndarray, score: np.ndarray) -> Curve:
    """Return the ROC curve from (0, 0) to (1, 1); NaN where a rate is undefined."""
    tp, fp = _running_counts(positive, score)
    return Curve(np.r_[0, ratio(fp, fp[-1])], np.r_[0, ratio(tp, tp[-1])])


def pr_curve(positive: np.ndarray, score: np.ndarray) -> Curve:
    """Return recall and precision at each distinct score, from the highest score down."""
    tp, fp = _running_counts(positive, score)
    return Curve(ratio(tp, tp[-1]), ratio(tp, tp + fp))


class WeightedMetrics:
    """Metrics of class indices (N,) and probabilities (N, C), prepared to be computed with many weights.

    Without `predicted`, the predicted class is the most probable one.

    >>> truth = np.array([0, 0, 1, 1])
    >>> probabilities = np.array([[0.8, 0.2], [0.4, 0.6], [0.3, 0.7], [0.1, 0.9]])
    >>> values = WeightedMetrics(truth, probabilities).per_class()
    >>> values["recall"].tolist(), values["roc_auc"].tolist()
    ([[0.5, 1.0]], [[1.0, 1.0]])
    """

    def __init__(self, truth: np.ndarray, probabilities: np.ndarray, predicted: np.ndarray | None = None) -> None:
        self.classes = probabilities.shape[1]
        predicted = probabilities.argmax(axis=1) if predicted is None else predicted
        is_it = truth[:, None] == np.arange(self.classes)
        self.rankings = [rank(is_it[:, k], probabilities[:, k]) for k in range(self.classes)]
        self.matrices = Matrices(truth, predicted, self.classes)
        self.once = np.ones((1, len(truth)))
        rows = np.repeat(np.arange(len(truth)), self.classes)
        self.together = rank(is_it.ravel(), probabilities.ravel(), rows)

    def per_class(self, weights: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Return every metric of AVERAGED as (R, C), R = 1 without weights."""
        weights = self.once if weights is None else weights
        of_classes = [areas(ranking, weights) for ranking in self.rankings]
        return {
            **rates(confusion_counts(self.matrices(weights))),
            "roc_auc": np.stack([area.roc for area in of_classes], axis=1),
            "pr_auc": np.stack([area.pr for area in of_classes], axis=1),
        }

    def averages(self, values: dict[str, np.ndarray], weights: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Return the macro, weighted and micro averages, each (R,), of the per-class values (R, C).

        Macro is the plain mean over the classes where the metric is defined, weighted the mean weighted by their
        cases: scikit-learn's with zero_division=nan. Micro pools the decisions about all classes, and for the areas
        all classes' probabilities.
        """
        weights = self.once if weights is None else weights
        matrix = self.matrices(weights)
        cases = matrix.sum(axis=-1)
        area = areas(self.together, weights)
        pool = {**rates(pooled(confusion_counts(matrix))), "roc_auc": area.roc, "pr_auc": area.pr}
        return {
            **{f"macro_{name}": value for name, value in macro(values).items()},
            **{f"weighted_{name}": _mean_of_defined(value, cases) for name, value in values.items()},
            **{f"micro_{name}": value for name, value in pool.items()},
        }


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
    averages = {f"macro_{name}": value for name, value in values.items()}
    averages["accuracy"] = accuracy(truth, probabilities.argmax(axis=1))
    return {name: float(value[0]) for name, value in averages.items()}
