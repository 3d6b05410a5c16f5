"""The stage `review`: verdicts on reference diagnoses, from a spreadsheet or a CSV file, taken in as label revisions.

Nothing is overwritten: what was labelled stays, and the verdicts decide from the day they were given on.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from toolkit.csv_files import cell_text
from toolkit.errors import PredictionsError, ReviewError
from toolkit.files import read_bytes
from toolkit.manifest import Study
from toolkit.manifest.base import fold
from toolkit.prediction_files.faults import Faults, shown
from toolkit.prediction_files.tables import read_table
from toolkit.prediction_files.workbooks import WORKBOOK, read_sheet
from toolkit.privacy import PseudonymKey, normalise, printable, scrub, spans
from toolkit.progress import Progress, silent
from toolkit.workspace import reviews, sql
from toolkit.workspace.locks import one_at_a_time
from toolkit.workspace.registry import Workspace

RIGHT = ("confirm", "confirmed", "correct", "right", "ok", "yes", "true")
CANNOT_TELL = ("cannot tell", "can not tell", "can't tell", "unsure", "unknown", "?")
"""What a reviewer may write beside the name of a class, however it is written."""
CASE, VERDICT, COMMENT = "case_id", "verdict", "comment"
REVIEWER, REVIEWED, QUEUE = "reviewer", "reviewed_at", "queue_id"
LABEL = "label"
"""Column with the reference diagnosis as the reviewer saw it."""
NAMES_A_PATIENT = "left out: it held the identifier of a patient"
LONGEST = 500
"""Characters of a comment that are kept."""
REMEDY = "put these rows right; no verdict of the file was taken in"
ISO = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True)
class Reviewed:
    """The verdicts that were taken in, and what is to be said of them."""

    review_id: str | None
    """None where the file holds nothing new."""
    reviewers: int
    verdicts: dict[str, int]
    """How many confirm the label, change it, or cannot tell."""
    changes: dict[str, int]
    """How often which class became which, as "nevus → melanoma"."""
    repeated: int
    """Verdicts that were known already; taken in once."""
    without: int
    """Rows without a verdict: not reviewed yet."""
    conflicts: list[str] = field(default_factory=list)
    """Cases whose reviewers give different classes: they have no reference diagnosis until one of them gives way."""


class GivenVerdict(NamedTuple):
    """One row of a file, understood."""

    row: int
    case_id: str
    reviewer: str
    verdict: str
    class_name: str | None
    reviewed_at: datetime
    comment: str | None
    queue_id: str | None


@one_at_a_time("review")
def review(  # noqa: PLR0913 - the stage's inputs
    workspace: Workspace,
    study: Study,
    key: PseudonymKey,
    file: Path,
    *,
    reviewer: str | None = None,
    now: datetime | None = None,
    progress: Progress = silent,
) -> Reviewed:
    """Take in a file of verdicts: columns case_id and verdict, and what else stands in `queue.xlsx`.

    `reviewer` names who reviewed where no column does; `now` (UTC) is when, where none says so. The tables of labels
    are not changed here: `parse` makes them anew with the verdicts. Raises ReviewError with every fault of the file.
    """
    progress("reading verdicts", 0, None)
    today = now or datetime.now(UTC).replace(tzinfo=None)
    columns, rows = _table(file)
    cases = {row["case_id"]: row for row in workspace.rows(sql.statement("review/cases"))}
    said, without = _understood(file, columns, rows, cases=cases, study=study, reviewer=reviewer, today=today)
    patients = {row["patient_id"] for row in cases.values()}
    known = {
        (row["case_id"], row["reviewer"]): row["class_name"]
        for each in reviews.reviews(workspace)
        for row in sorted(each.rows, key=lambda row: row["reviewed_at"])
    }
    new: list[dict[str, Any]] = []
    for verdict in said:
        pseudonym = key.pseudonym("a", normalise(verdict.reviewer))
        before = cases[verdict.case_id]["class_name"]
        if known.get((verdict.case_id, pseudonym), "") == verdict.class_name:
            continue
        row = _row(verdict, pseudonym, cases[verdict.case_id]["image_id"], before)
        if any(key.pseudonym("p", words) in patients for words in spans(verdict.comment or "")):
            row["comment"] = NAMES_A_PATIENT
        new.append(row)
    review_id = _identify(new) if new else None
    if review_id:
        rows_of_review = [{"review_id": review_id, **row} for row in new]
        reviews.record(workspace, review_id, scrub(printable(file.name))[:120], rows_of_review)
    changed = [
        f"{row['class_before'] or 'no class'} → {row['class_name']}" for row in new if row["verdict"] == "changed"
    ]
    return Reviewed(
        review_id=review_id,
        reviewers=len({row["reviewer"] for row in new}),
        verdicts=dict(sorted(Counter(row["verdict"] for row in new).items())),
        changes=dict(Counter(changed).most_common()),
        repeated=len(said) - len(new),
        without=without,
        conflicts=_conflicts(known, new),
    )


def _table(file: Path) -> tuple[list[str], list[list[str]]]:
    """Return a file's columns, in lower case, and rows of texts."""
    if read_bytes(file).startswith(WORKBOOK):
        missing = f"no sheet of the workbook has the columns {CASE} and {VERDICT}, as that of `toolkit queue` has"
        sheet = read_sheet(file, _has_verdicts, missing=missing, error=ReviewError)
        return [name.lower() for name in sheet.columns], sheet.rows
    faults = Faults()
    try:
        table = read_table(file, faults)
    except PredictionsError as error:
        problem = error.problem.replace("the predictions", "the verdicts")
        raise ReviewError(
            problem, place=str(file), remedy="verdicts are an xlsx, CSV, Parquet or JSON Lines file"
        ) from None
    faults.check(file, rows=table.total, remedy=REMEDY, what="verdicts", error=ReviewError)
    return [name.lower() for name in table.columns], [[cell_text(cell) for cell in row] for row in table.rows]


