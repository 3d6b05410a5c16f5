"""Alignment of two photographs: the affine placement of one on the other, and how well their pixels then correlate."""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import scipy
from PIL import Image

from toolkit.photographs.surrounds import votes

LEVELS = (32, 64, 128)
"""Pixels on the longer side: a rough placement first, the fine one decides."""
STEPS = 10
SETTLED = (5e-3, 5e-3, 1e-3)
"""Gain in score by a step, at each of LEVELS, from which on no more steps are made."""
HOPELESS = ((0.0, 0.0), (0.5, 0.5), (0.5, 0.6))
"""Scores at each of LEVELS that a pair must have at first and after a step: all copies tried have more."""
FINEST_KEPT = 4_000
"""Photographs that are kept in memory at the last of LEVELS, some 50 kB each."""
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


TILES = 4
"""In each direction: one strong outline must not decide alone, so a photograph is compared by tiles too."""


class Alignment(NamedTuple):
    """The best placement, and the normalised correlation of what both photographs show (0 where that is too little)."""

    score: float
    placement: Placement


class Level(NamedTuple):
    """A photograph's details at one size, and which of its pixels are compared; None where all are."""

    details: np.ndarray
    votes: np.ndarray | None


class Pyramid:
    """A small grayscale photograph, prepared for comparison at each of LEVELS, with and without its flat surround."""

    def __init__(self, picture: np.ndarray) -> None:
        self.picture, self.longest = picture, max(picture.shape)
        self.votes = votes(picture)
        self.rough = [_level(picture, None, size) for size in LEVELS[:-1]]
        self.inner = [_level(picture, self.votes, size) for size in LEVELS[:-1]] if self.votes is not None else []

    def level(self, number: int, *, inner: bool) -> Level:
        """Return one of LEVELS; the last one, which most photographs never need, is made when asked for."""
        if number == len(self.rough):
            return _finest(self, inner)
        return self.inner[number] if inner else self.rough[number]


@lru_cache(maxsize=FINEST_KEPT)
def _finest(photograph: Pyramid, inner: bool) -> Level:  # noqa: FBT001 - a key of the cache
    return _level(photograph.picture, photograph.votes if inner else None, LEVELS[-1])


def levels(first: Pyramid, other: Pyramid, number: int) -> tuple[Level, Level]:
    """Return both photographs at one of LEVELS, without their surrounds where both have one: these would look alike.

    A surround of one alone counts: a copy that is too bright may have one.
    """
    inner = first.votes is not None and other.votes is not None
    return first.level(number, inner=inner), other.level(number, inner=inner)


def _level(picture: np.ndarray, voting: np.ndarray | None, size: int) -> Level:
    if voting is not None:
        voting = _resized(np.uint8(255) * voting, size) > 254
    return Level(details(_resized(picture, size), voting), voting)


def _resized(picture: np.ndarray, longest: int) -> np.ndarray:
    scale = longest / max(picture.shape)
    if scale >= 1:
        return picture.astype(np.float32)
    height, width = (max(round(side * scale), 2 * MARGIN + 4) for side in picture.shape)
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BOX), dtype=np.float32)


def details(picture: np.ndarray, voting: np.ndarray | None = None) -> np.ndarray:
    """Return a picture without light and shade, its details of the same strength everywhere; 0 where it has no vote.

    Skin is smooth: light falling off, or the outline of a dark lesion, would correlate between any two photographs.
    """
    weights = None if voting is None else voting.astype(np.float32)
    fine = _blurred(picture, _SMOOTH, weights)
    fine -= _blurred(fine, _COARSE, weights)
    strength = fine / np.sqrt(_blurred(fine**2, _AROUND, weights) + _QUIET**2)
    return strength if weights is None else strength * weights


def _blurred(picture: np.ndarray, width: float, weights: np.ndarray | None) -> np.ndarray:
    """Blur a picture by what has a vote in it alone, so that the edge of a mask leaves no trace."""
    if weights is None:
        return scipy.ndimage.gaussian_filter(picture, width)
    return scipy.ndimage.gaussian_filter(picture * weights, width) / np.maximum(
        scipy.ndimage.gaussian_filter(weights, width), 1e-6
    )


def align(first: Pyramid, other: Pyramid, placement: Placement) -> Alignment:
    """Return the best placement near the given one; both are of the pictures' own pixels. Hopeless pairs score 0."""
    best = Alignment(0.0, placement)
    for number in range(len(LEVELS)):
        one, two = levels(first, other, number)
        scales = max(one.details.shape) / first.longest, max(two.details.shape) / other.longest
        best = _refined(one, two, best.placement.scaled(*scales), number)
        if best.score < HOPELESS[number][-1]:
            return Alignment(0.0, placement)
        best = Alignment(best.score, best.placement.scaled(1 / scales[0], 1 / scales[1]))
    return best


