"""The stage `withdraw`: a patient removed from exports, photographs, splits, runs, reports and the registry.

The entry in the suppression list is written first and the registry last, and each step can be repeated: the same
command finishes what was interrupted. Checkpoints stay; the result names those that were trained on the patient.
"""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from toolkit.errors import WorkspaceError
from toolkit.files import write_atomically
from toolkit.labelbox_json.links import links_of
from toolkit.labelbox_json.withdrawn import (
    SuppressionList,
    filter_export,
    identifier_of,
    photograph_pseudonym,
    photographs_of,
    record_withdrawal,
    rows_with_identity,
    suppression_list,
)
from toolkit.manifest import Study
from toolkit.photographs.opening import file_name
from toolkit.privacy import PseudonymKey, scrub
from toolkit.progress import Progress, silent
from toolkit.stages.withdraw import results, tables
from toolkit.workspace.landed import PHOTOGRAPH_INDEX, Landed, landed_exports
from toolkit.workspace.registry import Workspace


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


@dataclass
class _PatientTraces:
    """What still knows the patient."""

    images: set[str]
    files: set[Path]
    cases: set[str]
    exports: int = 0
    rows: int = 0
    unreadable: int = 0
    mentions: int = 0


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
    """Say what of a patient the workspace holds and, with `apply`, remove it; raises WorkspaceError for a stranger.

    `patient` is the identifier as the hospital knows it; `reparse` makes the registry anew from the exports that are
    left. After an interruption the same call finishes the job.
    """
    if apply:
        results.check_splits(workspace)
    progress("looking for the patient", 0, None)
    pseudonym = key.pseudonym("p", identifier_of(patient, study.labelbox))
    found = _find(workspace, study, key, patient, pseudonym)
    if not found.images and pseudonym not in suppression_list(workspace, study, key).pseudonyms:
        raise WorkspaceError(
            "this workspace holds nothing of such a patient",
            place=str(workspace.folder),
            remedy="write the identifier as the export has it; upper and lower case do not matter",
        )
    said = _said(workspace, found, pseudonym, apply=apply)
    if apply:
        _remove(workspace, study, key, found, patient, progress)
        _renew(workspace, reparse)
    return said


def _find(workspace: Workspace, study: Study, key: PseudonymKey, patient: str, pseudonym: str) -> _PatientTraces:
    """Look in the exports, the registry, the splits, and the tombstone of an earlier attempt."""
    identifier = identifier_of(patient, study.labelbox)
    buried = photographs_of(workspace, pseudonym)
    images = tables.images_of(workspace, pseudonym)
    images |= tables.images_such(workspace, lambda image: photograph_pseudonym(image, key) in buried)
    landed = landed_exports(workspace)
    for export in landed:
        for _, named in rows_with_identity(export, study):
            if named and named.image_id and identifier in named.patients:
                images.add(named.image_id)
    own = {pseudonym, *buried, *(photograph_pseudonym(image, key) for image in images)}
    found = _PatientTraces(images, tables.files_of(workspace, images), tables.cases_of(workspace, images))
    for rows in results.split_cases(workspace).values():
        found.cases |= {row["case_id"] for row in rows if row["patient_id"] == pseudonym}
    for export in landed:
        _look(export, found, SuppressionList(frozenset(own), study, key), patient, workspace.photographs)
    return found


def _look(export: Landed, found: _PatientTraces, own: SuppressionList, patient: str, photographs: Path) -> None:
    """Count the lines of an export that go, and find the fetched photographs that its rows name."""
    word = re.compile(rf"(?<![\w-]){re.escape(patient.strip())}(?![\w-])", re.IGNORECASE)
    before = found.rows
    for content, named in rows_with_identity(export, own.study):
        if named is None:
            found.unreadable += 1
        elif own.holds(named):
            found.rows += 1
            paths = {(photographs / name).resolve() for name in named.files if name and "\0" not in name}
            found.files |= {p for p in paths if p.is_relative_to(photographs.resolve()) and p.is_file()}
        else:
            found.mentions += bool(word.search(content.decode(errors="replace")))
    found.exports += found.rows > before