def _has_verdicts(columns: list[str]) -> bool:
    return {CASE, VERDICT} <= {name.lower() for name in columns}


def _understood(  # noqa: PLR0913 - all that a row is read by
    file: Path,
    columns: list[str],
    rows: list[list[str]],
    *,
    cases: dict[str, dict[str, Any]],
    study: Study,
    reviewer: str | None,
    today: datetime,
) -> tuple[list[GivenVerdict], int]:
    """Return the verdicts of a file, each case and reviewer once, and the number of rows without one."""
    if missing := [name for name in (CASE, VERDICT) if name not in columns]:
        raise ReviewError(
            f"no column {' and '.join(missing)}",
            place=str(file),
            remedy="a file of verdicts has the columns case_id and verdict, and may have others of queue.xlsx",
        )
    faults = Faults()
    found: dict[tuple[str, str], GivenVerdict] = {}
    without = 0
    for number, row in enumerate(rows, start=1):
        cell = dict(zip(columns, row, strict=False))
        if not cell[VERDICT].strip():
            without += 1
            continue
        verdict = _verdict(number, cell, faults, cases=cases, study=study, reviewer=reviewer, today=today)
        if verdict is None:
            continue
        earlier = found.setdefault((verdict.case_id, normalise(verdict.reviewer)), verdict)
        if earlier.class_name != verdict.class_name:
            says = f"says {shown(cell[VERDICT])} of case {verdict.case_id}, row {earlier.row} something else"
            faults.add("two verdicts of one reviewer on a case", number, says)
    faults.check(file, rows=len(rows), remedy=REMEDY, what="verdicts", error=ReviewError)
    return list(found.values()), without


