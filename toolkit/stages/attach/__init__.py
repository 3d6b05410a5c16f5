"""The stage `attach`: a study's own data about its patients, by column, under the pseudonyms of the registry.

Of the identifiers nothing is kept, and no message shows one: rows are named by their numbers.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from toolkit.errors import AttachError, StudyError
from toolkit.labelbox_json.similar_ids import nobody, without_zeros
from toolkit.manifest import Study
from toolkit.prediction_files.faults import Faults
from toolkit.privacy import PseudonymKey
from toolkit.progress import Progress, silent
from toolkit.stages.attach.fields import file_name, named_columns
from toolkit.stages.attach.scrubbed import Identifiers
from toolkit.stages.attach.table import OwnTable, read_own_table
from toolkit.stages.attach.typed import Typed, typed
from toolkit.workspace import attached
from toolkit.workspace.locks import one_at_a_time
from toolkit.workspace.registry import Workspace
from toolkit.workspace.withdrawn import withdrawn_pseudonyms

REMEDY = "put the file right; nothing of it was taken in"
DIGITS = re.compile(r"\d+")
MOST_DIGITS = 13
"""Digits of a number in an identifier, up to which leading zeros are tried."""


@dataclass(frozen=True)
class Attached:
    """What of a file was taken in, and what of it matched the study; never an identifier."""

    name: str
    """Name of the file, under which it can be attached again."""
    is_replaced: bool
    """Whether an earlier file of this name gave way."""
    columns: dict[str, str]
    """The kind of each column that was taken in: number, date, time, boolean or text."""
    rows: int
    patients: int
    """Patients of the study of whom the file has a row."""
    patients_without: int
    """Patients of the study of whom it has none."""
    rows_unknown: int
    """Rows of patients who are not in the study; they are left out."""
    rows_nearly_known: int
    """Those of them whose ID differs from that of a patient only in leading zeros or .0."""
    rows_without_patient: int
    """Rows without an identifier; they are left out."""
    rows_withdrawn: int
    """Rows of patients who were withdrawn; they are left out."""
    rows_repeated: int
    """Rows of a patient of whom an earlier row says nothing else; together they are one."""
    columns_left_out: list[str] = field(default_factory=list)
    """Columns that repeat identifiers of patients."""
    cells_changed: dict[str, int] = field(default_factory=dict)
    """Cells by column of which an identifier, an e-mail address or the query of an address was taken out."""
    notes: list[str] = field(default_factory=list)
    """How the file was read, where that is not the usual way."""


class Matched(NamedTuple):
    """The rows of the study's patients, by their place in the table, and how many others there are."""

    persons: dict[int, tuple[str, str]]
    """The pseudonym of the person, and of the identifier that the row has."""
    others: Counter[str]


@one_at_a_time("attach")
def attach(  # noqa: PLR0913 - the stage's inputs
    workspace: Workspace,
    study: Study,
    key: PseudonymKey,
    file: Path,
    *,
    patient: str,
    columns: Sequence[str] = (),
    progress: Progress = silent,
) -> Attached:
    """Take in a file with a row for each patient: all columns but `patient`, or those that are named.

    A file of the same name is replaced. The registry is not changed here: `parse` makes it anew with the file. Raises
    AttachError with every fault of the file, changing nothing.
    """
    if study.labelbox.patient_from == "none":
        raise StudyError("the study has no patient identifiers, so that nothing can be joined with its photographs")
    progress("reading the file", 0, None)
    faults = Faults()
    table = read_own_table(file, patient, faults)
    _check(table, faults)
    known = {row["patient_id"] for row in workspace.rows("select patient_id from patients")}
    hidden = Identifiers(
        key, {*study.ingest.every_pseudonym(known), *(key.pseudonym("p", each) for each in table.patients if each)}
    )
    name = file_name(file, hidden)
    fields = named_columns(workspace, study, table, columns, name=name, hidden=hidden)
    matched = _matched(workspace, study, key, table, known)
    if not matched.persons:
        raise _nobody(file, matched)
    without_ids = hidden.removed(table, fields, list(matched.persons))
    read = typed(table, without_ids.fields, list(matched.persons), faults)
    rows, repeated = _merged(matched, read, table, faults)
    _check(table, faults)
    if not rows:
        raise AttachError("no column holds a value for a patient of this study", place=str(file), remedy=REMEDY)
    is_replaced = attached.record(workspace, name, rows)
    persons = {person for person, _ in matched.persons.values()}
    return Attached(
        name=name,
        is_replaced=is_replaced,
        columns=read.kinds,
        rows=table.total,
        patients=len(persons),
        patients_without=len(known - persons),
        rows_unknown=matched.others["unknown"],
        rows_nearly_known=matched.others["nearly known"],
        rows_without_patient=matched.others["without"],
        rows_withdrawn=matched.others["withdrawn"],
        rows_repeated=repeated,
        columns_left_out=without_ids.left_out,
        cells_changed=without_ids.changed,
        notes=[*table.notes, *read.notes],
    )


def _check(table: OwnTable, faults: Faults) -> None:
    faults.check(table.path, rows=table.total, remedy=REMEDY, what="data", error=AttachError)


def _matched(workspace: Workspace, study: Study, key: PseudonymKey, table: OwnTable, known: set[str]) -> Matched:
    """Find the patient of each row by the pseudonym of its normalised identifier, as `parse` does."""
    withdrawn = withdrawn_pseudonyms(workspace, key)
    persons, others = {}, Counter()
    for place, identifier in enumerate(table.patients):
        own = key.pseudonym("p", identifier)
        person = study.ingest.one_person(own)
        if nobody(identifier) is not None:
            others["without"] += 1
        elif not withdrawn.isdisjoint(person):
            others["withdrawn"] += 1
        elif person[0] in known:
            persons[place] = (person[0], own)
        else:
            others["unknown"] += 1
            others["nearly known"] += any(key.pseudonym("p", each) in known for each in _with_other_zeros(identifier))
    return Matched(persons, others)


def _with_other_zeros(identifier: str) -> Iterator[str]:
    """Yield an identifier without leading zeros and .0, and with more of them before its first number."""
    yield (bare := without_zeros(identifier))
    for digits in range(2, MOST_DIGITS):
        yield DIGITS.sub(lambda found, digits=digits: found[0].zfill(digits), bare, count=1)


def _nobody(file: Path, matched: Matched) -> AttachError:
    near = matched.others["nearly known"]
    hint = f"{near} of the IDs differ from those of patients only in leading zeros or .0; " if near else ""
    remedy = f"{hint}write the identifiers as the exports have them; upper and lower case do not matter"
    return AttachError("no row is of a patient of this study", place=str(file), remedy=remedy)


def _merged(matched: Matched, read: Typed, table: OwnTable, faults: Faults) -> tuple[list[dict[str, str]], int]:
    """Return each value of each patient once, and how many rows say nothing new; note where two rows disagree."""
    first: dict[tuple[str, str], tuple[str, int]] = {}
    rows, seen, repeated = [], set(), 0
    for place, (person, own) in matched.persons.items():
        before = len(faults)
        for name, texts in read.values.items():
            if not (text := texts[place]):
                continue
            if (person, name) not in first:
                first[person, name] = (text, table.numbers[place])
                rows.append({"patient_id": own, "name": name, "kind": read.kinds[name], "value": text})
            elif first[person, name][0] != text:
                says = f"says otherwise than row {first[person, name][1]}"
                faults.add("conflicting values of one patient", table.numbers[place], says, column=name)
        repeated += person in seen and len(faults) == before
        seen.add(person)
    return rows, repeated
