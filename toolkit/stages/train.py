"""Training on the training set of a split: the run's checkpoint, its losses and its record."""

import shutil
import time
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from toolkit.csv_files import csv_text
from toolkit.errors import ModelError
from toolkit.files import (
    DIGESTS,
    check_digests,
    digests_of,
    make_folder,
    private_writing,
    remove,
    short_id,
    write_atomically,
    write_digests,
)
from toolkit.manifest import Study
from toolkit.models import backend
from toolkit.models.backend import Backend, Epoch, Examples, TrainingJob, kept_by
from toolkit.models.processes import this_process
from toolkit.photographs.crops import DIHEDRAL, Crops
from toolkit.photographs.undecoded import UndecodedCrops
from toolkit.progress import Progress, silent
from toolkit.prompts.prompt import prompts_of
from toolkit.stats.learning_curve import patient_order
from toolkit.workspace.locks import beside_others, held
from toolkit.workspace.registry import Workspace
from toolkit.workspace.runs import (
    FEWER,
    PartCase,
    RunRecord,
    check_photographs,
    crops_of,
    find_split,
    now,
    read_run,
    record_photographs,
    record_run,
    resolved_cases,
)
from toolkit.workspace.starts import Start, start_of
from toolkit.workspace.verification import certified_split, verify


@dataclass(frozen=True)
class Trained:
    """A trained run; `metrics` are those on validation after the epoch whose weights it has."""

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
    seed: int | None = None
    self_test: str | None = None
    """How exactly the checkpoint that was trained scores; None for a backend that tests none."""
    started_from: str | None = None
    """The run whose weights the training started from."""
    start_leaks: dict[str, Any] = field(default_factory=dict)
    """Of a run of another workspace: what was compared to see that it was not trained on cases of the split."""
    replicates: list["Trained"] = field(default_factory=list)
    """The same training with further seeds, each a run of its own."""


@dataclass(frozen=True)
class TrainingPlan:
    """What a training needs, before anything is loaded; memory in GiB, without activations."""

    model: str
    device: str
    device_gib: float
    mode: str
    dtype: str
    train_cases: int
    validation_cases: int
    epochs: int
    steps: int
    """Of one training."""
    modes: list["PlannedMode"]
    seeds: int = 1


@dataclass(frozen=True)
class PlannedMode:
    """One mode of training: the weights that it trains, and the memory that it needs."""

    mode: str
    trained: int
    frozen: int
    gib_float32: float
    gib_bfloat16: float
    fits: bool
    """Whether it fits into the device's memory, with frozen weights as the study has them or in bfloat16."""
    gib_4bit: float | None = None
    """With a language model of 4-bit weights, which needs an NVIDIA GPU; None for a mode that cannot have one."""


