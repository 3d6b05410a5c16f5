"""Labelbox's exports through its SDK: sources, tasks and chunks, and the recorded versions of labels.

Parameters that the SDK would drop are refused here; its stream of chunks is replaced by one that can be resumed.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import labelbox
import requests
from labelbox.schema import export_filters, export_params
from labelbox.schema.export_task import ExportTask, StreamType
from lbox import exceptions

from toolkit.errors import ServiceError
from toolkit.labelbox_service.connection import Connection
from toolkit.labelbox_service.patience import PassingError

BLOCK = 1 << 20
CHUNK = (
    "query GetExportFileFromOffsetPyApi($where: WhereUniqueIdInput, $streamType: TaskStreamType!, $offset: UInt64!)"
    "{task(where: $where){exportFileFromOffset(streamType: $streamType, offset: $offset)"
    "{offsets {start end} lines {start end} file}}}"
)
"""The SDK's own query, asked here because the SDK's stream neither retries nor resumes; a test holds them together."""

DETAILS = dict.fromkeys(("data_row_details", "metadata_fields", "attachments", "embeddings"), True)
LABELS = dict.fromkeys(("project_details", "label_details", "performance_details", "interpolated_frames"), True)
EVERYWHERE = dict.fromkeys(("all_projects", "all_model_runs", "predictions"), True)
PARAMS = {
    "project": (DETAILS | LABELS, export_params.ProjectExportParams),
    "dataset": (DETAILS | LABELS | EVERYWHERE, export_params.CatalogExportParams),
    "slice": (DETAILS | LABELS | EVERYWHERE, export_params.CatalogExportParams),
    "model_run": (
        DETAILS | dict.fromkeys(("predictions", "model_run_details"), True),
        export_params.ModelRunExportParams,
    ),
}
FILTERED = {"project": export_filters.ProjectExportFilters, "dataset": export_filters.DatasetExportFilters}


@dataclass(frozen=True)
class ExportSource:
    """What an export is made of: a project, a dataset, a slice or a model run; `thing` is the SDK's object."""

    kind: str
    id: str
    thing: Any

    @property
    def params(self) -> dict[str, bool]:
        """Every section there is: Labelbox leaves out what is not asked for, annotators and skips included."""
        return PARAMS[self.kind][0]


@dataclass(frozen=True)
class Sizes:
    """What Labelbox announces of a complete export: bytes, rows, and rows that it could not export."""

    size: int
    rows: int
    errors: int


@dataclass(frozen=True)
class Chunk:
    """One file of an export: which bytes of the whole it holds, and where it is."""

    start: int
    end: int
    address: str


