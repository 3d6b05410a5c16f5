"""COCO JSON: photographs, cases as boxes with their reference diagnosis, and the study's classes."""

import json
from typing import Any

from toolkit.files import write_atomically
from toolkit.manifest import Study
from toolkit.photographs.opening import file_name
from toolkit.stages.export.written import Order, Written
from toolkit.workspace.exported_cases import ExportedCase, newest_split, read_cases
from toolkit.workspace.pictures import write_pictures

UNRESOLVED = "no_reference_diagnosis"
"""The category of cases without a reference diagnosis, behind the study's classes."""
ANNOTATIONS = "annotations.json"
NO_SIZE = "the size of its photograph is not known, so that it has no box"


def write_coco(order: Order) -> Written:
    """Write annotations.json and, where the order asks for images, the photographs beside it, named by image ID."""
    split_id = newest_split(order.workspace, order.split)
    cases = read_cases(order.workspace, split_id)
    boxed = [case for case in cases if case.roi or (case.width and case.height)]
    left_out = dict.fromkeys(sorted({case.case_id for case in cases} - {case.case_id for case in boxed}), NO_SIZE)
    of_image = {case.image_id: case for case in boxed}
    pictures = {order.folder / "images" / _name(case): case for case in of_image.values()} if order.images else {}
    faults = {path.name: fault for path, fault in write_pictures(pictures, progress=order.progress).items()}
    text = json.dumps(_document(order.study, boxed), ensure_ascii=False, indent=1, allow_nan=False)
    write_atomically(order.folder / ANNOTATIONS, f"{text}\n".encode())
    facts = {"split_id": split_id, "images_without_picture": faults}
    return Written(len(boxed), len(pictures) - len(faults), left_out, facts)


def _document(study: Study, cases: list[ExportedCase]) -> dict[str, Any]:
    """Return the COCO document; its numbers are places in the order of image IDs, of case IDs, and of classes."""
    of_image = {case.image_id: case for case in sorted(cases, key=lambda case: case.image_id)}
    image_ids = {image_id: number for number, image_id in enumerate(of_image, start=1)}
    categories = _categories(study, cases)
    category_ids = {category["name"]: category["id"] for category in categories}
    return {
        "info": {"description": study.study.name, "version": "1"},
        "licenses": [],
        "images": [_image(image_ids[case.image_id], case) for case in of_image.values()],
        "annotations": [
            _annotation(number, case, image_ids[case.image_id], category_ids[case.class_name or UNRESOLVED])
            for number, case in enumerate(cases, start=1)
        ],
        "categories": categories,
    }


def _categories(study: Study, cases: list[ExportedCase]) -> list[dict[str, Any]]:
    names = [(each.name, "malignant" if each.malignant else "benign") for each in study.classes]
    there = {case.class_name or UNRESOLVED for case in cases}
    older = sorted(there - {UNRESOLVED, *study.class_names})
    names += [(name, "") for name in (*older, UNRESOLVED) if name in there]
    return [{"id": number, "name": name, "supercategory": kind} for number, (name, kind) in enumerate(names, start=1)]


def _name(case: ExportedCase) -> str:
    return f"{file_name(case.image_id)}.jpg"


def _image(number: int, case: ExportedCase) -> dict[str, Any]:
    return {
        "id": number,
        "file_name": _name(case),
        "width": case.width,
        "height": case.height,
        "patient_id": case.patient_id,
        "metadata": case.metadata,
    }


def _annotation(number: int, case: ExportedCase, image: int, category: int) -> dict[str, Any]:
    """Return a case as COCO has it: an ROI in pixels of the upright photograph, the whole of it where there is none."""
    facts = case.facts | {"image_id": image}
    return {
        "id": number,
        **facts,
        "category_id": category,
        "bbox": case.box,
        "area": case.box[2] * case.box[3],
        "iscrowd": 0,
        "segmentation": [],
        "whole_photograph": case.roi is None,
        "part": case.part,
        "readings": case.readings,
    }
