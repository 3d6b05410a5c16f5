"""The stage `baseline`: a model that is given metadata and no photograph, trained and predicted as a run of its own.

It is trained on the training set alone. `evaluate`, `compare` and `report` take it as any run.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from toolkit.errors import StudyError, WorkspaceError
from toolkit.files import digests_of, make_folder, short_id, write_json, write_parquet
from toolkit.manifest import Study
from toolkit.models import metadata
from toolkit.models.metadata import MetadataModel
from toolkit.progress import Progress, silent
from toolkit.prompts.answers import Answers, predicted
from toolkit.prompts.metadata_cases import MetadataCases, metadata_cases, metadata_fields
from toolkit.stats import metrics
from toolkit.workspace.locks import beside_others
from toolkit.workspace.registry import Workspace, insert, table_schema
from toolkit.workspace.runs import (
    METADATA_BASELINE,
    PredictedPart,
    RunRecord,
    find_split,
    now,
    read_run,
    record_predictions,
    record_run,
)
from toolkit.workspace.verification import certified_split, verify

PARTS = ("validation", "test")


@dataclass(frozen=True)
class Baseline:
    """A trained baseline; metrics by how they were found: out of fold on the training set, and on validation."""

    run_id: str
    split_id: str
    fields: list[str]
    columns: int
    train_cases: int
    train_patients: int
    cases: dict[str, int]
    """Predicted cases by part."""
    values_left_out: int
    """Metadata values that name a class: they would tell the answer."""
    out_of_fold: dict[str, float]
    validation: dict[str, float]
    already_there: bool


class _Fitted(NamedTuple):
    """A model with what is recorded of it."""

    run_id: str
    split_id: str
    model: MetadataModel
    training: MetadataCases
    epoch: dict[str, Any]
    out_of_fold: dict[str, float]
    seconds: float


def baseline(workspace: Workspace, study: Study, *, split_id: str = "latest", progress: Progress = silent) -> Baseline:
    """Train on the training set's metadata and predict validation and test; the same inputs give the same run ID."""
    split_id = find_split(workspace, split_id)
    certified_split(workspace, split_id)
    verify(workspace.split(split_id))
    progress("training on metadata", 0, None)
    names = metadata_fields(study)
    parts, left_out = metadata_cases(workspace, study, split_id, names)
    training = parts.get("train", MetadataCases.none()).known()
    if not training.ids:
        raise WorkspaceError("the training set is empty", place=f"split {split_id}", remedy="toolkit split")
    run_id = _run_id(workspace, study, split_id, names, parts)
    started = time.monotonic()
    settings: dict[str, Any] = {"penalty": study.baseline.penalty, "balanced": study.train.balance != "none"}
    model = metadata.fit(names, training.values, training.truth, **settings)
    if not model.fields:
        raise StudyError(
            f"no training case has a value of {', '.join(names)}",
            place="[baseline] fields",
            remedy="name metadata fields that the export has",
        )
    classes = len(study.class_names)
    held_out = metadata.out_of_fold(
        names,
        training.values,
        training.truth,
        _numbered(training.patients),
        classes=classes,
        seed=study.study.seed,
        **settings,
    )
    with beside_others(workspace.folder, f"run-{run_id}", "baseline", progress=progress):
        already_there = (workspace.run(run_id) / "run.json").exists()
        epoch = _epoch(model, training, parts.get("validation"), classes)
        out_of_fold = _metrics(training.truth, held_out)
        if already_there:
            record_run(workspace, read_run(workspace, run_id))
        else:
            seconds = round(time.monotonic() - started, 3)
            _record(workspace, study, _Fitted(run_id, split_id, model, training, epoch, out_of_fold, seconds))
        cases = {part: own for part, own in parts.items() if part in PARTS}
        _predict(workspace, study, model, run_id, cases)
    return Baseline(
        run_id=run_id,
        split_id=split_id,
        fields=[field.name for field in model.fields],
        columns=sum(len(field.columns) for field in model.fields),
        train_cases=len(training.ids),
        train_patients=len(set(training.patients)),
        cases={part: len(own.ids) for part, own in cases.items()},
        values_left_out=left_out,
        out_of_fold=out_of_fold,
        validation=epoch["metrics"],
        already_there=already_there,
    )


def _run_id(
    workspace: Workspace, study: Study, split_id: str, names: list[str], parts: dict[str, MetadataCases]
) -> str:
    truth_id = workspace.rows("select truth_id from label_states")[0]["truth_id"]
    settings = [study.study.seed, study.baseline.penalty, study.train.balance, study.digest("classes"), names]
    content = {
        part: [
            [case, int(truth), dict(value)] for case, truth, value in zip(own.ids, own.truth, own.values, strict=True)
        ]
        for part, own in sorted(parts.items())
        if part in ("train", *PARTS)
    }
    return short_id([METADATA_BASELINE, version("lesion-toolkit"), split_id, truth_id, settings, content])


