"""Labelbox's legacy export (version 1, one entry per label) and its form of 2018, converted to rows of version 2."""

import hashlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from toolkit.labelbox_json.counting import Counts, dicts_within, ends_of, not_repeated
from toolkit.labelbox_json.shapes import as_dict, dicts
from toolkit.privacy import scrub

GEOMETRIES = {
    "bbox": ("bounding_box", "ImageBoundingBox"),
    "polygon": ("polygon", "ImagePolygon"),
    "line": ("line", "ImagePolyline"),
    "point": ("point", "ImagePoint"),
    "mask": ("mask", "ImageSegmentationMask"),
}
PARTS = {"objects", "classifications", "relationships"}
MASKS = "segmentationMasksByName"


def is_entry(raw: Any) -> bool:
    """Tell whether decoded JSON is an entry of a legacy export."""
    return isinstance(raw, dict) and "data_row" not in raw and bool({"DataRow ID", "Labeled Data"} & set(raw))


def is_oldest(entry: dict) -> bool:
    """Tell whether an entry has the form of 2018: its polygons' y counts from the bottom of the photograph.

    So labelbox-exporters (2018), which subtracts every y from the photograph's height.
    """
    label = entry.get("Label")
    return isinstance(label, dict) and bool(label) and not PARTS & set(label)


def as_row(entry: dict) -> dict:
    """Return an entry as a row of version 2 with one label; what has a wrong type is kept, for `shapes` to refuse.

    Where there is nothing, the form of 2018 has an empty text.
    """
    entry = {name: value for name, value in entry.items() if value != ""}
    media, metadata = entry.get("Media Attributes"), entry.get("DataRow Metadata")
    if isinstance(media, dict):
        media = {name: media[name] for name in ("height", "width") if name in media}
    if isinstance(metadata, list):
        metadata = [_metadata(field) for field in metadata]
    project = _present(name=entry.get("Project Name"), labels=[_label(entry)])
    return _present(
        data_row=_data_row(entry),
        media_attributes=media,
        metadata_fields=metadata,
        projects={_project_id(entry): project},
    )


def annotations_of(label: Any) -> Any:
    """Return what a label of the legacy form holds, in the shape of version 2."""
    return _annotations(label, None)


def facts_digest(row: dict) -> str:
    """Return a digest of what an entry, as a row, says of its photograph: all entries of one must agree on it."""
    data_row = {**row["data_row"], "row_data": None}
    facts = [data_row, row.get("media_attributes"), row.get("metadata_fields")]
    return hashlib.sha256(msgspec.json.encode(facts, order="deterministic")).hexdigest()


def _data_row(entry: dict) -> dict:
    url, external_id, image_id = entry.get("Labeled Data"), entry.get("External ID"), entry.get("DataRow ID")
    name = url.partition("?")[0] if isinstance(url, str) else external_id
    if image_id is None and isinstance(name, str) and name:
        # The exports of 2018 have no ID of the photograph; its address tells it, its signature changes.
        image_id = "v0" + hashlib.sha256(name.encode()).hexdigest()[:23]
    return _present(id=image_id, global_key=entry.get("Global Key"), external_id=external_id, row_data=url)


def _metadata(field: Any) -> Any:
    if not isinstance(field, dict):
        return field
    name = next((field[key] for key in ("schemaName", "schema_name", "name", "schemaId") if field.get(key)), None)
    return _present(schema_name=name, schema_kind=field.get("kind"), value=field.get("value"))


def _project_id(entry: dict) -> str:
    """Return the project's ID from the link to the label, else its name."""
    link = entry.get("View Label")
    try:
        ids = parse_qs(urlsplit(link).query).get("project") if isinstance(link, str) else None
    except ValueError:
        ids = None
    return ids[0] if ids else str(entry.get("Project Name"))


def _label(entry: dict) -> dict:
    label = entry.get("Label")
    skipped = entry.get("Skipped")
    if label == "Skip" or (label == {} and skipped is None):
        label, skipped = {}, True
    return _present(
        id=entry.get("ID"),
        label_details=_present(
            created_at=entry.get("Created At"),
            updated_at=entry.get("Updated At"),
            created_by=entry.get("Created By"),
        ),
        performance_details=_present(
            skipped=skipped,
            seconds_to_create=_seconds(entry.get("Seconds to Label")),
            consensus_score=_score(entry.get("Agreement")),
            benchmark_score=_score(entry.get("Benchmark Agreement")),
            benchmark_reference_label=entry.get("Benchmark Reference ID") or entry.get("Benchmark ID"),
        ),
        annotations=_annotations(label, entry.get("Masks")),
    )


def _seconds(value: Any) -> Any:
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _score(value: Any) -> Any:
    """Return an agreement; -1 means none, and numbers may be texts."""
    number = _seconds(value)
    return None if number == -1 else number


def _annotations(label: Any, masks: Any) -> Any:
    if label is None:
        label = {}
    if not isinstance(label, dict):
        return label
    if not PARTS & set(label):
        return _oldest(label, masks)
    converted = {
        "objects": _each(label.get("objects"), _object),
        "classifications": _questions(label.get("classifications")),
        "relationships": _each(label.get("relationships"), _relationship),
    }
    return {part: value for part, value in converted.items() if part in label}


def _object(thing: dict) -> dict:
    if thing.get("unidirectional_relationship") is not None:
        return {**_relationship(thing), "annotation_kind": "ImageUnidirectionalRelationship"}
    geometry = {}
    key = next((key for key in GEOMETRIES if thing.get(key) is not None), None)
    if key:
        name, kind = GEOMETRIES[key]
        geometry = {"annotation_kind": kind, name: thing[key]}
    elif thing.get("instanceURI") is not None:
        # Every object has an instanceURI; it is the geometry of those that have no other.
        geometry = {"annotation_kind": "ImageSegmentationMask", "mask": {"url": thing["instanceURI"]}}
    return _present(
        name=_name(thing),
        value=thing.get("value"),
        feature_id=thing.get("featureId"),
        **geometry,
        classifications=_questions(thing.get("classifications", [])),
    )


