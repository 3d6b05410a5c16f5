"""The stage `pull`: whole exports from Labelbox and the photographs they name, landed in the workspace.

An interrupted pull goes on with the same export task. The rows are read later, by `parse`.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from toolkit.errors import ServiceError, ToolkitError
from toolkit.labelbox_json.links import as_filter, time_of
from toolkit.labelbox_service.patience import Patience
from toolkit.manifest import Study
from toolkit.progress import Progress, silent
from toolkit.workspace.landed import Landed
from toolkit.workspace.locks import beside_others
from toolkit.workspace.registry import Workspace


class PullRequest(NamedTuple):
    """What to pull: everything of a kind and name, or of the study's projects; `since` is a time, "last" or None."""

    kind: str | None = None
    text: str = ""
    since: str | None = None
    photographs: bool = True


@dataclass(frozen=True)
class PulledExport:
    """One export that was requested; without `sha256` it had no row and nothing has landed."""

    kind: str
    source: str
    task: str
    since: str | None
    rows: int = 0
    announced: int = 0
    errors: int = 0
    resumed: bool = False
    already_there: bool = False
    versions: int = 0
    """Versions of labels that are new here."""
    sha256: str | None = None


@dataclass(frozen=True)
class Pulled:
    """What was pulled: exports, photographs and masks, and why some of these are not here."""

    exports: list[PulledExport]
    fetched: int
    fetched_before: int
    not_fetched: dict[str, int]

    @property
    def landed(self) -> list[PulledExport]:
        """The exports that hold rows."""
        return [export for export in self.exports if export.sha256]


def pull(  # noqa: PLR0913 - the stage's inputs
    workspace: Workspace,
    study: Study,
    request: PullRequest = PullRequest(),  # noqa: B008 - it is frozen
    *,
    filter_landed: Callable[[Landed], Landed | None] = lambda landed: landed,
    is_withdrawn: Callable[[str], bool] = lambda image_id: False,  # noqa: ARG005 - a name for the keyword
    patience: Patience = Patience(),  # noqa: B008 - it is frozen
    progress: Progress = silent,
) -> Pulled:
    """Land a whole export of everything that is requested, with every section, and fetch its photographs and masks.

    `filter_landed` may replace the landed export by one without some rows, before anything that it names is fetched;
    `is_withdrawn` tells of which photographs no version of a label is kept.
    Raises ServiceError where Labelbox cannot be asked or gives no row at all; what has come is kept for the next try.
    """
    since = _checked_since(request)
    from toolkit.labelbox_service.connection import api_key  # noqa: PLC0415 - labelbox is imported only to pull
    from toolkit.labelbox_service.exports import ExportService  # noqa: PLC0415 - labelbox is imported only to pull
    from toolkit.stages.pull.export import Export, Filters  # noqa: PLC0415 - labelbox is imported only to pull

    service = ExportService(study.pull, api_key(), patience)
    with beside_others(workspace.folder, "pull", "pull", progress=progress):
        projects = [("project", name) for name in study.labelbox.projects]
        named = [(request.kind, request.text)] if request.kind else projects
        sources = [service.find(kind, text) for kind, text in named]
        filters = Filters(filter_landed, is_withdrawn)
        exports = [Export(workspace, study, service, source, filters, progress) for source in sources]
        done = [export.pull(since, photographs=request.photographs) for export in exports]
    result = Pulled(
        exports=[export for export, _ in done],
        fetched=sum(fetched.now for _, fetched in done),
        fetched_before=sum(fetched.before for _, fetched in done),
        not_fetched=dict(sorted(sum((Counter(fetched.refused) for _, fetched in done), Counter()).items())),
    )
    if not result.landed and not since:
        raise ServiceError(
            "the export is empty: Labelbox has no row there",
            place=", ".join(f"{source.kind.replace('_', ' ')} {source.id}" for source in sources),
            remedy="look in Labelbox whether data rows were sent to it, and whether the key's owner may see them",
        )
    return result


def _checked_since(request: PullRequest) -> str | None:
    """Return the value of --since: "last", or a time as the SDK must get it."""
    if request.since is None:
        return None
    if request.kind in ("slice", "model_run"):
        raise ToolkitError("Labelbox cannot filter a slice or a model run by time", remedy="leave --since out")
    if request.since == "last":
        return "last"
    moment = time_of(request.since)
    if moment is None:
        remedy = "give a time such as 2026-03-01 or 2026-03-01T08:00:00+01:00 (without an offset it is UTC), or last"
        raise ToolkitError(f"--since {request.since[:40]!r} is no time", remedy=remedy)
    return as_filter(moment)
