"""Splits, runs and the cases of a subset, as the stages from train to report find them; the record of a run."""

import math
import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import duckdb
import pyarrow as pa
from pydantic import BaseModel, BeforeValidator, ValidationError

from toolkit.cases import Box
from toolkit.errors import DamagedError, WorkspaceError
from toolkit.files import changed, check_files, read_sealed, sha256_of_file, short_id, unreadable, write_sealed
from toolkit.manifest import faults
from toolkit.manifest.model import ModelSection
from toolkit.photographs.crops import Crops, CropSource, PixelReader, case_pixels
from toolkit.workspace import ledger, sql
from toolkit.workspace.names import chosen_id, listed
from toolkit.workspace.registry import Workspace, insert, table_schema
from toolkit.workspace.sources import PredictionSource

Measured = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]
"""A number; run.json holds null where it is undefined (NaN)."""
RECORD = "run.json"
PREDICTED = "predictions.json"
"""Beside a run: the files that hold the complete predictions of each part."""
RESTORE = "restore the file from a backup, or move the folder of the run away and make the run again"
TRAINED = "put back the checkpoint as it was trained, or train again: another model would be recorded"
CLOCKS = timedelta(days=1)
"""What the clocks of two computers may be apart."""
NAMED = 5
"""Cases that a message names."""
METADATA_BASELINE = "metadata-baseline"
"""Name and backend of the model that is given no photograph."""
PLAIN_CONTROL = "plain"
"""The control that is a model of its own, fitted on plain features."""
FEWER = "patients:"
"""Begins the control that is the run trained on fewer patients; their number follows."""
UNLABELLED = "unlabelled"
"""The part of predictions whose cases have no label and stand in no subset of the run's split."""
PHOTOGRAPHS = "photographs.json"
"""Beside a run: a digest of every case that it was trained on or watched, with its photograph."""
SIDES = ("roi_left", "roi_top", "roi_width", "roi_height")


class PartCase(NamedTuple):
    """A case of a part; `class_name` is its reference diagnosis today, "" where it is not resolved."""

    case_id: str
    patient_id: str
    class_name: str
    path: Path
    roi: Box | None
    sha256: str | None = None
    """Of the photograph that was parsed."""


def find_split(workspace: Workspace, name: str = "latest") -> str:
    """Return a split's ID, by it or its beginning.

    "latest" is the split that was made last, of a cross-validation its first fold.
    """
    rows = workspace.rows("select split_id from splits group by split_id order by max(created_at) desc, split_id")
    known = [row["split_id"] for row in rows]
    return _chosen(name, known, known, kind="split", place=workspace.folder, remedy="toolkit split")


def find_run(workspace: Workspace, name: str) -> str:
    """Return a run's ID, by it or its beginning; "latest" is the run that was finished last.

    Ablations and replicates never are; predictions of a file and baselines where there is no other run.
    """
    # A registry that no command has written to since an earlier version has no column `replicate_of`.
    rows = workspace.rows("select * from runs order by finished_at desc, run_id")
    whole = [row for row in rows if not row["control"] and not row.get("replicate_of")]
    baselines = [row["run_id"] for row in whole if row["model"] == METADATA_BASELINE and not row.get("source_sha256")]
    others = [row["run_id"] for row in whole if row.get("source_sha256")]
    aside = {*baselines, *others}
    own = [row["run_id"] for row in whole if row["run_id"] not in aside] or others or baselines
    known = [row["run_id"] for row in rows]
    return _chosen(name, known, own, kind="run", place=workspace.folder / "runs", remedy="toolkit train")


def _chosen(name: str, known: list[str], newest_first: list[str], *, kind: str, place: Path, remedy: str) -> str:
    """Return an ID that is known, or the newest; raise WorkspaceError that lists the known ones."""
    if name != "latest":
        return chosen_id(name, known, kind=kind, place=str(place), remedy=remedy)
    if newest_first:
        return newest_first[0]
    there = f"the {kind}s are: {listed(known)}" if known else remedy
    raise WorkspaceError(f"there is no {kind} yet", place=str(place), remedy=there)


