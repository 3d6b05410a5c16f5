"""The rendering of skin before the camera: tone, texture, lesions in their places, light, hair, pen and ruler."""

import numpy as np
from numpy.random import Generator, default_rng
from PIL import Image, ImageDraw

from toolkit.cases import Box
from toolkit.synthetic.lesions import REACH, Layers, Map, Plate, noise, paint
from toolkit.synthetic.plan import Person, PlacedLesion, PlannedPhotograph

# Absorption of red, green and blue. Melanin deep in the dermis looks blue-grey: blue light is scattered back (Tyndall).
MELANIN = np.array([0.50, 0.85, 1.15], np.float32)
DERMAL = np.array([0.95, 0.82, 0.62], np.float32)
BLOOD = np.array([0.10, 0.85, 0.70], np.float32)
BARE = np.array([0.95, 0.80, 0.71], np.float32)
PEARL = np.array([0.93, 0.85, 0.81], np.float32)


def render(rng: Generator, photograph: PlannedPhotograph, *, seed: int) -> Map:
    """Return what the camera sees: (height, width, 3) of light between 0 and about 1.

    A lesion looks the same on each of its photographs: its form follows from the sample's seed, the patient and its
    number; everything around it from `rng`.
    """
    width, height = photograph.size
    person = photograph.person
    skin = bare_skin(rng, (height, width), person)
    for lesion in photograph.lesions:
        number = lesion.number if lesion.number > 0 else 1000 + photograph.index
        place(default_rng([seed, 3, person.number, number]), skin, lesion)
    return lit(rng, skin, photograph.traits)


def lit(rng: Generator, skin: Layers, traits: frozenset[str]) -> Map:
    """Return skin in the light of a room, with what else the photograph shows: (height, width, 3)."""
    light = _light(rng, skin["melanin"].shape, glare="glare" in traits)
    canvas = Image.fromarray(levels(_reflected(skin, rng.uniform(0, 2 * np.pi)) * light[..., None]))
    for trait, draw in (("hair", _hairs), ("pen", _pen), ("ruler", _ruler)):
        if trait in traits:
            draw(rng, ImageDraw.Draw(canvas), canvas.size)
    return np.asarray(canvas).astype(np.float32) / 255


def overgrown(rng: Generator, light: Map, *, times: int) -> Map:
    """Return what the camera sees, (height, width, 3), with hairs of as many kinds before it."""
    canvas = Image.fromarray(levels(light))
    for _ in range(times):
        _hairs(rng, ImageDraw.Draw(canvas), canvas.size)
    return np.asarray(canvas).astype(np.float32) / 255


