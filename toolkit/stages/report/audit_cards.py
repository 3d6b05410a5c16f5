"""The cards of an audit's page: photographs side by side, their classes, and what is known of each case."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from toolkit.cases import Box
from toolkit.errors import PhotographError
from toolkit.files import PRIVATE
from toolkit.formatting import clean, spoken
from toolkit.photographs.crops import crop
from toolkit.photographs.opening import open_photograph, read_parsed
from toolkit.stages.report.case_details import CaseDetails
from toolkit.stages.report.thumbnails import LONGEST, enlarge, inline
from toolkit.workspace.runs import SIDES

SIDES_OF_PAIR = ("", "other_")


class CardPicture(NamedTuple):
    """A picture as a data URI, None where it can no longer be shown; the larger file beside the page, and its words."""

    source: str | None
    large: str
    words: str


class CardCase(NamedTuple):
    """A case on a card; the photograph of an excluded one has no ID."""

    case_id: str | None
    patient_id: str | None
    class_name: str
    details: CaseDetails | None


class AuditCard(NamedTuple):
    """One or two cases side by side, and what the audit says of them."""

    title: str
    pictures: list[CardPicture]
    text: str
    note: str
    cases: list[CardCase]
    kind: str = ""
    """Whether the photographs are of two patients: across, unknown or within."""


class Cards:
    """Makes cards; larger pictures go into a folder as long as `budget` lasts."""

    def __init__(self, folder: Path, details: Mapping[str, CaseDetails], *, margin: float, budget: int) -> None:
        """Take the page's folder, the details by case, the margin of crops, and how many cards get larger pictures."""
        self.folder, self.details, self.margin, self.budget = folder, details, margin, budget
        self.made = 0

    def pair(self, row: dict[str, Any], *, title: str, text: str, note: str = "") -> AuditCard:
        """Return the card of two photographs; `row` has path, digest, case, patient and class of both sides."""
        pictures = []
        for side, words in zip(SIDES_OF_PAIR, ("First", "Second"), strict=True):
            image = _opened(row[f"{side}path"], row[f"{side}sha256"], row[f"{side}case_id"])
            case = row[f"{side}case_id"] or "none"
            pictures.append(self._picture(image, f"{words} photograph, case {case}", side or "one"))
        self._next()
        cases = [self._case(row, side) for side in SIDES_OF_PAIR]
        return AuditCard(title, pictures, text, note, cases, row.get("patients", ""))

    def single(self, row: dict[str, Any], *, title: str, text: str, note: str = "") -> AuditCard:
        """Return the card of one case: its photograph, and its lesion where a ROI was drawn."""
        image = _opened(row["path"], row["sha256"], row["case_id"])
        sides = [row[side] for side in SIDES]
        pictures = [self._picture(image, f"Photograph of case {row['case_id']}", "one")]
        if image is not None and None not in sides:
            close = crop(image, Box(*sides), margin=self.margin)
            pictures.append(self._picture(close, f"Lesion of case {row['case_id']}", "roi"))
        self._next()
        return AuditCard(title, pictures, text, note, [self._case(row, "")])

    def _next(self) -> None:
        self.made += 1

    def _case(self, row: dict[str, Any], side: str) -> CardCase:
        case_id = row[f"{side}case_id"]
        class_name = clean(spoken(row[f"{side}class_name"] or "")) or "no class"
        return CardCase(case_id, row.get(f"{side}patient_id", row["patient_id"]), class_name, self.details.get(case_id))

    def _picture(self, image: Image.Image | None, words: str, name: str) -> CardPicture:
        if image is None:
            return CardPicture(None, "", words)
        if self.made >= self.budget or max(image.size) <= LONGEST:
            return CardPicture(inline(image), "", words)
        file = f"{self.made:04}-{name.strip('_')}"
        enlarge(image, self.folder, file, PRIVATE)
        return CardPicture(inline(image), f"photographs/{file}.jpg", words)


def cases_of(*tables: Iterable[dict[str, Any]]) -> list[str]:
    """Return the cases that rows name, without repetition."""
    named = (row.get(f"{side}case_id") for rows in tables for row in rows for side in SIDES_OF_PAIR)
    return list(dict.fromkeys(case_id for case_id in named if case_id))


def _opened(path: str | None, sha256: str | None, case_id: str | None) -> Image.Image | None:
    name = f"case {case_id}" if case_id else "a photograph without a case"
    try:
        return None if path is None else open_photograph(read_parsed(Path(path), sha256, name=name))
    except PhotographError:
        return None
