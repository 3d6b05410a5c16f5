"""A dataset on disk for FiftyOne: a sample for each case, with reference diagnosis, prediction, ROI and metadata."""

import json
import re
from typing import Any

from toolkit.files import write_atomically
from toolkit.photographs.opening import file_name
from toolkit.stages.export.predicted_cases import PredictedCase, newest_run, read_predictions
from toolkit.stages.export.written import Order, Written
from toolkit.workspace.answer_values import distinct_names
from toolkit.workspace.exported_cases import ExportedCase, newest_split, read_cases
from toolkit.workspace.pictures import write_pictures

SAMPLES = "samples.json"
DATASET = "metadata.json"


def write_fiftyone(order: Order) -> Written:
    """Write data/CASE_ID.jpg, samples.json, and metadata.json without a version.

    Without one, `fiftyone.types.FiftyOneDataset` takes the samples as plain JSON, and guesses the type of each field.
    """
    split_id, run_id = newest_split(order.workspace, order.split), newest_run(order.workspace, order.run)
    everything = read_cases(order.workspace, split_id)
    predictions = {each.case_id: each for each in read_predictions(order.workspace, run_id)} if run_id else {}
    paths = {case.case_id: order.folder / "data" / f"{file_name(case.case_id)}.jpg" for case in everything}
    faults = write_pictures({paths[case.case_id]: case for case in everything}, progress=order.progress)
    left_out = {case_id: faults[path] for case_id, path in paths.items() if path in faults}
    cases = [case for case in everything if case.case_id not in left_out]
    fields = _field_names(cases)
    samples = [_sample(case, predictions.get(case.case_id), fields) for case in cases]
    info = {"study": order.study.study.name, "classes": order.study.class_names, "run_id": run_id, "split_id": split_id}
    for name, document in ((SAMPLES, {"samples": samples}), (DATASET, {"media_type": "image", "info": info})):
        text = json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False)
        write_atomically(order.folder / name, f"{text}\n".encode())
    return Written(len(cases), len(cases), left_out, {"split_id": split_id, "run_id": run_id})


def _field_names(cases: list[ExportedCase]) -> dict[str, str]:
    """Return the name of a FiftyOne field for each metadata field: FiftyOne has a field `metadata` of its own."""
    fields = sorted({name for case in cases for name in case.metadata})
    plain = [f"study_{re.sub(r'[^a-z0-9]+', '_', name.lower()).strip('_')}" for name in fields]
    return dict(zip(fields, distinct_names(plain), strict=True))


def _sample(case: ExportedCase, predicted: PredictedCase | None, fields: dict[str, str]) -> dict[str, Any]:
    """Return a sample; a field without a value is not in it."""
    label = case.class_name
    sample = {
        "filepath": f"data/{file_name(case.case_id)}.jpg",
        "tags": [case.part] if case.part else [],
        **case.facts,
        "ground_truth": _labelled("Classification", label) if label else None,
        "prediction": _prediction(predicted) if predicted else None,
        "lesion": _lesion(case),
        "readings": {"_cls": "Classifications", "classifications": [_reading(each) for each in case.readings]},
        **{fields[name]: value for name, value in case.metadata.items()},
    }
    return {name: value for name, value in sample.items() if value is not None}


def _labelled(kind: str, label: str, **more: Any) -> dict[str, Any]:
    return {"_cls": kind, "tags": [], "label": label, **more}


def _prediction(predicted: PredictedCase) -> dict[str, Any]:
    more = {"confidence": predicted.confidence, "probabilities": predicted.probabilities}
    return _labelled("Classification", predicted.predicted, **more)


def _reading(reading: dict[str, Any]) -> dict[str, Any]:
    more = {"annotator": reading["annotator"], "counts": reading["counts"]}
    return _labelled("Classification", reading["class_name"], **more)


def _lesion(case: ExportedCase) -> dict[str, Any] | None:
    """Return the ROI as FiftyOne has boxes: left, top, width and height as shares of the photograph."""
    if case.roi is None or not case.width or not case.height:
        return None
    across, down = case.width, case.height
    box = [case.roi.left / across, case.roi.top / down, case.roi.width / across, case.roi.height / down]
    label = case.class_name or "no_reference_diagnosis"
    return {"_cls": "Detections", "detections": [_labelled("Detection", label, bounding_box=box, attributes={})]}
