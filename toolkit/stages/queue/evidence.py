"""What speaks against each label: the audit's evidence, and what the study's own models say of cases they never saw."""

import math
from typing import Any, NamedTuple

import numpy as np

from toolkit.manifest import Study
from toolkit.models.plain import LEAST
from toolkit.stats.label_errors import label_errors
from toolkit.workspace import sql
from toolkit.workspace.labelled_cases import LabelledCases, evidence_of, labelled_cases
from toolkit.workspace.registry import Workspace

AUDIT = "photographs and readings: toolkit audit"


class CaseEvidence(NamedTuple):
    """How probable it is that a label is wrong, the class suggested instead with its probability, and why."""

    score: float
    suggested_class: str | None
    probability: float
    reasons: str


class QueueEvidence(NamedTuple):
    """The evidence of cases by ID, and in a sentence what it rests on."""

    of_case: dict[str, CaseEvidence]
    sources: str


NOTHING = CaseEvidence(math.nan, None, math.nan, "")


def evidence(workspace: Workspace, study: Study) -> QueueEvidence:
    """Return the evidence of every case; where runs predicted cases that they were not trained on, it counts too."""
    audited = {row["case_id"]: row for row in workspace.rows(sql.statement("queue/audited"))}
    rows = workspace.rows(sql.statement("queue/unseen_predictions"))
    labelled = labelled_cases(workspace, study) if rows else None
    if labelled is None or len(labelled.classes) < 2:
        return QueueEvidence({case: _of_audit(row) for case, row in audited.items()}, AUDIT)
    runs = _of_runs(labelled, rows)
    plain = _by_case(labelled, {case: row["probabilities"] for case, row in audited.items() if row["probabilities"]})
    errors = label_errors(evidence_of(labelled, plain, runs))
    scores = errors.wrong(labelled.given)
    suggested, chances = errors.suggested(labelled.given)
    of_case = {}
    for n, row in enumerate(labelled.rows):
        if audit := audited.get(row["case_id"]):
            reasons = "; ".join([*_said(labelled, runs[n], n), audit["reasons"]])
            name = labelled.classes[suggested[n]]
            of_case[row["case_id"]] = CaseEvidence(float(scores[n]), name, float(chances[n]), reasons)
    names = ", ".join(sorted({row["run_id"] for row in rows}))
    return QueueEvidence(of_case, f"{AUDIT}; what runs say of cases that they were not trained on: {names}")


def _of_audit(row: dict[str, Any]) -> CaseEvidence:
    score, probability = (math.nan if row[name] is None else row[name] for name in ("score", "probability"))
    return CaseEvidence(score, row["suggested_class"], probability, row["reasons"])


def _of_runs(labelled: LabelledCases, rows: list[dict[str, Any]]) -> np.ndarray:
    """Return the normalised geometric mean of what runs say of each case, (N, classes); NaN where none does."""
    by_case: dict[str, list[np.ndarray]] = {}
    for row in rows:
        chances = dict(row["probabilities"])
        own = np.array([chances.get(name) or 0.0 for name in labelled.classes])
        by_case.setdefault(row["case_id"], []).append(np.log(own + LEAST))
    together = np.full((len(labelled.rows), len(labelled.classes)), np.nan)
    for n, row in enumerate(labelled.rows):
        if said := by_case.get(row["case_id"]):
            chances = np.exp(np.mean(said, axis=0))
            together[n] = chances / chances.sum()
    return together


def _by_case(labelled: LabelledCases, chances: dict[str, Any]) -> np.ndarray:
    """Return the audit's probabilities as numbers, (N, classes); NaN where there are none."""
    blank = [math.nan] * len(labelled.classes)
    return np.array(
        [
            [dict(own).get(name, math.nan) for name in labelled.classes]
            if (own := chances.get(row["case_id"]))
            else blank
            for row in labelled.rows
        ]
    )


def _said(labelled: LabelledCases, chances: np.ndarray, n: int) -> list[str]:
    """Say what models say that were not trained on this case, where they contradict its label."""
    if np.isnan(chances).any() or (best := int(chances.argmax())) == labelled.given[n]:
        return []
    said, own = (f"{labelled.classes[c]} ({chances[c]:.2f})" for c in (best, labelled.given[n]))
    return [f"a model that was not trained on it says {said} rather than {own}"]
