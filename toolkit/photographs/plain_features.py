"""Colour, texture and shape of a case's lesion as plain numbers: nothing in them was learned from a label."""

import itertools
from collections.abc import Iterator

import numpy as np
import scipy
from PIL import Image

from toolkit.cases import Box
from toolkit.photographs.lesion_view import LesionView, lesion_view

VERSION = 1
"""Changes whenever a feature does: features of another version are measured again."""
SCALES = (0.7, 1.3, 2.4, 4.5, 8.5)
"""Blurs, as standard deviations in pixels of the view; two that follow each other leave a band of sizes."""
RINGS = (0.0, 0.3, 0.5, 0.7, 0.85, 1.0, 1.15)
"""Borders of rings around the ROI's centre, in half its sides."""
PERCENTILES = (2, 10, 30, 50, 70, 90, 98)
CHANNELS = ("darkness", "blueness", "redness")
DIRECTIONS = 36
HARMONICS = 8
NamedValues = Iterator[tuple[str, float]]


def plain_features(image: Image.Image, roi: Box | None) -> dict[str, float]:
    """Return the features of a case by name, of a photograph that is upright and in RGB; all finite."""
    view = lesion_view(image, roi)
    blurred = [view.channels]
    for before, scale in zip((0.0, *SCALES), SCALES, strict=False):
        step = (scale**2 - before**2) ** 0.5
        blurred.append(scipy.ndimage.gaussian_filter(blurred[-1], (0, step, step), truncate=3))
    features: dict[str, float] = {}
    for measured in (_colours(view, blurred[2]), _bands(view, blurred), _patterns(view, blurred)):
        features.update(measured)
    contrast = _contrast(view, view.lesion)
    dark = _darkest(view, blurred[2][0])
    for name, area in (("lesion", view.lesion), ("dark", dark)):
        features.update((f"{name} {key}", value) for key, value in _shape(view, area))
    features.update(_symmetry(view, blurred[4]))
    features["contrast"] = contrast
    finite = np.nan_to_num(np.array(list(features.values()), dtype=float), posinf=0.0, neginf=0.0)
    return dict(zip(features, finite.tolist(), strict=True))


def _contrast(view: LesionView, area: np.ndarray) -> float:
    """Return how much darker an area is than the skin."""
    inside, around = view.channels[0][area], view.channels[0][view.skin]
    return float(inside.mean() - around.mean()) if inside.size and around.size else 0.0


def _darkest(view: LesionView, darkness: np.ndarray) -> np.ndarray:
    """Return the darker half of the ROI's pixels: halfway between its palest and its darkest."""
    zone = view.seen & (view.radius < 1.2)
    low, high = np.percentile(darkness[zone], (10, 95)) if zone.any() else (0.0, 1.0)
    return zone & (darkness > (low + high) / 2)


def _colours(view: LesionView, smooth: np.ndarray) -> NamedValues:
    """Yield moments of each channel by ring and in the lesion, percentiles, and how often colours occur together."""
    areas = {
        f"ring {n}": view.seen & (view.radius >= low) & (view.radius < high)
        for n, (low, high) in enumerate(itertools.pairwise(RINGS))
    }
    inside = view.seen & (view.radius < 0.95)
    for area_name, area in (areas | {"lesion": view.lesion, "inside": inside}).items():
        values = smooth[:, area] if area.any() else np.zeros((3, 1))
        mean, deviation = values.mean(axis=1), values.std(axis=1)
        away = values - mean[:, None]
        # A product, since a power of three or four takes ten times as long.
        skewness = (away * away * away).mean(axis=1) / (deviation**3 + 1e-4)
        for n, channel in enumerate(CHANNELS):
            yield f"{channel} {area_name} mean", mean[n]
            yield f"{channel} {area_name} deviation", deviation[n]
            yield f"{channel} {area_name} skewness", skewness[n]
    own = smooth[:, inside] if inside.any() else smooth.reshape(3, -1)
    for channel, values in zip(CHANNELS, np.percentile(own, PERCENTILES, axis=1).T, strict=True):
        yield from ((f"{channel} percentile {p}", value) for p, value in zip(PERCENTILES, values, strict=True))
    edges = ((0.0, 0.12, 0.3, 0.55), (0.0, 0.12, 0.28), (-0.04, 0.03, 0.12))
    first, second, third = (np.digitize(channel, edge) for channel, edge in zip(own, edges, strict=True))
    shares = np.bincount(first * 16 + second * 4 + third, minlength=80) / own.shape[1]
    yield from ((f"colour {n}", value) for n, value in enumerate(np.sqrt(shares)))
    for n, value in enumerate(view.base):
        yield f"skin {n}", value


def _bands(view: LesionView, blurred: list[np.ndarray]) -> NamedValues:
    """Yield how much each channel varies in bands of sizes inside, at the border, against skin; dark and pale spots."""
    inside, border = view.seen & (view.radius < 0.9), view.seen & (view.radius >= 0.9) & (view.radius < 1.2)
    areas = [area if area.any() else view.seen for area in (inside, border, view.skin)]
    for scale, (finer, coarser) in enumerate(itertools.pairwise(blurred)):
        for channel, band in zip(CHANNELS, finer - coarser, strict=True):
            own, rim, skin = (band[area] for area in areas)
            square = own * own
            power = float(np.sqrt(square.mean())) + 1e-4
            name = f"{channel} band {scale}"
            yield f"{name} energy", np.log(power)
            yield f"{name} skewness", (square * own).mean() / power**3
            yield f"{name} kurtosis", np.log((square * square).mean() / power**4 + 1e-3)
            yield f"{name} against skin", np.log(power / (np.sqrt((skin**2).mean()) + 1e-3))
            if channel == CHANNELS[0]:
                yield f"{name} border", np.log(np.sqrt((rim**2).mean()) + 1e-4)
                pale, dark = np.percentile(own, (2, 98))
                yield f"{name} dark", dark
                yield f"{name} pale", pale


