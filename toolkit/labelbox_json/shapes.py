"""The JSON objects of a Labelbox export (version 2) as strict types.

Keys that no type names stay in the landed file; `keys` reports those that are new. No default is a value that Labelbox
writes, so that a row written again has the keys it came with.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec


class Shape(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A JSON object whose named keys have the types below; those of type Any are kept for its digest only."""


class Option(Shape, frozen=True):
    """A chosen option, with the questions nested in it."""

    name: str
    value: str | None = None
    classifications: "list[Classification] | None" = None
    feature_id: Any = None
    feature_schema_id: Any = None


class Text(Shape, frozen=True):
    """A text answer."""

    content: str


class Classification(Shape, frozen=True):
    """A question and its answer, of exactly one kind."""

    name: str
    value: str | None = None
    radio_answer: Option | None = None
    checklist_answers: list[Option] | None = None
    text_answer: Text | None = None
    feature_id: Any = None
    feature_schema_id: Any = None


class BoundingBox(Shape, frozen=True):
    """Pixels, origin top left."""

    top: float
    left: float
    height: float
    width: float


class Relationship(Shape, frozen=True):
    """Feature IDs at both ends."""

    source: str | None = None
    target: str | None = None


class Object(Shape, frozen=True):
    """An object with one geometry, or a relationship that stands among the objects."""

    name: str
    feature_id: str | None = None
    value: str | None = None
    feature_schema_id: Any = None
    annotation_kind: str | None = None
    classifications: list[Classification] | None = None
    bounding_box: BoundingBox | None = None
    polygon: Any = None
    line: Any = None
    point: Any = None
    mask: Any = None
    composite_mask: Any = None
    unidirectional_relationship: Relationship | None = None


class RelationshipRow(Shape, frozen=True):
    """A relationship in its own list."""

    name: str
    unidirectional_relationship: Relationship | None = None
    feature_id: Any = None
    feature_schema_id: Any = None
    annotation_kind: Any = None
    classifications: Any = None


class Annotations(Shape, frozen=True):
    """What a label holds."""

    objects: list[Object] | None = None
    classifications: list[Classification] | None = None
    relationships: list[RelationshipRow] | None = None


class LabelDetails(Shape, frozen=True):
    """Who and when; absent unless the export was asked for it."""

    created_at: datetime | None = None
    updated_at: datetime | None = None
    created_by: str | None = None
    content_last_updated_at: Any = None
    reviews: Any = None


class PerformanceDetails(Shape, frozen=True):
    """How long and how well agreed; absent unless the export was asked for it."""

    skipped: bool | None = None
    seconds_to_create: float | None = None
    seconds_to_review: float | None = None
    consensus_score: float | None = None
    benchmark_score: float | None = None
    benchmark_reference_label: str | None = None


class Label(Shape, frozen=True):
    """One annotator's submission for one photograph."""

    id: str
    label_details: LabelDetails = LabelDetails()
    performance_details: PerformanceDetails = PerformanceDetails()
    annotations: Annotations = Annotations()
    label_kind: Any = None
    version: Any = None


class ProjectDetails(Shape, frozen=True):
    """Where the photograph stands in the project's workflow."""

    workflow_status: str | None = None
    batch_name: str | None = None
    ontology_id: Any = None
    task_id: Any = None
    task_name: Any = None
    batch_id: Any = None
    priority: Any = None
    consensus_expected_label_count: Any = None
    selected_label_id: Any = None
    workflow_history: Any = None


class Project(Shape, frozen=True):
    """A photograph's labels in one project."""

    name: str
    labels: list[Label] | None = None
    project_details: ProjectDetails = ProjectDetails()
    project_tags: Any = None


class ModelRun(Shape, frozen=True):
    """What a model run holds of a photograph: what it predicted, and the labels it is compared with."""

    name: str | None = None
    split: str | None = None
    labels: list[Label] | None = None
    predictions: list[Label] | None = None
    run_data_row_id: Any = None


class Experiment(Shape, frozen=True):
    """The runs of one model."""

    name: str | None = None
    runs: dict[str, ModelRun] = {}


class Attachment(Shape, frozen=True):
    """Something shown beside the photograph: an image, a text, a page."""

    type: str | None = None
    value: Any = None
    name: str | None = None
    id: Any = None


class Embedding(Shape, frozen=True):
    """An embedding; its vectors are counted, not kept."""

    id: str | None = None
    name: str | None = None
    dimensions: int | None = None
    values: list | None = None
    is_custom: Any = None


class DataRowDetails(Shape, frozen=True):
    """Times of the data row."""

    updated_at: datetime | None = None
    last_activity_at: datetime | None = None
    dataset_id: Any = None
    dataset_name: Any = None
    created_at: Any = None
    created_by: Any = None


class DataRow(Shape, frozen=True):
    """The photograph."""

    id: str
    row_data: str | None = None
    global_key: str | None = None
    external_id: str | None = None
    details: DataRowDetails = DataRowDetails()


class MediaAttributes(Shape, frozen=True):
    """Size in pixels, as displayed in Labelbox's editor."""

    height: int | None = None
    width: int | None = None
    mime_type: Any = None
    asset_type: Any = None
    exif_rotation: Any = None


class MetadataField(Shape, frozen=True):
    """A metadata field; the value's type follows its kind."""

    schema_name: str
    schema_kind: str | None = None
    value: Any = None
    schema_id: Any = None


class Row(Shape, frozen=True):
    """One line of an export."""

    data_row: DataRow
    media_attributes: MediaAttributes = MediaAttributes()
    metadata_fields: list[MetadataField] | None = None
    projects: dict[str, Project] = {}
    attachments: list[Attachment] | None = None
    embeddings: list[Embedding] | None = None
    experiments: dict[str, Experiment] = {}

    def runs(self) -> Iterator[tuple[str, str, ModelRun]]:
        """Yield the model runs with the IDs of their model and their own."""
        for model_id, experiment in self.experiments.items():
            for run_id, run in experiment.runs.items():
                yield model_id, run_id, run


def lenient(content: bytes) -> dict:
    """Decode a JSON object without checking its types; return an empty one for anything else."""
    try:
        return as_dict(msgspec.json.decode(content))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}


def as_dict(value: Any) -> dict:
    """Return a JSON object; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def dicts(value: Any) -> list[dict]:
    """Return the objects of a JSON array; nothing of anything else."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def dict_values(value: Any) -> list[dict]:
    """Return the objects that are values of a JSON object; nothing of anything else."""
    return dicts(list(as_dict(value).values()))
