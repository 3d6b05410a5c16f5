"""Knows which cases of a photograph may be used at one moment, what is read of them, and which readings count.

Refuses to know tables and files: a photograph and its state come in as records, records go out. The same rules hold for
what is true now and for what was true as of an older export.
"""

from dataclasses import dataclass, field

from toolkit.cases import Box, Lesion, Marked, Reading, Submission, find_cases
from toolkit.manifest import Study
from toolkit.parse.photographs import Found
from toolkit.parse.records import Record, nearest_class

Size = tuple[int | None, int | None]

SIDES = ("roi_left", "roi_top", "roi_width", "roi_height")


@dataclass
class Judged:
    """The cases of a photograph that may be used, their readings, and what speaks against the others."""

    cases: list[Record] = field(default_factory=list)
    readings: list[Record] = field(default_factory=list)
    findings: list[Record] = field(default_factory=list)
    issues: list[Record] = field(default_factory=list)

    def issue(self, reason: str, detail: str, *, level: str = "case") -> None:
        """Add one reason why something was not taken as it stood."""
        self.issues.append({"level": level, "reason": reason, "detail": detail})


class Judge:
    """A study's rules, applied to one photograph after the other; `annotator` is the pseudonym of the policy's."""

    def __init__(self, study: Study, annotator: str | None) -> None:
        self.study, self.annotator = study, annotator
        self.classes = set(study.class_names)

    def judge(self, row: Record, state: Record, found: Found | None) -> Judged:
        """Return what holds of a photograph in one of its states."""
        held = {(label["label_id"], label["revision"]): label for label in state["labels"]}
        known = [x for x in row["submissions"] if state["until"] is None or x["since"] < state["until"]]
        submissions = [_submission(x, latest=(x["label_id"], x["revision"]) in held) for x in known]
        lesions, findings = find_cases(row["image_id"], submissions, iou=self.study.ingest.box_iou)
        judged = Judged()
        usable = self.is_usable(state, submissions, found, judged)
        size = (found.probe.width, found.probe.height) if found and found.probe else (state["width"], state["height"])
        kept = [lesion for lesion in lesions if self.is_kept(lesion, judged, usable=usable)]
        for lesion in kept:
            if self.fits(lesion, size, judged):
                judged.cases.append(_case(row, lesion, size, submissions))
                self.read(lesion, held, judged)
        if first := next((case["case_id"] for case in judged.cases), None):
            judged.findings = [
                {"kind": f.kind, "source": "parse", "case_id": first, "detail": f.detail} for f in findings
            ]
        return judged

    def is_usable(self, state: Record, submissions: list[Submission], found: Found | None, judged: Judged) -> bool:
        """Tell whether any case of a photograph may be used: one patient, a readable file, labels that say enough."""
        fault = state["patient_fault"]
        if fault:
            named = (
                "the export names no patient" if fault.startswith("missing") else "the export names several patients"
            )
            judged.issue(fault, named)
        if found and found.reason:
            judged.issue(found.reason, found.detail or "")
        for reason, told in (found.probe.changes if found and found.probe else {}).items():
            judged.issue(reason, told, level="warning")
        latest = [submission for submission in submissions if submission.latest]
        ingest = self.study.ingest
        skipped = ingest.skipped_label == "keep_out" and any(s.skipped for s in latest)
        empty = ingest.empty_label == "keep_out" and any(not (s.skipped or s.boxes or s.answers) for s in latest)
        if skipped:
            judged.issue("skipped_label", "an annotator skipped the photograph, and the study keeps such ones out")
        if empty:
            judged.issue("empty_label", "a label holds neither box nor answer, and the study keeps such ones out")
        return not (fault or (found and found.reason) or skipped or empty)

    def is_kept(self, lesion: Lesion, judged: Judged, *, usable: bool) -> bool:
        """Tell whether a case may be used; what speaks against its labels becomes an issue."""
        unknown = sorted({reading.answer for reading in lesion.readings} - self.classes)
        for spelling in unknown:
            judged.issue("unknown_class", f"case {lesion.case_id}: {nearest_class(spelling, self.study)}")
        for line in lesion.ambiguous:
            judged.issue("ambiguous_label", f"case {lesion.case_id}: {line}")
        return usable and not unknown and not lesion.ambiguous

    def fits(self, lesion: Lesion, size: Size, judged: Judged) -> bool:
        """Tell whether a case lies on its photograph; a box over the edge is clipped or kept out, as the study says."""
        clipped = _clipped(lesion, size)
        if clipped == lesion.roi:
            return True
        if clipped is None:
            judged.issue("box_outside", f"case {lesion.case_id}: its box lies outside the photograph")
            return False
        over = f"case {lesion.case_id}: its box reaches over the edge"
        if self.study.ingest.box_over_edge == "keep_out":
            judged.issue("box_over_edge", f"{over}, and the study keeps such ones out")
            return False
        judged.issue("clipped:bbox", f"{over}; clipped, the original is in objects", level="warning")
        return True

    def read(self, lesion: Lesion, held: dict[tuple[str, int], Record], judged: Judged) -> None:
        """Add a case's readings, and whether the study's policy lets each take part in the truth."""
        for reading in lesion.readings:
            label = held[reading.label_id, reading.revision]
            judged.readings.append(
                {
                    "case_id": lesion.case_id,
                    **reading._asdict(),
                    "class_name": reading.answer,
                    "counts": self.counts(reading, label["workflow_status"]),
                    "benchmark": label["benchmark"],
                }
            )

    def counts(self, reading: Reading, workflow_status: str | None) -> bool:
        """Tell whether a reading takes part in the truth."""
        ingest = self.study.ingest
        if ingest.workflow and workflow_status not in ingest.workflow:
            return False
        if ingest.policy == "reviewed":
            return workflow_status == "DONE"
        return ingest.policy != "annotator" or reading.annotator == self.annotator


def _case(row: Record, lesion: Lesion, size: Size, submissions: list[Submission]) -> Record:
    """Return a case with its ROI clipped to the photograph."""
    sides = dict(zip(SIDES, _clipped(lesion, size) or (None,) * 4, strict=True))
    identity = {name: row[name] for name in ("image_id", "patient_id", "lesion_id")}
    unread = None if lesion.readings else _why_unread(submissions)
    return {"case_id": lesion.case_id, **identity, **sides, "unread": unread}


def _clipped(lesion: Lesion, size: Size) -> Box | None:
    (width, height), roi = size, lesion.roi
    return roi.clipped(width, height) if roi and width and height else roi


def _submission(item: Record, *, latest: bool) -> Submission:
    boxes = [Marked(box["object_id"], Box(*box["box"]), tuple(box["answers"])) for box in item["boxes"]]
    return Submission(
        label_id=item["label_id"],
        revision=item["revision"],
        latest=latest,
        skipped=item["skipped"],
        annotator=item["annotator"],
        boxes=tuple({marked.object_id: marked for marked in boxes}.values()),
        answers=tuple(item["answers"]),
    )


def _why_unread(submissions: list[Submission]) -> str:
    latest = [submission for submission in submissions if submission.latest]
    if not latest:
        return "unlabelled"
    return "skipped" if all(submission.skipped for submission in latest) else "no_answer"
