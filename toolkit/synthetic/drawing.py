"""Knows how a photograph of skin comes about: tone, texture, light, camera, and what else gets into the picture.

Knows nothing of how a class looks (`lesions`), nor of patients' ids, labels and files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from toolkit.synthetic.lesions import Lesion, Map, noise, paint, plate

WIDTH, HEIGHT = 288, 240
SHAPE = (HEIGHT, WIDTH)

# Absorption of red, green and blue. Melanin deep in the dermis looks blue-grey: blue light is scattered back (Tyndall).
MELANIN = np.array([0.50, 0.85, 1.15], np.float32)
DERMAL = np.array([0.95, 0.82, 0.62], np.float32)
BLOOD = np.array([0.10, 0.85, 0.70], np.float32)
BARE = np.array([0.95, 0.80, 0.71], np.float32)
PEARL = np.array([0.93, 0.85, 0.81], np.float32)


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels from the top left corner of the photograph."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class Picture:
    """A photograph's JPEG bytes, and the box of each lesion in the order they were asked for."""

    jpeg: bytes
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class _Skin:
    """Maps of the whole photograph that the lesions are added to."""

    melanin: Map
    dermal: Map
    blood: Map
    pale: Map
    relief: Map


def photograph(rng: Generator, class_names: Sequence[str], *, fitzpatrick: int) -> Picture:
    """Draw one photograph with a lesion of each of the named classes (one, or two side by side)."""
    skin = _bare_skin(rng, fitzpatrick)
    boxes = tuple(_place(rng, skin, name, at, len(class_names)) for at, name in enumerate(class_names))
    light = _light(rng)
    colour = _reflected(skin, rng.uniform(0, 2 * np.pi))
    canvas = Image.fromarray(_levels(colour * light[..., None]))
    _foreign_objects(rng, canvas)
    seen = _through_camera(rng, np.asarray(canvas).astype(np.float32) / 255)
    return Picture(jpeg=_jpeg(seen), boxes=boxes)


def _bare_skin(rng: Generator, fitzpatrick: int) -> _Skin:
    tone = 0.16 * (fitzpatrick - 1) + rng.normal(0, 0.08)
    grain = 0.025 * noise(rng, SHAPE, 110) + 0.02 * noise(rng, SHAPE, 40)
    furrows = np.exp(-((noise(rng, SHAPE, 36) / 0.25) ** 2))
    flush = rng.uniform(0.0, 0.24) + 0.05 * noise(rng, SHAPE, 5, octaves=2)
    mottle = 0.03 * noise(rng, SHAPE, 9)
    return _Skin(
        melanin=np.maximum(tone + mottle, 0) + grain + rng.uniform(0.01, 0.05) * furrows,
        dermal=np.zeros(SHAPE, np.float32),
        blood=flush.clip(0, None),
        pale=np.zeros(SHAPE, np.float32),
        relief=-0.4 * furrows.astype(np.float32) * rng.uniform(0.1, 0.5),
    )


def _place(rng: Generator, skin: _Skin, class_name: str, position: int, of: int) -> Box:
    """Add a lesion to the skin, in its own share of the width; return the box around what is seen of it."""
    share = WIDTH // of
    side = int(rng.integers(*((150, 232) if of == 1 else (112, 140))))
    on = plate(side)
    lesion = paint(class_name, rng, on)
    left = position * share + int(rng.integers(0, share - side + 1))
    top = int(rng.integers(0, HEIGHT - side + 1))
    window = np.s_[top : top + side, left : left + side]
    for name in ("melanin", "dermal", "blood", "pale"):
        getattr(skin, name)[window] += getattr(lesion, name)
    skin.relief[window] += lesion.relief * on.pixels
    return _box_around(lesion, left, top)


def _box_around(lesion: Lesion, left: int, top: int) -> Box:
    seen = lesion.area > 0.35
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    return Box(
        left=float(left + columns[0]),
        top=float(top + rows[0]),
        width=float(columns[-1] - columns[0] + 1),
        height=float(rows[-1] - rows[0] + 1),
    )


