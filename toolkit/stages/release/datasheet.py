"""The data sheet of a release (Gebru et al. 2021, doi 10.1145/3458723): what was done, and tables of its files.

Every table is the answer of the SQL below it, asked of the files themselves: whoever has them can ask again.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from toolkit.formatting import counted
from toolkit.manifest import NO_PATIENTS, Study
from toolkit.manifest.release import ReleaseSection
from toolkit.stages.release.contents import Contents
from toolkit.stages.release.fields import OLDEST
from toolkit.stages.release.keys import FIRST_SHIFT, SHIFTS
from toolkit.workspace import sql
from toolkit.workspace.pictures import QUALITY
from toolkit.workspace.registry import scratch

UNSAID = "The study file does not say."
APART = "Photographs of one patient stand in one subset, as far as the patients' identifiers were true."
UNKNOWN = f"Each photograph counts as a patient of its own: {NO_PATIENTS}."
POLICIES = {
    "majority": "The class that most annotators named; a tie gives none.",
    "latest": "The class of the reading that was changed last.",
    "reviewed": "Of photographs whose labels were reviewed, the class that most annotators named.",
    "benchmark": "The photograph's benchmark label, else the class that most annotators named.",
    "annotator": "The class that one annotator named, whom the study names.",
}
NOT_RELEASED = """\
- file names, addresses, and IDs of the labelling platform
- EXIF, XMP, comments, thumbnails and colour profiles of the photographs
- times at which photographs were uploaded, labelled or reviewed
- free text, comments, attachments, and answers to other questions than the diagnosis
- outlines and masks, of which only the box remains; earlier revisions of labels
- predictions of models, findings and review queues"""


class Facts(NamedTuple):
    """What the tables of a release do not say by themselves."""

    columns: dict[str, str]
    """Of metadata fields, by field."""
    photographs_left_out: dict[str, int]
    """By reason."""


class _Sheet(NamedTuple):
    """What the parts of the page are written from."""

    asked: "_Asked"
    study: Study
    section: ReleaseSection
    contents: Contents
    facts: Facts


PROCESSING = f"""\
## Processing

