"""The versions of labels as rows of the registry: under pseudonyms, with the classes that each version said."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from toolkit.labelbox_json import legacy, shapes, staging_tables
from toolkit.labelbox_json.contents import Canvas, LabelContents
from toolkit.labelbox_json.history import when
from toolkit.labelbox_json.terms import Terms
from toolkit.manifest import Study
from toolkit.photographs.masks import Size
from toolkit.privacy import PseudonymKey, normalise, scrub
from toolkit.workspace.label_versions import digest_of


def version_rows(versions: Iterable[dict[str, Any]], study: Study, key: PseudonymKey) -> Iterator[dict[str, Any]]:
    """Yield a row of the table `label_versions` for each version; they come oldest first."""
    terms, positions = Terms(study), Counter()
    for version in versions:
        positions[version["label_id"]] += 1
        label = version["label"]
        yield {
            "version_id": version["version_id"],
            "label_id": version["label_id"],
            "position": positions[version["label_id"]],
            "image_id": version["image_id"],
            "project_id": version["project_id"],
            "action": scrub(version["action"]),
            "created_at": when(version["created_at"]),
            "annotator": key.pseudonym("a", normalise(version["created_by_id"])),
            "stage": version["stage"] and scrub(version["stage"]),
            "annotations": int(version["annotations"]),
            "class_names": None if label is None else _class_names(label, terms),
            "content_sha256": None if label is None else digest_of(label),
        }


def _class_names(label: str, terms: Terms) -> str | None:
    """Return the classes that a version's label says, in order; None where its form is not known."""
    try:
        annotations = msgspec.convert(legacy.annotations_of(msgspec.json.decode(label)), shapes.Annotations)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError):
        return None
    tables: dict[str, list] = defaultdict(list)
    LabelContents(terms, tables, _NOBODYS, (), Canvas(Size(None, None))).fill(annotations)
    said = [record.diagnosis for record in tables["answers"]] + [record.class_name for record in tables["objects"]]
    return ", ".join(sorted({scrub(name) for name in said if name}))


_NOBODYS = staging_tables.Label(
    **dict.fromkeys(staging_tables.Label.__struct_fields__, None) | {"label_id": "", "content_sha256": ""}  # ty: ignore[invalid-argument-type]
)