def _relationship(thing: dict) -> dict:
    ends = thing.get("unidirectional_relationship") or {name: thing.get(name) for name in ("source", "target")}
    return _present(name=_name(thing), unidirectional_relationship=ends)


def _questions(value: Any) -> Any:
    """Return classifications; the lists in a list of lists stand for one list."""
    return _each(list(_flat(value)) if isinstance(value, list) else value, _question)


def _question(question: dict) -> dict:
    answer, answers = question.get("answer"), question.get("answers")
    if isinstance(answer, list):
        answer, answers = None, [*answer, *(answers if isinstance(answers, list) else [])]
    is_text = answer is not None and not isinstance(answer, dict)
    return _present(
        name=_name(question),
        value=question.get("value"),
        radio_answer=_option(answer) if isinstance(answer, dict) else None,
        text_answer={"content": answer} if is_text else None,
        checklist_answers=[_option(one) for one in answers] if isinstance(answers, list) else answers,
    )


def _option(option: Any) -> Any:
    if isinstance(option, str):
        return {"name": option}
    if not isinstance(option, dict):
        return option
    classifications = _questions(option.get("classifications", []))
    return _present(name=_name(option), value=option.get("value"), classifications=classifications)


def _oldest(label: dict, masks: Any) -> dict:
    """Return a label of 2018: every key is a class with its polygons, or a question with its answer."""
    objects = [_named_mask(name, url) for name, url in as_dict(masks).items()]
    questions = []
    for name, value in label.items():
        if name == MASKS:
            objects += [_named_mask(inner, url) for inner, url in as_dict(value).items()]
        elif isinstance(value, str):
            questions.append({"name": name, "radio_answer": {"name": scrub(value)}})
        elif isinstance(value, list) and value and all(isinstance(item, str) for item in value):
            questions.append({"name": name, "checklist_answers": [{"name": scrub(item)} for item in value]})
        else:
            objects += [_drawn(name, outline) for outline in _outlines(value)]
    return {"objects": objects, "classifications": questions}


def _named_mask(name: str, url: Any) -> dict:
    return {"name": name, "annotation_kind": "ImageSegmentationMask", "mask": {"url": url}}


def _outlines(value: Any) -> list:
    """Return the shapes of a class: lists of points, each perhaps in an object's `geometry`, or one list of points."""
    if not isinstance(value, list) or (value and all(_is_point(item) for item in value)):
        return [value]
    return [item["geometry"] if isinstance(item, dict) and "geometry" in item else item for item in value]


def _drawn(name: str, outline: Any) -> dict:
    if _is_point(outline):
        return {"name": name, "annotation_kind": "ImagePoint", "point": outline}
    if isinstance(outline, list) and all(_is_point(item) for item in outline):
        return {"name": name, "annotation_kind": "ImagePolygon", "polygon": outline}
    return {"name": name, "annotation_kind": f"a legacy {type(outline).__name__}"}


def count(entry: dict) -> Counts:
    """Count nouns in an undecoded entry wherever they stand, trusting no type; not in its row of version 2, which might
    hide a loss.
    """
    counts = Counts(project=1, label=1)
    label = entry.get("Label")
    if not isinstance(label, dict):
        counts.object += len(as_dict(entry.get("Masks")))
        return counts
    if not PARTS & set(label):
        _count_oldest(label, entry, counts)
        return counts
    for value in dicts_within([label]):
        _count_here(value, counts)
    return counts


def _count_here(value: dict, counts: Counts) -> None:
    """Count what stands right in a JSON object."""
    things = dicts(value.get("objects"))
    related = [thing for thing in things if thing.get("unidirectional_relationship") is not None]
    links = [ends_of(_relationship(link)) for link in dicts(value.get("relationships"))]
    counts.object += len(things) - len(related)
    own = [ends_of(_relationship(link)) for link in related]
    counts.relationship += len(related) + len(list(not_repeated(links, own)))
    for answer in (value.get("answer"), value.get("answers")):
        chosen = answer if isinstance(answer, list) else [answer]
        counts.answer += sum(one is not None for one in chosen)


def _count_oldest(label: dict, entry: dict, counts: Counts) -> None:
    counts.object += len(as_dict(entry.get("Masks"))) + len(as_dict(label.get(MASKS)))
    for name, value in label.items():
        if name == MASKS:
            continue
        texts = sum(isinstance(item, str) for item in value) if isinstance(value, list) else isinstance(value, str)
        counts.answer += texts
        if isinstance(value, list) and not texts:
            counts.object += 1 if value and all(_is_point(item) for item in value) else len(value)
        elif not texts:
            counts.object += 1


def _each(value: Any, convert: Any) -> Any:
    return [convert(item) if isinstance(item, dict) else item for item in value] if isinstance(value, list) else value


def _flat(value: list) -> Iterator[Any]:
    for item in value:
        if isinstance(item, list):
            yield from _flat(item)
        else:
            yield item


def _is_point(value: Any) -> bool:
    return isinstance(value, dict) and {"x", "y"} <= set(value)


def _name(thing: dict) -> Any:
    return next((thing[key] for key in ("title", "name", "value") if thing.get(key)), None)


def _present(**fields: Any) -> dict[str, Any]:
    """Return the fields that have a value: an absent key and null are the same in version 2."""
    return {name: value for name, value in fields.items() if value is not None}
