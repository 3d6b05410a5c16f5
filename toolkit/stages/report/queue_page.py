"""The page of a review queue, and the workbook in which reviewers write their verdicts.

Which patients were drawn at random is told neither on the page nor in the workbook, so that nobody looks at them in
another way.
"""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from toolkit.cases import Box
from toolkit.csv_files import FORMULA, sheet_text
from toolkit.errors import PhotographError
from toolkit.files import PRIVATE
from toolkit.formatting import clean, counted_by
from toolkit.manifest import Study
from toolkit.photographs.crops import crop
from toolkit.photographs.opening import open_photograph, read_parsed
from toolkit.privacy import PseudonymKey
from toolkit.progress import Progress, silent
from toolkit.stages.report import layout
from toolkit.stages.report.bundle import write_page
from toolkit.stages.report.case_details import known_patients, labelbox_address, shown_name
from toolkit.stages.report.thumbnails import LONGEST, MOST_LARGE, enlarge, inline
from toolkit.workspace import queues, sql
from toolkit.workspace.locks import one_at_a_time
from toolkit.workspace.registry import Workspace
from toolkit.workspace.runs import SIDES

WORKBOOK = "queue.xlsx"
COLUMNS = {
    "rank": 6,
    "photograph": 18,
    "patient_id": 20,
    "file": 24,
    "label": 22,
    "suggested": 22,
    "probability": 11,
    "reasons": 50,
    "verdict": 22,
    "comment": 40,
    "labelbox": 12,
    "case_id": 20,
    "queue_id": 10,
}
"""The workbook's columns and their widths in characters; verdict and comment are for the reviewer."""
CHOICES = ("confirm", "cannot tell")
PICTURE = 96
"""Pixels of a picture's longer side in the workbook."""


@dataclass(frozen=True)
class QueuePage:
    """Where a queue's page and its workbook stand."""

    page: str
    workbook: str
    files: list[str]


class ShownItem(NamedTuple):
    """A case of a queue, its file's name where it may be shown, its address in Labelbox, its picture."""

    row: dict[str, Any]
    file: str
    address: str
    picture: Image.Image | None


@one_at_a_time("queue")
def queue_page(
    workspace: Workspace, study: Study, key: PseudonymKey, queue_id: str = "latest", *, progress: Progress = silent
) -> QueuePage:
    """Write the page of a queue, its workbook and its CSV file."""
    queue_id = queues.find_queue(workspace, queue_id)
    made = workspace.rows("select * from queues where queue_id = $queue_id", {"queue_id": queue_id})[0]
    known = workspace.rows("select patient_from <> 'none' as known from label_states")[0]["known"]
    rows = workspace.rows(sql.statement("report/queue"), {"queue_id": queue_id, "least": queues.LEAST_SCORE})
    patients = known_patients(workspace, study)
    items = []
    for number, row in enumerate(rows, start=1):
        items.append(_item(row, study, key, patients))
        progress("making thumbnails of the queue", number, len(rows))
    with counted_by(patients_known=known):
        csv = sheet_text(_columns(known), [[_values(item)[name] for name in _columns(known)] for item in items])

        def rendered(folder: Path) -> dict[str, bytes]:
            page = layout.render(
                "queue.html.j2",
                scripts=("layout.js", "enlarge.js"),
                beside=True,
                study=study.study,
                made=made,
                items=[_shown(item, folder) for item in items],
                patients_known=known,
            )
            return {"index.html": page, WORKBOOK: _workbook(items, study, known=known)}

        files = write_page(workspace, study, "queue", {"queue.csv": csv}, rendered, classes=[])
    return QueuePage(files[0], str(Path(files[0]).with_name(WORKBOOK)), files)


def _shown(item: ShownItem, folder: Path) -> tuple[ShownItem, str | None, str]:
    """Return an item with its thumbnail and the larger picture that stands beside the page, where there is one."""
    if item.picture is None:
        return item, None, ""
    name = f"{item.row['rank']:04}"
    is_large = item.row["rank"] <= MOST_LARGE and max(item.picture.size) > LONGEST
    if is_large:
        enlarge(item.picture, folder, name, PRIVATE)
    return item, inline(item.picture), f"photographs/{name}.jpg" if is_large else ""


def _columns(known: bool) -> list[str]:  # noqa: FBT001 - its only meaning
    return [name for name in COLUMNS if name != "photograph" and (known or name != "patient_id")]


