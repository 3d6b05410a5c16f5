"""The stage `withdraw`: a patient removed from exports, photographs, splits, runs, reports and the registry.

The entry in the suppression list is written first and the registry last, and each step can be repeated: the same
command finishes what was interrupted. Checkpoints stay; the result names those that were trained on the patient.
"""

import json
import re
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from toolkit.errors import WorkspaceError
from toolkit.files import write_atomically
from toolkit.labelbox_json.links import links_of
from toolkit.labelbox_json.withdrawn_filter import (
    SuppressionList,
    filter_export,
    identifier_of,
    rows_with_identity,
    suppression_list,
)
from toolkit.manifest import Study
from toolkit.photographs.opening import file_name
from toolkit.privacy import PseudonymKey, scrub
from toolkit.progress import Progress, silent
from toolkit.stages.withdraw import results, tables
from toolkit.stages.withdraw.search import traces_left
from toolkit.workspace import (
    attached,
    audited,
    label_versions,
    pushes,
    queues,
    reader_studies,
    releases,
    restore,
    reviews,
)
from toolkit.workspace.landed import PHOTOGRAPH_INDEX, check_bytes, fetched_files, landed_exports
from toolkit.workspace.locks import alone
from toolkit.workspace.registry import Workspace
from toolkit.workspace.withdrawn import (
    photograph_pseudonym,
    record_withdrawal,
    withdrawn_photographs,
    withdrawn_pseudonyms,
)


@dataclass(frozen=True)
class Withdrawn:
    """What of a patient the workspace holds, or held until now if `applied`; never the identifier itself."""

    applied: bool
    exports: int
    rows: int
    unreadable_lines: int
    """Lines that are no rows: they can be anybody's, and go too."""
    mentions: int
    """Rows of others that hold the identifier as a word: they stay."""
    photographs: int
    files_removed: int
    files_elsewhere: int
    """Photographs' files outside the workspace: they stay."""
    cases: int
    splits: dict[str, int]
    predictions: dict[str, int]
    reports: list[str]
    models_that_saw: list[str]
    next: list[str]
    releases: list[dict[str, Any]] = field(default_factory=list)
    """Data sets made with `toolkit release` that hold the patient: release_id, made_at, and is_known, which is false
    where the list of its patients is lost. Who has them must be told."""
    searched: int = 0
    """Files that were searched afterwards for the identifier, the pseudonym, and IDs of photographs and cases."""
    left_in: list[str] = field(default_factory=list)
    """Those that still hold one."""


@dataclass
class _PatientTraces:
    """What the workspace still holds of the patient."""

    persons: tuple[str, ...]
    """The patient's pseudonyms: several where the study says that they are one person."""
    images: set[str]
    files: set[Path]
    cases: set[str]
    exports: int = 0
    rows: int = 0
    unreadable: int = 0
    mentions: int = 0


@alone("withdraw")
def withdraw(  # noqa: PLR0913 - the stage's inputs
    workspace: Workspace,
    study: Study,
    key: PseudonymKey,
    patient: str,
    *,
    reparse: Callable[[], object],
    apply: bool = False,
    progress: Progress = silent,
) -> Withdrawn:
    """Return what the workspace holds of a patient and, with `apply`, remove it.

    `patient` is the identifier as the hospital knows it; `reparse` makes the registry anew from the exports that are
    left. After an interruption the same call finishes the job. Raises WorkspaceError for an unknown patient.
    """
    if apply:
        restore.adopt(workspace)
        results.check_splits(workspace)
    progress("looking for the patient", 0, None)
    traces = _find(workspace, study, key, patient)
    if not traces.images and withdrawn_pseudonyms(workspace, key).isdisjoint(traces.persons):
        raise WorkspaceError(
            "this workspace holds nothing of such a patient",
            place=str(workspace.folder),
            remedy="write the identifier as the export has it; upper and lower case do not matter",
        )
    withdrawn = _counted(workspace, traces, apply=apply)
    if not apply:
        return withdrawn
    _remove(workspace, study, key, traces, patient, progress)
    _renew(workspace, reparse)
    searched, left_in = traces_left(
        workspace, patient.strip(), {*traces.persons, *traces.images, *traces.cases}, progress
    )
    return replace(withdrawn, searched=searched, left_in=left_in)


def _find(workspace: Workspace, study: Study, key: PseudonymKey, patient: str) -> _PatientTraces:
    """Look in the exports, the registry, the splits, and the suppression list's entry of an earlier attempt."""
    persons = study.ingest.one_person(key.pseudonym("p", identifier_of(patient, study.labelbox)))
    listed = {photograph for pseudonym in persons for photograph in withdrawn_photographs(workspace, pseudonym)}
    photographs = tables.photographs_in(workspace)
    images = {
        row["image_id"]
        for row in photographs
        if row["patient_id"] in persons or photograph_pseudonym(row["image_id"], key) in listed
    }
    exports = landed_exports(workspace)
    for export in exports:
        check_bytes(export)
        for _, identity in rows_with_identity(export.path, study):
            named = {key.pseudonym("p", each) for each in identity.patients} if identity else set()
            if identity and identity.image_id and not named.isdisjoint(persons):
                images.add(identity.image_id)
    pseudonyms = {*persons, *listed, *(photograph_pseudonym(image, key) for image in images)}
    files, cases = tables.files_of(photographs, images), tables.cases_of(workspace, images)
    traces = _PatientTraces(persons, images, files, cases)
    for rows in results.split_cases(workspace).values():
        traces.cases |= {row.case_id for row in rows if row.patient_id in persons}
    for export in exports:
        _look(export.path, traces, SuppressionList(frozenset(pseudonyms), study, key), patient, workspace.photographs)
    return traces


