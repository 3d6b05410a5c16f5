"""What became of a queue: confirmed, changed, rejected, untouched, and how much harm a review found."""

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

from toolkit.manifest import Study
from toolkit.stages.queue.order import harm
from toolkit.workspace import queues, sql
from toolkit.workspace.registry import Workspace

OUTCOMES = ("confirmed", "changed", "rejected", "unresolved", "cannot_tell", "untouched")
PER = 50
"""Reviews that the harm found is told for."""
GROUPS = {None: "proposed", "all": "drawn at random", "test": "drawn at random from the test set"}
"""By what the patients of a case were drawn from."""


@dataclass(frozen=True)
class QueueOutcome:
    """What became of a queue's cases; `rows` has one for each."""

    queue_id: str
    cases: int
    patients: int
    groups: list[dict[str, Any]]
    """For the proposed cases and those drawn at random: how many, each outcome, and the harm found per 50 reviews."""
    changes: dict[str, int]
    reviewers: list[dict[str, Any]]
    reasons: list[dict[str, Any]]
    """What spoke against the labels, and how often it was right: the rows of `query outcome_by_reason`."""
    patients_known: bool
    rows: list[dict[str, Any]]


def outcome(workspace: Workspace, study: Study, name: str) -> QueueOutcome:
    """Return what became of a queue since it was made; raise WorkspaceError for one that is not known.

    The harm of an error is what `[report.costs]` says of the label before, where the class is what it is now.
    """
    queue_id = queues.find_queue(workspace, name)
    rows = workspace.rows(sql.statement("queue/outcomes"), {"queue": queue_id})
    malignant = {c.name for c in study.classes if c.malignant}
    for row in rows:
        is_error = row["outcome"] == "changed"
        row["harm"] = (
            harm(row["class_name"], row["class_reviewed"], 1.0, study.report.costs, malignant) if is_error else 0.0
        )
    changed = [f"{row['class_name']} → {row['class_reviewed']}" for row in rows if row["outcome"] == "changed"]
    by_reviewer: dict[str, Counter] = {}
    for row in rows:
        if row["outcome"] != "untouched":
            by_reviewer.setdefault(row["reviewer"] or "not known", Counter())[row["outcome"]] += 1
    return QueueOutcome(
        queue_id=queue_id,
        cases=len(rows),
        patients=len({row["patient_id"] for row in rows}),
        groups=[
            _group(words, own)
            for drawn_from, words in GROUPS.items()
            if (own := [row for row in rows if row["drawn_from"] == drawn_from])
        ],
        changes=dict(Counter(changed).most_common()),
        reviewers=[
            {"reviewer": who, **{each: counts[each] for each in OUTCOMES[:-1]}}
            for who, counts in sorted(by_reviewer.items())
        ],
        reasons=workspace.shipped_rows("outcome_by_reason", queue=queue_id),
        patients_known=workspace.rows("select patient_from <> 'none' as known from label_states")[0]["known"],
        rows=rows,
    )


def _group(words: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    counts = Counter(row["outcome"] for row in rows)
    reviewed = len(rows) - counts["untouched"]
    found = math.fsum(row["harm"] for row in rows)
    return {
        "cases": words,
        "number": len(rows),
        **{each: counts[each] for each in OUTCOMES},
        "reviewed": reviewed,
        "harm_per_50": found / reviewed * PER if reviewed else math.nan,
    }
