"""What is to be sent of a queue: priorities by patient, the reason as an issue at each label, rework."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

from toolkit.files import sha256_of
from toolkit.manifest.cohort import PushSection
from toolkit.stages.push.planned import Items, PlannedCall
from toolkit.stages.push.words import for_annotators
from toolkit.workspace import sql
from toolkit.workspace.pushes import PushItem
from toolkit.workspace.registry import Workspace

MOST_ROWS = 1_000
"""Rows in a call that moves rows: Labelbox states no limit, and does them in one request."""


@dataclass(frozen=True)
class ProjectPlan:
    """What is to be sent of a queue in one project."""

    project_id: str
    project: str
    priorities: Items
    issues: Items
    rework: Items
    contents: dict[str, str]
    """Text of each issue, by its item."""
    statuses: dict[str, int]
    """Photographs by their workflow status at the last pull."""

    def calls(self) -> Iterator[PlannedCall]:
        """Yield the calls in the order in which they are made."""
        for _, group in groupby(self.priorities, key=lambda item: item.value):
            yield PlannedCall("priority", self.project_id, list(group), partial(self.payload, "priority"))
        for issue in self.issues:
            yield PlannedCall("issue", self.project_id, [issue], partial(self.payload, "issue"))
        for start in range(0, len(self.rework), MOST_ROWS):
            batch = self.rework[start : start + MOST_ROWS]
            yield PlannedCall("rework", self.project_id, batch, partial(self.payload, "rework"))

    def payload(self, operation: str, items: Items) -> dict[str, Any]:
        """Return what a call sends: the SDK's method, the project, and the method's arguments."""
        about: dict[str, Any] = {"project_id": self.project_id, "project": self.project}
        if operation == "issue":
            [item] = items
            arguments = {"data_row_id": item.image_id, "label_id": item.label_id, "content": self.contents[item.item]}
            return {"method": "create_issue", **about, **arguments}
        if operation == "priority":
            arguments = {"data_row_ids": row_ids(items), "priority": int(items[0].value or 0)}
            return {"method": "update_data_row_labeling_priority", **about, **arguments}
        arguments = {"data_row_ids": row_ids(items), "task_queue": items[0].value}
        return {"method": "move_data_rows_to_task_queue", **about, **arguments}


def plans_of(workspace: Workspace, settings: PushSection, queue_id: str) -> tuple[list[ProjectPlan], dict[str, int]]:
    """Return what is to be sent of a queue by project, and why cases of it are left out."""
    rows = workspace.rows(sql.statement("push/queue"), {"queue_id": queue_id})
    asked = workspace.rows("select case_id from queue_items where queue_id = $queue_id", {"queue_id": queue_id})
    without = len({row["case_id"] for row in asked} - {row["case_id"] for row in rows})
    hidden = _hidden(workspace)
    plans = [
        _plan(project_id, list(own), settings, queue_id, hidden)
        for project_id, own in groupby(rows, key=lambda row: row["project_id"])
    ]
    return plans, {"no label in the study's projects": without} if without else {}


def _plan(
    project_id: str, rows: list[dict[str, Any]], settings: PushSection, queue_id: str, hidden: tuple[str, ...]
) -> ProjectPlan:
    steps = steps_of(settings)
    patients = {patient: n for n, patient in enumerate(dict.fromkeys(row["patient_id"] for row in rows), start=1)}
    first: dict[str, dict[str, Any]] = {}
    for row in rows:
        first.setdefault(row["image_id"], row)
    issues, contents = [], {}
    for row in rows if "issue" in steps else []:
        mark = sha256_of([queue_id, project_id, row["label_id"], row["case_id"]])[:12]
        issues.append(PushItem(mark, row["image_id"], row["label_id"], row["case_id"]))
        reasons = for_annotators(row["reasons"], (row["case_id"], row["patient_id"], *hidden))
        contents[mark] = " ".join(filter(None, ("Please check this label.", reasons, marked(mark))))
    priority, rework = "priority" in steps, "rework" in steps
    return ProjectPlan(
        project_id,
        rows[0]["project"],
        [PushItem(i, i, value=str(patients[r["patient_id"]])) for i, r in first.items()] if priority else [],
        issues,
        [PushItem(i, i, value=settings.task_queue) for i in first] if rework else [],
        contents,
        dict(sorted(Counter(row["workflow_status"] or "unknown" for row in first.values()).items())),
    )


def steps_of(settings: PushSection) -> tuple[str, ...]:
    """Return what is done with the labels of a queue."""
    if settings.steps is not None:
        return tuple(settings.steps)
    return ("priority", "issue", *(("rework",) if settings.task_queue else ()))


def marked(mark: str) -> str:
    """Return the mark at the end of an issue, by which it is found again."""
    return f"[lesion-toolkit {mark}]"


def _hidden(workspace: Workspace) -> tuple[str, ...]:
    """Return what no annotator reads: IDs of runs, names of models."""
    runs = workspace.rows("select run_id, model from runs")
    return tuple(sorted({text for row in runs for text in (row["run_id"], row["model"]) if text}))


def row_ids(items: Items) -> list[str]:
    """Return the data rows that items are about, each once, in order."""
    return sorted({item.image_id for item in items if item.image_id})


def said_of(settings: PushSection, plans: list[ProjectPlan]) -> tuple[list[str], list[str]]:
    """Return what the study must still say, and what a reader of the plan must know."""
    steps = steps_of(settings)
    missing = ["[labelbox.push] task_queue: the ID of the step that rework goes to; --apply lists them"]
    notes = []
    if "rework" in steps:
        notes.append("rework: how each photograph stands is asked just before; one that is in rework already stays")
    elif "priority" in steps:
        notes.append("priority only orders photographs that wait to be labeled: without rework, done ones stay done")
    if "issue" in steps:
        notes.append("an issue is not opened where one with its mark is there")
    statuses: Counter[str] = Counter()
    for plan in plans:
        statuses.update(plan.statuses)
    return (missing if "rework" in steps and not settings.task_queue else []), notes
