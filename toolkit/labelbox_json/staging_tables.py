"""The staging tables of an export: the type of their records, and the writer of their Parquet files."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Self, get_args

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

BATCH = 5_000
"""Records held before they are written: what bounds memory."""
AS_IT_IS = {"compression": "none", "use_dictionary": ["export_id"], "write_statistics": False}
"""How staged files are written: they are read once, right away."""
ARROW = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_(), datetime: pa.timestamp("us")}


class StagingRecord(msgspec.Struct, gc=False):
    """A record of a staged table; its fields are the table's columns."""


class Line(StagingRecord):
    """A row as it was read: where it begins, why it could not be taken, what it holds."""

    at_line: int
    byte_offset: int
    reason: str | None
    detail: str | None
    image_id: str | None
    part: str | None
    """Which part of its photograph's row a legacy entry is."""
    facts_sha256: str | None
    content_sha256: str | None
    latest_at: datetime | None
    n_row: int
    n_project: int
    n_label: int
    n_answer: int
    n_object: int
    n_relationship: int
    n_prediction: int


class Image(StagingRecord):
    """A photograph and its patient, by pseudonym."""

    image_id: str
    global_key: str | None
    external_id: str | None
    url_name: str | None
    patient_id: str | None
    patient_fault: str | None
    spelling: str | None
    lesion_id: str | None
    width: int | None
    height: int | None


class PatientKey(StagingRecord):
    """What a patient's ID has in common with similar ones; the patient before `[ingest] same_patient`."""

    patient_id: str
    how: str
    key: str
    possible: float


class Metadata(StagingRecord):
    """A metadata field that the study keeps."""

    image_id: str
    name: str
    kind: str | None
    value: str


class Project(StagingRecord):
    """A photograph's place in a project."""

    image_id: str
    project_id: str
    project: str
    in_study: bool
    workflow_status: str | None
    batch: str | None
    tags: str | None


class Label(StagingRecord):
    """A label, or what a model run holds in a label's shape."""

    label_id: str
    content_sha256: str
    image_id: str
    kind: str
    project_id: str
    project: str
    in_study: bool
    annotator: str | None
    created_at: datetime | None
    updated_at: datetime | None
    skipped: bool | None
    workflow_status: str | None
    seconds_to_create: float | None
    seconds_to_review: float | None
    consensus_score: float | None
    benchmark_score: float | None
    benchmark_reference: str | None
    elsewhere: str | None = None
    """Where it answers a question that names classes and is not read, in words between semicolons."""


class Object(StagingRecord):
    """An object of a label; the sides of its box in pixels."""

    label_id: str
    content_sha256: str
    position: int
    object_id: str
    name: str
    value: str | None
    annotation_kind: str | None
    geometry: str | None
    box_left: float | None
    box_top: float | None
    box_width: float | None
    box_height: float | None
    marks_case: bool
    class_name: str | None
    extent_left: float | None
    """Of what marks a case: its box, its polygon's or its mask's extent."""
    extent_top: float | None
    extent_width: float | None
    extent_height: float | None
    no_extent: str | None
    """Why there is none."""
    mask_address: str | None
    mask_color: str | None


class Answer(StagingRecord):
    """An answer; `parent` and `object_position` are positions of what it is nested in."""

    label_id: str
    content_sha256: str
    position: int
    parent: int | None
    object_position: int | None
    question: str
    question_value: str | None
    kind: str
    answer: str
    answer_value: str | None
    diagnosis: str | None
    certainty: str | None


class Relationship(StagingRecord):
    """A relationship between two objects, by their IDs."""

    label_id: str
    content_sha256: str
    position: int
    name: str
    source_id: str | None
    target_id: str | None


class Review(StagingRecord):
    """A review of a label."""

    label_id: str
    image_id: str
    position: int
    review_id: str | None
    score: float | None
    reviewed_at: datetime | None
    reviewer: str | None


class WorkflowStep(StagingRecord):
    """A step of a photograph in a project's workflow."""

    image_id: str
    project_id: str
    label_id: str | None
    position: int
    action: str
    acted_at: datetime | None
    annotator: str | None
    from_task: str | None
    to_task: str | None


