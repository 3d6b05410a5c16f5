"""The analytic intervals of a part's metrics: Wilson and Newcombe by patient, and those of their means.

docs/benchmarks.md has the coverage of each; intervals from leaving patients out are in `scoring`.
"""

from typing import NamedTuple

import numpy as np

from toolkit.stats import delong, metrics
from toolkit.stats.intervals import (
    UNDEFINED,
    Estimate,
    Interval,
    Share,
    by_patient,
    clustered_wilson,
    influence,
    mean_interval,
)
from toolkit.workspace.class_arrays import ClassArrays

WILSON = "Wilson, effective size by patient"
NEWCOMBE = "Newcombe, effective size by patient"
RECOVERED = "variance recovery from the classes' intervals"


class ClassEstimates(NamedTuple):
    """Estimates of the classes by metric, and how each metric's intervals were made."""

    estimates: dict[str, Estimate]
    methods: dict[str, str]


def per_class(data: ClassArrays, *, confidence: float) -> ClassEstimates:
    """Return the estimates of all rates and of the ROC AUC, class by class."""
    shares = class_shares(data)
    estimates = {
        name: Estimate(share.value, clustered_wilson(share, confidence=confidence), influence(share))
        for name, share in shares.items()
    }
    estimates["roc_auc"] = _roc_auc(data, confidence=confidence)
    return ClassEstimates(estimates, {**dict.fromkeys(shares, WILSON), "roc_auc": NEWCOMBE})


def macro(estimate: Estimate) -> tuple[float, Interval]:
    """Return the plain mean over the classes where the metric is defined, with its interval."""
    known = ~np.isnan(estimate.value)
    return (float(estimate.value[known].mean()), mean_interval(estimate)) if known.any() else (float("nan"), UNDEFINED)


def class_shares(data: ClassArrays) -> dict[str, Share]:
    """Return each rate of each class as a share by patient, (C, P).

    F1 is one too: of the cases that are of the class and those predicted as the class, the true positives, each twice.
    """
    number = np.arange(data.probabilities.shape[1])[:, None]
    counts = metrics.outcomes(data.truth == number, data.predicted == number)
    return {name: by_patient(*share, data.patient) for name, share in metrics.shares(counts).items()}


def accuracy(data: ClassArrays, *, confidence: float) -> tuple[float, Interval]:
    """Return the share of right cases with its interval."""
    right = data.right.astype(float)
    share = by_patient(right, np.ones_like(right), data.patient)
    return float(share.value), clustered_wilson(share, confidence=confidence)


def micro(data: ClassArrays, *, confidence: float) -> dict[str, tuple[float, Interval]]:
    """Return the rates over the decisions about all classes together.

    Each error is one false negative and one false positive among C decisions, so all of them follow from the accuracy.
    """
    right, (low, high) = accuracy(data, confidence=confidence)
    others = data.probabilities.shape[1] - 1
    of_negatives = (1 - (1 - right) / others, Interval(1 - (1 - low) / others, 1 - (1 - high) / others))
    of_positives = (right, Interval(low, high))
    return {name: of_negatives if name in ("specificity", "npv") else of_positives for name in metrics.RATES}


def _roc_auc(data: ClassArrays, *, confidence: float) -> Estimate:
    classes, patients = data.probabilities.shape[1], int(data.patient.max()) + 1
    value, low, high = np.full((3, classes), np.nan)
    influences = np.zeros((classes, patients))
    for k in range(classes):
        positive, score = data.truth == k, data.probabilities[:, k]
        if 0 < positive.sum() < len(positive):
            value[k] = delong.placements(positive, score[None]).auc[0]
            low[k], high[k] = delong.clustered_interval(positive, score, data.patient, confidence=confidence)
            influences[k] = delong.influence(positive, score[None], data.patient)[0]
    return Estimate(value, Interval(low, high), influences)