class RecordedModel(BaseModel, extra="allow", frozen=True):
    """What a run records of its model; a backend may state more."""

    name: str
    device: str
    backend: str | None = None
    parameters: int | None = None
    trainable_parameters: int | None = None
    input_size: int | None = None
    torch: str | None = None
    transformers: str | None = None
    self_test: str | None = None
    """How exactly a decoder-only checkpoint scored when it was loaded."""


class RecordedEpoch(BaseModel, extra="allow", frozen=True):
    """What a run records of one pass over the training cases."""

    epoch: int
    step: int | None = None
    """Optimizer steps at its end."""
    train_loss: Measured
    validation_loss: Measured
    metrics: dict[str, Measured]
    kept: bool = False


class RunRecord(BaseModel, extra="allow", frozen=True):
    """The content of run.json; keys that this version of the toolkit does not know are kept."""

    run_id: str
    split_id: str
    truth_id: str
    model: RecordedModel
    train_cases: int
    train_patients: int
    epochs: list[RecordedEpoch]
    seconds: float
    finished_at: datetime
    """UTC, without a time zone."""
    validation_cases: int = 0
    study: dict[str, Any] = {}
    """The sections of the study file that the run was trained with."""
    toolkit: str | None = None
    control: str | None = None
    """The input ablation that these predictions are made with, or "plain"."""
    control_of: str | None = None
    external_of: str | None = None
    """The run of another workspace that this is."""
    seed: int | None = None
    """Of the training; earlier versions trained with the study's, and did not note it."""
    replicate_of: str | None = None
    """The run that this one repeats with another seed."""
    started_from: str | None = None
    """The run whose weights the training started from."""
    checkpoint: str | None = None
    """The folder of the checkpoint where it is not the run's own."""
    split_seal: str | None = None
    """The seal of the split's certificate when the run was trained; earlier versions did not note it."""
    checkpoint_files: dict[str, str] | None = None
    """SHA-256 of each file of the checkpoint; earlier versions did not note them."""
    key_fingerprint: str | None = None
    """Of the pseudonym key; earlier versions did not note it."""
    leaks: dict[str, Any] = {}
    """What was compared to see that an external run was not trained on these cases."""
    start_leaks: dict[str, Any] = {}
    """The same of an external run that the training started from, directly or by way of other runs."""
    processes: int | None = None
    """Processes that trained together; earlier versions did not note it."""
    trained_at: datetime | None = None
    """When training ended (UTC), of a run that was recorded later: an input ablation, or a run of another workspace."""
    shown: str = ""
    """What an input ablation gives the model."""
    source: PredictionSource | None = None
    """The file of another model's predictions that this is."""

    @property
    def was_trained(self) -> bool:
        """Whether it has a training of its own: a control has not, unless it was trained on fewer patients."""
        return self.control is None or self.control.startswith(FEWER)

    @property
    def training_ended(self) -> datetime | None:
        """When training ended (UTC); None where that is not known, as of another model's predictions."""
        if self.source:
            return None
        recorded_later = self.control_of or self.external_of
        return self.trained_at if recorded_later else self.finished_at

    frozen: dict[str, Any] = {}
    """Temperature and thresholds of an external run, as they were chosen where it was trained."""

    def document(self) -> dict[str, Any]:
        """Return the keys and values that stand in run.json."""
        return self.model_dump(mode="json", exclude_unset=True)


def read_record(folder: Path) -> RunRecord:
    """Read run.json in the folder of a run; raise DamagedError where it was changed after it was written."""
    path = folder / RECORD
    try:
        record = RunRecord.model_validate(read_sealed(path, remedy=RESTORE))
    except ValidationError as error:
        reason = "; ".join(faults(error))
        problem = f"the record of run {folder.name} cannot be read: {reason}"
        raise DamagedError(problem, place=str(path), remedy=RESTORE) from None
    if contradictions := record_faults(record):
        problem = f"the record of run {folder.name} contradicts itself: {'; '.join(contradictions)}"
        raise DamagedError(problem, place=str(path), remedy=RESTORE)
    return record


