"""Local features of a photograph that stay the same under scale, rotation and light: SIFT (Lowe 2004), as RootSIFT.

Written with numpy and scipy: docs/decisions.md says why no library does it.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import scipy

SCALES = 3
"""Scales of an octave, from one size of the picture to half of it."""
BLUR = 1.6
"""Standard deviation of the blur at an octave's first scale, in its pixels; a picture's own is taken for 0.5."""
SMALLEST = 24
"""Pixels of an octave's shorter side, at least."""
FAINTEST = 0.004
"""Contrast of a feature, of a whole range of 1; skin has few that are strong."""
EDGE = 10.0
"""Ratio of the curvatures along and across, at most: on a line a feature has no place of its own."""
MOST = 400
"""Features of a photograph, the strongest ones."""
BINS = 36
"""Directions among which a feature's own is chosen."""
SECOND = 0.8
"""A direction this strong, of the strongest, gives a feature of its own."""
CLIP = 0.2
"""Largest share of a descriptor's length in one of its numbers, so that no single gleam decides."""


class Keypoints(NamedTuple):
    """Features of a photograph, K of them."""

    places: np.ndarray
    """x and y in pixels, (K, 2)."""
    sizes: np.ndarray
    """Standard deviation of the blur that shows it best, in pixels, (K,)."""
    angles: np.ndarray
    """Main direction of the light, in radians, (K,)."""
    descriptors: np.ndarray
    """Square roots of shares of gradients, (K, 128), each of length 1."""


class _Octave(NamedTuple):
    """One size of a picture at all its blurs, (SCALES + 3, rows, columns), and the differences of neighbouring ones."""

    blurred: np.ndarray
    differences: np.ndarray
    pixels: float
    """Pixels of the photograph per pixel of this octave."""


def keypoints(picture: np.ndarray, votes: np.ndarray | None = None) -> Keypoints:
    """Return the features of a small grayscale photograph, (rows, columns) uint8; only pixels that vote have any."""
    parts = [_described(octave, *_extrema(octave, votes)) for octave in _octaves(picture)]
    if not parts:
        return Keypoints(np.empty((0, 2)), np.empty(0), np.empty(0), np.empty((0, 128)))
    strength, *columns = (np.concatenate(column) for column in zip(*parts, strict=True))
    strongest = np.argsort(-strength, kind="stable")[:MOST]
    return Keypoints(*(column[strongest] for column in columns))


def _octaves(picture: np.ndarray) -> Iterator[_Octave]:
    base = scipy.ndimage.gaussian_filter(picture.astype(np.float32) / 255, np.sqrt(BLUR**2 - 0.5**2))
    pixels = 1.0
    while min(base.shape) >= SMALLEST:
        blurred = [base]
        for step in range(1, SCALES + 3):
            before, after = (BLUR * 2 ** (at / SCALES) for at in (step - 1, step))
            blurred.append(scipy.ndimage.gaussian_filter(blurred[-1], np.sqrt(after**2 - before**2), truncate=3))
        stack = np.stack(blurred)
        yield _Octave(stack, np.diff(stack, axis=0), pixels)
        base, pixels = blurred[SCALES][::2, ::2], 2 * pixels


