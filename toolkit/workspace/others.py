"""Runs of another workspace: whether the files are what they claim, what they have seen, and that they hold no code.

Whoever hands on a run may have changed anything in it. Its split must hold, its checkpoint must be the one that its
record names, and nothing in it chooses code to run, a file outside its folder or a model of the hub.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from toolkit.errors import LeakError, ModelError, WorkspaceError
from toolkit.files import read_json, sha256_of_file
from toolkit.manifest import Study
from toolkit.workspace import ledger, sql
from toolkit.workspace.certificate import Certified, digest, read_certificate, read_rows
from toolkit.workspace.registry import Workspace
from toolkit.workspace.runs import RECORD, RunRecord, check_checkpoint, read_record
from toolkit.workspace.verification import verify

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
    """The cases that a run was trained on or watched, with what their digests and pseudonyms were made with."""

    rows: list[Certified]
    salt: str
    withdrawn: int
    """How many have left the split since."""
    key_fingerprint: str | None
    """Of the pseudonym key; earlier versions did not note it."""


def record_of_others(home: Workspace, folder: Path) -> RunRecord:
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
    return there


def trained_on(home: Workspace, there: RunRecord) -> list[TrainedOn]:
    """Return what a run was trained on, and what those were that it started from; raise LeakError where it is unknown.

    It is told by the files of their splits, which must hold and be those of the training.
    """
    runs = [there]
    while name := runs[-1].started_from:
        known = {run.run_id for run in runs}
        try:
            earlier = record_of_others(home, home.run(name)) if SHORT_ID.fullmatch(name) else None
            problem = "that is no run, or another one"
        except ModelError as error:
            earlier, problem = None, error.problem
        if earlier is None or earlier.run_id != name or name in known:
            raise LeakError(
                f"the training started from another run, and what that has seen is unknown: {problem}",
                place=f"started_from in {home.run(runs[-1].run_id) / RECORD}",
                remedy="ask for the whole workspace in which the run was trained, or for a run that started from none",
            )
        runs.append(earlier)
    return [_trained_on(home.split(run.split_id), home, run) for run in runs]


def _trained_on(split: Path, home: Workspace, there: RunRecord) -> TrainedOn:
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
    return TrainedOn(seen, stated["salt"], withdrawn, there.key_fingerprint)


def compared_with_cases(workspace: Workspace, split_id: str, seen: list[TrainedOn]) -> dict[str, Any]:
    """Refuse a run that has seen a photograph or a patient of a split's cases; return what could be compared."""
    rows = workspace.rows(sql.statement("predict/external_cases"), {"split_id": split_id})
    with_pixels = [row for row in rows if row["pixel_sha256"] is not None]
    photographs, patients = set[str](), set[str]()
    for each in seen:
        digests, patient_ids = (
            {getattr(row, name) for row in each.rows} for name in ("photograph_digest", "patient_id")
        )
        photographs |= {row["case_id"] for row in with_pixels if digest(each.salt, row["pixel_sha256"]) in digests}
        patients |= {row["case_id"] for row in rows if row["patient_id"] in patient_ids}
    if leaks := sorted(photographs | patients):
        raise LeakError(
            f"the run was trained on {len(photographs)} of these photographs, and on the patients of "
            f"{len(patients)} cases",
            place=f"split {split_id}: case {leaks[0]}{' and others' if len(leaks) > 1 else ''}",
            remedy="leave them out of this workspace's exports, then parse and split again",
        )
    # A photograph without a digest there, or a case that was withdrawn there, cannot be compared with any here.
    unknown = sum(each.withdrawn + sum(not row.photograph_digest for row in each.rows) for each in seen)
    return {
        "photographs_compared": len(with_pixels),
        "cases": len(rows),
        # Pseudonyms made with two keys differ, even for the same patient; earlier versions did not note the key.
        "patients_compared": {each.key_fingerprint for each in seen} - {None} == {rows[0]["key_fingerprint"]}
        and all(each.key_fingerprint for each in seen),
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
    if beside.is_dir() and any(beside.is_relative_to(home / name) for name in ("models", "runs")):
        _without_code(beside)
    elif name != study.model.name:
        raise ModelError(
            f"the run is a LoRA adapter of the checkpoint {name!r}, which this study does not name",
            place=str(folder / BASE),
            remedy="if you trust that checkpoint, write it as [model] name in this study",
        )
