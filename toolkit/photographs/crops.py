"""The crop of each case as a model sees it: cut around its ROI, resized, decoded ahead and kept in memory."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from PIL import Image

from toolkit.cases import Box
from toolkit.errors import PhotographError, WorkspaceError
from toolkit.photographs.opening import open_photograph, read_photograph
from toolkit.progress import Progress

GREY = 128
"""What a photograph without anything on it shows."""
KEPT_BYTES = 2 * 1024**3
"""Memory that decoded crops may take while training."""
THREADS = 4
AHEAD = 2
"""Batches that are decoded while one is scored."""


def crop(image: Image.Image, roi: Box | None, *, margin: float) -> Image.Image:
    """Return the case's ROI with `margin` of its size added on every side, as far as the photograph goes."""
    return image if roi is None else image.crop(bounds(image, roi, margin=margin))


def bounds(image: Image.Image, roi: Box, *, margin: float) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom of a ROI with `margin` of its size added on every side, within the photograph."""
    across, down = roi.width * margin, roi.height * margin
    left = max(int(np.floor(roi.left - across)), 0)
    top = max(int(np.floor(roi.top - down)), 0)
    right = min(int(np.ceil(roi.left + roi.width + across)), image.width)
    bottom = min(int(np.ceil(roi.top + roi.height + down)), image.height)
    return left, top, max(right, left + 1), max(bottom, top + 1)


def case_pixels(path: Path, roi: Box | None, *, margin: float, size: int) -> np.ndarray:
    """Return a case's crop as the model sees it: (size, size, 3) uint8, bicubic."""
    image = crop(open_photograph(read_photograph(path)), roi, margin=margin)
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC))


def border_pixels(path: Path, roi: Box | None, *, margin: float, size: int) -> np.ndarray:
    """Return a case's crop with its ROI painted over in the mean colour of what is around it."""
    image = open_photograph(read_photograph(path))
    if roi is None:
        return np.full((size, size, 3), GREY, np.uint8)
    whole, inner = (np.asarray(crop(image, roi, margin=m), dtype=np.int64) for m in (margin, 0))
    around = whole.shape[0] * whole.shape[1] - inner.shape[0] * inner.shape[1]
    rest = (whole.sum(axis=(0, 1)) - inner.sum(axis=(0, 1))) / around if around else np.full(3, GREY)
    red, green, blue = (round(float(channel)) for channel in rest)
    image.paste((red, green, blue), bounds(image, roi, margin=0))
    return np.asarray(crop(image, roi, margin=margin).resize((size, size), Image.Resampling.BICUBIC))


PixelReader = Callable[..., np.ndarray]
"""Makes a case's pixels: `case_pixels`, or what stands for them."""
DIHEDRAL = 8
"""Ways a square photograph can lie."""


def dihedral(photograph: np.ndarray, variant: int) -> np.ndarray:
    """Return one of the eight ways to lay a square photograph: 0 to 3 quarter turns, then those of its mirror image."""
    turned = np.rot90(photograph, variant % 4)
    return turned[:, ::-1] if variant >= 4 else turned


class Photographs(Protocol):
    """Photographs by number, (S, S, 3) uint8 each: an array (N, S, S, 3), or something that decodes them when asked."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> np.ndarray: ...


class CropSource(NamedTuple):
    """Where a case's pixels come from; the case is named in errors, since a file's name may hold a patient's."""

    case_id: str
    path: Path
    roi: Box | None


class Crops:
    """The crops of cases, (size, size, 3) uint8 each, decoded when first asked for.

    Up to `keep` bytes of them stay in memory, so that an epoch does not decode every photograph anew.
    """

    def __init__(
        self,
        sources: list[CropSource],
        *,
        margin: float,
        size: int,
        keep: int = KEPT_BYTES,
        read: PixelReader = case_pixels,
    ) -> None:
        self.sources, self.margin, self.size, self.read = sources, margin, size, read
        self.room = keep // (size * size * 3)
        self.kept: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, index: int) -> np.ndarray:
        if index in self.kept:
            return self.kept[index]
        source = self.sources[index]
        try:
            pixels = self.read(source.path, source.roi, margin=self.margin, size=self.size)
        except PhotographError as error:
            told = f"the photograph can no longer be used: {error.problem}"
            then = "put it back, or parse again: its case is then kept out"
            raise WorkspaceError(told, place=f"case {source.case_id}", remedy=then) from None
        if len(self.kept) < self.room:
            self.kept[index] = pixels
        return pixels

    def load(self, progress: Progress) -> None:
        """Decode as many crops as memory may keep, several at a time."""
        first = range(min(len(self), self.room))
        with ThreadPoolExecutor(THREADS) as pool:
            for done, _ in enumerate(pool.map(self.__getitem__, first), start=1):
                progress("cropping photographs", done, len(first))


def batches(photographs: Photographs, size: int) -> Iterator[np.ndarray]:
    """Give photographs stacked by `size`; while one batch is used, threads decode the next ones."""
    pool = ThreadPoolExecutor(THREADS)
    try:
        waiting = (pool.submit(lambda number=number: photographs[number]) for number in range(len(photographs)))
        ahead = deque(islice(waiting, (AHEAD + 1) * size))
        while ahead:
            batch = [ahead.popleft().result() for _ in range(min(size, len(ahead)))]
            ahead.extend(islice(waiting, size))
            yield np.stack(batch)
    finally:
        pool.shutdown(cancel_futures=True)
