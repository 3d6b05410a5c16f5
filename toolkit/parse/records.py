"""Knows which records of the registry's tables one well-formed row of an export holds.

Refuses to judge a row: what is bad never gets here (`rows`), and what contradicts another row `sql/steps` settle.
"""

import difflib
import hashlib
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import msgspec

from toolkit.manifest import Study, fold
from toolkit.parse import shapes
from toolkit.parse.identifiers import identify
from toolkit.privacy import Key, normalise, scrub, without_queries

GEOMETRIES = ("bounding_box", "polygon", "line", "point", "mask", "composite_mask")
SIDES = ("box_left", "box_top", "box_width", "box_height")

Record = dict[str, Any]


class Records(NamedTuple):
    """Records by table, and the latest time written in the row (UTC)."""

    tables: dict[str, list[Record]]
    latest_at: datetime | None


def records_of(row: shapes.Row, raw: dict, study: Study, key: Key) -> Records:
    """Return everything a row holds; `raw` is the same row undecoded, for digests that no type can change."""
    return _Row(row, raw, study, key).fill()


def nearest_class(spelling: str, study: Study) -> str:
    """Return what to say about an answer that is no class: its unusual code points and the nearest class."""
    odd = " ".join(f"U+{ord(c):04X}" for c in spelling if ord(c) > 126)
    spellings = [s for c in study.classes for s in (c.name, c.answer, *c.aliases)]
    near = difflib.get_close_matches(spelling, spellings, n=1, cutoff=0.5)
    return f"{scrub(spelling)[:120]!r}{f' (holds {odd})' if odd else ''}; nearest: {near[0] if near else 'none'}"


def astuple(box: shapes.BoundingBox) -> tuple[float, float, float, float]:
    """Return left, top, width, height."""
    return box.left, box.top, box.width, box.height


