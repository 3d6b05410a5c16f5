"""Runs of another workspace: what is checked before they are believed, their classes in the words of this study.

Whoever hands on a run may have changed anything in it. Its split must hold, its checkpoint must be the one that its
record names, and nothing in it chooses code to run, a file outside its folder or a model of the hub.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from toolkit.errors import LeakError, ModelError, StudyError, WorkspaceError
from toolkit.files import read_json, sha256_of_file, short_id
from toolkit.manifest import Study, faults
from toolkit.manifest.cohort import ClassSection
from toolkit.manifest.model import ModelSection, PromptSection, TrainSection
from toolkit.models import BUILT_IN
from toolkit.prompts.answers import Answers, mapped_answers
from toolkit.stages.predict.frozen import frozen
from toolkit.workspace import ledger, sql
from toolkit.workspace.certificate import Certified, digest, read_certificate, read_rows
from toolkit.workspace.registry import Workspace
from toolkit.workspace.runs import (
    RECORD,
    RunRecord,
    check_checkpoint,
    find_split,
    now,
    read_record,
    record_run,
)
from toolkit.workspace.verification import verify

PART = "external"
SEEN = ("train", "validation")
"""Parts that are used in training."""
SHORT_ID = re.compile(r"[0-9a-f]{8}")
TEXT_AND_WEIGHTS = {".json", ".safetensors", ".txt", ".model", ".jinja", ".md"}
"""Files that a checkpoint of others may hold: none that is code or is unpacked into objects."""
VOCABULARY = ("tokenizer.json", "vocab.json")
"""Files whose keys are words, not settings."""
CHOOSES_CODE = {"auto_map", "attn_implementation", "_attn_implementation", "quantization_config", "use_kernels"}
"""Settings of a model with which libraries fetch or import code that the file names."""
BASE = "base.json"
TOGETHER = "keep WORKSPACE/splits/ID and WORKSPACE/runs/ID together, as they were written"


class TrainedOn(NamedTuple):
    """The cases that a run was trained on or watched, the salt of their digests, and how many have left the split."""

    rows: list[Certified]
    salt: str
    withdrawn: int


def bring(workspace: Workspace, folder: Path, study: Study | None = None) -> RunRecord:
    """Record another workspace's run here and return its record; raise LeakError where it was trained on a case.

    With the study, whose classes its own are mapped to, the record holds its thresholds and temperature.
    """
    here, home = _external_split(workspace), Workspace(folder.resolve().parent.parent)
    there = _record_of(home, folder)
    trained_on = _trained_on(home.split(there.split_id), home, there)
    leaks = _check(workspace, here, trained_on, key_there=there.key_fingerprint)
    check_checkpoint_of_others(folder / "checkpoint", there)
    own = {
        "run_id": short_id([there.run_id, here, PART]),
        "split_id": here,
        "external_of": there.run_id,
        "replicate_of": None,
        "leaks": leaks,
        "frozen": frozen(folder, meaning(study, _sections(there)[1])) if study else {},
        "checkpoint": str((folder / "checkpoint").resolve()),
        "trained_at": there.finished_at,
        "finished_at": now(),
    }
    return record_run(workspace, there.model_copy(update=own))


def _record_of(home: Workspace, folder: Path) -> RunRecord:
    """Return the record of a run whose kind, names and settings are such that it can be used here."""
    try:
        there = read_record(folder)
    except WorkspaceError as error:
        problem = f"there is no run in this folder that can be read: {error.problem}"
        raise ModelError(problem, place=str(folder), remedy="give WORKSPACE/runs/ID") from None
    if there.source:
        raise ModelError(
            "this run's predictions were read from a file: there is no model to try here",
            place=str(folder),
            remedy="read the model's predictions of this workspace's cases: predict --from FILE --model-name NAME",
        )
    if there.control or there.control_of or there.external_of:
        kind = "a run of yet another workspace" if there.external_of else "an input ablation"
        raise ModelError(
            f"this run is {kind}",
            place=str(folder),
            remedy="give the folder of the run itself, then use predict --control here",
        )
    if not (SHORT_ID.fullmatch(there.run_id) and SHORT_ID.fullmatch(there.split_id)):
        raise ModelError(
            "run_id and split_id are not the 8 hexadecimal digits that name a run and a split",
            place=str(folder / RECORD),
            remedy="ask for the run as toolkit train wrote it",
        )
    if there.split_seal is None or there.checkpoint_files is None:
        raise ModelError(
            "whoever trained this run noted no seal of its split or no digests of its checkpoint",
            place=str(folder / RECORD),
            remedy="train it again there with today's version: it cannot be checked otherwise",
        )
    noted = ledger.last(home, "run", there.run_id)
    if noted and noted["record_sha256"] != sha256_of_file(folder / RECORD):
        raise ModelError(
            "run.json is not the one that was noted in the ledger of its workspace",
            place=str(folder / RECORD),
            remedy=TOGETHER,
        )
    _sections(there)
    return there


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


def _trained_on(split: Path, home: Workspace, there: RunRecord) -> TrainedOn:
    """Return what a run was trained on, from the files of its split, which must hold and be those of the training."""
    try:
        verify(split)
        stated, rows = read_certificate(split), read_rows(split)
    except LeakError as error:
        raise LeakError(
            f"the cases that this run was trained on are unknown, since its split does not hold: {error.problem}",
            place=error.place or str(split),
            remedy=TOGETHER,
        ) from None
    withdrawn = sum(each["cases"] for each in stated.get("withdrawn", []))
    seals = {stated["seal"]}
    if withdrawn:  # it was sealed again since; the ledger there knows the seals before
        seals |= {entry["seal"] for entry in ledger.entries(home, "split") if entry["split_id"] == there.split_id}
    if stated["split_id"] != there.split_id or there.split_seal not in seals:
        raise LeakError(
            "this is not the split that the run was trained on: run.json notes another seal",
            place=str(split),
            remedy=TOGETHER,
        )
    seen = [row for row in rows if row.part in SEEN]
    trained = sum(row.part == "train" for row in seen)
    watched = len(seen) - trained
    too_many = there.train_cases > trained + withdrawn or there.validation_cases > watched + withdrawn
    if not trained or there.train_cases < 1 or too_many:
        raise LeakError(
            f"the run was trained on {there.train_cases} cases and watched {there.validation_cases}, "
            f"but its split holds {trained} and {watched}",
            place=str(split),
            remedy=TOGETHER,
        )
    return TrainedOn(seen, stated["salt"], withdrawn)


def _check(workspace: Workspace, split_id: str, trained_on: TrainedOn, *, key_there: str | None) -> dict[str, Any]:
    """Refuse a run that was trained on a photograph or a patient of these cases; return what could be compared."""
    digests = {row.photograph_digest for row in trained_on.rows}
    patient_ids = {row.patient_id for row in trained_on.rows}
    rows = workspace.rows(sql.statement("predict/external_cases"), {"split_id": split_id, "part": PART})
    with_pixels = [row for row in rows if row["pixel_sha256"] is not None]
    photographs = [row["case_id"] for row in with_pixels if digest(trained_on.salt, row["pixel_sha256"]) in digests]
    patients = [row["case_id"] for row in rows if row["patient_id"] in patient_ids]
    if leaks := sorted({*photographs, *patients}):
        raise LeakError(
            f"the run was trained on {len(photographs)} of these photographs, and on the patients of "
            f"{len(patients)} cases",
            place=f"part external: case {leaks[0]}{' and others' if len(leaks) > 1 else ''}",
            remedy="leave them out of this workspace's exports, then parse and split again",
        )
    # A photograph without a digest there, or a case that was withdrawn there, cannot be compared with any here.
    unknown = trained_on.withdrawn + sum(not row.photograph_digest for row in trained_on.rows)
    return {
        "photographs_compared": len(with_pixels),
        "cases": len(rows),
        # Pseudonyms made with two keys differ, even for the same patient; earlier versions did not note the key.
        "patients_compared": key_there is not None and key_there == rows[0]["key_fingerprint"],
        **({"unknown_there": unknown} if unknown else {}),
    }


def check_checkpoint_of_others(folder: Path, record: RunRecord) -> None:
    """Refuse a checkpoint that is not the one in run.json, or that holds or names code."""
    if not folder.is_dir() or not record.checkpoint_files:
        raise ModelError(f"the checkpoint of run {record.run_id} is gone", place=str(folder), remedy="put it back")
    check_checkpoint(folder, record)
    _without_code(folder)
    weights = (record.model.model_extra or {}).get("base_weights_sha256")
    if (folder / BASE).exists() and _base(folder).get("weights_sha256") != weights:
        raise ModelError(
            "the adapter was not trained on the weights that run.json names", place=str(folder / BASE), remedy=TOGETHER
        )


def _without_code(folder: Path) -> None:
    """Refuse files that are code or hide it, and settings that name code; a checkpoint of the toolkit has neither."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        named = set()
        if path.suffix == ".json" and path.name not in VOCABULARY:
            named = {key for key, value in _settings(read_json(path)) if key in CHOOSES_CODE and value is not None}
        if path.suffix not in TEXT_AND_WEIGHTS or named:
            fault = f"sets {min(named)}" if named else "is neither text nor safetensors"
            raise ModelError(
                f"a checkpoint of others may hold no code and name none, but {path.name!r} {fault}",
                place=str(path),
                remedy="ask for the run as toolkit train wrote it",
            )


def _settings(document: Any) -> Iterator[tuple[str, Any]]:
    """Yield every key of a JSON document with its value."""
    if isinstance(document, dict):
        yield from document.items()
    for value in document.values() if isinstance(document, dict) else document if isinstance(document, list) else ():
        yield from _settings(value)


def _base(folder: Path) -> dict[str, Any]:
    """Return what stands beside an adapter: the checkpoint that it was trained on."""
    base = read_json(folder / BASE)
    if not isinstance(base.get("name"), str):
        raise ModelError("base.json names no checkpoint", place=str(folder / BASE), remedy=TOGETHER)
    return base


def check_base(study: Study, folder: Path) -> None:
    """Refuse an adapter whose checkpoint is neither in its own workspace nor the one that this study names."""
    if not (folder / BASE).exists():
        return
    name = _base(folder)["name"]
    beside, home = (folder / name).resolve(), folder.resolve().parents[2]
    if beside.is_dir() and beside.is_relative_to(home / "models"):
        _without_code(beside)
    elif name != study.model.name:
        raise ModelError(
            f"the run is a LoRA adapter of the checkpoint {name!r}, which this study does not name",
            place=str(folder / BASE),
            remedy="if you trust that checkpoint, write it as [model] name in this study",
        )


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
