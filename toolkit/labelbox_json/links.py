"""The files that an export's rows link to, photographs and masks, and the latest activity of its rows."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from toolkit.labelbox_json.outlines import mask_links
from toolkit.labelbox_json.reader import raw_rows
from toolkit.labelbox_json.shapes import as_dict, dict_values, dicts, lenient
from toolkit.workspace.landed import Landed


class FileLink(NamedTuple):
    """A file to fetch: the ID that names it, its address, the photograph it belongs to."""

    id: str
    address: str
    image_id: str
    is_mask: bool


@dataclass(frozen=True)
class ExportActivity:
    """How many rows an export has, and its latest activity, UTC, as Labelbox takes it for a filter."""

    rows: int
    latest_at: str | None


def facts_of(part: Path) -> ExportActivity:
    """Count a part's rows and find the latest activity written in them."""
    rows, latest = 0, None
    with part.open("rb") as file:
        for line in file:
            if line.strip():
                rows += 1
                latest = max(filter(None, (latest, _activity(lenient(line)))), default=None)
    return ExportActivity(rows, as_filter(latest) if latest else None)


def links_of(landed: Landed, *, longest: int) -> Iterator[FileLink]:
    """Yield the photograph and the masks of every row; a composite mask of many objects stands once."""
    for line in raw_rows(landed.path, longest=longest):
        row = lenient(line.content or b"")
        data_row = as_dict(row.get("data_row"))
        image_id, address = data_row.get("id"), data_row.get("row_data")
        if not isinstance(image_id, str):
            continue
        if isinstance(address, str):
            yield FileLink(image_id, address, image_id, is_mask=False)
        seen: set[str] = set()
        for thing in _objects(row):
            feature = thing.get("feature_id")
            for url in mask_links(thing):
                if isinstance(feature, str) and url not in seen:
                    seen.add(url)
                    yield FileLink(feature, url, image_id, is_mask=True)


def as_filter(moment: datetime) -> str:
    """Return a time as the SDK must get it: UTC, whole seconds. It replaces any other offset without converting."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S+0000")


def time_of(text: Any) -> datetime | None:
    """Return a time written in an export or by a person; without an offset it is UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _activity(row: dict) -> datetime | None:
    details = as_dict(as_dict(row.get("data_row")).get("details"))
    return time_of(details.get("last_activity_at")) or time_of(details.get("updated_at"))


def _objects(row: dict) -> Iterator[dict]:
    holders = dict_values(row.get("projects"))
    for model in dict_values(row.get("experiments")):
        holders += dict_values(model.get("runs"))
    for holder in holders:
        for label in dicts(holder.get("labels")) + dicts(holder.get("predictions")):
            yield from dicts(as_dict(label.get("annotations")).get("objects"))
