"""Crops as a poorer camera, a hurried photographer or a careless box would give them; at level 0 nothing changes.

A crop is degraded at its photograph's own resolution, before it is resized for the model.
"""

import hashlib
import io
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter

from toolkit.cases import Box
from toolkit.errors import WorkspaceError
from toolkit.manifest.model import RoiShape
from toolkit.photographs.crops import cut, resized
from toolkit.photographs.opening import open_photograph

VERSION = 1
"""Changes whenever a degradation does."""


class DegradationKind(NamedTuple):
    """What a level means, and the lowest and the highest there is."""

    meaning: str
    """With the level in the place of {}."""
    low: float
    high: float
    unit: str


KINDS = {
    "blur": DegradationKind(
        "crops blurred (Gaussian, standard deviation {} % of the longer side)", 0, 25, "% of the side"
    ),
    "jpeg": DegradationKind(
        "crops saved as JPEG with quality 100 \N{MINUS SIGN} {}", 0, 99, "100 \N{MINUS SIGN} quality"
    ),
    "white-balance": DegradationKind("red light raised and blue light lowered by {} %", -90, 90, "% red up, blue down"),
    "exposure": DegradationKind("exposure changed by {} stops", -5, 5, "stops"),
    "resolution": DegradationKind("{} % of the pixels of each side given up", 0, 98, "% of pixels given up"),
    "noise": DegradationKind("noise with a standard deviation of {} grey levels of 255", 0, 128, "grey levels"),
    "roi-shift": DegradationKind("boxes shifted by {} % of their size in a random direction", 0, 100, "% of the box"),
    "roi-scale": DegradationKind("boxes with sides {} % longer", -90, 400, "% of the box"),
}
OF_THE_BOX = ("roi-shift", "roi-scale")
"""Kinds that change the box and no pixel: cases without a ROI have none."""


class Degradation(NamedTuple):
    """A kind of degradation and its level."""

    kind: str
    level: float

    @property
    def name(self) -> str:
        """What a run's column `control` holds, such as blur:2."""
        return f"{self.kind}:{self.level:g}"

    @property
    def meaning(self) -> str:
        """What the model gets, in words."""
        return KINDS[self.kind].meaning.format(f"{self.level:g}".replace("-", "\N{MINUS SIGN}"))


def parsed(texts: list[str]) -> list[Degradation]:
    """Return degradations from texts like blur:2, each once; raise WorkspaceError that names every fault."""
    read = [_parsed(text) for text in texts]
    if faults := [each for each in read if isinstance(each, str)]:
        raise WorkspaceError("; ".join(faults), place="--degrade", remedy=f"give KIND:LEVEL, {allowed()}")
    return list(dict.fromkeys(each for each in read if isinstance(each, Degradation)))


def named(control: str | None) -> Degradation | None:
    """Return the degradation that a run's column `control` names; None for other controls."""
    read = _parsed(control or "")
    return read if isinstance(read, Degradation) else None


def allowed() -> str:
    """Return the kinds with their ranges."""
    return ", ".join(f"{name} {kind.low:g} to {kind.high:g}" for name, kind in KINDS.items())


def _parsed(text: str) -> Degradation | str:
    name, found, number = text.partition(":")
    kind = KINDS.get(name)
    if kind is None or not found:
        return f"{text!r} is no degradation"
    try:
        level = float(number)
    except ValueError:
        return f"{text!r} has no number as its level"
    if not kind.low <= level <= kind.high or math.isnan(level):
        return f"{text!r} is out of the range of {name}, {kind.low:g} to {kind.high:g}"
    return Degradation(name, level + 0.0)  # never -0


def degraded_pixels(  # noqa: PLR0913 - those of `case_pixels`, and what is done to them
    content: bytes,
    roi: Box | None,
    *,
    margin: float,
    size: int,
    degradation: Degradation,
    seed: int,
    shape: RoiShape = "squash",
) -> np.ndarray:
    """Return a case's degraded crop as the model sees it, (size, size, 3) uint8.

    What is random follows from the seed and the photograph's bytes: the same at every level, and of no pseudonym.
    """
    image, (kind, level) = open_photograph(content), degradation
    digest = hashlib.sha256(f"{seed}\0{kind}\0".encode() + content).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8]))
    if kind in OF_THE_BOX and roi is not None:
        roi = _scaled(roi, level) if kind == "roi-scale" else _shifted(roi, image, level, rng)
    seen = cut(image, roi, margin=margin, shape=shape)
    if kind == "noise":
        seen = _noisy(seen, level, rng)
    elif kind in PIXELS:
        seen = PIXELS[kind](seen, level)
    return resized(seen, size)


def _blurred(image: Image.Image, level: float) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(level / 100 * max(image.size)))


def _recompressed(image: Image.Image, level: float) -> Image.Image:
    if level == 0:  # quality 100 is not the photograph itself
        return image
    data = io.BytesIO()
    image.save(data, "JPEG", quality=round(100 - level))
    return Image.open(io.BytesIO(data.getvalue())).convert("RGB")


def _white_balanced(image: Image.Image, level: float) -> Image.Image:
    return _relit(image, [1 + level / 100, 1, 1 - level / 100])


def _exposed(image: Image.Image, level: float) -> Image.Image:
    return _relit(image, [2.0**level] * 3)


def _relit(image: Image.Image, gains: list[float]) -> Image.Image:
    """Multiply the light of each channel; sRGB is made linear and back (IEC 61966-2-1), and what is too much is cut."""
    level = np.arange(256) / 255
    light = np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)
    tables = []
    for gain in gains:
        more = np.clip(light * gain, 0, 1)
        back = np.where(more <= 0.0031308, 12.92 * more, 1.055 * more ** (1 / 2.4) - 0.055)
        tables += np.rint(255 * back).astype(int).tolist()
    return image.point(tables)


def _coarser(image: Image.Image, level: float) -> Image.Image:
    left = [max(1, round(side * (1 - level / 100))) for side in image.size]
    small = image.resize((left[0], left[1]), Image.Resampling.BOX)
    return small.resize(image.size, Image.Resampling.BICUBIC)


def _noisy(image: Image.Image, level: float, rng: np.random.Generator) -> Image.Image:
    noise = rng.standard_normal((image.height, image.width, 3), dtype=np.float32)
    return Image.fromarray(np.clip(np.rint(np.asarray(image) + level * noise), 0, 255).astype(np.uint8))


PIXELS: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    "blur": _blurred,
    "jpeg": _recompressed,
    "white-balance": _white_balanced,
    "exposure": _exposed,
    "resolution": _coarser,
}


def _shifted(roi: Box, image: Image.Image, level: float, rng: np.random.Generator) -> Box:
    """Return the box moved within the photograph."""
    angle = rng.uniform(0, 2 * math.pi)
    left = roi.left + level / 100 * roi.width * math.cos(angle)
    top = roi.top + level / 100 * roi.height * math.sin(angle)
    ends = max(image.width - roi.width, roi.left), max(image.height - roi.height, roi.top)
    return roi._replace(left=min(max(left, min(roi.left, 0)), ends[0]), top=min(max(top, min(roi.top, 0)), ends[1]))


def _scaled(roi: Box, level: float) -> Box:
    """Return the box with longer sides about the same centre; it may end beyond the photograph."""
    width, height = roi.width * (1 + level / 100), roi.height * (1 + level / 100)
    return Box(roi.left + (roi.width - width) / 2, roi.top + (roi.height - height) / 2, width, height)
