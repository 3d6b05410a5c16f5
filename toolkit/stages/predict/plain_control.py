"""The control `plain`: another model in the run's place, fitted on plain colour, texture and shape of its training set.

It is what any run must beat: seconds of logistic regression and extra trees, the estimators of the audit.
"""

import hashlib
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from toolkit.errors import ModelError, WorkspaceError
from toolkit.files import short_id, write_parquet
from toolkit.manifest import Study
from toolkit.models import plain
from toolkit.photographs import plain_features
from toolkit.progress import Progress
from toolkit.prompts import ablation
from toolkit.prompts.answers import Answers, predicted
from toolkit.workspace import sql
from toolkit.workspace.measured_cases import Row, measure
from toolkit.workspace.registry import Workspace, table_schema
from toolkit.workspace.runs import (
    PLAIN_CONTROL,
    PredictedPart,
    RecordedModel,
    RunRecord,
    find_run,
    now,
    read_run,
    record_run,
)
from toolkit.workspace.verification import certified_split, check_record, verify

MODEL = "plain features"


class PlainCases(NamedTuple):
    """Cases of a part with their features (N, columns) and class indices (N,), -1 where there is no class."""

    rows: list[Row]
    features: np.ndarray
    truth: np.ndarray

    def labelled(self) -> "PlainCases":
        """Return those with a class."""
        kept = np.nonzero(self.truth >= 0)[0]
        return PlainCases([self.rows[n] for n in kept.tolist()], self.features[kept], self.truth[kept])


class PlainPredictions(NamedTuple):
    """The file of each part's predictions, how many cases it holds, and how it was made."""

    run_id: str
    files: dict[str, Path]
    cases: dict[str, int]
    made: dict[str, PredictedPart]
    predicted_now: int


def asked_for(workspace: Workspace, run: str, control: str | None) -> RunRecord | None:
    """Return the run that this control is asked of; None where another control, or none, is asked for."""
    if control not in (None, PLAIN_CONTROL) or (control is None and (Path(run) / "run.json").is_file()):
        return None
    record = read_run(workspace, find_run(workspace, run))
    control = control or record.control
    if record.control_of:
        record = read_run(workspace, record.control_of)
    if control != PLAIN_CONTROL:
        return None
    if record.external_of:
        raise ModelError(
            f"run {record.run_id} was trained in another workspace: what plain features would be fitted on is not here",
            place=str(workspace.run(record.run_id)),
            remedy="compare it with a run of this workspace and with that run's control",
        )
    return record


def predictions(
    workspace: Workspace, study: Study, of: RunRecord, parts: tuple[str, ...], progress: Progress
) -> PlainPredictions:
    """Fit on the training set and predict the parts; write a file for each. The same inputs give the same files."""
    check_record(workspace, of)
    certified_split(workspace, of.split_id)
    verify(workspace.split(of.split_id))
    by_part = _parts(workspace, study, of, parts, progress)
    training = by_part.pop("train").labelled()
    run_id = _record(workspace, study, of, training)
    settings = [plain.SETTINGS, plain_features.VERSION, version("scikit-learn"), study.study.seed, study.train.balance]
    inputs = short_id([settings, study.class_names, _content(training)])
    folder = workspace.run(run_id) / "predictions"
    files = {
        part: folder / f"{part}-00000-{short_id([inputs, _content(own)])}.parquet" for part, own in by_part.items()
    }
    missing = [part for part, path in files.items() if not path.exists()]
    if missing:
        progress("fitting plain features", 0, None)
        model = plain.fit(training.features, training.truth, seed=study.study.seed, weights=_weights(study, training))
        for part in missing:
            write_parquet(files[part], _table(study, model, run_id, part, by_part[part]))
    cases = {part: len(own.rows) for part, own in by_part.items()}
    named = list(zip(study.answers, study.class_names, strict=True))
    made = dict.fromkeys(files, PredictedPart(views=1, generate=False, answers=named))
    return PlainPredictions(run_id, files, cases, made, sum(cases[part] for part in missing))


