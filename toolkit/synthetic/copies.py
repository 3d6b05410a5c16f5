"""Duplicates: changed copies of a photograph, and where a box lies on them."""

import math
from io import BytesIO

import numpy as np
from PIL import Image, ImageOps

from toolkit.cases import Box

CHANGES = ("same_bytes", "re_encoded", "flipped", "cropped_5", "cropped_10", "rotated_5")
_DEGREES = 5


def copied(jpeg: bytes, change: str) -> bytes:
    """Return a photograph's bytes changed in one of the CHANGES."""
    if change == "same_bytes":
        return jpeg
    picture = Image.open(BytesIO(jpeg))
    picture.load()
    if change == "flipped":
        picture = ImageOps.mirror(picture)
    elif change == "rotated_5":
        edges = np.asarray(picture.convert("RGB"), np.float64)[0].mean(axis=0).round().astype(int)
        fill = (int(edges[0]), int(edges[1]), int(edges[2]))
        picture = picture.rotate(_DEGREES, Image.Resampling.BICUBIC, fillcolor=fill)
    elif change.startswith("cropped"):
        left, top = _cut(picture.size, change)
        picture = picture.crop((left, top, picture.width - left, picture.height - top))
    file = BytesIO()
    picture.save(file, "JPEG", quality=70 if change == "re_encoded" else 85)
    return file.getvalue()


def copied_size(size: tuple[int, int], change: str) -> tuple[int, int]:
    """Return width and height of the changed photograph."""
    left, top = _cut(size, change)
    return size[0] - 2 * left, size[1] - 2 * top


def copied_box(box: Box, size: tuple[int, int], change: str) -> Box:
    """Return where a box lies on the changed photograph, clipped to it."""
    if change == "flipped":
        return box._replace(left=size[0] - box.left - box.width)
    if change == "rotated_5":
        box = _rotated(box, size)
    left, top = _cut(size, change)
    clipped = Box(box.left - left, box.top - top, box.width, box.height).clipped(*copied_size(size, change))
    if clipped is None:
        raise ValueError(change)
    return clipped


def _cut(size: tuple[int, int], change: str) -> tuple[int, int]:
    """Return how much is cut off on the left (and right) and at the top (and bottom): 5 or 10 % in all."""
    share = {"cropped_5": 0.05, "cropped_10": 0.10}.get(change, 0.0)
    return round(size[0] * share / 2), round(size[1] * share / 2)


def _rotated(box: Box, size: tuple[int, int]) -> Box:
    """Return the rectangle around a box that rotates with the photograph, counter-clockwise around its middle."""
    cosine, sine = math.cos(math.radians(_DEGREES)), math.sin(math.radians(_DEGREES))
    across, down = size[0] / 2, size[1] / 2
    corners = [(box.left + right * box.width, box.top + low * box.height) for right in (0, 1) for low in (0, 1)]
    xs = [across + (x - across) * cosine + (y - down) * sine for x, y in corners]
    ys = [down - (x - across) * sine + (y - down) * cosine for x, y in corners]
    left, top, right, bottom = math.floor(min(xs)), math.floor(min(ys)), math.ceil(max(xs)), math.ceil(max(ys))
    return Box(float(left), float(top), float(right - left), float(bottom - top))