def record_faults(record: RunRecord) -> list[str]:
    """Return what of a record cannot be true together, or not yet."""
    train, numbers = record.study.get("train"), [epoch.epoch for epoch in record.epochs]
    most = train.get("epochs") if isinstance(train, dict) else None
    steps = [epoch.step for epoch in record.epochs if epoch.step is not None]
    times = [time.replace(tzinfo=None) for time in (record.finished_at, record.trained_at) if time is not None]
    checks = (
        (max(times) > now() + CLOCKS, "its time is in the future (or this computer's clock is wrong)"),
        (record.trained_at is not None and times[-1] > times[0] + CLOCKS, "it was recorded before its training ended"),
        (numbers != list(range(1, len(numbers) + 1)), "its epochs are not numbered from 1"),
        (isinstance(most, int) and len(numbers) > most, f"it has {len(numbers)} epochs, and {most} were to be trained"),
        (sum(epoch.kept for epoch in record.epochs) > 1, "the weights of several epochs were kept"),
        (steps != sorted(set(steps)), "its steps do not grow from epoch to epoch"),
        (not 0 <= record.seconds < math.inf, "its training took no time that can be"),
        (not 0 <= record.train_patients <= record.train_cases, "it has more patients than cases"),
        (record.validation_cases < 0, "it has fewer than 0 cases"),
    )
    return [fault for found, fault in checks if found]


def read_run(workspace: Workspace, run_id: str) -> RunRecord:
    """Return what a run recorded about itself; it must be the record that the ledger knows."""
    record = read_record(workspace.run(run_id))
    noted = ledger.last(workspace, "run", run_id)
    if noted and noted["record_sha256"] != sha256_of_file(workspace.run(run_id) / RECORD):
        raise changed(workspace.run(run_id) / RECORD, remedy=RESTORE)
    return record


def source_of(workspace: Workspace, run_id: str) -> PredictionSource | None:
    """Return the file that a run's predictions were read from; None of a model that predicted here."""
    # A registry that no command has written to since an earlier version has no column `source_sha256`.
    rows = workspace.rows("select * from runs where run_id = $run_id", {"run_id": run_id})
    return read_run(workspace, run_id).source if rows and rows[0].get("source_sha256") else None


def records(workspace: Workspace) -> Iterator[RunRecord]:
    """Yield the record of every run, in order of their IDs."""
    for path in sorted(workspace.folder.glob(f"runs/[!.]*/{RECORD}")):
        yield read_run(workspace, path.parent.name)


def record_run(workspace: Workspace, record: RunRecord) -> RunRecord:
    """Write run.json where it is new or has changed, and mirror the run in the registry where it is missing there.

    A run that was recorded before keeps its `finished_at`.
    """
    folder = workspace.run(record.run_id)
    stored = read_record(folder) if (folder / RECORD).is_file() else None
    if stored:
        record = record.model_copy(update={"finished_at": stored.finished_at})
    if record != stored:
        write_sealed(folder / RECORD, record.document())
    digest = sha256_of_file(folder / RECORD)
    entry = {"kind": "run", "run_id": record.run_id, "record_sha256": digest, "split_id": record.split_id}
    ledger.append(workspace, [entry])
    if not workspace.rows("select 1 from runs where run_id = $run_id", {"run_id": record.run_id}):
        with workspace.writing() as connection:
            insert_run(connection, record)
    return record


def check_checkpoint(folder: Path, record: RunRecord) -> None:
    """Compare the files of a run's checkpoint with their digests in run.json; raise DamagedError that names the first.

    Runs of versions that noted no digests are taken as they are.
    """
    if record.checkpoint_files is None:
        return
    for path in sorted(Path(top) / name for top, folders, names in os.walk(folder) for name in (*folders, *names)):
        try:
            kind = path.lstat().st_mode
        except OSError as error:
            raise unreadable(path, error, remedy=TRAINED) from None
        if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
            raise DamagedError("this is a link or no ordinary file", place=str(path), remedy=TRAINED)
    try:
        check_files(folder, record.checkpoint_files, remedy=TRAINED)
    except OSError as error:
        raise unreadable(Path(error.filename or folder), error, remedy=TRAINED) from None


