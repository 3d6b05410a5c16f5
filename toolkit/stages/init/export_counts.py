"""Counts of the names in an export: projects, questions, answers, objects, metadata fields.

Of the values of a metadata field only their number is kept, since patients' identifiers may be among them.
"""

from collections import Counter
from dataclasses import dataclass, field

from toolkit.labelbox_json import staging_tables
from toolkit.labelbox_json.rows import ReadRow
from toolkit.manifest import Study

MOST = 2_000
"""Different names of one kind, or values of one field, that are told apart: what bounds memory."""
OUTLINES = ("ImagePolygon", "ImageSegmentationMask")
NOWHERE = "\ue000"
"""A private-use character: no field or question is called so."""


@dataclass
class ProjectCounts:
    """What was counted in one project."""

    project_id: str
    photographs: int = 0
    labels: int = 0
    answers: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)
    """By question and kind; all answers in words are counted as one."""
    boxes: Counter[str] = field(default_factory=Counter)
    outlines: Counter[str] = field(default_factory=Counter)
    """Polygons and masks."""
    others: Counter[str] = field(default_factory=Counter)
    """Objects that outline nothing: lines, points."""

    def add(self, other: "ProjectCounts") -> None:
        """Count what another project holds as this one's."""
        self.photographs += other.photographs
        self.labels += other.labels
        for key, answers in other.answers.items():
            self.answers.setdefault(key, Counter()).update(answers)
        for own, more in ((self.boxes, other.boxes), (self.outlines, other.outlines), (self.others, other.others)):
            own.update(more)


@dataclass
class FieldCounts:
    """What was counted of one metadata field."""

    kind: str | None
    rows: int = 0
    values: set[int] = field(default_factory=set)
    """Hashes of different values, MOST at the most."""


class ExportCounts:
    """Counts names while an export is read, in memory that does not grow with it."""

    def __init__(self) -> None:
        self.rows = self.unread = self.external_ids = self.global_keys = 0
        self.projects: dict[str, ProjectCounts] = {}
        self.fields: dict[str, FieldCounts] = {}

    def add(self, row: ReadRow) -> None:
        """Count what one line holds."""
        self.rows += 1
        if row.reason is not None:
            self.unread += 1
            return
        tables = row.records
        for record in tables.get("images", ()):
            self.external_ids += record.external_id is not None
            self.global_keys += record.global_key is not None
        for record in tables.get("metadata", ()):
            self.metadata(record)
        for record in tables.get("projects", ()):
            self.project(record.project, record.project_id).photographs += 1
        project_of = {record.label_id: self.project(record.project, "") for record in tables.get("labels", ())}
        for project in project_of.values():
            project.labels += 1
        for record in tables.get("answers", ()):
            self.answer(project_of[record.label_id], record)
        for record in tables.get("objects", ()):
            project = project_of[record.label_id]
            raise_by_one(_drawn_as(project, record), record.name)

    def project(self, name: str, project_id: str) -> ProjectCounts:
        """Return what is counted of a project."""
        if name not in self.projects and len(self.projects) >= MOST:
            return ProjectCounts(project_id)
        return self.projects.setdefault(name, ProjectCounts(project_id))

    def answer(self, project: ProjectCounts, record: staging_tables.Answer) -> None:
        """Count one answer."""
        key = (record.question, record.kind)
        if key in project.answers or len(project.answers) < MOST:
            answers = project.answers.setdefault(key, Counter())
            raise_by_one(answers, "" if record.kind == "text" else record.answer)

    def metadata(self, record: staging_tables.Metadata) -> None:
        """Count one value of a metadata field."""
        if record.name in self.fields or len(self.fields) < MOST:
            counted = self.fields.setdefault(record.name, FieldCounts(record.kind))
            counted.rows += 1
            if len(counted.values) < MOST:
                counted.values.add(hash(record.value))


def _drawn_as(project: ProjectCounts, record: staging_tables.Object) -> Counter[str]:
    """Return where an object is counted: boxes, other outlines, or what outlines nothing."""
    if record.box_left is not None:
        return project.boxes
    return project.outlines if record.annotation_kind in OUTLINES else project.others


def raise_by_one(counts: Counter[str], name: str) -> None:
    """Count a name; a new one beyond MOST is left out."""
    if name in counts or len(counts) < MOST:
        counts[name] += 1


def bare_study() -> Study:
    """Return a study that keeps all metadata and knows no class, for reading an export without a study file."""
    classes = [{"name": name, "answer": NOWHERE + name, "malignant": False} for name in ("A", "B")]
    named = {"projects": [NOWHERE], "question": NOWHERE, "roi": NOWHERE, "patient": NOWHERE, "lesion": NOWHERE}
    document = {
        "study": {"name": "bare", "title": "bare"},
        "labelbox": {**named, "patient_from": "none"},
        "classes": [{**c, "name": f"class of init {c['name']}"} for c in classes],
        "prompt": {"user": "-"},
        "model": {"name": "tiny"},
    }
    return Study.model_validate(document)
