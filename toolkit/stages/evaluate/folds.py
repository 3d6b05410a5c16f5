"""Runs on the folds of a cross-validation, pooled: each held-out case is predicted once, by a run that never saw it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from toolkit.errors import WorkspaceError
from toolkit.manifest import Study
from toolkit.progress import Progress, silent
from toolkit.stages.evaluate.scoring import EvaluationKey, Scorer
from toolkit.workspace import sql
from toolkit.workspace.class_arrays import class_arrays
from toolkit.workspace.registry import Workspace
from toolkit.workspace.runs import find_run
from toolkit.workspace.scores import read_scores

FOLD_PART = "validation"
"""What a fold holds out."""
OVER_ALL = ("balanced_accuracy", "accuracy", "macro_f1", "macro_roc_auc")
OF_A_CLASS = ("recall", "precision", "roc_auc")


@dataclass(frozen=True)
class PooledFolds:
    """Scores over the folds of a cross-validation.

    `rows`: metric, class_name (None = over all), mean and sd over the folds' own values, and of all held-out cases
    together value, low, high, method, cases, patients, too_few.
    """

    run_ids: list[str]
    cases: int
    patients: int
    confidence: float
    rows: list[dict[str, Any]]


def pool_folds(workspace: Workspace, study: Study, runs: Sequence[str], *, progress: Progress = silent) -> PooledFolds:
    """Pool what runs on the folds of a cross-validation predict of the cases that each held out.

    The interval has the patient as the unit, over all folds. Raises WorkspaceError where a run is not scored, or two
    runs held out the same patient.
    """
    run_ids = list(dict.fromkeys(find_run(workspace, name) for name in runs))
    if len(run_ids) < 2:
        raise WorkspaceError("pooling takes the runs of two folds at least", remedy="toolkit pool-folds RUN RUN …")
    progress("pooling folds", 0, None)
    scores = [read_scores(workspace, run_id) for run_id in run_ids]
    asked = sql.statement("evaluate/scored_part")
    folds = [workspace.read(asked, {"run_id": run_id, "part": FOLD_PART}) for run_id in run_ids]
    _check(run_ids, folds)
    whole = pa.concat_tables(folds)
    order = np.argsort(np.array(whole["case_id"].to_pylist()), kind="stable")
    data = class_arrays(whole.take(order), study.class_names)
    truth_id = workspace.rows("select truth_id from label_states")[0]["truth_id"]
    pooled = Scorer(study, data, EvaluationKey("pooled", FOLD_PART, truth_id)).rows()
    rows = []
    for row in pooled:
        metric, name = row["metric"], row["class_name"]
        if metric not in (OVER_ALL if name is None else OF_A_CLASS):
            continue
        of_folds = [own[key].value for own in scores if (key := (FOLD_PART, metric, name)) in own]
        known = np.array(of_folds)[~np.isnan(of_folds)]
        spread = float(known.std(ddof=1)) if len(known) > 1 else float("nan")
        kept = {key: row[key] for key in ("value", "low", "high", "method", "cases", "patients", "too_few")}
        mean = float(known.mean()) if len(known) else float("nan")
        rows.append({"metric": metric, "class_name": name, "folds": len(known), "mean": mean, "sd": spread, **kept})
    return PooledFolds(run_ids, len(data.truth), int(data.patient.max()) + 1, study.evaluate.confidence, rows)


def _check(run_ids: list[str], folds: list[pa.Table]) -> None:
    """Refuse folds that hold out nothing, or a patient of another fold."""
    held_out: dict[str, str] = {}
    for run_id, rows in zip(run_ids, folds, strict=True):
        if not rows.num_rows:
            raise WorkspaceError(
                f"run {run_id} has no scored case of its {FOLD_PART} set",
                place=f"run {run_id}",
                remedy=f"toolkit predict --run {run_id} --part {FOLD_PART}, then toolkit evaluate --run {run_id}",
            )
        patients = set(rows["patient_id"].to_pylist())
        if both := patients & held_out.keys():
            raise WorkspaceError(
                f"runs {held_out[min(both)]} and {run_id} held out {len(both)} of the same patients: they are not "
                "folds of one cross-validation",
                place=f"run {run_id}",
                remedy="give one run for each fold; toolkit status lists runs and splits",
            )
        held_out |= dict.fromkeys(patients, run_id)
