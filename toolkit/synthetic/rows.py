"""Knows how a drawn photograph stands in a Labelbox export v2: its row, metadata, labels, boxes and answers.

Knows nothing of pixels and of how patients were made up.
"""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.random import Generator

from toolkit.synthetic.drawing import HEIGHT, WIDTH, Box
from toolkit.synthetic.plan import KINDS, Photograph

Json = dict[str, Any]

PROJECT, QUESTION, ROI, DATASET = "pigmented-lesions", "diagnosis", "lesion_roi", "drawn pigmented lesions"
START = datetime(2025, 1, 6, 8, tzinfo=UTC)


class Rows:
    """Makes rows whose ids follow from the seed alone."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def row(self, rng: Generator, photograph: Photograph, boxes: tuple[Box, ...]) -> Json:
        """Write the row of one photograph, with the labels one or two annotators gave it."""
        return {
            "data_row": self._data_row(photograph),
            "media_attributes": {
                "height": HEIGHT,
                "width": WIDTH,
                "mime_type": "image/jpeg",
                "asset_type": "image",
                "exif_rotation": "1",
            },
            "attachments": [],
            "metadata_fields": self._metadata(photograph),
            "projects": {
                self._id("project", PROJECT): {
                    "name": PROJECT,
                    "labels": self._labels(rng, photograph, boxes),
                    "project_details": self._project_details(photograph),
                }
            },
        }

    def _id(self, kind: str, index: object) -> str:
        """Make an id of the form Labelbox's have: 25 characters that start with c."""
        return "cm" + hashlib.sha256(f"{self.seed} {kind} {index}".encode()).hexdigest()[:23]

    def _data_row(self, photograph: Photograph) -> Json:
        taken = _time(photograph.index)
        signature = hashlib.sha256(f"{self.seed} signature {photograph.index}".encode()).hexdigest()
        expires = int((START + timedelta(days=400)).timestamp() * 1000)
        return {
            "id": self._id("data_row", photograph.index),
            "global_key": f"drawn-{self.seed}-{photograph.index + 1:05d}",
            "external_id": photograph.name,
            "row_data": f"https://storage.example.org/{photograph.name}?Expires={expires}&Signature={signature}",
            "details": {
                "dataset_id": self._id("dataset", DATASET),
                "dataset_name": DATASET,
                "created_at": taken,
                "updated_at": taken,
                "last_activity_at": _time(photograph.index, later=50),
                "created_by": "curator@example.org",
            },
        }

    def _metadata(self, photograph: Photograph) -> list[Json]:
        patient = photograph.patient
        values: dict[str, str | float] = {
            "patient_id": patient.patient_id,
            "lesion_id": photograph.lesion_id,
            "age": float(patient.age),
            "sex": patient.sex,
            "anatomical_site": photograph.anatomical_site,
            "fitzpatrick": float(patient.fitzpatrick),
            "capture_site": patient.capture_site,
        }
        return [
            {
                "schema_id": self._id("metadata", name),
                "schema_name": name,
                "schema_kind": "CustomMetadataString" if isinstance(value, str) else "CustomMetadataNumber",
                "value": value,
            }
            for name, value in values.items()
        ]

    def _project_details(self, photograph: Photograph) -> Json:
        status = {"labelled": "DONE", "queued": "TO_LABEL", "skipped": "IN_REVIEW"}[photograph.state]
        return {
            "ontology_id": self._id("ontology", PROJECT),
            "task_name": {"DONE": "Done", "TO_LABEL": "Initial labeling task"}.get(status, "Initial review task"),
            "batch_id": self._id("batch", 1),
            "batch_name": "batch 1",
            "workflow_status": status,
            "priority": 5,
            "consensus_expected_label_count": 1,
            "workflow_history": [],
        }

    def _labels(self, rng: Generator, photograph: Photograph, boxes: tuple[Box, ...]) -> list[Json]:
        if photograph.state == "queued":
            return []
        if photograph.state == "skipped":
            return [self._label(rng, photograph, 0, {"objects": [], "classifications": [], "relationships": []})]
        if len(boxes) == 1 and rng.uniform() < 0.03:
            boxes = ()
        labels = [self._label(rng, photograph, 0, self._annotations(f"{photograph.index}.0", photograph, boxes))]
        if rng.uniform() < 0.15:
            moved = tuple(_moved(rng, box) for box in boxes)
            seen = _second_opinion(rng, photograph)
            labels.append(self._label(rng, photograph, 1, self._annotations(f"{photograph.index}.1", seen, moved)))
        return labels

    def _label(self, rng: Generator, photograph: Photograph, reader: int, annotations: Json) -> Json:
        at = _time(photograph.index, later=24 + reader)
        seconds = int(rng.integers(18, 140))
        return {
            "label_kind": "Default",
            "version": "1.0.0",
            "id": self._id("label", f"{photograph.index}.{reader}"),
            "label_details": {
                "created_at": at,
                "updated_at": at,
                "created_by": f"reader{1 + reader}@example.org",
                "content_last_updated_at": at,
                "reviews": [],
            },
            "performance_details": {
                "seconds_to_create": seconds,
                "seconds_to_review": seconds // 6,
                "skipped": photograph.state == "skipped",
            },
            "annotations": annotations,
        }

    def _annotations(self, key: str, photograph: Photograph, boxes: tuple[Box, ...]) -> Json:
        """Answer inside each box where there are two lesions, for the whole photograph where there is one."""
        names = photograph.class_names
        nested = len(names) > 1
        answers = [self._answer(f"{key}.{at}", name) for at, name in enumerate(names)]
        objects = [
            {
                "feature_id": self._id("object", f"{key}.{at}"),
                "feature_schema_id": self._id("schema", ROI),
                "name": ROI,
                "value": ROI,
                "annotation_kind": "ImageBoundingBox",
                "classifications": [answers[at]] if nested else [],
                "bounding_box": {"top": box.top, "left": box.left, "height": box.height, "width": box.width},
            }
            for at, box in enumerate(boxes)
        ]
        return {"objects": objects, "classifications": [] if nested else answers, "relationships": []}

    def _answer(self, key: str, class_name: str) -> Json:
        return {
            "feature_id": self._id("classification", key),
            "feature_schema_id": self._id("schema", QUESTION),
            "name": QUESTION,
            "value": QUESTION,
            "radio_answer": {
                "feature_id": self._id("answer", key),
                "feature_schema_id": self._id("schema", class_name),
                "name": class_name.replace("_", " "),
                "value": class_name,
                "classifications": [],
            },
        }


def _time(index: int, *, later: int = 0) -> str:
    """Give a working time for a photograph, minutes apart from the next one's; `later` in hours."""
    return (START + timedelta(minutes=3 * index, hours=later)).isoformat(timespec="milliseconds")


def _moved(rng: Generator, box: Box) -> Box:
    """Box the same lesion by another hand: each side up to about 5 % off, inside the photograph."""
    off = rng.normal(0, 0.02, 4) * np.array([box.width, box.height, box.width, box.height])
    left, top = max(0, round(box.left + off[0])), max(0, round(box.top + off[1]))
    right = min(WIDTH, round(box.left + box.width + off[2]))
    bottom = min(HEIGHT, round(box.top + box.height + off[3]))
    return Box(left=float(left), top=float(top), width=float(right - left), height=float(bottom - top))


def _second_opinion(rng: Generator, photograph: Photograph) -> Photograph:
    """Return what a second annotator sees: nearly always the same, once in about 25 the look-alike."""
    if len(photograph.class_names) > 1 or rng.uniform() > 0.04:
        return photograph
    return replace(photograph, class_names=(KINDS[photograph.class_names[0]].taken_for,))
