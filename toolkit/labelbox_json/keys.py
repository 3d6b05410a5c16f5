"""Checks of the JSON keys of an export's rows: duplicate keys, and keys that are new in Labelbox."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from toolkit.privacy import scrub

V2 = """
    data_row id global_key external_id row_data details dataset_id dataset_name created_at updated_at last_activity_at
    created_by media_attributes height width mime_type asset_type exif_rotation attachments type value name
    metadata_fields schema_id schema_name schema_kind embeddings dimensions is_custom values projects labels
    project_details project_tags ontology_id task_id task_name batch_id batch_name workflow_status priority
    consensus_expected_label_count selected_label_id workflow_history action previous_task_name previous_task_id
    next_task_name next_task_id experiments runs run_data_row_id predictions split label_kind version label_details
    content_last_updated_at reviews performance_details seconds_to_create seconds_to_review skipped consensus_score
    benchmark_score benchmark_reference_label annotations objects classifications relationships feature_id
    feature_schema_id annotation_kind bounding_box top left polygon line x y point mask url composite_mask color_rgb
    unidirectional_relationship source target radio_answer checklist_answers text_answer content confidence
    custom_metrics
"""
LEGACY = """
    ID,DataRow ID,DataRow Metadata,Media Attributes,Labeled Data,Label,Created By,Project Name,Created At,Updated At,
    Seconds to Label,Seconds to Create,Seconds to Review,External ID,Global Key,Agreement,Benchmark Agreement,
    Benchmark ID,Benchmark Reference ID,Dataset Name,Reviews,View Label,Has Open Issues,Skipped,Data Split,Masks,
    featureId,schemaId,schemaName,title,color,bbox,instanceURI,answer,answers,position,createdAt,createdBy,score,
    mimeType,exifRotation,geometry,segmentationMasksByName
"""
KNOWN = {*V2.split(), *(name.strip() for name in LEGACY.split(","))}
KNOWN_AS_WRITTEN = {name.encode() for name in KNOWN}
KEY = re.compile(rb'[{,]"([^"\\]*(?:\\.[^"\\]*)*)":')
NAMED_FREELY = {"projects", "experiments", "runs", "Masks", "segmentationMasksByName"}
"""Objects whose keys are IDs or names of somebody's choice."""
LONGEST_PATH = 200


def names_of(written: bytes) -> list[bytes]:
    """Return every key of a row that was decoded and written again without spaces, where quotes are escaped."""
    return KEY.findall(written)


def total_of(content: bytes) -> int:
    """Return how many keys JSON seems to have: in texts, what looks like one counts too."""
    return content.translate(None, b" \t\r\n").count(b'":')


def repeated(content: bytes, total: int) -> str | None:
    """Return a key that an object has twice; None where none has.

    Every key ends in `":` and survives decoding unless it is repeated; texts may hold `":` too, so that more of them
    than keys is a suspicion only, and the row is read again, slowly.
    """
    if total_of(content) == total:
        return None
    names: list[str] = []

    def collect(pairs: list[tuple[str, Any]]) -> None:
        names.extend(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)

    json.loads(content, object_pairs_hook=collect)
    return min(names, default=None)


def unknown(raw: dict, names: list[bytes]) -> set[str]:
    """Return the paths of keys that Labelbox did not have when this was written; IDs in them are `*`."""
    projects = raw.get("projects")
    ids = {name.encode(errors="replace") for name in projects} if isinstance(projects, dict) else set()
    if not set(names) - KNOWN_AS_WRITTEN - ids:
        return set()
    return {scrub(path)[:LONGEST_PATH] for path in _unknown_paths(raw)}


def _unknown_paths(raw: dict) -> Iterator[str]:
    """Walk down to every key that is not known, and no further."""
    waiting: list[tuple[str, Any, bool]] = [("", raw, False)]
    while waiting:
        path, value, free = waiting.pop()
        if isinstance(value, list):
            waiting += [(path, item, free) for item in value]
        if not isinstance(value, dict):
            continue
        for name, inner in value.items():
            if not free and name not in KNOWN:
                yield f"{path}{name}"
            else:
                step = "*" if free else name
                waiting.append((f"{path}{step}.", inner, not free and is_named_freely(name, inner)))


def is_named_freely(name: str, value: Any) -> bool:
    """Tell whether the keys of a key's value are IDs or names of somebody's choice."""
    oldest = name == "Label" and isinstance(value, dict) and not {"objects", "classifications"} & set(value)
    return oldest or name in NAMED_FREELY
