"""The stage `impact`: what a queue's labels change in a run's metrics, and the error rate of all labels.

Nothing is stored: all of it follows from the queue, the verdicts and the predictions.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from toolkit.errors import WorkspaceError
from toolkit.manifest import Study
from toolkit.progress import Progress, silent
from toolkit.stats.error_rate import NOTHING, Estimated, Population, ReviewedCases, corrected_accuracy, share_of_all
from toolkit.stats.impact import LabelChanges, Recount
from toolkit.stats.intervals import TOO_FEW
from toolkit.workspace import queues, sql
from toolkit.workspace.class_arrays import places
from toolkit.workspace.registry import Workspace
from toolkit.workspace.runs import find_run
from toolkit.workspace.scores import read_scores, scored_parts, unsayable

AVERAGES = ("macro_f1", "macro_recall", "macro_precision", "accuracy")
OF_A_CLASS = ("f1", "recall", "precision")
DECIDED = ("confirmed", "changed")
"""Outcomes of a case whose right class is known."""
METHOD = "ratio of totals of patients drawn at random; Clopper-Pearson at the effective size of patients as clusters"
ERROR_RATE = "error rate of labels"
CORRECTED = "accuracy with all labels corrected"


@dataclass(frozen=True)
class PartImpact:
    """What the labels of a queue change in the metrics of a run on one subset."""

    run_id: str
    part: str
    cases: int
    patients: int
    changed: int
    """Cases whose label was changed."""
    suggested: int
    """Cases that nobody has reviewed, and whose suggested class is another."""
    scores: list[dict[str, Any]]
    """A row for each metric and class: its value before, with what reviewers say, and with the suggestions too."""
    bounds: dict[str, Any]
    """The lowest and highest macro F1 that any of the suggestions together could give, beside what was reviewed."""
    candidates: list[dict[str, Any]]
    """The changes, by how much each moves the macro F1, times the probability of the suggestion."""
    query: str


@dataclass(frozen=True)
class Impact:
    """What became of a queue, what it says of all labels, and what it changes in a run's metrics."""

    queue_id: str
    made_at: datetime
    truth_id: str
    cases: int
    patients: int
    outcomes: dict[str, int]
    estimates: list[dict[str, Any]]
    """From the patients drawn at random: value, interval, and what they rest on; NaN where none was reviewed."""
    of_run: PartImpact | None
    """None where there is no run yet."""


class Labels(NamedTuple):
    """A part's cases: class indices (N,) of prediction and reference diagnoses, -1 without; patients numbered (N,)."""

    predicted: np.ndarray
    before: np.ndarray
    reviewed: np.ndarray
    suggested: np.ndarray
    patient: np.ndarray


def impact(
    workspace: Workspace,
    study: Study,
    queue: str = "latest",
    *,
    run: str = "latest",
    part: str = "",
    progress: Progress = silent,
) -> Impact:
    """Compare a run's metrics by the labels before a queue, as reviewed and as suggested; estimate all labels' errors.

    Without `part`, the test set where it was scored. Raises WorkspaceError for a queue, run or part that is not there,
    and for a run that was not scored: `evaluate` counts how often a part was.
    """
    progress("counting labels", 0, None)
    queue_id = queues.find_queue(workspace, queue)
    (chosen,) = workspace.rows(sql.statement("impact/queue"), {"queue": queue_id})
    outcomes = workspace.read(sql.statement("queue/outcomes"), {"queue": chosen["queue_id"]})
    finished = _finished(outcomes)
    confidence = study.evaluate.confidence
    estimates = [_error_rate(outcomes, finished, chosen, confidence)]
    of_run = None
    if run != "latest" or workspace.rows("select run_id from runs limit 1"):
        run_id = find_run(workspace, run)
        part = _part(workspace, run_id, part)
        key = {"queue": chosen["queue_id"], "run": run_id, "part": part}
        rows = workspace.read(sql.statement("impact/part"), key)
        classes = _classes(workspace, study, run_id)
        labels = _labels(rows, classes, run_id)
        estimates.append(_corrected_accuracy(rows, labels, finished, confidence) | {"run_id": run_id, "part": part})
        of_run = _of_run(rows, labels, key, classes)
    return Impact(
        queue_id=chosen["queue_id"],
        made_at=chosen["made_at"],
        truth_id=chosen["truth_id"],
        cases=len(outcomes),
        patients=len(outcomes["patient_id"].unique()),
        outcomes=dict(Counter(outcomes["outcome"].to_pylist()).most_common()),
        estimates=estimates,
        of_run=of_run,
    )


def _part(workspace: Workspace, run_id: str, part: str) -> str:
    parts = scored_parts(read_scores(workspace, run_id))
    if part and part not in parts:
        raise WorkspaceError(
            f"run {run_id} was not scored on the part {part}",
            place=str(workspace.run(run_id)),
            remedy=f"the scored parts are: {', '.join(parts)}",
        )
    return part or parts[0]


def _classes(workspace: Workspace, study: Study, run_id: str) -> list[str]:
    lacking = unsayable(workspace, run_id)
    return [name for name in study.class_names if name not in lacking]


def _labels(rows: pa.Table, classes: Sequence[str], run_id: str) -> Labels:
    known = {*rows["predicted"].to_pylist(), *rows["before"].to_pylist()} - {None}
    if unknown := known - set(classes):
        raise WorkspaceError(
            f"the class {min(unknown)} is none that run {run_id} can say",
            place="reference diagnoses or predictions of the run",
            remedy=f"use the study file that the run was made with, or toolkit predict --run {run_id}",
        )
    columns = ("predicted", "before", "reviewed", "suggested")
    return Labels(*(places(rows[name].cast(pa.string()), classes) for name in columns), _numbered(rows))