def _refined(one: Level, two: Level, placement: Placement, number: int) -> Alignment:
    """Improve a placement by Gauss–Newton steps over all affine ones.

    Gradients of both pictures are averaged (Malis 2004), so that few steps are needed.
    """
    other = two.details
    height, width = other.shape
    needed = SMALLEST_OVERLAP * (other.size if two.votes is None else two.votes.sum())
    y, x = np.mgrid[:height, :width].astype(np.float32)
    y, x = y - (height - 1) / 2, x - (width - 1) / 2
    gradient = np.gradient(other)
    best = Alignment(0.0, placement)
    for step_number in range(STEPS):
        warped, overlap = _warped(one.details, placement, x, y)
        if one.votes is not None and two.votes is not None:
            overlap &= two.votes & _warped_votes(one.votes, placement, x, y)
        overlap[:MARGIN] = overlap[-MARGIN:] = overlap[:, :MARGIN] = overlap[:, -MARGIN:] = False
        if overlap.sum() < max(needed, 1):
            break
        score, step = _step(warped, other, gradient, overlap, x, y)
        gain = score - best.score
        if gain > 0:
            best = Alignment(score, placement)
            if gain < SETTLED[number]:
                break
        elif gain < -0.1:
            break
        if step_number < len(HOPELESS[number]) and best.score < HOPELESS[number][step_number]:
            return Alignment(0.0, best.placement)
        matrix = placement.matrix @ (np.eye(2) + step[:, :2])
        placement = Placement(matrix, placement.shift + placement.matrix @ step[:, 2])
    return best


def poorest_quarter(first: Pyramid, other: Pyramid, placement: Placement) -> float:
    """Return the correlation that a quarter of the other photograph's tiles do not reach; 0 where none can be compared.

    Only tiles count of which at least half is compared.
    """
    one, two = levels(first, other, len(LEVELS) - 1)
    height, width = two.details.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    placement = placement.scaled(max(one.details.shape) / first.longest, max(height, width) / other.longest)
    places = placement, x - (width - 1) / 2, y - (height - 1) / 2
    warped, overlap = _warped(one.details, *places)
    if one.votes is not None and two.votes is not None:
        overlap &= two.votes & _warped_votes(one.votes, *places)
    tile = np.floor(y * TILES / height) * TILES + np.floor(x * TILES / width)
    inside = [tile == number for number in range(TILES**2)]
    compared = [overlap & where for where in inside if 2 * (overlap & where).sum() >= where.sum()]
    correlations = [_correlation(warped[where], two.details[where]) for where in compared]
    return float(np.quantile(correlations, 0.25)) if correlations else 0.0


def _correlation(one: np.ndarray, two: np.ndarray) -> float:
    one, two = one - one.mean(), two - two.mean()
    norms = math.sqrt(float(one @ one) * float(two @ two))
    return float(one @ two) / norms if norms > 1e-6 else 0.0


def _places(shape: tuple[int, ...], placement: Placement, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return rows and columns of the first picture at the other's pixels."""
    (a, b), (c, d) = placement.matrix
    across = a * x + b * y + (placement.shift[0] + (shape[1] - 1) / 2)
    return c * x + d * y + (placement.shift[1] + (shape[0] - 1) / 2), across


def _warped_votes(votes: np.ndarray, placement: Placement, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return scipy.ndimage.map_coordinates(votes, _places(votes.shape, placement, x, y), order=0, mode="nearest")


def _warped(first: np.ndarray, placement: Placement, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first picture at the other's pixels, and which of these lie on it."""
    height, width = first.shape
    down, across = _places(first.shape, placement, x, y)
    inside = (across >= MARGIN) & (across <= width - 1 - MARGIN) & (down >= MARGIN) & (down <= height - 1 - MARGIN)
    return scipy.ndimage.map_coordinates(first, [down, across], order=1, mode="nearest"), inside


def _step(
    warped: np.ndarray, other: np.ndarray, gradient: list[np.ndarray], overlap: np.ndarray, x: np.ndarray, y: np.ndarray
) -> tuple[float, np.ndarray]:
    """Return the correlation at this placement, and the affine step, (2, 3), that brings the pictures closer."""
    compared = np.flatnonzero(overlap)
    one, two = warped.ravel()[compared], other.ravel()[compared]
    one, two = one - one.mean(), two - two.mean()
    norm, other_norm = math.sqrt(float(one @ one)), math.sqrt(float(two @ two))
    if norm < 1e-6 or other_norm < 1e-6:
        return 0.0, np.zeros((2, 3))
    across, down = x.ravel()[compared], y.ravel()[compared]
    jacobian = np.empty((6, len(compared)), dtype=np.float32)
    for row, own, others in zip((5, 2), np.gradient(warped), gradient, strict=True):
        slope = own.ravel()[compared] / (2 * norm) + others.ravel()[compared] / (2 * other_norm)
        jacobian[row - 2], jacobian[row - 1], jacobian[row] = slope * across, slope * down, slope
    residual = two / other_norm - one / norm
    step = np.linalg.lstsq(jacobian @ jacobian.T, jacobian @ residual, rcond=1e-7)[0].reshape(2, 3)
    reach = max(x.max(), y.max())
    farthest = np.abs(step * [reach, reach, 1]).max()
    return float(one @ two) / (norm * other_norm), step * min(1.0, 0.2 * reach / max(float(farthest), 1e-9))
