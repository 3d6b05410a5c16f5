"""The stage `push`: a queue, predictions or metadata to Labelbox; without `apply` it only says what would be sent.

What is about to be sent is noted before each call, and its answer after it; the same command goes on where it ended.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from toolkit.labelbox_service.patience import Patience
from toolkit.manifest import Study
from toolkit.progress import Progress, silent
from toolkit.stages.push import metadata, predictions, queue_plan
from toolkit.stages.push.planned import PlannedCall, left_of
from toolkit.workspace.locks import beside_others
from toolkit.workspace.pushes import PushJournal, PushName
from toolkit.workspace.queues import find_queue
from toolkit.workspace.registry import Workspace
from toolkit.workspace.runs import find_run, find_split

if TYPE_CHECKING:
    from toolkit.stages.push.sender import Sender


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
    states: dict[str, dict[str, int]] = field(default_factory=dict)
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
    queue_id: str = "latest",
    *,
    apply: bool = False,
    patience: Patience = Patience(),  # noqa: B008 - it is frozen
    progress: Progress = silent,
) -> Pushed:
    """Send a queue's priorities, reasons and rework to Labelbox; without `apply`, return what would be sent.

    `queue_id` "latest" is the newest queue. Raises ServiceError where Labelbox refuses; what was sent stays noted, and
    the same call goes on.
    """
    settings = study.labelbox.push
    name = PushName("queue", find_queue(workspace, queue_id))
    plans, left_out = queue_plan.plans_of(workspace, settings, name.subject)
    calls = [call for plan in plans for call in plan.calls()]
    if not apply:
        missing, notes = queue_plan.said_of(settings, plans)
        command = f"toolkit push queue {name.subject} --apply"
        return _dry_run(workspace, name, calls, left_out=left_out, missing=missing, notes=notes, next=command)
    from toolkit.labelbox_service.connection import api_key  # noqa: PLC0415 - it imports the SDK
    from toolkit.labelbox_service.sending import SendingService  # noqa: PLC0415 - it imports the SDK
    from toolkit.stages.push.queue_sender import QueueSender  # noqa: PLC0415 - it imports the SDK

    service = SendingService(study.pull, api_key(), patience)

    def send(sender: "Sender") -> None:
        senders = [QueueSender(service, plan, sender, minutes=study.pull.timeout) for plan in plans]
        task_queues = [each.task_queue(settings) for each in senders]  # all are known before anything is sent
        for each, task_queue in zip(senders, task_queues, strict=True):
            each.send(task_queue)

    return _applied(workspace, name, calls, send, Push(patience, progress, left_out, "toolkit pull --since last"))


def push_metadata(
    workspace: Workspace,
    study: Study,
    *,
    apply: bool = False,
    patience: Patience = Patience(),  # noqa: B008 - it is frozen
    progress: Progress = silent,
) -> Pushed:
    """Write subsets of the newest split and pseudonyms as metadata at Labelbox, as far as the study allows.

    Without `apply`, return what would be written; where the study allows nothing, that is all there is.
    """
    allowed = list(study.labelbox.push.metadata)
    name = PushName("metadata", find_split(workspace))
    fields = metadata.items_of(workspace, allowed, name.subject)
    calls = list(metadata.planned(fields))
    if not (apply and fields):
        nothing = 'nothing is allowed: [labelbox.push] metadata lists what may be written, such as ["part"]'
        command = "toolkit push metadata --apply" if fields else ""
        return _dry_run(workspace, name, calls, missing=[] if fields else [nothing], next=command)
    from toolkit.labelbox_service.connection import api_key  # noqa: PLC0415 - it imports the SDK
    from toolkit.labelbox_service.metadata import MetadataService  # noqa: PLC0415 - it imports the SDK
    from toolkit.stages.push.metadata_sender import send_field  # noqa: PLC0415 - it imports the SDK

    service = MetadataService(study.pull, api_key(), patience)

    def send(sender: "Sender") -> None:
        for field_name, items in fields.items():
            send_field(service, sender, field_name, items)

    return _applied(workspace, name, calls, send, Push(patience, progress, {}, ""))


def push_predictions(
    workspace: Workspace,
    study: Study,
    run: str = "latest",
    *,
    apply: bool = False,
    patience: Patience = Patience(),  # noqa: B008 - it is frozen
    progress: Progress = silent,
) -> Pushed:
    """Send a run's predictions to a model run at Labelbox, with the probability of every class and the splits.

    Without `apply`, return what would be sent. Raises WorkspaceError for a run without predictions.
    """
    name = PushName("predictions", find_run(workspace, run))
    plan, left_out = predictions.plan_of(workspace, study, name.subject)
    calls = list(plan.calls())
    if not apply:
        command = f"toolkit push predictions {name.subject} --apply"
        return _dry_run(workspace, name, calls, left_out=left_out, next=command)
    from toolkit.labelbox_service.connection import api_key  # noqa: PLC0415 - it imports the SDK
    from toolkit.labelbox_service.model_runs import ModelRunService  # noqa: PLC0415 - it imports the SDK
    from toolkit.stages.push.predictions_sender import RunSender  # noqa: PLC0415 - it imports the SDK

    service = ModelRunService(study.pull, api_key(), patience)

    def send(sender: "Sender") -> None:
        RunSender(service, plan, sender, minutes=study.pull.timeout).send()

    return _applied(workspace, name, calls, send, Push(patience, progress, left_out, ""))


def _dry_run(workspace: Workspace, name: PushName, calls: list[PlannedCall], **said: Any) -> Pushed:
    """Return what would be sent."""
    left, before = left_of(PushJournal(workspace, name), calls)
    return Pushed(name.kind, name.subject, name.id, applied=False, calls=left, sent_before=before, **said)


class Push(NamedTuple):
    """How a push is made, and what is said of it beside what was sent."""

    patience: Patience
    progress: Progress
    left_out: dict[str, int]
    next: str


def _applied(
    workspace: Workspace, name: PushName, calls: list[PlannedCall], send: "Callable[[Sender], None]", push: Push
) -> Pushed:
    """Send, and return what became of it; the registry and the ledger are told in any case."""
    from toolkit.stages.push.sender import Sender  # noqa: PLC0415 - it imports the SDK

    with beside_others(workspace.folder, "push", "push", progress=push.progress):
        journal = PushJournal(workspace, name)
        left, before = left_of(journal, calls)
        try:
            send(Sender(journal, push.patience, push.progress))
        finally:
            journal.mirror()
    states: dict[str, Counter[str]] = {}
    problems: Counter[str] = Counter()
    for row in journal.rows():
        states.setdefault(row["operation"], Counter())[row["state"]] += 1
        if row["state"] != "sent":
            problems[row["answer"] or "no answer has come"] += 1
    counts = {operation: dict(sorted(counted.items())) for operation, counted in states.items()}
    said: dict[str, Any] = {"problems": dict(sorted(problems.items())), "left_out": push.left_out, "next": push.next}
    return Pushed(name.kind, name.subject, name.id, applied=True, calls=left, sent_before=before, states=counts, **said)