class ModelRun(StagingRecord):
    """A model run that holds something of a photograph."""

    image_id: str
    model_id: str
    model: str | None
    run_id: str
    run: str | None
    split: str | None


class Attachment(StagingRecord):
    """What stands beside a photograph."""

    image_id: str
    position: int
    kind: str | None
    name: str | None
    value: str | None


class Embedding(StagingRecord):
    """An embedding, without its vectors."""

    image_id: str
    position: int
    embedding_id: str | None
    name: str | None
    dimensions: int | None
    vectors: int


class UnknownKey(StagingRecord):
    """A key that Labelbox did not have when this was written."""

    key_path: str


class Unread(StagingRecord):
    """What a row holds of a noun where nothing is read."""

    noun: str
    times: int
    detail: str


TABLES: dict[str, type[StagingRecord]] = {
    "lines": Line,
    "images": Image,
    "patient_keys": PatientKey,
    "metadata": Metadata,
    "projects": Project,
    "labels": Label,
    "objects": Object,
    "answers": Answer,
    "relationships": Relationship,
    "reviews": Review,
    "workflow": WorkflowStep,
    "model_runs": ModelRun,
    "attachments": Attachment,
    "embeddings": Embedding,
    "unknown_keys": UnknownKey,
    "unread": Unread,
}


class StagingWriter:
    """One Parquet file for each type of record, `NAME-SUFFIX.parquet`; complete when the block ends."""

    def __init__(self, folder: Path, types: Mapping[str, type[msgspec.Struct]], suffix: str) -> None:
        self.schemas = {name: self.schema_of(kind) for name, kind in types.items()}
        self.waiting: dict[str, list] = {name: [] for name in types}
        self.writers = {
            name: pq.ParquetWriter(folder / f"{name}-{suffix}.parquet", schema, **AS_IT_IS)
            for name, schema in self.schemas.items()
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            for name, writer in self.writers.items() if kind is None else ():
                self.flush(name)
                writer.close()
        finally:
            for writer in self.writers.values():
                writer.is_open = False  # else pyarrow closes it once more when it is forgotten, and prints what fails

    def schema_of(self, kind: type[msgspec.Struct]) -> pa.Schema:
        """Return a type's columns."""
        fields = msgspec.structs.fields(kind)
        return pa.schema([(field.name, ARROW[(get_args(field.type) or (field.type,))[0]]) for field in fields])

    def add(self, name: str, records: Sequence[msgspec.Struct]) -> None:
        """Add records of one type."""
        self.waiting[name] += records
        if len(self.waiting[name]) >= BATCH:
            self.flush(name)

    def flush(self, name: str) -> None:
        """Write what waits."""
        if self.waiting[name]:
            self.writers[name].write_table(pa.Table.from_arrays(self.columns(name), schema=self.schemas[name]))
            self.waiting[name] = []

    def columns(self, name: str) -> list[pa.Array]:
        """Return what waits, column by column."""
        columns = list(zip(*map(msgspec.structs.astuple, self.waiting[name]), strict=True))
        types = self.schemas[name].types
        return [pa.array(values, kind) for values, kind in zip(columns, types[-len(columns) :], strict=True)]


class StagingTables(StagingWriter):
    """The staged tables of one batch of an export's rows.

    `line` is a row's place among the rows of its export, which staged tables are joined by.
    """

    def __init__(self, folder: Path, export_id: str, batch: int) -> None:
        super().__init__(folder, TABLES, f"{export_id}-{batch}")
        self.export_id = export_id
        self.lines: dict[str, list[int]] = {table: [] for table in TABLES}

    def schema_of(self, kind: type[msgspec.Struct]) -> pa.Schema:
        """Return a staged table's columns."""
        return pa.schema([("export_id", pa.string()), ("line", pa.int64()), *super().schema_of(kind)])

    def stage(self, line: int, table: str, records: Sequence[StagingRecord]) -> None:
        """Add what one row holds for one table."""
        self.lines[table] += [line] * len(records)
        self.add(table, records)

    def columns(self, name: str) -> list[pa.Array]:
        """Return what waits, with the export and the lines it stands on."""
        lines, self.lines[name] = self.lines[name], []
        return [pa.repeat(self.export_id, len(lines)), pa.array(lines, pa.int64()), *super().columns(name)]
