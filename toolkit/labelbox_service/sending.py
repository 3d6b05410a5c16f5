"""What is sent back to Labelbox through its SDK: rework, priorities, issues, and how rows stand there now.

The SDK waits for what it starts, for five minutes at most, and does not say for what; here a task's ID is returned at
once. What fails in passing is not sent again here: it may have been done, and only who knows what to look for can ask.
"""

import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from labelbox import UniqueIds
from labelbox.schema.task import Task
from lbox import exceptions

from toolkit.errors import ServiceError
from toolkit.labelbox_service.exports import ExportService, ExportSource
from toolkit.labelbox_service.patience import NotTakenError

T = TypeVar("T")
WAITING = ("IN_PROGRESS", "CANCELLING", "UNKNOWN")
ROW_PARAMS = {"project_details": True}


class TaskQueue(NamedTuple):
    """A step of a project's workflow."""

    id: str
    name: str
    kind: str
    rows: int | None

    def __str__(self) -> str:
        return f"{self.name} ({self.kind}, ID {self.id})"


@dataclass(frozen=True)
class RowState:
    """How a data row stands in a project: its priority, its status, its steps so far, newest first."""

    status: str | None
    priority: int | None
    steps: list[dict[str, Any]]


class _Done(NamedTuple):
    """What the SDK gets in place of a task that it would wait for."""

    status: str = "COMPLETE"
    errors: None = None


class SendingService(ExportService):
    """Changes to projects, and questions about what became of them."""

    def project(self, project_id: str) -> Any:
        """Return the SDK's project of an ID."""
        return self.get("project", project_id, lambda: self.client.get_project(project_id))

    def send(self, call: Callable[[], T]) -> T:
        """Change something once; only what a rate limit has kept out is sent again.

        Raises PassingError where it is not known whether it was done, ServiceError where it was refused.
        """
        for turn in range(self.patience.tries - 1):
            try:
                return self.once(call)
            except NotTakenError:
                self.patience.pause(turn)
        try:
            return self.once(call)
        except NotTakenError as error:
            raise ServiceError(
                f"Labelbox takes no more: {error}",
                place=self.endpoint,
                remedy="wait some minutes, then run the same command: it goes on",
            ) from None

    def task_queues(self, project: Any) -> list[TaskQueue]:
        """Return the steps of a project's workflow."""
        queues = self.ask(project.task_queues)
        return [TaskQueue(q.uid, str(q.name), str(q.queue_type), q.data_row_count) for q in queues]

    def start_rework(self, project: Any, row_ids: list[str], task_queue_id: str) -> str:
        """Send rows back to a step of the workflow; return the task that does it."""
        if not task_queue_id:
            raise ValueError("no task queue: Labelbox would take that for Done")
        rows = UniqueIds(row_ids)
        return self._started(project, lambda: project.move_data_rows_to_task_queue(rows, task_queue_id))

    def start_priority(self, project: Any, row_ids: list[str], priority: int) -> str:
        """Give rows a priority, lower for sooner; return the task that does it."""
        rows = UniqueIds(row_ids)
        return self._started(project, lambda: project.update_data_row_labeling_priority(rows, priority))

    def _started(self, project: Any, call: Callable[[], object]) -> str:
        """Return the task that a method of the SDK starts, and let it not wait for it."""
        started: list[str] = []

        def keep(task_id: str) -> _Done:
            started.append(task_id)
            return _Done()

        project._wait_for_task = keep  # noqa: SLF001 - the SDK waits 300 s and then loses the ID
        self.send(call)
        return started[0]

    def task_end(self, task_id: str, *, minutes: int, what: str) -> tuple[str, str | None]:
        """Wait for a task; return its status, None-like GONE where Labelbox has it no more, and its error's words."""
        waited, pause = 0.0, self.patience.poll
        while True:
            try:
                task = self.ask(lambda: Task.get_task(self.client, task_id))
            except exceptions.ResourceNotFoundError:
                return "GONE", None
            if task.status not in WAITING:
                return task.status, self._error_of(task)
            if waited >= 60 * minutes:
                raise ServiceError(
                    f"Labelbox has not ended the task within {minutes} min: {what}",
                    place=f"task {task_id}",
                    remedy="run the same command again: it goes on waiting for this task; [pull] timeout is how long",
                )
            self.patience.sleep(pause)
            waited, pause = waited + pause, min(pause * 1.5, 5 * self.patience.poll)

    def _error_of(self, task: Task) -> str | None:
        """Return the words of a failed task: JSON in its result, where there is any."""
        if task.status == "COMPLETE":
            return None
        try:
            said = json.loads(task.result_url or "null")
        except ValueError:
            said = task.result_url
        return self.safe(Exception(said if isinstance(said, str) else json.dumps(said))) if said else None

    def create_issue(self, project: Any, content: str, row_id: str, label_id: str) -> str:
        """Open an issue at a label; return its ID."""
        return self.send(lambda: project.create_issue(content, row_id, label_id)).id

    def marked_issue(self, project: Any, row_id: str, mark: str) -> str | None:
        """Return the ID of a row's issue whose text holds a mark, open or resolved; None where there is none."""
        pages = self.ask(lambda: project.get_issues(data_row_id=row_id))
        pages.paginator.obj_class = lambda _, issue: issue  # the SDK cannot read an issue of a new kind
        for issue in self._all(pages):
            if mark in str(issue.get("content")):
                return str(issue["id"])
        return None

    def _all(self, pages: Any) -> Iterator[Any]:
        """Yield everything; an empty page does not end it, as it does in the SDK."""
        while True:
            thing = self.ask(lambda: next(pages, None))
            if thing is not None:
                yield thing
            elif not pages.paginator.next_cursor:
                return

    def rows_now(self, project: Any, row_ids: list[str], *, minutes: int) -> dict[str, RowState]:
        """Return how rows stand in a project now, by an export of nothing else; what is not in it is left out."""
        source = ExportSource("project", project.uid, project)
        task = self.start(source, {"data_row_ids": sorted(row_ids)}, params=ROW_PARAMS)
        status, error = self.task_end(task, minutes=minutes, what="an export of how rows stand")
        if status != "COMPLETE":
            raise ServiceError(
                f"Labelbox could not say how rows stand: its task is {status}{f': {error}' if error else ''}",
                place=f"task {task}",
                remedy="run the same command again: it goes on",
            )
        found = (_row_state(row, project.uid) for row in self._rows(task))
        return {row_id: state for row_id, state in found if row_id in row_ids}

    def _rows(self, task: str) -> Iterator[dict[str, Any]]:
        """Yield the rows of a small export."""
        known = self.export_task(task)
        size = self.sizes(known).size if known else 0
        with tempfile.TemporaryFile() as file:
            while (offset := file.seek(0, 2)) < size:

                def attempt(offset: int = offset) -> None:
                    file.seek(offset)
                    file.truncate()
                    self.copy(self.chunk(task, "RESULT", offset), file, offset=offset)

                self.ask(lambda attempt=attempt: attempt())
            file.seek(0)
            yield from (json.loads(line) for line in file if line.strip())


def _row_state(row: dict[str, Any], project_id: str) -> tuple[str, RowState]:
    details = (row.get("projects") or {}).get(project_id, {}).get("project_details") or {}
    steps = [step for step in details.get("workflow_history") or [] if isinstance(step, dict)]
    priority = details.get("priority")
    own = RowState(details.get("workflow_status"), priority if isinstance(priority, int) else None, steps)
    return str(row["data_row"]["id"]), own
