"""The analysis plan in a report: what was locked with the split, and where the run departs from it."""

from typing import Any, NamedTuple

from toolkit.formatting import clean, counted, field_name, metric_name, model_name, percent, spoken, subset
from toolkit.prompts.ablation import MEANING
from toolkit.workspace import plan
from toolkit.workspace.plan import LockedPlan
from toolkit.workspace.registry import Workspace

ROWS = "select part, kind, detail from departures where run_id = $run_id order by part nulls first, kind, detail"


class PlanSummary(NamedTuple):
    """The locked plan, None where none was; where the run departs from it; whether the run is a control."""

    lock: LockedPlan | None
    departures: list[dict[str, Any]]
    control: bool


class PlanPoint(NamedTuple):
    """A point of the plan, in words."""

    heading: str
    text: str


def read_plan(workspace: Workspace, run: dict[str, Any]) -> PlanSummary:
    """Read the plan that was locked with a run's split, and the run's recorded departures."""
    rows = workspace.rows(ROWS, {"run_id": run["run_id"]})
    lock = plan.locked(workspace.split(run["split_id"]))
    return PlanSummary(lock, [{**row, "detail": clean(row["detail"])} for row in rows], run["control"] is not None)


def points(summary: PlanSummary) -> list[PlanPoint]:
    """Say what was planned, without paths."""
    if summary.lock is None:
        return []
    stated = summary.lock.plan
    of = f" of {spoken(stated['class_name'])}" if stated["class_name"] else ""
    rules = "; ".join(_rule(point) for point in stated["operating_points"])
    subgroups = ", ".join(clean(field_name(name)) + _bands(cuts) for name, cuts in stated["subgroups"].items())
    baseline = stated["comparison"]
    compared = "none" if baseline is None else MEANING.get(baseline, f"the model {model_name(baseline)}")
    return [
        PlanPoint("Primary metric", f"{metric_name(stated['metric'])}{of}, on the {subset(stated['part'])}"),
        PlanPoint("Comparison", compared),
        PlanPoint("Threshold rules", clean(rules) or "none"),
        PlanPoint("Groups", subgroups or "none"),
        PlanPoint(
            "Intervals", f"{percent(stated['confidence'])}, {counted(stated['replicates'], 'bootstrap replicate')}"
        ),
        PlanPoint("SHA-256", summary.lock.sha256),
    ]


def _rule(point: dict[str, Any]) -> str:
    chosen = "by Youden's index" if point["rule"] == "youden" else f"for a sensitivity of {point['sensitivity']:g}"
    return f"{spoken(point['name'])} ({', '.join(map(spoken, point['classes']))}) {chosen} on the validation set"


def _bands(cuts: list[float]) -> str:
    return f" (cut at {', '.join(f'{cut:g}' for cut in cuts)})" if cuts else ""
