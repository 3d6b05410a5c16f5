"""The plan of a sample: patients, their lesions and photographs, in the proportions of the published study."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.random import Generator, default_rng

from toolkit.cases import Box
from toolkit.errors import ToolkitError
from toolkit.shipped import shipped

State = Literal["labelled", "queued", "skipped", "empty"]
ClassNames = tuple[str, ...]
"""The classes of the lesions on one photograph."""
Draft = tuple[ClassNames, State]
Stage = Literal[1, 2, 3]
STAGES: tuple[Stage, ...] = (1, 2, 3)

# Photographs per patient of one class; with patients of two classes about 600 patients for 980 photographs.
GROUP_SIZES = (1, 2, 3, 4, 5)
GROUP_CHANCES = (0.64, 0.22, 0.09, 0.03, 0.02)
MOST = GROUP_SIZES[-1]

BLOCK = 1000
"""Cases planned at once: a sample of a million is planned in a thousand blocks, in the memory of one."""
GROWTH = 0.25
"""Share of cases, of new patients, that the third stage adds."""
CODES = 9000
"""Patient numbers reserved for one block; those in use are chosen at random, so that they say nothing."""


class ClassProfile(NamedTuple):
    """A class of the study: how many photographs the paper had, its look-alike, and who has it, where."""

    photographs: int
    look_alike: str
    youngest: int
    oldest: int
    women: float
    sites: list[str]
    skin: list[float]
    north: float


CLASSES = {
    name: ClassProfile(**profile)
    for name, profile in tomllib.loads((shipped("manifests") / "sample" / "classes.toml").read_text("utf-8")).items()
}
SIZES = {"clinic-north": (288, 240), "clinic-south": (240, 180)}
"""Width and height in pixels of the photographs of each site of care."""


@dataclass
class Person:
    """One made-up person; `other_id` is a second patient ID that the same person also goes by."""

    number: int
    patient_id: str
    sex: str
    age: int
    fitzpatrick: int
    tone: float
    """How far the skin is darker (or lighter) than the middle of its phototype, in its units of absorption."""
    capture_site: str
    other_id: str | None = None


@dataclass(frozen=True)
class PlacedLesion:
    """One lesion on one photograph; `number` is the lesion's within the patient, below 0 for a bystander."""

    class_name: str
    number: int
    anatomical_site: str
    box: Box


@dataclass(frozen=True)
class PlannedReading:
    """What one annotator answers for each labelled lesion of a photograph."""

    annotator: str
    class_names: tuple[str, ...]


@dataclass(eq=False)
class PlannedPhotograph:
    """One photograph: its lesions, its readings, and what is planted on it.

    The first `labelled` of its lesions are the ones that annotators mean; a bystander comes after them.
    """

    index: int
    person: Person
    arrived: Stage
    state: State
    size: tuple[int, int]
    lesions: tuple[PlacedLesion, ...]
    labelled: int
    boxed: bool
    traits: frozenset[str]
    """Which of hair, pen, ruler, glare and blur the photograph has."""
    readings: tuple[PlannedReading, ...] = ()
    fault: str | None = None
    """The kind of fault planted on it."""
    change: str | None = None
    """What becomes of its labels in the second stage."""
    other: "PlannedPhotograph | None" = None
    """The photograph that this one is a copy of, or one of the same person under the first patient ID."""
    copy: str | None = None
    """How this photograph was changed from the other one."""
    note: dict[str, str] = field(default_factory=dict)
    """What the fault needs: a second patient ID, a spelling, an answer, a name."""

    @property
    def name(self) -> str:
        """The file's name; it says nothing about the patient."""
        return f"IMG_{self.index + 1:05d}.jpg"

    @property
    def class_names(self) -> tuple[str, ...]:
        """The true classes of the lesions that annotators mean."""
        return tuple(each.class_name for each in self.lesions[: self.labelled])


@dataclass(frozen=True)
class Block:
    """How many cases are planned together, from which number on, and in which stage they arrive."""

    number: int
    cases: int
    arrived: Stage


