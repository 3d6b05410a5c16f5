"""Builds rows of Labelbox exports for tests, in the shapes of the real thing."""

import json
import random
from pathlib import Path

TIMES = [f"2025-03-{day:02}T10:00:00.000+00:00" for day in range(1, 29)]


def radio(answer, *, question="diagnosis", nested=()):
    option = {"feature_id": f"f-{answer}", "name": answer, "value": answer.replace(" ", "_")}
    return {
        "feature_id": f"q-{question}-{answer}",
        "name": question,
        "value": question,
        "radio_answer": {**option, "classifications": list(nested)},
    }


def box(object_id, left, top, width, height, *answers, name="lesion_roi"):
    return {
        "feature_id": object_id,
        "feature_schema_id": "schema-roi",
        "name": name,
        "value": name,
        "annotation_kind": "ImageBoundingBox",
        "classifications": [radio(answer) for answer in answers],
        "bounding_box": {"left": left, "top": top, "width": width, "height": height},
    }


def label(label_id, *answers, by="reader1@example.org", boxes=(), day=1, skipped=False, relationships=()):
    return {
        "label_kind": "Default",
        "version": "1.0.0",
        "id": label_id,
        "label_details": {"created_at": TIMES[0], "updated_at": TIMES[day], "created_by": by, "reviews": []},
        "performance_details": {"seconds_to_create": 30, "seconds_to_review": 0, "skipped": skipped},
        "annotations": {
            "objects": list(boxes),
            "classifications": [radio(answer) for answer in answers],
            "relationships": list(relationships),
        },
    }


def row(image_id, *labels, patient="P-1", size=(200, 100), project="pigmented-lesions", status="DONE", **more):
    fields = [{"schema_id": "m1", "schema_name": "patient_id", "schema_kind": "CustomMetadataString", "value": patient}]
    return {
        "data_row": {
            "id": image_id,
            "global_key": f"key-{image_id}",
            "external_id": f"{image_id}.jpg",
            "row_data": f"https://storage.example.org/{image_id}.jpg?Expires=1&Signature=SECRET",
            "details": {"updated_at": TIMES[0], "last_activity_at": TIMES[0]},
            **more,
        },
        "media_attributes": {"width": size[0], "height": size[1], "mime_type": "image/jpeg", "exif_rotation": "1"},
        "metadata_fields": fields if patient is not None else [],
        "projects": {
            "project-1": {
                "name": project,
                "labels": list(labels),
                "project_details": {"workflow_status": status, "batch_name": "batch 1"},
            }
        },
    }


def write(path: Path, rows) -> Path:
    """Write rows as NDJSON; a row that is a text already is written as it is."""
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in rows))
    return path


def flipped(data: bytes, seed: int) -> bytes:
    """Return an export with one byte changed, half the time by a single bit."""
    rng, changed = random.Random(seed), bytearray(data)
    place = rng.randrange(len(data))
    changed[place] ^= rng.randrange(1, 256) if rng.random() < 0.5 else 1 << rng.randrange(8)
    return bytes(changed)
