"""Rows of an evaluation arranged as people read them: an operating point, a group or a measure of calibration a row."""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from toolkit.formatting import SMALLEST
from toolkit.stages.report.facts import ReportFacts
from toolkit.workspace.scores import Score

NOT_RECORDED = "(none)"
NUMBER = re.compile(r"\d+(?:\.\d+)?")
SCALED = {
    "": "as predicted",
    "scaled_": "after temperature scaling",
    "prior_": "at the class shares of the training set",
}
"""Kinds of probabilities by the beginning of a measure's name."""
OF_ALL_KINDS = ("accuracy", "brier", "log_loss", "ece")
OF_ONE_KIND = (
    "ece_debiased", "calibration_slope", "calibration_intercept", "calibration_p", "calibration_power",
)  # fmt: skip


class PointRow(NamedTuple):
    """A threshold for some classes: what it finds and misses, and its rows by metric."""

    target: str
    threshold: float
    found: int | None
    missed: int | None
    flagged_per_100: float | None
    rows: dict[str, dict[str, Any]]

    @property
    def has_few(self) -> bool:
        """Whether few are found or missed, so that others see neither number."""
        return any(0 < number < SMALLEST for number in (self.found, self.missed) if number is not None)


class GroupRow(NamedTuple):
    """A group of cases, its counts, and its rows by metric; none where it is not scored."""

    value: str
    cases: int | None
    patients: int | None
    rows: dict[str, dict[str, Any]]
    worst: bool


class CalibrationRow(NamedTuple):
    """A measure over all classes, and its scores by the kind of probabilities."""

    metric: str
    scores: dict[str, Score]


def operating_points(rows: Iterable[dict[str, Any]]) -> list[PointRow]:
    """Return a record for each threshold, in the order of the rows."""
    points: dict[tuple[str, float], dict[str, dict[str, Any]]] = {}
    for row in rows:
        points.setdefault((row["target"], row["threshold"]), {})[row["metric"]] = row
    return [_point(*key, own) for key, own in points.items()]


def _point(target: str, threshold: float, rows: dict[str, dict[str, Any]]) -> PointRow:
    sensitivity, specificity, precision = (rows.get(name) for name in ("recall", "specificity", "precision"))
    found = _numerator(sensitivity)
    missed = sensitivity["cases"] - found if sensitivity and found is not None else None
    everyone = sensitivity["cases"] + specificity["cases"] if sensitivity and specificity else 0
    flagged = 100 * precision["cases"] / everyone if precision and everyone else None
    return PointRow(target, threshold, found, missed, flagged, rows)


def _numerator(row: dict[str, Any] | None) -> int | None:
    known = row is not None and row["value"] is not None and row["value"] == row["value"]
    return round(row["value"] * row["cases"]) if row and known else None


def groups(rows: Iterable[dict[str, Any]]) -> dict[str, list[GroupRow]]:
    """Return the groups by metadata field, each field's in their natural order."""
    fields: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for row in rows:
        fields.setdefault(row["group_name"], {}).setdefault(row["group_value"], []).append(row)
    return {
        field: [_group(value, own[value]) for value in sorted(own, key=natural_order)] for field, own in fields.items()
    }


def _group(value: str, rows: list[dict[str, Any]]) -> GroupRow:
    scored = {row["metric"]: row for row in rows if not row["refused"]}
    return GroupRow(value, rows[0]["cases"], rows[0]["patients"], scored, any(row["worst"] for row in rows))


def natural_order(value: str) -> tuple[Any, ...]:
    """Return what sorts groups as people count: "under 40", "40 to under 60", "60 and over"; "not recorded" last.

    >>> sorted(["60 and over", "(none)", "under 40", "40 to under 60", "type 10", "type 9"], key=natural_order)
    ['under 40', '40 to under 60', '60 and over', 'type 9', 'type 10', '(none)']
    """
    number = NUMBER.search(value)
    if value == NOT_RECORDED or number is None:
        return (value == NOT_RECORDED, "\uffff" if value == NOT_RECORDED else value, 0.0, 0, value)
    words = "" if value.startswith("under ") else value[: number.start()]
    return (False, words, float(number[0]), 0 if value.startswith("under ") else 1, value)


def calibration(facts: ReportFacts) -> list[CalibrationRow]:
    """Return the measures of calibration of the first part, those of several kinds of probabilities first."""
    part, rows = facts.parts[0], []
    for metric in OF_ALL_KINDS:
        found = {kind: facts.scores.get((part, f"{kind}{metric}", None)) for kind in SCALED}
        if metric == "accuracy":
            found = found if found["prior_"] else {}
        rows.append(CalibrationRow(metric, {kind: score for kind, score in found.items() if score}))
    for metric in OF_ONE_KIND:
        score = facts.scores.get((part, metric, None))
        rows.append(CalibrationRow(metric, {"": score} if score else {}))
    return [row for row in rows if row.scores]


def kinds(rows: Iterable[CalibrationRow]) -> dict[str, str]:
    """Return the kinds of probabilities that have a score, with their words."""
    found = {kind for row in rows for kind in row.scores}
    return {kind: words for kind, words in SCALED.items() if kind in found}
