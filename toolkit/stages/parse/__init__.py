"""The stage `parse`: the label side of the registry, made anew from all landed exports.

Nothing is updated in place, so that the order of imports or a second import cannot change the result.
"""

import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import ExportError, WorkspaceError
from toolkit.labelbox_json.withdrawn_filter import SuppressionList, suppression_list
from toolkit.manifest import Study
from toolkit.privacy import PseudonymKey
from toolkit.progress import Progress, silent
from toolkit.stages.parse.derive import Derivation, changed_photographs, register_tables
from toolkit.stages.parse.staged import StagedExports
from toolkit.workspace import sql
from toolkit.workspace.landed import Landed, check, check_bytes, land, landed_digests, landed_exports, take_back
from toolkit.workspace.locks import one_at_a_time
from toolkit.workspace.registry import Workspace


@dataclass(frozen=True)
class Parsed:
    """What the registry holds after parsing; every row read is stored or quarantined."""

    exports: int
    rows: int
    rows_quarantined: int
    photographs: int
    photographs_opened: int
    patients: int
    patients_known: bool
    similar_patients: int
    """Pairs of patients whose IDs differ by a slip of typing."""
    labels: int
    cases: int
    with_roi: int
    resolved: int
    tied: int
    unread: int
    not_counted: int
    decided: dict[str, int]
    labels_deleted: int
    changes: dict[str, int]
    kept_out: dict[str, int]
    projects_elsewhere: list[str]
    photographs_elsewhere: int
    photographs_changed: list[str]
    """IDs of photographs whose files are not those that were parsed before, or that can no longer be opened."""
    not_taken_in: int
    """Lines left out of what landed: rows of withdrawn patients and, where there are such, lines that are no rows."""
    truth_id: str
    content_hash: str
    key_fingerprint: str
    key_created: str | None


@one_at_a_time("parse")
def parse(  # noqa: PLR0913 - the stage's inputs
    workspace: Workspace,
    study: Study,
    key: PseudonymKey,
    exports: list[Path],
    *,
    images: Path | None = None,
    anew: bool = False,
    progress: Progress = silent,
) -> Parsed:
    """Land exports and make the registry's label tables anew from all that have landed.

    `anew` makes the other tables anew as well, from the files of splits, runs and audit; so does a missing registry.
    Raises ExportError, changing nothing, for a file that holds no readable row. Single bad rows are quarantined.
    """
    if images is not None and not images.is_dir():
        raise ExportError("no such folder of photographs", place=str(images), remedy="give --images DIR")
    if not anew:
        _check_key(workspace, key)
    suppressed = suppression_list(workspace, study, key)
    before = landed_digests(workspace)
    named: dict[str, Path] = {}
    not_taken_in = 0
    try:
        for export in exports:
            landed, dropped = _land(workspace, export, images, suppressed)
            named[landed.sha256] = export
            not_taken_in += dropped
        changed = _derive(workspace, study, key, named, anew=anew, progress=progress)
    except BaseException:
        for sha256 in landed_digests(workspace) - before:
            take_back(workspace, sha256)
        raise
    return _summary(workspace, key, changed, not_taken_in)


def _land(workspace: Workspace, export: Path, images: Path | None, suppressed: SuppressionList) -> tuple[Landed, int]:
    """Land an export without the rows of withdrawn patients; return also how many lines were left out."""
    check(export)
    with suppressed.without(workspace, export) as (kept, dropped):
        if kept is None:
            raise ExportError("every row of this export is of a withdrawn patient", place=str(export))
        facts = dropped.facts(export)
        return land(workspace, kept, images=images, source=export.name, facts=facts), sum(dropped)


def _derive(
    workspace: Workspace,
    study: Study,
    key: PseudonymKey,
    named: dict[str, Path],
    *,
    anew: bool,
    progress: Progress,
) -> list[str]:
    """Read every landed export that was not read before, and replace the registry's label side by what all say.

    Returns the photographs that are not those of the registry before.
    """
    landed = landed_exports(workspace)
    if not landed:
        raise ExportError("no export has landed in this workspace", remedy="toolkit parse EXPORT --images DIR")
    with tempfile.TemporaryDirectory(dir=workspace.folder, prefix=".parse-") as name:
        folder = Path(name)
        exports = StagedExports(workspace, folder, study, key, anew=anew)
        staged = []
        for export in landed:
            check_bytes(export)
            staged.append(exports.of(export, progress))
            if not staged[-1].outcomes[None] and export.sha256 in named:
                raise _no_export(staged[-1].outcomes, named[export.sha256])
        files = Derivation(folder, staged, study, key, progress, workspace=workspace).derive()
        changed = changed_photographs(workspace, files["images"])
        register_tables(workspace, files, anew=anew or not workspace.registry.exists())
        exports.keep(staged)
    return changed


def _no_export(outcomes: Counter[str | None], path: Path) -> ExportError:
    """Return the error for a file without a single row that can be stored."""
    if outcomes["format_import"]:
        return ExportError(
            "these are annotations to be imported into Labelbox (predictions), not an export of it",
            place=str(path),
            remedy="export the project from Labelbox; this file was not taken in",
        )
    most_frequent = "".join(f"; {times} rows: {reason}" for reason, times in outcomes.most_common(1))
    return ExportError(
        f"no row of this file is a row of a Labelbox export{most_frequent}",
        place=str(path),
        remedy="export the project from Labelbox, as NDJSON or JSON; this file was not taken in",
    )


def _check_key(workspace: Workspace, key: PseudonymKey) -> None:
    """Refuse a key that would give the same patients other pseudonyms than this workspace's splits and reports have."""
    if not workspace.is_parsed():
        return
    used = {row["key_fingerprint"] for row in workspace.rows("select key_fingerprint from label_states")}
    if used and used != {key.fingerprint}:
        raise WorkspaceError(
            f"this workspace was made with pseudonym key {used.pop()}, the study now names key {key.fingerprint}",
            place=str(workspace.folder),
            remedy="use the first key, or start a new workspace",
        )


def _summary(workspace: Workspace, key: PseudonymKey, photographs_changed: list[str], not_taken_in: int) -> Parsed:
    facts = workspace.rows(sql.statement("parse/parsed"))[0]
    kept_out = workspace.rows(sql.statement("parse/kept_out"))
    changes = workspace.shipped_rows("changes") if facts.pop("moments") > 1 else []
    changed = {(row["kind"], row["image_id"], row["label_id"]) for row in changes}
    decided = {row["rule"]: row["cases"] for row in facts.pop("decided")}
    return Parsed(
        **facts,
        decided=decided,
        changes=dict(sorted(Counter(kind for kind, *_ in changed).items())),
        kept_out={row["reason"]: row["cases"] for row in kept_out},
        photographs_changed=photographs_changed,
        not_taken_in=not_taken_in,
        key_fingerprint=key.fingerprint,
        key_created=str(key.created) if key.created else None,
    )
