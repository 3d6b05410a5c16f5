"""Knows how a misclassified case becomes a card: its photograph with the ROI, the crop, what was said about it.

Refuses to let a file's name or metadata through: pictures are encoded anew and stand in the page as data.
"""

import base64
from pathlib import Path
from typing import Any, NamedTuple

from toolkit.cases import Box
from toolkit.errors import PhotographError
from toolkit.images import crop, open_photograph, read_photograph, thumbnail
from toolkit.progress import Progress
from toolkit.report.facts import Facts

LONGEST = 224
"""Pixels on a thumbnail's longer side."""


class Picture(NamedTuple):
    """A thumbnail as a data URI, and the size it was made from; the ROI is in pixels of that size."""

    source: str
    width: int
    height: int
    roi: Box | None


class Card(NamedTuple):
    """A misclassified case; without a photograph, `fault` says why."""

    error: dict[str, Any]
    photograph: Picture | None
    crop: Picture | None
    fault: str | None


def cards(facts: Facts, *, margin: float, progress: Progress) -> list[Card]:
    """Return the first cases of the errors as cards, as many as the study wants."""
    chosen = facts.errors[: facts.gallery]
    made = []
    for done, error in enumerate(chosen, start=1):
        made.append(_card(error, margin))
        progress("making thumbnails", done, len(chosen))
    return made


def _card(error: dict[str, Any], margin: float) -> Card:
    if error["path"] is None:
        return Card(error, None, None, "no photograph was found")
    try:
        image = open_photograph(read_photograph(Path(error["path"])))
    except PhotographError as problem:
        return Card(error, None, None, f"the photograph cannot be shown: {problem.reason.replace('_', ' ')}")
    roi = None
    if error["roi_width"] is not None:
        roi = Box(*(error[f"roi_{side}"] for side in ("left", "top", "width", "height")))
    close = None if roi is None else crop(image, roi, margin=margin)
    return Card(error, _picture(image, roi), None if close is None else _picture(close, None), None)


def _picture(image: Any, roi: Box | None) -> Picture:
    encoded = base64.b64encode(thumbnail(image, longest=LONGEST)).decode("ascii")
    return Picture(f"data:image/webp;base64,{encoded}", image.width, image.height, roi)
