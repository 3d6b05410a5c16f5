"""A queue sent to Labelbox, project by project."""

from dataclasses import replace
from functools import partial
from itertools import groupby
from typing import Any

from toolkit.errors import ServiceError
from toolkit.labelbox_service.sending import RowState, SendingService, TaskQueue
from toolkit.manifest.cohort import PushSection
from toolkit.stages.push.planned import Items
from toolkit.stages.push.queue_plan import MOST_ROWS, ProjectPlan, marked, row_ids, steps_of
from toolkit.stages.push.sender import GONE, Sender, Step
from toolkit.workspace.pushes import PushCall, PushJournal

IN_REWORK = "IN_REWORK"
NOT_YET = "TO_LABEL"
"""Status of a row that was not labeled: there is nothing to do again."""
NOT_MOVED: list[str | None] = ["failed", "it was not moved"]


class QueueSender:
    """Sends what is to be sent of a queue in one project."""

    def __init__(self, service: SendingService, plan: ProjectPlan, sender: Sender, *, minutes: int) -> None:
        self.service, self.plan, self.sender, self.minutes = service, plan, sender, minutes
        self.journal: PushJournal = sender.journal
        self.project = service.project(plan.project_id)

    def task_queue(self, settings: PushSection) -> TaskQueue | None:
        """Return the step that rework goes to, None without rework; raise ServiceError, with the list, for none."""
        if "rework" not in steps_of(settings):
            return None
        return choose(self.service.task_queues(self.project), settings.task_queue, self.plan.project)

    def send(self, task_queue: TaskQueue | None) -> None:
        """Send priorities, then issues, then rows to rework: who gets a row finds the reason at it."""
        priority = self._priority()
        self.sender.settle(priority)
        for _, group in groupby(self.plan.priorities, key=lambda item: item.value):
            self.sender.run(priority, list(group), most=MOST_ROWS)
        self.sender.run(self._issue(), self.plan.issues, most=1)
        if task_queue is not None:
            items = [replace(item, value=task_queue.id) for item in self.plan.rework]
            self.sender.run(self._rework(task_queue), items, most=MOST_ROWS)

    def _step(self, operation: str, **how: Any) -> Step:
        payload = partial(self.plan.payload, operation)
        return Step(operation, self.plan.project_id, payload=payload, **how)

    def _priority(self) -> Step:
        def send(items: Items) -> str:
            return self.service.start_priority(self.project, row_ids(items), int(items[0].value or 0))

        def found(items: Items) -> dict[str, str]:
            now = self._rows_now(items)
            return {i.item: "" for i in items if i.image_id in now and str(now[i.image_id].priority) == i.value}

        return self._step("priority", send=send, found=found, end=self._end)

    def _issue(self) -> Step:
        def send(items: Items) -> str:
            [item] = items
            content = self.plan.contents[item.item]
            return self.service.create_issue(self.project, content, item.image_id or "", item.label_id or "")

        def found(items: Items) -> dict[str, str]:
            asked = {i.item: self.service.marked_issue(self.project, i.image_id or "", marked(i.item)) for i in items}
            return {name: issue for name, issue in asked.items() if issue}

        def prepare(items: Items) -> Items:
            """Leave out what is there: it was sent from a copy of this workspace, or before its notes were lost."""
            there = found(items)
            for item in items:
                if item.item in there:
                    self.journal.skipped("issue", self.plan.project_id, [item], f"it is there: {there[item.item]}")
            return [item for item in items if item.item not in there]

        return self._step("issue", send=send, found=found, prepare=prepare)

    def _rework(self, queue: TaskQueue) -> Step:
        def send(items: Items) -> str:
            return self.service.start_rework(self.project, row_ids(items), queue.id)

        def found(items: Items) -> dict[str, str]:
            now = self._rows_now(items)
            return {i.item: "" for i in items if i.image_id in now and _was_moved(now[i.image_id], queue, i.before)}

        def not_left_behind(items: Items) -> dict[str, str]:
            now = self._rows_now(items)
            return {i.item: "" for i in items if not _was_not_moved(now.get(i.image_id or ""), queue, i.before)}

        def prepare(items: Items) -> Items:
            now = self._rows_now(items)
            for reason, group in _not_needed(items, now, queue).items():
                self.journal.skipped("rework", self.plan.project_id, group, reason)
            left = [i for i in items if self.journal.state("rework", self.plan.project_id, i) != "skipped"]
            return [replace(item, before=_before(now[item.image_id or ""])) for item in left]

        def end(call: PushCall) -> tuple[str, str | None, dict[str, list[str | None]]]:
            state, answer, apart = self._end(call)
            if state == "sent":
                gone = self.sender.seen(not_left_behind, call.items, seconds=self.sender.patience.settle)
                apart = {item.item: NOT_MOVED for item in call.items if item.item not in gone}
            return state, answer, apart

        return self._step("rework", send=send, found=found, prepare=prepare, end=end)

    def _end(self, call: PushCall) -> tuple[str, str | None, dict[str, list[str | None]]]:
        """Wait for a task; one that was cancelled or is gone says nothing of what was done."""
        status, error = self.service.task_end(call.service_id or "", minutes=self.minutes, what=call.operation)
        if status in ("COMPLETE", "FAILED"):
            return "sent" if status == "COMPLETE" else "failed", error, {}
        return GONE, None, {}

    def _rows_now(self, items: Items) -> dict[str, RowState]:
        return self.service.rows_now(self.project, row_ids(items), minutes=self.minutes)