def _verdict(  # noqa: PLR0913 - all that a row is read by
    number: int,
    cell: dict[str, str],
    faults: Faults,
    *,
    cases: dict[str, dict[str, Any]],
    study: Study,
    reviewer: str | None,
    today: datetime,
) -> GivenVerdict | None:
    """Return what a row says; note every fault of it and return None otherwise."""
    before = len(faults)
    case_id, written = cell[CASE].strip(), cell[VERDICT].strip()
    if case_id not in cases:
        faults.add("no such case", number, f"names {shown(case_id)}")
        return None
    given = cases[case_id]["class_name"]
    said, class_name = _class(written, given, study.class_of(cell.get(LABEL, "")) or given, study)
    if not said:
        classes = ", ".join(study.class_names)
        faults.add("no verdict", number, f"says {shown(written)}; a class ({classes}), confirm, or cannot tell")
    elif said == "confirmed" and class_name is None:
        faults.add("nothing to confirm", number, "confirms a case that has no reference diagnosis: name the class")
    who = cell.get(REVIEWER, "").strip() or (reviewer or "").strip()
    if not who:
        faults.add("no reviewer", number, "says not who reviewed: give --reviewer NAME, or a column reviewer")
    when = _when(cell.get(REVIEWED, "").strip(), today)
    if when is None:
        faults.add("no day", number, f"was reviewed {shown(cell[REVIEWED])}: write 2026-11-29, not later than today")
    if len(faults) > before or when is None:
        return None
    comment = scrub(printable(cell.get(COMMENT, "").strip()))[:LONGEST] or None
    queue_id = cell.get(QUEUE, "").strip() or None
    known_queue = queue_id if queue_id and re.fullmatch(r"[0-9a-f]{8}", queue_id) else None
    return GivenVerdict(number, case_id, who, said, class_name, when, comment, known_queue)


def _class(written: str, given: str | None, seen: str | None, study: Study) -> tuple[str, str | None]:
    """Return what a verdict comes to, "" where it cannot be understood, and the class that it gives.

    `given` is the reference diagnosis now; to confirm is to confirm the one that the reviewer has `seen` in the file.
    """
    folded = fold(written)
    named = study.class_of(written)
    if named is not None:
        return ("confirmed" if named == given else "changed"), named
    if folded in RIGHT:
        return ("confirmed" if seen == given else "changed"), seen
    return ("cannot_tell", None) if folded in CANNOT_TELL else ("", None)


def _when(written: str, today: datetime) -> datetime | None:
    """Return when a verdict was given (UTC); None where that cannot be read or has not come yet."""
    if not written:
        return today
    try:
        found = datetime.fromisoformat(written)
    except ValueError:
        return None
    if not ISO.match(written):
        return None
    found = found.astimezone(UTC).replace(tzinfo=None) if found.tzinfo else found
    return None if found.date() > today.date() else min(found, today)


def _row(verdict: GivenVerdict, reviewer: str, image_id: str, before: str | None) -> dict[str, Any]:
    return {
        "case_id": verdict.case_id,
        "image_id": image_id,
        "queue_id": verdict.queue_id,
        "reviewer": reviewer,
        "verdict": verdict.verdict,
        "class_before": before,
        "class_name": verdict.class_name,
        "reviewed_at": verdict.reviewed_at,
        "comment": verdict.comment,
    }


def _identify(rows: Iterable[dict[str, Any]]) -> str:
    """Return the ID of a review: of what it says, not of its file."""
    return hashlib.sha256("\n".join(sorted(map(repr, map(dict.items, rows)))).encode()).hexdigest()[:12]


def _conflicts(known: dict[tuple[str, str], str | None], new: list[dict[str, Any]]) -> list[str]:
    """Return the cases of a review about whose class reviewers differ, as their last verdicts stand."""
    last = known | {(row["case_id"], row["reviewer"]): row["class_name"] for row in new}
    given: dict[str, set[str]] = {}
    for (case_id, _), class_name in last.items():
        if class_name is not None:
            given.setdefault(case_id, set()).add(class_name)
    return sorted({row["case_id"] for row in new if len(given.get(row["case_id"], ())) > 1})
