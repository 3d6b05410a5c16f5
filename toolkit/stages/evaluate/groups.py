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
from toolkit.stats import significance
from toolkit.stats.group_differences import Difference, Differences, GroupedCases, differences
from toolkit.stats.intervals import UNDEFINED, classes_in, too_few
from toolkit.workspace.class_arrays import ClassArrays, places

LEAST_PATIENTS = 5
"""Of the group, and of the other cases, for a difference; from here on the permutation test holds its level."""
LARGEST_Q = 0.05
"""From which on q says nothing of a group, and it is not called the worst."""
QUALITY = {"photograph_sharpness", "photograph_brightness", "photograph_resolution"}
"""Groups by what the audit measured of photographs, in thirds."""
NONE = "(none)"
"""The group of cases without a value."""
OVER_ALL = ("accuracy", "macro_recall", "macro_specificity", "macro_f1")


class Group(NamedTuple):
    """Cases with the same value of a field, (N,)."""

    name: str
    value: str
    inside: np.ndarray


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
    for group in groups:
        shared = {"group_name": group.name, "group_value": group.value, **key._asdict(), "worst": False}
        shared["confidence"] = study.evaluate.confidence
        if _is_large(study, data, group.inside):
            scores += [{**shared, **row} for row in _scored(study, data, group.inside)]
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


def _is_large(study: Study, data: ClassArrays, inside: np.ndarray) -> bool:
    return inside.sum() >= study.evaluate.smallest_group and _patients(data, inside) >= LEAST_PATIENTS


def _patients(data: ClassArrays, inside: np.ndarray) -> int:
    return len(np.unique(data.patient[inside]))


def _not_scored(data: ClassArrays, inside: np.ndarray) -> dict[str, Any]:
    shared = {"metric": "accuracy", "class_name": None, "method": "none", "replicates": 0}
    support = {"cases": int(inside.sum()), "patients": _patients(data, inside)}
    values = {"value": np.nan, **UNDEFINED._asdict(), **_between(None)}
    return {**shared, **values, **support, "too_few": True, "refused": "too few cases or patients"}


def _scored(study: Study, data: ClassArrays, inside: np.ndarray) -> list[dict[str, Any]]:
    confidence = study.evaluate.confidence
    own = _subset(data, inside)
    of_classes = estimates.per_class(own, confidence=confidence).estimates
    everyone = np.ones(len(own.truth), dtype=bool)
    compared = _compared(study, data, inside)
    between = {"accuracy": compared and compared.accuracy, "macro_recall": compared and compared.macro_recall}
    scores = []
    for metric in OVER_ALL:
        if metric == "accuracy":
            measured = Measured(*estimates.accuracy(own, confidence=confidence), WILSON, everyone)
        else:
            macro = estimates.macro(of_classes[metric.removeprefix("macro_")])
            measured = Measured(*macro, RECOVERED, everyone, too_few(own.patient, *classes_in(own.truth)))
        scores.append({"metric": metric, "class_name": None, **_row(study, own, measured, between.get(metric))})
    recall = of_classes["recall"]
    for number, name in enumerate(study.class_names):
        value, interval = float(recall.value[number]), recall.interval_of(number)
        measured = Measured(value, interval, WILSON, own.truth == number)
        difference = compared.recall[number] if compared else None
        scores.append({"metric": "recall", "class_name": name, **_row(study, own, measured, difference)})
    return scores


def _compared(study: Study, data: ClassArrays, inside: np.ndarray) -> Differences | None:
    """Compare a group with all other cases; None where those are of fewer patients than LEAST_PATIENTS."""
    if _patients(data, ~inside) < LEAST_PATIENTS:
        return None
    return differences(
        GroupedCases(data.truth, data.right, data.patient, inside),
        len(study.class_names),
        replicates=study.evaluate.replicates,
        confidence=study.evaluate.confidence,
        seed=study.study.seed,
    )


def _row(study: Study, own: ClassArrays, measured: Measured, difference: Difference | None) -> dict[str, Any]:
    return {
        "value": measured.value,
        **measured.interval._asdict(),
        "method": measured.method,
        "replicates": study.evaluate.replicates if difference else 0,
        "cases": int(measured.rests_on.sum()),
        "patients": _patients(own, measured.rests_on),
        "too_few": too_few(own.patient, measured.rests_on) if measured.few is None else measured.few,
        **_between(difference),
        "refused": None,
    }


def _between(difference: Difference | None) -> dict[str, Any]:
    if difference is None:
        return dict.fromkeys(("difference", "difference_low", "difference_high", "p"), np.nan)
    low, high = difference.interval
    bounds = {"difference": difference.value, "difference_low": low, "difference_high": high}
    return bounds | {"p": difference.p}


def _subset(data: ClassArrays, inside: np.ndarray) -> ClassArrays:
    _, patient = np.unique(data.patient[inside], return_inverse=True)
    return ClassArrays(data.truth[inside], data.predicted[inside], data.probabilities[inside], patient)