def _patterns(view: LesionView, blurred: list[np.ndarray]) -> NamedValues:
    """Yield local binary patterns (Ojala et al., 2002), and whether edges run around the centre, or in lines."""
    inside, border = view.seen & (view.radius < 0.9), view.seen & (view.radius >= 0.9) & (view.radius < 1.2)
    for scale, reach in ((1, 1), (2, 2), (3, 4)):
        picture = blurred[scale][0]
        ways = [(0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1)]
        above = np.array([np.roll(picture, (-y * reach, -x * reach), (0, 1)) > picture + 1e-3 for y, x in ways])
        uniform = (above != np.roll(above, 1, axis=0)).sum(axis=0) <= 2
        code = np.where(uniform, above.sum(axis=0), 9)[inside]
        shares = np.bincount(code, minlength=10) / max(code.size, 1)
        yield from ((f"pattern {reach} {n}", value) for n, value in enumerate(shares))
    length = np.maximum(view.radius, 1e-3)
    for scale in (1, 2, 4):
        down, across = np.gradient(blurred[scale][0])
        outward = (across * view.across + down * view.down) / length
        steep = across**2 + down**2
        for name, area in (("inside", inside), ("border", border)):
            total = steep[area].sum() + 1e-6
            yield f"edges {scale} {name} outward", (outward[area] ** 2).sum() / total
            yield f"edges {scale} {name} signed", outward[area].sum() / np.sqrt(total * max(area.sum(), 1))
        tensor = scipy.ndimage.gaussian_filter(
            np.stack([across**2, down**2, across * down]), (0, 2 + scale, 2 + scale), truncate=3
        )
        line = np.sqrt((tensor[0] - tensor[1]) ** 2 + 4 * tensor[2] ** 2) / (tensor[0] + tensor[1] + 1e-6)
        yield f"edges {scale} lines", line[inside].mean() if inside.any() else 0.0


def _shape(view: LesionView, area: np.ndarray) -> NamedValues:
    """Yield size, pieces, border and eccentricity of an area, and how sharp its border is."""
    pieces, count = scipy.ndimage.label(area)
    sizes = np.bincount(pieces.ravel(), minlength=2)[1:]
    total = max(int(area.sum()), 1)
    outline = area & ~scipy.ndimage.binary_erosion(area)
    steep = np.hypot(*np.gradient(scipy.ndimage.gaussian_filter(view.channels[0], 1.0, truncate=3)))
    sharpness = steep[outline].mean() if outline.any() else 0.0
    yield "area", area.mean()
    yield "pieces", np.log1p((sizes > 3).sum() if count else 0)
    yield "largest piece", sizes.max() / total
    yield "typical piece", np.log1p(np.median(sizes))
    yield "border length", outline.sum() / np.sqrt(total)
    yield "border sharpness", sharpness
    yield "border sharpness of contrast", sharpness / max(abs(_contrast(view, area)), 0.02)
    largest = pieces == 1 + sizes.argmax() if count else area
    whole = scipy.ndimage.binary_fill_holes(largest)
    yield "holes", 1 - largest.sum() / max(whole.sum(), 1)
    yield from _outline(whole)


def _outline(whole: np.ndarray) -> NamedValues:
    """Yield eccentricity, compactness and the harmonics of the border of one piece without holes."""
    rows, columns = np.nonzero(whole)
    if len(rows) < 10:
        rows, columns = np.nonzero(np.ones_like(whole))
    size, centre = len(rows), (rows.mean(), columns.mean())
    short, long = np.linalg.eigvalsh(np.cov(np.stack([columns, rows]))).clip(0.01)
    yield "eccentricity", np.sqrt(short / long)
    yield "like an ellipse", size / (4 * np.pi * np.sqrt(short * long))
    yield "off centre", np.hypot(centre[0] / len(whole) - 0.5, centre[1] / len(whole) - 0.5)
    yield "compactness", (whole & ~scipy.ndimage.binary_erosion(whole)).sum() / np.sqrt(size)
    yield "spurs", 1 - scipy.ndimage.binary_opening(whole, iterations=3).sum() / max(whole.sum(), 1)
    yield "notches", scipy.ndimage.binary_closing(whole, iterations=4).sum() / max(whole.sum(), 1) - 1
    direction = (np.arctan2(rows - centre[0], columns - centre[1]) / (2 * np.pi) * DIRECTIONS).astype(int) % DIRECTIONS
    reach = np.zeros(DIRECTIONS)
    np.maximum.at(reach, direction, np.hypot(rows - centre[0], columns - centre[1]))
    harmonics = np.abs(np.fft.rfft(reach / max(reach.mean(), 1.0)))[1 : 1 + HARMONICS] / DIRECTIONS
    yield from ((f"border harmonic {n}", value) for n, value in enumerate(harmonics, start=1))


def _symmetry(view: LesionView, smooth: np.ndarray) -> NamedValues:
    """Yield how much of darkness and colour changes when the view is mirrored or turned by half."""
    for name, channel in zip(CHANNELS[:2], smooth, strict=False):
        picture = channel * (view.radius < 1.2)
        total = (picture**2).sum() + 1e-3
        for way, other in (("across", picture[:, ::-1]), ("down", picture[::-1]), ("turned", picture[::-1, ::-1])):
            yield f"{name} asymmetry {way}", ((picture - other) ** 2).sum() / total
