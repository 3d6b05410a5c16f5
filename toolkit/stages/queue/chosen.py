"""The cases that a person chose, from the CSV file that the gallery of a page saves."""

from collections.abc import Container
from pathlib import Path

from toolkit.csv_files import read_csv
from toolkit.errors import ReviewError
from toolkit.privacy import printable

COLUMN = "case_id"
MOST_NAMED = 5
LONGEST = 80
"""Characters of an ID that is not known, in a message."""
REMEDY = "give the file that \N{LEFT DOUBLE QUOTATION MARK}Save as CSV\N{RIGHT DOUBLE QUOTATION MARK} on a page wrote"


def chosen_cases(file: Path, known: Container[str]) -> list[str]:
    """Return the case IDs of a file, each once, in its order; raise ReviewError for one that is not `known`."""
    if not file.is_file():
        raise ReviewError("there is no such file", place=str(file), remedy=REMEDY)
    rows = [row for row in read_csv(file) if any(row.values())]
    if not rows or COLUMN not in rows[0]:
        problem = "the file holds no case" if not rows else f"the file has no column {COLUMN}"
        raise ReviewError(problem, place=str(file), remedy=REMEDY)
    case_ids = list(dict.fromkeys(row.get(COLUMN, "").strip() for row in rows))
    if others := [case_id for case_id in case_ids if case_id not in known]:
        named = ", ".join(printable(case_id)[:LONGEST] or "(empty)" for case_id in others[:MOST_NAMED])
        more = f" and {len(others) - MOST_NAMED} more" if len(others) > MOST_NAMED else ""
        raise ReviewError(
            f"not cases with a reference diagnosis here: {named}{more}",
            place=str(file),
            remedy=f"{REMEDY}, of this workspace; take these rows out",
        )
    return case_ids
