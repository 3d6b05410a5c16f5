"""Runs of another workspace: their files, their classes in the words of this study, and the check against leaks."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from toolkit.errors import LeakError, ModelError, StudyError, WorkspaceError
from toolkit.files import short_id
from toolkit.manifest import Study
from toolkit.manifest.cohort import ClassSection
from toolkit.manifest.model import ModelSection, PromptSection
from toolkit.prompts.answers import Answers, mapped_answers
from toolkit.workspace import sql
from toolkit.workspace.certificate import Certified, digest, read_certificate, read_rows
from toolkit.workspace.registry import Workspace
from toolkit.workspace.runs import RunRecord, find_split, now, read_record, record_run

PART = "external"
SEEN = ("train", "validation")
"""Parts that are used in training."""


def bring(workspace: Workspace, folder: Path) -> RunRecord:
    """Record another workspace's run here and return its record; raise LeakError where it was trained on a case."""
    try:
        there = read_record(folder)
    except WorkspaceError:
        raise ModelError("there is no run in this folder", place=str(folder), remedy="give WORKSPACE/runs/ID") from None
    if there.control:
        raise ModelError(
            "this run is an input ablation",
            place=str(folder),
            remedy="give the folder of the run itself, then use predict --control here",
        )
    here, home = _external_split(workspace), Workspace(folder.resolve().parent.parent)
    salt, trained_on = _trained_on(home.split(there.split_id))
    leaks = _check(workspace, here, trained_on, salt=salt, key_there=_key_of(home))
    own = {
        "run_id": short_id([there.run_id, here, PART]),
        "split_id": here,
        "external_of": there.run_id,
        "leaks": leaks,
        "checkpoint": str((folder / "checkpoint").resolve()),
        "finished_at": now(),
    }
    return record_run(workspace, there.model_copy(update=own))


def _external_split(workspace: Workspace) -> str:
    split_id = find_split(workspace)
    if not workspace.rows(
        "select 1 from splits where split_id = $split_id and part = $part limit 1", {"split_id": split_id, "part": PART}
    ):
        raise WorkspaceError(
            "the newest split has no part external",
            place=f"split {split_id}",
            remedy="write `external = true` under [split] in this workspace's study, then toolkit split",
        )
    return split_id


def _trained_on(split: Path) -> tuple[str, list[Certified]]:
    """Return the salt of a split's photograph digests, and its cases that are used in training."""
    try:
        return read_certificate(split)["salt"], [row for row in read_rows(split) if row.part in SEEN]
    except (OSError, ValueError, TypeError, LeakError):
        raise LeakError(
            "the cases that this run was trained on are unknown: the files of its split are missing or unreadable",
            place=str(split),
            remedy="keep WORKSPACE/splits/ID and WORKSPACE/runs/ID together",
        ) from None


def _key_of(home: Workspace) -> str | None:
    """Return the fingerprint of the other workspace's pseudonym key, where its registry is at hand."""
    return home.rows("select key_fingerprint from label_states")[0]["key_fingerprint"] if home.is_parsed() else None


def _check(
    workspace: Workspace, split_id: str, trained_on: list[Certified], *, salt: str, key_there: str | None
) -> dict[str, Any]:
    """Refuse a run that was trained on a photograph or a patient of these cases; return what could be compared."""
    digests, patient_ids = {row.photograph_digest for row in trained_on}, {row.patient_id for row in trained_on}
    rows = workspace.rows(sql.statement("predict/external_cases"), {"split_id": split_id, "part": PART})
    with_pixels = [row for row in rows if row["pixel_sha256"] is not None]
    photographs = [row["case_id"] for row in with_pixels if digest(salt, row["pixel_sha256"]) in digests]
    patients = [row["case_id"] for row in rows if row["patient_id"] in patient_ids]
    if leaks := sorted({*photographs, *patients}):
        raise LeakError(
            f"the run was trained on {len(photographs)} of these photographs, and on the patients of "
            f"{len(patients)} cases",
            place=f"part external: case {leaks[0]}{' and others' if len(leaks) > 1 else ''}",
            remedy="leave them out of this workspace's exports, then parse and split again",
        )
    return {
        "photographs_compared": len(with_pixels),
        "cases": len(rows),
        # Pseudonyms made with two keys differ, even for the same patient.
        "patients_compared": key_there == rows[0]["key_fingerprint"],
    }


def as_trained(study: Study, record: RunRecord) -> tuple[Study, Answers]:
    """Return this study with the prompt and crops of a run, and the run's answers by the classes of this study."""
    try:
        sections = {"prompt": PromptSection, "model": ModelSection}
        trained = {name: section.model_validate(record.study[name]) for name, section in sections.items()}
        classes = [ClassSection.model_validate(each) for each in record.study["classes"]]
    except (ValidationError, KeyError) as error:
        raise ModelError(
            f"the study that run {record.run_id} was trained with cannot be read: {str(error).splitlines()[0]}",
            remedy="use the version of the toolkit that trained it",
        ) from None
    return study.model_copy(update=trained), mapped_answers(study.class_names, classes, meaning(study, classes))


def meaning(study: Study, trained: list[ClassSection]) -> dict[str, str]:
    """Return this study's class for each of the run's: as [external] classes says, else by a spelling they share."""
    known = {c.name for c in trained}
    mapped: dict[str, str] = {}
    for own, theirs in study.external.classes.items():
        for name in [theirs] if isinstance(theirs, str) else theirs:
            if name not in known or name in mapped:
                fault = "is listed twice" if name in mapped else "is no class of the run"
                raise StudyError(
                    f"external.classes: {name!r} {fault}", remedy=f"the run's classes are: {', '.join(sorted(known))}"
                )
            mapped[name] = own
    for c in trained:
        alike = {study.class_of(spelling) for spelling in c.spellings} - {None, *study.external.classes}
        if c.name not in mapped and len(alike) == 1:
            mapped[c.name] = str(alike.pop())
    if len(set(mapped.values())) < 2:
        raise StudyError(
            "the run knows fewer than two of this study's classes",
            place="external.classes",
            remedy=f"map them in [external] classes; the run's classes are: {', '.join(sorted(known))}",
        )
    return mapped
