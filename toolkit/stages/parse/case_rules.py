"""A study's rules for a photograph's labels: which cases may be used, which readings count, and why others do not."""

from dataclasses import dataclass, field

import msgspec

from toolkit.cases import Box, LabelledBox, Lesion, Reading, Submission, find_cases
from toolkit.labelbox_json.terms import nearest_class
from toolkit.manifest import Study
from toolkit.stages.parse.photographs import PhotographLookup

Size = tuple[int | None, int | None]
NO_ROI = (None, None, None, None)


class StateLabel(msgspec.Struct, gc=False):
    """A label that exists in a state, with what the study's policies depend on."""

    label_id: str
    revision: int
    workflow_status: str | None
    benchmark: bool


class PhotographState(msgspec.Struct, gc=False):
    """A photograph with its labels, as it was from the moment `since` to `until`; None = it still is."""

    since: int
    until: int | None
    patient_fault: str | None
    width: int | None
    height: int | None
    labels: list[StateLabel]


class LabelRevision(msgspec.Struct, gc=False):
    """A revision of a label, and the moment of its first export."""

    label_id: str
    revision: int
    since: int
    skipped: bool
    annotator: str | None
    boxes: list[LabelledBox]
    answers: tuple[str, ...]
    elsewhere: tuple[str, ...]

    def submission(self, labels: dict[tuple[str, int], StateLabel]) -> Submission:
        """Return it as a submission in a state with these labels; an object that is listed twice counts once."""
        return Submission(
            label_id=self.label_id,
            revision=self.revision,
            latest=(self.label_id, self.revision) in labels,
            skipped=self.skipped,
            annotator=self.annotator,
            boxes=tuple({marked.object_id: marked for marked in self.boxes}.values()),
            answers=self.answers,
            elsewhere=self.elsewhere,
        )


class PhotographHistory(msgspec.Struct, gc=False):
    """A photograph of the study with its states and every revision of its labels, oldest first."""

    image_id: str
    export_id: str
    patient_id: str | None
    lesion_id: str | None
    states: list[PhotographState]
    submissions: list[LabelRevision]


class CaseRecord(msgspec.Struct, gc=False):
    """A case in one state, its ROI clipped to the photograph."""

    case_id: str
    image_id: str
    patient_id: str | None
    lesion_id: str | None
    roi_left: float | None
    roi_top: float | None
    roi_width: float | None
    roi_height: float | None
    unread: str | None
    since: int
    until: int | None


class CaseReading(msgspec.Struct, gc=False):
    """What one annotator says about a case in one state, and whether it counts by the study's policy."""

    case_id: str
    label_id: str
    revision: int
    object_id: str | None
    annotator: str | None
    class_name: str
    counts: bool
    benchmark: bool
    since: int
    until: int | None


class CaseFinding(msgspec.Struct, gc=False):
    """Something about a photograph's labels that a person should look at."""

    kind: str
    source: str
    case_id: str
    detail: str


class Issue(msgspec.Struct, gc=False):
    """Something that was kept out, or changed, with the reason."""

    export_id: str
    level: str
    reason: str
    detail: str
    image_id: str | None = None
    line: int | None = None
    byte_offset: int | None = None


@dataclass
class UsableCases:
    """The cases of a photograph that may be used, their readings, and why others may not."""

    photograph: PhotographHistory
    cases: list[CaseRecord] = field(default_factory=list)
    readings: list[CaseReading] = field(default_factory=list)
    findings: list[CaseFinding] = field(default_factory=list)
    issues: list[Issue] = field(default_factory=list)

    def issue(self, reason: str, detail: str, *, level: str = "case") -> None:
        """Add one reason why something is kept out or changed."""
        self.issues.append(Issue(self.photograph.export_id, level, reason, detail, self.photograph.image_id))


