"""The looks of the eight classes: where pigment, blood and relief lie, in units of the lesion's radius.

They overlap where the paper's confusions are: dermal melanocytosis with solar lentigo, basal cell carcinoma with
seborrheic keratosis, nevus with melanoma.
"""

from collections.abc import Callable

import numpy as np
import scipy
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Map = NDArray[np.float32]
Layers = dict[str, Map]
"""What a lesion adds to the skin: `melanin`, `dermal` pigment, `blood`, `pale`, `relief`; and its `area`, where an
annotator would see it."""

# A plate reaches this many lesion radii from its centre, so that a border may wander and fade before the plate ends.
REACH = 1.3


class Plate:
    """A square of `side` pixels around a lesion's centre; `x` and `y` are in lesion radii of `pixels` each."""

    def __init__(self, side: int) -> None:
        line = np.linspace(-REACH, REACH, side, dtype=np.float32)
        self.x, self.y = np.meshgrid(line, line)
        self.side, self.pixels = side, side / (2 * REACH)


def noise(rng: Generator, shape: tuple[int, int], cells: int, *, octaves: int = 1) -> Map:
    """Generate smooth noise of mean about 0 and deviation 1 with `cells` cells across, halved at each octave."""
    height, width = shape
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        grid = rng.standard_normal((cells * 2**octave + 1,) * 2, dtype=np.float32)
        total += np.asarray(Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC)) * 0.6**octave
    return total / (0.72 * sum(0.36**octave for octave in range(octaves)) ** 0.5)


def edge(depth: Map, softness: float) -> Map:
    """Convert depth below a border into presence between 0 and 1; `softness` is the border's width."""
    return 1 / (1 + np.exp(np.clip(-depth / softness, -30, 30)))


def paint(class_name: str, rng: Generator, on: Plate) -> Layers:
    """Paint one lesion of a class; it has faded out where the plate ends."""
    lesion = PAINTERS[class_name](rng, on)
    window = edge(REACH - 0.08 - np.maximum(np.abs(on.x), np.abs(on.y)), 0.015)
    return {name: layer * window for name, layer in lesion.items()}


def _depth(rng: Generator, on: Plate, *, elongation: float, wobble: float) -> Map:
    """Return depth below an oval border that wobbles by low harmonics, in lesion radii; negative outside."""
    axis = rng.uniform(0, np.pi)
    along = on.x * np.cos(axis) + on.y * np.sin(axis)
    across = (on.y * np.cos(axis) - on.x * np.sin(axis)) * elongation
    angle = np.arctan2(across, along)
    border = np.full_like(angle, 0.97)
    for harmonic in range(2, 6):
        border += wobble * rng.normal() / (harmonic - 1) * np.cos(harmonic * angle + rng.uniform(0, 2 * np.pi))
    return (border - np.hypot(along, across)).astype(np.float32)


