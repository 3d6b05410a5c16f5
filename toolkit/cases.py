"""The cases on a photograph, found by matching the boxes of all annotators and revisions: one lesion is one case."""

import hashlib
from dataclasses import dataclass, field, replace
from statistics import median
from typing import NamedTuple

import numpy as np
import scipy


class Box(NamedTuple):
    """A rectangle in pixels of the photograph as displayed, origin top left."""

    left: float
    top: float
    width: float
    height: float

    def clipped(self, width: float, height: float) -> "Box | None":
        """Return the part of the box on a photograph of this size; None where nothing of it is."""
        left, top = max(self.left, 0.0), max(self.top, 0.0)
        right, bottom = min(self.left + self.width, width), min(self.top + self.height, height)
        return Box(left, top, right - left, bottom - top) if right > left and bottom > top else None

    def iou(self, other: "Box") -> float:
        """Return intersection over union."""
        across = min(self.left + self.width, other.left + other.width) - max(self.left, other.left)
        down = min(self.top + self.height, other.top + other.height) - max(self.top, other.top)
        shared = max(across, 0.0) * max(down, 0.0)
        union = self.width * self.height + other.width * other.height - shared
        return shared / union if union > 0 else 0.0


class LabelledBox(NamedTuple):
    """A box, or the extent of an outline, with the answers nested in it (raw spellings; empty where none).

    An outline whose extent is not known has no box; `problem` says why.
    """

    object_id: str
    box: Box | None
    answers: tuple[str, ...]
    is_outline: bool = False
    """Whether it was drawn as a polygon or a mask."""
    problem: str | None = None


@dataclass(frozen=True)
class Submission:
    """One revision of one label on one photograph; `answers` are those about the photograph as a whole."""

    label_id: str
    revision: int
    latest: bool
    skipped: bool
    annotator: str | None
    boxes: tuple[LabelledBox, ...] = ()
    answers: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    """Where it holds answers that are not read, such as "ImagePoint" or "a text answer"."""


class Reading(NamedTuple):
    """What one annotator says about one case; `answer` is the spelling the annotator chose."""

    label_id: str
    revision: int
    object_id: str | None
    annotator: str | None
    answer: str


class Finding(NamedTuple):
    """Something about a photograph's labels that a person should look at."""

    kind: str
    detail: str


@dataclass
class Lesion:
    """A cluster of boxes that mean the same lesion, or a whole photograph (no boxes)."""

    case_id: str
    boxes: dict[str, LabelledBox] = field(default_factory=dict)
    """The box each label has now, by label."""
    objects: set[str] = field(default_factory=set)
    """Every object that was ever matched to this lesion."""
    last: Box | None = None
    readings: list[Reading] = field(default_factory=list)
    ambiguous: list[str] = field(default_factory=list)
    """One line per submission that answers the question in several ways."""

    @property
    def roi(self) -> Box | None:
        """Return the middle box: the median of each side over the annotators' latest boxes."""
        boxes = [marked.box for marked in self.boxes.values() if marked.box]
        if len(boxes) < 2:
            return boxes[0] if boxes else None
        edges = [(box.left, box.top, box.left + box.width, box.top + box.height) for box in boxes]
        left, top, right, bottom = (float(median(side)) for side in zip(*edges, strict=True))
        return Box(left, top, right - left, bottom - top)

    @property
    def without_roi(self) -> str | None:
        """Return why an outlined lesion has no ROI; None where it has one, or was never outlined."""
        if self.roi or not self.boxes:
            return None
        return "; ".join(sorted({marked.problem or "its outline has no extent" for marked in self.boxes.values()}))


class PhotographCases(NamedTuple):
    """The cases on one photograph and what is odd about its labels."""

    lesions: list[Lesion]
    findings: list[Finding]


def case_id_of(image_id: str, object_id: str) -> str:
    """Return a case's ID: 16 hexadecimal digits over the photograph and the case's first-seen object ("" = none)."""
    return hashlib.sha256(f"{image_id}\0{object_id}".encode()).hexdigest()[:16]


def find_cases(image_id: str, submissions: list[Submission], *, iou: float) -> PhotographCases:
    """Match the boxes of a photograph's submissions, given oldest first, and attach what each annotator says.

    A case keeps its ID when its box is moved or relabelled, because old revisions take part in the matching. Boxes
    that only an old revision had are no cases.
    """
    findings: list[Finding] = []
    known: list[Lesion] = []
    submissions = [replace(s, boxes=_one_per_lesion(s.boxes, iou)) if _has_outlines(s) else s for s in submissions]
    for submission in submissions:
        if not submission.skipped:
            _match(image_id, submission, known, findings, iou)
    lesions = [lesion for lesion in known if lesion.boxes] or [Lesion(case_id_of(image_id, ""))]
    latest = [s for s in submissions if s.latest and not s.skipped]
    for submission in latest:
        _read(submission, lesions, findings)
    boxed = [s for s in latest if s.boxes]
    for lesion in lesions if len(boxed) > 1 else []:
        if len(lesion.boxes) < len(boxed):
            finding = Finding("unmatched_box", f"case {lesion.case_id}: drawn by {len(lesion.boxes)} of {len(boxed)}")
            findings.append(finding)
    return PhotographCases(lesions, findings)


