"""The names under which the columns of a file come in: none that a field, a table or the toolkit has already."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from toolkit.errors import AttachError
from toolkit.manifest import Study
from toolkit.manifest.base import fold
from toolkit.prediction_files.faults import shown
from toolkit.stages.attach.scrubbed import Identifiers
from toolkit.stages.attach.table import OwnTable
from toolkit.workspace import attached
from toolkit.workspace.described import MOST_FIELDS, own_columns
from toolkit.workspace.registry import Workspace

Fields = dict[str, list[str]]
"""The texts of columns by name, one for each row of the table."""
NAME = re.compile(r"[^\W\d_][\w .%()/+-]{0,59}")
"""A column's name: it begins with a letter, and may stand in a study file, a prompt and a URL."""
FILE = re.compile(r"\w[\w .-]{0,79}")
OF_GROUPS = {"annotator", "class", "all cases", "patients"}
"""Names of groups and strata that are none of metadata."""
QUALITY = "photograph"
"""First word of the groups by what the audit measured."""
RENAME = "rename the column, or say with --column which to take"


def file_name(file: Path, hidden: Identifiers) -> str:
    """Return the name under which a file is kept; raise AttachError where it tells of a patient, or is no plain one."""
    name = unicodedata.normalize("NFC", file.stem)
    if hidden.clean(name) != name:
        problem = "the name of the file holds the identifier of a patient or an e-mail address"
        raise AttachError(problem, place="the file", remedy="rename it: its name is kept")
    if not FILE.fullmatch(name):
        raise AttachError(
            "the name of the file is kept, and this one cannot be",
            place=str(file),
            remedy="rename it: letters, digits, spaces, dots, _ and -",
        )
    return name


def named_columns(
    workspace: Workspace,
    study: Study,
    table: OwnTable,
    columns: Sequence[str],
    *,
    name: str,
    hidden: Identifiers,
) -> Fields:
    """Return the columns to take by name; raise AttachError with all that stands against a name."""
    places = _chosen(table, columns)
    taken = dict(_taken(workspace, study, name))
    problems, seen = [], set()
    for place in places:
        column = table.columns[place]
        if problem := _problem(place, column, hidden):
            problems.append(problem)
        elif fold(column) in seen:
            problems.append(f"{shown(column)} is the name of two columns")
        elif says := taken.get(fold(column)) or (fold(column).startswith(QUALITY) and taken["annotator"]):
            problems.append(f"{shown(column)} {says}")
        seen.add(fold(column))
    if len(places) > MOST_FIELDS:
        problems.append(f"it has {len(places)} columns, and {MOST_FIELDS} can be taken")
    if problems:
        raise AttachError(f"columns cannot be taken: {'; '.join(problems[:5])}", place=str(table.path), remedy=RENAME)
    return {unicodedata.normalize("NFC", table.columns[at]): [row[at] for row in table.rows] for at in places}


def _chosen(table: OwnTable, columns: Sequence[str]) -> list[int]:
    """Return the places of the columns that are named, or of all but the patients' and empty ones without a name."""
    others = [at for at in range(len(table.columns)) if at != table.patient]
    if not columns:
        return [at for at in others if table.columns[at] or any(row[at].strip() for row in table.rows)]
    by_name = {fold(table.columns[at]): at for at in others}
    if missing := [each for each in columns if fold(each) not in by_name]:
        problem = f"no column {shown(missing[0])}"
        raise AttachError(problem, place=str(table.path), remedy="write it as the header has it")
    return list(dict.fromkeys(by_name[fold(each)] for each in columns))


def _problem(place: int, column: str, hidden: Identifiers) -> str | None:
    """Return what is wrong with a name by itself, without saying it: it may be anything, also an identifier."""
    if not column.strip():
        return f"column {place + 1} has no name"
    is_plain = NAME.fullmatch(column) and hidden.clean(column) == column
    return None if is_plain else f"column {place + 1} has a name that is none for a field"


def _taken(workspace: Workspace, study: Study, name: str) -> Iterator[tuple[str, str]]:
    """Yield the names that are taken, as they are compared, each with what it is."""
    for row in workspace.rows("select distinct name from metadata where kind is null or kind not like 'attached %'"):
        yield fold(row["name"]), "is a metadata field of the exports already"
    for row in attached.read(workspace, but=name).group_by(["file", "name"]).aggregate([]).to_pylist():
        yield fold(row["name"]), f"was attached with {row['file']} already"
    for column in (study.labelbox.patient, study.labelbox.lesion):
        yield fold(column), "is the field of an identifier"
    for column in own_columns():
        yield fold(column), "is a column of case_table already"
    for column in OF_GROUPS:
        yield fold(column), "is a name that groups of the toolkit have"
