"""What a row's data is: photographs only are read; video, text and all else is told by its type."""

import re
from typing import Any

from toolkit.labelbox_json.shapes import as_dict, dict_values, dicts

IMAGES = ("image", "")
OF_MIME = {"text/html": "html", "application/pdf": "document", "application/dicom": "dicom"}
MAIN = ("video", "audio", "text")
IN_TIME = ("frames", "segments", "key_frame_feature_map", "timestamp")
"""Keys of a label's annotations that only moving pictures and sounds have."""
OF_KIND = re.compile(r"^(Video|Audio|Text|Document|PDF|Dicom|DICOM|Html|HTML|Conversation|Message)(?=[A-Z]|$)")
"""How the kinds of other media's objects begin, such as VideoBoundingBox; an image's begin with Image."""


def other_medium(asset_type: Any, mime_type: Any) -> str | None:
    """Return the type of a row's data by what the export says of it, unless it is an image or nothing is said."""
    if isinstance(asset_type, str) and asset_type.strip().casefold() not in IMAGES:
        return _plain(asset_type)
    if not isinstance(mime_type, str):
        return None
    mime = mime_type.partition(";")[0].strip().casefold()
    main = mime.partition("/")[0]
    if mime.startswith("application/vnd.labelbox."):
        return _plain(mime.rpartition(".")[2])
    return OF_MIME.get(mime, main if main in MAIN else None)


def other_medium_of(raw: dict) -> str | None:
    """Return the type of an undecoded row's data, of version 2 or legacy; by its labels where nothing else tells it."""
    legacy = as_dict(raw.get("Media Attributes"))
    media = as_dict(raw.get("media_attributes")) or {
        "asset_type": legacy.get("assetType"),
        "mime_type": legacy.get("mimeType"),
    }
    asset_type, mime_type = media.get("asset_type"), media.get("mime_type")
    if asset_type or mime_type:
        return other_medium(asset_type, mime_type)
    if isinstance(as_dict(raw.get("Label")).get("frames"), str):
        return "video"
    for annotations in _annotations(raw):
        if any(key in annotations for key in IN_TIME):
            return "video"
        for thing in dicts(annotations.get("objects")):
            kind = thing.get("annotation_kind")
            if isinstance(kind, str) and (match := OF_KIND.match(kind)):
                return _plain(match[1])
    return None


def _annotations(raw: dict) -> list[dict]:
    labels = [label for project in dict_values(raw.get("projects")) for label in dicts(project.get("labels"))]
    return [as_dict(label.get("annotations")) for label in labels]


def _plain(text: str) -> str:
    """Return a type as a word for a reason code: it comes from outside."""
    return re.sub(r"[^a-z0-9]+", "_", text.casefold())[:40].strip("_") or "unknown"
