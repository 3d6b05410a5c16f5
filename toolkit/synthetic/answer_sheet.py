"""The answer sheet beside the export: every planted fault and change, every lesion, every annotator's skill."""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from toolkit.synthetic.annotators import SKILL
from toolkit.synthetic.labels import SyntheticLabel, is_merged, labels_of, majority, patient_ids
from toolkit.synthetic.plan import STAGES, PlannedPhotograph, Stage
from toolkit.synthetic.rows import Rows


class Planted(NamedTuple):
    """One row of planted.csv: a fault that this export holds, or a change since the stage before.

    `stage` is the one that brought it; `other_global_key` the photograph it was copied from, or one of the same person.
    """

    kind: str
    stage: int
    global_key: str
    other_global_key: str
    label_id: str
    detail: str


class LesionRecord(NamedTuple):
    """One row of lesions.csv: a lesion as it was generated, on the photograph as displayed."""

    global_key: str
    lesion: int
    class_name: str
    meant: bool
    """Whether annotators mean it; else it is a bystander."""
    left: float
    top: float
    width: float
    height: float
    person: int
    capture_site: str
    fitzpatrick: int
    traits: str


class Skill(NamedTuple):
    """One row of annotators.csv: an annotator's chance to be right, and how often they were in this export."""

    annotator: str
    skill: float
    readings: int
    right: int


class AnswerSheet:
    """The rows of the answer sheet to one stage's export, photograph by photograph, and counts of them."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.planted_by_kind: Counter[str] = Counter()
        self.photographs = 0
        self.people: set[int] = set()
        self._read: Counter[str] = Counter()
        self._right: Counter[str] = Counter()

    def planted(self, photograph: PlannedPhotograph) -> list[Planted]:
        """Return what is planted on a photograph, and what became of it since the stage before."""
        planted = [*self._faults(photograph), *self._wrong_labels(photograph), *self._changes(photograph)]
        self.photographs += 1
        self.people.add(photograph.person.number)
        self.planted_by_kind.update(row.kind for row in planted)
        return planted

    def lesions(self, photograph: PlannedPhotograph) -> Iterator[LesionRecord]:
        """Yield the lesions that a photograph shows."""
        person = photograph.person
        for position, lesion in enumerate(photograph.lesions):
            yield LesionRecord(
                global_key=self.rows.global_key(photograph),
                lesion=position + 1,
                class_name=lesion.class_name,
                meant=position < photograph.labelled,
                **lesion.box._asdict(),
                person=person.number,
                capture_site=person.capture_site,
                fitzpatrick=person.fitzpatrick,
                traits=" ".join(sorted(photograph.traits)),
            )

    def annotators(self) -> list[Skill]:
        """Return how often each annotator was right in the photographs seen so far."""
        return [Skill(name, skill, self._read[name], self._right[name]) for name, skill in SKILL.items()]

    def _row(
        self,
        kind: str,
        photograph: PlannedPhotograph,
        stage: int,
        *,
        detail: str = "",
        label: int | None = None,
        other: PlannedPhotograph | None = None,
    ) -> Planted:
        return Planted(
            kind=kind,
            stage=stage,
            global_key=self.rows.global_key(photograph),
            other_global_key=self.rows.global_key(other) if other else "",
            label_id="" if label is None else self.rows.label_id(photograph, label),
            detail=detail,
        )

    def _faults(self, photograph: PlannedPhotograph) -> Iterator[Planted]:
        """Yield the planted fault, unless the review has put it right."""
        stage, fault, note = self.rows.stage, photograph.fault, photograph.note
        reviewed = stage > photograph.arrived == 1
        moved = reviewed and fault == "box_on_wrong_lesion" and photograph.change == "moved_box"
        if fault is None or moved or is_merged(photograph, stage):
            return
        label = 0 if fault in ("box_over_edge", "box_on_wrong_lesion", "unknown_class") else None
        detail = {
            "patient_two_ids": f"{photograph.person.other_id} is {photograph.person.patient_id}",
            "contradictory_patient": " and ".join(patient_ids(photograph, stage)),
            "patient_spelling": f"{note.get('patient_id')!r} is {photograph.person.patient_id}",
            "unknown_class": note.get("answer", ""),
            "exif_rotated": f"orientation {note.get('orientation')}",
            "name_in_exif": note.get("name", ""),
            "name_in_metadata": note.get("name", ""),
        }
        yield self._row(
            fault, photograph, photograph.arrived, detail=detail.get(fault, ""), label=label, other=photograph.other
        )

    def _wrong_labels(self, photograph: PlannedPhotograph) -> Iterator[Planted]:
        """Yield the lesions whose labels, taken together, give another class than the true one."""
        labels = self._labels(photograph, self.rows.stage)
        if photograph.fault == "unknown_class" or photograph.state in ("skipped", "empty"):
            return
        for label in labels:
            self._read[label.annotator] += len(label.answers)
            self._right[label.annotator] += sum(map(str.__eq__, label.answers, photograph.class_names))
        for position, name in enumerate(photograph.class_names):
            answer = majority(labels, position)
            if answer not in (None, name):
                first = next(label.number for label in labels if label.answers[position] == answer)
                detail = f"lesion {position + 1} is said to be {answer}, is {name}"
                yield self._row(
                    "wrong_label", photograph, self._since(photograph, position), detail=detail, label=first
                )

    def _since(self, photograph: PlannedPhotograph, position: int) -> int:
        """Return the first stage in which the majority of a lesion's labels was wrong."""
        stages = (stage for stage in STAGES if stage >= photograph.arrived)
        answers = ((stage, majority(self._labels(photograph, stage), position)) for stage in stages)
        return next(stage for stage, answer in answers if answer not in (None, photograph.class_names[position]))

    def _labels(self, photograph: PlannedPhotograph, stage: Stage) -> list[SyntheticLabel]:
        return labels_of(photograph, stage, seed=self.rows.seed)

    def _changes(self, photograph: PlannedPhotograph) -> Iterator[Planted]:
        stage, change = self.rows.stage, photograph.change
        if photograph.arrived == 3:
            if photograph.person.number not in self.people:
                yield self._row("new_patient", photograph, 3)
        elif change == "patient_merge":
            if stage == 3:
                detail = f"{photograph.person.other_id} is now {photograph.person.patient_id}"
                yield self._row(change, photograph, 3, detail=detail, other=photograph.other)
        elif change and stage > 1:
            before = self._labels(photograph, 1)
            pairs = zip(before[0].answers, photograph.class_names, strict=True) if change == "relabelled" else ()
            detail = "; ".join(f"from {answer} to {name}" for answer, name in pairs if answer != name)
            label = len(before) - 1 if change == "deleted_label" else 0
            yield self._row(change, photograph, 2, detail=detail, label=label)
