"""Which of many photographs show the same: hashes and views propose pairs, their pixels decide.

Refuses to know patients and files: small grey pictures come in, pairs of positions go out.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from toolkit.photographs import hashes
from toolkit.photographs.alignment import LEVELS, Placement, Pyramid, align
from toolkit.photographs.hashes import ORIENTATIONS, SIDE
from toolkit.progress import Progress, silent

LONGEST = LEVELS[-1]
"""Pixels on the longer side of the pictures that are compared."""
SETTINGS: dict[str, Any] = {
    "method": 1,
    "longest": LONGEST,
    "hash_distance": 6,
    "view_likeness": 0.88,
    "most_viewed": 30_000,
    "correlation": 0.7,
    "degrees": 12,
}
"""What a search is determined by; docs/method.md says why these. `method` counts changes that no number here shows."""
THREADS = 2
_BLANK = 1.0
"""Grey levels of standard deviation under which there is nothing to compare."""


class View(NamedTuple):
    """A part of a photograph: its share of width and height, how far off its middle is, how far it is turned."""

    scale: float
    right: float = 0.0
    down: float = 0.0
    degrees: float = 0.0


class DuplicatePair(NamedTuple):
    """Two photographs by position, how alike they are (normalised correlation), and how the other was changed."""

    first: int
    other: int
    score: float
    change: str


class Orientation(NamedTuple):
    """Whether a photograph is mirrored, by how many quarters it is turned then, and by how many degrees beyond."""

    mirrored: bool
    quarters: int
    degrees: float


class CandidatePair(NamedTuple):
    """A pair to be compared: this view of the first, laid in this orientation, looks like the other."""

    first: int
    other: int
    view: int
    orientation: int


def _views() -> tuple[View, ...]:
    """Return the whole photograph first, then turned ones, then the parts that a cut may leave."""
    found = [View(1.0), *(View(1.0, degrees=angle) for angle in (-10.0, -5.0, 5.0, 10.0))]
    for scale, apart in ((0.95, 0.025), (0.9, 0.05), (0.85, 0.05), (0.8, 0.05)):
        offsets = np.arange(-(1 - scale) / 2, (1 - scale) / 2 + 1e-9, apart)
        found += [View(scale, float(right), float(down)) for right in offsets for down in offsets]
    return tuple(found)


VIEWS = _views()


def find(pictures: Sequence[np.ndarray], *, progress: Progress = silent) -> list[DuplicatePair]:
    """Return the pairs of pictures that show the same; grey, (rows, columns) uint8, LONGEST on the longer side."""
    told = [number for number, picture in enumerate(pictures) if picture.std() >= _BLANK]
    if len(told) < 2:
        return []
    viewed = len(told) <= SETTINGS["most_viewed"]
    lows, vectors = _looked_at([pictures[number] for number in told], VIEWS if viewed else VIEWS[:1], progress)
    proposals = _by_hash(lows)
    if viewed:
        proposals = _by_view(vectors, proposals, progress)

    @lru_cache(maxsize=1_000)
    def levels(number: int) -> Pyramid:
        return Pyramid(pictures[number])

    found = []
    for done, each in enumerate(sorted(proposals.values()), start=1):
        one, two = told[each.first], told[each.other]
        placement = _placement(pictures[one].shape, pictures[two].shape, each)
        alignment = align(levels(one), levels(two), placement)
        is_sought = abs(_turned(alignment.placement).degrees) <= SETTINGS["degrees"]
        if alignment.score >= SETTINGS["correlation"] and is_sought:
            found.append(_pair(one, two, pictures, alignment.score, alignment.placement))
        progress("comparing photographs that look alike", done, len(proposals))
    return sorted(found)


def _looked_at(
    pictures: list[np.ndarray], views: tuple[View, ...], progress: Progress
) -> tuple[np.ndarray, np.ndarray]:
    """Return each picture's low cosines, (N, LOW, LOW), and the vectors of its views, (N, V, 8, 8)."""
    lows = np.empty((len(pictures), hashes.LOW, hashes.LOW), dtype=np.float32)
    vectors = np.empty((len(pictures), len(views), 8, 8), dtype=np.float32)
    with ThreadPoolExecutor(THREADS) as pool:
        for done, squares in enumerate(pool.map(lambda picture: _seen(picture, views), pictures)):
            lows[done], vectors[done] = hashes.spectra(squares[0]), hashes.vectors(squares)
            progress("looking at parts of photographs", done + 1, len(pictures))
    return lows, vectors


def _seen(picture: np.ndarray, views: tuple[View, ...]) -> np.ndarray:
    """Return views of a picture, (V, SIDE, SIDE)."""
    height, width = picture.shape
    blurred = gaussian_filter(picture.astype(np.float32), max(height, width) / SIDE / 2.5)
    middle = (np.arange(SIDE, dtype=np.float32) + 0.5) / SIDE - 0.5
    y, x = np.meshgrid(middle * height, middle * width, indexing="ij")
    turns = np.array([_rotation(view.degrees) * view.scale for view in views], dtype=np.float32)
    shifts = np.array([[view.right * width, view.down * height] for view in views], dtype=np.float32)
    places = turns @ np.stack([x.ravel(), y.ravel()]) + shifts[:, :, None]
    down, across = places[:, 1] + (height - 1) / 2, places[:, 0] + (width - 1) / 2
    return map_coordinates(blurred, [down, across], order=1, mode="nearest").reshape(len(views), SIDE, SIDE)


