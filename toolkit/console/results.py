"""Results of stages as lines and tables, from `sample` to `status`; those about runs stand in `runs`."""

import math
import shlex
from functools import singledispatch
from typing import Any

from rich.console import Group, RenderableType

from toolkit.console.text import line, next_step, summary, table, unwrapped
from toolkit.formatting import count, counted, listed, proportion, spoken, unit
from toolkit.manifest import NO_PATIENTS
from toolkit.pipeline import Rebuilt
from toolkit.stages.audit import MEANING, Audit, SuspectLabels
from toolkit.stages.audit.same_lesion import MOST
from toolkit.stages.init import Initialised
from toolkit.stages.parse import Parsed
from toolkit.stages.pull import Pulled
from toolkit.stages.queue import Queue
from toolkit.stages.queue.outcome import OUTCOMES, PER, QueueOutcome
from toolkit.stages.report.audit_page import AuditPage
from toolkit.stages.report.progress_page import ProgressPage
from toolkit.stages.report.queue_page import QueuePage
from toolkit.stages.review import Reviewed
from toolkit.stages.split import Split
from toolkit.stages.withdraw import Withdrawn
from toolkit.synthetic import Sample
from toolkit.workspace.verification import Verified

MOST_SHOWN = 30
"""Names of one kind in the table of what an export holds."""
MOST_NAMED = 5
"""Photographs in a warning."""


@singledispatch
def rendered(result: object) -> RenderableType:
    """Return a stage's result as lines and tables."""
    raise TypeError(type(result))


def _without_patients(result: Parsed | Audit | Split | Verified) -> list[str]:
    """Return the warning that nothing is known of patients, where that is so."""
    return [] if result.patients_known else [f"! {NO_PATIENTS}"]


@rendered.register
def _(result: Sample) -> RenderableType:
    photographs = f"{counted(result.photographs, 'synthetic photograph')} of {counted(result.people, 'patient')}"
    planted = counted(sum(result.planted.values()), "planted fault or change", "planted faults and changes")
    places = (result.study, result.study.parent / "workspace", result.export, result.images)
    study, workspace, export, images = (shlex.quote(str(path)) for path in places)
    run = f"toolkit --study {study} --workspace {workspace} run {export} --images {images}"
    lines = (f"{photographs}, seed {result.seed}, stage {result.stage}", f"{planted}: {result.truth / 'planted.csv'}")
    return Group(summary("sample", *lines), next_step(run))


@rendered.register
def _(result: Queue) -> RenderableType:
    """Show whom to look at first: the first patients, and what to expect."""
    first = f"look at these {counted(result.patients, unit())} first ({result.minutes_needed:.0f} minutes)"
    expected = f"about {result.expected_wrong:.0f} wrong labels are expected among {counted(result.cases, 'case')}"
    drawn = (
        f"{counted(result.random_patients, unit())} of them drawn at random ({counted(result.random_cases, 'case')})"
    )
    again = [] if result.is_new else ["the same queue as before: labels and evidence have not changed"]
    return summary("queue", f"{result.queue_id}: {first}, {expected}", drawn, *again)


@rendered.register
def _(result: QueuePage) -> RenderableType:
    review = f'toolkit review {shlex.quote(result.workbook)} --reviewer "$USER"'
    return Group(summary("page", result.page, f"verdicts go into {result.workbook}"), next_step(review))


