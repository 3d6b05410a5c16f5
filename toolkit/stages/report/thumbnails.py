"""How the photographs of cases become thumbnails: the whole, and the crop; in the page or beside it.

Refuses to let a file's name or metadata through: pictures are encoded anew and stand under the case's ID.
"""

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from toolkit.cases import Box
from toolkit.errors import PhotographError
from toolkit.photographs.crops import crop
from toolkit.photographs.opening import open_photograph, read_photograph, thumbnail
from toolkit.progress import Progress

LONGEST = 224
"""Pixels on a thumbnail's longer side."""
THREADS = 4
INLINE = "data:image/webp;base64,"


class Thumbnails(NamedTuple):
    """A case's thumbnails as WebP, the size of the photograph in pixels, and why there is none."""

    case_id: str
    photograph: bytes | None
    crop: bytes | None
    width: int
    height: int
    fault: str | None


def thumbnails(
    cases: list[dict[str, Any]], *, margin: float, crops_only: bool, progress: Progress
) -> Iterator[Thumbnails]:
    """Give the thumbnails of cases in their order, several made at a time."""
    with ThreadPoolExecutor(THREADS) as pool:
        made = pool.map(lambda case: _shot(case, margin, whole=not crops_only), cases)
        for done, shot in enumerate(made, start=1):
            progress("making thumbnails", done, len(cases))
            yield shot


def _shot(case: dict[str, Any], margin: float, *, whole: bool) -> Thumbnails:
    if case["path"] is None:
        return Thumbnails(case["case_id"], None, None, 0, 0, "no photograph was found")
    try:
        image = open_photograph(read_photograph(Path(case["path"])))
    except PhotographError as problem:
        fault = f"the photograph cannot be shown: {problem.reason.replace('_', ' ')}"
        return Thumbnails(case["case_id"], None, None, 0, 0, fault)
    roi = box_of(case)
    close = None if roi is None else _small(crop(image, roi, margin=margin))
    photograph = _small(image) if whole else None
    return Thumbnails(case["case_id"], photograph, close, image.width, image.height, None)


def box_of(case: dict[str, Any]) -> Box | None:
    """Return the ROI of a case in pixels of its photograph; None where the whole photograph is the case."""
    if case["roi_width"] is None:
        return None
    return Box(*(case[f"roi_{side}"] for side in ("left", "top", "width", "height")))


def _small(image: Image.Image) -> bytes:
    return thumbnail(image, longest=LONGEST)


def inline(picture: bytes | None) -> str | None:
    """Return a picture as the data URI that stands in a page."""
    return None if picture is None else INLINE + base64.b64encode(picture).decode("ascii")
