"""The search for duplicate and near-duplicate photographs: hashes and views propose pairs, their pixels decide."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import scipy
from threadpoolctl import threadpool_limits

from toolkit.photographs import hashes
from toolkit.photographs.alignment import LEVELS, Placement, Pyramid, align, poorest_quarter
from toolkit.photographs.changes import change, orientation, shares_shown
from toolkit.photographs.hashes import ORIENTATIONS, SIDE
from toolkit.photographs.likeness import BATCH, Look, build_index, compare_all, look_up
from toolkit.progress import Progress, silent
from toolkit.workers import spread

LONGEST = LEVELS[-1]
"""Pixels on the longer side of the pictures that are compared."""
SETTINGS: dict[str, Any] = {
    "method": 2,
    "longest": LONGEST,
    "hash_distance": 6,
    "view_likeness": 0.88,
    "most_compared": 10_000,
    "correlation": 0.7,
    "poorest_quarter": 0.5,
    "degrees": 12,
    "least_shown": 0.6,
}
"""What a search is determined by; docs/method.md says why these. `method` counts changes that no number here shows."""
THREADS = 2
PREPARED = 30_000
"""Photographs that are kept in memory prepared for comparison, some 16 kB each beside themselves."""
AT_ONCE = 250
"""Candidate pairs that are compared by one process at once, some 2 s."""
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
    shown = [pictures[number] for number in usable]
    # The linear algebra is of small matrices: its own threads would mostly wait for each other.
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(THREADS) as pool:
        cosines, whole = _features(shown, pool, progress)
        candidates = _by_hash(cosines) | _by_view(shown, whole, pool, progress)
    compared = _compared(shown, sorted(candidates.values()), progress)
    return sorted(pair._replace(first=usable[pair.first], other=usable[pair.other]) for pair in compared if pair)


def _compared(
    pictures: list[np.ndarray], candidates: list[CandidatePair], progress: Progress
) -> Iterator[DuplicatePair | None]:
    """Yield for every candidate the pair, if its pixels are alike."""
    done = 0
    for pairs in spread(_Comparison, _together(pictures, candidates)):
        yield from pairs
        done += len(pairs)
        progress("comparing possible duplicates", done, len(candidates))


def _together(
    pictures: list[np.ndarray], candidates: list[CandidatePair]
) -> Iterator[tuple[dict[int, np.ndarray], list[CandidatePair]]]:
    """Yield candidates in batches, with the pictures that each needs."""
    for begin in range(0, len(candidates), AT_ONCE):
        batch = candidates[begin : begin + AT_ONCE]
        yield {number: pictures[number] for it in batch for number in (it.first, it.other)}, batch


class _Comparison:
    """Compares the pixels of candidate pairs, batch by batch; what it has prepared of a picture, it keeps."""

    def __init__(self) -> None:
        self.pictures: dict[int, np.ndarray] = {}
        self.prepared = lru_cache(maxsize=PREPARED)(lambda number: Pyramid(self.pictures[number]))

    def __call__(self, batch: tuple[dict[int, np.ndarray], list[CandidatePair]]) -> list[DuplicatePair | None]:
        self.pictures, candidates = batch
        with threadpool_limits(1, user_api="blas"):
            return [_pair(it, self.prepared(it.first), self.prepared(it.other)) for it in candidates]


def _pair(candidate: CandidatePair, first: Pyramid, other: Pyramid) -> DuplicatePair | None:
    """Compare the pixels of a candidate pair."""
    sizes = first.picture.shape, other.picture.shape
    score, placement = align(first, other, _placement(*sizes, candidate))
    if score < SETTINGS["correlation"] or abs(orientation(placement).degrees) > SETTINGS["degrees"]:
        return None
    if min(shares_shown(*sizes, placement)) < SETTINGS["least_shown"]:
        return None
    is_masked = first.votes is not None and other.votes is not None
    if is_masked and poorest_quarter(first, other, placement) < SETTINGS["poorest_quarter"]:
        return None
    one, two, score = candidate.first, candidate.other, round(min(score, 1.0), 4)
    if one < two:
        return DuplicatePair(one, two, score, change(*sizes, placement))
    return DuplicatePair(two, one, score, change(*reversed(sizes), placement.inverse()))


def _features(
    pictures: list[np.ndarray], pool: ThreadPoolExecutor, progress: Progress
) -> tuple[np.ndarray, np.ndarray]:
    """Return each picture's low cosines, (N, LOW, LOW), and its vector, (N, 64)."""
    cosines = np.empty((len(pictures), hashes.LOW, hashes.LOW), dtype=np.float32)
    whole = np.empty((len(pictures), 64), dtype=np.float32)
    for done, squares in enumerate(pool.map(lambda picture: _squares(picture, VIEWS[:1]), pictures)):
        cosines[done], whole[done] = hashes.spectra(squares[0]), hashes.vectors(squares).ravel()
        progress("hashing photographs", done + 1, len(pictures))
    return cosines, whole


def _squares(picture: np.ndarray, views: tuple[View, ...]) -> np.ndarray:
    """Return views of a picture, (V, SIDE, SIDE)."""
    height, width = picture.shape
    blurred = scipy.ndimage.gaussian_filter(picture.astype(np.float32), max(height, width) / SIDE / 2.5)
    middle = (np.arange(SIDE, dtype=np.float32) + 0.5) / SIDE - 0.5
    y, x = np.meshgrid(middle * height, middle * width, indexing="ij")
    matrices = np.array([_rotation(view.degrees) * view.scale for view in views], dtype=np.float32)
    shifts = np.array([[view.right * width, view.down * height] for view in views], dtype=np.float32)
    places = matrices @ np.stack([x.ravel(), y.ravel()]) + shifts[:, :, None]
    down, across = places[:, 1] + (height - 1) / 2, places[:, 0] + (width - 1) / 2
    return scipy.ndimage.map_coordinates(blurred, [down, across], order=1, mode="nearest").reshape(
        len(views), SIDE, SIDE
    )


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


def _by_view(pictures: list[np.ndarray], whole: np.ndarray, pool: ThreadPoolExecutor, progress: Progress) -> Candidates:
    """Propose pairs of which one looks like a part of the other, by the view that is most alike."""
    best: dict[tuple[int, int], tuple[float, CandidatePair]] = {}
    looks = pool.map(_look(pictures, whole), range(0, len(pictures), BATCH))
    for first, look in enumerate(chain.from_iterable(looks)):
        for other, likeness, view, way in zip(*(column.tolist() for column in look), strict=True):
            key = (min(first, other), max(first, other))
            if first != other and likeness > best.get(key, (0.0,))[0]:
                best[key] = likeness, CandidatePair(first, other, view, way)
        progress("looking for crops of photographs", first + 1, len(pictures))
    return {key: candidate for key, (_, candidate) in best.items()}


def _look(pictures: list[np.ndarray], whole: np.ndarray) -> Callable[[int], list[Look]]:
    """Return the search for what looks like the views of some photographs, from one position on."""
    likeness = SETTINGS["view_likeness"]
    index = build_index(whole, likeness=likeness) if len(whole) > SETTINGS["most_compared"] else None

    def look(start: int) -> list[Look]:
        views = np.stack([hashes.vectors(_squares(picture, VIEWS)) for picture in pictures[start : start + BATCH]])
        if index is None:
            return [compare_all(own, whole, likeness=likeness) for own in views]
        return list(look_up(views, index, likeness=likeness))

    return look


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
