"""What became of labels and photographs in Labelbox: reviews of labels, steps of the workflow, open issues."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from toolkit.labelbox_json import shapes
from toolkit.labelbox_json.links import time_of
from toolkit.labelbox_json.staging_tables import Review, WorkflowStep
from toolkit.privacy import scrub

Pseudonym = Callable[[str], str]
"""Gives a person's pseudonym by what Labelbox calls them."""
REMEMBERED = 10_000
OPEN_ISSUES = "has_open_issues"
"""The step that stands for the legacy export's flag."""


def reviews_of(label: shapes.Label, image_id: str, person: Pseudonym) -> Iterator[Review]:
    """Yield the reviews of a label, in the order of the export."""
    written = label.label_details.reviews
    yield from _reviews(written, label.id, image_id, person)


def reviews_of_entry(entry: dict, image_id: str, person: Pseudonym) -> list[Review]:
    """Return the reviews of a legacy entry's label."""
    return list(_reviews(entry.get("Reviews"), str(entry.get("ID")), image_id, person))


def steps_of(project: shapes.Project, project_id: str, image_id: str, person: Pseudonym) -> Iterator[WorkflowStep]:
    """Yield a photograph's steps in a project's workflow, in the order of the export: newest first."""
    for position, step in enumerate(shapes.dicts(project.project_details.workflow_history)):
        yield WorkflowStep(
            image_id=image_id,
            project_id=project_id,
            label_id=None,
            position=position,
            action=_word(step.get("action")) or "unknown",
            acted_at=when(step.get("created_at")),
            annotator=_who(step.get("created_by"), person),
            from_task=_word(step.get("previous_task_name")),
            to_task=_word(step.get("next_task_name")),
        )


def open_issues_of_entry(entry: dict, row: shapes.Row) -> list[WorkflowStep]:
    """Return a step where a legacy entry says that its label has open issues."""
    if entry.get("Has Open Issues") in (None, 0, False, ""):
        return []
    project_id = next(iter(row.projects))
    own = (row.data_row.id, project_id, str(entry.get("ID")))
    return [WorkflowStep(*own, 0, OPEN_ISSUES, None, None, None, None)]


def _reviews(written: Any, label_id: str, image_id: str, person: Pseudonym) -> Iterator[Review]:
    for position, review in enumerate(shapes.dicts(written)):
        score = review.get("score")
        times = (review.get(name) for name in ("reviewed_at", "created_at", "createdAt"))
        who = (review.get(name) for name in ("reviewed_by", "created_by", "createdBy"))
        yield Review(
            label_id=label_id,
            image_id=image_id,
            position=position,
            review_id=_word(review.get("id")),
            score=float(score) if isinstance(score, int | float) and not isinstance(score, bool) else None,
            reviewed_at=next(filter(None, map(when, times)), None),
            reviewer=next((found for each in who if (found := _who(each, person))), None),
        )


def when(text: Any) -> datetime | None:
    """Return a time in UTC without its zone; None for what is no time."""
    moment = time_of(text)
    return moment and _in_utc(moment)


def _in_utc(moment: datetime) -> datetime | None:
    try:
        return (moment if moment.tzinfo is UTC else moment.astimezone(UTC)).replace(tzinfo=None)
    except OverflowError:
        return None


def _who(written: Any, person: Pseudonym) -> str | None:
    """Return a person's pseudonym, the same as an annotator's; a person may be an object with an e-mail address."""
    if isinstance(written, dict):
        written = written.get("email") or written.get("id")
    return person(written) if isinstance(written, str) and written.strip() else None


def _word(text: Any) -> str | None:
    return _scrubbed(text) if isinstance(text, str) and text else None


_scrubbed = lru_cache(maxsize=REMEMBERED)(scrub)