def insert_run(connection: duckdb.DuckDBPyConnection, record: RunRecord) -> None:
    """Insert a run and its epochs into the registry."""
    insert(connection, "runs", pa.Table.from_pylist([_run_row(record)], schema=table_schema("runs")))
    insert(connection, "epochs", pa.Table.from_pylist(_epoch_rows(record), schema=table_schema("epochs")))


def record_photographs(workspace: Workspace, run_id: str, parts: dict[str, list[PartCase]]) -> None:
    """Note which photographs a run is trained on and watches."""
    digests = {part: sorted(map(_photograph, cases)) for part, cases in parts.items()}
    write_sealed(workspace.run(run_id) / PHOTOGRAPHS, {"photographs": digests})


def check_photographs(workspace: Workspace, run_id: str, parts: dict[str, list[PartCase]]) -> None:
    """Raise DamagedError that names the cases whose photograph is not the one that a run was trained on.

    Earlier versions did not note the photographs.
    """
    path = workspace.run(run_id) / PHOTOGRAPHS
    if not path.exists():
        return
    noted = read_sealed(path, remedy=RESTORE)["photographs"]
    known = {part: set(digests) for part, digests in noted.items()}
    others = [case.case_id for part, cases in parts.items() for case in cases if _photograph(case) not in known[part]]
    if others:
        more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
        raise DamagedError(
            f"run {run_id} was trained on other photographs of {len(others)} cases than are registered now: "
            f"{', '.join(others[:NAMED])}{more}",
            place=str(path),
            remedy="put the photographs back and parse again, or move the folder of the run away and train again",
        )


def _photograph(case: PartCase) -> str:
    return short_id([case.case_id, case.sha256])


class PredictedPart(BaseModel, extra="allow", frozen=True):
    """How a part was predicted, and what was left out of it."""

    views: int
    """Orientations of a photograph that were averaged."""
    generate: bool
    """Whether the model also answered freely."""
    answers: list[tuple[str, str | None]]
    """Every answer that was scored, with its class; None where it is none of this study's."""
    unmapped: dict[str, int] = {}
    """Cases left out because the run was not trained on their class, by class."""
    without_box: int = 0
    """Cases without a ROI, which the input ablation `border` and degraded boxes cannot use."""
    values_left_out: int = 0
    """Metadata values that are left out of the prompts because they name a class."""
    unchanged: float | None = None
    """With degraded photographs: the largest difference of a probability from the run's own at level 0."""


def record_predictions(
    workspace: Workspace, run_id: str, shards: dict[str, list[str]], made: dict[str, PredictedPart]
) -> None:
    """Note the files that together hold the predictions of some parts, complete, and how they were made.

    Other parts keep theirs.
    """
    path = workspace.run(run_id) / PREDICTED
    noted = read_sealed(path, remedy=RESTORE) if path.exists() else {}
    how = {part: each.model_dump(mode="json") for part, each in made.items()}
    write_sealed(path, {"parts": {**noted.get("parts", {}), **shards}, "made": {**noted.get("made", {}), **how}})


def predicted_parts(workspace: Workspace, run_id: str) -> dict[str, PredictedPart]:
    """Return how each part of a run was predicted; earlier versions did not note it."""
    path = workspace.run(run_id) / PREDICTED
    noted = read_sealed(path, remedy=RESTORE).get("made", {}) if path.exists() else {}
    return {part: PredictedPart.model_validate(made) for part, made in noted.items()}


def predicted_files(workspace: Workspace, run_id: str) -> list[Path]:
    """Return the files that hold a run's complete predictions; raise DamagedError where one is gone.

    Files of a part that is still being predicted are left out; earlier versions did not note which are complete.
    """
    folder, noted = workspace.run(run_id) / "predictions", workspace.run(run_id) / PREDICTED
    if not noted.exists():
        return sorted(folder.glob("[!.]*.parquet"))
    parts = read_sealed(noted, remedy=RESTORE)["parts"]
    paths = [folder / name for part in sorted(parts) for name in parts[part]]
    if gone := [path for path in paths if not path.exists()]:
        remedy = f"restore it from a backup, or run toolkit predict --run {run_id} again"
        raise DamagedError("a file of predictions is gone", place=str(gone[0]), remedy=remedy)
    return paths


