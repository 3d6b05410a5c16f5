"""Builds a small registry of a scored run whose every text is hostile, for tests of reports."""

import json
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from toolkit.manifest import Study
from toolkit.workspace.registry import Workspace, insert

HOSTILE = "<img src=x onerror=alert(1)>"
FORMULA = "=1+1"
LEAKY = f"{HOSTILE}<script>alert(2)</script> see https://example.org/a?sig=1 or jo@example.org or /home/jo/x/PAT_7.jpg"
CLASSES = ("nevus", "malignant_melanoma", "keratosis")
IDS = {"run_id": "aaaa0001", "split_id": "bbbb0001", "truth_id": "majority-cccc0001"}
MODEL = "/data/models/secret_folder/weights"
TIME = datetime(2026, 1, 2, 3, 4, 5)  # noqa: DTZ001 - the registry keeps UTC without a zone
# part, truth, predicted, patient, confidence; no case of class keratosis stands in test, none is predicted as it
CASES = [
    *(("test", "nevus", "nevus", f"p-{n}", 0.6) for n in range(3)),
    ("test", "nevus", "malignant_melanoma", "p-3", 0.9),
    ("test", "nevus", "malignant_melanoma", "p-3", 0.7),
    ("test", "malignant_melanoma", "malignant_melanoma", "p-4", 0.8),
    ("test", "malignant_melanoma", "nevus", "p-5", 0.5),
    ("test", "malignant_melanoma", "nevus", "p-5", 0.95),
    ("test", "malignant_melanoma", "nevus", "p-6", 0.85),
    ("validation", "nevus", "malignant_melanoma", "p-7", 0.99),
    ("validation", "malignant_melanoma", "malignant_melanoma", "p-8", 0.6),
    ("validation", "keratosis", "nevus", "p-9", 0.55),
    ("train", "keratosis", None, "p-10", None),
    ("train", "nevus", None, "p-11", None),
]
LABEL = {"latest": True, "first_export": "e", "last_export": "e", "kind": "label", "in_study": True}
LABEL |= {"project_id": "project-1", "project": "small", "content_sha256": "c" * 64}


def a_study(**report_section) -> Study:
    classes = [{"name": n, "answer": n.replace("_", " "), "malignant": "melanoma" in n} for n in CLASSES]
    return Study.model_validate(
        {
            "study": {"name": "small", "title": HOSTILE, "notice": LEAKY},
            "labelbox": {"projects": ["x"]},
            "classes": classes,
            "prompt": {"user": f"What is it? {HOSTILE}"},
            "model": {"name": MODEL},
            "evaluate": {"replicates": 100},
            "report": report_section,
        }
    )


def photograph(folder: Path, number: int) -> Path:
    """Give a case its photograph; that of 0006 is no photograph, that of 0004 does not exist."""
    path = folder / f"PAT_SECRET_{number}.png"
    if number == 6:
        path.write_bytes(b"no photograph")
    elif number != 4:
        pixels = np.random.default_rng(number).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        exif = Image.Exif()
        exif[270] = "taken by Dr Secret"
        Image.fromarray(pixels).save(path, exif=exif)
    return path


def case_rows(number: int, row: tuple, path: Path) -> dict[str, dict]:
    part, truth, predicted, patient, confidence = row
    case_id, image_id = f"{number:04}", f"image-{number}"
    box = {"roi_left": 10.0, "roi_top": 8.0, "roi_width": 20.0, "roi_height": 16.0} if number != 3 else {}
    name = f"PAT_SECRET_{number}"
    shares = dict.fromkeys(CLASSES, (1 - (confidence or 0)) / 2) | {predicted: confidence}
    said = {"predicted": predicted, "confidence": confidence, "label_mass": 0.875}
    pairs = [(name, shares[name]) for name in CLASSES]
    image = {"image_id": image_id, "global_key": name, "external_id": f"{name}.png", "patient_id": patient}
    pixels = {"path": str(path), "pixel_sha256": f"pixels-{number}", "export_id": "e"}
    place = {"split_id": IDS["split_id"], "case_id": case_id, "part": part, "class_name": truth, "created_at": TIME}
    key = {"run_id": IDS["run_id"], "part": part, "case_id": case_id}
    case = {"case_id": case_id, "image_id": image_id, "patient_id": patient, **box}
    of_label = {"label_id": f"label-{number}", "revision": 1}
    reading = {"case_id": case_id, **of_label, "class_name": truth}
    return {
        "images": image | pixels,
        "cases": case,
        "case_history": {"case_id": case_id, "image_id": image_id, "since": 1},
        "labels": of_label | LABEL | {"image_id": image_id},
        "readings": reading | {"counts": True},
        "reading_history": reading | {"counts": True, "benchmark": False, "since": 1},
        "splits": place,
        "predictions": key | said | {"probabilities": pairs, "log_likelihoods": pairs},
    }