def _said(workspace: Workspace, found: _PatientTraces, pseudonym: str, *, apply: bool) -> Withdrawn:
    """Return what was found, in numbers."""
    inside = _inside(workspace, found)
    rows_of = results.split_cases(workspace)
    own = {
        split_id: [row for row in rows if row["case_id"] in found.cases or row["patient_id"] == pseudonym]
        for split_id, rows in rows_of.items()
    }
    watched = {split_id for split_id, rows in own.items() if {"train", "validation"} & {row["part"] for row in rows}}
    here = f"toolkit --workspace {workspace.folder}"
    then = ["status", "evaluate", "report"] if apply else ["withdraw PATIENT --apply"]
    return Withdrawn(
        applied=apply,
        exports=found.exports,
        rows=found.rows,
        unreadable_lines=found.unreadable,
        mentions=found.mentions,
        photographs=len(found.images),
        files_removed=len(inside),
        files_elsewhere=len(found.files - inside),
        cases=len(found.cases),
        splits={split_id: len(rows) for split_id, rows in own.items() if rows},
        predictions=results.predictions_of(workspace, found.cases),
        reports=sorted(path.parent.name for path in workspace.reports.glob("*/index.html")),
        models_that_saw=results.runs_on(workspace, watched),
        next=[f"{here} {command}" for command in then],
    )


def _inside(workspace: Workspace, found: _PatientTraces) -> set[Path]:
    return {path for path in found.files if path.resolve().is_relative_to(workspace.folder.resolve())}


def _remove(
    workspace: Workspace, study: Study, key: PseudonymKey, found: _PatientTraces, patient: str, progress: Progress
) -> None:
    """Remove everything, in an order that can be begun again."""
    pseudonym = key.pseudonym("p", identifier_of(patient, study.labelbox))
    today = datetime.now(UTC).date().isoformat()
    record_withdrawal(
        workspace, pseudonym, {photograph_pseudonym(image, key) for image in found.images}, key=key, date=today
    )
    for path in _inside(workspace, found):
        path.unlink(missing_ok=True)
    results.clean_runs(workspace, found.cases)
    results.clean_splits(workspace, pseudonym, found.cases, date=today)
    for folder in (workspace.reports, workspace.features):
        shutil.rmtree(folder, ignore_errors=True)
    _clear_leftovers(workspace)
    stones = suppression_list(workspace, study, key)
    for export in landed_exports(workspace):
        progress(f"rewriting {scrub(export.source)}", 0, None)
        filter_export(workspace, export, stones, secrets=(patient.strip(),))
    _sweep(workspace, study)


def _renew(workspace: Workspace, reparse: Callable[[], object]) -> None:
    """Make the registry anew from the exports that are left, or remove it where none is."""
    if landed_exports(workspace):
        reparse()
        tables.make_anew(workspace)
    else:
        workspace.registry.unlink(missing_ok=True)


def _sweep(workspace: Workspace, study: Study) -> None:
    """Remove the fetched photographs and masks that no remaining row names, from the folders and from their indexes."""
    kept: dict[bool, set[str]] = {False: set(), True: set()}
    for export in landed_exports(workspace):
        for link in links_of(export, longest=study.ingest.longest_row):
            kept[link.is_mask].add(file_name(link.id))
    for folder, names in ((workspace.photographs, kept[False]), (workspace.folder / "masks", kept[True])):
        index = folder / PHOTOGRAPH_INDEX
        if index.is_file():
            records = [json.loads(line) for line in index.read_bytes().splitlines() if line]
            for record in records:
                if record["name"] not in names:
                    (folder / record["name"]).unlink(missing_ok=True)
            lines = (json.dumps(record, sort_keys=True) + "\n" for record in records if record["name"] in names)
            write_atomically(index, "".join(lines).encode(), mode=0o600)


def _clear_leftovers(workspace: Workspace) -> None:
    """Remove what a killed command may have left half-written."""
    for path in workspace.folder.glob(".parse-*"):
        shutil.rmtree(path, ignore_errors=True)
    for pattern in ("exports/.*", "runs/*/.*", "runs/*/predictions/.*"):
        for path in workspace.folder.glob(pattern):
            path.unlink()
