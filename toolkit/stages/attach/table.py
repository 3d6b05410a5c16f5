"""The cells of a file of a study's own data, of any kind that people have, with the patient of each row."""

import re
from pathlib import Path
from typing import NamedTuple

from toolkit.errors import AttachError, DamagedError, PredictionsError
from toolkit.files import read_bytes
from toolkit.manifest.base import fold
from toolkit.prediction_files.faults import Faults, shown
from toolkit.prediction_files.tables import read_table
from toolkit.prediction_files.workbooks import WORKBOOK, read_sheet
from toolkit.privacy import normalise

KINDS = "the file is CSV, Parquet, JSON Lines or an xlsx workbook, with a row for each patient and a header"
FORMULA = "a formula instead of a value"
WHOLE = re.compile(r"\d+\.0+")


class OwnTable(NamedTuple):
    """The rows of a file: the column of the patient, all columns, and their cells as texts, "" where one is empty."""

    path: Path
    patient: int
    columns: list[str]
    rows: list[list[str]]
    numbers: list[int]
    """The number of each row, from 1 below the header."""
    total: int
    notes: list[str]
    patients: list[str]
    """The normalised identifier of each row."""


def read_own_table(path: Path, patient: str, faults: Faults) -> OwnTable:
    """Read a file; note rows that cannot be read, raise AttachError where there is no table or no such column."""
    try:
        is_workbook = read_bytes(path, remedy=KINDS).startswith(WORKBOOK)
    except DamagedError as error:
        raise AttachError(error.problem, place=str(path), remedy=KINDS) from None
    columns, rows, numbers, total, notes = (_workbook if is_workbook else _text_file)(path, patient, faults)
    column = _column(path, columns, patient)
    identifiers = [row[column] for row in rows]
    filled = [each for each in identifiers if each.strip()]
    if filled and all(map(WHOLE.fullmatch, filled)):
        identifiers = [each.partition(".")[0] for each in identifiers]
        notes = [*notes, "the patients' IDs are written as decimals; .0 was taken off"]
    return OwnTable(path, column, columns, rows, numbers, total, notes, [normalise(each) for each in identifiers])


def _text_file(
    path: Path, _patient: str, faults: Faults
) -> tuple[list[str], list[list[str]], list[int], int, list[str]]:
    try:
        table = read_table(path, faults)
    except PredictionsError as error:
        problem = error.problem.replace("the predictions", "the data").partition(": two columns are called")
        what = "two columns have the same name" if problem[1] else problem[0]
        raise AttachError(what, place=str(path), remedy=KINDS) from None
    return table.columns, table.rows, table.numbers, table.total, table.notes


def _workbook(path: Path, patient: str, faults: Faults) -> tuple[list[str], list[list[str]], list[int], int, list[str]]:
    missing = f"no sheet of the workbook has the column {shown(patient)} in its first row"
    sheet = read_sheet(path, lambda header: fold(patient) in map(fold, header), missing=missing, error=AttachError)
    for number, column in sheet.uncomputed:
        faults.add(FORMULA, number, column=column)
    if not sheet.rows:
        raise AttachError("it holds no row below the header", place=str(path), remedy=KINDS)
    return sheet.columns, sheet.rows, list(range(1, len(sheet.rows) + 1)), len(sheet.rows), []


def _column(path: Path, columns: list[str], wanted: str) -> int:
    """Return the place of the patients' column, upper and lower case alike where that is one column."""
    places = [at for at, name in enumerate(columns) if name == wanted]
    places = places or [at for at, name in enumerate(columns) if fold(name) == fold(wanted)]
    if len(places) == 1:
        return places[0]
    fault = "several columns are" if places else "no column"
    remedy = "name the column with the identifiers of patients as the header has it"
    raise AttachError(f"{fault} {shown(wanted)}", place=str(path), remedy=remedy)
