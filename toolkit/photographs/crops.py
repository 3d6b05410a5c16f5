"""Crops of cases as a model sees them: cut around the ROI, resized, decoded ahead and cached in memory."""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
from PIL import Image

from toolkit.cases import Box
from toolkit.errors import PhotographError, WorkspaceError
from toolkit.manifest.model import RoiShape
from toolkit.photographs.opening import open_photograph, read_parsed
from toolkit.progress import Progress

GREY = 128
"""Grey level of a blank photograph."""
CACHE_BYTES = 2 * 1024**3
"""Memory that decoded crops may take while training."""
Item = TypeVar("Item")
Bounds = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels; the last two are beyond."""
THREADS = 4
AHEAD = 2
"""Batches that are decoded while one is scored."""


def crop(image: Image.Image, roi: Box | None, *, margin: float) -> Image.Image:
    """Return the crop of a ROI with `margin` of its size added on every side, within the photograph."""
    return image if roi is None else image.crop(bounds(image, roi, margin=margin))


def bounds(image: Image.Image, roi: Box, *, margin: float) -> Bounds:
    """Return left, top, right, bottom of a ROI with `margin` of its size added on every side, within the photograph."""
    return _within(image, _with_margin(roi, margin))


def square(image: Image.Image, roi: Box | None, *, margin: float) -> Image.Image:
    """Return the smallest square around a ROI with its margin, or around the photograph: nothing in it is distorted.

    It shows what surrounds the ROI in the photograph; beyond the photograph it has the mean colour of the rest.
    """
    left, top, right, bottom = _square(image, roi, margin)
    visible = image.crop(_within(image, (left, top, right, bottom)))
    if visible.size == (right - left, bottom - top):
        return visible
    padded = Image.new("RGB", (right - left, bottom - top), _colour(np.asarray(visible).mean(axis=(0, 1))))
    padded.paste(visible, (max(-left, 0), max(-top, 0)))
    return padded


def _square(image: Image.Image, roi: Box | None, margin: float) -> Bounds:
    """Return the sides of that square, which may lie beyond the photograph."""
    left, top, right, bottom = _with_margin(roi, margin) if roi else (0, 0, image.width, image.height)
    side = max(right - left, bottom - top)
    left, top = left - (side - right + left) // 2, top - (side - bottom + top) // 2
    return left, top, left + side, top + side


def _with_margin(roi: Box, margin: float) -> Bounds:
    across, down = roi.width * margin, roi.height * margin
    ends = roi.left + roi.width + across, roi.top + roi.height + down
    return (
        int(np.floor(roi.left - across)),
        int(np.floor(roi.top - down)),
        int(np.ceil(ends[0])),
        int(np.ceil(ends[1])),
    )


def _within(image: Image.Image, sides: Bounds) -> Bounds:
    left, top = max(sides[0], 0), max(sides[1], 0)
    return left, top, max(min(sides[2], image.width), left + 1), max(min(sides[3], image.height), top + 1)


def _colour(mean: np.ndarray) -> tuple[int, int, int]:
    red, green, blue = (round(float(channel)) for channel in mean)
    return red, green, blue


def case_pixels(content: bytes, roi: Box | None, *, margin: float, size: int, shape: RoiShape = "squash") -> np.ndarray:
    """Return a case's crop as the model sees it: (size, size, 3) uint8, bicubic."""
    return resized(cut(open_photograph(content), roi, margin=margin, shape=shape), size)


def cut(image: Image.Image, roi: Box | None, *, margin: float, shape: RoiShape) -> Image.Image:
    """Return what of a photograph a model sees, at the photograph's own resolution."""
    return square(image, roi, margin=margin) if shape == "pad" else crop(image, roi, margin=margin)


def resized(seen: Image.Image, size: int) -> np.ndarray:
    """Return a crop at the size that a model reads, (size, size, 3) uint8, bicubic."""
    return np.asarray(seen.resize((size, size), Image.Resampling.BICUBIC))


