"""How a split's training cases become a run: a checkpoint, its losses and a record of how it was made.

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
from toolkit.files import csv_text, sha256_of_file, short_id, write_atomically, write_json
from toolkit.manifest import Study
from toolkit.models import backend
from toolkit.models.backend import Backend, Epoch, Examples, TrainingJob
from toolkit.models.processes import this_process
from toolkit.progress import Progress, silent
from toolkit.prompts.prompt import prompts_of
from toolkit.workspace.certificate import find_certificate
from toolkit.workspace.registry import Workspace, insert
from toolkit.workspace.runs import PartCase, crops_of, find_split, read_run, resolved_cases


@dataclass(frozen=True)
class Trained:
    """What was trained on what; `metrics` are those of the epoch that was kept, on validation."""

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


@dataclass(frozen=True)
class TrainingPlan:
    """What a training would take, before anything is loaded; memory in GiB, without activations."""

    model: str
    device: str
    device_gib: float
    mode: str
    dtype: str
    train_cases: int
    validation_cases: int
    epochs: int
    steps: int
    modes: list["PlannedMode"]


@dataclass(frozen=True)
class PlannedMode:
    """One mode of training: the weights it moves, and the memory it takes."""

    mode: str
    trained: int
    frozen: int
    gib_float32: float
    gib_bfloat16: float
    fits: bool
    """Whether one of both is within the device's memory."""


def plan_training(
    workspace: Workspace, study: Study, *, study_folder: Path, split_id: str = "latest", device: str | None = None
) -> TrainingPlan:
    """Return what each mode of training takes on this device, and how many steps the study's own would be."""
    split_id = find_split(workspace, split_id)
    parts = {part: len(resolved_cases(workspace, split_id, part)) for part in ("train", "validation")}
    chosen = backend(study.model.backend)
    from toolkit.models.budget import GIB, device_memory  # noqa: PLC0415 - torch is imported only to train
    from toolkit.models.device import pick_device  # noqa: PLC0415 - torch is imported only to train

    place = pick_device(device)
    memory = device_memory(place)
    found = chosen.budgets(_source(workspace, study, study_folder), lora=study.train.lora)
    batches = -(-parts["train"] // study.train.batch_size)
    return TrainingPlan(
        model=study.model.name,
        device=place,
        device_gib=memory / GIB,
        mode=study.train.mode,
        dtype=study.model.dtype,
        train_cases=parts["train"],
        validation_cases=parts["validation"],
        epochs=study.train.epochs,
        steps=study.train.epochs * -(-batches // study.train.accumulate),
        modes=[
            PlannedMode(
                mode=budget.mode,
                trained=budget.trained,
                frozen=budget.frozen,
                gib_float32=budget.bytes_float32 / GIB,
                gib_bfloat16=budget.bytes_bfloat16 / GIB,
                fits=budget.least() <= memory,
            )
            for budget in found
        ],
    )


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
    run_id = short_id([*determined, [[[case.case_id, case.class_name] for case in cases] for cases in parts.values()]])
    folder = workspace.run(run_id)
    process = this_process()
    if (folder / "run.json").exists():
        with process.first_alone():
            return _known(workspace, run_id)
    started = time.monotonic()
    with process.first_alone():
        learner = _learner(workspace, study, study_folder, device)
    training, validation = (_examples(workspace, study, learner, parts[part], progress) for part in parts)
    epochs = learner.fit(
        TrainingJob(
            training,
            validation,
            study.answers,
            study.train,
            study.study.seed,
            _training_folder(folder, resume=resume),
            resume,
            progress,
        )
    )
    if process.is_first:
        seconds = round(time.monotonic() - started, 3)
        facts = {"run_id": run_id, "split_id": split_id, "truth_id": truth_id, "seconds": seconds}
        _keep(workspace, learner, epochs, facts | _facts(study, learner, parts, epochs))
    process.wait_for_others()
    return _trained(read_run(workspace, run_id), already_there=False)


def _keep(workspace: Workspace, learner: Backend, epochs: list[Epoch], facts: dict[str, Any]) -> None:
    """Write a trained run; `run.json` is its last file, so that a run is complete where it is there."""
    folder = workspace.run(facts["run_id"])
    learner.save(folder / "checkpoint")
    write_atomically(folder / "loss.csv", _loss_csv(epochs).encode())
    certificate = find_certificate(workspace.split(facts["split_id"])) or {}
    facts |= {"split_seal": certificate.get("seal"), "checkpoint_files": _digests(folder / "checkpoint")}
    write_json(folder / "run.json", facts)
    shutil.rmtree(folder / "training", ignore_errors=True)
    _record(workspace, facts)


def _facts(study: Study, learner: Backend, parts: dict[str, list[PartCase]], epochs: list[Epoch]) -> dict[str, Any]:
    """Return what a run records of its study, its model and its training; never the pseudonym key."""
    return {
        "study": study.model_dump(mode="json", exclude={"privacy": True, "ingest": {"annotator"}}),
        "model": {"name": study.model.name, "backend": study.model.backend, **learner.facts()},
        "toolkit": version("lesion-toolkit"),
        "processes": this_process().count,
        "train_cases": len(parts["train"]),
        "train_patients": len({case.patient_id for case in parts["train"]}),
        "validation_cases": len(parts["validation"]),
        "epochs": [asdict(epoch) for epoch in epochs],
        "finished_at": datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="seconds"),
    }


def _digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a checkpoint."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256_of_file(path) for path in files}


def _source(workspace: Workspace, study: Study, study_folder: Path) -> str:
    """Return the checkpoint the study names: "tiny" of its backend, a folder beside the study file, or a hub name."""
    name = study.model.name
    if name != "tiny":
        beside = study_folder / name
        return str(beside) if beside.is_dir() else name
    texts = [f"USER: {study.prompt.words} ASSISTANT:", *study.answers]
    determined = [version("lesion-toolkit"), study.model.backend, texts, study.study.seed]
    folder = workspace.folder / "models" / f"tiny-{short_id(determined)}"
    if not folder.exists():
        backend(study.model.backend).build_tiny(folder, texts, seed=study.study.seed)
    return str(folder)


def _learner(workspace: Workspace, study: Study, study_folder: Path, device: str | None) -> Backend:
    """Load the study's checkpoint for its mode of training, if the device has the memory."""
    chosen = backend(study.model.backend)
    from toolkit.models.budget import check_budget, device_memory  # noqa: PLC0415 - torch is imported only to train
    from toolkit.models.device import pick_device  # noqa: PLC0415 - torch is imported only to train

    source, place = _source(workspace, study, study_folder), pick_device(device)
    mode, dtype = study.train.mode, study.model.dtype
    found = chosen.budgets(source, lora=study.train.lora)
    check_budget(found, mode=mode, dtype=dtype, device=place, memory=device_memory(place))
    learner = chosen.load(source, device=place, mode=mode, dtype=dtype)
    learner.keep_features(workspace.features, gigabytes=study.features.gigabytes)
    return learner


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
    last = next(epoch for epoch in facts["epochs"] if epoch["kept"])
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
