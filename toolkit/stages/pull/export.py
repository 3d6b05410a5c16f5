"""One export that is pulled: started or resumed, waited for, downloaded, landed, its photographs fetched."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from toolkit.errors import ServiceError, ToolkitError
from toolkit.labelbox_json.links import facts_of, links_of
from toolkit.labelbox_service.exports import ExportService, ExportSource, Sizes
from toolkit.manifest import Study
from toolkit.progress import Progress
from toolkit.stages.pull import PulledExport, download
from toolkit.stages.pull.download import DownloadState
from toolkit.stages.pull.fetch import Rules
from toolkit.stages.pull.photographs import Fetched, fetch_all
from toolkit.workspace.label_versions import Version, add_versions, versions
from toolkit.workspace.landed import Landed, land, landed_exports, note_issues
from toolkit.workspace.registry import Workspace

WAITING = ("IN_PROGRESS", "CANCELLING", "UNKNOWN")


class Filters(NamedTuple):
    """What keeps withdrawn patients out: of a landed export, and of the versions of labels, by their photographs."""

    filter_landed: Callable[[Landed], Landed | None]
    is_withdrawn: Callable[[str], bool]


class Export:
    """An export on its way into the workspace."""

    def __init__(
        self,
        workspace: Workspace,
        study: Study,
        service: ExportService,
        source: ExportSource,
        filters: Filters,
        progress: Progress,
    ) -> None:
        self.workspace, self.study, self.service = workspace, study, service
        self.source, self.filters, self.progress = source, filters, progress

    def pull(self, since: str | None, *, photographs: bool) -> tuple[PulledExport, Fetched]:
        """Wait for the export, land it, fetch what it names; after an interruption the same call goes on."""
        state, resumed = self.resumed_or_started(since)
        then = state.filters.get("last_activity_at", [None])[0]
        export = PulledExport(self.source.kind, self.source.id, state.task, then, resumed=resumed)
        fetched = Fetched(0, 0, {}, [])
        landed = self.landed(state)
        if landed is None:
            sizes = self.wait(state)
            export = replace(export, announced=sizes.rows, errors=sizes.errors)
            if sizes.size:
                before = {known.sha256 for known in landed_exports(self.workspace)}
                state = download.download(self.service, self.workspace, state, size=sizes.size, progress=self.progress)
                landed = self.filters.filter_landed(self.land(state, export, photographs=photographs))
                if landed is not None:
                    export = replace(export, already_there=landed.sha256 in before)
                    state = download.save(self.workspace, replace(state, landed=landed.sha256))
        if landed is not None:
            about = landed.pull or {}
            named = {name: about[name] for name in ("rows", "announced", "errors")}
            export = replace(export, sha256=landed.sha256, **named)
            if photographs:
                fetched = self.fetch(landed)
            new, problems = self.label_versions()
            export = replace(export, versions=new)
            note_issues(landed, _export_errors(export) + fetched.issues + problems)
        download.forget(self.workspace, state)
        return export, fetched

    def label_versions(self) -> tuple[int, list[dict[str, Any]]]:
        """Read the versions of the project's labels that are new; return how many, and why if they cannot be read.

        A project that records none has none; what is read of labels does not depend on them.
        """
        if self.source.kind != "project":
            return 0, []
        latest = max((v["created_at"] for v in versions(self.workspace, self.source.id)), default=None)
        new: list[Version] = []
        problem = None
        try:
            for number, version in enumerate(self.service.label_versions(self.source, latest), start=1):
                new += [] if self.filters.is_withdrawn(version["image_id"]) else [version]
                self.progress("reading versions of labels", number, None)
        except ServiceError as error:
            problem = {
                "level": "file",
                "reason": "label_versions_unread",
                "detail": f"the versions of labels were not read to their end: {error.problem}",
                "image_id": None,
            }
        return add_versions(self.workspace, self.source.id, new), [problem] if problem else []

    def resumed_or_started(self, since: str | None) -> tuple[DownloadState, bool]:
        """Return the state of an unfinished pull that can be resumed, and True; else of a new export, and False."""
        since_then = self.last_activity() if since == "last" else since
        filters = {"last_activity_at": [since_then, None]} if since_then else {}
        wanted = download.DownloadState("", self.source.kind, self.source.id, self.source.params, filters)
        for folder, state in download.unfinished(self.workspace):
            # What "last" means has moved on where rows have landed and their photographs have not.
            if state and state.asks_like(wanted, at_any_time=since == "last") and self.can_resume(folder, state):
                return state, True
        self.progress("waiting for Labelbox", 0, None)
        task = self.service.start(self.source, filters)
        return download.save(self.workspace, replace(wanted, task=task)), False

    def can_resume(self, folder: Path, state: DownloadState) -> bool:
        """Tell whether an unfinished pull can be resumed: its addresses are still good, or its task still exists."""
        if state.landed:
            return download.is_fresh(folder) and self.landed(state) is not None
        task = self.service.export_task(state.task)
        return task is not None and task.status in (*WAITING, "COMPLETE")

    def last_activity(self) -> str:
        """Return the newest activity in earlier pulls of this source."""
        pulls = [landed.pull for landed in landed_exports(self.workspace) if landed.pull]
        own = [p for p in pulls if (p["kind"], p["source"]) == (self.source.kind, self.source.id)]
        if latest := max((p["latest_at"] for p in own if p["latest_at"]), default=None):
            return latest
        raise ToolkitError(
            "--since last: no earlier pull of this source is here",
            place=f"{self.source.kind} {self.source.id}",
            remedy="pull once without --since, or give a time",
        )

    def wait(self, state: DownloadState) -> Sizes:
        """Wait until an export is made and return its sizes; the SDK's own wait hides a failure and a time-out."""
        waited, pause, longest = 0.0, self.service.patience.poll, 60 * self.study.pull.timeout
        while (task := self.service.export_task(state.task)) and task.status in WAITING:
            if waited >= longest:
                raise ServiceError(
                    f"Labelbox has not made the export within {self.study.pull.timeout} min",
                    place=f"task {state.task}",
                    remedy="run the same command again: it goes on waiting for this export; [pull] timeout is how long",
                )
            self.progress("waiting for Labelbox", round(waited), None)
            self.service.patience.sleep(pause)
            waited, pause = waited + pause, min(pause * 1.5, 5 * self.service.patience.poll)
        if task and task.status == "COMPLETE":
            return self.service.sizes(task)
        download.forget(self.workspace, state)
        raise ServiceError(
            f"Labelbox could not make the export: its task is {task.status if task else 'gone'}",
            place=f"task {state.task}",
            remedy="run the same command again: it starts a new export; Labelbox's support can tell why by the task",
        )

    def landed(self, state: DownloadState) -> Landed | None:
        """Return the landed export of a state."""
        return next((known for known in landed_exports(self.workspace) if known.sha256 == state.landed), None)

    def land(self, state: DownloadState, export: PulledExport, *, photographs: bool) -> Landed:
        """Move a complete download to its place, with a sidecar that holds the request."""
        part = download.part_of(self.workspace, state)
        facts = facts_of(part)
        request = {name: getattr(state, name) for name in ("task", "kind", "source", "params", "filters")}
        counted = {"rows": facts.rows, "announced": export.announced, "errors": export.errors}
        images = self.workspace.folder / "photographs"
        if photographs:
            images.mkdir(mode=0o700, exist_ok=True)
        return land(
            self.workspace,
            part,
            images=images if images.is_dir() else None,
            pull=request | counted | {"latest_at": facts.latest_at},
            source=f"{state.kind} {state.source}",
        )

    def fetch(self, landed: Landed) -> Fetched:
        """Fetch what the rows of a landed export name."""
        settings, rest = self.study.pull, urlsplit(self.service.rest_endpoint)
        rules = Rules(
            own_hosts=tuple(settings.hosts),
            allow_private=settings.allow_private,
            largest=settings.largest_photograph,
            key_origin=f"{rest.scheme}://{rest.netloc}",
            key=self.service.key,
        )
        return fetch_all(
            links_of(landed, longest=self.study.ingest.longest_row),
            self.workspace.folder,
            rules,
            self.service.patience,
            connections=settings.connections,
            progress=self.progress,
        )


def _export_errors(export: PulledExport) -> list[dict[str, Any]]:
    """Return the issue that says how many rows Labelbox itself could not export."""
    if not export.errors:
        return []
    detail = f"Labelbox could not export {export.errors} rows; its task {export.task} holds their errors"
    return [{"level": "file", "reason": "export_errors", "detail": detail, "image_id": None}]
