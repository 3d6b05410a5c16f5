"""The labels and patient IDs of a photograph at each stage: after the first round, after review, later."""

from dataclasses import dataclass, replace
from statistics import multimode

import numpy as np
from numpy.random import Generator, default_rng

from toolkit.cases import Box
from toolkit.synthetic.plan import PlannedPhotograph, Stage


@dataclass(frozen=True)
class SyntheticLabel:
    """One annotator's label at one stage: an answer for each lesion, and a box for each, or no box at all."""

    number: int
    annotator: str
    answers: tuple[str, ...]
    boxes: tuple[Box, ...]
    reviewed: bool = False
    """Whether the review changed it."""


def labels_of(photograph: PlannedPhotograph, stage: Stage, *, seed: int) -> list[SyntheticLabel]:
    """Return a photograph's labels at a stage; what review did not touch is the same at all stages."""
    reviewed = stage > photograph.arrived == 1
    if photograph.state == "queued" and not (reviewed and photograph.change == "newly_labelled"):
        return []
    rng = default_rng([seed, 4, photograph.index])
    answers = (photograph.note["answer"],) if photograph.fault == "unknown_class" else ()
    labels = [
        SyntheticLabel(number, reading.annotator, answers or reading.class_names, _boxes(rng, photograph))
        for number, reading in enumerate(photograph.readings)
    ]
    if reviewed and photograph.change == "deleted_label":
        return labels[:-1]
    if reviewed and photograph.change == "relabelled":
        return [replace(labels[0], answers=photograph.class_names, reviewed=True)]
    if reviewed and photograph.change == "moved_box":
        return [replace(labels[0], boxes=_reviewed(rng, photograph), reviewed=True)]
    return labels


def patient_ids(photograph: PlannedPhotograph, stage: Stage) -> list[str]:
    """Return the patient IDs in a photograph's metadata at a stage: one, unless a fault is planted on it."""
    person, note = photograph.person, photograph.note
    if photograph.fault == "missing_patient":
        return [note["patient_id"]] if "patient_id" in note else []
    if photograph.fault == "contradictory_patient":
        return [person.patient_id, note["other_patient_id"]]
    if photograph.fault == "patient_two_ids" and not is_merged(photograph, stage):
        return [person.other_id or ""]
    return [note.get("patient_id", person.patient_id)]


def is_merged(photograph: PlannedPhotograph, stage: Stage) -> bool:
    """Tell whether the two patient IDs of this photograph's person have been found out and made one."""
    return stage > 2 and photograph.arrived == 1 and photograph.change == "patient_merge"


def majority(labels: list[SyntheticLabel], position: int) -> str | None:
    """Return the answer that most labels give for a lesion; None at a tie, and where there is none."""
    winners = multimode(label.answers[position] for label in labels)
    return winners[0] if len(winners) == 1 else None


def _boxes(rng: Generator, photograph: PlannedPhotograph) -> tuple[Box, ...]:
    """Return boxes as drawn by hand: each side a little off; clipped to the photograph, unless that is the fault."""
    if not photograph.boxed or photograph.state in ("skipped", "empty"):
        return ()
    wrong = photograph.fault == "box_on_wrong_lesion"
    lesions = photograph.lesions[1:] if wrong else photograph.lesions[: photograph.labelled]
    boxes = tuple(_by_hand(rng, lesion.box, photograph.size) for lesion in lesions)
    return tuple(_over_the_edge(box, photograph) for box in boxes) if photograph.fault == "box_over_edge" else boxes


def _by_hand(rng: Generator, box: Box, size: tuple[int, int]) -> Box:
    """Return a box around the same lesion by another hand: each side up to about 5 % off, inside the photograph."""
    off = rng.normal(0, 0.02, 4) * np.array([box.width, box.height, box.width, box.height])
    left, top = max(0, round(box.left + off[0])), max(0, round(box.top + off[1]))
    right = min(size[0], round(box.left + box.width + off[2]))
    bottom = min(size[1], round(box.top + box.height + off[3]))
    return Box(float(left), float(top), float(right - left), float(bottom - top))


def _over_the_edge(box: Box, photograph: PlannedPhotograph) -> Box:
    """Return a box at the edge of the photograph so that it reaches a tenth of its size over it."""
    across, down = round(0.1 * box.width), round(0.1 * box.height)
    true = photograph.lesions[0].box
    left = -float(across) if true.left <= 0 else box.left
    top = -float(down) if true.top <= 0 else box.top
    right = box.left + box.width + across * (true.left + true.width >= photograph.size[0])
    bottom = box.top + box.height + down * (true.top + true.height >= photograph.size[1])
    return Box(left, top, right - left, bottom - top)


def _reviewed(rng: Generator, photograph: PlannedPhotograph) -> tuple[Box, ...]:
    """Return the box after review: on the right lesion, or a good tenth wider than the first annotator's."""
    true = photograph.lesions[0].box
    if photograph.fault == "box_on_wrong_lesion":
        return (_by_hand(rng, true, photograph.size),)
    across, down = 0.12 * true.width, 0.12 * true.height
    wide = Box(true.left - across, true.top - down, true.width + 2 * across, true.height + 2 * down)
    return (_by_hand(rng, wide, photograph.size),)