def _extrema(octave: _Octave, votes: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return scale, row and column of the octave's features, (K, 3), to fractions, and their contrast."""
    dog = octave.differences
    peak = (dog == _around(dog, np.maximum)) | (dog == _around(dog, np.minimum))
    peak &= np.abs(dog) >= FAINTEST / 2
    peak[[0, -1]] = peak[:, :2] = peak[:, -2:] = peak[:, :, :2] = peak[:, :, -2:] = False
    if votes is not None:
        step = int(octave.pixels)
        peak &= votes[::step, ::step][: dog.shape[1], : dog.shape[2]]
    at = np.argwhere(peak)
    if not len(at):
        return at.astype(float), np.empty(0)
    gradient, hessian = _derivatives(dog, at)
    shift = -np.linalg.solve(hessian + 1e-9 * np.eye(3), gradient[..., None])[..., 0]
    contrast = np.abs(dog[tuple(at.T)] + 0.5 * (gradient * shift).sum(axis=1))
    trace = hessian[:, 1, 1] + hessian[:, 2, 2]
    determinant = hessian[:, 1, 1] * hessian[:, 2, 2] - hessian[:, 1, 2] ** 2
    kept = (determinant > 0) & (trace**2 * EDGE < (EDGE + 1) ** 2 * determinant)
    kept &= (np.abs(shift) < 1).all(axis=1) & (contrast >= FAINTEST)
    return (at + shift)[kept], contrast[kept]


def _around(values: np.ndarray, best: np.ufunc) -> np.ndarray:
    """Return the best of each value and its neighbours, at a third of the time of scipy's filters."""
    for axis in range(values.ndim):
        before, own = np.moveaxis(values, axis, 0), np.moveaxis(values.copy(), axis, 0)
        best(own[1:], before[:-1], out=own[1:])
        best(own[:-1], before[1:], out=own[:-1])
        values = np.moveaxis(own, 0, axis)
    return values


def _derivatives(dog: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return gradients, (K, 3), and second derivatives, (K, 3, 3), of the differences at some places."""
    near = np.empty((3, 3, 3, len(at)))
    for offset in np.ndindex(3, 3, 3):
        near[offset] = dog[tuple((at + np.array(offset) - 1).T)]
    gradient = np.stack([near[2, 1, 1] - near[0, 1, 1], near[1, 2, 1] - near[1, 0, 1], near[1, 1, 2] - near[1, 1, 0]])
    hessian = np.empty((len(at), 3, 3))
    for one in range(3):
        for other in range(3):
            hessian[:, one, other] = _second(near, one, other)
    return gradient.T / 2, hessian


def _second(near: np.ndarray, one: int, other: int) -> np.ndarray:
    unit = np.eye(3, dtype=int)
    middle = np.ones(3, dtype=int)
    if one == other:
        return near[tuple(middle + unit[one])] + near[tuple(middle - unit[one])] - 2 * near[1, 1, 1]
    signs = ((1, 1, 1), (-1, -1, 1), (1, -1, -1), (-1, 1, -1))
    return sum(sign * near[tuple(middle + a * unit[one] + b * unit[other])] for a, b, sign in signs) / 4


def _described(octave: _Octave, at: np.ndarray, strength: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return contrast, places, sizes, angles and descriptors of an octave's features, one for each main direction."""
    size = BLUR * 2 ** (at[:, 0] / SCALES)
    layer = np.rint(at[:, 0]).astype(int)
    slopes = np.zeros(octave.blurred.shape, np.complex64)
    slopes[:, :, 1:-1].real = octave.blurred[:, :, 2:] - octave.blurred[:, :, :-2]
    slopes[:, 1:-1].imag = octave.blurred[:, 2:] - octave.blurred[:, :-2]
    of, angles = _directions(slopes, at, layer, size)
    at, size, layer = at[of], size[of], layer[of]
    descriptors = _descriptors(slopes, at, layer, size, angles)
    places = at[:, :0:-1] * octave.pixels
    return strength[of], places, size * octave.pixels, angles, descriptors


def _gradients(
    slopes: np.ndarray, layer: np.ndarray, rows: np.ndarray, columns: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return size and direction of the gradient at the pixels nearest to some places, (K, P); 0 beyond the picture."""
    height, width = slopes.shape[1:3]
    y, x = np.rint(rows).astype(np.int32), np.rint(columns).astype(np.int32)
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    slope = slopes[layer[:, None], y.clip(0, height - 1), x.clip(0, width - 1)]
    return np.abs(slope) * inside, np.angle(slope)


def _directions(
    slopes: np.ndarray, at: np.ndarray, layer: np.ndarray, size: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the main directions of the light around each feature: of which feature, and the angle."""
    offsets = np.stack(np.meshgrid(*[np.linspace(-4, 4, 13)] * 2, indexing="ij")).reshape(2, -1)
    rows = at[:, 1, None] + offsets[0] * size[:, None]
    columns = at[:, 2, None] + offsets[1] * size[:, None]
    strength, direction = _gradients(slopes, layer, rows, columns)
    weight = strength * np.exp(-(offsets**2).sum(axis=0) / (2 * 1.5**2))
    place = direction % (2 * np.pi) / (2 * np.pi) * BINS
    histogram = np.zeros((len(at), BINS))
    low = np.floor(place).astype(int)
    rank = np.broadcast_to(np.arange(len(at))[:, None], low.shape)
    np.add.at(histogram, (rank, low % BINS), weight * (1 - place + low))
    np.add.at(histogram, (rank, (low + 1) % BINS), weight * (place - low))
    for _ in range(2):
        histogram = (np.roll(histogram, 1, axis=1) + histogram + np.roll(histogram, -1, axis=1)) / 3
    before, after = np.roll(histogram, 1, axis=1), np.roll(histogram, -1, axis=1)
    top = histogram.max(axis=1, keepdims=True, initial=0)
    of, peak = np.nonzero((histogram > before) & (histogram >= after) & (histogram >= SECOND * top) & (top > 0))
    one, two, three = before[of, peak], histogram[of, peak], after[of, peak]
    fraction = 0.5 * (one - three) / np.minimum(one - 2 * two + three, -1e-12)
    return of, (peak + fraction) / BINS * 2 * np.pi


def _descriptors(
    slopes: np.ndarray, at: np.ndarray, layer: np.ndarray, size: np.ndarray, angles: np.ndarray
) -> np.ndarray:
    """Return shares of gradients in 4 × 4 cells and 8 directions around each feature, as square roots, (K, 128)."""
    line = (np.arange(16) + 0.5) / 4 - 2
    v, u = (grid.ravel() for grid in np.meshgrid(line, line, indexing="ij"))
    cosine, sine = np.cos(angles)[:, None], np.sin(angles)[:, None]
    rows = at[:, 1, None] + 3 * size[:, None] * (sine * u + cosine * v)
    columns = at[:, 2, None] + 3 * size[:, None] * (cosine * u - sine * v)
    strength, direction = _gradients(slopes, layer, rows, columns)
    weight = strength * np.exp(-(u**2 + v**2) / (2 * 2.0**2))
    place = (direction - angles[:, None]) % (2 * np.pi) / (2 * np.pi) * 8
    low = np.floor(place).astype(int)
    soft = np.zeros((len(at), 256, 8), dtype=np.float32)
    rank, sample = np.indices(low.shape)
    soft[rank, sample, low % 8] = weight * (1 - place + low)
    soft[rank, sample, (low + 1) % 8] += weight * (place - low)
    cells = np.maximum(1 - np.abs(line[:, None] - (np.arange(4) - 1.5)), 0).astype(np.float32)
    whole = np.einsum("kyxd,ya,xb->kabd", soft.reshape(-1, 16, 16, 8), cells, cells, optimize=True).reshape(-1, 128)
    whole /= np.maximum(np.linalg.norm(whole, axis=1, keepdims=True), 1e-9)
    whole = np.minimum(whole, CLIP)
    return np.sqrt(whole / np.maximum(whole.sum(axis=1, keepdims=True), 1e-9))