def _reflected(skin: _Skin, lit_from: float) -> Map:
    """Light that comes back from the skin: absorbed by its pigments, shaded and glossed by its relief."""
    absorbed = skin.melanin[..., None] * MELANIN + skin.dermal[..., None] * DERMAL + skin.blood[..., None] * BLOOD
    colour = BARE * np.exp(-absorbed.clip(0, None))
    pale = skin.pale.clip(0, 0.85)[..., None]
    colour = colour * (1 - pale) + PEARL * np.quantile(colour[..., 0], 0.9) * 1.1 * pale
    down, right = np.gradient(skin.relief)
    slope = np.cos(lit_from) * right + np.sin(lit_from) * down
    gloss = (slope - 0.35).clip(0, 0.6) * 0.35
    return colour * (1 + 0.45 * slope.clip(-0.9, 0.9))[..., None] + gloss[..., None]


def _light(rng: Generator) -> Map:
    """Give an illumination gradient, a vignette and sometimes the glare of a lamp."""
    y, x = np.meshgrid(np.linspace(-1, 1, HEIGHT), np.linspace(-1, 1, WIDTH), indexing="ij")
    towards = rng.uniform(0, 2 * np.pi)
    light = 1 + rng.uniform(0, 0.16) * (np.cos(towards) * x + np.sin(towards) * y)
    light -= rng.uniform(0, 0.14) * (x**2 + y**2)
    if rng.uniform() < 0.12:
        spot = (x - rng.uniform(-0.8, 0.8)) ** 2 + (y - rng.uniform(-0.8, 0.8)) ** 2
        light += rng.uniform(0.2, 0.5) * np.exp(-spot / (2 * rng.uniform(0.08, 0.2) ** 2))
    return light.astype(np.float32)


def _foreign_objects(rng: Generator, canvas: Image.Image) -> None:
    draw = ImageDraw.Draw(canvas)
    if rng.uniform() < 0.25:
        _hairs(rng, draw)
    if rng.uniform() < 0.06:
        _pen(rng, draw)
    if rng.uniform() < 0.07:
        _ruler(rng, draw)


def _hairs(rng: Generator, draw: ImageDraw.ImageDraw) -> None:
    shade = rng.uniform(20, 70)
    lie = rng.uniform(0, 2 * np.pi)
    for _ in range(int(rng.integers(3, 13))):
        point, heading = rng.uniform((0, 0), (WIDTH, HEIGHT)), lie + rng.normal(0, 0.4)
        bend = rng.normal(0, 0.08)
        path = [tuple(point)]
        for _ in range(int(rng.integers(5, 14))):
            heading += bend
            point = point + 8 * np.array([np.cos(heading), np.sin(heading)])
            path.append(tuple(point))
        draw.line(path, fill=tuple(int(shade * part) for part in (1, 0.8, 0.65)), width=1)


def _pen(rng: Generator, draw: ImageDraw.ImageDraw) -> None:
    """Draw a surgeon's violet arc near a corner of the photograph."""
    x, y = rng.choice([0, WIDTH]), rng.choice([0, HEIGHT])
    reach = int(rng.integers(35, 70))
    ink = (int(rng.integers(60, 110)), int(rng.integers(40, 80)), int(rng.integers(120, 170)))
    draw.ellipse((x - reach, y - reach, x + reach, y + reach), outline=ink, width=3)


def _ruler(rng: Generator, draw: ImageDraw.ImageDraw) -> None:
    """Draw the edge of a millimetre ruler along the bottom of the photograph."""
    top = HEIGHT - int(rng.integers(10, 20))
    draw.rectangle((0, top, WIDTH, HEIGHT), fill=(226, 226, 220))
    pitch = int(rng.integers(6, 10))
    for tick, x in enumerate(range(int(rng.integers(0, pitch)), WIDTH, pitch)):
        draw.line((x, top, x, top + (8 if tick % 5 == 0 else 4)), fill=(40, 40, 44))


def _through_camera(rng: Generator, colour: Map) -> Map:
    """Blur, white balance, exposure, gamma and sensor noise."""
    sharpness = rng.uniform(1.0, 1.6) if rng.uniform() < 0.12 else rng.uniform(0.3, 0.8)
    seen = gaussian_filter(colour, (sharpness, sharpness, 0))
    balance = np.exp(rng.normal(0, 0.09, 3) + rng.normal(-0.03, 0.13)).astype(np.float32)
    seen = (seen * balance).clip(0, 1) ** np.float32(np.exp(rng.normal(0, 0.10)))
    return seen + rng.uniform(0.004, 0.016) * rng.standard_normal(SHAPE, dtype=np.float32)[..., None]


def _levels(colour: Map) -> np.ndarray:
    return (colour.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def _jpeg(colour: Map) -> bytes:
    file = BytesIO()
    Image.fromarray(_levels(colour)).save(file, "JPEG", quality=88)
    return file.getvalue()