def _has_outlines(submission: Submission) -> bool:
    return len(submission.boxes) > 1 and any(marked.is_outline for marked in submission.boxes)


def _one_per_lesion(boxes: tuple[LabelledBox, ...], iou: float) -> tuple[LabelledBox, ...]:
    """Return a label's boxes and outlines, each box with the answers of the outline that it surrounds."""
    drawn = [marked for marked in boxes if not marked.is_outline]
    outlines = [marked for marked in boxes if marked.is_outline]
    overlap = [[_shared(box.box, outline.box) for outline in outlines] for box in drawn]
    if len(drawn) == len(outlines) == 1 and None in (drawn[0].box, outlines[0].box):
        pairs = [(0, 0)]
    else:
        pairs = [(row, column) for row, column in _assigned(overlap) if overlap[row][column] >= iou]
    answers = {drawn[row].object_id: outlines[column].answers for row, column in pairs}
    within = {outlines[column].object_id for _, column in pairs}
    return tuple(
        marked._replace(answers=(*marked.answers, *answers.get(marked.object_id, ())))
        for marked in boxes
        if marked.object_id not in within
    )


def _match(image_id: str, submission: Submission, known: list[Lesion], findings: list[Finding], iou: float) -> None:
    """Give every box its lesion: the one its object had before, else the best overlap, else a new one."""
    home = {m.object_id: lesion for m in submission.boxes for lesion in known if m.object_id in lesion.objects}
    taken = {id(lesion) for lesion in home.values()}
    free = [lesion for lesion in known if id(lesion) not in taken]
    if not home and len(known) == len(submission.boxes) == 1 and None in (known[0].last, submission.boxes[0].box):
        home = {submission.boxes[0].object_id: known[0]}  # one lesion by each: no overlap is needed
    new = [marked for marked in submission.boxes if marked.object_id not in home]
    overlap = [[_overlap(marked, lesion) for lesion in free] for marked in new]
    for marked, overlaps in zip(new, overlap, strict=True):
        if sum(share >= iou for share in overlaps) > 1:
            findings.append(Finding("ambiguous_box", f"object {marked.object_id} overlaps several lesions"))
    home |= {new[r].object_id: free[c] for r, c in _assigned(overlap) if overlap[r][c] >= iou}
    for marked in submission.boxes:
        if marked.object_id not in home:
            home[marked.object_id] = Lesion(case_id_of(image_id, marked.object_id))
            known.append(home[marked.object_id])
        _join(home[marked.object_id], submission, marked)


def _assigned(overlap: list[list[float]]) -> list[tuple[int, int]]:
    """Return which row goes with which column, so that together they overlap most."""
    if len(overlap) < 2 and all(len(row) < 2 for row in overlap):
        return [(0, 0)] if overlap and overlap[0] else []
    rows, columns = scipy.optimize.linear_sum_assignment(np.array(overlap), maximize=True)
    return list(zip(rows.tolist(), columns.tolist(), strict=True))


def _overlap(marked: LabelledBox, lesion: Lesion) -> float:
    return _shared(lesion.last, marked.box)


def _shared(one: Box | None, other: Box | None) -> float:
    return one.iou(other) if one and other else 0.0


def _join(lesion: Lesion, submission: Submission, marked: LabelledBox) -> None:
    lesion.objects.add(marked.object_id)
    lesion.last = marked.box or lesion.last
    if submission.latest:
        lesion.boxes[submission.label_id] = marked


def _read(submission: Submission, lesions: list[Lesion], findings: list[Finding]) -> None:
    """Attach a submission's answers: the one nested in a box, else the photograph's where it has a single case."""
    unanswered = []
    for lesion in lesions:
        marked = lesion.boxes.get(submission.label_id)
        if marked and marked.answers:
            _attach(lesion, submission, marked.object_id, marked.answers)
        else:
            unanswered.append((lesion, marked.object_id if marked else None))
    if not submission.answers:
        return
    _contradict(submission, lesions, findings)
    if len(lesions) == 1:
        for lesion, object_id in unanswered:
            _attach(lesion, submission, object_id, submission.answers)
    elif unanswered:
        finding = f"label {submission.label_id}: one answer for {len(lesions)} lesions"
        findings.append(Finding("ambiguous_answer", finding))


def _contradict(submission: Submission, lesions: list[Lesion], findings: list[Finding]) -> None:
    """Tell where a submission's answers about the photograph are none of those in its boxes."""
    marked = [lesion.boxes[submission.label_id] for lesion in lesions if submission.label_id in lesion.boxes]
    in_boxes = {answer for each in marked for answer in each.answers}
    if others := sorted(set(submission.answers) - in_boxes) if in_boxes else []:
        words = f"{', '.join(sorted(in_boxes))} in the box, {', '.join(others)} about the photograph"
        findings.append(Finding("contradiction", f"label {submission.label_id}: {words}"))


def _attach(lesion: Lesion, submission: Submission, object_id: str | None, answers: tuple[str, ...]) -> None:
    distinct = sorted(set(answers))
    if len(distinct) > 1:
        lesion.ambiguous.append(f"label {submission.label_id} answers {len(distinct)} ways")
        return
    reading = Reading(submission.label_id, submission.revision, object_id, submission.annotator, distinct[0])
    lesion.readings.append(reading)
