"""How a run of another workspace is brought to the cases of this one: its files, its classes, what it has seen.

Refuses a run that was trained on a photograph or a patient of these cases, and one whose split is not there to tell.
"""

import json
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from pydantic import ValidationError

from toolkit.errors import LeakError, ModelError, StudyError, WorkspaceError
from toolkit.files import short_id, write_json
from toolkit.manifest import Study
from toolkit.manifest.cohort import ClassSection
from toolkit.manifest.model import ModelSection, PromptSection
from toolkit.workspace import sql
from toolkit.workspace.certificate import digest, find_certificate, read_rows
from toolkit.workspace.registry import Workspace, insert
from toolkit.workspace.runs import find_split, now, read_run

PART = "external"
SEEN = ("train", "validation")
"""Parts that a run has seen."""


class SeenInTraining(NamedTuple):
    """What a run was trained on and watched with, as its split's files say."""

    salt: str
    photographs: set[str]
    patients: set[str]


def is_folder(run: str) -> bool:
    """Tell whether a run is given by its folder instead of by its ID."""
    return (Path(run) / "run.json").is_file()


def bring(workspace: Workspace, folder: Path) -> dict[str, Any]:
    """Record another workspace's run here, once, and return its record; raise LeakError where it has seen a case."""
    try:
        facts = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        run_id, split_id = facts["run_id"], facts["split_id"]
    except (OSError, ValueError, KeyError, TypeError):
        raise ModelError("there is no run in this folder", place=str(folder), remedy="give WORKSPACE/runs/ID") from None
    if facts.get("control"):
        raise ModelError(
            "this run is a control", place=str(folder), remedy="bring the run, then predict --control here"
        )
    here = _external_split(workspace)
    seen = _seen(folder.resolve().parent.parent, split_id)
    checked = _check(workspace, here, seen, key_there=_key_of(folder))
    own = {"run_id": short_id([run_id, here, PART]), "split_id": here, "external_of": run_id, "leaks": checked}
    told = {**facts, **own, "checkpoint": str((folder / "checkpoint").resolve()), "finished_at": now()}
    record = workspace.run(own["run_id"]) / "run.json"
    if record.is_file():
        told["finished_at"] = read_run(workspace, own["run_id"])["finished_at"]
    write_json(record, told)
    _register(workspace, told)
    return told


def _register(workspace: Workspace, facts: dict[str, Any]) -> None:
    """Mirror the run in the registry, once; what was watched in its training is not of these cases."""
    if workspace.rows("select 1 from runs where run_id = $run_id", {"run_id": facts["run_id"]}):
        return
    row = {name: facts[name] for name in ("run_id", "split_id", "truth_id", "train_cases", "train_patients", "seconds")}
    row |= {"model": facts["model"]["name"], "device": facts["model"]["device"], "epochs": len(facts["epochs"])}
    row["finished_at"] = datetime.fromisoformat(facts["finished_at"])
    with workspace.writing() as connection:
        insert(connection, "runs", pa.Table.from_pylist([row]))


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


def _seen(there: Path, split_id: str) -> SeenInTraining:
    folder = there / "splits" / split_id
    try:
        salt = (find_certificate(folder) or {})["salt"]
        rows = [row for row in read_rows(folder) if row.part in SEEN]
        photographs = {row.photograph_digest for row in rows} - {""}
        return SeenInTraining(salt, photographs, {row.patient_id for row in rows})
    except (OSError, ValueError, KeyError):
        raise LeakError(
            "nobody can tell what this run has seen: its split is not beside it",
            place=str(folder),
            remedy="keep WORKSPACE/splits/ID and WORKSPACE/runs/ID together",
        ) from None


def _key_of(folder: Path) -> str | None:
    """Return the fingerprint of the other workspace's pseudonym key, where its registry is at hand."""
    there = Workspace(folder.resolve().parent.parent)
    return there.rows("select key_fingerprint from label_states")[0]["key_fingerprint"] if there.is_parsed() else None


def _check(workspace: Workspace, split_id: str, seen: SeenInTraining, *, key_there: str | None) -> dict[str, Any]:
    rows = workspace.rows(sql.statement("predict/external_cases"), {"split_id": split_id, "part": PART})
    opened = [row for row in rows if row["pixel_sha256"]]
    photographs = [row["case_id"] for row in opened if digest(seen.salt, row["pixel_sha256"]) in seen.photographs]
    patients = [row["case_id"] for row in rows if row["patient_id"] in seen.patients]
    if found := sorted({*photographs, *patients}):
        raise LeakError(
            f"the run has seen {len(photographs)} of these photographs, and the patients of {len(patients)} cases",
            place=f"part external: case {found[0]}{' and others' if len(found) > 1 else ''}",
            remedy="leave them out of this workspace's exports, then parse and split again",
        )
    return {
        "photographs_compared": sum(row["pixel_sha256"] is not None for row in rows),
        "cases": len(rows),
        # Pseudonyms of two keys have nothing in common, whoever they stand for.
        "patients_compared": key_there == rows[0]["key_fingerprint"],
    }


def asked_as(study: Study, facts: dict[str, Any]) -> Study:
    """Return this workspace's study with the prompt and the crops that the run was trained with."""
    then, kinds = facts["study"], {"prompt": PromptSection, "model": ModelSection}
    with _of_this_version(facts):
        return study.model_copy(update={name: kind.model_validate(then[name]) for name, kind in kinds.items()})


def classes_of(facts: dict[str, Any]) -> list[ClassSection]:
    """Return the classes that a run knows."""
    with _of_this_version(facts):
        return [ClassSection.model_validate(each) for each in facts["study"]["classes"]]


@contextmanager
def _of_this_version(facts: dict[str, Any]) -> Generator[None]:
    try:
        yield
    except (ValidationError, KeyError) as error:
        raise ModelError(
            f"the study that run {facts['run_id']} was trained with cannot be read: {str(error).splitlines()[0]}",
            remedy="use the version of the toolkit that trained it",
        ) from None


def meaning(study: Study, said: list[ClassSection]) -> dict[str, str]:
    """Return this study's class for each of the run's: as [external] classes says, else by a spelling they share."""
    known = {c.name for c in said}
    found: dict[str, str] = {}
    for own, theirs in study.external.classes.items():
        for name in [theirs] if isinstance(theirs, str) else theirs:
            if name not in known or name in found:
                fault = "stands there twice" if name in found else "is no class of the run"
                raise StudyError(
                    f"external.classes: {name!r} {fault}", remedy=f"the run's classes are: {', '.join(sorted(known))}"
                )
            found[name] = own
    for c in said:
        alike = {study.class_of(spelling) for spelling in c.spellings} - {None, *study.external.classes}
        if c.name not in found and len(alike) == 1:
            found[c.name] = str(alike.pop())
    if len(set(found.values())) < 2:
        raise StudyError(
            "the run knows fewer than two of this study's classes",
            place="external.classes",
            remedy=f"say which is which; the run's classes are: {', '.join(sorted(known))}",
        )
    return found
