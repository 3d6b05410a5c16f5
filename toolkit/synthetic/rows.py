"""The rows of a Labelbox export v2 at one stage: metadata, labels, boxes and answers of each photograph."""

import hashlib
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any

from numpy.random import Generator, default_rng

from toolkit.cases import Box
from toolkit.synthetic.labels import SyntheticLabel, is_merged, labels_of, patient_ids
from toolkit.synthetic.plan import PlannedPhotograph, Stage

Json = dict[str, Any]

PROJECT, ELSEWHERE = "pigmented-lesions", "image-quality"
# "drawn" stands in the data set's name and in global keys: an export keeps its bytes from version to version.
QUESTION, ROI, DATASET = "diagnosis", "lesion_roi", "drawn pigmented lesions"
LEAD = "lead@example.org"
LABELLING, REVIEW, REWORK, DONE = "Initial labeling task", "Initial review task", "Rework (all rejected)", "Done"

START = datetime(2025, 1, 6, 8, tzinfo=UTC)
ARRIVAL = {1: timedelta(0), 3: timedelta(days=100)}
"""When the first photograph of a stage arrives; the others follow within some six weeks."""
REVIEWED, MERGED = timedelta(days=75), timedelta(days=150)
EXPORTED = {1: timedelta(days=62), 2: timedelta(days=95), 3: timedelta(days=165)}


class Rows:
    """Makes the rows of one stage's export; IDs follow from the seed alone and stay from stage to stage."""

    def __init__(self, seed: int, stage: Stage, *, cases: int) -> None:
        self.seed, self.stage = seed, stage
        self.pace = timedelta(weeks=8) / (1.5 * cases)

    def id(self, kind: str, index: object) -> str:
        """Make an ID of the form that Labelbox's have: 25 characters that start with c."""
        return "cm" + hashlib.sha256(f"{self.seed} {kind} {index}".encode()).hexdigest()[:23]

    def global_key(self, photograph: PlannedPhotograph) -> str:
        """Return a photograph's global key."""
        return f"drawn-{self.seed}-{photograph.index + 1:05d}"

    def label_id(self, photograph: PlannedPhotograph, number: int) -> str:
        """Return the ID of one of a photograph's labels."""
        return self.id("label", f"{photograph.index}.{number}")

    def row(self, photograph: PlannedPhotograph) -> Json:
        """Return the row of one photograph."""
        return _Row(self, photograph).row()


