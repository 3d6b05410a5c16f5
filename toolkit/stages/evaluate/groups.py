"""The rows of `subgroup_scores`: groups of cases with intervals, each compared with all other cases.

Groups of few cases or patients are counted, not scored. The study says which groups there are.
"""

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from toolkit.manifest import Study
from toolkit.stages.evaluate import estimates
from toolkit.stages.evaluate.estimates import RECOVERED, WILSON
from toolkit.stages.evaluate.scoring import EvaluationKey, Measured
from toolkit.stats import metrics, significance
from toolkit.stats.intervals import UNDEFINED, patient_bootstrap, percentile
from toolkit.workspace.class_arrays import ClassArrays, places

LEAST_PATIENTS = 5
LARGEST_Q = 0.05
"""From which on q says nothing of a group, and it is not called the worst."""
NONE = "(none)"
"""The group of cases without a value."""
OVER_ALL = ("accuracy", "macro_recall", "macro_specificity", "macro_f1")


class Group(NamedTuple):
    """Cases with the same value of a field, (N,)."""

    name: str
    value: str
    inside: np.ndarray


class _Difference(NamedTuple):
    """A metric inside a group minus that outside, and its bootstrap replicates (R,); of all classes (C,), (R, C)."""

    value: np.ndarray
    replicates: np.ndarray


def groups_of(study: Study, case_ids: tuple[str, ...], values: pa.Table) -> list[Group]:
    """Return the study's groups of a part's cases; `values` are rows of case_id, group_name, group_value."""
    groups = []
    for name in study.evaluate.groups:
        own = values.filter(pc.field("group_name") == name)
        place, different = places(own["case_id"], case_ids), own["group_value"].unique().to_pylist()
        value_of = places(own["group_value"], different)
        members: dict[str, np.ndarray] = {}
        for number, text in enumerate(different):
            inside = members.setdefault(study.evaluate.band_of(name, text), np.zeros(len(case_ids), dtype=bool))
            inside[place[value_of == number]] = True
        without = ~np.any([np.zeros(len(case_ids), dtype=bool), *members.values()], axis=0)
        if without.any():
            members[NONE] = without
        groups += [Group(name, value, inside) for value, inside in sorted(members.items())]
    return groups


def rows(study: Study, data: ClassArrays, key: EvaluationKey, groups: list[Group]) -> list[dict[str, Any]]:
    """Return every group's scores; p-values are corrected over all of them together."""
    scores: list[dict[str, Any]] = []
    large = [_is_large(study, data, group) for group in groups]
    differences = iter(_differences(study, data, [group for group, kept in zip(groups, large, strict=True) if kept]))
    for group, is_scored in zip(groups, large, strict=True):
        shared = {"group_name": group.name, "group_value": group.value, **key._asdict(), "worst": False}
        shared["confidence"] = study.evaluate.confidence
        if is_scored:
            scores += [{**shared, **row} for row in _scored(study, data, group.inside, next(differences))]
        else:
            scores.append({**shared, **_not_scored(data, group.inside)})
    corrected = significance.benjamini_hochberg(np.array([row["p"] for row in scores], dtype=float))
    for row, q in zip(scores, corrected, strict=True):
        row["q"] = float(q)
    for metric, class_name in {(row["metric"], row["class_name"]) for row in scores}:
        same = [r for r in scores if (r["metric"], r["class_name"]) == (metric, class_name)]
        if below := [r for r in same if r["difference"] < 0 and r["q"] < LARGEST_Q]:
            min(below, key=lambda row: row["difference"])["worst"] = True
    return scores


def _is_large(study: Study, data: ClassArrays, group: Group) -> bool:
    patients = len(np.unique(data.patient[group.inside]))
    return group.inside.sum() >= study.evaluate.smallest_group and patients >= LEAST_PATIENTS


def _not_scored(data: ClassArrays, inside: np.ndarray) -> dict[str, Any]:
    undefined = dict.fromkeys(("value", "low", "high", "difference", "difference_low", "difference_high", "p"), np.nan)
    shared = {"metric": "accuracy", "class_name": None, "method": "none", "replicates": 0}
    support = {"cases": int(inside.sum()), "patients": len(np.unique(data.patient[inside]))}
    return {**shared, **undefined, **support, "refused": "too few cases or patients"}


def _scored(
    study: Study, data: ClassArrays, inside: np.ndarray, differences: dict[str, _Difference]
) -> list[dict[str, Any]]:
    confidence = study.evaluate.confidence
    own = _subset(data, inside)
    of_classes = estimates.per_class(own, confidence=confidence).estimates
    everyone = np.ones(len(own.truth), dtype=bool)
    scores = []
    for metric in OVER_ALL:
        if metric == "accuracy":
            measured = Measured(*estimates.accuracy(own, confidence=confidence), WILSON, everyone)
        else:
            macro = estimates.macro(of_classes[metric.removeprefix("macro_")])
            measured = Measured(*macro, RECOVERED, everyone)
        scores.append({"metric": metric, "class_name": None, **_row(study, own, measured, differences[metric])})
    recall = of_classes["recall"]
    for number, name in enumerate(study.class_names):
        value, interval = float(recall.value[number]), recall.interval_of(number)
        measured = Measured(value, interval, WILSON, own.truth == number)
        of_class = _Difference(differences["recall"].value[number], differences["recall"].replicates[:, number])
        scores.append({"metric": "recall", "class_name": name, **_row(study, own, measured, of_class)})
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
        "difference": float(difference.value),
        "difference_low": between.low,
        "difference_high": between.high,
        "p": significance.bootstrap_p(difference.replicates) if defined else np.nan,
        "refused": None,
    }


def _subset(data: ClassArrays, inside: np.ndarray) -> ClassArrays:
    _, patient = np.unique(data.patient[inside], return_inverse=True)
    return ClassArrays(data.truth[inside], data.predicted[inside], data.probabilities[inside], patient)


def _differences(study: Study, data: ClassArrays, groups: list[Group]) -> list[dict[str, _Difference]]:
    """Return each metric's difference of every group; the same replicates serve all of them."""
    if not groups:
        return []
    classes = data.probabilities.shape[1]
    matrices = [metrics.Matrices(data.truth, data.predicted, classes, group.inside) for group in groups]
    whole = metrics.Matrices(data.truth, data.predicted, classes)

    def measure(weights: np.ndarray) -> dict[str, np.ndarray]:
        inside = np.stack([matrix(weights) for matrix in matrices], axis=1)
        own, others = _rates(inside), _rates(whole(weights)[:, None] - inside)
        return {name: own[name] - others[name] for name in (*OVER_ALL, "recall")}

    points = measure(np.ones((1, len(data.truth))))
    replicates = patient_bootstrap(measure, data.patient, replicates=study.evaluate.replicates, seed=study.study.seed)
    return [
        {name: _Difference(points[name][0, number], replicates[name][:, number]) for name in points}
        for number in range(len(groups))
    ]


def _rates(matrix: np.ndarray) -> dict[str, np.ndarray]:
    """Return the rates of confusion matrices (R, groups, C, C): (R, groups), and of the classes (R, groups, C)."""
    rates = metrics.rates(metrics.confusion_counts(matrix))
    macro = {f"macro_{name}": value for name, value in metrics.macro(rates).items()}
    right = metrics.ratio(np.trace(matrix, axis1=-2, axis2=-1), matrix.sum(axis=(-2, -1)))
    return {"accuracy": right, "recall": rates["recall"], **macro}