@rendered.register
def _(result: QueueOutcome) -> RenderableType:
    what = f"{result.queue_id}: {counted(result.cases, 'case')} of {counted(result.patients, unit())}"
    seen = [each for each in OUTCOMES if any(row[each] for row in result.groups)]
    groups = table("cases", ">number", ">reviewed", *(f">{spoken(each)}" for each in seen), f">harm per {PER} reviews")
    for row in result.groups:
        harm = "–" if math.isnan(row["harm_per_50"]) else f"{row['harm_per_50']:.1f}"
        counts = (count(row[name]) for name in ("number", "reviewed", *seen))
        groups.add_row(row["cases"], *counts, harm)
    found = [each for each in seen if each != "untouched"]
    people = table("reviewer", *(f">{spoken(each)}" for each in found))
    for row in result.reviewers:
        people.add_row(line(row["reviewer"]), *(count(row[name]) for name in found))
    reasons = table("what spoke against the label", ">reviewed", ">changed", ">share wrong")
    for row in result.reasons:
        reasons.add_row(row["reason"], count(row["reviewed"]), count(row["changed"]), proportion(row["share_wrong"]))
    changes = [f"changed: {', '.join(f'{spoken(name)} {times}' for name, times in result.changes.items())}"]
    lines = (what, *(changes if result.changes else []))
    more = [*([people] if result.reviewers else []), *([reasons] if any(r["reviewed"] for r in result.reasons) else [])]
    return Group(summary("queue", *lines), groups, *more)


@rendered.register
def _(result: Reviewed) -> RenderableType:
    said = ", ".join(f"{spoken(name)} {count(times)}" for name, times in result.verdicts.items())
    changes = ", ".join(f"{spoken(name)} {times}" for name, times in result.changes.items())
    lines = [f"{counted(sum(result.verdicts.values()), 'new verdict')}{f': {said}' if said else ''}"]
    lines += [f"changed: {changes}"] if changes else []
    lines += [f"{counted(result.repeated, 'verdict')} known already"] if result.repeated else []
    lines += [f"{counted(result.without, 'row')} without a verdict: not reviewed yet"] if result.without else []
    if result.conflicts:
        named = ", ".join(result.conflicts[:MOST_NAMED])
        cases = counted(len(result.conflicts), "case")
        lines.append(f"! reviewers differ about {cases} ({named}): no reference diagnosis until one of them gives way")
    return summary("review", *lines)


@rendered.register
def _(result: Initialised) -> RenderableType:
    uses = table("kind", "in the export", ">times", "used as", "to decide")
    asked = {question: f"class {each.name}" for each in result.classes if (question := each.question)}
    decide = {key: line(text) for key, text in result.decisions.items()}
    for name, times in _first(result.projects):
        use = "projects" if name in result.taken else ""
        uses.add_row("project", line(name), count(times), use, decide.get(use, ""))
    for question in result.questions[:MOST_SHOWN]:
        use = asked | {result.question: "question", result.certainty: "certainty"}
        own = use.get(question.question, "")
        answers = count(sum(question.answers.values()))
        about = decide.get("yes", "") if question.question in asked else ""
        uses.add_row(f"question, {question.kind}", line(question.question), answers, line(own), about)
    for kind, drawn in (("box", result.boxes), ("polygon or mask", result.outlines)):
        for name, times in _first(drawn):
            use = "roi" if name == result.roi else ""
            uses.add_row(kind, line(name), count(times), use, decide.get(use, ""))
    for field in result.metadata[:MOST_SHOWN]:
        other = "left out" if field.left_out else "metadata"
        use = {result.patient: "patient", result.lesion: "lesion"}.get(field.name, other)
        name = line(f"{field.name} ({counted(field.distinct, 'value')})")
        uses.add_row("metadata", name, count(field.rows), use, decide.get(use, ""))
    for guess in result.classes:
        spellings = line(", ".join(guess.spellings) or "none: a placeholder")
        use = line(f"class {guess.name}{', malignant?' if guess.malignant else ''}")
        kind = "answer" if result.question or guess.question else "outline"
        decision = decide.get(f"class {guess.name}", "")
        uses.add_row(kind, spellings, count(sum(guess.spellings.values())), use, decision)
    lines = [f"{counted(result.rows, 'row')} read, {count(result.rows_unread)} unreadable; wrote {result.study}"]
    if result.patient is None:
        lines.append(f"! {NO_PATIENTS}: name in the study file where they stand")
    lines.append("check the study file before you use it: its guesses are marked")
    lines.append("photographs that are on this computer: add --images FOLDER to the command below")
    if "question" in result.decisions:
        lines.append(f"! {result.decisions['question']}")
    return Group(summary("init", *lines), uses, next_step(result.next))


def _first(counts: dict[str, int]) -> list[tuple[str, int]]:
    return list(counts.items())[:MOST_SHOWN]