def plan_training(
    workspace: Workspace, study: Study, *, study_folder: Path, split_id: str = "latest", device: str | None = None
) -> TrainingPlan:
    """Return what each mode of training needs on this device, and how many steps the study's own mode takes."""
    split_id = find_split(workspace, split_id)
    parts = {part: len(resolved_cases(workspace, split_id, part)) for part in ("train", "validation")}
    chosen = backend(study.model.backend)
    from toolkit.models.budget import GIB, device_memory  # noqa: PLC0415 - torch is imported only to train
    from toolkit.models.device import pick_device  # noqa: PLC0415 - torch is imported only to train

    picked = pick_device(device)
    memory = device_memory(picked)
    start = start_of(workspace, study, split_id)
    source = _source(workspace, study, study_folder, start, seed=study.study.seed)
    budgets = chosen.budgets(source, lora=study.train.lora)
    batches = -(-parts["train"] // study.train.batch_size)
    return TrainingPlan(
        model=study.model.name,
        device=picked,
        device_gib=memory / GIB,
        mode=study.train.mode,
        dtype=study.model.dtype,
        train_cases=parts["train"],
        validation_cases=parts["validation"],
        epochs=study.train.epochs,
        steps=study.train.epochs * -(-batches // study.train.accumulate),
        modes=[
            PlannedMode(
                b.mode,
                b.trained,
                b.frozen,
                b.bytes_float32 / GIB,
                b.bytes_bfloat16 / GIB,
                fits=min(b.least(), b.needed(study.model.dtype)) <= memory,
                gib_4bit=None if b.bytes_4bit is None else b.bytes_4bit / GIB,
            )
            for b in budgets
        ],
        seeds=study.train.seeds,
    )


def train(  # noqa: PLR0913 - the stage's inputs
    workspace: Workspace,
    study: Study,
    *,
    study_folder: Path,
    split_id: str = "latest",
    device: str | None = None,
    resume: bool = False,
    patients: int | None = None,
    progress: Progress = silent,
) -> Trained:
    """Fine-tune the study's model on a split, once for each seed; the same study, split and truth give the same IDs.

    A run that is complete is not trained again. Raises ModelError where one was interrupted, unless `resume`. With
    `patients` it is trained on so many of the training patients, nested and with the first seed: a control of the run
    that is trained on all.
    """
    trained = []
    identified = _identified(workspace, study, find_split(workspace, split_id))
    for run in identified if patients is None else [_of_fewer(workspace, study, identified[0], patients)]:
        lock = beside_others(workspace.folder, f"run-{run.run_id}", "train", progress=progress)
        with this_process().together_in(workspace.folder, lock):
            trained.append(_train(workspace, study, study_folder, run, device=device, resume=resume, progress=progress))
    return replace(trained[0], replicates=trained[1:])


def _train(  # noqa: PLR0913 - the stage's inputs
    workspace: Workspace,
    study: Study,
    study_folder: Path,
    run: "IdentifiedRun",
    *,
    device: str | None,
    resume: bool,
    progress: Progress,
) -> Trained:
    certified_split(workspace, run.split_id)
    verify(workspace.split(run.split_id))
    folder, process = workspace.run(run.run_id), this_process()
    already_there = process.told_by_first((folder / "run.json").exists())
    if already_there:
        with process.first_alone():
            check_photographs(workspace, run.run_id, run.parts)
            record = read_run(workspace, run.run_id)
            if process.is_first:
                record = record_run(workspace, record)
    else:
        started = time.monotonic()
        with process.first_alone():
            model = _loaded(workspace, study, study_folder, run, device)
        turns = {"train": DIHEDRAL if study.train.augment else 1, "validation": 1}
        training, validation = (
            _examples(workspace, study, model, run.parts[part], progress, turns=count) for part, count in turns.items()
        )
        kept = _training_folder(folder, resume=resume)
        job = TrainingJob(
            training, validation, study.answers, study.train, run.seed, kept, resume=resume, progress=progress
        )
        with private_writing():
            epochs = model.fit(job)
        if process.is_first:
            with private_writing():
                _save(workspace, study, run, model, epochs, seconds=round(time.monotonic() - started, 3))
        process.wait_for_others()
        record = read_run(workspace, run.run_id)
    if process.is_first:
        _write_losses(folder, record)
        shutil.rmtree(folder / "training", ignore_errors=True)
    return _trained(record, already_there=already_there)


class IdentifiedRun(NamedTuple):
    """A run's ID and what it is made of; `parts` holds the cases of train and validation."""

    run_id: str
    split_id: str
    truth_id: str
    parts: dict[str, list[PartCase]]
    seed: int
    replicate_of: str | None
    start: Start | None
    control: tuple[tuple[str, str], ...] = ()
    """Of a run on fewer patients: keys and values by which its record says so."""


def _of_fewer(workspace: Workspace, study: Study, whole: IdentifiedRun, patients: int) -> IdentifiedRun:
    """Return the run on the first so many training patients of the study's random order."""
    if not (workspace.run(whole.run_id) / "run.json").exists():
        raise ModelError(
            "the run on all training patients, which one on fewer is compared with, is not there",
            place=str(workspace.run(whole.run_id)),
            remedy="toolkit train",
        )
    training = whole.parts["train"]
    order = patient_order(((case.patient_id, case.case_id) for case in training), seed=study.study.seed)
    kept = set(order[:patients])
    name = f"{FEWER}{patients}"
    shown = f"the photographs of {patients} of the {len(order)} training patients, when it was trained"
    return whole._replace(
        run_id=short_id([whole.run_id, name]),
        parts={**whole.parts, "train": [case for case in training if case.patient_id in kept]},
        control=(("control", name), ("control_of", whole.run_id), ("shown", shown)),
    )


def _identified(workspace: Workspace, study: Study, split_id: str) -> list[IdentifiedRun]:
    """Return the run of each seed; the first one's ID does not depend on how many there are."""
    parts = {part: resolved_cases(workspace, split_id, part) for part in ("train", "validation")}
    truth_id = workspace.rows("select truth_id from label_states")[0]["truth_id"]
    start = start_of(workspace, study, split_id)
    sections = study.digest("classes", "prompt", "model", "train")
    cases = [[[case.case_id, case.class_name] for case in cases] for cases in parts.values()]
    # Earlier versions trained these otherwise: with a sum of means, with weights that cancelled, with dropout in frozen
    # parts. Such a run is another one.
    otherwise = study.train.accumulate > 1 or study.train.balance == "weights" or study.train.mode != "full"
    runs: list[IdentifiedRun] = []
    for number, seed in enumerate(range(study.study.seed, study.study.seed + study.train.seeds)):
        determined = [version("lesion-toolkit"), split_id, truth_id, seed, sections]
        determined += ["token mean"] * otherwise + [f"replicate {number}"] * (number > 0)
        determined += [["start", start.record.run_id, start.record.checkpoint_files]] if start else []
        first = runs[0].run_id if runs else None
        own = short_id([*determined, cases])
        runs.append(IdentifiedRun(own, split_id, truth_id, parts, seed, first, start))
    return runs


def _save(
    workspace: Workspace, study: Study, run: IdentifiedRun, model: Backend, epochs: list[Epoch], *, seconds: float
) -> None:
    """Write checkpoint and, last, the record: a run with a `run.json` is complete.

    The record holds the study without the pseudonym key.
    """
    folder = workspace.run(run.run_id)
    label_state = workspace.rows("select key_fingerprint from label_states")[0]
    model.save(folder / "checkpoint")
    record = {
        "run_id": run.run_id,
        "split_id": run.split_id,
        "truth_id": run.truth_id,
        "seed": run.seed,
        "replicate_of": run.replicate_of,
        **_started(run.start),
        "study": study.model_dump(mode="json", exclude={"privacy": True, "ingest": {"annotator"}}),
        "model": {"name": study.model.name, "backend": study.model.backend, **model.facts()},
        "toolkit": version("lesion-toolkit"),
        "processes": this_process().count,
        "train_cases": len(run.parts["train"]),
        "train_patients": len({case.patient_id for case in run.parts["train"]}),
        "validation_cases": len(run.parts["validation"]),
        "epochs": [asdict(epoch) for epoch in epochs],
        "seconds": seconds,
        "finished_at": now(),
        "split_seal": certified_split(workspace, run.split_id)["seal"],
        "checkpoint_files": digests_of(folder / "checkpoint"),
        "key_fingerprint": label_state["key_fingerprint"],
        **dict(run.control),
    }
    if run.control:
        record["trained_at"] = record["finished_at"]
    record_photographs(workspace, run.run_id, run.parts)
    record_run(workspace, RunRecord.model_validate(record))


def _started(start: Start | None) -> dict[str, Any]:
    """Return the keys by which a record says from which run the training started."""
    if start is None:
        return {}
    return {"started_from": start.record.run_id, **({"start_leaks": start.leaks} if start.leaks else {})}


def _source(workspace: Workspace, study: Study, study_folder: Path, start: Start | None, *, seed: int) -> str:
    """Return the checkpoint that the study names: a folder relative to the study file, a hub name, or "tiny".

    A tiny checkpoint is built into the workspace when it is first needed, with weights drawn from the seed. Where the
    study starts from a run, it is that run's.
    """
    if start:
        return str(start.checkpoint)
    name = study.model.name
    if name != "tiny":
        folder = study_folder / name
        return str(folder) if folder.is_dir() else name
    texts = [f"USER: {study.prompt.words} ASSISTANT:", *study.answers]
    determined = [version("lesion-toolkit"), study.model.backend, texts, seed]
    folder = workspace.folder / "models" / f"tiny-{short_id(determined)}"
    with held(workspace.folder, folder.name, "building the tiny model"):
        if not (folder / DIGESTS).exists():
            _build(backend(study.model.backend), folder, texts, seed=seed)
    check_digests(folder, remedy="move the folder away and run the same command again: it is built again")
    return str(folder)


def _build(chosen: type[Backend], folder: Path, texts: list[str], *, seed: int) -> None:
    """Build a tiny checkpoint; until it is complete and its digests are noted, it stands under another name."""
    new = folder.with_name(f".{folder.name}.new")
    for left in (new, folder):  # of a killed command, or of a version that noted no digests
        remove(left)
    with private_writing():
        chosen.build_tiny(new, texts, seed=seed)
    write_digests(new)
    new.rename(folder)


def _loaded(workspace: Workspace, study: Study, study_folder: Path, run: IdentifiedRun, device: str | None) -> Backend:
    """Load the study's checkpoint for its mode of training, if the device has the memory."""
    chosen = backend(study.model.backend)
    from toolkit.models.budget import check_budget, device_memory  # noqa: PLC0415 - torch is imported only to train
    from toolkit.models.device import pick_device  # noqa: PLC0415 - torch is imported only to train
    from toolkit.models.sharding import shards_of  # noqa: PLC0415 - torch is imported only to train
    from toolkit.models.training_logs import check_logs  # noqa: PLC0415 - torch is imported only to train

    check_logs(study.train.report_to)
    source, picked = _source(workspace, study, study_folder, run.start, seed=run.seed), pick_device(device)
    mode, dtype = study.train.mode, study.model.dtype
    budgets = chosen.budgets(source, lora=study.train.lora)
    shards = shards_of(mode)
    check_budget(budgets, mode=mode, dtype=dtype, device=picked, memory=device_memory(picked), shards=shards)
    model = chosen.load(source, device=picked, mode=mode, dtype=dtype)
    model.keep_features(workspace.features, gigabytes=study.features.gigabytes)
    return model


def _examples(
    workspace: Workspace, study: Study, model: Backend, cases: list[PartCase], progress: Progress, *, turns: int = 1
) -> Examples:
    """Return cases as a model's input; `turns` are the orientations that photographs may be shown in."""
    crops, kept = crops_of(cases, study.model, size=model.input_size), kept_by(model)
    photographs: Crops | UndecodedCrops = crops
    if kept is None:
        crops.load(progress)
    else:
        photographs = UndecodedCrops(crops)
        photographs.load(progress, kept, turns)
    classes = np.array([study.class_names.index(case.class_name) for case in cases])
    return Examples(photographs, prompts_of(workspace, study, [case.case_id for case in cases]).texts, classes)


def _training_folder(folder: Path, *, resume: bool) -> Path:
    training = make_folder(folder) / "training"
    if training.exists() and any(training.iterdir()) and not resume:
        raise ModelError(
            f"run {folder.name} was interrupted while training",
            place=str(training),
            remedy="toolkit train --resume continues from its last complete epoch; move the folder away to start again",
        )
    return training


def _write_losses(folder: Path, record: RunRecord) -> None:
    """Write what a run records of its epochs as CSV, for people: nothing reads it back."""
    path, epochs = folder / "loss.csv", record.epochs
    names = list(epochs[0].metrics)
    rows = ([e.epoch, e.step, e.train_loss, e.validation_loss, *(e.metrics[name] for name in names)] for e in epochs)
    content = csv_text(["epoch", "step", "train_loss", "validation_loss", *names], rows).encode()
    if not path.is_file() or path.read_bytes() != content:
        write_atomically(path, content)


def _trained(record: RunRecord, *, already_there: bool) -> Trained:
    chosen = next(epoch for epoch in record.epochs if epoch.kept)
    return Trained(
        run_id=record.run_id,
        split_id=record.split_id,
        model=record.model.name,
        device=record.model.device,
        train_cases=record.train_cases,
        train_patients=record.train_patients,
        validation_cases=record.validation_cases,
        epochs=len(record.epochs),
        train_loss=chosen.train_loss,
        validation_loss=chosen.validation_loss,
        metrics=chosen.metrics,
        seconds=record.seconds,
        already_there=already_there,
        seed=record.seed,
        self_test=record.model.self_test,
        started_from=record.started_from,
        start_leaks=record.start_leaks,
    )
