"""The faults and the changes between stages that are planted on a plan: which, how often, on which photographs.

A photograph carries one planted fault or change at most, so that each can be judged alone.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import combinations, cycle, islice

from numpy.random import Generator

from toolkit.cases import Box
from toolkit.synthetic.copies import CHANGES, copied_box, copied_size
from toolkit.synthetic.plan import CLASSES, PlacedLesion, PlannedPhotograph

PER_CASE = 8.2 / 980
"""How often each fault is planted: eight times in 980 cases, in proportion elsewhere."""
UNKNOWN = ("actinic keratosis", "dermatofibroma", "Spitz nevus", "angioma", "nevu\u0455", "cannot tell")
"""Answers that are none of the study's classes; one is spelt with a letter that only looks like an s."""
NAMES = ("Muster, Anna", "Beispiel, Karl", "Doe, Jane", "Roe, Richard", "Dupont, Marie", "Rossi, Mario")
SPELLINGS: tuple[Callable[[str], str], ...] = (
    str.lower,
    lambda text: f" {text}  ",
    lambda text: "".join(chr(ord(c) + 0xFEE0) for c in text),
)
"""The same patient ID in lower case, with spaces around it, in full-width characters."""

_Fits = Callable[[PlannedPhotograph], bool]


def plant(rng: Generator, photographs: list[PlannedPhotograph], *, cases: int) -> None:
    """Plant every kind of fault, and every change of the second and third stage, on a block of `cases` cases."""
    planting = _Planting(rng, photographs, round(PER_CASE * cases))
    planting.second_ids()
    for change in CHANGES:
        planting.copies(change, within=True)
        planting.copies(change, within=False)
    planting.spellings()
    planting.patients()
    planting.labels()
    planting.files()
    planting.changes()


class _Planting:
    """Hands out photographs that carry no fault yet, in one random order."""

    def __init__(self, rng: Generator, photographs: list[PlannedPhotograph], times: int) -> None:
        self.rng, self.photographs, self.times = rng, photographs, times
        shuffled = [photographs[at] for at in rng.permutation(len(photographs))]
        self.free = [each for each in shuffled if each.state == "labelled"]

    def take(self, times: int, fits: _Fits = lambda _: True) -> list[PlannedPhotograph]:
        """Return up to `times` photographs that fit; they are not handed out again."""
        taken = list(islice(filter(fits, self.free), times))
        self.use(*taken)
        return taken

    def mark(self, fault: str, fits: _Fits = lambda _: True) -> list[PlannedPhotograph]:
        """Plant a fault on `times` photographs that fit, and return them."""
        taken = self.take(self.times, fits)
        for each in taken:
            each.fault = fault
        return taken

    def use(self, *photographs: PlannedPhotograph) -> None:
        """Hand these photographs out no more."""
        used = set(map(id, photographs))
        self.free = [each for each in self.free if id(each) not in used]

    def grouped(
        self, key: Callable[[PlannedPhotograph], object], fits: _Fits = lambda _: True
    ) -> Iterable[list[PlannedPhotograph]]:
        """Return the free photographs that fit, in groups of the same key."""
        groups: dict[object, list[PlannedPhotograph]] = {}
        for each in filter(fits, self.free):
            groups.setdefault(key(each), []).append(each)
        return groups.values()

    def of_one_person(self, times: int) -> list[list[PlannedPhotograph]]:
        """Return the free photographs of each of up to `times` people who have several."""
        groups = self.grouped(lambda each: each.person.number)
        return list(islice((own for own in groups if len(own) > 1), times))

    def second_ids(self) -> None:
        """Let people with several photographs go by a second patient ID on the last of them."""
        used = {int(each.person.patient_id.removeprefix("P-")) for each in self.photographs}
        unused = (number for number in range(max(used), 0, -1) if number not in used)
        for own in self.of_one_person(2 * self.times):
            first, *_, last = sorted(own, key=lambda each: each.index)
            last.person.other_id = f"P-{next(unused)}"
            last.fault, last.other = "patient_two_ids", first
            self.use(*own)

    def copies(self, change: str, *, within: bool) -> None:
        """Let photographs be copies of an earlier one: of the same patient, or of another with the same class."""

        def key(each: PlannedPhotograph) -> object:
            return each.person.number if within else each.class_names

        def pair(own: list[PlannedPhotograph]) -> list[PlannedPhotograph] | None:
            for one, other in combinations(own, 2):
                if one.class_names == other.class_names and (one.person is other.person) == within:
                    return sorted((one, other), key=lambda each: each.index)
            return None

        pairs = filter(None, map(pair, self.grouped(key, _shows_one)))
        for source, target in list(islice(pairs, self.times)):
            _copy(source, target, change, within=within)
            self.use(source, target)

    def spellings(self) -> None:
        """Spell patient IDs differently than on the patient's other photographs."""
        for (first, *_), spelling in zip(self.of_one_person(3 * self.times), cycle(SPELLINGS), strict=False):
            first.fault = "patient_spelling"
            first.note["patient_id"] = spelling(first.person.patient_id)
            self.use(first)

    def patients(self) -> None:
        """Leave patient IDs out, leave them empty, and give two."""
        for each in self.mark("missing_patient")[1::2]:
            each.note["patient_id"] = " "
        for each in self.mark("contradictory_patient"):
            others = [other for other in self.photographs if other.person is not each.person]
            each.note["other_patient_id"] = others[int(self.rng.integers(len(others)))].person.patient_id

    def labels(self) -> None:
        """Let boxes reach over the edge or enclose the wrong lesion, and answers be none of the classes."""
        for each in self.mark("box_over_edge", _has_one_box):
            _to_the_edge(each, side=int(self.rng.integers(4)))
        for each in self.mark("box_on_wrong_lesion", _has_one_box):
            each.lesions = _with_bystander(self.rng, each)
        answered_once = self.mark("unknown_class", lambda each: _read_once(each) and _shows_one(each))
        for each, answer in zip(answered_once, cycle(UNKNOWN), strict=False):
            each.note["answer"] = answer

    def files(self) -> None:
        """Rotate photographs by EXIF, and leave places and names in EXIF and in Labelbox's metadata."""
        for each, orientation in zip(self.mark("exif_rotated"), cycle("683"), strict=False):
            each.note["orientation"] = orientation
        for fault in ("gps_in_exif", "name_in_exif", "name_in_metadata"):
            for each in self.mark(fault):
                each.note["name"] = NAMES[int(self.rng.integers(len(NAMES)))]

    def changes(self) -> None:
        """Plan a round of review: it corrects and deletes labels, moves boxes, labels what was queued."""
        for each in self.take(2 * self.times, lambda each: _read_once(each) and _is_wrong(each)):
            each.change = "relabelled"
        for each in self.take(self.times, lambda each: len(each.readings) > 1):
            each.change = "deleted_label"
        for each in self.take(self.times, _has_one_box):
            each.change = "moved_box"
        half: dict[str, _Fits] = {
            "moved_box": lambda each: each.fault == "box_on_wrong_lesion",
            "newly_labelled": lambda each: each.state == "queued",
            "patient_merge": lambda each: each.fault == "patient_two_ids",
        }
        for change, fits in half.items():
            for each in list(filter(fits, self.photographs))[::2]:
                each.change = change


