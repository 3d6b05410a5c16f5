"""What a report says of a run's evaluation beyond its scores: calibration, operating points, groups, comparisons.

Refuses to compute: rows are those of the registry.
"""

from typing import Any, NamedTuple

import numpy as np

from toolkit.files import csv_text
from toolkit.formatting import clean, proportion, spoken
from toolkit.stats.metrics import Curve
from toolkit.workspace import sql
from toolkit.workspace.registry import Workspace

BY_PART = ("operating_points", "decision_curve", "calibration")
FOUND = {
    "recall": "recall (sensitivity)",
    "specificity": "specificity",
    "precision": "precision (PPV)",
    "npv": "NPV",
    "benign_per_found": "false alarms per hit",
}


class Evaluation(NamedTuple):
    """Rows of the questions of the same names, on the part that is shown first; of comparisons all parts."""

    operating_points: list[dict[str, Any]]
    decision_curve: list[dict[str, Any]]
    calibration: list[dict[str, Any]]
    groups: list[dict[str, Any]]
    compared: list[dict[str, Any]]
    temperature: float | None

    @property
    def guarantees(self) -> list[dict[str, Any]]:
        """A row per operating point."""
        return list({row["target"]: row for row in self.operating_points}.values())

    @property
    def worst_group(self) -> dict[str, Any] | None:
        """The group whose accuracy is furthest below that of all others."""
        return next((row for row in self.groups if row["worst"] and row["metric"] == "accuracy"), None)


def read(workspace: Workspace, run_id: str, part: str) -> Evaluation:
    """Read what there is."""
    key = {"run_id": run_id}
    asked = {name: workspace.ask(name, run=run_id, part=part).to_pylist() for name in BY_PART}
    groups = []
    for metric in ("accuracy", "macro_recall"):
        rows = workspace.ask("groups", run=run_id, part=part, metric=metric).to_pylist()
        groups += [row for row in rows if metric == "accuracy" or not row["refused"]]
    fitted = workspace.rows("select temperature from temperatures where run_id = $run_id", key)
    return Evaluation(
        **asked,
        groups=[{**row, "group_value": clean(row["group_value"])} for row in groups],
        compared=workspace.rows(sql.statement("report/compared"), key),
        temperature=fitted[0]["temperature"] if fitted else None,
    )


def curves(found: Evaluation) -> dict[str, list[tuple[Curve, str]]]:
    """Return the lines of the reliability diagram and of the decision curve, with their labels."""
    reliability = {}
    for row in found.calibration:
        reliability.setdefault(row["probabilities"], []).append((row["chance"], row["came"]))
    lines = {"reliability": [(_curve(points), name) for name, points in reliability.items()]}
    if lines["reliability"]:
        lines["reliability"].append((_curve([(0, 0), (1, 1)]), "as said, so it came"))
    useful: dict[str, list[tuple[float, float]]] = {}
    for row in found.decision_curve:
        for name, value in ((row["target"], row["net_benefit"]), (f"{row['target']}: all called", row["everyone"])):
            if value >= 0:
                useful.setdefault(spoken(name), []).append((row["threshold"], value))
    lines["decision"] = [(_curve(points), name) for name, points in useful.items()]
    return lines


def _curve(points: list[tuple[float, float]]) -> Curve:
    x, y = np.array(points, dtype=float).T
    return Curve(x, y)


def files(found: Evaluation) -> dict[str, str]:
    """Return a CSV file for each table that has rows, unrounded."""
    tables = {
        "operating_points.csv": found.operating_points,
        "decision_curve.csv": found.decision_curve,
        "calibration.csv": found.calibration,
        "groups.csv": found.groups,
        "comparison.csv": found.compared,
    }
    return {name: csv_text(list(rows[0]), (row.values() for row in rows)) for name, rows in tables.items() if rows}


def vouched(row: dict[str, Any]) -> str:
    """Say whether the data can vouch for the sensitivity required of an operating point."""
    verdict = "can vouch" if row["vouched"] else "cannot vouch"
    if row["patients_found"] is None:
        return f"These data {verdict} for a sensitivity of {row['required']:g} to {spoken(row['target'])}."
    needed = "" if row["needed"] is None else f", {row['needed']} with as many missed as here"
    return (
        f"{row['patients_found']} of {row['patients_to_be_found']} patients with {spoken(row['target'])} were found "
        f"without a miss: these {verdict} for a sensitivity of {row['required']:g} "
        f"(at least {proportion(row['at_least'])} with {100 * row['confidence']:g}% confidence, exact binomial, "
        "one-sided). "
        f"It takes {row['needed_without_a_miss']} patients without a miss{needed}."
    )