COUNTS = {"train_cases": 2, "train_patients": 2, "seconds": 1.5}


def a_record(**other) -> dict:
    """The content of run.json."""
    losses = [(1, 2.0, 2.5), (2, 1.0, 1.5)]
    epochs = [{"epoch": n, "train_loss": t, "validation_loss": v, "metrics": {}} for n, t, v in losses]
    model = {"name": MODEL, "device": "cpu", "parameters": 1234567, "trainable_parameters": 9}
    return {**IDS, **COUNTS, "model": model, "epochs": epochs, "finished_at": TIME.isoformat(), **other}


def single_rows() -> dict[str, list[dict]]:
    kept = {"export_id": "e", "level": "case", "reason": HOSTILE, "detail": LEAKY}
    conserved = {"export_id": "e", "noun": "row", "read": 1234, "stored": 1230, "quarantined": 4, "repeated": 0}
    state = {"policy": "majority", "label_revision": "cccc0001", "key_fingerprint": "dddd0001", "study": "small"}
    state |= {"patient_from": "metadata", "content_hash": "c" * 64}
    losses = [("train_loss", 1, 2.0), ("train_loss", 2, 1.0), ("validation_loss", 1, 2.5), ("validation_loss", 2, 1.5)]
    run = {"model": MODEL, "device": "cpu", "epochs": 2, "finished_at": TIME}
    return {
        "exports": [{"export_id": "e", "source": LEAKY, "sha256": "f" * 64, "rows": 1234, "moment": 1}],
        "conservation": [conserved],
        "ingest_issues": [kept],
        "findings": [
            {"kind": HOSTILE, "source": "audit", "case_id": "0001", "detail": LEAKY},
            {"kind": "disagreement", "source": "audit", "case_id": "0002", "detail": FORMULA},
        ],
        "label_states": [{"truth_id": IDS["truth_id"], **state}],
        "runs": [{**IDS, **COUNTS, **run}],
        "epochs": [{"run_id": IDS["run_id"], "metric": m, "epoch": e, "value": v} for m, e, v in losses],
    }


def a_registry(folder: Path, study: Study, cases=CASES, photographs=photograph) -> Workspace:
    workspace = Workspace(folder / "workspace")
    (folder / "photographs").mkdir(parents=True)
    tables = single_rows()
    for number, row in enumerate(cases):
        for table, made in case_rows(number, row, photographs(folder / "photographs", number)).items():
            if table != "predictions" or made["predicted"]:
                tables.setdefault(table, []).append(made)
    shares = pa.map_(pa.string(), pa.float64())
    with workspace.writing() as connection:
        for table, rows in tables.items():
            names = list(dict.fromkeys(name for row in rows for name in row))
            kinds = {"probabilities": shares, "log_likelihoods": shares}
            columns = {name: pa.array([row.get(name) for row in rows], type=kinds.get(name)) for name in names}
            insert(connection, table, pa.table(columns))
    workspace.run(IDS["run_id"]).mkdir(parents=True)
    (workspace.run(IDS["run_id"]) / "run.json").write_text(json.dumps(a_record(study=study.model_dump(mode="json"))))
    return workspace
