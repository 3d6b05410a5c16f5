"""The search for duplicate and near-duplicate photographs: hashes and views propose pairs, their pixels decide."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from toolkit.photographs import hashes
from toolkit.photographs.alignment import LEVELS, Placement, Pyramid, align, pyramid
from toolkit.photographs.changes import change, orientation
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
    """A part of a photograph: its share of width and height, how far off its middle is, how far it is rotated."""

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


class CandidatePair(NamedTuple):
    """A pair to be compared: this view of the first, laid in this orientation, looks like the other."""

    first: int
    other: int
    view: int
    orientation: int


Candidates = dict[tuple[int, int], CandidatePair]
"""By both positions, the smaller one first."""


def _views() -> tuple[View, ...]:
    """Return the whole photograph first, then rotated ones, then the parts that a crop may leave."""
    views = [View(1.0), *(View(1.0, degrees=angle) for angle in (-10.0, -5.0, 5.0, 10.0))]
    for scale, apart in ((0.95, 0.025), (0.9, 0.05), (0.85, 0.05), (0.8, 0.05)):
        offsets = np.arange(-(1 - scale) / 2, (1 - scale) / 2 + 1e-9, apart)
        views += [View(scale, float(right), float(down)) for right in offsets for down in offsets]
    return tuple(views)


VIEWS = _views()


def find(pictures: Sequence[np.ndarray], *, progress: Progress = silent) -> list[DuplicatePair]:
    """Return the pairs of duplicate pictures; grayscale, (rows, columns) uint8, LONGEST on the longer side."""
    usable = [number for number, picture in enumerate(pictures) if picture.std() >= _BLANK]
    if len(usable) < 2:
        return []
    with_views = len(usable) <= SETTINGS["most_viewed"]
    views = VIEWS if with_views else VIEWS[:1]
    cosines, vectors = _features([pictures[number] for number in usable], views, progress)
    candidates = _by_hash(cosines)
    if with_views:
        candidates |= _by_view(vectors, progress)

    @lru_cache(maxsize=1_000)
    def prepared(number: int) -> Pyramid:
        return pyramid(pictures[number])

    pairs = []
    for done, candidate in enumerate(sorted(candidates.values()), start=1):
        one, two = usable[candidate.first], usable[candidate.other]
        start = _placement(pictures[one].shape, pictures[two].shape, candidate)
        score, placement = align(prepared(one), prepared(two), start)
        is_sought = abs(orientation(placement).degrees) <= SETTINGS["degrees"]
        if score >= SETTINGS["correlation"] and is_sought:
            if one > two:
                one, two, placement = two, one, placement.inverse()
            words = change(pictures[one].shape, pictures[two].shape, placement)
            pairs.append(DuplicatePair(one, two, round(min(score, 1.0), 4), words))
        progress("comparing possible duplicates", done, len(candidates))
    return sorted(pairs)


def _features(pictures: list[np.ndarray], views: tuple[View, ...], progress: Progress) -> tuple[np.ndarray, np.ndarray]:
    """Return each picture's low cosines, (N, LOW, LOW), and the vectors of its views, (N, V, 8, 8)."""
    cosines = np.empty((len(pictures), hashes.LOW, hashes.LOW), dtype=np.float32)
    vectors = np.empty((len(pictures), len(views), 8, 8), dtype=np.float32)
    with ThreadPoolExecutor(THREADS) as pool:
        for done, squares in enumerate(pool.map(lambda picture: _squares(picture, views), pictures)):
            cosines[done], vectors[done] = hashes.spectra(squares[0]), hashes.vectors(squares)
            progress("hashing photographs", done + 1, len(pictures))
    return cosines, vectors


def _squares(picture: np.ndarray, views: tuple[View, ...]) -> np.ndarray:
    """Return views of a picture, (V, SIDE, SIDE)."""
    height, width = picture.shape
    blurred = gaussian_filter(picture.astype(np.float32), max(height, width) / SIDE / 2.5)
    middle = (np.arange(SIDE, dtype=np.float32) + 0.5) / SIDE - 0.5
    y, x = np.meshgrid(middle * height, middle * width, indexing="ij")
    matrices = np.array([_rotation(view.degrees) * view.scale for view in views], dtype=np.float32)
    shifts = np.array([[view.right * width, view.down * height] for view in views], dtype=np.float32)
    places = matrices @ np.stack([x.ravel(), y.ravel()]) + shifts[:, :, None]
    down, across = places[:, 1] + (height - 1) / 2, places[:, 0] + (width - 1) / 2
    return map_coordinates(blurred, [down, across], order=1, mode="nearest").reshape(len(views), SIDE, SIDE)


def _rotation(degrees: float) -> np.ndarray:
    angle = np.radians(degrees)
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _by_hash(cosines: np.ndarray) -> Candidates:
    """Propose pairs whose hashes are close in any orientation."""
    candidates: Candidates = {}
    oriented, upright = hashes.hashes(hashes.oriented(cosines)), hashes.hashes(cosines)
    for way in range(len(ORIENTATIONS)):
        for first, other in hashes.close_hashes(oriented[:, way], upright, distance=SETTINGS["hash_distance"]).tolist():
            if first < other:
                candidates.setdefault((first, other), CandidatePair(first, other, 0, way))
    return candidates


def _by_view(vectors: np.ndarray, progress: Progress) -> Candidates:
    """Propose pairs of which one looks like a part of the other, by the view that is most alike."""
    best: dict[tuple[int, int], tuple[float, CandidatePair]] = {}
    whole = np.ascontiguousarray(vectors[:, 0])
    for first, views in enumerate(vectors):
        close = hashes.close_views(views, whole, likeness=SETTINGS["view_likeness"])
        for other, likeness, view, way in zip(*(column.tolist() for column in close), strict=True):
            key = (min(first, other), max(first, other))
            if first != other and likeness > best.get(key, (0.0,))[0]:
                best[key] = likeness, CandidatePair(first, other, view, way)
        progress("looking for crops of photographs", first + 1, len(vectors))
    return {key: candidate for key, (_, candidate) in best.items()}


def _placement(first: tuple[int, ...], other: tuple[int, ...], candidate: CandidatePair) -> Placement:
    """Return where the other photograph lies on the first by the candidate's view; sizes are (rows, columns)."""
    view, (swap, down, right) = VIEWS[candidate.view], ORIENTATIONS[candidate.orientation]
    to_square = np.diag([1 / other[1], 1 / other[0]])
    laid = np.diag([-1.0 if right else 1.0, -1.0 if down else 1.0])
    if swap:
        laid = laid[::-1]
    size = np.diag([float(first[1]), float(first[0])])
    shift = np.array([view.right * first[1], view.down * first[0]])
    return Placement(view.scale * _rotation(view.degrees) @ size @ laid @ to_square, shift)
