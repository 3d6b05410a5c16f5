"""The analysis plan in a report: what was locked with the split, and where the run departs from it."""

from typing import Any, NamedTuple

from toolkit.formatting import clean
from toolkit.workspace import plan
from toolkit.workspace.plan import LockedPlan
from toolkit.workspace.registry import Workspace

ROWS = "select part, kind, detail from departures where run_id = $run_id order by part nulls first, kind, detail"


class PlanSummary(NamedTuple):
    """The locked plan, None where none was; where the run departs from it; whether the run is a control."""

    lock: LockedPlan | None
    departures: list[dict[str, Any]]
    control: bool


def read_plan(workspace: Workspace, run: dict[str, Any]) -> PlanSummary:
    """Read the plan that was locked with a run's split, and the run's recorded departures."""
    rows = workspace.rows(ROWS, {"run_id": run["run_id"]})
    lock = plan.locked(workspace.split(run["split_id"]))
    return PlanSummary(lock, [{**row, "detail": clean(row["detail"])} for row in rows], run["control"] is not None)