def _read_once(photograph: PlannedPhotograph) -> bool:
    return len(photograph.readings) == 1


def _shows_one(photograph: PlannedPhotograph) -> bool:
    return len(photograph.lesions) == 1


def _has_one_box(photograph: PlannedPhotograph) -> bool:
    return _shows_one(photograph) and _read_once(photograph) and photograph.boxed


def _is_wrong(photograph: PlannedPhotograph) -> bool:
    return photograph.readings[0].class_names != photograph.class_names


def _copy(source: PlannedPhotograph, target: PlannedPhotograph, change: str, *, within: bool) -> None:
    lesion = source.lesions[0] if within else target.lesions[0]
    target.lesions = (replace(lesion, box=copied_box(source.lesions[0].box, source.size, change)),)
    target.size = copied_size(source.size, change)
    target.traits = source.traits
    target.other, target.copy = source, change
    target.fault = f"duplicate_{change}_{'within' if within else 'across'}"


def _to_the_edge(photograph: PlannedPhotograph, *, side: int) -> None:
    """Let the lesion touch one side of the photograph; the annotator's box will reach over it."""
    (lesion,) = photograph.lesions
    box, (width, height) = lesion.box, photograph.size
    left = (0.0, width - box.width, box.left, box.left)[side]
    top = (box.top, box.top, 0.0, height - box.height)[side]
    photograph.lesions = (replace(lesion, box=Box(left, top, box.width, box.height)),)


def _with_bystander(rng: Generator, photograph: PlannedPhotograph) -> tuple[PlacedLesion, ...]:
    """Return the lesion that the annotator means and a bystander of another class beside it."""
    (meant,) = photograph.lesions
    (width, height), names = photograph.size, [name for name in CLASSES if name != meant.class_name]
    side = round(0.36 * height)
    room = round(0.06 * height)
    half = width // 2
    left = float(room + int(rng.integers(0, half - side - 2 * room + 1)))
    tops = [float(room + int(rng.integers(0, height - side - 2 * room + 1))) for _ in range(2)]
    other = str(rng.choice(names))
    return (
        replace(meant, box=Box(left, tops[0], float(side), float(side))),
        PlacedLesion(other, -1, meant.anatomical_site, Box(half + left, tops[1], float(side), float(side))),
    )
