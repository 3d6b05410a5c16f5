"""The stage `push`: a queue, predictions or metadata to Labelbox; without `apply` it only says what would be sent.

What is about to be sent is noted before each call, and its answer after it; the same command goes on where it ended.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from toolkit.labelbox_service.patience import Patience
from toolkit.manifest import Study
from toolkit.progress import Progress, silent
from toolkit.stages.push import queue_plan
from toolkit.workspace.locks import beside_others
from toolkit.workspace.pushes import DONE, PushJournal, PushName
from toolkit.workspace.registry import Workspace


@dataclass(frozen=True)
class Pushed:
    """What a push sent, or without `applied` would send."""

    what: str
    subject: str
    push_id: str
    applied: bool
    calls: list[dict[str, Any]]
    """The calls that would be made, or were to be made now: method and arguments, nothing else is sent."""
    sent_before: int
    """Things that were sent by an earlier push of the same, and are not sent again."""
    states: dict[str, dict[str, int]]
    """After it was applied: things by operation and state."""
    problems: dict[str, int] = field(default_factory=dict)
    """What Labelbox or the toolkit says of things that were not sent, and of how many."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Why cases have no part in it, and how many."""
    missing: list[str] = field(default_factory=list)
    """What the study must say before it can be applied."""
    notes: list[str] = field(default_factory=list)
    next: str = ""


def push_queue(
    workspace: Workspace,
    study: Study,
    queue_id: str | None = None,
    *,
    apply: bool = False,
    patience: Patience = Patience(),  # noqa: B008 - it is frozen
    progress: Progress = silent,
) -> Pushed:
    """Send a queue's priorities, reasons and rework to Labelbox; without `apply`, return what would be sent.

    `queue_id` None is the newest queue. Raises ServiceError where Labelbox refuses; what was sent stays noted, and the
    same call goes on.
    """
    settings = study.labelbox.push
    name = PushName("queue", queue_plan.find_queue(workspace, queue_id))
    plans, left_out = queue_plan.plans_of(workspace, settings, name.subject)
    if not apply:
        journal = PushJournal(workspace, name)
        calls, before = _planned(journal, plans)
        missing, notes = queue_plan.said_of(settings, plans)
        return Pushed(
            "queue", name.subject, name.id, False, calls, before, {}, left_out=left_out, missing=missing, notes=notes,
            next=f"toolkit push queue {name.subject} --apply",
        )  # fmt: skip
    from toolkit.labelbox_service.connection import api_key  # noqa: PLC0415 - it imports the SDK
    from toolkit.labelbox_service.sending import SendingService  # noqa: PLC0415 - it imports the SDK
    from toolkit.stages.push.queue_sender import QueueSender  # noqa: PLC0415 - it imports the SDK
    from toolkit.stages.push.sender import Sender  # noqa: PLC0415 - it imports the SDK

    service = SendingService(study.pull, api_key(), patience)
    with beside_others(workspace.folder, "push", "push", progress=progress):
        journal = PushJournal(workspace, name)
        calls, before = _planned(journal, plans)
        sender = Sender(journal, patience, progress)
        senders = [QueueSender(service, plan, sender, minutes=study.pull.timeout) for plan in plans]
        task_queues = [each.task_queue(settings) for each in senders]  # all are known before anything is sent
        try:
            for each, task_queue in zip(senders, task_queues, strict=True):
                each.send(task_queue)
        finally:
            journal.mirror()
    return applied(journal, calls, before, left_out=left_out, next_step="toolkit pull --since last")


def applied(
    journal: PushJournal, calls: list[dict[str, Any]], before: int, *, left_out: dict[str, int], next_step: str
) -> Pushed:
    """Return what became of a push."""
    states: dict[str, Counter[str]] = {}
    problems: Counter[str] = Counter()
    for row in journal.rows():
        states.setdefault(row["operation"], Counter())[row["state"]] += 1
        if row["state"] != "sent":
            problems[row["answer"] or "no answer has come"] += 1
    counts = {operation: dict(sorted(counted.items())) for operation, counted in states.items()}
    return Pushed(
        journal.name.kind, journal.name.subject, journal.name.id, True, calls, before, counts,
        problems=dict(sorted(problems.items())), left_out=left_out, next=next_step,
    )  # fmt: skip


def _planned(journal: PushJournal, plans: list[queue_plan.ProjectPlan]) -> tuple[list[dict[str, Any]], int]:
    """Return the calls that are left to be made, and how many things were sent before."""
    calls, before = [], 0
    for plan in plans:
        for operation, batch in plan.batches():
            left = [item for item in batch if journal.state(operation, plan.project_id, item) not in DONE]
            before += len(batch) - len(left)
            if left:
                calls.append(plan.payload(operation, left))
    return calls, before
