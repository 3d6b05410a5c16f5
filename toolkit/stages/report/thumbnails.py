"""Thumbnails of the photographs of cases, the whole and the crop: within the page, or as files beside it.

Pictures are encoded anew and named by the case's ID, so that neither a file's name nor its metadata gets into a report.
"""

import base64
import os
from collections.abc import Callable, Iterator
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
THREADS = 4


class Thumbnails(NamedTuple):
    """A case's thumbnails as a page names them, the size of the photograph in pixels, and why there is none."""

    photograph: str | None
    crop: str | None
    width: int
    height: int
    fault: str | None


def thumbnails(
    cases: list[ReportCase], *, margin: float, crops_only: bool, folder: Path | None, mode: int, progress: Progress
) -> Iterator[Thumbnails]:
    """Give the thumbnails of cases in their order, several made at a time; with a folder they become files in it."""
    source = partial(_source, folder=folder, mode=mode)
    with ThreadPoolExecutor(THREADS) as pool:
        pairs = pool.map(lambda case: _thumbnails(case, margin, source, whole=not crops_only), cases)
        for number, pair in enumerate(pairs, start=1):
            progress("making thumbnails", number, len(cases))
            yield pair


def _thumbnails(case: ReportCase, margin: float, source: Callable[..., str], *, whole: bool) -> Thumbnails:
    if case.path is None:
        return Thumbnails(None, None, 0, 0, "no photograph was found")
    try:
        image = open_photograph(read_parsed(Path(case.path), case.sha256, name=f"case {case.case_id}"))
    except PhotographError as problem:
        return Thumbnails(None, None, 0, 0, f"the photograph cannot be shown: {problem.reason.replace('_', ' ')}")
    photograph = source(image, case.case_id) if whole else None
    close = source(crop(image, case.roi, margin=margin), f"{case.case_id}-roi") if case.roi else None
    return Thumbnails(photograph, close, image.width, image.height, None)


def _source(image: Image.Image, name: str, *, folder: Path | None, mode: int) -> str:
    if folder is None:
        return inline(image)
    path = folder / "thumbs" / f"{name}.webp"
    make_folder(path.parent, mode=mode)
    with open(path, "wb", opener=partial(os.open, mode=mode)) as file:
        file.write(thumbnail(image, longest=LONGEST))  # the report's folder is renamed as a whole: no sync for each
    return f"thumbs/{path.name}"


def inline(image: Image.Image) -> str:
    """Return a photograph's thumbnail as the data URI that stands in a page."""
    return "data:image/webp;base64," + base64.b64encode(thumbnail(image, longest=LONGEST)).decode("ascii")
