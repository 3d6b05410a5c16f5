"""The connection to Labelbox through its SDK: sources, export tasks and their chunks.

Parameters that the SDK would drop, time-outs that it hides and its own retries are handled here. Each of its exceptions
becomes one message that says what to do next; the API key is never part of a message.
"""

import importlib
import inspect
import json
import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC
from functools import partial
from typing import Any, BinaryIO, TypeVar
from urllib.parse import urlsplit

import labelbox
import requests
from labelbox.schema import export_filters, export_params
from labelbox.schema.export_task import ExportTask, StreamType
from lbox import exceptions

from toolkit.errors import ServiceError, StudyError
from toolkit.manifest.cohort import PullSection
from toolkit.privacy import scrub
from toolkit.stages.pull.patience import PassingError, Patience

T = TypeVar("T")
GRAPHQL = "https://api.labelbox.com/graphql"
KEY_SERVICE = "lesion-toolkit"
BLOCK = 1 << 20
REFUSALS = (exceptions.LabelboxError, exceptions.OperationNotAllowedException, exceptions.MalformedQueryException)
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


def api_key() -> str:
    """Return the key from LABELBOX_API_KEY or the system's keyring; it is never written or shown."""
    key = os.environ.get("LABELBOX_API_KEY", "").strip() or _key_of_keyring()
    remedy = "set LABELBOX_API_KEY, or keep the key in the system's keyring under the service lesion-toolkit"
    if not key:
        raise ServiceError("there is no Labelbox API key", remedy=remedy)
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise ServiceError("the Labelbox API key holds a space or a character that no key has", remedy=remedy)
    return key


def _key_of_keyring() -> str:
    with suppress(Exception):  # not installed, or no keyring on this machine: then there is no key there
        keyring = importlib.import_module("keyring")
        return (keyring.get_password(KEY_SERVICE, "LABELBOX_API_KEY") or "").strip()
    return ""