def blocks(cases: int, stage: Stage) -> Iterator[Block]:
    """Cut a sample into blocks; those that the third stage adds come last, so that earlier stages stay as they are."""
    fewest = 2 * len(CLASSES)
    if cases < fewest:
        raise ToolkitError(
            f"{cases} cases are too few for a sample",
            place="cases",
            remedy=f"ask for at least {fewest}: two patients of each of {len(CLASSES)} classes",
        )
    number = 0
    for arrived, total in ((1, cases), (3, max(fewest, round(GROWTH * cases)))):
        if arrived > stage:
            return
        count = -(-total // BLOCK)
        for each in range(count):
            yield Block(number, total // count + (each < total % count), arrived)
            number += 1


def plan(seed: int, block: Block, *, first: int) -> list[PlannedPhotograph]:
    """Plan a block's photographs, numbered from `first`; a few more than its cases are queued, skipped or left empty.

    About 3 % show two lesions of different classes.
    """
    rng = default_rng([seed, 1, block.number])
    people = _merged(rng, _grouped(rng, block.cases), pairs=max(1, round(0.03 * block.cases)))
    drafts = _with_unlabelled(rng, people, each=max(1, round(block.cases / 100)))
    codes = 1000 + CODES * block.number + rng.permutation(CODES)
    photographs = []
    for number, drafted in enumerate(drafts):
        first_class = drafted[0][0][0]
        person = _person(rng, first + number, f"P-{codes[number]}", CLASSES[first_class])
        lesions: list[PlacedLesion] = []
        photographs += [_photograph(rng, person, draft, block.arrived, lesions) for draft in drafted]
    photographs = [photographs[at] for at in rng.permutation(len(photographs))]
    for index, photograph in enumerate(photographs):
        photograph.index = first + index
    return photographs


def class_counts(cases: int) -> dict[str, int]:
    """Share `cases` among the classes as in the paper, by largest remainder, at least two each."""
    whole = sum(profile.photographs for profile in CLASSES.values())
    exact = {name: cases * profile.photographs / whole for name, profile in CLASSES.items()}
    counts = {name: max(2, int(share)) for name, share in exact.items()}
    by_need = sorted(CLASSES, key=lambda name: counts[name] - exact[name])
    while sum(counts.values()) < cases:
        for name in by_need[: cases - sum(counts.values())]:
            counts[name] += 1
    while sum(counts.values()) > cases:
        counts[max(counts, key=lambda name: counts[name] - exact[name] if counts[name] > 2 else -np.inf)] -= 1
    return counts


def _grouped(rng: Generator, cases: int) -> list[ClassNames]:
    """Share each class's lesions among patients, at least two patients a class."""
    groups: list[ClassNames] = []
    for name, count in class_counts(cases).items():
        left, most = count, min(MOST, count - 1)
        while left:
            size = min(int(rng.choice(GROUP_SIZES, p=GROUP_CHANCES)), most, left)
            groups.append((name,) * size)
            left, most = left - size, MOST
    return groups


def _merged(rng: Generator, groups: list[ClassNames], *, pairs: int) -> list[list[ClassNames]]:
    """Give some patients lesions of two classes; for the first `pairs` of them one photograph shows both."""
    order = [groups[index] for index in rng.permutation(len(groups))]
    merged: list[list[ClassNames]] = []
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


def _with_unlabelled(rng: Generator, people: list[list[ClassNames]], *, each: int) -> list[list[Draft]]:
    """Add `each` photographs that are queued, skipped, and left empty, to patients of few photographs."""
    labelled: list[list[Draft]] = [[(names, "labelled") for names in own] for own in people]
    roomy = [own for own in labelled if len(own) < MOST]
    states: tuple[State, ...] = ("queued", "skipped", "empty")
    for order, at in enumerate(rng.permutation(len(roomy))[: len(states) * each]):
        roomy[at].append((roomy[at][0][0][:1], states[order // each]))
    return labelled


def _person(rng: Generator, number: int, patient_id: str, profile: ClassProfile) -> Person:
    return Person(
        number=number,
        patient_id=patient_id,
        sex="female" if rng.uniform() < profile.women else "male",
        age=int(rng.integers(profile.youngest, profile.oldest, endpoint=True)),
        fitzpatrick=int(rng.choice(6, p=profile.skin)) + 1,
        tone=float(rng.normal(0, 0.06)),
        capture_site="clinic-north" if rng.uniform() < profile.north else "clinic-south",
    )


def _photograph(
    rng: Generator, person: Person, draft: Draft, arrived: Stage, earlier: list[PlacedLesion]
) -> PlannedPhotograph:
    """Plan one photograph; of the patient's `earlier` lesions one may be photographed again, new ones are added."""
    class_names, state = draft
    size = SIZES[person.capture_site]
    share = size[0] // len(class_names)
    lesions = []
    for position, name in enumerate(class_names):
        box = _lesion_box(rng, size, position * share, share)
        again = [lesion for lesion in earlier if lesion.class_name == name] if rng.uniform() < 0.25 else []
        if again:
            lesions.append(replace(again[-1], box=box))
        else:
            site = str(rng.choice(CLASSES[name].sites))
            lesions.append(PlacedLesion(name, len(earlier) + 1, site, box))
            earlier.append(lesions[-1])
    return PlannedPhotograph(
        index=0,
        person=person,
        arrived=arrived,
        state=state,
        size=size,
        lesions=tuple(lesions),
        labelled=len(lesions),
        boxed=len(lesions) > 1 or rng.uniform() < 0.97,
        traits=_traits(rng, person.capture_site, class_names),
    )


def _lesion_box(rng: Generator, size: tuple[int, int], start: int, share: int) -> Box:
    """Return where a lesion lies: inside its share of the width, with room for its border to fade."""
    longest = rng.uniform(0.48, 0.74) * size[1] if share == size[0] else rng.uniform(0.36, 0.45) * size[1]
    aspect = rng.uniform(0.87, 1.15)
    width, height = round(longest * min(1, aspect)), round(longest * min(1, 1 / aspect))
    room = round(0.1 * longest)
    left = int(rng.integers(start + room, max(start + share - width - room, start + room) + 1))
    top = int(rng.integers(room, size[1] - height - room + 1))
    return Box(float(left), float(top), float(width), float(height))


def _traits(rng: Generator, capture_site: str, class_names: ClassNames) -> frozenset[str]:
    """Choose what else the photograph shows; surgeons mark what they will cut, and the clinic's camera is shaky."""
    north = capture_site == "clinic-north"
    cut = "malignant_melanoma" in class_names or "basal_cell_carcinoma" in class_names
    chances = {
        "hair": 0.25,
        "pen": 0.12 if north and cut else 0.04,
        "ruler": 0.10 if north else 0.03,
        "glare": 0.08 if north else 0.15,
        "blur": 0.06 if north else 0.16,
    }
    return frozenset(name for name, chance in chances.items() if rng.uniform() < chance)