@rendered.register
def _(result: Parsed) -> RenderableType:
    rows = f"{count(result.rows - result.rows_quarantined)} of {counted(result.rows, 'row')} stored"
    opened = f"{count(result.photographs_opened)} of {counted(result.photographs, 'photograph')} opened"
    of = f" of {counted(result.patients, 'patient')}" if result.patients_known else ""
    cases = f"{counted(result.cases, 'case')}{of}"
    lines = [
        f"{rows}, {count(result.rows_quarantined)} quarantined; {opened}",
        f"{cases}: {count(result.with_roi)} have a box, {count(result.resolved)} a reference diagnosis",
    ]
    if result.decided:
        lines.append(f"decided by: {listed(result.decided)}")
    if result.changes:
        lines.append(f"changes since the previous export: {listed(result.changes)} (toolkit query changes)")
    reasons = {"tied readings": result.tied, "no reading": result.unread, "no reading counts": result.not_counted}
    if missing := {reason: times for reason, times in reasons.items() if times}:
        lines.append(f"! no reference diagnosis: {listed(missing)}")
    lines += _without_patients(result)
    if result.similar_patients:
        similar = counted(result.similar_patients, "pair")
        lines.append(
            f"! {similar} of patients with similar IDs: look before you split (toolkit query similar_patients)"
        )
    if result.kept_out:
        lines.append(f"! kept out: {listed(result.kept_out)}")
    lines += _changed(result.photographs_changed)
    if result.photographs_elsewhere:
        others = ", ".join(result.projects_elsewhere[:5]) or "none"
        elsewhere = counted(result.photographs_elsewhere, "photograph")
        lines.append(f"! {elsewhere} in none of the study's projects (other projects: {others})")
    if result.not_taken_in:
        left_out = counted(result.not_taken_in, "line")
        lines.append(f"! {left_out} left out: their {unit()}s were withdrawn from this workspace")
    if result.key_created:
        lines.append(
            f"! A pseudonym key was created: {result.key_created} (mode 0600). Back it up and keep it outside the "
            "workspace: whoever has it can tell which patient a pseudonym is."
        )
    return summary("parse", *lines)


def _changed(photographs: list[str]) -> list[str]:
    """Return the warning that photographs are no longer those that were parsed."""
    if not photographs:
        return []
    named = ", ".join(photographs[:MOST_NAMED]) + (", …" if len(photographs) > MOST_NAMED else "")
    what = f"! {counted(len(photographs), 'photograph')} changed or gone since the parse before: {named}"
    return [what, "  splits and predictions were made with those before: put them back, or make these again"]


@rendered.register
def _(result: Audit) -> RenderableType:
    again = ", as before" if result.already_searched else ""
    lines = [f"{counted(result.photographs, 'photograph')} compared with each other{again}"]
    others = {kind: times for kind, times in result.findings.items() if kind != "suspect_label"}
    lines += [f"{MEANING.get(kind, kind).partition(':')[0]}: {count(times)}" for kind, times in others.items()]
    if not result.photographs:
        lines[0] = "! there are no photographs: near-duplicates were not searched for"
    lines += _other_exposures(result) if result.photographs else []
    lines += _suspects(result.suspects)
    if result.missing:
        lines.append(f"! {counted(result.missing, 'photograph')} missing or unreadable now, and left out")
    if result.across_patients:
        pairs = counted(result.across_patients, "duplicate pair")
        lines.append(f"! {pairs} of two patients: wrong identifier or photograph")
    return summary("audit", *lines, *_without_patients(result))


def _other_exposures(result: Audit) -> list[str]:
    """Return which photographs were searched for other exposures of one lesion."""
    if not result.patients_known:
        return ["! other exposures of one lesion were not looked for: which photographs are of one person is not known"]
    compared, left_out = result.compared_within_patients, result.left_out_within_patients
    lines = [f"{counted(compared, 'photograph')} compared with others of their patient for exposures of one lesion"]
    if left_out:
        lines.append(f"! {counted(left_out, 'photograph')} not among them: of patients with more than {MOST}")
    return lines


