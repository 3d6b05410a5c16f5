"""An earlier split, and what of it can be kept when a study has grown.

A group that was in two parts before it was known to be one cannot be kept: it is an incident, and reported by name.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from toolkit.errors import LeakError, WorkspaceError
from toolkit.stages.split.groups import SplitCase
from toolkit.workspace.certificate import PARTS, Certified, digest, read_rows
from toolkit.workspace.verification import verify


@dataclass(frozen=True)
class Incident:
    """A group whose patients were in several parts before they were known to belong together."""

    group_id: str
    patients: list[str]
    parts: list[str]
    cases: int
    done: str


@dataclass(frozen=True)
class KeptSplit:
    """What is kept of an earlier split: the part of each group that was in it, and what could not be kept."""

    split_id: str
    fixed: dict[str, str]
    kept: int = 0
    """Cases that stay in their part."""
    placed: int = 0
    """Cases that are new to the earlier split."""
    gone: list[str] = field(default_factory=list)
    """Its cases that no longer have a resolved class."""
    incidents: list[Incident] = field(default_factory=list)

    @property
    def dropped(self) -> set[str]:
        """Groups that are in no part."""
        return {incident.group_id for incident in self.incidents if incident.done == "dropped"}

    def stated(self) -> dict[str, Any]:
        """Return what the certificate states of it."""
        return {name: value for name, value in asdict(self).items() if name != "fixed"}


def keep(split_id: str, before: list[Certified], cases: list[SplitCase], *, incidents: str) -> KeptSplit:
    """Return the part in which each known group stays: it is known by its cases, and by its patients' other cases."""
    part_of = {row.case_id: row.part for row in before}
    part_of_patient = {row.patient_id: row.part for row in before}
    cases_of: dict[str, list[SplitCase]] = {}
    for case in cases:
        cases_of.setdefault(case.group_id, []).append(case)
    fixed: dict[str, str] = {}
    divided = []
    for group, own in cases_of.items():
        known = [(part_of.get(case.case_id), part_of_patient.get(case.patient_id)) for case in own]
        parts = sorted({part for pair in known for part in pair if part}, key=PARTS.index)
        if len(parts) == 1 or (parts and incidents == "move"):
            fixed[group] = parts[0]
        if len(parts) > 1:
            patients = sorted({case.patient_id for case in own})
            done = f"moved to {parts[0]}" if incidents == "move" else "dropped"
            divided.append(Incident(group, patients, parts, len(own), done))
    dropped = {incident.group_id for incident in divided if incident.done == "dropped"}
    return KeptSplit(
        split_id,
        fixed,
        kept=sum(part_of.get(case.case_id) == fixed.get(case.group_id, "") for case in cases),
        placed=sum(case.case_id not in part_of and case.group_id not in dropped for case in cases),
        gone=sorted(set(part_of) - {case.case_id for case in cases}),
        incidents=divided,
    )


def changed(rows: list[Certified], cases: list[SplitCase], salt: str) -> int:
    """Return how many cases have another photograph than the one that was split."""
    digests = {row.case_id: row.photograph_digest for row in rows}
    return sum(bool(c.pixels and digests[c.case_id]) and digest(salt, c.pixels) != digests[c.case_id] for c in cases)


def pinned_parts(folder: Path, cases: list[SplitCase]) -> list[Certified]:
    """Return the rows of a pinned split; raise where it lacks a case, or divides a group."""
    verify(folder)
    rows = read_rows(folder)
    known = {row.case_id for row in rows}
    unknown = [case.case_id for case in cases if case.case_id not in known]
    if unknown:
        raise WorkspaceError(
            f"the pinned split does not know {len(unknown)} of {len(cases)} cases, {unknown[0]} among them",
            place=str(folder),
            remedy="toolkit split --frozen pinned keeps its patients and assigns the new ones; then pin that split",
        )
    divided = keep("", rows, cases, incidents="drop").incidents
    if divided:
        first = divided[0]
        raise LeakError(
            f"the pinned split divides {len(divided)} groups of patients who are linked today: patients "
            f"{', '.join(first.patients[:4])} are in {' and '.join(first.parts)}",
            place=str(folder),
            remedy="toolkit split --frozen pinned drops or moves them, as [split] incidents says; then pin that split",
        )
    return rows
