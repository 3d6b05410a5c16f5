"""What a report says of the analysis plan: what was locked with the split, and where the run departs from it.

Refuses to look for departures: rows are those that `evaluate` and `compare` recorded.
"""

from typing import Any, NamedTuple

from toolkit.files import csv_text
from toolkit.formatting import clean, counted, metric_name, model_name, percent, spoken
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


def read(workspace: Workspace, run: dict[str, Any]) -> PlanSummary:
    """Read what there is."""
    rows = workspace.rows(ROWS, {"run_id": run["run_id"]})
    return PlanSummary(plan.locked(workspace.split(run["split_id"])), rows, run["control"] is not None)


def points(planned: PlanSummary) -> list[PlanPoint]:
    """Say what was planned; no path is in it."""
    if planned.lock is None:
        return []
    stated = planned.lock.plan
    of = f" of {spoken(stated['class_name'])}" if stated["class_name"] else ""
    rules = "; ".join(_rule(point) for point in stated["operating_points"])
    subgroups = ", ".join(clean(name) + _bands(cuts) for name, cuts in stated["subgroups"].items())
    wanted = stated["comparison"]
    compared = "none" if wanted is None else MEANING.get(wanted, f"the model {model_name(wanted)}")
    return [
        PlanPoint("Primary metric", f"{metric_name(stated['metric'])}{of}, on {spoken(stated['part'])}"),
        PlanPoint("Comparison", compared),
        PlanPoint("Threshold rules", clean(rules) or "none"),
        PlanPoint("Groups", subgroups or "none"),
        PlanPoint(
            "Intervals", f"{percent(stated['confidence'])}, {counted(stated['replicates'], 'bootstrap replicate')}"
        ),
        PlanPoint("SHA-256", planned.lock.sha256),
    ]


def _rule(point: dict[str, Any]) -> str:
    chosen = "by Youden's index" if point["rule"] == "youden" else f"for a sensitivity of {point['sensitivity']:g}"
    return f"{spoken(point['name'])} ({', '.join(map(spoken, point['classes']))}) {chosen} on validation"


def _bands(cuts: list[float]) -> str:
    return f" (cut at {', '.join(f'{cut:g}' for cut in cuts)})" if cuts else ""


def files(planned: PlanSummary) -> dict[str, str]:
    """Return departures.csv where a plan was locked; without a row nothing departs from it."""
    rows = ([row["part"], row["kind"], clean(row["detail"])] for row in planned.departures)
    return {"departures.csv": csv_text(["part", "kind", "detail"], rows)} if planned.lock else {}
