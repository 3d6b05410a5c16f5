"""What a release will hold: cases, values of metadata fields, and how well patients are hidden; nothing is written."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from toolkit.manifest import Study
from toolkit.manifest.release import ReleaseSection
from toolkit.privacy import PseudonymKey
from toolkit.stages.release import fields, groups
from toolkit.stages.release.fields import PLAIN, KnownPatients, ReleasedField, Values
from toolkit.stages.release.groups import Anonymity, Pattern
from toolkit.stages.release.keys import ReleaseKey
from toolkit.workspace import sql
from toolkit.workspace.exported_cases import ExportedCase, read_cases
from toolkit.workspace.registry import Workspace

UNNAMED = "[release.fields] does not name it"


@dataclass(frozen=True)
class Contents:
    """Cases with the registry's IDs; values by field and photograph, dates shifted."""

    key: ReleaseKey
    cases: list[ExportedCase]
    values: dict[str, Values]
    kinds: dict[str, str]
    fields: list[ReleasedField]
    fields_left_out: dict[str, str]
    """Metadata fields that are not released, each with the reason."""
    names_shown: list[str]
    """Those whose names the data sheet may show: plain words without a patient's identifier."""
    anonymity: Anonymity

    @property
    def patients(self) -> set[str]:
        """The registry's pseudonyms of all patients in it."""
        return {case.patient_id for case in self.cases}


def read_contents(
    workspace: Workspace, study: Study, section: ReleaseSection, key: PseudonymKey, own: ReleaseKey, split_id: str
) -> Contents:
    """Return what a release of a split holds: every case, also those in no subset."""
    cases = read_cases(workspace, split_id)
    rows = workspace.rows(sql.statement("release/values"))
    known = KnownPatients(key, study.ingest.every_pseudonym(_patients(workspace)))
    values, readers, others = fields.read_fields(rows, section, known, study.ingest.one_person)
    fields.shift_dates(values, readers, own)
    patients = {case.image_id: case.patient_id for case in cases}
    anonymity = _hidden(values, patients, section)
    return Contents(
        own,
        cases,
        values,
        {name: reader.kind for name, reader in readers.items()},
        [reader.released(values[name]) for name, reader in readers.items()],
        dict.fromkeys(others, UNNAMED),
        [name for name in others if PLAIN.fullmatch(name) and not known.stand_in(name, own=())],
        anonymity,
    )


def _patients(workspace: Workspace) -> list[str]:
    return [row["patient_id"] for row in workspace.rows("select patient_id from patients")]


def _hidden(values: dict[str, Values], patients: dict[str, str], section: ReleaseSection) -> Anonymity:
    """Empty what the study wants emptied, and return how well patients are hidden then."""
    names, least = section.quasi_identifiers, section.smallest_group
    emptied: set[str] = set()
    if names and section.small_groups == "empty":
        nothing = (("",) * len(names),)
        emptied = groups.to_empty(groups.patterns(values, patients, names), least, nothing)
        groups.empty(values, patients, names, emptied)
    of_patients = groups.patterns(values, patients, names)
    return replace(_counted(of_patients, section), emptied_patients=len(emptied))


def _counted(of_patients: Mapping[str, Pattern], section: ReleaseSection) -> Anonymity:
    sizes = Counter(of_patients.values()) if section.quasi_identifiers else Counter()
    return Anonymity(
        quasi_identifiers=section.quasi_identifiers,
        least=section.smallest_group,
        small_groups=section.small_groups,
        groups=len(sizes),
        smallest_group=min(sizes.values(), default=None),
        unique_patients=sum(size == 1 for size in sizes.values()),
        patients_in_small_groups=sum(size for size in sizes.values() if size < section.smallest_group),
        emptied_patients=0,
    )