def _numbered(patients: Sequence[str]) -> np.ndarray:
    """Return patients as numbers in the order of their first case: nothing may depend on pseudonyms."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(patient, len(numbers)) for patient in patients])


def _metrics(truth: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Return accuracy and macro metrics of the cases that were predicted; none without any."""
    known = ~np.isnan(probabilities).any(axis=1)
    return metrics.macro_metrics(truth[known], probabilities[known]) if known.any() else {}


def _epoch(
    model: MetadataModel, training: MetadataCases, validation: MetadataCases | None, classes: int
) -> dict[str, Any]:
    """Return losses and metrics as a run records them; those on validation had no part in the training."""
    watched = validation.known() if validation else training
    probabilities = model.probabilities(watched.values, classes=classes)
    return {
        "epoch": 1,
        "train_loss": _loss(training.truth, model.probabilities(training.values, classes=classes)),
        "validation_loss": _loss(watched.truth, probabilities) if validation else float("nan"),
        "metrics": _metrics(watched.truth, probabilities) if validation else {},
        "kept": True,
    }


def _loss(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the mean negative logarithm of the true class's probability."""
    own = np.maximum(probabilities[np.arange(len(truth)), truth], np.finfo(float).tiny)
    return float(-np.log(own).mean()) if len(truth) else float("nan")


def _record(workspace: Workspace, study: Study, fitted: _Fitted) -> None:
    """Write the model as JSON and, last, the record of the run."""
    run_id, model, training = fitted.run_id, fitted.model, fitted.training
    checkpoint = make_folder(workspace.run(run_id) / "checkpoint")
    write_json(checkpoint / "model.json", model.document(study.class_names))
    state = workspace.rows("select truth_id, key_fingerprint from label_states")[0]
    stated = study.model_dump(mode="json", exclude={"privacy": True, "ingest": {"annotator"}})
    weights = model.coefficients.size + model.intercepts.size
    facts = {
        "name": METADATA_BASELINE,
        "backend": METADATA_BASELINE,
        "device": "cpu",
        "architecture": "multinomial logistic regression (scikit-learn)",
        "scikit_learn": version("scikit-learn"),
        "parameters": weights,
        "trainable_parameters": weights,
        "fields": [field.name for field in model.fields],
        "out_of_fold": fitted.out_of_fold,
    }
    record = {
        "run_id": run_id,
        "split_id": fitted.split_id,
        "truth_id": state["truth_id"],
        "study": {**stated, "model": {**stated["model"], "name": METADATA_BASELINE, "backend": METADATA_BASELINE}},
        "model": facts,
        "toolkit": version("lesion-toolkit"),
        "train_cases": len(training.ids),
        "train_patients": len(set(training.patients)),
        "epochs": [fitted.epoch],
        "seconds": fitted.seconds,
        "finished_at": now(),
        "split_seal": certified_split(workspace, fitted.split_id)["seal"],
        "checkpoint_files": digests_of(checkpoint),
        "key_fingerprint": state["key_fingerprint"],
    }
    record_run(workspace, RunRecord.model_validate(record))


def _predict(
    workspace: Workspace, study: Study, model: MetadataModel, run_id: str, parts: dict[str, MetadataCases]
) -> None:
    """Write the predictions of the parts and mirror them in the registry; the reference diagnosis has no part in it."""
    answers = Answers(study.class_names, study.answers, list(range(len(study.class_names))))
    files, tables = {}, []
    for part, own in parts.items():
        with np.errstate(divide="ignore"):  # a class that training did not have
            logarithms = np.log(model.probabilities(own.values, classes=len(study.class_names)))
        columns = predicted(logarithms[None], answers, [1] * len(answers.texts))
        rows = [
            {"run_id": run_id, "part": part, "case_id": case, **of_case, "generated": None, "generated_class": None}
            for case, of_case in zip(own.ids, columns, strict=True)
        ]
        tables.append(pa.Table.from_pylist(rows, schema=table_schema("predictions")))
        files[part] = [f"{part}-00000-{short_id([METADATA_BASELINE, own.ids])}.parquet"]
        write_parquet(workspace.run(run_id) / "predictions" / files[part][0], tables[-1])
    named = list(zip(study.answers, study.class_names, strict=True))
    how = PredictedPart(views=1, generate=False, answers=named)
    record_predictions(workspace, run_id, files, dict.fromkeys(files, how))
    with workspace.writing() as connection:
        connection.execute("delete from predictions where run_id = ?", [run_id])
        insert(connection, "predictions", pa.concat_tables(tables))
