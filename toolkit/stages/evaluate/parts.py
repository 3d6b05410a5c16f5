"""What of a run is scored: its predicted parts as arrays, and the study without the classes that it cannot say."""

from collections.abc import Iterable

import pyarrow as pa

from toolkit.errors import WorkspaceError
from toolkit.manifest import Study
from toolkit.workspace import sql
from toolkit.workspace.class_arrays import ClassArrays, class_arrays
from toolkit.workspace.registry import Workspace
from toolkit.workspace.runs import UNLABELLED
from toolkit.workspace.scores import unsayable


def predicted_cases(workspace: Workspace, run_id: str) -> dict[str, int]:
    """Return the number of predicted cases by part; raise WorkspaceError where there is none."""
    rows = workspace.rows(
        "select part, count(*) as cases from predictions where run_id = $run_id and part <> $unlabelled "
        "group by part order by part desc",
        {"run_id": run_id, "unlabelled": UNLABELLED},
    )
    if not rows:
        raise WorkspaceError(
            f"run {run_id} has no predictions",
            place=str(workspace.run(run_id)),
            remedy=f"toolkit predict --run {run_id}",
        )
    return {row["part"]: row["cases"] for row in rows}


def scored_parts(workspace: Workspace, run_id: str, parts: Iterable[str]) -> dict[str, pa.Table]:
    """Return the cases of each part that are scored today."""
    asked = sql.statement("evaluate/scored_part")
    return {part: workspace.read(asked, {"run_id": run_id, "part": part}) for part in parts}


def scored_parts_at(workspace: Workspace, run_id: str, parts: Iterable[str], moment: int) -> dict[str, pa.Table]:
    """Return the cases of each part that had a reference diagnosis at a moment of `exports`."""
    asked = sql.statement("evaluate/scored_part_at")
    return {part: workspace.read(asked, {"run_id": run_id, "part": part, "moment": moment}) for part in parts}


def arrays_of(study: Study, run_id: str, parts: dict[str, pa.Table], *, remedy: str) -> dict[str, ClassArrays]:
    """Return the parts as arrays; raise WorkspaceError for one without a case."""
    if empty := [part for part, rows in parts.items() if not len(rows)]:
        raise WorkspaceError(
            f"no predicted case of the {empty[0]} set has a resolved class", place=f"run {run_id}", remedy=remedy
        )
    return {part: class_arrays(rows, study.class_names) for part, rows in parts.items()}


def sayable(
    workspace: Workspace,
    study: Study,
    run_id: str,
    parts: dict[str, pa.Table],
    *,
    labelled: str = "since they were predicted",
) -> Study:
    """Return the study without the classes that the run has no answer for: no average counts them.

    Raises WorkspaceError where a case to be scored is of such a class; `labelled` says when it got that.
    """
    if not (lacking := unsayable(workspace, run_id)):
        return study
    truths = {truth for rows in parts.values() for truth in rows["truth"].to_pylist()}
    if relabelled := sorted(truths & set(lacking)):
        raise WorkspaceError(
            f"cases were labelled {relabelled[0]} {labelled}, which the run cannot say",
            place=f"run {run_id}",
            remedy=f"toolkit predict --run {run_id} leaves them out; where they came from a file, predict --from",
        )
    known = {
        "classes": [c for c in study.classes if c.name not in lacking],
        "evaluate": study.evaluate.model_copy(
            update={
                "ordered": [name for name in study.evaluate.ordered if name not in lacking],
                "operating_points": [
                    point.model_copy(update={"classes": classes})
                    for point in study.evaluate.operating_points
                    if (classes := [name for name in point.classes if name not in lacking])
                ],
            }
        ),
    }
    return study.model_copy(update=known)
