"""An earlier split, and what of it can be kept when a study has grown.

Refuses to hide what cannot: a group that stood in two parts before it was known to be one is an incident, told by name.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolkit.errors import LeakError, WorkspaceError
from toolkit.stages.split.groups import SplitCase
from toolkit.workspace.certificate import PARTS, Certified, digest, read_rows
from toolkit.workspace.verification import verify


@dataclass(frozen=True)
class Incident:
    """A group whose patients stood in several parts before they were known to belong together."""

    group_id: str
    patients: list[str]
    parts: list[str]
    cases: int
    done: str


@dataclass(frozen=True)
class KeptSplit:
    """What of an earlier split stays: the part of each group that was in it, and what could not be kept."""

    split_id: str
    fixed: dict[str, str]
    kept: int = 0
    """Cases that stand where they stood."""
    placed: int = 0
    """Cases that the earlier split did not know."""
    gone: list[str] = field(default_factory=list)
    """Its cases that have no resolved class any more."""
    incidents: list[Incident] = field(default_factory=list)

    @property
    def dropped(self) -> set[str]:
        """Groups that stand in no part."""
        return {incident.group_id for incident in self.incidents if incident.done == "dropped"}

    def stated(self) -> dict[str, Any]:
        """Return what the certificate says of it."""
        return {
            "split_id": self.split_id,
            "kept": self.kept,
            "placed": self.placed,
            "gone": self.gone,
            "incidents": [vars(incident) for incident in self.incidents],
        }


def read(folder: Path) -> list[Certified]:
    """Return the cases of a split, after checking its certificate."""
    verify(folder)
    return read_rows(folder)


def keep(split_id: str, before: list[Certified], cases: list[SplitCase], *, incidents: str) -> KeptSplit:
    """Return where groups stay; a group is known by its cases, and by its patients' other cases."""
    part_of = {row.case_id: row.part for row in before}
    part_of_patient = {row.patient_id: row.part for row in before}
    stood: dict[str, set[str]] = {}
    of_group: dict[str, list[SplitCase]] = {}
    for case in cases:
        of_group.setdefault(case.group_id, []).append(case)
        known = {part_of.get(case.case_id), part_of_patient.get(case.patient_id)} - {None}
        stood.setdefault(case.group_id, set()).update(part for part in known if part)
    found = []
    fixed = {}
    for group, parts in stood.items():
        if len(parts) == 1:
            fixed[group] = next(iter(parts))
        elif parts:
            ordered = sorted(parts, key=PARTS.index)
            patients = sorted({case.patient_id for case in of_group[group]})
            done = f"moved to {ordered[0]}" if incidents == "move" else "dropped"
            found.append(Incident(group, patients, ordered, len(of_group[group]), done))
            if incidents == "move":
                fixed[group] = ordered[0]
    dropped = {incident.group_id for incident in found if incident.done == "dropped"}
    return KeptSplit(
        split_id,
        fixed,
        kept=sum(part_of.get(case.case_id) == fixed.get(case.group_id, "") for case in cases),
        placed=sum(case.case_id not in part_of and case.group_id not in dropped for case in cases),
        gone=sorted(set(part_of) - {case.case_id for case in cases}),
        incidents=found,
    )


def changed(rows: list[Certified], cases: list[SplitCase], salt: str) -> int:
    """Return how many cases have another photograph than a split was made for."""
    digests = {row.case_id: row.photograph_digest for row in rows}
    return sum(bool(c.pixels and digests[c.case_id]) and digest(salt, c.pixels) != digests[c.case_id] for c in cases)


def pinned_parts(folder: Path, cases: list[SplitCase]) -> list[Certified]:
    """Return the rows of a pinned split; refuse cases it does not know, and groups that it divides."""
    rows = read(folder)
    known = {row.case_id for row in rows}
    unknown = [case.case_id for case in cases if case.case_id not in known]
    if unknown:
        raise WorkspaceError(
            f"the pinned split does not know {len(unknown)} of {len(cases)} cases, {unknown[0]} among them",
            place=str(folder),
            remedy="toolkit split --frozen pinned: its patients stay, new ones are placed; then pin that",
        )
    divided = keep("", rows, cases, incidents="drop").incidents
    if divided:
        worst = divided[0]
        raise LeakError(
            f"{len(divided)} groups of the pinned split stand in two parts by what is known today: patients "
            f"{', '.join(worst.patients[:4])} in {' and '.join(worst.parts)}",
            place=str(folder),
            remedy="toolkit split --frozen pinned drops or moves them, as [split] incidents says; then pin that",
        )
    return rows