def _suspects(suspects: SuspectLabels) -> list[str]:
    """Return how many labels to look at first, and how many of them are thought to be wrong; nothing where none is."""
    if not suspects.listed:
        return []
    labels = counted(suspects.listed, "label")
    lines = [f"{labels} to look at first, of {count(suspects.cases)}: about {suspects.expected_listed:.0f} are wrong"]
    if alone := suspects.cases - suspects.compared:
        lines.append(f"! {counted(alone, 'label')} could not be compared with photographs of other patients")
    return lines


@rendered.register
def _(result: AuditPage) -> RenderableType:
    return Group(unwrapped(f"page: {result.page}"), next_step("toolkit query findings"))


@rendered.register
def _(result: ProgressPage) -> RenderableType:
    left = f"{count(result.without_class)} of {counted(result.cases, 'case')} without a reference diagnosis"
    return summary("progress", f"{counted(result.labels, 'label')}; {left}", result.page)


@rendered.register
def _(result: Split) -> RenderableType:
    sums = {part: sum(counts.values()) for part, counts in result.counts.items()}
    first, *others = sums
    bound = "patient" if result.patients_known else "photograph"
    patients = {part: f"/{count(result.patients[part])}" if result.patients_known else "" for part in sums}
    sizes = "".join(f", {part} {count(sums[part])}{patients[part]}" for part in others)
    of = f"/{counted(result.patients[first], 'patient')}" if result.patients_known else ""
    state = f"{', as before' if result.already_there else ''}{', pinned' if result.pinned else ''}"
    lines = [
        f"{first} {counted(sums[first], 'case')}{of}{sizes}",
        f"split {result.split_id}{state}: no {bound} is in two subsets (verified)",
        _optimality(result),
    ]
    if result.reasons:
        lines.append(f"{bound} links: {listed(result.reasons)}")
    if result.folds:
        lines.append(f"fold 1 of {len(result.folds)}: {', '.join(result.folds)}")
    if result.kept or result.placed:
        lines.append(f"cases: {listed({'kept': result.kept, 'new': result.placed, 'gone': result.gone})}")
    for incident in result.incidents[:MOST_SHOWN]:
        together, parts = ", ".join(incident.patients[:4]), " and ".join(incident.parts)
        affected = f"{counted(incident.cases, 'case')} {incident.done}"
        lines.append(f"! {together} belong together and were in {parts}: {affected}")
    if result.plan_sha256:
        lines.append(f"analysis plan locked: {result.plan_sha256[:12]}")
    return summary("split", *lines, *_warnings(result), *_without_patients(result))


def _optimality(result: Split) -> str:
    if result.best:
        return f"optimal: no other split is closer to the target ({result.deviation:.2f} cases off)"
    return f"{result.deviation:.2f} cases off the target; no split can be closer than {result.bound:.2f}"


def _warnings(result: Split) -> list[str]:
    lines = []
    if result.plan_changed:
        lines.append("! the study's analysis plan differs from the one locked when this split was made")
    for part, counts in result.counts.items():
        if empty := [name for name, cases in counts.items() if not cases]:
            lines.append(f"! no case in {part}: {', '.join(empty)}")
    if result.unresolved:
        lines.append(f"! {counted(result.unresolved, 'case')} without a reference diagnosis left out of the split")
    if result.photographs_changed:
        lines.append(f"! {counted(result.photographs_changed, 'photograph')} not identical to the pinned ones")
    if result.not_opened:
        lines.append(f"! {counted(result.not_opened, 'photograph')} not opened: copies among them are not known")
    return lines


@rendered.register
def _(result: Verified) -> RenderableType:
    verdict = f"PASS: split {result.split_id}, {counted(result.cases, 'case')} in {result.parts} subsets"
    proofs = [f"proved: {check}" for check in result.checks]
    unproved = [f"photographs: {result.photographs}", f"attested by the data manager: {result.attested}"]
    gaps = [f"! not proved: {gap}" for gap in result.not_proved]
    return summary("verify", verdict, *proofs, *unproved, *gaps, *_without_patients(result))