class _Row:
    """Fills the records of one row; holds what each of them needs."""

    def __init__(self, row: shapes.Row, raw: dict, study: Study, key: Key) -> None:
        self.row, self.raw, self.study, self.key = row, raw, study, key
        self.records: dict[str, list[Record]] = defaultdict(list)
        self.projects = {fold(name) for name in study.labelbox.projects}
        self.secrets: tuple[str, ...] = ()

    def fill(self) -> Records:
        details = self.row.data_row.details
        times = [_utc(details.updated_at), _utc(details.last_activity_at)]
        self.image()
        for project_id, project in self.row.projects.items():
            in_study = bool({fold(project.name), fold(project_id)} & self.projects)
            self.project(project_id, project, in_study)
            for position, label in enumerate(project.labels):
                raw = self.raw["projects"][project_id]["labels"][position]
                held = _Held(label.id, project_id, project.name, in_study=in_study)
                self.label(held, label, raw, project.project_details)
                times += [_utc(label.label_details.created_at), _utc(label.label_details.updated_at)]
        self.runs()
        self.beside()
        return Records(self.records, max(filter(None, times), default=None))

    def image(self) -> None:
        data_row, key = self.row.data_row, self.key
        found = identify(self.row, self.study.labelbox)
        one = found.patient
        self.records["images"].append(
            {
                "image_id": data_row.id,
                "global_key": without_queries(data_row.global_key) if data_row.global_key else None,
                "external_id": without_queries(data_row.external_id) if data_row.external_id else None,
                "url_name": _url_name(data_row.row_data),
                "patient_id": key.pseudonym("p", one) if one else None,
                "patient_fault": found.fault,
                "spelling": key.pseudonym("s", str(found.written[0]) if found.written else one) if one else None,
                "lesion_id": key.pseudonym("l", one, found.lesion) if one and found.lesion else None,
                "width": self.row.media_attributes.width,
                "height": self.row.media_attributes.height,
            }
        )
        self.secrets = tuple(str(value).strip() for value in found.written)
        self.metadata()

    def clean(self, text: str) -> str:
        """Return a text without what must not stand in the registry, the patient's identifiers included."""
        return scrub(text, secrets_in_it=self.secrets)

    def metadata(self) -> None:
        """Add the metadata that the study keeps, without the patient's identifiers."""
        labelbox = self.study.labelbox
        own = {fold(labelbox.patient), fold(labelbox.lesion)}
        kept = None if labelbox.metadata is None else set(map(fold, labelbox.metadata))
        for item in self.row.metadata_fields:
            name = fold(item.schema_name)
            if name not in own and (kept is None or name in kept) and item.value is not None:
                self.records["metadata"].append(
                    {
                        "image_id": self.row.data_row.id,
                        "name": item.schema_name,
                        "kind": item.schema_kind,
                        "value": self.clean(_as_text(item.value)),
                    }
                )

    def project(self, project_id: str, project: shapes.Project, in_study: bool) -> None:  # noqa: FBT001
        self.records["projects"].append(
            {
                "image_id": self.row.data_row.id,
                "project_id": project_id,
                "project": project.name,
                "in_study": in_study,
                "workflow_status": project.project_details.workflow_status,
                "batch": project.project_details.batch_name,
                "tags": _json(project.project_tags) if project.project_tags else None,
            }
        )

    def runs(self) -> None:
        """Add what model runs hold of the photograph, under IDs of its own: it is nobody's reading."""
        nowhere = shapes.ProjectDetails()
        for model_id, run_id, run in self.row.runs():
            model = self.row.experiments[model_id].name
            record = {"image_id": self.row.data_row.id, "model_id": model_id, "model": model}
            self.records["model_runs"].append({**record, "run_id": run_id, "run": run.name, "split": run.split})
            raw = self.raw["experiments"][model_id]["runs"][run_id]
            for kind, labels in (("run_label", run.labels), ("prediction", run.predictions)):
                for position, label in enumerate(labels):
                    held = _Held(f"{run_id}/{kind}/{position}/{label.id}", run_id, run_id, kind=kind)
                    self.label(held, label, raw[f"{kind.removeprefix('run_')}s"][position], nowhere)

    def beside(self) -> None:
        """Add what stands beside the photograph: attachments, and embeddings without their vectors."""
        image_id = self.row.data_row.id
        for position, item in enumerate(self.row.attachments):
            value = None if item.value is None else self.clean(_as_text(item.value))
            name = self.clean(item.name) if item.name else None
            record = {"image_id": image_id, "position": position, "kind": item.type, "name": name, "value": value}
            self.records["attachments"].append(record)
        for position, item in enumerate(self.row.embeddings):
            record = {"image_id": image_id, "position": position, "embedding_id": item.id, "name": item.name}
            self.records["embeddings"].append(
                {**record, "dimensions": item.dimensions, "vectors": len(item.values)},
            )

    def label(self, held: "_Held", label: shapes.Label, raw: dict, project: shapes.ProjectDetails) -> None:
        details, work = label.label_details, label.performance_details
        content = {"annotations": raw.get("annotations"), "details": raw.get("label_details"), "skipped": work.skipped}
        written = msgspec.json.encode(content, order="deterministic").decode()
        digest = sha256(without_queries(written).encode())
        self.records["labels"].append(
            {
                "label_id": held.label_id,
                "content_sha256": digest,
                "image_id": self.row.data_row.id,
                "kind": held.kind,
                "project_id": held.source_id,
                "project": held.source,
                "in_study": held.in_study,
                "annotator": self.key.pseudonym("a", normalise(details.created_by)) if details.created_by else None,
                "created_at": _utc(details.created_at),
                "updated_at": _utc(details.updated_at),
                "skipped": work.skipped,
                "workflow_status": project.workflow_status,
                "seconds_to_create": work.seconds_to_create,
                "seconds_to_review": work.seconds_to_review,
                "consensus_score": work.consensus_score,
                "benchmark_score": work.benchmark_score,
                "benchmark_reference": work.benchmark_reference_label,
            }
        )
        _Contents(self, label, held.label_id, digest).fill()


class _Held(NamedTuple):
    """Where a label stands: its ID in the registry, the project or the model run it was made in."""

    label_id: str
    source_id: str
    source: str
    in_study: bool = False
    kind: str = "label"


