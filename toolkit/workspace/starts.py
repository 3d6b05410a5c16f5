"""The run whose weights a training starts from: it has seen no patient of the test set."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from toolkit.errors import LeakError, ModelError
from toolkit.manifest import Study
from toolkit.manifest.model import LoraSection
from toolkit.workspace import sql
from toolkit.workspace.others import (
    check_base,
    check_checkpoint_of_others,
    compared_with_cases,
    record_of_others,
    trained_on,
)
from toolkit.workspace.registry import Workspace
from toolkit.workspace.runs import RunRecord, check_checkpoint, find_run, read_run

KEY = "[train] start_from"


class Start(NamedTuple):
    """A run that a training starts from, and the folder of its weights."""

    record: RunRecord
    checkpoint: Path
    leaks: dict[str, Any]
    """What was compared to see that a run of another workspace has seen no case of the split; empty of one's own."""


def start_of(workspace: Workspace, study: Study, split_id: str) -> Start | None:
    """Return the run that the study's training starts from, None where it starts from `[model] name`.

    Raises ModelError for a run that has no weights to start from, and LeakError where it, or one that it started from
    itself, has seen patients of the split's test set; of another workspace, of any case of the split.
    """
    if not study.train.start_from:
        return None
    record = read_run(workspace, find_run(workspace, study.train.start_from))
    _check_weights(study, record)
    checkpoint = Path(record.checkpoint or workspace.run(record.run_id) / "checkpoint")
    if record.external_of:
        check_checkpoint_of_others(checkpoint, record)
        check_base(study, checkpoint)
    else:
        check_checkpoint(checkpoint, record)
    leaks: dict[str, Any] = {}
    for earlier in _with_earlier(workspace, record):
        if earlier.external_of:
            leaks = _compared_with_others(workspace, earlier, split_id)
        else:
            _check_patients(workspace, earlier, split_id)
    return Start(record, checkpoint, leaks)


def _check_weights(study: Study, start: RunRecord) -> None:
    trained = start.study.get("train", {}), start.study.get("model", {})
    if start.source or not start.was_trained or not trained[1].get("backend"):
        problem = f"run {start.run_id} has no training of its own"
        raise ModelError(problem, place=KEY, remedy="name a run that toolkit train made, here or in another workspace")
    if trained[1]["backend"] != study.model.backend:
        problem = f"run {start.run_id} is of another [model] backend: {trained[1]['backend']}"
        raise ModelError(
            problem, place=KEY, remedy=f'set backend = "{trained[1]["backend"]}", or start from another run'
        )
    if trained[0].get("mode") == "lora":
        _check_adapter(study, start)


def _check_adapter(study: Study, start: RunRecord) -> None:
    """Refuse to train on an adapter in another mode, on another base, or with another rank or alpha than it has."""
    own = LoraSection.model_validate(start.study["train"].get("lora", {}))
    if study.train.mode != "lora":
        problem = f"run {start.run_id} holds adapters, and no weights of its own that could be trained"
        raise ModelError(problem, place=KEY, remedy='set mode = "lora" under [train], or start from another run')
    if study.model.name != start.study["model"].get("name"):
        problem = f"the adapters of run {start.run_id} are of [model] name = {start.study['model'].get('name')!r}"
        raise ModelError(problem, place="[model] name", remedy="name the same checkpoint: it is read from where it was")
    if (study.train.lora.rank, study.train.lora.alpha) != (own.rank, own.alpha):
        raise ModelError(
            f"the adapters of run {start.run_id} have rank {own.rank} and alpha {own.alpha}",
            place="[train.lora] rank",
            remedy=f"set rank = {own.rank} and alpha = {own.alpha}; dropout may be another",
        )


def _with_earlier(workspace: Workspace, start: RunRecord) -> Iterator[RunRecord]:
    """Yield a run, and those that it started from, as far as they are recorded here."""
    yield start
    while start.started_from and not start.external_of:
        start = read_run(workspace, start.started_from)
        yield start


def _compared_with_others(workspace: Workspace, start: RunRecord, split_id: str) -> dict[str, Any]:
    """Compare a split's cases of today with what a run of another workspace has seen; return what could be compared."""
    folder = Path(start.checkpoint or "").parent
    home = Workspace(folder.parent.parent)
    there = record_of_others(home, folder)
    recorded = start.external_of, start.split_seal, start.checkpoint_files
    if recorded != (there.run_id, there.split_seal, there.checkpoint_files):
        raise ModelError(
            f"the run in this folder is not the one that was recorded here as run {start.run_id}",
            place=str(folder),
            remedy="put it back as it was, or record this one: toolkit predict --run FOLDER",
        )
    return compared_with_cases(workspace, split_id, trained_on(home, there))


def _check_patients(workspace: Workspace, start: RunRecord, split_id: str) -> None:
    key = {"split_id": split_id, "start_split_id": start.split_id}
    [known] = workspace.rows(sql.statement("train/start_split"), {"start_split_id": start.split_id})
    if not known["cases"]:
        raise LeakError(
            f"which patients run {start.run_id} has seen cannot be told: its split {start.split_id} is gone",
            place=KEY,
            remedy="restore the split, or start from another run",
        )
    seen = workspace.rows(sql.statement("train/start_leaks"), key)
    if seen:
        counts = ", ".join(f"{row['patients']} of {row['part']}" for row in seen)
        raise LeakError(
            f"run {start.run_id} has seen patients of split {split_id} that it must not know: {counts}",
            place=KEY,
            remedy=f"toolkit split --frozen {start.split_id} keeps every patient where that run had them",
        )