def _parts(
    workspace: Workspace, study: Study, of: RunRecord, parts: tuple[str, ...], progress: Progress
) -> dict[str, PlainCases]:
    """Return the training set and the parts, each with a case at least; refuse photographs that cannot be opened."""
    rows = workspace.rows(sql.statement("predict/plain_cases"), {"split_id": of.split_id})
    rows = [row for row in rows if row["part"] in ("train", *parts)]
    cases = Counter(row["part"] for row in rows if row["part"] != "train" or row["class_name"])
    for part in ("train", *parts):
        if not cases[part]:
            what = "has a reference diagnosis" if part == "train" else "is there"
            raise WorkspaceError(
                f"no case of part {part} {what}", place=f"split {of.split_id}", remedy="use a run on another split"
            )
    features = measure(workspace, rows, progress).features
    if missing := [row["case_id"] for row, own in zip(rows, features, strict=True) if np.isnan(own).any()]:
        raise WorkspaceError(
            f"the photographs of {len(missing)} cases cannot be opened, the first is of case {missing[0]}",
            place=f"split {of.split_id}",
            remedy="put them back, or toolkit parse EXPORT --images DIR",
        )
    number = {name: place for place, name in enumerate(study.class_names)}
    truth = np.array([number.get(row["class_name"] or "", -1) for row in rows])
    of_part = np.array([row["part"] for row in rows])
    places = {part: np.nonzero(of_part == part)[0] for part in ("train", *parts)}
    return {
        part: PlainCases([rows[n] for n in own.tolist()], features[own], truth[own]) for part, own in places.items()
    }


def _content(cases: PlainCases) -> list[Any]:
    """Return what predictions rest on; the class counts in training alone."""
    labels = [row["class_name"] if row["part"] == "train" else None for row in cases.rows]
    return [[row["case_id"] for row in cases.rows], labels, hashlib.sha256(cases.features.tobytes()).hexdigest()]


def _weights(study: Study, training: PlainCases) -> np.ndarray | None:
    """Return weights by which every class counts equally much, where the study balances its training."""
    if study.train.balance == "none":
        return None
    sizes = np.bincount(training.truth, minlength=len(study.class_names))
    return len(training.truth) / (np.count_nonzero(sizes) * sizes[training.truth])


def _table(study: Study, model: plain.PlainModel, run_id: str, part: str, cases: PlainCases) -> pa.Table:
    answers = Answers(study.class_names, study.answers, list(range(len(study.class_names))))
    with np.errstate(divide="ignore"):  # a class that training did not have
        logarithms = np.log(model.probabilities(cases.features, classes=len(study.class_names)))
    columns = predicted(logarithms[None], answers, [1] * len(answers.texts))
    rows = [
        {"run_id": run_id, "part": part, "case_id": row["case_id"], **own, "generated": None, "generated_class": None}
        for row, own in zip(cases.rows, columns, strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=table_schema("predictions"))


def _record(workspace: Workspace, study: Study, of: RunRecord, training: PlainCases) -> str:
    """Record the control beside the run that it belongs to; return its ID."""
    model = RecordedModel.model_validate(
        {
            "name": MODEL,
            "backend": MODEL,
            "device": "cpu",
            "architecture": "logistic regression and extra trees (scikit-learn) on plain colour, texture and shape",
            "scikit_learn": version("scikit-learn"),
            "columns": training.features.shape[1],
        }
    )
    stated = study.model_dump(mode="json", exclude={"privacy": True, "ingest": {"annotator"}})
    record = RunRecord(
        run_id=short_id([of.run_id, PLAIN_CONTROL]),
        split_id=of.split_id,
        truth_id=workspace.rows("select truth_id from label_states")[0]["truth_id"],
        model=model,
        train_cases=len(training.rows),
        train_patients=len({row["patient_id"] for row in training.rows}),
        epochs=[],
        seconds=0.0,
        finished_at=now(),
        study={**stated, "model": {**stated["model"], "name": MODEL, "backend": MODEL}},
        toolkit=version("lesion-toolkit"),
        control=PLAIN_CONTROL,
        control_of=of.run_id,
        replicate_of=of.replicate_of,
        shown=ablation.meaning(PLAIN_CONTROL),
        split_seal=certified_split(workspace, of.split_id)["seal"],
        key_fingerprint=of.key_fingerprint,
    )
    _follow_labels(workspace, record_run(workspace, record))
    return record.run_id


def _follow_labels(workspace: Workspace, record: RunRecord) -> None:
    """Let the registry say, as the record does, which labels the control was fitted on last."""
    noted = {name: getattr(record, name) for name in ("truth_id", "train_cases", "train_patients")}
    asked = "select truth_id, train_cases, train_patients from runs where run_id = $run_id"
    if workspace.rows(asked, {"run_id": record.run_id}) != [noted]:
        with workspace.writing() as connection:
            connection.execute(
                "update runs set truth_id = ?, train_cases = ?, train_patients = ? where run_id = ?",
                [*noted.values(), record.run_id],
            )