class _Contents:
    """Fills the objects, answers and relationships of one label."""

    def __init__(self, records: _Row, label: shapes.Label, label_id: str, digest: str) -> None:
        self.study, self.records, self.label, self.label_id = records.study, records.records, label, label_id
        self.clean = records.clean
        self.key = {"label_id": label_id, "content_sha256": digest}
        self.positions: Counter[str] = Counter()

    def fill(self) -> None:
        annotations = self.label.annotations
        for thing in annotations.objects:
            if thing.unidirectional_relationship is not None:
                self.relationship(thing.name, thing.unidirectional_relationship)
            else:
                self.object(thing)
        for row in annotations.relationships:
            self.relationship(row.name, row.unidirectional_relationship or shapes.Relationship())
        self.answers(annotations.classifications, object_position=None)

    def object(self, thing: shapes.Object) -> None:
        position = self.next("objects")
        geometry = {name: getattr(thing, name) for name in GEOMETRIES if getattr(thing, name) is not None}
        box = thing.bounding_box
        names = [name for name in (thing.name, thing.value) if name]
        is_roi = fold(self.study.labelbox.roi) in {fold(name) for name in names}
        class_name = next((c for c in map(self.study.class_of, names) if c), None)
        self.records["objects"].append(
            {
                **self.key,
                "position": position,
                "object_id": thing.feature_id or f"{self.label_id}/{position}",
                "name": thing.name,
                "value": thing.value,
                "annotation_kind": thing.annotation_kind,
                "geometry": _json(geometry) if geometry else None,
                **dict(zip(SIDES, astuple(box) if box else (None,) * 4, strict=True)),
                "marks_case": box is not None and (is_roi or class_name is not None),
                "class_name": class_name,
            }
        )
        self.answers(thing.classifications, object_position=position)

    def answers(
        self, questions: list[shapes.Classification], *, object_position: int | None, parent: int | None = None
    ) -> None:
        """Add every answer to these questions and, below each, the answers nested in it."""
        beside = self.certainty(questions)
        for question in questions:
            options = [o for o in (question.radio_answer, *(question.checklist_answers or ())) if o]
            kind = "radio" if question.radio_answer else "checklist"
            for option in options:
                certainty = self.certainty(option.classifications) or beside
                position = self.answer(question, kind, option, object_position, parent, certainty)
                self.answers(option.classifications, object_position=object_position, parent=position)
            if question.text_answer:
                text = shapes.Option(self.clean(question.text_answer.content))
                self.answer(question, "text", text, object_position, parent, None)

    def answer(
        self,
        question: shapes.Classification,
        kind: str,
        option: shapes.Option,
        object_position: int | None,
        parent: int | None,
        certainty: str | None,
    ) -> int:
        position = self.next("answers")
        diagnosis = None if kind == "text" else self.diagnosis(question, option.name, option.value)
        self.records["answers"].append(
            {
                **self.key,
                "position": position,
                "parent": parent,
                "object_position": object_position,
                "question": question.name,
                "question_value": question.value,
                "kind": kind,
                "answer": option.name,
                "answer_value": option.value,
                "diagnosis": diagnosis,
                "certainty": certainty if diagnosis else None,
            }
        )
        return position

    def diagnosis(self, question: shapes.Classification, answer: str, value: str | None) -> str | None:
        """Return the class an answer means, or its spelling where it is none; None where it does not name a class."""
        asked = [name for name in (question.name, question.value) if name]
        if own := next((c for c in map(self.study.class_asked, asked) if c), None):
            return own.name if fold(answer) == fold(own.yes) else None
        if fold(self.study.labelbox.question) in map(fold, asked):
            return self.class_chosen(answer, value)
        return None

    def class_chosen(self, answer: str, value: str | None) -> str:
        """Return the class an option means, else its spelling; its name decides, and its slug must not contradict."""
        known, slug = self.study.class_of(answer), self.study.class_of(value) if value else None
        if known and slug not in (known, None):
            return f"{answer} / {value}"
        return known or answer

    def certainty(self, questions: list[shapes.Classification]) -> str | None:
        """Return the answer to the question of certainty among these."""
        name = self.study.labelbox.certainty
        for question in questions if name else ():
            if fold(name) in {fold(n) for n in (question.name, question.value) if n} and question.radio_answer:
                return question.radio_answer.name
        return None

    def relationship(self, name: str, ends: shapes.Relationship) -> None:
        record = {
            "position": self.next("relationships"),
            "name": name,
            "source_id": ends.source,
            "target_id": ends.target,
        }
        self.records["relationships"].append({**self.key, **record})

    def next(self, table: str) -> int:
        """Return the next position in a table of this label."""
        self.positions[table] += 1
        return self.positions[table] - 1


def _utc(time: datetime | None) -> datetime | None:
    """Return a time in UTC without its zone, as the registry keeps all times."""
    if time is None:
        return None
    return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time


def _json(value: Any) -> str:
    """Return JSON in which no URL has a query."""
    return scrub(msgspec.json.encode(value).decode())


def sha256(content: bytes) -> str:
    """Return the hexadecimal SHA-256."""
    return hashlib.sha256(content).hexdigest()


def _url_name(url: str | None) -> str | None:
    """Return the base name of a photograph's URL: all of it that is kept, since URLs carry signatures."""
    if not url:
        return None
    try:
        return PurePosixPath(unquote(urlsplit(url).path)).name or None
    except ValueError:
        return None


def _as_text(value: Any) -> str:
    """Return a metadata value as text: numbers plainly, options by their names."""
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list):
        return ", ".join(_as_text(item) for item in value)
    if isinstance(value, dict):
        return str(value.get("schema_name") or value.get("name") or msgspec.json.encode(value).decode())
    return str(value)
