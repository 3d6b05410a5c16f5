"""Metadata on its way to Labelbox: subsets of the newest split and pseudonyms, where the study allows them."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from toolkit.stages.push.planned import Items, PlannedCall
from toolkit.workspace import sql
from toolkit.workspace.pushes import PushItem
from toolkit.workspace.registry import Workspace

MOST_ROWS = 50
FIELDS = {"part": "toolkit_part", "patient_id": "toolkit_patient_id"}
"""Names at Labelbox: those of the study's own fields, which hold identifiers, are never written."""


def items_of(workspace: Workspace, allowed: Sequence[str], split_id: str) -> dict[str, Items]:
    """Return what is to be written, by the field's name at Labelbox."""
    rows = workspace.rows(sql.statement("push/metadata"), {"split_id": split_id})
    return {
        FIELDS[name]: [PushItem(f"{r['image_id']} {r[name]}", r["image_id"], value=r[name]) for r in rows]
        for name in dict.fromkeys(allowed)
    }


def payload_of(field: str, items: Items) -> dict[str, Any]:
    """Return what a call writes."""
    return {"method": "bulk_upsert", "field": field, "values": {item.image_id: item.value for item in items}}


def planned(fields: dict[str, Items]) -> Iterator[PlannedCall]:
    """Yield the calls that write fields, in the order in which they are made."""
    for field, items in fields.items():
        for start in range(0, len(items), MOST_ROWS):
            yield PlannedCall("metadata", field, items[start : start + MOST_ROWS], partial(payload_of, field))