def _finished(outcomes: pa.Table) -> set[str]:
    """Return the patients who were drawn at random from all, and of whose cases none is untouched."""
    rows = outcomes.select(["patient_id", "drawn_from", "outcome"]).to_pylist()
    return {row["patient_id"] for row in rows if row["drawn_from"] == "all"} - {
        row["patient_id"] for row in rows if row["outcome"] == "untouched"
    }


def _error_rate(outcomes: pa.Table, finished: set[str], chosen: dict[str, Any], confidence: float) -> dict[str, Any]:
    review, outcome = _review(outcomes, finished)
    known = {"found": int((outcome == "changed").sum()), "ruled_out": int((outcome == "confirmed").sum())}
    population = Population(chosen["patients"], chosen["cases"], **known)
    estimate = share_of_all(review.drawn(outcome == "changed"), population, confidence=confidence)
    return _estimate(ERROR_RATE, estimate, review, population, confidence)


def _corrected_accuracy(rows: pa.Table, labels: Labels, finished: set[str], confidence: float) -> dict[str, Any]:
    scored = np.flatnonzero(labels.before >= 0)
    review, _ = _review(rows.take(scored), finished)
    before, after = ((labels.predicted == truth)[scored] for truth in (labels.before, labels.reviewed))
    estimate = corrected_accuracy(before, after, review, confidence=confidence) if len(scored) else NOTHING
    population = Population(len(np.unique(review.patient)), len(scored))
    return _estimate(CORRECTED, estimate, review, population, confidence)


def _review(rows: pa.Table, finished: set[str]) -> tuple[ReviewedCases, np.ndarray]:
    """Return what the review says of some cases, and their outcomes (N,)."""
    outcome, patients = (np.array(rows[name].to_pylist(), dtype=object) for name in ("outcome", "patient_id"))
    random = np.isin(patients, list(finished))
    return ReviewedCases(_numbered(rows), random, np.isin(outcome, DECIDED)), outcome


def _numbered(rows: pa.Table) -> np.ndarray:
    return rows["patient_id"].combine_chunks().dictionary_encode().indices.to_numpy().astype(int)


def _estimate(
    name: str, estimate: Estimated, review: ReviewedCases, population: Population, confidence: float
) -> dict[str, Any]:
    counts = review.random & review.decided
    patients = len(np.unique(review.patient[counts]))
    return {
        "estimate": name,
        "value": estimate.value,
        **estimate.interval._asdict(),
        "confidence": confidence,
        "method": METHOD,
        "patients": patients,
        "cases": int(counts.sum()),
        "of_patients": population.patients,
        "of_cases": population.cases,
        "too_few": patients < min(TOO_FEW, population.patients),
    }


def _of_run(rows: pa.Table, labels: Labels, key: dict[str, str], classes: Sequence[str]) -> PartImpact:
    asked = np.flatnonzero(labels.before != labels.suggested)
    recount = Recount(
        labels.before,
        labels.predicted,
        LabelChanges(labels.before[asked], labels.suggested[asked], labels.predicted[asked]),
        classes=len(classes),
    )
    reviewed = labels.before[asked] != labels.reviewed[asked]
    none, everything = np.zeros_like(reviewed), np.ones_like(reviewed)
    values = recount.values(np.stack([none, reviewed, everything]))
    scored = labels.before >= 0
    return PartImpact(
        run_id=key["run"],
        part=key["part"],
        cases=int(scored.sum()),
        patients=len(np.unique(labels.patient[scored])),
        changed=int(reviewed.sum()),
        suggested=int((~reviewed).sum()),
        scores=_scores(values, classes),
        bounds={"metric": "macro_f1", **recount.bounds(fixed=reviewed)._asdict()},
        candidates=_candidates(rows.take(asked), recount.contributions(), reviewed),
        query=sql.written_out(sql.questions()["impact"].text, **key),
    )


def _scores(values: dict[str, np.ndarray], classes: Sequence[str]) -> list[dict[str, Any]]:
    columns = [(metric, None, values[metric]) for metric in AVERAGES]
    columns += [(metric, name, values[metric][:, k]) for metric in OF_A_CLASS for k, name in enumerate(classes)]
    return [
        {
            "metric": metric,
            "class_name": name,
            **dict(zip(("before", "reviewed", "suggested"), column.tolist(), strict=True)),
        }
        for metric, name, column in columns
    ]


def _candidates(rows: pa.Table, contributions: np.ndarray, reviewed: np.ndarray) -> list[dict[str, Any]]:
    """Return the changes, those first that move the macro F1 most; an unknown probability counts as 1."""
    candidates = []
    for row, contribution, is_known in zip(rows.to_pylist(), contributions.tolist(), reviewed.tolist(), strict=True):
        probability = 1.0 if is_known else row["probability"]
        weight = 1.0 if probability is None or np.isnan(probability) else probability
        candidates.append(
            {
                "case_id": row["case_id"],
                "patient_id": row["patient_id"],
                "rank": row["rank"],
                "outcome": row["outcome"],
                "class_name": row["before"],
                "changed_to": row["suggested"],
                "predicted": row["predicted"],
                "probability": float("nan") if probability is None else probability,
                "contribution": contribution,
                "expected": contribution * weight,
            }
        )
    return sorted(candidates, key=lambda row: (-abs(np.nan_to_num(row["expected"])), row["rank"]))