@rendered.register
def _(result: Withdrawn) -> RenderableType:
    removed = "removed" if result.applied else "would be removed"
    places = table("data", f">{removed}")
    places.add_row(f"rows of {counted(result.exports, 'landed export')}", count(result.rows))
    places.add_row("photographs in the registry", count(result.photographs))
    places.add_row("photograph files in the workspace", count(result.files_removed))
    places.add_row("cases", count(result.cases))
    for split_id, times in result.splits.items():
        places.add_row(f"cases of split {split_id}, which is sealed again", count(times))
    for run_id, times in result.predictions.items():
        places.add_row(f"predictions of run {run_id}, and its scores", count(times))
    places.add_row("reports, which have to be made again", count(len(result.reports)))
    lines = []
    if result.unreadable_lines:
        lines.append(f"! {counted(result.unreadable_lines, 'unreadable line')} of unknown patients {removed} too")
    if result.mentions:
        rows = counted(result.mentions, "row")
        lines.append(f"! {rows} of other patients mention the identifier and stay: correct them in Labelbox")
    if result.files_elsewhere:
        files = counted(result.files_elsewhere, "photograph file")
        lines.append(f"! {files} outside the workspace stay: delete them there")
    if result.models_that_saw:
        runs = ", ".join(result.models_that_saw)
        lines.append(f"! models trained on the patient stay unchanged: {runs}; train them again, or delete them")
    lines += [_in_release(each) for each in result.releases]
    if result.applied:
        left = f"! something is left in: {', '.join(result.left_in)}"
        none = "none holds the identifier, the pseudonym, or an ID of a photograph or case of the patient"
        lines.append(left if result.left_in else f"{counted(result.searched, 'file')} searched afterwards: {none}")
    lines.append("later exports will not bring the patient back" if result.applied else "nothing was changed")
    return Group(places, summary("withdraw", *lines), *map(next_step, result.next))


def _in_release(release: dict[str, Any]) -> str:
    """Say that a patient stands in a data set that was released, or may stand there."""
    named = f"release {release['release_id']} of {release['made_at']:%Y-%m-%d}"
    if not release["is_known"]:
        return f"! {named} may hold the patient: its file below releases/ is lost; ask who made it"
    return f"! {named} holds the patient: tell those who have it, and make a new one"


@rendered.register
def _(result: Rebuilt) -> RenderableType:
    rows = table("table", ">rows")
    for name, times in result.rows.items():
        if times:
            rows.add_row(spoken(name), count(times))
    same = result.content_hash == result.content_hash_before
    before = "as before" if same else "the registry before held something else, or could not be read"
    lines = [
        f"content hash {result.content_hash[:12]}: {before}",
        f"{counted(result.scorings, 'scoring')} in the ledger",
    ]
    missing = [f"! missing: {each}" for each in result.missing]
    return Group(rows, summary("rebuild", *lines, *missing, *_changed(result.photographs_changed)))


@rendered.register
def _(result: Pulled) -> RenderableType:
    lines = []
    for export in result.exports:
        since = f" changed since {export.since}" if export.since else ""
        again = ", landed before" if export.already_there else (", continued" if export.resumed else "")
        landed = f" → {export.sha256[:12]}" if export.sha256 else ""
        rows = counted(export.rows, "row")
        lines.append(f"{spoken(export.kind)} {export.source}: {rows}{since}{again}{landed}")
        if export.versions:
            lines.append(f"{counted(export.versions, 'version')} of labels: toolkit query label_versions")
        if export.errors:
            lines.append(f"! Labelbox could not export {counted(export.errors, 'row')}: task {export.task}")
        if export.announced != export.rows:
            lines.append(f"! Labelbox announced {counted(export.announced, 'row')}")
    if result.fetched or result.fetched_before:
        fetched = f"{count(result.fetched)} downloaded, {count(result.fetched_before)} downloaded before"
        lines.append(f"photographs and masks: {fetched}")
    if result.not_fetched:
        lines.append(f"! not downloaded: {listed(result.not_fetched)}")
    return summary("pull", *lines)