class _Row:
    """Writes one photograph's row; holds what each of its sections needs."""

    def __init__(self, rows: Rows, photograph: PlannedPhotograph) -> None:
        self.rows, self.photograph = rows, photograph
        self.arrived = START + ARRIVAL[photograph.arrived] + photograph.index * rows.pace
        self.reviewed = START + REVIEWED + photograph.index * rows.pace / 10
        self.labels = labels_of(photograph, rows.stage, seed=rows.seed)
        self.rng: Generator = default_rng([rows.seed, 2, photograph.index])

    def row(self) -> Json:
        photograph, rows = self.photograph, self.rows
        quality, dermoscopy, progress = self.rng.uniform(size=3)
        projects = {rows.id("project", PROJECT): self.project(progress)}
        if quality < 0.1:
            projects[rows.id("project", ELSEWHERE)] = self.quality()
        attached = self.url(photograph.name.replace("IMG", "DERMOSCOPY"))
        return {
            "data_row": self.data_row(),
            "media_attributes": {
                "height": photograph.size[1],
                "width": photograph.size[0],
                "mime_type": "image/jpeg",
                "asset_type": "image",
                "exif_rotation": photograph.note.get("orientation", "1"),
            },
            "attachments": [{"type": "IMAGE", "name": "dermoscopy", "value": attached}] if dermoscopy < 0.03 else [],
            "metadata_fields": self.metadata(),
            "projects": projects,
        }

    def url(self, name: str) -> str:
        """Return a signed URL, good for a day after the export."""
        expires = START + EXPORTED[self.rows.stage] + timedelta(days=1)
        signature = hashlib.sha256(f"{self.rows.seed} {self.rows.stage} {name}".encode()).hexdigest()
        return f"https://storage.example.org/{name}?Expires={int(expires.timestamp() * 1000)}&Signature={signature}"

    def data_row(self) -> Json:
        rows, photograph = self.rows, self.photograph
        latest = max((self.last_changed(label) for label in self.labels), default=self.arrived)
        if is_merged(photograph, rows.stage):
            latest = START + MERGED
        return {
            "id": rows.id("data_row", photograph.index),
            "global_key": rows.global_key(photograph),
            "external_id": photograph.name,
            "row_data": self.url(photograph.name),
            "details": {
                "dataset_id": rows.id("dataset", DATASET),
                "dataset_name": DATASET,
                "created_at": _text(self.arrived),
                "updated_at": _text(START + MERGED if is_merged(photograph, rows.stage) else self.arrived),
                "last_activity_at": _text(latest),
                "created_by": "curator@example.org",
            },
        }

    def metadata(self) -> list[Json]:
        photograph, person = self.photograph, self.photograph.person
        lesion = photograph.lesions[0]
        values: list[tuple[str, Any]] = [("patient_id", value) for value in patient_ids(photograph, self.rows.stage)]
        values += [
            ("lesion_id", str(lesion.number)),
            ("age", float(person.age)),
            ("sex", [person.sex]),
            ("anatomical_site", [lesion.anatomical_site]),
            ("fitzpatrick", float(person.fitzpatrick)),
            ("capture_site", person.capture_site),
            ("captured_at", self.arrived - timedelta(days=9)),
        ]
        if photograph.fault == "name_in_metadata":
            contact = f"{photograph.note['name'].split(',')[0].lower()}@example.net"
            values.append(("note", f"{photograph.note['name']} ({person.patient_id}) asks for the result: {contact}"))
        return [self.field(name, value) for name, value in values]

    def field(self, name: str, value: Any) -> Json:
        schema_id = self.rows.id("metadata", name)
        kind = {float: "Number", datetime: "DateTime", list: "Enum"}.get(type(value), "String")
        if isinstance(value, datetime):
            value = _text(value)
        if isinstance(value, list):
            value = [{"schema_id": self.rows.id("option", option), "schema_name": option} for option in value]
        return {"schema_id": schema_id, "schema_name": name, "schema_kind": f"CustomMetadata{kind}", "value": value}

    def project(self, progress: float) -> Json:
        labels = [self.label(label) for label in self.labels]
        return {"name": PROJECT, "labels": labels, "project_details": self.project_details(progress)}

    def project_details(self, progress: float) -> Json:
        """Return where the photograph stands in the workflow, and its way there, newest step first."""
        reviewed = self.rows.stage > self.photograph.arrived == 1
        rejected = any(label.reviewed for label in self.labels)
        moves: list[tuple[str, str, str, str]] = []
        if self.labels:
            moves.append(("Move", self.labels[0].annotator, LABELLING, REVIEW))
        if self.labels and not reviewed and progress < 0.05:
            moves.append(("Reject", LEAD, REVIEW, REWORK))
        if rejected:
            moves += [("Reject", LEAD, REVIEW, REWORK), ("Move", self.labels[0].annotator, REWORK, REVIEW)]
        if self.labels and (reviewed or progress >= 0.3):
            moves.append(("Approve", LEAD, REVIEW, DONE))
        task = moves[-1][3] if moves else LABELLING
        status = {LABELLING: "TO_LABEL", REVIEW: "IN_REVIEW", REWORK: "IN_REWORK", DONE: "DONE"}[task]
        at = self.reviewed if reviewed else self.arrived + timedelta(hours=30)
        return {
            "ontology_id": self.rows.id("ontology", PROJECT),
            "task_id": self.rows.id("task", task),
            "task_name": task,
            "batch_id": self.rows.id("batch", self.photograph.arrived),
            "batch_name": f"batch {1 if self.photograph.arrived == 1 else 2}",
            "workflow_status": status,
            "priority": 5,
            "consensus_expected_label_count": max(1, len(self.photograph.readings)),
            "workflow_history": [
                {
                    "action": action,
                    "created_at": _text(at + timedelta(minutes=step)),
                    "created_by": by,
                    "previous_task_name": before,
                    "previous_task_id": self.rows.id("task", before),
                    "next_task_name": after,
                    "next_task_id": self.rows.id("task", after),
                }
                for step, (action, by, before, after) in reversed(list(enumerate(moves)))
            ],
        }

    def first_labelled(self, label: SyntheticLabel) -> datetime:
        late = self.photograph.state == "queued"
        return self.reviewed if late else self.arrived + timedelta(hours=24 + label.number)

    def last_changed(self, label: SyntheticLabel) -> datetime:
        return self.reviewed if label.reviewed else self.first_labelled(label)

    def label(self, label: SyntheticLabel) -> Json:
        return _label(
            self.rows.label_id(self.photograph, label.number),
            label.annotator,
            created=self.first_labelled(label),
            updated=self.last_changed(label),
            performance=self.performance(label),
            annotations=self.annotations(label),
        )

    def performance(self, label: SyntheticLabel) -> Json:
        seconds = int(self.rng.integers(18, 140))
        details: Json = {
            "seconds_to_create": seconds,
            "seconds_to_review": seconds // 6,
            "skipped": self.photograph.state == "skipped",
        }
        if pairs := list(combinations(self.labels, 2)):
            # Labelbox gives every label the share of pairs of labels with the same answers.
            details["consensus_score"] = round(sum(a.answers == b.answers for a, b in pairs) / len(pairs), 4)
        first = self.labels[0]
        if len(self.labels) > 1 and self.photograph.index % 5 == 0:
            details["benchmark_reference_label"] = self.rows.label_id(self.photograph, first.number)
            if label is not first:
                details["benchmark_score"] = float(label.answers == first.answers)
        return details

    def annotations(self, label: SyntheticLabel) -> Json:
        """Return answers inside each box where there are two lesions, for the whole photograph where there is one."""
        key = f"{self.photograph.index}.{label.number}"
        answers = [self.answer(f"{key}.{at}", QUESTION, answer) for at, answer in enumerate(label.answers)]
        if self.rng.uniform() < 0.5:
            certainty = ("certain", "probable", "uncertain")[int(self.rng.integers(3))]
            for at, answer in enumerate(answers):
                nested_answer = self.answer(f"{key}.{at}.sure", "certainty", certainty)
                answer["radio_answer"]["classifications"].append(nested_answer)
        nested = len(answers) > 1
        objects = [
            self.object(f"{key}.{at}", box, [answers[at]] if nested else []) for at, box in enumerate(label.boxes)
        ]
        visible = self.visible(key) if label.answers else []
        return _annotations(objects, visible if nested else answers + visible)

    def object(self, key: str, box: Box, answers: list[Json]) -> Json:
        return {
            **self.feature("object", key, ROI),
            "annotation_kind": "ImageBoundingBox",
            "classifications": answers,
            "bounding_box": {"top": box.top, "left": box.left, "height": box.height, "width": box.width},
        }

    def answer(self, key: str, question: str, answer: str) -> Json:
        return {**self.question(key, question), "radio_answer": self.option(key, answer)}

    def question(self, key: str, name: str) -> Json:
        return self.feature("classification", f"{name} {key}", name)

    def option(self, key: str, answer: str) -> Json:
        words = {"name": answer.replace("_", " "), "value": answer.lower().replace(" ", "_")}
        return {**self.feature("answer", f"{answer} {key}", answer), **words, "classifications": []}

    def feature(self, kind: str, key: str, name: str) -> Json:
        schema_id = self.rows.id("schema", name)
        return {"feature_id": self.rows.id(kind, key), "feature_schema_id": schema_id, "name": name, "value": name}

    def visible(self, key: str) -> list[Json]:
        """Return a checklist and a free text about what else the photograph shows; mostly there is neither."""
        traits, answers = sorted(self.photograph.traits), []
        if traits and self.rng.uniform() < 0.4:
            options = [self.option(key, trait) for trait in traits]
            answers.append({**self.question(key, "also visible"), "checklist_answers": options})
        if self.rng.uniform() < 0.03:
            remark = {"content": "second lesion near the edge\nnot boxed"}
            answers.append({**self.question(key, "remark"), "text_answer": remark})
        return answers

    def quality(self) -> Json:
        """Return a second project's label: somebody else assesses the photograph, not the lesion."""
        key = f"{self.photograph.index}.quality"
        verdict = "repeat" if "blur" in self.photograph.traits else "usable"
        at = self.arrived + timedelta(hours=5)
        label = _label(
            self.rows.id("label", key),
            "photographer@example.org",
            created=at,
            updated=at,
            performance={"seconds_to_create": 4, "seconds_to_review": 0, "skipped": False},
            annotations=_annotations([], [self.answer(key, "quality", verdict)]),
        )
        return {
            "name": ELSEWHERE,
            "labels": [label],
            "project_details": {"workflow_status": "DONE", "batch_name": "all photographs", "workflow_history": []},
        }


def _label(
    label_id: str, annotator: str, *, created: datetime, updated: datetime, performance: Json, annotations: Json
) -> Json:
    return {
        "label_kind": "Default",
        "version": "1.0.0",
        "id": label_id,
        "label_details": {
            "created_at": _text(created),
            "updated_at": _text(updated),
            "created_by": annotator,
            "content_last_updated_at": _text(updated),
            "reviews": [],
        },
        "performance_details": performance,
        "annotations": annotations,
    }


def _annotations(objects: list[Json], classifications: list[Json]) -> Json:
    return {"objects": objects, "classifications": classifications, "relationships": []}


def _text(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds")