class CaseRules:
    """A study's rules, applied to one photograph after the other; `annotator` is the pseudonym of the policy's."""

    def __init__(self, study: Study, annotator: str | None) -> None:
        self.study, self.annotator = study, annotator
        self.classes = set(study.class_names)

    def apply(
        self, photograph: PhotographHistory, state: PhotographState, file: PhotographLookup | None
    ) -> UsableCases:
        """Return the usable cases of a photograph in one of its states."""
        labels = {(label.label_id, label.revision): label for label in state.labels}
        revisions = [x for x in photograph.submissions if state.until is None or x.since < state.until]
        submissions = [revision.submission(labels) for revision in revisions]
        lesions, findings = find_cases(photograph.image_id, submissions, iou=self.study.ingest.box_iou)
        usable = UsableCases(photograph)
        photograph_usable = self.is_usable(state, submissions, file, usable)
        size = (file.probe.width, file.probe.height) if file and file.probe else (state.width, state.height)
        for lesion in [lesion for lesion in lesions if self.is_kept(lesion, usable) and photograph_usable]:
            clipped = _clipped(lesion.roi, size)
            if self.has_place(lesion, lesions, usable) and self.fits(lesion, clipped, usable):
                unread = None if lesion.readings else _why_unread(submissions)
                own = (photograph.image_id, photograph.patient_id, photograph.lesion_id)
                span = (state.since, state.until)
                usable.cases.append(CaseRecord(lesion.case_id, *own, *(clipped or NO_ROI), unread, *span))
                for reading in lesion.readings:
                    label = labels[reading.label_id, reading.revision]
                    counts = self.counts(reading, label.workflow_status)
                    usable.readings.append(CaseReading(lesion.case_id, *reading, counts, label.benchmark, *span))
        for submission in submissions:
            if submission.elsewhere and submission.latest and not submission.skipped:
                usable.issue("answer_elsewhere", _not_read(submission), level="warning")
        if usable.cases:
            first = usable.cases[0].case_id
            usable.findings = [CaseFinding(kind, "parse", first, detail) for kind, detail in findings]
        return usable

    def is_usable(
        self, state: PhotographState, submissions: list[Submission], file: PhotographLookup | None, usable: UsableCases
    ) -> bool:
        """Tell whether any case of a photograph may be used: one patient, a readable file, labels that say enough."""
        fault, ingest = state.patient_fault, self.study.ingest
        if fault:
            _, _, word = fault.partition(":")
            named = f"the export gives {word!r} as the patient" if word else "the export names no patient"
            usable.issue(fault, named if fault.startswith("missing") else "the export names several patients")
        if file and file.reason:
            usable.issue(file.reason, file.detail or "")
        for reason, change in (file.probe.changes if file and file.probe else {}).items():
            usable.issue(reason, change, level="warning")
        latest = [submission for submission in submissions if submission.latest]
        skipped = ingest.skipped_label == "keep_out" and any(s.skipped for s in latest)
        empty = ingest.empty_label == "keep_out" and any(map(_is_empty, latest))
        if skipped:
            usable.issue("skipped_label", "an annotator skipped the photograph, and the study keeps such ones out")
        if empty:
            usable.issue("empty_label", "a label holds neither box nor answer, and the study keeps such ones out")
        return not (fault or (file and file.reason) or skipped or empty)

    def is_kept(self, lesion: Lesion, usable: UsableCases) -> bool:
        """Tell whether a case may be used by its labels; why it may not becomes an issue."""
        unknown = sorted({reading.answer for reading in lesion.readings} - self.classes)
        for spelling in unknown:
            usable.issue("unknown_class", f"case {lesion.case_id}: {nearest_class(spelling, self.study)}")
        for line in lesion.ambiguous:
            usable.issue("ambiguous_label", f"case {lesion.case_id}: {line}")
        return not unknown and not lesion.ambiguous

    def has_place(self, lesion: Lesion, lesions: list[Lesion], usable: UsableCases) -> bool:
        """Tell whether it is known where a case lies; one outline without extent is the photograph's only lesion."""
        if (problem := lesion.without_roi) is None:
            return True
        several = len(lesions) > 1
        rest = f", and the photograph has {len(lesions)} lesions" if several else "; its answer counts, without ROI"
        level = "case" if several else "warning"
        usable.issue("roi_missing", f"case {lesion.case_id}: {problem}{rest}", level=level)
        return not several

    def fits(self, lesion: Lesion, clipped: Box | None, usable: UsableCases) -> bool:
        """Tell whether a case lies on its photograph; a box over the edge is clipped or kept out, as the study says."""
        if clipped == lesion.roi:
            return True
        if clipped is None:
            usable.issue("box_outside", f"case {lesion.case_id}: its box lies outside the photograph")
            return False
        over = f"case {lesion.case_id}: its box reaches over the edge"
        if self.study.ingest.box_over_edge == "keep_out":
            usable.issue("box_over_edge", f"{over}, and the study keeps such ones out")
            return False
        usable.issue("clipped:bbox", f"{over}; clipped, the original is in objects", level="warning")
        return True

    def counts(self, reading: Reading, workflow_status: str | None) -> bool:
        """Tell whether a reading takes part in the truth."""
        ingest = self.study.ingest
        if ingest.workflow and workflow_status not in ingest.workflow:
            return False
        if ingest.policy == "reviewed":
            return workflow_status == "DONE"
        return ingest.policy != "annotator" or reading.annotator == self.annotator


def _clipped(roi: Box | None, size: Size) -> Box | None:
    width, height = size
    return roi.clipped(width, height) if roi and width and height else roi


def _is_empty(submission: Submission) -> bool:
    return not (submission.skipped or submission.boxes or submission.answers or submission.elsewhere)


def _why_unread(submissions: list[Submission]) -> str:
    latest = [submission for submission in submissions if submission.latest]
    if not latest:
        return "unlabelled"
    if all(submission.skipped for submission in latest):
        return "skipped"
    answered = any(submission.answers or submission.elsewhere for submission in latest if not submission.skipped)
    return "answer_elsewhere" if answered else "no_answer"


def _not_read(submission: Submission) -> str:
    """Say where a label's answers stand that are not read."""
    return f"label {submission.label_id}: its answer is not read: {', '.join(submission.elsewhere)}"