def choose(queues: list[TaskQueue], wanted: str | None, project: str) -> TaskQueue:
    """Return the task queue of this ID or name; raise ServiceError, with the list, where it is not one."""
    own = [q for q in queues if q.id == wanted] or [q for q in queues if q.name == wanted]
    if wanted and len(own) == 1:
        return own[0]
    listed = "; ".join(map(str, queues)) or "none"
    problem = "rework needs a task queue: [labelbox.push] task_queue names none"
    if wanted:
        problem = f"{len(own)} task queues are" if own else "no task queue is"
        problem += f" named {wanted!r} in project {project!r}"
    raise ServiceError(problem, remedy=f"set [labelbox.push] task_queue to the ID of one of these: {listed}")


def _not_needed(items: Items, now: dict[str, RowState], queue: TaskQueue) -> dict[str, Items]:
    """Return the items that need not be sent to rework, by reason, as their rows stand now."""
    reasons: dict[str, Items] = {}
    for item in items:
        row = now.get(item.image_id or "")
        if row is None:
            reason = "Labelbox has no such row in this project any more"
        elif row.status == NOT_YET:
            reason = "it waits to be labeled: there is nothing to do again"
        elif row.status == IN_REWORK or (row.steps and _leads_to(row.steps[0], queue)):
            reason = "it is in rework already"
        else:
            continue
        reasons.setdefault(reason, []).append(item)
    return reasons


def _leads_to(step: dict[str, Any], queue: TaskQueue) -> bool:
    return queue.id == step.get("next_task_id") or (
        not step.get("next_task_id") and queue.name == step.get("next_task_name")
    )


def _before(row: RowState) -> dict[str, Any]:
    """Return how a row stands, to tell later whether it was moved since."""
    return {"status": row.status, "steps": len(row.steps)}


def _was_not_moved(row: RowState | None, queue: TaskQueue, before: dict[str, Any]) -> bool:
    """Tell whether a row, as it stands after a move, has surely not gone; without a history, only its status tells."""
    return row is None or (bool(row.steps) and not _was_moved(row, queue, before))


def _was_moved(row: RowState, queue: TaskQueue, before: dict[str, Any]) -> bool:
    """Tell whether a row has gone to a task queue since, even if it has left it again."""
    new = row.steps[: max(len(row.steps) - before.get("steps", 0), 0)]
    return any(_leads_to(step, queue) for step in new) or IN_REWORK == row.status != before.get("status")
