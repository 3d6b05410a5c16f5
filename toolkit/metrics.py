"""Knows how truth and probabilities become numbers: confusion, per-class and macro metrics, curves.

Refuses to know files, tables and intervals. Every function takes optional weights of shape (R, N), one row per
bootstrap replicate, and answers for all R at once. Undefined is NaN: a recall without positives is no recall.

Sources: one against the rest from the argmax confusion matrix; ROC AUC as the Mann-Whitney statistic (ties count a
half), PR AUC as average precision (sum of precision times step in recall). docs/method.md has the formulas.
"""

from typing import NamedTuple

import numpy as np

PER_CLASS = ("precision", "recall", "specificity", "npv", "f1", "roc_auc", "pr_auc")


class Curve(NamedTuple):
    """Points of a ROC curve (x false positive rate, y recall) or a PR curve (x recall, y precision)."""

    x: np.ndarray
    y: np.ndarray


def confusion(truth: np.ndarray, predicted: np.ndarray, classes: int, weights: np.ndarray | None = None) -> np.ndarray:
    """Count cases by truth (rows) and predicted class (columns): (classes, classes), or (R, classes, classes)."""
    cell = truth * classes + predicted
    if weights is None:
        return np.bincount(cell, minlength=classes * classes).reshape(classes, classes)
    one_hot = np.zeros((len(cell), classes * classes))
    one_hot[np.arange(len(cell)), cell] = 1
    return (weights @ one_hot).reshape(-1, classes, classes)


def one_against_rest(matrix: np.ndarray) -> dict[str, np.ndarray]:
    """Return precision, recall, specificity, npv, f1 per class from confusion matrices (..., C, C), each (..., C)."""
    hit = np.diagonal(matrix, axis1=-2, axis2=-1).astype(float)
    missed = matrix.sum(axis=-1) - hit
    false_alarm = matrix.sum(axis=-2) - hit
    rejected = matrix.sum(axis=(-2, -1))[..., None] - hit - missed - false_alarm
    return {
        "precision": ratio(hit, hit + false_alarm),
        "recall": ratio(hit, hit + missed),
        "specificity": ratio(rejected, rejected + false_alarm),
        "npv": ratio(rejected, rejected + missed),
        "f1": ratio(2 * hit, 2 * hit + false_alarm + missed),
    }


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Divide; NaN where the denominator is zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(denominator > 0, numerator / denominator, np.nan)


def ranked_counts(positive: np.ndarray, score: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return weighted positives and negatives at each distinct score, highest first: two arrays (R, distinct)."""
    order = np.argsort(-score, kind="stable")
    ordered = score[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    weight = np.ones((1, len(score))) if weights is None else weights
    weight = weight[:, order]
    flag = positive[order].astype(float)
    return np.add.reduceat(weight * flag, starts, axis=1), np.add.reduceat(weight * (1 - flag), starts, axis=1)


def roc_auc(positive: np.ndarray, score: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Return the area under the ROC curve, (R,): how often a positive outranks a negative, ties counting a half."""
    hits, alarms = ranked_counts(positive, score, weights)
    below = alarms.sum(axis=1, keepdims=True) - np.cumsum(alarms, axis=1)
    return ratio((hits * (below + alarms / 2)).sum(axis=1), hits.sum(axis=1) * alarms.sum(axis=1))


def pr_auc(positive: np.ndarray, score: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Return average precision, (R,). NaN without positives, as for recall; scikit-learn says 0 there."""
    hits, alarms = ranked_counts(positive, score, weights)
    called = np.cumsum(hits + alarms, axis=1)
    precision = np.where(called > 0, np.cumsum(hits, axis=1) / np.where(called > 0, called, 1), 0.0)
    return ratio((hits * precision).sum(axis=1), hits.sum(axis=1))


def roc_curve(positive: np.ndarray, score: np.ndarray) -> Curve:
    """Return the ROC curve from (0, 0) to (1, 1); NaN where a rate is undefined."""
    hits, alarms = (np.cumsum(counts[0]) for counts in ranked_counts(positive, score, None))
    return Curve(np.r_[0, ratio(alarms, alarms[-1])], np.r_[0, ratio(hits, hits[-1])])


def pr_curve(positive: np.ndarray, score: np.ndarray) -> Curve:
    """Return recall and precision at each distinct score, from the highest score down."""
    hits, alarms = (np.cumsum(counts[0]) for counts in ranked_counts(positive, score, None))
    return Curve(ratio(hits, hits[-1]), ratio(hits, hits + alarms))


def per_class(truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Return every metric of PER_CLASS as (R, C), R = 1 without weights.

    `truth` (N,) holds class indices, `probabilities` (N, C); the predicted class is the most probable one.
    """
    classes = probabilities.shape[1]
    matrix = confusion(truth, probabilities.argmax(axis=1), classes, weights)
    values = one_against_rest(matrix.reshape(-1, classes, classes))
    for name, metric in (("roc_auc", roc_auc), ("pr_auc", pr_auc)):
        columns = [metric(truth == k, probabilities[:, k], weights) for k in range(classes)]
        values[name] = np.stack(columns, axis=1)
    return values


def over_classes(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return macro averages (R,) of per-class values (R, C): the plain mean over the classes where it is defined.

    This is scikit-learn's macro average with zero_division=nan; the number of classes averaged belongs beside it.
    """
    return {f"macro_{name}": _mean_of_defined(value) for name, value in values.items()}


def _mean_of_defined(value: np.ndarray) -> np.ndarray:
    defined = ~np.isnan(value)
    return ratio(np.where(defined, value, 0).sum(axis=-1), defined.sum(axis=-1))


def accuracy(truth: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Return the share of right predictions, (R,)."""
    weight = np.ones((1, len(truth))) if weights is None else weights
    return ratio(weight @ (truth == predicted).astype(float), weight.sum(axis=1))


def macro_metrics(truth: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Return accuracy and the macro metrics as plain numbers: what is watched while a model trains."""
    values = {
        "accuracy": accuracy(truth, probabilities.argmax(axis=1)),
        **over_classes(per_class(truth, probabilities)),
    }
    return {name: float(value[0]) for name, value in values.items()}
