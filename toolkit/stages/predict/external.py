"""Runs of another workspace: how they are recorded here, and their classes in the words of this study.

What is checked before they are believed stands in `toolkit.workspace.others`.
"""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from toolkit.errors import ModelError, StudyError
from toolkit.files import short_id
from toolkit.manifest import Study, faults
from toolkit.manifest.cohort import ClassSection
from toolkit.manifest.model import ModelSection, PromptSection, TrainSection
from toolkit.models import BUILT_IN
from toolkit.prompts.answers import Answers, mapped_answers
from toolkit.stages.predict.frozen import frozen
from toolkit.workspace.others import (
    check_base,
    check_checkpoint_of_others,
    compared_with_cases,
    record_of_others,
    trained_on,
)
from toolkit.workspace.registry import Workspace
from toolkit.workspace.runs import UNLABELLED, RunRecord, find_split, now, record_run

PART = "external"


def bring(workspace: Workspace, folder: Path, study: Study | None = None) -> RunRecord:
    """Record another workspace's run for the newest split here and return its record.

    Raises LeakError where it, or a run that it started from, was trained on a photograph or a patient of the split.
    With the study, whose classes its own are mapped to, the record holds its thresholds and temperature.
    """
    here, home = find_split(workspace), Workspace(folder.resolve().parent.parent)
    there = record_of_others(home, folder)
    _sections(there)
    leaks = compared_with_cases(workspace, here, trained_on(home, there))
    check_checkpoint_of_others(folder / "checkpoint", there)
    own = {
        "run_id": short_id([there.run_id, here, PART]),
        "split_id": here,
        "external_of": there.run_id,
        "replicate_of": None,
        "started_from": None,
        "leaks": leaks,
        "frozen": frozen(folder, meaning(study, _sections(there)[1])) if study else {},
        "checkpoint": str((folder / "checkpoint").resolve()),
        "trained_at": there.finished_at,
        "finished_at": now(),
    }
    return record_run(workspace, there.model_copy(update=own))


def parts_of(workspace: Workspace, record: RunRecord, asked: tuple[str, ...] | None) -> tuple[str, ...]:
    """Return the part that a run of another workspace is tried on: a split's part external, else its test set.

    On a validation set thresholds and temperature would be chosen anew: they are those of where it was trained.
    """
    query = "select 1 from splits where split_id = $split_id and part = $part limit 1"
    part = PART if workspace.rows(query, {"split_id": record.split_id, "part": PART}) else "test"
    if not {part, UNLABELLED} >= set(asked or ()):
        raise ModelError(
            f"run {record.run_id} is one of another workspace: here it is tried on part {part} alone",
            place=f"split {record.split_id}",
            remedy="leave --part out",
        )
    return asked or (part,)


def _sections(record: RunRecord) -> tuple[dict[str, Any], list[ClassSection]]:
    """Return the sections of the study that a run was trained with; refuse a backend that is not built in."""
    sections = {"prompt": PromptSection, "model": ModelSection, "train": TrainSection}
    try:
        trained = {name: section.model_validate(record.study[name]) for name, section in sections.items()}
        classes = [ClassSection.model_validate(each) for each in record.study["classes"]]
        named = record.study["model"]["backend"]
        _ = record.study["model"]["dtype"], record.study["train"]["mode"]  # what `predict` reads
    except (ValidationError, KeyError, TypeError) as error:
        reason = faults(error)[0] if isinstance(error, ValidationError) else f"it lacks {error}"
        raise ModelError(
            f"the study that run {record.run_id} was trained with cannot be read: {reason[:300]}",
            remedy="use the version of the toolkit that trained it",
        ) from None
    if named not in BUILT_IN:
        raise ModelError(
            f"a run of another workspace may not choose the code that is run here: {named!r}",
            place="[model] backend in its run.json",
            remedy=f"the backends that it may name are: {', '.join(BUILT_IN)}",
        )
    return trained, classes


def as_trained(study: Study, record: RunRecord) -> tuple[Study, Answers]:
    """Return this study with the prompt and crops of a run, and the run's answers by the classes of this study."""
    trained, classes = _sections(record)
    check_base(study, Path(record.checkpoint or ""))
    update = {name: trained[name] for name in ("prompt", "model")}
    return study.model_copy(update=update), mapped_answers(study.class_names, classes, meaning(study, classes))


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
