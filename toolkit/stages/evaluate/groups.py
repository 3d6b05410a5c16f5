"""How groups of cases are scored: each with its intervals, and its difference from all other cases.

Refuses small groups: they are counted, not scored. Which groups there are, the study says.
"""

from typing import Any, NamedTuple

import numpy as np

from toolkit.manifest import Study
from toolkit.stages.evaluate import estimates
from toolkit.stages.evaluate.estimates import RECOVERED, WILSON, PartData
from toolkit.stages.evaluate.scoring import EvaluationKey
from toolkit.stats import metrics, significance
from toolkit.stats.intervals import UNDEFINED, Interval, patient_bootstrap, percentile

LEAST_PATIENTS = 5
NONE = "(none)"
"""The group of cases without a value."""
OVER_ALL = ("accuracy", "macro_recall", "macro_specificity", "macro_f1")


class Group(NamedTuple):
    """Cases with the same value of a field, (N,)."""

    name: str
    value: str
    inside: np.ndarray


def groups_of(study: Study, case_ids: tuple[str, ...], values: list[dict[str, str]]) -> list[Group]:
    """Return the study's groups of a part's cases; `values` are rows of case_id, group_name, group_value."""
    place = {case_id: number for number, case_id in enumerate(case_ids)}
    found = []
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
        found += [Group(name, value, inside) for value, inside in sorted(members.items())]
    return found


def rows(study: Study, data: PartData, key: EvaluationKey, groups: list[Group]) -> list[dict[str, Any]]:
    """Return every group's scores; p-values are corrected over all of them together."""
    made: list[dict[str, Any]] = []
    for group in groups:
        inside = group.inside
        patients = len(np.unique(data.patient[inside]))
        told = {"group_name": group.name, "group_value": group.value, **key._asdict(), "worst": False}
        told["confidence"] = study.evaluate.confidence
        if inside.sum() < study.evaluate.smallest_group or patients < LEAST_PATIENTS:
            made.append({**told, **_refused(int(inside.sum()), patients)})
        else:
            made += [{**told, **row} for row in _scored(study, data, inside)]
    corrected = significance.benjamini_hochberg(np.array([row["p"] for row in made], dtype=float))
    for row, q in zip(made, corrected, strict=True):
        row["q"] = float(q)
    for metric, class_name in {(row["metric"], row["class_name"]) for row in made}:
        same = [r for r in made if (r["metric"], r["class_name"]) == (metric, class_name)]
        below = [r for r in same if r["difference"] < 0]
        if below:
            min(below, key=lambda row: row["difference"])["worst"] = True
    return made


def _refused(cases: int, patients: int) -> dict[str, Any]:
    nothing = dict.fromkeys(("value", "low", "high", "difference", "difference_low", "difference_high", "p"), np.nan)
    said = {"metric": "accuracy", "class_name": None, "method": "none", "replicates": 0}
    return {**said, **nothing, "cases": cases, "patients": patients, "refused": "too few cases or patients"}


def _scored(study: Study, data: PartData, inside: np.ndarray) -> list[dict[str, Any]]:
    confidence, classes = study.evaluate.confidence, len(study.class_names)
    own = _part_of(data, inside)
    found = estimates.per_class(own, confidence=confidence).estimates
    drawn = _differences(study, data, inside)
    points = _rates(np.ones((1, len(inside))), data, inside, classes)
    made = []
    for metric in OVER_ALL:
        if metric == "accuracy":
            (value, interval), method = estimates.accuracy(own, confidence=confidence), WILSON
        else:
            (value, interval), method = estimates.macro(found[metric.removeprefix("macro_")]), RECOVERED
        support = (len(own.truth), len(np.unique(own.patient)))
        difference = (float(points[metric][0]), drawn[metric])
        made.append(_row(study, metric, None, (value, interval), method, support, difference))
    for number, name in enumerate(study.class_names):
        cases = own.truth == number
        interval = Interval(*(float(np.asarray(side)[number]) for side in found["recall"].interval))
        support = (int(cases.sum()), len(np.unique(own.patient[cases])))
        difference = (float(points["recall"][0, number]), drawn["recall"][:, number])
        value = float(found["recall"].value[number])
        made.append(_row(study, "recall", name, (value, interval), WILSON, support, difference))
    return made


def _row(  # noqa: PLR0913, PLR0917 - what a row says
    study: Study,
    metric: str,
    class_name: str | None,
    estimate: tuple[float, Interval],
    method: str,
    support: tuple[int, int],
    difference: tuple[float, np.ndarray],
) -> dict[str, Any]:
    value, interval = estimate
    point, drawn = difference
    between = percentile(drawn, confidence=study.evaluate.confidence) if not np.isnan(point) else UNDEFINED
    return {
        "metric": metric,
        "class_name": class_name,
        "value": value,
        **interval._asdict(),
        "method": method,
        "replicates": study.evaluate.replicates,
        "cases": support[0],
        "patients": support[1],
        "difference": point,
        "difference_low": between.low,
        "difference_high": between.high,
        "p": significance.bootstrap_p(drawn) if not np.isnan(point) else np.nan,
        "refused": None,
    }


def _part_of(data: PartData, inside: np.ndarray) -> PartData:
    _, patient = np.unique(data.patient[inside], return_inverse=True)
    return PartData(data.truth[inside], data.predicted[inside], data.probabilities[inside], patient)


def _differences(study: Study, data: PartData, inside: np.ndarray) -> dict[str, np.ndarray]:
    classes = len(study.class_names)
    return patient_bootstrap(
        lambda weights: _rates(weights, data, inside, classes),
        data.patient,
        replicates=study.evaluate.replicates,
        seed=study.study.seed,
    )


def _rates(weights: np.ndarray, data: PartData, inside: np.ndarray, classes: int) -> dict[str, np.ndarray]:
    """Return each metric inside the group less that outside, (R,) or (R, C)."""
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