def _look(export: Path, traces: _PatientTraces, own: SuppressionList, patient: str, photographs: Path) -> None:
    """Count the lines of an export that go, and find the fetched photographs that its rows name."""
    word = re.compile(rf"(?<![\w-]){re.escape(patient.strip())}(?![\w-])", re.IGNORECASE)
    before = traces.rows
    for content, identity in rows_with_identity(export, own.study):
        if identity is None:
            traces.unreadable += 1
        elif own.holds(identity):
            traces.rows += 1
            paths = {(photographs / name).resolve() for name in identity.files if name and "\0" not in name}
            traces.files |= {p for p in paths if p.is_relative_to(photographs.resolve()) and p.is_file()}
        else:
            traces.mentions += bool(word.search(content.decode(errors="replace")))
    traces.exports += traces.rows > before


def _counted(workspace: Workspace, traces: _PatientTraces, *, apply: bool) -> Withdrawn:
    """Return the patient's traces in numbers."""
    inside = _inside(workspace, traces)
    own = {
        split_id: [row for row in rows if row.case_id in traces.cases or row.patient_id in traces.persons]
        for split_id, rows in results.split_cases(workspace).items()
    }
    watched = {split_id for split_id, rows in own.items() if {"train", "validation"} & {row.part for row in rows}}
    commands = ["status", "evaluate", "report"] if apply else ["withdraw PATIENT --apply"]
    return Withdrawn(
        applied=apply,
        exports=traces.exports,
        rows=traces.rows,
        unreadable_lines=traces.unreadable,
        mentions=traces.mentions,
        photographs=len(traces.images),
        files_removed=len(inside),
        files_elsewhere=len(traces.files - inside),
        cases=len(traces.cases),
        splits={split_id: len(rows) for split_id, rows in own.items() if rows},
        predictions=results.predictions_of(workspace, traces.cases),
        reports=sorted(path.parent.name for path in workspace.reports.glob("*/index.html")),
        models_that_saw=results.runs_on(workspace, watched),
        releases=releases.holding(workspace, traces.persons),
        next=[f"toolkit --workspace {shlex.quote(str(workspace.folder))} {command}" for command in commands],
    )


def _inside(workspace: Workspace, traces: _PatientTraces) -> set[Path]:
    """Return the photographs' files within the workspace."""
    return {path for path in traces.files if path.resolve().is_relative_to(workspace.folder.resolve())}


def _remove(
    workspace: Workspace, study: Study, key: PseudonymKey, traces: _PatientTraces, patient: str, progress: Progress
) -> None:
    """Remove everything, in an order that can be begun again."""
    today = datetime.now(UTC).date().isoformat()
    photographs = {photograph_pseudonym(image, key) for image in traces.images}
    for pseudonym in traces.persons:
        record_withdrawal(workspace, pseudonym, photographs, key=key, date=today)
    for path in _inside(workspace, traces):
        path.unlink(missing_ok=True)
    results.clean_runs(workspace, traces.cases)
    results.clean_splits(workspace, traces.persons, traces.cases, date=today)
    audited.leave_out(workspace, images=traces.images, cases=traces.cases)
    reader_studies.forget(workspace)
    queues.leave_out(workspace, traces.cases)
    reviews.leave_out(workspace, traces.cases, traces.images)
    attached.leave_out(workspace, traces.persons)
    pushes.leave_out(workspace, images=traces.images, cases=traces.cases)
    for folder in (workspace.reports, workspace.features, workspace.staged):
        shutil.rmtree(folder, ignore_errors=True)
    suppressed = suppression_list(workspace, study, key)
    for export in landed_exports(workspace):
        progress(f"rewriting {scrub(export.source)}", 0, None)
        filter_export(workspace, export, suppressed, secrets=(patient.strip(),))
    label_versions.leave_out(workspace, suppressed.holds_photograph)
    _sweep(workspace, study)
    releases.leave_out(workspace, traces.persons)  # last: until then a rerun tells of them again


def _renew(workspace: Workspace, reparse: Callable[[], object]) -> None:
    """Make the registry anew from the files that are left, or remove it where there is no export any more.

    A deleted row's bytes would stay in DuckDB's file.
    """
    if landed_exports(workspace):
        reparse()
    else:
        workspace.registry.unlink(missing_ok=True)


def _sweep(workspace: Workspace, study: Study) -> None:
    """Remove the fetched photographs and masks that no remaining row names, from the folders and from their indexes."""
    kept: dict[bool, set[str]] = {False: set(), True: set()}
    for export in landed_exports(workspace):
        for link in links_of(export, longest=study.ingest.longest_row):
            kept[link.is_mask].add(file_name(link.id))
    for folder, names in ((workspace.photographs, kept[False]), (workspace.masks, kept[True])):
        index = folder / PHOTOGRAPH_INDEX
        if index.is_file():
            records = fetched_files(folder)
            for name in set(records) - names:
                (folder / name).unlink(missing_ok=True)
            lines = (json.dumps(record, sort_keys=True) + "\n" for name, record in records.items() if name in names)
            write_atomically(index, "".join(lines).encode(), mode=0o600)