def _rotation(degrees: float) -> np.ndarray:
    angle = np.radians(degrees)
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _by_hash(low: np.ndarray) -> dict[tuple[int, int], CandidatePair]:
    """Propose pairs whose hashes are close in any orientation."""
    found = {}
    turned, plain = hashes.hashes(hashes.oriented(low)), hashes.hashes(low)
    for way in range(len(ORIENTATIONS)):
        for first, other in hashes.close_hashes(turned[:, way], plain, distance=SETTINGS["hash_distance"]).tolist():
            if first < other:
                found.setdefault((first, other), CandidatePair(first, other, 0, way))
    return found


def _by_view(
    vectors: np.ndarray, proposals: dict[tuple[int, int], CandidatePair], progress: Progress
) -> dict[tuple[int, int], CandidatePair]:
    """Propose pairs of which one looks like a part of the other, by the view that is most alike."""
    best: dict[tuple[int, int], tuple[float, CandidatePair]] = {}
    plain = np.ascontiguousarray(vectors[:, 0])
    for first, views in enumerate(vectors):
        found = hashes.close_views(views, plain, likeness=SETTINGS["view_likeness"])
        for other, likeness, view, way in zip(*(column.tolist() for column in found), strict=True):
            key = (min(first, other), max(first, other))
            if first != other and likeness > best.get(key, (0.0,))[0]:
                best[key] = likeness, CandidatePair(first, other, view, way)
        progress("looking for parts of photographs in others", first + 1, len(vectors))
    return proposals | {key: proposal for key, (_, proposal) in best.items()}


def _placement(first: tuple[int, ...], other: tuple[int, ...], proposal: CandidatePair) -> Placement:
    """Return where the other photograph lies on the first, as the proposal has it; sizes are (rows, columns)."""
    view, (swap, down, right) = VIEWS[proposal.view], ORIENTATIONS[proposal.orientation]
    to_square = np.diag([1 / other[1], 1 / other[0]])
    laid = np.diag([-1.0 if right else 1.0, -1.0 if down else 1.0])
    if swap:
        laid = laid[::-1]
    size = np.diag([float(first[1]), float(first[0])])
    shift = np.array([view.right * first[1], view.down * first[0]])
    return Placement(view.scale * _rotation(view.degrees) @ size @ laid @ to_square, shift)


def _pair(one: int, two: int, pictures: Sequence[np.ndarray], score: float, placement: Placement) -> DuplicatePair:
    """Return a pair in order of position."""
    if one > two:
        one, two = two, one
        back = np.linalg.inv(placement.turn)
        placement = Placement(back, -back @ placement.shift)
    return DuplicatePair(
        one, two, round(min(score, 1.0), 4), _change(pictures[one].shape, pictures[two].shape, placement)
    )


def _turned(placement: Placement) -> Orientation:
    """Return how the other photograph is turned against the first."""
    back = np.linalg.inv(placement.turn)
    mirrored = bool(np.linalg.det(back) < 0)
    turned = back @ np.diag([-1.0, 1.0]) if mirrored else back
    degrees = np.degrees(np.arctan2(turned[1, 0] - turned[0, 1], turned[0, 0] + turned[1, 1]))
    quarters = round(degrees / 90)
    return Orientation(mirrored, quarters % 4, float(degrees - 90 * quarters))


def _change(first: tuple[int, ...], other: tuple[int, ...], placement: Placement) -> str:
    """Say how the other photograph is turned or cut against the first."""
    back = np.linalg.inv(placement.turn)
    mirrored, quarters, rest = _turned(placement)
    said = ["mirrored"] if mirrored else []
    if quarters:
        said.append(f"turned by {90 * quarters}°")
    if abs(rest) >= 1:
        said.append(f"rotated by {abs(rest):.0f}°")
    there, kept = _shown(other, first, placement), _shown(first, other, Placement(back, -back @ placement.shift))
    whole = 0.95 - 0.008 * abs(rest)  # a turn alone moves some of either out of sight
    if kept < whole <= there:
        said.append(f"cut to {100 * kept:.0f} % of it")
    elif there < whole <= kept:
        said.append(f"{100 * there:.0f} % of it is the whole first")
    elif there < whole:
        said.append(f"{100 * kept:.0f} % of the first and {100 * there:.0f} % of the other overlap")
    return ", ".join(said) or "saved anew"


def _shown(size: tuple[int, ...], on: tuple[int, ...], placement: Placement) -> float:
    """Return which share of one photograph's area falls on the other."""
    y, x = (((np.arange(40) + 0.5) / 40 - 0.5) * side for side in size)
    points = np.stack(np.meshgrid(x, y), axis=-1) @ placement.turn.T + placement.shift
    return float((np.abs(points) <= np.array([on[1], on[0]]) / 2).all(axis=-1).mean())