Photographs were decoded, turned upright, converted to sRGB with 8 bits, and encoded anew as JPEG of quality
{QUALITY}: their pixels are not those of the original files. Boxes are in pixels of the upright photograph.
"""


def datasheet(folder: Path, study: Study, section: ReleaseSection, contents: Contents, facts: Facts) -> str:
    """Return the page about a release whose tables are in a folder already."""
    asked = _Asked(folder)
    sheet = _Sheet(asked, study, section, contents, facts)
    parts = (_head, _composition, _fields, _labelling, _privacy, _groups, _limits, _distribution)
    try:
        return "\n".join([*(part(sheet) for part in parts), PROCESSING])
    finally:
        asked.close()


class _Asked:
    """Asks questions of the files of a release."""

    def __init__(self, folder: Path) -> None:
        self.database = scratch(folder)
        self.database.execute("set file_search_path = $1", [str(folder)])

    def close(self) -> None:
        self.database.close()

    def table(self, name: str, **replaced: str) -> str:
        """Return the answer of a question as a table, and its SQL."""
        text = sql.statement(f"release/sheet_{name}")
        for word, value in replaced.items():
            text = text.replace(f"{{{word}}}", value)
        answer = self.database.execute(text)
        columns = [column[0] for column in answer.description or ()]
        rows = answer.fetchall()
        lines = [_line(columns), _line(["---"] * len(columns)), *(_line(map(_cell, row)) for row in rows)]
        return "\n".join([*lines, "", "```sql", text.rstrip(), "```", ""])


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _said(text: str) -> str:
    return text.strip() or UNSAID


def _head(sheet: _Sheet) -> str:
    study, section = sheet.study, sheet.section
    notice = f"\n> {study.study.notice}\n" if study.study.notice else ""
    return (
        f"# Data sheet: {study.study.title}, version {section.version}\n{notice}\n"
        f"Data set `{study.study.name}`, released under {section.licence}. `toolkit release` wrote this page from the\n"
        "files beside it: each table is the answer of the SQL below it, asked in this folder.\n\n"
        f"## Motivation\n\n**Source of the photographs.** {_said(study.reporting.data_source)}\n\n"
        f"**Intended use.** {_said(study.reporting.intended_use)}\n"
    )


def _composition(sheet: _Sheet) -> str:
    asked = sheet.asked
    return "\n".join(
        ["## Composition\n", asked.table("composition"), "### Classes and subsets\n", asked.table("diagnoses")]
    )


def _fields(sheet: _Sheet) -> str:
    columns = sheet.facts.columns
    if not columns:
        return "### Metadata fields\n\nThe data set has no metadata fields.\n"
    quoted = [_quoted(name) for name in columns.values()]
    as_text = ", ".join(f"{name}::text as {name}" for name in quoted)
    lines = ["### Metadata fields\n", sheet.asked.table("fields", columns=as_text, names=", ".join(quoted))]
    for field in sheet.contents.fields:
        values = f"; values: {', '.join(field.categories)}" if field.categories else ""
        lines.append(f"- `{columns[field.name]}`: {field.kind}{values}")
        lines += [f"  - left out of {counted(n, 'photograph')}: {reason}" for reason, n in field.left_out.items()]
    return "\n".join([*lines, ""])


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _labelling(sheet: _Sheet) -> str:
    asked, reporting = sheet.asked, sheet.study.reporting
    return "\n".join(
        [
            "## Labels\n",
            f"**Reference diagnosis.** {POLICIES[sheet.study.ingest.policy]}\n",
            f"**What it rests on.** {_said(reporting.reference_standard)}\n",
            f"**Annotators.** {_said(reporting.annotators)}\n",
            asked.table("resolutions"),
            asked.table("annotators"),
            "### Agreement\n",
            asked.table("agreement"),
        ]
    )


def _privacy(sheet: _Sheet) -> str:
    section, contents = sheet.section, sheet.contents
    kept = "Those who made the release keep its key." if section.key_file else "Its key was random, and nobody has it."
    unnamed = len(contents.fields_left_out) - len(contents.names_shown)
    more = f"\n- {counted(unnamed, 'metadata field')} whose name is not shown" if unnamed else ""
    return (
        "## Privacy\n\n**Removed.** This was in the study and is not here:\n\n"
        + NOT_RELEASED
        + "".join(f"\n- the metadata field `{name}`" for name in contents.names_shown)
        + more
        + f"\n\n**IDs.** All IDs are new: without the key nobody can join them to those of the study. {kept}\n\n"
        f"**Dates** are moved into the future, all dates of a patient by the same number of days ({FIRST_SHIFT} to\n"
        f"{FIRST_SHIFT + SHIFTS - 1}): intervals are true, and nothing else of them is.\n\n"
        f"**Ages** over {OLDEST} are given as {OLDEST + 1} (HIPAA safe harbor, 45 CFR 164.514(b)(2)(i)(C)); others as\n"
        f"the beginning of a band of {counted(section.age_years, 'year')}.\n\n"
        "**Photographs** may show faces, tattoos, jewellery or labels with names, which no program can rule out. A\n"
        "person whom the makers know by name looked through all of them before the release.\n"
    )


def _groups(sheet: _Sheet) -> str:
    hidden = sheet.contents.anonymity
    title = "### Groups of patients who are alike\n\n"
    if not hidden.quasi_identifiers:
        return (
            f"{title}The study names no fields by which somebody might find a patient, so that nothing was counted.\n"
        )
    quoted = [_quoted(sheet.facts.columns[name]) for name in hidden.quasi_identifiers]
    columns = ", ".join(f"coalesce({name}::text, '')" for name in quoted)
    words = {
        "refuse": "With smaller groups nothing would have been released.",
        "empty": f"Of {counted(hidden.emptied_patients, 'patient')} in smaller groups these fields were left empty.",
        "release": "Smaller groups are released as they are: who knows a patient's values may find the patient.",
    }
    names = ", ".join(f"`{name}`" for name in hidden.quasi_identifiers)
    intro = f"Patients are alike in {names}; a group should have {hidden.least}. {words[hidden.small_groups]}\n\n"
    return title + intro + sheet.asked.table("groups", columns=columns, least=str(hidden.least))


def _limits(sheet: _Sheet) -> str:
    reporting, left_out = sheet.study.reporting, sheet.facts.photographs_left_out
    missing = [f"- {counted(n, 'photograph')} left out: {reason}" for reason, n in left_out.items()]
    return "\n".join(
        [
            "## Known limits\n",
            f"- {_said(reporting.limitations)}",
            f"- Who the patients are: {_said(reporting.characteristics)}",
            f"- {APART if sheet.study.labelbox.patient_from != 'none' else UNKNOWN}",
            "- Who has the original photographs can find them here by their looks.",
            *missing,
            "",
        ]
    )


def _distribution(sheet: _Sheet) -> str:
    section = sheet.section
    return (
        f"## Distribution\n\n**Licence.** {section.licence}; see LICENSE.txt.\n\n"
        f"**Citation.** {_said(section.attribution)}\n\n**Contact.** {_said(section.contact)}\n\n"
        "**If a patient withdraws**, the makers tell those who have the data set: delete the photographs and rows\n"
        "that they name, or take the version that they make anew.\n"
    )
