"""The predictions of a run, as exports pass them on."""

from typing import NamedTuple

from toolkit.errors import WorkspaceError
from toolkit.workspace import sql
from toolkit.workspace.registry import Workspace
from toolkit.workspace.runs import find_run


class PredictedCase(NamedTuple):
    """What a run says of a case."""

    part: str
    case_id: str
    predicted: str
    confidence: float
    probabilities: dict[str, float]


def newest_run(workspace: Workspace, name: str) -> str | None:
    """Return the ID of the run that is named; None where the latest is meant and there is none yet."""
    if name == "latest" and not workspace.rows("select 1 from runs limit 1"):
        return None
    return find_run(workspace, name)


def read_predictions(workspace: Workspace, run_id: str) -> list[PredictedCase]:
    """Return the predictions of a run by subset and case; refuse a run without any."""
    rows = workspace.rows(sql.statement("export/predictions"), {"run_id": run_id})
    if not rows:
        remedy = f"toolkit predict --run {run_id}"
        raise WorkspaceError(f"run {run_id} has no predictions yet", place=str(workspace.folder), remedy=remedy)
    return [PredictedCase(*row.values())._replace(probabilities=dict(row["probabilities"])) for row in rows]
