"""The stage `queue`: which labels to look at again first, patient by patient, and what became of them."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from toolkit.errors import WorkspaceError
from toolkit.files import short_id
from toolkit.manifest import Study
from toolkit.progress import Progress, silent
from toolkit.stages.queue import order
from toolkit.stages.queue.evidence import AUDIT, NOTHING, QueueEvidence, evidence
from toolkit.stages.queue.order import Candidate, QueuedCase
from toolkit.workspace import queues, sql
from toolkit.workspace.locks import one_at_a_time
from toolkit.workspace.registry import Workspace
from toolkit.workspace.runs import find_split

MINUTES = 60.0
"""How long a review takes, unless it is said."""


@dataclass(frozen=True)
class Queue:
    """What to look at: `rows` are those of the table `queue_items`, in their order."""

    queue_id: str
    minutes: float
    minutes_needed: float
    patients: int
    cases: int
    random_patients: int
    random_cases: int
    expected_wrong: float
    """Sum of the probabilities that a label is wrong, over the cases with evidence."""
    chosen_from: dict[str, int]
    reviewed: int
    """Cases that a reviewer has decided already: never proposed again."""
    patients_known: bool
    rows: list[dict[str, Any]]
    is_new: bool


@one_at_a_time("queue")
def queue(workspace: Workspace, study: Study, *, minutes: float = MINUTES, progress: Progress = silent) -> Queue:
    """Make the queue of cases whose labels are worth a reviewer's time, and keep it.

    The same labels, evidence and study give the same queue. Raises WorkspaceError before an audit, and where the time
    is not enough for a case.
    """
    progress("ordering cases", 0, None)
    is_searched = workspace.has_table("label_searches")
    searched = workspace.rows("select inputs_sha256, settings from label_searches") if is_searched else []
    if not searched:
        raise WorkspaceError(
            "no audit has looked for suspect labels yet", place=str(workspace.folder), remedy="toolkit audit"
        )
    section = study.queue
    if not minutes * 60 >= section.seconds_per_case:
        raise WorkspaceError(
            f"{minutes:g} minutes are not enough for one case of {section.seconds_per_case:g} s",
            remedy="give more --minutes, or change [queue] seconds_per_case in the study file",
        )
    with workspace.reading():
        against = evidence(workspace, study)
        candidates = _candidates(workspace, study, against)
    drawn = {"seconds_per_case": section.seconds_per_case, "random_share": section.random_share, "seed": section.seed}
    places = order.queue(candidates, minutes=minutes, **drawn)
    if not places:
        raise WorkspaceError("no label gives a reason to look at it", remedy="give [queue] random_share to draw some")
    truth_id = workspace.rows("select truth_id from label_states")[0]["truth_id"]
    whole = {"patients": len({c.patient_id for c in candidates}), "cases": len(candidates)}
    chosen = [(p.candidate.case_id, p.drawn_from) for p in places]
    more = [] if against.sources == AUDIT else [against.sources]
    queue_id = short_id([truth_id, searched, minutes, drawn, chosen, *more])
    rows = [_item(queue_id, rank, place) for rank, place in enumerate(places, start=1)]
    made = {
        "queue_id": queue_id,
        "made_at": datetime.now(UTC).replace(tzinfo=None),
        "truth_id": truth_id,
        "minutes": minutes,
        **drawn,
        "sources": against.sources,
        **whole,
    }
    is_new = queues.record(workspace, made, rows)
    return _result(workspace, made, rows, is_new=is_new, reviewed=sum(c.is_reviewed for c in candidates))


def _candidates(workspace: Workspace, study: Study, against: QueueEvidence) -> list[Candidate]:
    try:
        split_id = find_split(workspace)
    except WorkspaceError:
        split_id = ""
    malignant = {c.name for c in study.classes if c.malignant}
    found = []
    for row in workspace.rows(sql.statement("queue/candidates"), {"split_id": split_id}):
        own = against.of_case.get(row["case_id"], NOTHING)
        cost = order.harm(row["class_name"], own.suggested_class, own.score, study.report.costs, malignant)
        found.append(Candidate(**row, **own._asdict(), harm=cost))
    return found


def _item(queue_id: str, rank: int, place: QueuedCase) -> dict[str, Any]:
    case = place.candidate
    return {
        "queue_id": queue_id,
        "rank": rank,
        "patient_id": case.patient_id,
        "case_id": case.case_id,
        "random": place.drawn_from is not None,
        "drawn_from": place.drawn_from,
        "class_name": case.class_name,
        "score": case.score,
        "suggested_class": case.suggested_class,
        "probability": case.probability,
        "harm": case.harm,
        "reasons": place.reasons,
        "evidence": case.reasons or None,
    }


def _result(
    workspace: Workspace, made: dict[str, Any], rows: list[dict[str, Any]], *, is_new: bool, reviewed: int
) -> Queue:
    random = [row for row in rows if row["random"]]
    return Queue(
        queue_id=made["queue_id"],
        minutes=made["minutes"],
        minutes_needed=len(rows) * made["seconds_per_case"] / 60,
        patients=len({row["patient_id"] for row in rows}),
        cases=len(rows),
        random_patients=len({row["patient_id"] for row in random}),
        random_cases=len(random),
        expected_wrong=math.fsum(row["score"] for row in rows if not math.isnan(row["score"])),
        chosen_from={name: made[name] for name in ("patients", "cases")},
        reviewed=reviewed,
        patients_known=workspace.rows("select patient_from <> 'none' as known from label_states")[0]["known"],
        rows=rows,
        is_new=is_new,
    )