class Service:
    """A connection to Labelbox; every call is tried again when it fails in passing."""

    def __init__(self, settings: PullSection, key: str, patience: Patience) -> None:
        self.endpoint = os.environ.get("LABELBOX_ENDPOINT") or settings.endpoint or GRAPHQL
        rest = os.environ.get("LABELBOX_REST_ENDPOINT") or settings.rest_endpoint
        self.rest_endpoint = rest or f"{self.endpoint.removesuffix('/graphql')}/api/v1"
        for address in (self.endpoint, self.rest_endpoint):
            _check_address(address, allow_private=settings.allow_private)
        self.key, self.patience = key, patience
        for name in ("labelbox", "lbox"):  # they log answers, which hold patients' data and signed URLs
            logging.getLogger(name).addHandler(logging.NullHandler())
            logging.getLogger(name).propagate = False
        self.client = labelbox.Client(key, endpoint=self.endpoint, rest_endpoint=self.rest_endpoint)
        # The SDK repeats a 5xx for two minutes on its own, and nothing else: here every fault has the same patience.
        inner = self.client._request_client  # noqa: SLF001
        inner.execute = partial(inspect.unwrap(type(inner).execute), inner)

    def find(self, kind: str, text: str) -> ExportSource:
        """Return what has this ID, or for a project this name."""
        if kind == "project":
            return self._find_project(text)
        get = {
            "dataset": self.client.get_dataset,
            "slice": self.client.get_catalog_slice,
            "model_run": self.client.get_model_run,
        }[kind]
        return self._source(kind, text, lambda: get(text))

    def _find_project(self, text: str) -> ExportSource:
        where = labelbox.Project.name == text
        projects = self._ask(lambda: list(self.client.get_projects(where=where)))
        if len(projects) > 1:
            ids = ", ".join(sorted(project.uid for project in projects))
            raise ServiceError(
                f"{len(projects)} projects are named {text!r}", remedy=f"name it by its ID in the study file: {ids}"
            )
        if projects:
            return ExportSource("project", projects[0].uid, projects[0])
        return self._source("project", text, lambda: self.client.get_project(text))

    def _source(self, kind: str, text: str, get: Callable[[], Any]) -> ExportSource:
        try:
            thing = self._ask(get)
        except exceptions.ResourceNotFoundError:
            raise ServiceError(
                f"Labelbox knows no {kind.replace('_', ' ')} {text!r}, or this key may not see it",
                place=self.endpoint,
                remedy="take its ID from its address in Labelbox; the key's owner must be a member",
            ) from None
        return ExportSource(kind, text, thing)

    def start(self, source: ExportSource, filters: dict[str, Any]) -> str:
        """Start an export with every section, and return its task's ID."""
        arguments: dict[str, Any] = {"params": _known(source.params, PARAMS[source.kind][1])}
        if filters:
            arguments["filters"] = _known(filters, FILTERED[source.kind])
        return self._ask(lambda: source.thing.export(task_name="lesion-toolkit pull", **arguments)).uid

    def task(self, task: str) -> ExportTask | None:
        """Return a task as it stands, or None where Labelbox no longer has it."""
        try:
            return self._ask(lambda: ExportTask.get_task(self.client, task))
        except exceptions.ResourceNotFoundError:
            return None

    def sizes(self, task: ExportTask) -> Sizes:
        """Return how much a complete task holds."""
        size = self._ask(lambda: task.get_total_file_size(StreamType.RESULT))
        rows = self._ask(lambda: task.get_total_lines(StreamType.RESULT))
        errors = self._ask(lambda: task.get_total_lines(StreamType.ERRORS))
        return Sizes(size or 0, rows or 0, errors or 0)

    def label_versions(self, source: ExportSource, after: str | None) -> Iterator[dict[str, Any]]:
        """Yield the recorded versions of a project's labels from a moment on, oldest first.

        None where the SDK or the server does not know them, or where the project records none.
        """
        ask = getattr(source.thing, "label_versions", None)
        if ask is None:
            return
        pages = self._ask(lambda: ask(created_after=after))
        while True:
            version = self._ask(lambda: _next_version(pages))
            if version is not None:
                yield _as_texts(version)
            elif not pages.paginator.next_cursor:
                return  # else the page was empty and others follow: the SDK ends there

    def chunk(self, task: str, stream: str, offset: int) -> Chunk:
        """Return the file that holds a stream's byte at `offset`; not patient, since copying it is tried as a whole."""
        variables = {"where": {"id": task}, "streamType": stream, "offset": str(offset)}
        answer = self._once(lambda: self.client.execute(CHUNK, variables, error_log_key="errors"))
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

    def _ask(self, call: Callable[[], T]) -> T:
        try:
            return self.patience.keep(lambda: self._once(call))
        except PassingError as error:
            raise ServiceError(
                f"Labelbox cannot be asked: {error}",
                place=self.endpoint,
                remedy="look at the network and https://status.labelbox.com, then run the same command: it goes on",
            ) from None

    def _once(self, call: Callable[[], T]) -> T:
        """Call once; raise PassingError, ResourceNotFoundError or ServiceError in place of the SDK's exceptions."""
        self.client.set_sdk_method("lesion-toolkit:pull")  # else the SDK searches the stack for a name, each time
        try:
            return call()
        except exceptions.ResourceNotFoundError:
            raise
        except exceptions.ApiLimitError:
            raise PassingError("its rate limit is reached") from None
        except exceptions.NetworkError as error:
            raise PassingError(f"no connection ({type(error.cause).__name__})") from None
        except (exceptions.InternalServerError, exceptions.TimeoutError) as error:
            raise PassingError(self._safe(error)) from None
        except exceptions.AuthenticationError:
            remedy = "make a new key in Labelbox (Workspace settings, API keys) and set LABELBOX_API_KEY"
            raise ServiceError("Labelbox does not accept the API key", place=self.endpoint, remedy=remedy) from None
        except exceptions.AuthorizationError as error:
            remedy = "ask an administrator of the Labelbox workspace for the right to export"
            raise ServiceError(
                f"this API key may not do that: {self._safe(error)}", place=self.endpoint, remedy=remedy
            ) from None
        except (*REFUSALS, TypeError, KeyError, ValueError) as error:
            known = isinstance(error, REFUSALS)
            words = self._safe(error) if known else "an answer of a shape that this version does not know"
            raise ServiceError(
                f"Labelbox answered with an error: {words}",
                place=self.endpoint,
                remedy="run the same command again; if it stays, Labelbox's support can tell from these words",
            ) from None

    def _safe(self, error: Exception) -> str:
        """Return the start of an error's words, without the key, addresses' queries and e-mails."""
        words = " ".join(str(getattr(error, "message", error)).split()).replace(self.key, "[key removed]")
        return scrub(words)[:200]


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


def _check_address(address: str, *, allow_private: bool) -> None:
    """Refuse to send the key in the clear, except to this machine or where the study allows it."""
    parts = urlsplit(address)
    own = parts.hostname in ("127.0.0.1", "::1", "localhost")
    if not parts.hostname or parts.scheme not in ("http", "https"):
        raise StudyError(
            "Labelbox's address is no http address", place=scrub(address), remedy="look at [pull] endpoint"
        )
    if parts.scheme == "http" and not (own or allow_private):
        remedy = "use https, or set [pull] allow_private = true for a server within your own network"
        raise StudyError("the API key would go over the network unencrypted", place=scrub(address), remedy=remedy)
