"""The stage `next-batch`: which unlabelled photographs to label next, by a run's predictions of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.errors import WorkspaceError
from toolkit.progress import Progress, silent
from toolkit.stats.next_batch import next_batch as in_order
from toolkit.workspace.registry import Workspace
from toolkit.workspace.runs import UNLABELLED, find_run


@dataclass(frozen=True)
class NextBatch:
    """The cases to label next, in their order; `rows` are those of the question `unlabelled`, with their rank."""

    run_id: str
    unlabelled: int
    """Cases that the run has predicted and nobody has labelled."""
    patients: int
    in_training: int
    """Of the batch: cases of patients whom the run was trained on."""
    mean_uncertainty: float
    mean_uncertainty_of_all: float
    rows: list[dict[str, Any]]
    all_uncertainties: list[float]


def next_batch(workspace: Workspace, *, run: str = "latest", cases: int = 50, progress: Progress = silent) -> NextBatch:
    """Return the cases to label next; raise WorkspaceError where the run predicted no unlabelled photograph."""
    progress("ordering cases", 0, None)
    run_id = find_run(workspace, run)
    rows = workspace.shipped_rows("unlabelled", run=run_id)
    labelled = {row["case_id"] for row in workspace.rows("select distinct case_id from readings")}
    left = [row for row in rows if row["case_id"] not in labelled]
    if not left:
        raise WorkspaceError(
            f"run {run_id} has predicted no photograph without a label"
            + (": the predicted ones have been labelled since" if rows else ""),
            place=str(workspace.run(run_id)),
            remedy=f"toolkit predict --run {run_id} --part {UNLABELLED}",
        )
    uncertainty = np.array([row["uncertainty"] for row in left])
    known = frozenset(row["patient_id"] for row in left if row["patient_in_training"])
    places = in_order(uncertainty, [row["patient_id"] for row in left], size=cases, known=known)
    batch = [{"rank": rank, **left[place]} for rank, place in enumerate(places, start=1)]
    return NextBatch(
        run_id=run_id,
        unlabelled=len(left),
        patients=len({row["patient_id"] for row in batch}),
        in_training=sum(row["patient_in_training"] for row in batch),
        mean_uncertainty=float(np.mean([row["uncertainty"] for row in batch])),
        mean_uncertainty_of_all=float(uncertainty.mean()),
        rows=batch,
        all_uncertainties=uncertainty.tolist(),
    )
