"""The extent of an object that outlines a lesion: a bounding box, a polygon, or a mask that stands in the export.

A mask that the export only links to is read where `parse` finds what `pull` fetched.
"""

import base64
import binascii
import math
from collections.abc import Iterator
from hashlib import sha256
from typing import Any, NamedTuple

from toolkit.cases import Box
from toolkit.errors import PhotographError
from toolkit.labelbox_json import shapes
from toolkit.photographs.masks import Color, Size, extent_of_png, extent_of_runs

KINDS = ("ImageBoundingBox", "ImagePolygon", "ImageSegmentationMask")
NO_EXTENT = (None, None, None, None)
FROM_BELOW = "its outline is of the export of 2018, whose y counts from the bottom"
NOT_FETCHED = "its mask is a link, and its file is not in the workspace: toolkit pull fetches it"
INLINE = "data:"


class Outline(NamedTuple):
    """An extent; or else why there is none, and the digest of the address and the colour of a mask to be fetched."""

    extent: tuple[float | None, ...] = NO_EXTENT
    problem: str | None = None
    mask_address: str | None = None
    mask_color: str | None = None


def is_outline(thing: shapes.Object) -> bool:
    """Tell whether an object surrounds something: a line or a point does not."""
    drawn = (thing.bounding_box, thing.polygon, thing.mask, thing.composite_mask)
    return thing.annotation_kind in KINDS or any(geometry is not None for geometry in drawn)


def outline_of(thing: shapes.Object, size: Size, *, from_below: bool = False) -> Outline:
    """Return an object's extent in a photograph of this size; `from_below` is how the export of 2018 counts."""
    try:
        if (box := thing.bounding_box) is not None:
            return Outline(Box(box.left, box.top, box.width, box.height))
        if thing.polygon is not None:
            return Outline(problem=FROM_BELOW) if from_below else Outline(_extent_of_points(thing.polygon))
        return _of_mask(thing, size)
    except PhotographError as error:
        return Outline(problem=error.problem)


def mask_links(thing: dict) -> Iterator[str]:
    """Yield the addresses of an undecoded object's masks, but not those that are the mask itself."""
    for mask in (shapes.as_dict(thing.get("mask")), shapes.as_dict(thing.get("composite_mask"))):
        address = _address(mask)
        if address is not None and not address.startswith(INLINE):
            yield address


def address_digest(address: str) -> str:
    """Return a digest of an address without what signs it: photographs' names may hold patients' identifiers."""
    return sha256(address.partition("?")[0].partition("#")[0].encode(errors="replace")).hexdigest()


def color_of(text: str | None) -> Color | None:
    """Return a colour as `Outline` writes it."""
    if text is None:
        return None
    red, green, blue = map(int, text.split(","))
    return red, green, blue


def _extent_of_points(polygon: Any) -> Box:
    """Return the extent of a polygon's points, or of all rings of a polygon of several."""
    points = list(_points(polygon))
    xs, ys = [x for x, _ in points], [y for _, y in points]
    if not points or not all(map(math.isfinite, (*xs, *ys))):
        raise PhotographError("roi_missing", "its polygon has no points that can be read")
    box = Box(min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys))
    if not (box.width > 0 and box.height > 0):
        raise PhotographError("roi_missing", "its polygon has no area")
    return box


def _points(value: Any) -> Iterator[tuple[float, float]]:
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, list):
            yield from _points(item)
        elif isinstance(item, dict) and _is_number(item.get("x")) and _is_number(item.get("y")):
            yield float(item["x"]), float(item["y"])
        else:
            yield math.nan, math.nan


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _of_mask(thing: shapes.Object, size: Size) -> Outline:
    masks = [shapes.as_dict(mask) for mask in (thing.mask, thing.composite_mask)]
    mask = next(filter(None, masks), {})
    color = _color(mask)
    if (runs := _runs(mask, size)) is not None:
        return Outline(extent_of_runs(*runs))
    if (content := _inline_png(mask)) is not None:
        return Outline(extent_of_png(content, size, color))
    if (address := _address(mask)) is not None:
        written = ",".join(map(str, color)) if color else None
        return Outline(problem=NOT_FETCHED, mask_address=address_digest(address), mask_color=written)
    raise PhotographError("roi_missing", "the export holds no geometry of it that can be read")


def _address(mask: dict) -> str | None:
    return next((mask[key] for key in ("url", "instanceURI") if isinstance(mask.get(key), str)), None)


def _color(mask: dict) -> Color | None:
    color = next((mask[key] for key in ("color_rgb", "colorRGB") if mask.get(key) is not None), None)
    is_color = isinstance(color, list) and len(color) >= 3 and all(isinstance(each, int) for each in color[:3])
    return (color[0], color[1], color[2]) if is_color else None


def _runs(mask: dict, size: Size) -> tuple[Any, Size] | None:
    """Return the runs of a mask and its size, where it is written so: COCO has the height first."""
    written = mask.get("rle")
    holder = written if isinstance(written, dict) else mask
    counts = written if isinstance(written, list | str) else holder.get("counts")
    if counts is None:
        return None
    own = holder.get("size")
    if isinstance(own, list) and len(own) == 2 and all(isinstance(side, int) for side in own):
        own = Size(own[1], own[0])
        if size.width and size.height and own != size:
            sizes = f"{own.width} x {own.height}, the photograph {size.width} x {size.height}"
            raise PhotographError("roi_missing", f"its mask has {sizes} pixels")
        return counts, own
    return counts, size


def _inline_png(mask: dict) -> bytes | None:
    """Return the PNG that a mask holds in Base64."""
    text = next((mask[key] for key in ("png", "base64") if isinstance(mask.get(key), str)), None)
    address = _address(mask)
    if text is None and (address is None or not address.startswith(INLINE)):
        return None
    try:
        return base64.b64decode((text or address or "").rpartition(",")[2], validate=True)
    except (binascii.Error, ValueError):
        raise PhotographError("roi_missing", "its mask is no Base64 that can be decoded") from None
