"""Knows how a split's training cases become a run: a checkpoint, its losses and a record of how it was made.

Refuses to see the test part. The model itself is behind `models.backend`.
"""

import shutil
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from toolkit.errors import ModelError
from toolkit.files import csv_text, short_id, write_atomically, write_json
from toolkit.manifest import Study
from toolkit.models import backend
from toolkit.models.backend import Backend, Epoch, Examples
from toolkit.progress import Progress, silent
from toolkit.prompts import prompts_of
from toolkit.registry import Workspace, insert
from toolkit.runs import PartCase, crops_of, find_split, read_run, resolved_cases


@dataclass(frozen=True)
class Trained:
    """What was trained on what; `metrics` are those of the last epoch on validation."""

    run_id: str
    split_id: str
    model: str
    device: str
    train_cases: int
    train_patients: int
    validation_cases: int
    epochs: int
    train_loss: float
    validation_loss: float
    metrics: dict[str, float]
    seconds: float
    already_there: bool


def train(  # noqa: PLR0913 - the stage's inputs
    workspace: Workspace,
    study: Study,
    *,
    study_folder: Path,
    split_id: str = "latest",
    device: str | None = None,
    resume: bool = False,
    progress: Progress = silent,
) -> Trained:
    """Fine-tune the study's model on a split; the same study, split and truth give the same run ID.

    A run that is complete is not trained again. Raises ModelError where one was interrupted, unless `resume`.
    """
    split_id = find_split(workspace, split_id)
    parts = {part: resolved_cases(workspace, split_id, part) for part in ("train", "validation")}
    truth_id = workspace.rows("select truth_id from label_states")[0]["truth_id"]
    sections = study.digest("classes", "prompt", "model", "train")
    determined = [version("lesion-toolkit"), split_id, truth_id, study.study.seed, sections]
    run_id = short_id([*determined, [[case.case_id, case.class_name] for case in parts["train"]]])
    folder = workspace.run(run_id)
    if (folder / "run.json").exists():
        return _known(workspace, run_id)
    started = time.monotonic()
    learner = _learner(workspace, study, study_folder, device)
    training, validation = (_examples(workspace, study, learner, parts[part], progress) for part in parts)
    epochs = learner.fit(
        training,
        validation,
        answers=study.answers,
        settings=study.train,
        seed=study.study.seed,
        folder=_training_folder(folder, resume=resume),
        resume=resume,
        progress=progress,
    )
    learner.save(folder / "checkpoint")
    write_atomically(folder / "loss.csv", _loss_csv(epochs).encode())
    facts = {
        "run_id": run_id,
        "split_id": split_id,
        "truth_id": truth_id,
        **_facts(study, learner, parts, epochs),
        "seconds": round(time.monotonic() - started, 3),
    }
    write_json(folder / "run.json", facts)
    shutil.rmtree(folder / "training", ignore_errors=True)
    _record(workspace, facts)
    return _trained(facts, already_there=False)


def _facts(study: Study, learner: Backend, parts: dict[str, list[PartCase]], epochs: list[Epoch]) -> dict[str, Any]:
    """Return what a run records of its study, its model and its training; never the pseudonym key."""
    return {
        "study": study.model_dump(mode="json", exclude={"privacy": True, "ingest": {"annotator"}}),
        "model": {"name": study.model.name, "backend": study.model.backend, **learner.facts()},
        "toolkit": version("lesion-toolkit"),
        "train_cases": len(parts["train"]),
        "train_patients": len({case.patient_id for case in parts["train"]}),
        "validation_cases": len(parts["validation"]),
        "epochs": [asdict(epoch) for epoch in epochs],
        "finished_at": datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="seconds"),
    }


def _learner(workspace: Workspace, study: Study, study_folder: Path, device: str | None) -> Backend:
    """Load the checkpoint the study names: "tiny", a folder beside the study file, or a hub name."""
    learner = backend(study.model.backend)
    from toolkit.models.device import pick_device  # noqa: PLC0415 - torch is imported only to train

    name, chosen = study.model.name, pick_device(device)
    if name == "tiny":
        from toolkit.models.tiny import build_tiny  # noqa: PLC0415 - torch is imported only to train

        texts = [f"USER: {study.prompt.words} ASSISTANT:", *study.answers]
        folder = workspace.folder / "models" / f"tiny-{short_id([version('lesion-toolkit'), texts, study.study.seed])}"
        if not folder.exists():
            build_tiny(folder, texts, seed=study.study.seed)
        return learner.load(str(folder), device=chosen)
    beside = study_folder / name
    return learner.load(str(beside) if beside.is_dir() else name, device=chosen)


def _examples(
    workspace: Workspace, study: Study, learner: Backend, cases: list[PartCase], progress: Progress
) -> Examples:
    crops = crops_of(cases, margin=study.model.roi_margin, size=learner.input_size)
    crops.load(progress)
    classes = np.array([study.class_names.index(case.class_name) for case in cases])
    return Examples(crops, prompts_of(workspace, study, [case.case_id for case in cases]).texts, classes)


def _training_folder(folder: Path, *, resume: bool) -> Path:
    training = folder / "training"
    if training.exists() and any(training.iterdir()) and not resume:
        raise ModelError(
            f"run {folder.name} was interrupted while training",
            place=str(training),
            remedy="toolkit train --resume goes on from its last whole epoch; delete the folder to start again",
        )
    return training


def _loss_csv(epochs: list[Epoch]) -> str:
    names = list(epochs[0].metrics) if epochs else []
    rows = ([e.epoch, e.step, e.train_loss, e.validation_loss, *(e.metrics[name] for name in names)] for e in epochs)
    return csv_text(["epoch", "step", "train_loss", "validation_loss", *names], rows)


def _record(workspace: Workspace, facts: dict[str, Any]) -> None:
    """Mirror a finished run in the registry, once."""
    if workspace.rows("select 1 from runs where run_id = $run_id", {"run_id": facts["run_id"]}):
        return
    run = {name: facts[name] for name in ("run_id", "split_id", "truth_id", "train_cases", "train_patients", "seconds")}
    run |= {"model": facts["model"]["name"], "device": facts["model"]["device"], "epochs": len(facts["epochs"])}
    run["finished_at"] = datetime.fromisoformat(facts["finished_at"])
    watched = [
        {"run_id": facts["run_id"], "epoch": epoch["epoch"], "metric": metric, "value": value}
        for epoch in facts["epochs"]
        for metric, value in {
            "train_loss": epoch["train_loss"],
            "validation_loss": epoch["validation_loss"],
            **epoch["metrics"],
        }.items()
    ]
    with workspace.writing() as connection:
        insert(connection, "runs", pa.Table.from_pylist([run]))
        insert(connection, "epochs", pa.Table.from_pylist(watched))


def _known(workspace: Workspace, run_id: str) -> Trained:
    facts = read_run(workspace, run_id)
    _record(workspace, facts)
    return _trained(facts, already_there=True)


def _trained(facts: dict[str, Any], *, already_there: bool) -> Trained:
    last = facts["epochs"][-1]
    undefined = float("nan")
    return Trained(
        run_id=facts["run_id"],
        split_id=facts["split_id"],
        model=facts["model"]["name"],
        device=facts["model"]["device"],
        train_cases=facts["train_cases"],
        train_patients=facts["train_patients"],
        validation_cases=facts["validation_cases"],
        epochs=len(facts["epochs"]),
        train_loss=last["train_loss"],
        validation_loss=last["validation_loss"],
        metrics={name: undefined if value is None else value for name, value in last["metrics"].items()},
        seconds=facts["seconds"],
        already_there=already_there,
    )