class ExportService(Connection):
    """Exports: their tasks, sizes and chunks, and versions of labels."""

    def find(self, kind: str, text: str) -> ExportSource:
        """Return what has this ID, or for a project this name."""
        if kind == "project":
            project = self.find_project(text)
            return ExportSource("project", project.uid, project)
        get = {
            "dataset": self.client.get_dataset,
            "slice": self.client.get_catalog_slice,
            "model_run": self.client.get_model_run,
        }[kind]
        return ExportSource(kind, text, self.get(kind, text, lambda: get(text)))

    def start(self, source: ExportSource, filters: dict[str, Any], *, params: dict[str, bool] | None = None) -> str:
        """Start an export with every section, or with those of `params`, and return its task's ID."""
        arguments: dict[str, Any] = {"params": _known(params or source.params, PARAMS[source.kind][1])}
        if filters:
            arguments["filters"] = _known(filters, FILTERED[source.kind])
        return self.ask(lambda: source.thing.export(task_name="lesion-toolkit", **arguments)).uid

    def export_task(self, task: str) -> ExportTask | None:
        """Return a task as it stands, or None where Labelbox no longer has it."""
        try:
            return self.ask(lambda: ExportTask.get_task(self.client, task))
        except exceptions.ResourceNotFoundError:
            return None

    def sizes(self, task: ExportTask) -> Sizes:
        """Return how much a complete task holds."""
        size = self.ask(lambda: task.get_total_file_size(StreamType.RESULT))
        rows = self.ask(lambda: task.get_total_lines(StreamType.RESULT))
        errors = self.ask(lambda: task.get_total_lines(StreamType.ERRORS))
        return Sizes(size or 0, rows or 0, errors or 0)

    def label_versions(self, source: ExportSource, after: str | None) -> Iterator[dict[str, Any]]:
        """Yield the recorded versions of a project's labels from a moment on, oldest first.

        None where the SDK or the server does not know them, or where the project records none.
        """
        ask = getattr(source.thing, "label_versions", None)
        if ask is None:
            return
        pages = self.ask(lambda: ask(created_after=after))
        while True:
            version = self.ask(lambda: _next_version(pages))
            if version is not None:
                yield _as_texts(version)
            elif not pages.paginator.next_cursor:
                return  # else the page was empty and others follow: the SDK ends there

    def chunk(self, task: str, stream: str, offset: int) -> Chunk:
        """Return the file that holds a stream's byte at `offset`; not patient, since copying it is tried as a whole."""
        variables = {"where": {"id": task}, "streamType": stream, "offset": str(offset)}
        answer = self.once(lambda: self.client.execute(CHUNK, variables, error_log_key="errors"))
        part = ((answer or {}).get("task") or {}).get("exportFileFromOffset")
        if not part:
            raise PassingError("Labelbox named no file for the next part of the export")
        start, end = int(part["offsets"]["start"]), int(part["offsets"]["end"])
        if not start <= offset <= end:
            raise PassingError("Labelbox named another part of the export than was asked for")
        return Chunk(start, end, part["file"])

    def copy(self, chunk: Chunk, file: BinaryIO, *, offset: int) -> None:
        """Append a chunk's bytes from `offset` on to `file`; raise PassingError where they do not all arrive."""
        if urlsplit(chunk.address).scheme != "https" and urlsplit(self.endpoint).scheme == "https":
            raise ServiceError("Labelbox gave an address that is not https for the export", place=self.endpoint)
        skip, left = offset - chunk.start, chunk.end + 1 - chunk.start
        try:
            headers = {"Accept-Encoding": "identity"}
            with requests.get(chunk.address, stream=True, timeout=60, headers=headers) as answer:
                if answer.status_code != requests.codes.ok:
                    raise PassingError(f"the storage answered {answer.status_code}")
                for block in answer.iter_content(BLOCK):
                    left -= len(block)
                    if left < 0:
                        raise PassingError("the storage sent more bytes than Labelbox announced")
                    file.write(block[skip:])
                    skip = max(skip - len(block), 0)
        except requests.RequestException as error:
            raise PassingError(f"the connection broke: {type(error).__name__}") from None
        if left:
            raise PassingError(f"the storage sent {left} bytes fewer than Labelbox announced")


def _next_version(pages: Any) -> Any:
    """Return the next version, or None at the end of what is known; a server without versions has none."""
    try:
        return next(pages, None)
    except exceptions.InvalidQueryError:
        pages.paginator.next_cursor = None
        return None


def _as_texts(version: Any) -> dict[str, Any]:
    """Return a version of the SDK's in the columns of `label_versions`."""
    action = getattr(version.action, "value", version.action)
    label = version.label
    if label is None and version.label_json is not None:
        label = json.dumps(version.label_json, sort_keys=True)
    return {
        "version_id": version.id,
        "label_id": version.label_id,
        "image_id": version.data_row_id,
        "project_id": version.project_id,
        "action": str(action),
        "created_at": version.created_at.astimezone(UTC).isoformat(timespec="milliseconds"),
        "created_by_id": version.created_by_id,
        "stage": version.stage and (version.stage.name or version.stage.task_queue_id),
        "annotations": str(version.annotation_count),
        "label": label,
    }


def _known(arguments: dict[str, Any], shape: Any) -> dict[str, Any]:
    """Return `arguments`, refusing what the installed SDK would silently drop."""
    if unknown := sorted(set(arguments) - set(shape.__annotations__)):
        raise ServiceError(
            f"the installed labelbox {labelbox.__version__} does not know {', '.join(unknown)}",
            remedy="install the version that requirements/core.lock names",
        )
    return arguments
