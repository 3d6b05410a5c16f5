"""The rows of `subgroup_scores`: groups of cases with intervals, each compared with all other cases.

Groups of few cases or patients are counted, not scored. The study says which groups there are.
"""

from typing import Any, NamedTuple

import numpy as np

from toolkit.manifest import Study
from toolkit.stages.evaluate import estimates
from toolkit.stages.evaluate.estimates import RECOVERED, WILSON
from toolkit.stages.evaluate.scoring import EvaluationKey, Measured
from toolkit.stats import metrics, significance
from toolkit.stats.intervals import UNDEFINED, patient_bootstrap, percentile
from toolkit.workspace.class_arrays import ClassArrays

LEAST_PATIENTS = 5
NONE = "(none)"
"""The group of cases without a value."""
OVER_ALL = ("accuracy", "macro_recall", "macro_specificity", "macro_f1")


class Group(NamedTuple):
    """Cases with the same value of a field, (N,)."""

    name: str
    value: str
    inside: np.ndarray


class _Difference(NamedTuple):
    """A metric inside a group minus that outside, and its bootstrap replicates (R,)."""

    value: float
    replicates: np.ndarray


def groups_of(study: Study, case_ids: tuple[str, ...], values: list[dict[str, str]]) -> list[Group]:
    """Return the study's groups of a part's cases; `values` are rows of case_id, group_name, group_value."""
    place = {case_id: number for number, case_id in enumerate(case_ids)}
    groups = []
    for name in study.evaluate.groups:
        members: dict[str, np.ndarray] = {}
        for row in values:
            if row["group_name"] == name:
                value = study.evaluate.band_of(name, row["group_value"])
                inside = members.setdefault(value, np.zeros(len(case_ids), dtype=bool))
                inside[place[row["case_id"]]] = True
        without = ~np.any([np.zeros(len(case_ids), dtype=bool), *members.values()], axis=0)
        if without.any():
            members[NONE] = without
        groups += [Group(name, value, inside) for value, inside in sorted(members.items())]
    return groups


def rows(study: Study, data: ClassArrays, key: EvaluationKey, groups: list[Group]) -> list[dict[str, Any]]:
    """Return every group's scores; p-values are corrected over all of them together."""
    scores: list[dict[str, Any]] = []
    for group in groups:
        inside = group.inside
        patients = len(np.unique(data.patient[inside]))
        shared = {"group_name": group.name, "group_value": group.value, **key._asdict(), "worst": False}
        shared["confidence"] = study.evaluate.confidence
        if inside.sum() < study.evaluate.smallest_group or patients < LEAST_PATIENTS:
            scores.append({**shared, **_not_scored(int(inside.sum()), patients)})
        else:
            scores += [{**shared, **row} for row in _scored(study, data, inside)]
    corrected = significance.benjamini_hochberg(np.array([row["p"] for row in scores], dtype=float))
    for row, q in zip(scores, corrected, strict=True):
        row["q"] = float(q)
    for metric, class_name in {(row["metric"], row["class_name"]) for row in scores}:
        same = [r for r in scores if (r["metric"], r["class_name"]) == (metric, class_name)]
        below = [r for r in same if r["difference"] < 0]
        if below:
            min(below, key=lambda row: row["difference"])["worst"] = True
    return scores


def _not_scored(cases: int, patients: int) -> dict[str, Any]:
    undefined = dict.fromkeys(("value", "low", "high", "difference", "difference_low", "difference_high", "p"), np.nan)
    shared = {"metric": "accuracy", "class_name": None, "method": "none", "replicates": 0}
    return {**shared, **undefined, "cases": cases, "patients": patients, "refused": "too few cases or patients"}


def _scored(study: Study, data: ClassArrays, inside: np.ndarray) -> list[dict[str, Any]]:
    confidence = study.evaluate.confidence
    own = _subset(data, inside)
    of_classes = estimates.per_class(own, confidence=confidence).estimates
    replicates = patient_bootstrap(
        lambda weights: _differences(weights, data, inside),
        data.patient,
        replicates=study.evaluate.replicates,
        seed=study.study.seed,
    )
    points = _differences(np.ones((1, len(inside))), data, inside)
    everyone = np.ones(len(own.truth), dtype=bool)
    scores = []
    for metric in OVER_ALL:
        if metric == "accuracy":
            measured = Measured(*estimates.accuracy(own, confidence=confidence), WILSON, everyone)
        else:
            macro = estimates.macro(of_classes[metric.removeprefix("macro_")])
            measured = Measured(*macro, RECOVERED, everyone)
        difference = _Difference(float(points[metric][0]), replicates[metric])
        scores.append({"metric": metric, "class_name": None, **_row(study, own, measured, difference)})
    recall = of_classes["recall"]
    for number, name in enumerate(study.class_names):
        value, interval = float(recall.value[number]), recall.interval_of(number)
        measured = Measured(value, interval, WILSON, own.truth == number)
        difference = _Difference(float(points["recall"][0, number]), replicates["recall"][:, number])
        scores.append({"metric": "recall", "class_name": name, **_row(study, own, measured, difference)})
    return scores


def _row(study: Study, own: ClassArrays, measured: Measured, difference: _Difference) -> dict[str, Any]:
    defined = not np.isnan(difference.value)
    between = percentile(difference.replicates, confidence=study.evaluate.confidence) if defined else UNDEFINED
    return {
        "value": measured.value,
        **measured.interval._asdict(),
        "method": measured.method,
        "replicates": study.evaluate.replicates,
        "cases": int(measured.rests_on.sum()),
        "patients": len(np.unique(own.patient[measured.rests_on])),
        "difference": difference.value,
        "difference_low": between.low,
        "difference_high": between.high,
        "p": significance.bootstrap_p(difference.replicates) if defined else np.nan,
        "refused": None,
    }


def _subset(data: ClassArrays, inside: np.ndarray) -> ClassArrays:
    _, patient = np.unique(data.patient[inside], return_inverse=True)
    return ClassArrays(data.truth[inside], data.predicted[inside], data.probabilities[inside], patient)


def _differences(weights: np.ndarray, data: ClassArrays, inside: np.ndarray) -> dict[str, np.ndarray]:
    """Return each metric inside the group minus that outside, (R,) or (R, C)."""
    classes = data.probabilities.shape[1]
    cells = np.zeros((len(inside), classes * classes))
    cells[np.arange(len(inside)), data.truth * classes + data.predicted] = 1
    sides = []
    for side in (inside, ~inside):
        matrix = (weights[:, side] @ cells[side]).reshape(-1, classes, classes)
        rates = metrics.rates(metrics.confusion_counts(matrix))
        macro = {f"macro_{name}": value for name, value in metrics.macro(rates).items()}
        right = metrics.ratio(np.trace(matrix, axis1=1, axis2=2), matrix.sum(axis=(1, 2)))
        sides.append({"accuracy": right, "recall": rates["recall"], **macro})
    return {name: sides[0][name] - sides[1][name] for name in (*OVER_ALL, "recall")}