def forget_missing_predictions(workspace: Workspace, run_id: str) -> None:
    """Take the files that are gone off the list of a run's complete predictions."""
    path, folder = workspace.run(run_id) / PREDICTED, workspace.run(run_id) / "predictions"
    if path.exists():
        noted = read_sealed(path, remedy=RESTORE)
        there = {part: [name for name in names if (folder / name).exists()] for part, names in noted["parts"].items()}
        write_sealed(path, {**noted, "parts": {part: names for part, names in there.items() if names}})


def comparison_file(workspace: Workspace, run_id: str, other_id: str) -> Path:
    """Return the file of a run's comparison with another; with itself, of the effect of relabelling."""
    return workspace.run(run_id) / f"compared-with-{other_id}.parquet"


def _run_row(record: RunRecord) -> dict[str, Any]:
    row = record.model_dump(include=set(table_schema("runs").names))
    row |= {"source_sha256": record.source.sha256 if record.source else None}
    return row | {"model": record.model.name, "device": record.model.device, "epochs": len(record.epochs)}


def _epoch_rows(record: RunRecord) -> list[dict[str, Any]]:
    """Return losses and metrics of every epoch; none of a run that was trained under another ID."""
    if not record.was_trained or record.external_of:
        return []
    return [
        {"run_id": record.run_id, "epoch": epoch.epoch, "metric": metric, "value": value}
        for epoch in record.epochs
        for metric, value in {
            "train_loss": epoch.train_loss,
            "validation_loss": epoch.validation_loss,
            **epoch.metrics,
        }.items()
    ]


def now() -> datetime:
    """Return the time (UTC) as runs record it."""
    return datetime.now(UTC).replace(tzinfo=None, microsecond=0)


def part_cases(workspace: Workspace, split_id: str, part: str) -> list[PartCase]:
    """Return the cases of a part, ordered by ID; refuse a part that is empty or lacks photographs.

    The part `unlabelled` holds the cases without any label that are not in the split.
    """
    if part == UNLABELLED:
        rows = workspace.rows(sql.statement("split/unlabelled_cases"), {"split_id": split_id})
        empty, remedy = "no photograph is without a label", "parse an export with photographs that nobody has labelled"
    else:
        rows = workspace.rows(sql.statement("split/part_cases"), {"split_id": split_id, "part": part})
        empty, remedy = f"part {part} of split {split_id} holds no case", "toolkit split"
    if not rows:
        raise WorkspaceError(empty, place=str(workspace.folder), remedy=remedy)
    if missing := sum(row["path"] is None for row in rows):
        raise WorkspaceError(
            f"{missing} of {len(rows)} cases of part {part} have no photograph",
            place=f"split {split_id}",
            remedy="toolkit parse EXPORT --images DIR",
        )
    boxes = [Box(*(row[side] for side in SIDES)) if row["roi_width"] is not None else None for row in rows]
    return [
        PartCase(row["case_id"], row["patient_id"], row["class_name"] or "", Path(row["path"]), box, row["sha256"])
        for row, box in zip(rows, boxes, strict=True)
    ]


def resolved_cases(workspace: Workspace, split_id: str, part: str) -> list[PartCase]:
    """Return the cases of a part whose class is resolved today."""
    resolved = [case for case in part_cases(workspace, split_id, part) if case.class_name]
    if not resolved:
        raise WorkspaceError(
            f"no case of part {part} has a resolved class", place=f"split {split_id}", remedy="toolkit split"
        )
    return resolved


def crops_of(cases: list[PartCase], model: ModelSection, *, size: int, read: PixelReader = case_pixels) -> Crops:
    """Return the crops of cases as a study's model gets them, or with another reader."""
    sources = [CropSource(case.case_id, case.path, case.roi, case.sha256) for case in cases]
    return Crops(sources, margin=model.roi_margin, size=size, read=partial(read, shape=model.roi_shape))
