"""Alignment of two photographs: the affine placement of one on the other, and how well their pixels then correlate."""

import math
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates

LEVELS = (32, 128)
"""Pixels on the longer side: a rough placement first, the fine one decides."""
STEPS = 10
MARGIN = 4
"""Pixels at the edges that are not compared: blurring brought in what lies outside, such as a filled corner."""
SMALLEST_OVERLAP = 0.4
"""Share of the other photograph; pairs with less in common score 0."""
_SMOOTH, _COARSE, _AROUND = 1.2, 4.0, 5.0
"""Pixels: details are between the first two, and as strong as around them."""
_QUIET = 1.0
"""Grey levels: weaker details are noise, and stay weak."""


class Placement(NamedTuple):
    """Where the other photograph lies on the first: its (x, y), from the middle, become matrix · (x, y) + shift."""

    matrix: np.ndarray
    shift: np.ndarray

    def scaled(self, first: float, other: float) -> "Placement":
        """Return the same placement of photographs whose sides are this many times as long."""
        return Placement(self.matrix * (first / other), self.shift * first)

    def inverse(self) -> "Placement":
        """Return where the first photograph lies on the other."""
        matrix = np.linalg.inv(self.matrix)
        return Placement(matrix, -matrix @ self.shift)


class Alignment(NamedTuple):
    """The best placement, and the normalised correlation of what both photographs show (0 where that is too little)."""

    score: float
    placement: Placement


class Pyramid(NamedTuple):
    """A small grayscale photograph, prepared for comparison: its longer side, and its details at each of LEVELS."""

    longest: int
    levels: list[np.ndarray]


def pyramid(picture: np.ndarray) -> Pyramid:
    """Prepare a photograph for comparison."""
    return Pyramid(max(picture.shape), [details(_resized(picture, level)) for level in LEVELS])


def _resized(picture: np.ndarray, longest: int) -> np.ndarray:
    scale = longest / max(picture.shape)
    if scale >= 1:
        return picture.astype(np.float32)
    height, width = (max(round(side * scale), 2 * MARGIN + 4) for side in picture.shape)
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BOX), dtype=np.float32)


def details(picture: np.ndarray) -> np.ndarray:
    """Return a picture without light and shade, its details of the same strength everywhere.

    Skin is smooth: light falling off, or the outline of a dark lesion, would correlate between any two photographs.
    """
    fine = gaussian_filter(picture, _SMOOTH)
    fine -= gaussian_filter(fine, _COARSE)
    return fine / np.sqrt(gaussian_filter(fine**2, _AROUND) + _QUIET**2)


def align(first: Pyramid, other: Pyramid, placement: Placement) -> Alignment:
    """Return the best placement near the given one; both are of the pictures' own pixels."""
    score = 0.0
    for one, two in zip(first.levels, other.levels, strict=True):
        scales = max(one.shape) / first.longest, max(two.shape) / other.longest
        score, refined = _refined(one, two, placement.scaled(*scales))
        placement = refined.scaled(1 / scales[0], 1 / scales[1])
    return Alignment(score, placement)


def _refined(first: np.ndarray, other: np.ndarray, placement: Placement) -> Alignment:
    """Improve a placement by Gauss–Newton steps over all affine ones.

    Gradients of both pictures are averaged (Malis 2004), so that few steps are needed.
    """
    height, width = other.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    y, x = y - (height - 1) / 2, x - (width - 1) / 2
    gradient = np.gradient(other)
    best = Alignment(0.0, placement)
    for _ in range(STEPS):
        warped, overlap = _warped(first, placement, x, y)
        overlap[:MARGIN] = overlap[-MARGIN:] = overlap[:, :MARGIN] = overlap[:, -MARGIN:] = False
        if overlap.sum() < SMALLEST_OVERLAP * overlap.size:
            break
        score, step = _step(warped, other, gradient, overlap, x, y)
        gain = score - best.score
        if gain > 0:
            best = Alignment(score, placement)
            if gain < 1e-3:
                break
        elif gain < -0.1:
            break
        matrix = placement.matrix @ (np.eye(2) + step[:, :2])
        placement = Placement(matrix, placement.shift + placement.matrix @ step[:, 2])
    return best


def _warped(first: np.ndarray, placement: Placement, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first picture at the other's pixels, and which of these lie on it."""
    height, width = first.shape
    (a, b), (c, d) = placement.matrix
    across = a * x + b * y + (placement.shift[0] + (width - 1) / 2)
    down = c * x + d * y + (placement.shift[1] + (height - 1) / 2)
    inside = (across >= MARGIN) & (across <= width - 1 - MARGIN) & (down >= MARGIN) & (down <= height - 1 - MARGIN)
    return map_coordinates(first, [down, across], order=1, mode="nearest"), inside


def _step(
    warped: np.ndarray, other: np.ndarray, gradient: list[np.ndarray], overlap: np.ndarray, x: np.ndarray, y: np.ndarray
) -> tuple[float, np.ndarray]:
    """Return the correlation at this placement, and the affine step, (2, 3), that brings the pictures closer."""
    one, two = warped[overlap], other[overlap]
    one, two = one - one.mean(), two - two.mean()
    norm, other_norm = math.sqrt(float(one @ one)), math.sqrt(float(two @ two))
    if norm < 1e-6 or other_norm < 1e-6:
        return 0.0, np.zeros((2, 3))
    by_y, by_x = (
        (own[overlap] / norm + others[overlap] / other_norm) / 2
        for own, others in zip(np.gradient(warped), gradient, strict=True)
    )
    across, down = x[overlap], y[overlap]
    jacobian = np.stack([by_x * across, by_x * down, by_x, by_y * across, by_y * down, by_y], axis=1)
    residual = two / other_norm - one / norm
    step = np.linalg.lstsq(jacobian.T @ jacobian, jacobian.T @ residual, rcond=1e-7)[0].reshape(2, 3)
    reach = max(x.max(), y.max())
    farthest = np.abs(step * [reach, reach, 1]).max()
    return float(one @ two) / (norm * other_norm), step * min(1.0, 0.2 * reach / max(float(farthest), 1e-9))
