"""A run's evaluation beyond its scores: operating points, calibration, groups, comparisons with runs and controls."""

from typing import Any, NamedTuple

import numpy as np

from toolkit.formatting import clean, confirmation, detection, in_units, percent, proportion, spoken
from toolkit.stats.metrics import Curve
from toolkit.workspace import sql
from toolkit.workspace.registry import Workspace
from toolkit.workspace.runs import read_run

TREAT_ALL, TREAT_NONE = "treat all", "treat none"
FIXED = "fixed"
"""Rule of a threshold that is the same for every run."""
BY_PART = ("operating_points", "decision_curve", "calibration")


class Evaluation(NamedTuple):
    """Rows of the questions of the same names, on the part that is shown first; of comparisons all parts."""

    operating_points: list[dict[str, Any]]
    decision_curve: list[dict[str, Any]]
    calibration: list[dict[str, Any]]
    groups: list[dict[str, Any]]
    compared: list[dict[str, Any]]
    controls: list[dict[str, Any]]
    temperature: float | None
    chosen: list[str]
    """What was chosen on the validation set: epoch, temperature, thresholds."""

    @property
    def guarantees(self) -> list[dict[str, Any]]:
        """The row of each operating point's sensitivity, with what its patients confirm; a fixed threshold has none."""
        return [row for row in self.operating_points if row["metric"] == "recall" and row["rule"] != FIXED]

    @property
    def is_fixed(self) -> bool:
        """Whether every threshold is fixed, and none was chosen."""
        return all(row["rule"] == FIXED for row in self.operating_points)

    @property
    def worst_group(self) -> dict[str, Any] | None:
        """The group whose accuracy is furthest below that of all others."""
        return next((row for row in self.groups if row["worst"] and row["metric"] == "accuracy"), None)


def read_evaluation(workspace: Workspace, run_id: str, part: str) -> Evaluation:
    """Read the evaluation of a run on a part; what was not evaluated is empty."""
    groups = []
    for metric in ("accuracy", "macro_recall"):
        rows = workspace.shipped_rows("groups", run=run_id, part=part, metric=metric)
        groups += [row for row in rows if metric == "accuracy" or not row["refused"]]
    compared, controls = (
        workspace.rows(sql.statement("report/comparisons"), {"run_id": run_id, "others": others})
        for others in ("runs", "controls")
    )
    fitted = workspace.rows("select temperature from temperatures where run_id = $run_id", {"run_id": run_id})
    return Evaluation(
        **{name: workspace.shipped_rows(name, run=run_id, part=part) for name in BY_PART},
        groups=[{**row, "group_value": clean(row["group_value"])} for row in groups],
        compared=compared,
        controls=controls,
        temperature=fitted[0]["temperature"] if fitted else None,
        chosen=chosen_on_validation(workspace, run_id),
    )


def chosen_on_validation(workspace: Workspace, run_id: str) -> list[str]:
    """Return what was chosen on the validation set, so that numbers on it say more than is true of other patients."""
    train = read_run(workspace, run_id).study.get("train", {})
    fitted = workspace.rows(sql.statement("report/chosen"), {"run_id": run_id})[0]
    epoch = train.get("best", "last") != "last" or train.get("patience") is not None
    choices = {"epoch": epoch, "temperature": fitted["temperatures"] > 0, "thresholds": fitted["thresholds"] > 0}
    return [name for name, was_chosen in choices.items() if was_chosen]


def curves(evaluation: Evaluation) -> dict[str, list[tuple[Curve, str]]]:
    """Return the lines of the reliability diagram and of the decision curve, with their labels."""
    reliability: dict[str, list[tuple[float, float]]] = {}
    for row in evaluation.calibration:
        reliability.setdefault(row["probabilities"], []).append((row["chance"], row["came"]))
    if reliability:
        reliability["perfect calibration"] = [(0, 0), (1, 1)]
    benefit: dict[str, list[tuple[float, float]]] = {}
    for row in evaluation.decision_curve:
        for name, value in ((row["target"], row["net_benefit"]), (f"{row['target']}: {TREAT_ALL}", row["everyone"])):
            benefit.setdefault(spoken(name), []).append((row["threshold"], value))
    if benefit:
        ends = [row["threshold"] for row in evaluation.decision_curve]
        benefit[TREAT_NONE] = [(min(ends), 0), (max(ends), 0)]
    return {"reliability": _lines(reliability), "decision": _lines(benefit)}


def _lines(points: dict[str, list[tuple[float, float]]]) -> list[tuple[Curve, str]]:
    return [(Curve(*np.array(line, dtype=float).T), name) for name, line in points.items()]


def confirmed(row: dict[str, Any]) -> str:
    """Say whether the patients confirm the sensitivity that is required of an operating point."""
    patients = {"detected": row["patients_found"], "patients": row["patients_to_be_found"]}
    return confirmation(row["required"], confirmed=row["vouched"], of_lesions=row["value"], **patients)


def guarantee(row: dict[str, Any]) -> str:
    """Say in how many patients every lesion was detected, which share of lesions was, and what both confirm."""
    required, detected, needed = row["required"], row["patients_found"], row["needed_without_a_miss"]
    lesions = f"the sensitivity of lesions is {proportion(row['value'])}"
    sentences = [f"{detection(row['target'], detected, row['patients_to_be_found'])}; {lesions}: {confirmed(row)}."]
    if detected is not None:
        sentences.append(
            f"With {percent(row['confidence'])} confidence the share of patients without a missed lesion is at least "
            f"{proportion(row['at_least'])} (one-sided, exact binomial); the interval of the lesions' sensitivity "
            f"begins at {proportion(row['low'])} (Wilson, effective size by patient). Both must reach {required:g}."
        )
    more = "" if row["needed"] in (None, needed) else f", or {row['needed']} patients if as many as here have one"
    sentences.append(f"Confirming {required:g} takes at least {needed} patients without a missed lesion{more}.")
    return in_units(" ".join(sentences))
