"""Which interval each metric of a part gets: Wilson and Newcombe with the patient as the unit, their means.

Refuses to know files, tables and the bootstrap. docs/benchmarks.md says what each interval covers.
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

WILSON = "Wilson, effective size by patient"
DELONG = "DeLong"
NEWCOMBE = "Newcombe, effective size by patient"
RECOVERED = "variance recovery from the classes' intervals"


class PartData(NamedTuple):
    """A part's scored cases as arrays: class indices, probabilities (N, C), patients numbered as first seen."""

    truth: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray
    patient: np.ndarray
    case_ids: tuple[str, ...] = ()


class ClassEstimates(NamedTuple):
    """Estimates of the classes by metric, and how each metric's intervals were made."""

    estimates: dict[str, Estimate]
    methods: dict[str, str]


def per_class(data: PartData, *, confidence: float) -> ClassEstimates:
    """Return the estimates of all rates and of the ROC AUC, class by class."""
    shares = class_shares(data)
    estimates = {
        name: Estimate(share.value, clustered_wilson(share, confidence=confidence), influence(share))
        for name, share in shares.items()
    }
    estimates["roc_auc"], method = _roc_auc(data, confidence=confidence)
    return ClassEstimates(estimates, {**dict.fromkeys(shares, WILSON), "roc_auc": method})


def macro(estimate: Estimate) -> tuple[float, Interval]:
    """Return the plain mean over the classes where the metric is defined, with its interval."""
    known = ~np.isnan(estimate.value)
    return (float(estimate.value[known].mean()), mean_interval(estimate)) if known.any() else (float("nan"), UNDEFINED)


def class_shares(data: PartData) -> dict[str, Share]:
    """Return each rate of each class as a share by patient, (C, P).

    F1 is one too: of the cases that are the class and the calls of the class, those that are hits, each hit twice.
    """
    number = np.arange(data.probabilities.shape[1])[:, None]
    is_it, said = data.truth == number, data.predicted == number
    outcome = metrics.ConfusionCounts(is_it & said, ~is_it & said, is_it & ~said, ~is_it & ~said)
    floats = metrics.ConfusionCounts(*(side.astype(float) for side in outcome))
    return {name: by_patient(*share, data.patient) for name, share in metrics.shares(floats).items()}


def accuracy(data: PartData, *, confidence: float) -> tuple[float, Interval]:
    """Return the share of right cases with its interval."""
    right = (data.truth == data.predicted).astype(float)
    share = by_patient(right, np.ones_like(right), data.patient)
    return float(share.value), clustered_wilson(share, confidence=confidence)


def micro(data: PartData, *, confidence: float) -> dict[str, tuple[float, Interval]]:
    """Return the rates over the decisions about all classes together.

    Each error is one miss and one false alarm among C decisions, so all of them follow from the accuracy.
    """
    right, (low, high) = accuracy(data, confidence=confidence)
    others = data.probabilities.shape[1] - 1
    rejected = (1 - (1 - right) / others, Interval(1 - (1 - low) / others, 1 - (1 - high) / others))
    called = (right, Interval(low, high))
    return {name: rejected if name in ("specificity", "npv") else called for name in metrics.RATES}


def _roc_auc(data: PartData, *, confidence: float) -> tuple[Estimate, str]:
    classes, patients = data.probabilities.shape[1], int(data.patient.max()) + 1
    alone = patients == len(data.patient)
    value, low, high = np.full((3, classes), np.nan)
    moved = np.zeros((classes, patients))
    for k in range(classes):
        positive, score = data.truth == k, data.probabilities[:, k]
        if not 0 < positive.sum() < len(positive):
            continue
        found = delong.placements(positive, score[None])
        value[k] = found.auc[0]
        variance = delong.covariance(found)[0, 0]
        plain = alone and variance > 0
        interval = (
            delong.interval(value[k], variance, confidence=confidence)
            if plain
            else delong.clustered_interval(positive, score, data.patient, confidence=confidence)
        )
        low[k], high[k] = interval
        moved[k] = delong.influence(positive, score[None], data.patient)[0]
    return Estimate(value, Interval(low, high), moved), DELONG if alone else NEWCOMBE
