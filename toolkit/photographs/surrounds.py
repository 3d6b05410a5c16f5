"""The flat surround of a photograph: blackened ground, a frame, the dark around a dermoscope's circle.

Photographs masked alike look alike by their masks, so a surround is cut off, and what remains of it is not compared.
"""

import math

import numpy as np
import scipy
from PIL import Image

from toolkit.photographs.opening import LONGEST_ASPECT, grayscale_thumbnail

STEEPEST = 3
"""Grey levels between a pixel of a surround and its neighbours, after smoothing; resizing and JPEG leave some."""
WIDEST = 8
"""Grey levels between the darkest and the brightest twentieth of a surround: smooth skin has more light and shade."""
SMALLEST = 0.01
"""Share of the photograph; smaller flat areas are not noticed."""
LARGEST = 0.995
"""Share of the photograph; if more is flat, it is blank."""
OPEN_EDGE = 0.1
"""Share of the edge; where more is not flat, nothing is cut off."""
RAGGED = 0.4
"""Share of what would be left; where less is not flat, nothing is cut off."""
FINEST = 1024
"""Pixels on the longer side to which a photograph is opened, at most, to see what its surround leaves."""
LEAST_SURROUND = 0.05
"""Share of the photograph; a smaller surround is compared like the rest."""
EDGE = 5
"""Pixels at a surround that are not compared: a mask may be soft, and resizing blurs it."""


def surround(picture: np.ndarray) -> np.ndarray:
    """Return which pixels of a small grayscale photograph are a flat area at its edge, (rows, columns) bool."""
    smooth = scipy.ndimage.gaussian_filter(picture.astype(np.float32), 0.7)
    flat = scipy.ndimage.maximum_filter(smooth, 3) - scipy.ndimage.minimum_filter(smooth, 3) <= STEEPEST
    areas, _ = scipy.ndimage.label(flat)
    large = np.flatnonzero(np.bincount(areas.ravel()) >= SMALLEST * picture.size)
    at_edge = np.unique(np.concatenate([areas[0], areas[-1], areas[:, 0], areas[:, -1]]))
    around = np.zeros(picture.shape, dtype=bool)
    for area in np.intersect1d(at_edge, large[large > 0]):
        pixels = areas == area
        low, high = np.quantile(smooth[pixels], (0.05, 0.95))
        if high - low <= WIDEST:
            around |= pixels
    return around if around.mean() <= LARGEST else np.zeros_like(around)


def votes(picture: np.ndarray) -> np.ndarray | None:
    """Return which pixels are of no surround, and not at its blurred edge; None where there is hardly a surround."""
    around = surround(picture)
    if around.mean() < LEAST_SURROUND:
        return None
    return scipy.ndimage.binary_erosion(~around, iterations=EDGE, border_value=1)


def comparable_thumbnail(content: bytes, *, longest: int) -> np.ndarray:
    """Return a small grayscale photograph, (rows, columns) uint8, without the flat surround that can be cut off."""
    picture = grayscale_thumbnail(content, longest=longest)
    sides = _inner(picture)
    width, height = sides[2:] - sides[:2]
    is_thin = max(width, height) > LONGEST_ASPECT * min(width, height)
    if (height, width) == picture.shape or is_thin:
        return picture
    finer = min(math.ceil(longest**2 / max(width, height)), FINEST)
    larger = Image.fromarray(grayscale_thumbnail(content, longest=finer))
    scale = np.array(larger.size * 2) / np.array(picture.shape[::-1] * 2)
    cut = larger.crop(tuple(np.round(sides * scale).astype(int).tolist()))
    size = [max(round(side * longest / max(cut.size)), 1) for side in cut.size]
    return np.asarray(cut.resize((size[0], size[1]), Image.Resampling.BICUBIC))


def _inner(picture: np.ndarray) -> np.ndarray:
    """Return left, top, right and bottom of what a surround leaves; the last two are beyond.

    A surround on some sides alone, or in shreds, is left: it may be light that is too bright, in one of two copies.
    """
    inner = ~surround(picture)
    rows, columns = np.flatnonzero(inner.any(axis=1)), np.flatnonzero(inner.any(axis=0))
    left, top, right, bottom = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    is_open = np.concatenate([inner[0], inner[-1], inner[1:-1, 0], inner[1:-1, -1]]).mean() > OPEN_EDGE
    is_ragged = inner[top:bottom, left:right].mean() < RAGGED
    return np.array([0, 0, *inner.shape[::-1]] if is_open or is_ragged else [left, top, right, bottom])
