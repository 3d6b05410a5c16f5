"""Pictures of cases, the whole photograph and the crop: thumbnails within the page or beside it, larger ones beside it.

Pictures are encoded anew and named by the case's ID, so that neither a file's name nor its metadata gets into a report.
"""

import base64
import io
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from toolkit.errors import PhotographError
from toolkit.files import make_folder
from toolkit.photographs.crops import crop
from toolkit.photographs.opening import open_photograph, read_parsed, thumbnail
from toolkit.progress import Progress
from toolkit.stages.report.cases import ReportCase

LONGEST = 224
"""Pixels on a thumbnail's longer side."""
LARGE = 1280
"""Pixels at most on the longer side of a picture that a card is enlarged to."""
MOST_LARGE = 300
"""Cases of a page with such pictures: the first ones, which are errors while there are any."""
THREADS = 4


class Thumbnails(NamedTuple):
    """A case's thumbnails as a page names them, the size of the photograph in pixels, and why there is none."""

    photograph: str | None
    crop: str | None
    width: int
    height: int
    fault: str | None
    large: bool
    """Whether larger pictures of it stand beside the page."""


class Pictures(NamedTuple):
    """What pictures a page has, and where they stand."""

    margin: float
    """Around the ROI of a crop, as a share of its size."""
    beside: Path | None
    """The folder for thumbnails; None where they stand in the page."""
    enlarged: Path | None
    """The folder for larger pictures; None where there are none."""
    mode: int
    """Of the files."""
    whole: bool = True
    """Whether whole photographs are shown too, and not only crops."""


def thumbnails(cases: list[ReportCase], wanted: Pictures, *, progress: Progress) -> Iterator[Thumbnails]:
    """Give the thumbnails of cases in their order, several made at a time; the first cases get larger pictures too."""
    fewer = wanted._replace(enlarged=None)
    with ThreadPoolExecutor(THREADS) as pool:
        pairs = pool.map(
            lambda place, case: _thumbnails(case, wanted if place < MOST_LARGE else fewer), range(len(cases)), cases
        )
        for number, pair in enumerate(pairs, start=1):
            progress("making thumbnails", number, len(cases))
            yield pair


def _thumbnails(case: ReportCase, wanted: Pictures) -> Thumbnails:
    if case.path is None:
        return Thumbnails(None, None, 0, 0, "no photograph was found", large=False)
    try:
        image = open_photograph(read_parsed(Path(case.path), case.sha256, name=f"case {case.case_id}"))
    except PhotographError as problem:
        fault = f"the photograph cannot be shown: {problem.reason.replace('_', ' ')}"
        return Thumbnails(None, None, 0, 0, fault, large=False)
    close = crop(image, case.roi, margin=wanted.margin) if case.roi else None
    is_large = wanted.enlarged is not None and max(image.size) > LONGEST
    if wanted.enlarged and is_large:
        enlarge(image, wanted.enlarged, case.case_id, wanted.mode)
        if close:
            enlarge(close, wanted.enlarged, f"{case.case_id}-roi", wanted.mode)
    return Thumbnails(
        _source(image, case.case_id, wanted) if wanted.whole else None,
        _source(close, f"{case.case_id}-roi", wanted) if close else None,
        image.width,
        image.height,
        None,
        large=is_large,
    )


def enlarge(image: Image.Image, folder: Path, name: str, mode: int) -> None:
    """Write the larger picture of a photograph or a crop beside a page, as photographs/<name>.jpg."""
    buffer = io.BytesIO()
    large = image.convert("RGB")
    large.thumbnail((LARGE, LARGE), Image.Resampling.LANCZOS)
    large.save(buffer, "JPEG", quality=88)  # of pixels alone: no metadata is passed on
    _write(folder / "photographs" / f"{name}.jpg", buffer.getvalue(), mode)


def _source(image: Image.Image, name: str, wanted: Pictures) -> str:
    if wanted.beside is None:
        return inline(image)
    path = wanted.beside / "thumbs" / f"{name}.webp"
    _write(path, thumbnail(image, longest=LONGEST), wanted.mode)
    return f"thumbs/{path.name}"


def _write(path: Path, content: bytes, mode: int) -> None:
    make_folder(path.parent, mode=mode)
    with open(path, "wb", opener=partial(os.open, mode=mode)) as file:
        file.write(content)  # the report's folder is renamed as a whole: no sync for each


def inline(image: Image.Image) -> str:
    """Return a photograph's thumbnail as the data URI that stands in a page."""
    return "data:image/webp;base64," + base64.b64encode(thumbnail(image, longest=LONGEST)).decode("ascii")
