"""The extent of a segmentation mask: of a PNG, or of runs as COCO writes them (column by column, background first)."""

import io
import warnings
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from toolkit.cases import Box
from toolkit.errors import PhotographError
from toolkit.photographs.opening import LARGEST

REASON = "roi_missing"

Color = tuple[int, int, int]


class Size(NamedTuple):
    """Pixels; None where the export does not say."""

    width: int | None
    height: int | None


def extent_of_png(content: bytes, size: Size, color: Color | None = None) -> Box:
    """Return the extent of a mask's pixels: those of a colour, else all that are neither black nor transparent.

    Raises PhotographError for what is no PNG, is not as large as the photograph, or marks no pixel.
    """
    image = _decoded(content)
    _check_size(image.size, size)
    transparent = "A" in image.getbands() or "transparency" in image.info
    if color is not None or transparent or image.mode == "P":
        pixels = np.asarray(image.convert("RGBA"))
        wanted = pixels[..., :3].any(axis=2) if color is None else (pixels[..., :3] == color).all(axis=2)
        marked = wanted & (pixels[..., 3] > 0)
    else:
        marked = np.atleast_3d(np.asarray(image)).any(axis=2)
    rows, columns = np.flatnonzero(np.any(marked, axis=1)), np.flatnonzero(np.any(marked, axis=0))
    if not rows.size:
        raise PhotographError(REASON, "its mask marks no pixel" if color is None else "no pixel of its mask is its own")
    left, top = float(columns[0]), float(rows[0])
    return Box(left, top, float(columns[-1]) + 1 - left, float(rows[-1]) + 1 - top)


def extent_of_runs(counts: Any, size: Size) -> Box:
    """Return the extent of a run-length encoded mask; `counts` are numbers, or COCO's text of them.

    Raises PhotographError where the runs do not fill the photograph, or mark no pixel.
    """
    width, height = size
    if not width or not height:
        raise PhotographError(REASON, "the size of its mask is not known")
    runs = _counts_of(counts) if isinstance(counts, str) else counts
    whole = isinstance(runs, list) and all(isinstance(run, int) and run >= 0 for run in runs)
    if not whole or sum(runs) != width * height:
        raise PhotographError(REASON, f"the runs of its mask do not fill {width} x {height} pixels")
    starts = list(accumulate(runs, initial=0))
    marked = [(starts[n], starts[n + 1]) for n in range(1, len(runs), 2) if runs[n]]
    if not marked:
        raise PhotographError(REASON, "its mask marks no pixel")
    left, right = marked[0][0] // height, (marked[-1][1] - 1) // height
    tops, bottoms = zip(*(_rows_of(start, end, height) for start, end in marked), strict=True)
    return Box(float(left), float(min(tops)), float(right + 1 - left), float(max(bottoms) + 1 - min(tops)))


def _rows_of(start: int, end: int, height: int) -> tuple[int, int]:
    """Return the first and the last row of a run; one that goes on in the next column touches both edges."""
    one_column = start // height == (end - 1) // height
    return (start % height, (end - 1) % height) if one_column else (0, height - 1)


def _counts_of(text: str) -> list[int]:
    """Return the runs that COCO's text stands for: five bits a character, from the third on as differences."""
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 40:
            raise PhotographError(REASON, "the runs of its mask cannot be read")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (1 << shift) if bits & 16 else 0
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs


def _decoded(content: bytes) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(content), formats=("PNG",))
            if image.width * image.height > LARGEST or getattr(image, "n_frames", 1) > 1:
                raise PhotographError(REASON, f"its mask is no single image of at most {LARGEST} pixels")
            image.load()
    except PhotographError:
        raise
    except Exception as error:  # noqa: BLE001 - a decoder may raise anything on hostile bytes
        raise PhotographError(REASON, f"its mask is no PNG that can be decoded ({type(error).__name__})") from None
    return image


def _check_size(found: tuple[int, int], wanted: Size) -> None:
    if wanted.width and wanted.height and found != wanted:
        sizes = f"{found[0]} x {found[1]}, the photograph {wanted.width} x {wanted.height}"
        raise PhotographError(REASON, f"its mask has {sizes} pixels")
