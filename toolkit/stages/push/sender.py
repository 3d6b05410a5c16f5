"""The order of sending: note it, send it, note the answer; where none came, ask before anything is sent again."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from toolkit.errors import ServiceError
from toolkit.labelbox_service.connection import UnclearError
from toolkit.labelbox_service.patience import PassingError, Patience
from toolkit.progress import Progress
from toolkit.stages.push.planned import Items
from toolkit.workspace.pushes import DONE, PushCall, PushJournal

GONE = "GONE"
FOUND = "found at Labelbox: the answer had not come"


@dataclass(frozen=True)
class Step:
    """One operation on one target, and how it is done.

    `send` makes the call and returns Labelbox's ID of what it made; `found` asks which items are there already, each
    with that ID; `prepare` returns what is still to be sent, as it stands just before; `end` waits for what was started
    and returns its state, its words, and the states and words of items that fared otherwise.
    """

    operation: str
    target: str
    payload: Callable[[Items], dict[str, Any]]
    send: Callable[[Items], str]
    found: Callable[[Items], dict[str, str]]
    prepare: Callable[[Items], Items] = lambda items: items
    end: Callable[[PushCall], tuple[str, str | None, dict[str, list[str | None]]]] = lambda _: ("sent", None, {})
    repeatable: bool = False
    """Whether sending it again changes nothing; then nobody is asked."""


class Sender:
    """Sends the items of steps, each once."""

    def __init__(self, journal: PushJournal, patience: Patience, progress: Progress) -> None:
        self.journal, self.patience, self.progress = journal, patience, progress

    def settle(self, step: Step) -> None:
        """Find out what became of the calls of a step that an interruption left open."""
        for call in self.journal.open_calls(step.operation, step.target):
            self._resolve(step, call)

    def run(self, step: Step, items: Items, *, most: int) -> None:
        """Send what has not been sent yet, at most so many items in a call."""
        self.settle(step)
        left = [i for i in items if self.journal.state(step.operation, step.target, i) not in DONE]
        for start in range(0, len(left), most):
            self.progress(f"sending: {step.operation}", start, len(left))
            self._send(step, left[start : start + most])

    def _send(self, step: Step, items: Items) -> None:
        for turn in range(self.patience.tries):
            items = step.prepare(items) if items else []
            if not items:
                return
            call = self.journal.about_to_send(step.operation, step.target, items, step.payload(items))
            try:
                service_id = step.send(items)
            except PassingError as error:
                reason = str(error)
                self.patience.pause(turn)
                self._resolve(step, call)
                items = [i for i in items if self.journal.state(step.operation, step.target, i) not in DONE]
            except UnclearError:
                raise
            except ServiceError as error:
                self.journal.ended(call, "failed", error.problem)
                raise
            else:
                self.journal.started(call, service_id)
                self._finish(step, call)
                return
        if items:
            raise ServiceError(
                f"Labelbox cannot be asked: {reason}",
                remedy="look at the network and https://status.labelbox.com, then run the same command: it goes on",
            )

    def _finish(self, step: Step, call: PushCall) -> None:
        state, answer, apart = step.end(call)
        if state == GONE:
            self._ask(step, call)
            return
        self.journal.ended(call, state, answer, apart=apart)
        if state == "failed":
            raise ServiceError(
                f"Labelbox could not do it ({step.operation}): {answer or 'it does not say why'}",
                place=f"task {call.service_id}" if call.service_id else None,
                remedy="look in Labelbox, then run the same command again: what was done is not done twice",
            )

    def _resolve(self, step: Step, call: PushCall) -> None:
        """Find out what became of a call whose answer did not come."""
        if call.service_id is None:
            self._ask(step, call)
            return
        state, answer, apart = step.end(call)
        if state == GONE:
            self._ask(step, call)
        else:
            self.journal.ended(call, state, answer, apart=apart)

    def seen(self, found: Callable[[Items], dict[str, str]], items: Items, *, seconds: float) -> dict[str, str]:
        """Ask which items are there, until all are or those that are not would be seen: at most so many seconds."""
        left, pause = seconds, self.patience.poll
        while True:
            self.progress("asking Labelbox what it has", 0, None)
            there = found(items) if items else {}
            if len(there) == len(items) or left <= 0:
                return there
            wait = min(pause, left)
            self.patience.sleep(wait)
            left, pause = left - wait, pause * 1.5

    def _ask(self, step: Step, call: PushCall) -> None:
        """Find out by asking for its items whether a call arrived."""
        if step.repeatable:
            self.journal.ended(call, "not_sent", "it is not known whether it arrived; sent again it changes nothing")
            return
        since = (datetime.now(UTC).replace(tzinfo=None) - call.at).total_seconds()
        seconds = min(max(self.patience.settle - since, 0.0), self.patience.settle)
        found = self.seen(step.found, call.items, seconds=seconds)
        ids = sorted(set(filter(None, found.values())))
        one = ids[0] if len(ids) == 1 else None
        if len(found) == len(call.items):
            self.journal.ended(call, "sent", FOUND, service_id=one)
        else:
            apart: dict[str, list[str | None]] = {name: ["sent", FOUND] for name in found}
            self.journal.ended(call, "not_sent", "it had not arrived", apart=apart, service_id=one)
