"""Knows who is photographed and what of: patients, their photographs, the classes on each, in the study's proportions.

Knows nothing of pixels (`lesions`, `drawing`) nor of Labelbox (`rows`).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.random import Generator

from toolkit.errors import ToolkitError

State = Literal["labelled", "queued", "skipped"]
Group = tuple[str, ...]

# Photographs per patient of one class; with patients of two classes about 600 patients for 980 photographs.
GROUP_SIZES = (1, 2, 3, 4, 5)
GROUP_CHANCES = (0.64, 0.22, 0.09, 0.03, 0.02)
MOST = GROUP_SIZES[-1]


@dataclass(frozen=True)
class Kind:
    """A class of the study: how many the paper had, which class it is taken for, and who has it where."""

    photographs: int
    taken_for: str
    ages: tuple[int, int]
    women: float
    sites: tuple[str, ...]


_FACE = ("cheek", "forehead", "nose", "temple")
_BODY = ("back", "chest", "upper arm", "thigh", "foot")
_SUN = (*_FACE, "hand", "forearm")
KINDS: dict[str, Kind] = {
    "acquired_dermal_melanocytosis": Kind(136, "solar_lentigo", (25, 60), 0.9, _FACE),
    "basal_cell_carcinoma": Kind(113, "seborrheic_keratosis", (50, 92), 0.5, (*_FACE, "back")),
    "ephelis": Kind(92, "solar_lentigo", (8, 45), 0.7, (*_SUN, "chest")),
    "malignant_melanoma": Kind(100, "nevus", (30, 90), 0.5, (*_BODY, "cheek")),
    "melasma": Kind(167, "solar_lentigo", (25, 58), 0.93, _FACE),
    "nevus": Kind(91, "malignant_melanoma", (10, 65), 0.55, (*_BODY, "cheek")),
    "seborrheic_keratosis": Kind(123, "basal_cell_carcinoma", (45, 92), 0.5, (*_BODY, *_FACE)),
    "solar_lentigo": Kind(157, "acquired_dermal_melanocytosis", (40, 88), 0.65, _SUN),
}


@dataclass(frozen=True)
class Patient:
    """One made-up person."""

    patient_id: str
    sex: str
    age: int
    fitzpatrick: int
    capture_site: str


@dataclass(frozen=True)
class Photograph:
    """One photograph to be drawn; two classes where two lesions lie side by side."""

    index: int
    patient: Patient
    lesion_id: str
    anatomical_site: str
    class_names: tuple[str, ...]
    state: State

    @property
    def name(self) -> str:
        """The file's name; it says nothing about the patient."""
        return f"IMG_{self.index + 1:05d}.jpg"


def plan(rng: Generator, cases: int) -> list[Photograph]:
    """Plan photographs that show `cases` labelled lesions, and a few more that are queued or were skipped.

    About 3 % show two lesions of different classes.
    """
    if cases < 2 * len(KINDS):
        raise ToolkitError(
            f"{cases} cases are too few for a sample",
            place="cases",
            remedy=f"ask for at least {2 * len(KINDS)}: two patients of each of {len(KINDS)} classes",
        )
    patients = _merged(rng, _grouped(rng, cases), pairs=max(1, round(0.03 * cases)))
    drafts = [
        (number, shown, state)
        for number, photographs in enumerate(_with_unlabelled(rng, patients, each=max(1, round(cases / 100))))
        for shown, state in photographs
    ]
    return _numbered(rng, drafts, cases)


def class_counts(cases: int) -> dict[str, int]:
    """Share `cases` among the classes as in the paper, by largest remainder, at least two each."""
    whole = sum(kind.photographs for kind in KINDS.values())
    exact = {name: cases * kind.photographs / whole for name, kind in KINDS.items()}
    counts = {name: max(2, int(share)) for name, share in exact.items()}
    by_need = sorted(KINDS, key=lambda name: counts[name] - exact[name])
    while sum(counts.values()) < cases:
        for name in by_need[: cases - sum(counts.values())]:
            counts[name] += 1
    while sum(counts.values()) > cases:
        counts[max(counts, key=lambda name: counts[name] - exact[name] if counts[name] > 2 else -np.inf)] -= 1
    return counts


def _grouped(rng: Generator, cases: int) -> list[Group]:
    """Share each class's lesions among patients, at least two patients a class."""
    groups: list[Group] = []
    for name, count in class_counts(cases).items():
        left, most = count, min(MOST, count - 1)
        while left:
            size = min(int(rng.choice(GROUP_SIZES, p=GROUP_CHANCES)), most, left)
            groups.append((name,) * size)
            left, most = left - size, MOST
    return groups


def _merged(rng: Generator, groups: list[Group], *, pairs: int) -> list[list[Group]]:
    """Give some patients lesions of two classes; for the first `pairs` of them one photograph shows both."""
    order = [groups[index] for index in rng.permutation(len(groups))]
    merged: list[list[Group]] = []
    while order and len(merged) < 2 * pairs:
        first = order.pop()
        fits = (at for at, other in enumerate(order) if other[0] != first[0] and len(first) + len(other) <= MOST)
        partner = next(fits, None)
        if partner is None:
            merged.append([(name,) for name in first])
            continue
        second = order.pop(partner)
        together = [(first[0], second[0])] if len(merged) < pairs else []
        rest = (first[1:] + second[1:]) if together else first + second
        merged.append(together + [(name,) for name in rest])
    return merged + [[(name,) for name in group] for group in order]


def _with_unlabelled(rng: Generator, patients: list[list[Group]], *, each: int) -> list[list[tuple[Group, State]]]:
    """Add `each` photographs that are queued and `each` that an annotator skipped, to patients of few photographs."""
    labelled: list[list[tuple[Group, State]]] = [[(shown, "labelled") for shown in own] for own in patients]
    roomy = [own for own in labelled if len(own) < MOST]
    chosen = rng.permutation(len(roomy))[: 2 * each]
    for order, at in enumerate(chosen):
        state: State = "queued" if order < each else "skipped"
        roomy[at].append((roomy[at][0][0][:1], state))
    return labelled


def _numbered(rng: Generator, drafts: list[tuple[int, Group, State]], cases: int) -> list[Photograph]:
    """Shuffle the photographs, so that neither order nor name says whose they are, and make up their patients."""
    codes = rng.permutation(9000)[: 9 * cases] + 1000
    lesions: dict[int, int] = {}
    people: dict[int, Patient] = {}
    photographs = []
    for index, at in enumerate(rng.permutation(len(drafts))):
        number, shown, state = drafts[at]
        kind = KINDS[shown[0]]
        if number not in people:
            people[number] = _patient(rng, f"P-{codes[number]}", kind)
        lesions[number] = lesions.get(number, 0) + 1
        photographs.append(
            Photograph(
                index=index,
                patient=people[number],
                lesion_id=str(lesions[number]),
                anatomical_site=str(rng.choice(kind.sites)),
                class_names=shown,
                state=state,
            )
        )
    return photographs


def _patient(rng: Generator, patient_id: str, kind: Kind) -> Patient:
    return Patient(
        patient_id=patient_id,
        sex="female" if rng.uniform() < kind.women else "male",
        age=int(rng.integers(*kind.ages, endpoint=True)),
        fitzpatrick=int(rng.choice(6, p=(0.06, 0.2, 0.32, 0.26, 0.11, 0.05))) + 1,
        capture_site=str(rng.choice(["clinic-north", "clinic-south", "clinic-west"], p=(0.5, 0.3, 0.2))),
    )