def _spots(rng: Generator, on: Plate, density: Map, *, count: int, radius: tuple[float, float]) -> Map:
    """Scatter round spots where `density` is high; overlapping spots run together."""
    chance = np.cumsum(density, dtype=np.float64)
    total = np.zeros_like(on.x)
    for size in np.linspace(*radius, 3):
        spot = max(size * on.pixels * 0.75, 0.8)
        where = np.searchsorted(chance, rng.uniform(0, chance[-1], count // 3)).clip(0, chance.size - 1)
        points = np.zeros(chance.size, np.float32)
        np.add.at(points, where, rng.uniform(0.5, 1.2, where.size).astype(np.float32))
        total += scipy.ndimage.gaussian_filter(points.reshape(on.x.shape), spot) * (2 * np.pi * spot**2)
    return 1 - np.exp(-1.6 * total)


def _vessels(rng: Generator, on: Plate, *, count: int) -> Map:
    """Paint branching vessels that wander in from the border."""
    canvas = Image.new("L", (on.side, on.side))
    draw = ImageDraw.Draw(canvas)
    stems = [(rng.uniform(0, 2 * np.pi), 0.95, rng.uniform(0, 2 * np.pi)) for _ in range(count)]
    while stems:
        angle, distance, _ = stems.pop()
        point = np.array([np.cos(angle), np.sin(angle)]) * distance
        heading = angle + np.pi + rng.normal(0, 0.5)
        for step in range(int(rng.integers(4, 9))):
            heading += rng.normal(0, 0.45)
            onward = point + 0.13 * np.array([np.cos(heading), np.sin(heading)])
            ends = [tuple((end + REACH) * on.pixels) for end in (point, onward)]
            draw.line(ends, fill=255, width=max(1, round(on.pixels * (0.036 if step < 3 else 0.024))))
            point = onward
            if distance > 0.9 and rng.uniform() < 0.3:
                stems.append((np.arctan2(point[1], point[0]), float(np.hypot(*point)) * 0.9, heading))
    return scipy.ndimage.gaussian_filter(np.asarray(canvas, np.float32) / 255, 0.6)


def _dermal_melanocytosis(rng: Generator, on: Plate) -> Layers:
    """Paint blue-grey to brown speckles on both sides of a midline, running together into patches."""
    axis = rng.uniform(0, 2 * np.pi)
    gap = rng.uniform(0.35, 0.6)
    density = np.zeros_like(on.x)
    for side in (-1, 1):
        for _ in range(3):
            spread = rng.uniform(0.18, 0.32)
            centre = side * gap * np.array([np.cos(axis), np.sin(axis)]) + rng.normal(0, 0.2, 2)
            density += np.exp(-((on.x - centre[0]) ** 2 + (on.y - centre[1]) ** 2) / (2 * spread**2))
    density *= edge(1 - np.hypot(on.x, on.y), 0.05)
    spots = _spots(rng, on, density**1.5, count=int(rng.integers(70, 150)), radius=(0.05, 0.11))
    confluent = rng.uniform() ** 2
    veil = np.clip(density * (0.15 + 1.2 * confluent), 0, 0.8)
    amount = (
        rng.uniform(0.5, 1.2)
        * (spots * (0.8 - 0.55 * confluent) + veil * (0.5 + 0.4 * confluent))
        * (1 + 0.15 * noise(rng, on.x.shape, 12))
    )
    slate = rng.uniform(0.15, 0.95)
    return {"area": np.maximum(spots, veil), "melanin": amount * (1 - slate), "dermal": amount * slate}


def _basal_cell_carcinoma(rng: Generator, on: Plate) -> Layers:
    """Paint a pearly nodule with a rolled border, branching vessels and often an ulcer at its centre."""
    depth = _depth(rng, on, elongation=rng.uniform(1, 1.3), wobble=0.06)
    area = edge(depth, rng.uniform(0.025, 0.07))
    rolled = np.exp(-(((depth - 0.17) / 0.13) ** 2)) * rng.uniform(0.07, 0.16)
    hollow = _depth(rng, on, elongation=rng.uniform(1, 1.6), wobble=0.15) + 0.18 * noise(rng, on.x.shape, 6)
    ulcer = edge(hollow - rng.uniform(0.5, 0.75), 0.04) * min(rng.uniform(0.0, 1.3), 1.0)
    vessels = _vessels(rng, on, count=int(rng.integers(4, 9))) * area * (1 - ulcer)
    clots = edge(noise(rng, on.x.shape, 7) - rng.uniform(1.2, 2.2), 0.15) * area
    tan = rng.uniform(0.05, 0.75) * area
    return {
        "area": area,
        "melanin": tan + 0.8 * clots + 0.5 * ulcer,
        "blood": 0.2 * area + rng.uniform(0.5, 1.2) * vessels + ulcer * rng.uniform(0.5, 1.2),
        "pale": area * (1 - ulcer) * (0.15 + rolled * 2.2) * (1 - vessels),
        "relief": rolled * area - 0.12 * ulcer * (1 + 0.3 * noise(rng, on.x.shape, 14)),
    }


def _ephelis(rng: Generator, on: Plate) -> Layers:
    """Paint many tiny light-brown dots, none running into a patch."""
    density = edge(1.05 - np.hypot(on.x, on.y), 0.1) * np.exp(0.5 * noise(rng, on.x.shape, 4))
    spots = _spots(rng, on, density, count=int(rng.integers(70, 170)), radius=(0.022, 0.05))
    return {"area": spots, "melanin": spots * rng.uniform(0.5, 1.3)}


def _malignant_melanoma(rng: Generator, on: Plate) -> Layers:
    """Paint a large lesion, asymmetric, ragged, of several colours: brown, black, blue-grey, red and white."""
    unrest = rng.uniform(0.5, 1.0)
    depth = _depth(rng, on, elongation=rng.uniform(1.05, 1.5), wobble=0.17 * unrest)
    depth += 0.13 * unrest * noise(rng, on.x.shape, 5, octaves=3)
    area = edge(depth, rng.uniform(0.03, 0.08))
    regions = noise(rng, on.x.shape, 3, octaves=3)
    black = edge(regions - rng.uniform(0.0, 0.8), 0.12)
    veil = edge(noise(rng, on.x.shape, 3, octaves=2) - rng.uniform(0.4, 1.1), 0.15) * unrest
    regress = edge(-regions - rng.uniform(0.5, 1.2), 0.15) * unrest
    brown = rng.uniform(0.35, 1.1) * (1 + 0.25 * noise(rng, on.x.shape, 10))
    return {
        "area": area,
        "melanin": area * (brown * (1 - 0.7 * regress) + rng.uniform(0.7, 1.4) * unrest * black),
        "dermal": area * veil * rng.uniform(0.4, 1.0),
        "blood": area * regress * rng.uniform(0.1, 0.8),
        "pale": area * regress * rng.uniform(0.1, 0.5),
        "relief": np.sqrt(depth.clip(0, 1)) * area * rng.uniform(0.0, 0.15),
    }


def _melasma(rng: Generator, on: Plate) -> Layers:
    """Paint a large, faint, light-brown patch with a map-like border that fades into the skin."""
    depth = _depth(rng, on, elongation=rng.uniform(1.0, 1.4), wobble=0.12)
    depth = depth - 0.12 + 0.2 * noise(rng, on.x.shape, 5, octaves=3)
    area = edge(depth, rng.uniform(0.06, 0.13))
    cloud = 1 + 0.25 * noise(rng, on.x.shape, 6, octaves=3)
    return {"area": area, "melanin": area * cloud * rng.uniform(0.22, 0.65), "blood": area * 0.06}


def _nevus(rng: Generator, on: Plate) -> Layers:
    """Paint a round lesion, symmetric, evenly brown, with a smooth border."""
    unrest = rng.uniform(0.0, 0.4)
    depth = _depth(rng, on, elongation=rng.uniform(1.0, 1.25), wobble=0.01 + 0.05 * unrest)
    area = edge(depth, rng.uniform(0.03, 0.09))
    shade = 1 + (0.06 + 0.3 * unrest) * noise(rng, on.x.shape, 4) + rng.uniform(-0.1, 0.4) * depth.clip(0, 1)
    dome = np.sqrt(depth.clip(0, 1)) * rng.uniform(0.0, 0.3)
    return {"area": area, "melanin": area * shade * rng.uniform(0.45, 1.6), "relief": dome * area}


def _seborrheic_keratosis(rng: Generator, on: Plate) -> Layers:
    """Paint a waxy plaque that looks stuck on: sharp edge, white and dark plugs, fissures."""
    depth = _depth(rng, on, elongation=rng.uniform(1.0, 1.4), wobble=0.07) + 0.03 * noise(rng, on.x.shape, 9)
    area = edge(depth, rng.uniform(0.012, 0.03))
    inner = edge(depth - 0.1, 0.03)
    plugs = _spots(rng, on, inner, count=int(rng.integers(12, 34)), radius=(0.04, 0.07))
    milia = _spots(rng, on, inner, count=int(rng.integers(9, 30)), radius=(0.04, 0.065))
    fissures = np.exp(-((noise(rng, on.x.shape, 6) / 0.16) ** 2)) * inner * rng.uniform(0.2, 1.0)
    wax = 1 + 0.12 * noise(rng, on.x.shape, 8, octaves=2)
    warts = 0.02 * noise(rng, on.x.shape, 12)
    return {
        "area": area,
        "melanin": area * wax * rng.uniform(0.25, 1.2) + 0.9 * plugs + 0.6 * fissures,
        "blood": area * rng.uniform(0.0, 0.25),
        "pale": area * 0.08 + 0.7 * milia * (1 - plugs),
        "relief": area * (rng.uniform(0.06, 0.14) + warts) - 0.04 * fissures - 0.03 * plugs,
    }


def _solar_lentigo(rng: Generator, on: Plate) -> Layers:
    """Paint a flat patch, evenly light to mid brown, well defined, its border moth-eaten."""
    depth = _depth(rng, on, elongation=rng.uniform(1.0, 1.5), wobble=0.08)
    for _ in range(int(rng.integers(7, 14))):
        angle, size = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.3)
        away = rng.uniform(0.8, 1.0)
        bite = np.hypot(on.x - away * np.cos(angle), on.y - away * np.sin(angle)) - size
        depth = np.minimum(depth, bite)
    depth = depth + rng.uniform(0.02, 0.07) * noise(rng, on.x.shape, 11, octaves=2)
    area = edge(depth, rng.uniform(0.018, 0.04))
    even = 1 + rng.uniform(0.04, 0.12) * noise(rng, on.x.shape, 14)
    speckles = _spots(rng, on, area, count=45, radius=(0.05, 0.1)) * 0.5 * rng.uniform() ** 2
    slate = rng.uniform(0.0, 0.35)
    amount = area * (even + speckles) * rng.uniform(0.4, 1.2)
    return {"area": area, "melanin": amount * (1 - slate), "dermal": amount * slate}


PAINTERS: dict[str, Callable[[Generator, Plate], Layers]] = {
    "acquired_dermal_melanocytosis": _dermal_melanocytosis,
    "basal_cell_carcinoma": _basal_cell_carcinoma,
    "ephelis": _ephelis,
    "malignant_melanoma": _malignant_melanoma,
    "melasma": _melasma,
    "nevus": _nevus,
    "seborrheic_keratosis": _seborrheic_keratosis,
    "solar_lentigo": _solar_lentigo,
}
