"""How many patients are alike in their quasi-identifiers (k-anonymity, Sweeney 2002), and what is emptied for it."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from toolkit.stages.release.fields import Values


@dataclass(frozen=True)
class Anonymity:
    """Groups of patients who are alike in all quasi-identifiers; without any there are no groups."""

    quasi_identifiers: list[str]
    least: int
    """How many patients a group should have."""
    small_groups: str
    """What the study says becomes of smaller ones."""
    groups: int
    smallest_group: int | None
    """k."""
    unique_patients: int
    patients_in_small_groups: int
    emptied_patients: int
    """Patients whose quasi-identifiers were left empty."""


Pattern = tuple[tuple[str, ...], ...]
"""What is known of a patient: the different combinations of values on the patient's photographs."""


def patterns(values: Mapping[str, Values], patients: Mapping[str, str], names: Sequence[str]) -> dict[str, Pattern]:
    """Return what the quasi-identifiers say of each patient; `patients` are those of photographs."""
    combinations: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for image_id, patient in patients.items():
        combinations[patient].add(tuple(str(values[name].get(image_id, "")) for name in names))
    return {patient: tuple(sorted(several)) for patient, several in combinations.items()}


def small(of_patients: Mapping[str, Pattern], least: int) -> set[str]:
    """Return the patients in groups of fewer than `least`."""
    sizes = Counter(of_patients.values())
    return {patient for patient, pattern in of_patients.items() if sizes[pattern] < least}


def to_empty(of_patients: Mapping[str, Pattern], least: int, nothing: Pattern) -> set[str]:
    """Return the patients whose quasi-identifiers are emptied, so that every group has `least` patients if any can.

    Who is emptied joins the group of those of whom `nothing` is known; while it is too small, the next smallest
    group joins it.
    """
    members: dict[Pattern, set[str]] = defaultdict(set)
    for patient, pattern in of_patients.items():
        members[pattern].add(patient)
    unknown = set(members.pop(nothing, set()))
    emptied: set[str] = set()
    for _, group in sorted(members.items(), key=lambda each: (len(each[1]), each[0])):
        together = len(unknown) + len(emptied)
        if len(group) >= least and not 0 < together < least:
            break
        emptied |= group
    return emptied


def empty(values: Mapping[str, Values], patients: Mapping[str, str], names: Iterable[str], emptied: set[str]) -> None:
    """Leave out the quasi-identifiers of some patients."""
    for name in names:
        for image_id in [image_id for image_id in values[name] if patients[image_id] in emptied]:
            del values[name][image_id]