def border_pixels(
    content: bytes, roi: Box | None, *, margin: float, size: int, shape: RoiShape = "squash"
) -> np.ndarray:
    """Return a case's crop with its ROI filled in the mean colour of its surroundings."""
    image = open_photograph(content)
    if roi is None:
        return np.full((size, size, 3), GREY, np.uint8)
    outer = _within(image, _square(image, roi, margin)) if shape == "pad" else bounds(image, roi, margin=margin)
    whole, inner = (np.asarray(image.crop(sides), np.int64) for sides in (outer, bounds(image, roi, margin=0)))
    around = whole.shape[0] * whole.shape[1] - inner.shape[0] * inner.shape[1]
    rest = (whole.sum(axis=(0, 1)) - inner.sum(axis=(0, 1))) / around if around else np.full(3, GREY)
    image.paste(_colour(rest), bounds(image, roi, margin=0))
    return resized(cut(image, roi, margin=margin, shape=shape), size)


PixelReader = Callable[..., np.ndarray]
"""Returns a case's pixels: `case_pixels`, or `border_pixels`."""
DIHEDRAL = 8
"""Orientations of a square photograph."""


def dihedral(photograph: np.ndarray, variant: int) -> np.ndarray:
    """Return a square photograph in one of its eight orientations: 0 to 3 quarter turns, then their mirror images."""
    rotated = np.rot90(photograph, variant % 4)
    return rotated[:, ::-1] if variant >= 4 else rotated


class Photographs(Protocol):
    """Photographs by number, (S, S, 3) uint8 each: an array (N, S, S, 3), or crops that are decoded when asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> np.ndarray: ...


class CropSource(NamedTuple):
    """The photograph and ROI of a case; errors name the case, since a file's name may hold a patient's."""

    case_id: str
    path: Path
    roi: Box | None
    sha256: str | None = None
    """Of the file that was parsed; None where it is not known."""


class Crops:
    """The crops of cases, (size, size, 3) uint8 each, decoded when first asked for.

    Up to `keep` bytes of them stay in memory, so that not every epoch decodes every photograph.
    """

    def __init__(
        self,
        sources: list[CropSource],
        *,
        margin: float,
        size: int,
        keep: int = CACHE_BYTES,
        read: PixelReader = case_pixels,
    ) -> None:
        self.sources, self.margin, self.size, self.read = sources, margin, size, read
        self.capacity = keep // (size * size * 3)
        self.cache: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, index: int) -> np.ndarray:
        if index in self.cache:
            return self.cache[index]
        source = self.sources[index]
        with _usable(source):
            pixels = self.read(self.content(index), source.roi, margin=self.margin, size=self.size)
        if len(self.cache) < self.capacity:
            self.cache[index] = pixels
        return pixels

    def content(self, index: int) -> bytes:
        """Return the bytes of a case's photograph; raise DamagedError where they are not those that were parsed."""
        source = self.sources[index]
        with _usable(source):
            return read_parsed(source.path, source.sha256, name=f"case {source.case_id}")

    def load(self, progress: Progress) -> None:
        """Decode as many crops as the cache holds, several at a time."""
        first = range(min(len(self), self.capacity))
        with ThreadPoolExecutor(THREADS) as pool:
            for done, _ in enumerate(pool.map(self.__getitem__, first), start=1):
                progress("cropping photographs", done, len(first))


@contextmanager
def _usable(source: CropSource) -> Generator[None]:
    """Name the case of a photograph that cannot be read or decoded any more."""
    try:
        yield
    except PhotographError as error:
        problem = f"the photograph can no longer be used: {error.problem}"
        remedy = "put it back, or parse again: its case is then excluded"
        raise WorkspaceError(problem, place=f"case {source.case_id}", remedy=remedy) from None


def batches(photographs: Photographs, size: int) -> Iterator[np.ndarray]:
    """Yield photographs stacked by `size`; while one batch is used, threads decode the next ones."""
    return map(np.stack, read_ahead(photographs.__getitem__, len(photographs), size))


def read_ahead(read: Callable[[int], Item], count: int, size: int) -> Iterator[list[Item]]:
    """Yield what `read` returns for 0 to `count`, by `size`; while one batch is used, threads read the next ones."""
    pool = ThreadPoolExecutor(THREADS)
    try:
        waiting = (pool.submit(read, number) for number in range(count))
        ahead = deque(islice(waiting, (AHEAD + 1) * size))
        while ahead:
            batch = [ahead.popleft().result() for _ in range(min(size, len(ahead)))]
            ahead.extend(islice(waiting, size))
            yield batch
    finally:
        pool.shutdown(cancel_futures=True)