def _item(row: dict[str, Any], study: Study, key: PseudonymKey, patients: set[str]) -> ShownItem:
    return ShownItem(row, shown_name(row, key, patients), labelbox_address(row), _picture(row, study))


def _picture(row: dict[str, Any], study: Study) -> Image.Image | None:
    if row["path"] is None:
        return None
    try:
        image = open_photograph(read_parsed(Path(row["path"]), row["sha256"], name=f"case {row['case_id']}"))
    except PhotographError:
        return None
    sides = [row[side] for side in SIDES]
    return image if None in sides else crop(image, Box(*sides), margin=study.model.roi_margin)


def _values(item: ShownItem) -> dict[str, Any]:
    row = item.row
    return {
        "rank": row["rank"],
        "patient_id": row["patient_id"],
        "file": item.file,
        "label": row["class_name"],
        "suggested": row["suggested_class"] if row["is_questioned"] else "",
        "probability": row["probability"] if row["is_questioned"] else None,
        "reasons": clean(row["reasons"]) if row["is_questioned"] else "",
        "verdict": "",
        "comment": "",
        "labelbox": item.address,
        "case_id": row["case_id"],
        "queue_id": row["queue_id"],
    }


def _workbook(items: list[ShownItem], study: Study, *, known: bool) -> bytes:
    """Return the workbook: a row for each case, with its picture and a list to choose the verdict from."""
    import openpyxl  # noqa: PLC0415 - a quarter of a second, and only a queue needs it
    from openpyxl.drawing.image import Image as Picture  # noqa: PLC0415 - as above
    from openpyxl.styles import Alignment, Font  # noqa: PLC0415 - as above
    from openpyxl.utils import get_column_letter  # noqa: PLC0415 - as above
    from openpyxl.worksheet.datavalidation import DataValidation  # noqa: PLC0415 - as above

    book = openpyxl.Workbook()
    sheet, choices = book.active, book.create_sheet("choices")
    sheet.title = "queue"
    for number, choice in enumerate((*CHOICES, *study.class_names), start=1):
        choices.cell(number, 1, choice)
    names = [name for name in COLUMNS if known or name != "patient_id"]
    for place, name in enumerate(names, start=1):
        sheet.cell(1, place, name).font = Font(bold=True)
        sheet.column_dimensions[get_column_letter(place)].width = COLUMNS[name]
    for number, item in enumerate(items, start=2):
        values = _values(item)
        for place, name in enumerate(names, start=1):
            cell = sheet.cell(number, place)
            cell.alignment = Alignment(wrap_text=True, vertical="top")
            _fill(cell, name, values.get(name))
        if item.picture is not None:
            place = f"{get_column_letter(names.index('photograph') + 1)}{number}"
            sheet.row_dimensions[number].height = PICTURE * 0.78
            sheet.add_image(_small(item.picture, Picture), place)
    verdicts = get_column_letter(names.index("verdict") + 1)
    last = len(CHOICES) + len(study.class_names)
    allowed = DataValidation(type="list", formula1=f"=choices!$A$1:$A${last}", allow_blank=True)
    allowed.error, allowed.errorTitle = "Choose a class, confirm, or cannot tell.", "No verdict"
    sheet.add_data_validation(allowed)
    allowed.add(f"{verdicts}2:{verdicts}{len(items) + 1}")
    sheet.freeze_panes = "A2"
    return _bytes(book)


def _fill(cell: Any, name: str, value: Any) -> None:
    """Write a value into a cell: texts never as formulas, an address as a link."""
    if name == "labelbox" and value:
        cell.value, cell.hyperlink = "open", value
    elif isinstance(value, str):
        cell.value = value
        cell.data_type = "s"
        cell.quotePrefix = bool(FORMULA.match(value))
    else:
        cell.value = value


def _small(image: Image.Image, picture: Any) -> Any:
    """Return a picture for the workbook, encoded anew, so that it holds nothing but its pixels."""
    small = image.convert("RGB")
    small.thumbnail((PICTURE, PICTURE))
    data = BytesIO()
    small.save(data, "JPEG", quality=85)
    return picture(data)


def _bytes(book: Any) -> bytes:
    """Return a workbook's bytes: the same content, the same bytes."""
    from datetime import datetime  # noqa: PLC0415 - only here

    book.properties.created = book.properties.modified = datetime(2000, 1, 1)  # noqa: DTZ001 - a fixed time without zone
    data = BytesIO()
    book.save(data)
    return data.getvalue()