def levels(colour: Map) -> np.ndarray:
    """Return light as 8-bit levels."""
    return (colour.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def bare_skin(rng: Generator, shape: tuple[int, int], person: Person) -> Layers:
    """Return a person's skin without a lesion, (height, width) each layer."""
    tone = 0.16 * (person.fitzpatrick - 1) + person.tone + rng.normal(0, 0.05)
    grain = 0.025 * noise(rng, shape, 110) + 0.02 * noise(rng, shape, 40)
    furrows = np.exp(-((noise(rng, shape, 36) / 0.25) ** 2))
    flush = rng.uniform(0.0, 0.24) + 0.05 * noise(rng, shape, 5, octaves=2)
    mottle = 0.03 * noise(rng, shape, 9)
    return {
        "melanin": np.maximum(tone + mottle, 0) + grain + rng.uniform(0.01, 0.05) * furrows,
        "dermal": np.zeros(shape, np.float32),
        "blood": flush.clip(0, None),
        "pale": np.zeros(shape, np.float32),
        "relief": -0.4 * furrows.astype(np.float32) * rng.uniform(0.1, 0.5),
    }


def place(rng: Generator, skin: Layers, placed: PlacedLesion) -> None:
    """Add a lesion to the skin, stretched so that its visible area fills its box."""
    on = Plate(round(REACH * max(placed.box.width, placed.box.height)))
    lesion = paint(placed.class_name, rng, on)
    visible = _visible_box(lesion.pop("area"))
    across, down = placed.box.width / visible.width, placed.box.height / visible.height
    size = round(on.side * across), round(on.side * down)
    left, top = round(placed.box.left - visible.left * across), round(placed.box.top - visible.top * down)
    height, width = skin["melanin"].shape
    on_skin = np.s_[max(top, 0) : min(top + size[1], height), max(left, 0) : min(left + size[0], width)]
    on_plate = np.s_[on_skin[0].start - top : on_skin[0].stop - top, on_skin[1].start - left : on_skin[1].stop - left]
    for name, layer in lesion.items():
        if layer.any():
            stretched = np.asarray(Image.fromarray(layer).resize(size, Image.Resampling.BILINEAR))
            skin[name][on_skin] += stretched[on_plate] * (on.pixels if name == "relief" else 1)


def _visible_box(area: Map) -> Box:
    """Return the box around what an annotator sees of a lesion, on its plate."""
    visible = area > 0.35
    rows, columns = np.flatnonzero(visible.any(axis=1)), np.flatnonzero(visible.any(axis=0))
    width, height = columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1
    return Box(float(columns[0]), float(rows[0]), float(width), float(height))


def _reflected(skin: Layers, lit_from: float) -> Map:
    """Return the light that the skin reflects: absorbed by its pigments, shaded and glossed by its relief."""
    melanin, dermal, blood = (skin[name][..., None] for name in ("melanin", "dermal", "blood"))
    absorbed = melanin * MELANIN + dermal * DERMAL + blood * BLOOD
    colour = BARE * np.exp(-absorbed.clip(0, None))
    pale = skin["pale"].clip(0, 0.85)[..., None]
    colour = colour * (1 - pale) + PEARL * np.quantile(colour[..., 0], 0.9) * 1.1 * pale
    down, right = np.gradient(skin["relief"])
    slope = np.cos(lit_from) * right + np.sin(lit_from) * down
    gloss = (slope - 0.35).clip(0, 0.6) * 0.35
    return colour * (1 + 0.45 * slope.clip(-0.9, 0.9))[..., None] + gloss[..., None]


def _light(rng: Generator, shape: tuple[int, int], *, glare: bool) -> Map:
    """Return an illumination gradient with a vignette and sometimes the glare of a lamp."""
    y, x = np.meshgrid(np.linspace(-1, 1, shape[0]), np.linspace(-1, 1, shape[1]), indexing="ij")
    towards = rng.uniform(0, 2 * np.pi)
    light = 1 + rng.uniform(0, 0.16) * (np.cos(towards) * x + np.sin(towards) * y)
    light -= rng.uniform(0, 0.14) * (x**2 + y**2)
    if glare:
        spot = (x - rng.uniform(-0.8, 0.8)) ** 2 + (y - rng.uniform(-0.8, 0.8)) ** 2
        light += rng.uniform(0.2, 0.5) * np.exp(-spot / (2 * rng.uniform(0.08, 0.2) ** 2))
    return light.astype(np.float32)


def _hairs(rng: Generator, draw: ImageDraw.ImageDraw, size: tuple[int, int]) -> None:
    shade = rng.uniform(20, 70)
    lie = rng.uniform(0, 2 * np.pi)
    for _ in range(int(rng.integers(3, 13))):
        point, heading = rng.uniform((0, 0), size), lie + rng.normal(0, 0.4)
        bend = rng.normal(0, 0.08)
        path = [tuple(point)]
        for _ in range(int(rng.integers(5, 14))):
            heading += bend
            point = point + 8 * np.array([np.cos(heading), np.sin(heading)])
            path.append(tuple(point))
        draw.line(path, fill=tuple(int(shade * part) for part in (1, 0.8, 0.65)), width=1)


def _pen(rng: Generator, draw: ImageDraw.ImageDraw, size: tuple[int, int]) -> None:
    """Draw a surgeon's violet arc near a corner of the photograph."""
    x, y = rng.choice([0, size[0]]), rng.choice([0, size[1]])
    reach = int(rng.integers(35, 70))
    ink = (int(rng.integers(60, 110)), int(rng.integers(40, 80)), int(rng.integers(120, 170)))
    draw.ellipse((x - reach, y - reach, x + reach, y + reach), outline=ink, width=3)


def _ruler(rng: Generator, draw: ImageDraw.ImageDraw, size: tuple[int, int]) -> None:
    """Draw the edge of a millimetre ruler along the bottom of the photograph."""
    width, height = size
    top = height - int(rng.integers(10, 20))
    draw.rectangle((0, top, width, height), fill=(226, 226, 220))
    pitch = int(rng.integers(6, 10))
    for tick, x in enumerate(range(int(rng.integers(0, pitch)), width, pitch)):
        draw.line((x, top, x, top + (8 if tick % 5 == 0 else 4)), fill=(40, 40, 44))
