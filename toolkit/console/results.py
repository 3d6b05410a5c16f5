"""What results look like: a few lines beside the name of a stage. Those of runs stand in `runs`.

Refuses to compute: what a line says, the result holds.
"""

from functools import singledispatch

from rich.console import Group, RenderableType

from toolkit.console.text import line, next_step, program, table, told, unwrapped
from toolkit.formatting import count
from toolkit.manifest import NO_PATIENTS
from toolkit.pipeline import Status
from toolkit.stages.audit import MEANING, Audit
from toolkit.stages.init import Initialised
from toolkit.stages.parse import Parsed
from toolkit.stages.pull import Pulled
from toolkit.stages.report.audit_page import AuditPage
from toolkit.stages.split import Split
from toolkit.stages.withdraw import Withdrawn
from toolkit.synthetic import Sample
from toolkit.workspace.verification import Verified

COUNTED = {
    "label_added": "labels added",
    "label_changed": "relabelled",
    "label_deleted": "labels deleted",
    "workflow_moved": "moved in the workflow",
    "box_moved": "boxes moved",
    "patient_renamed": "photographs of a renamed patient",
    "patient_merged": "photographs of patients made one",
    "photograph_added": "photographs added",
    "photograph_gone": "photographs not in it",
}
MOST_SHOWN = 30
"""Names of one kind in the table of what an export holds."""


def _without_patients(result: Parsed | Audit | Split | Verified) -> list[str]:
    return [] if result.patients_known else [f"! {NO_PATIENTS}"]


@singledispatch
def rendered(result: object) -> RenderableType:
    """Return what a stage's result looks like."""
    raise TypeError(type(result))


@rendered.register
def _(result: Sample) -> RenderableType:
    drawn = f"{count(result.photographs)} photographs of {count(result.people)} people, seed {result.seed}"
    planted = f"{count(sum(result.planted.values()))} faults and changes are planted: {result.truth / 'planted.csv'}"
    run = f"{program()} --study {result.study} --workspace WORKSPACE run {result.export} --images {result.images}"
    return Group(told("sample", f"{drawn}, stage {result.stage}", planted), next_step(run))


@rendered.register
def _(result: Initialised) -> RenderableType:
    made = table("what", "found", ">times", "taken as")
    for name, times in _first(result.projects):
        made.add_row("project", line(name), count(times), "projects" if name == result.project else "")
    for question in result.questions[:MOST_SHOWN]:
        taken = {result.question: "question", result.certainty: "certainty"}.get(question.question, "")
        made.add_row(
            f"question, {question.kind}", line(question.question), count(sum(question.answers.values())), taken
        )
    for name, times in _first(result.boxes):
        made.add_row("box", line(name), count(times), "roi" if name == result.roi else "")
    for field in result.metadata[:MOST_SHOWN]:
        left = "left out" if field.left_out else "metadata"
        taken = {result.patient: "patient", result.lesion: "lesion"}.get(field.name, left)
        made.add_row("metadata", line(f"{field.name} ({count(field.distinct)} values)"), count(field.rows), taken)
    for found in result.classes:
        of = line(", ".join(found.spellings) or "nothing: a placeholder")
        shown = line(f"class {found.name}{', malignant?' if found.malignant else ''}")
        made.add_row("answer" if result.question else "box", of, count(sum(found.spellings.values())), shown)
    lines = [f"{count(result.rows)} rows read, {count(result.rows_unread)} of them unreadable; wrote {result.study}"]
    if result.patient is None:
        lines.append(f"! {NO_PATIENTS}: say in the file where they stand")
    return Group(made, told("init", *lines, "read the file through: its guesses are marked"), next_step(result.next))


def _first(counts: dict[str, int]) -> list[tuple[str, int]]:
    return list(counts.items())[:MOST_SHOWN]


@rendered.register
def _(result: Parsed) -> RenderableType:
    rows = (
        f"{count(result.rows - result.rows_quarantined)} of {count(result.rows)} rows stored, "
        f"{count(result.rows_quarantined)} quarantined; {count(result.photographs_opened)} of "
        f"{count(result.photographs)} photographs opened"
    )
    cases = (
        f"{count(result.cases)} cases of {count(result.patients)} patients, {count(result.with_roi)} with a ROI; "
        f"{count(result.resolved)} have a class"
    )
    lines = [rows, cases]
    if result.decided:
        lines.append(f"decided by: {_counted(result.decided)}")
    if result.changes:
        lines.append(f"since the export before: {_counted(result.changes)} (toolkit query changes)")
    if result.tied or result.unread or result.not_counted:
        uncounted = f", {count(result.not_counted)} whose readings do not count" if result.not_counted else ""
        lines.append(
            f"! without a class: {count(result.tied)} tied, {count(result.unread)} without a reading{uncounted}"
        )
    lines += _without_patients(result)
    if result.kept_out:
        reasons = ", ".join(f"{count(times)} {reason}" for reason, times in result.kept_out.items())
        lines.append(f"! kept out: {reasons}")
    if result.photographs_elsewhere:
        others = ", ".join(result.projects_elsewhere[:5]) or "none"
        number_elsewhere = count(result.photographs_elsewhere)
        lines.append(f"! {number_elsewhere} photographs are in none of the study's projects (others: {others})")
    if result.not_taken_in:
        lines.append(
            f"! {count(result.not_taken_in)} lines were not taken in: patients were withdrawn from this workspace"
        )
    if result.key_created:
        lines.append(
            f"! a pseudonym key was made: {result.key_created} (mode 0600). Back it up and keep it out of the "
            "workspace: whoever has it can tell which patient a pseudonym is."
        )
    return told("parse", *lines)


def _counted(times: dict[str, int]) -> str:
    return ", ".join(f"{count(times)} {COUNTED.get(kind, kind).replace('_', ' ')}" for kind, times in times.items())


@rendered.register
def _(result: Audit) -> RenderableType:
    again = ", as before" if result.already_searched else ""
    lines = [f"{count(result.photographs)} photographs compared with each other{again}"]
    lines += [f"{count(times)} {MEANING.get(kind, kind)}" for kind, times in result.findings.items()]
    if not result.photographs:
        lines[0] = "! there are no photographs: near-duplicates were not looked for"
    elif not result.parts_looked_for:
        lines.append("! cut and slightly rotated copies were not looked for among so many photographs")
    if result.missing:
        lines.append(f"! {count(result.missing)} photographs are no longer there, or cannot be read, and were left out")
    if result.across_patients:
        pairs = count(result.across_patients)
        lines.append(f"! {pairs} pairs stand under two patients: a wrong identifier, or a wrong photograph")
    return told("audit", *lines, *_without_patients(result))


@rendered.register
def _(result: AuditPage) -> RenderableType:
    return Group(unwrapped(f"page: {result.page}"), next_step(f"{program()} query findings"))


@rendered.register
def _(result: Split) -> RenderableType:
    again = ", as before" if result.already_there else ""
    sums = {part: sum(counts.values()) for part, counts in result.counts.items()}
    first, *others = sums
    bound = "patient" if result.patients_known else "photograph"
    parts = "".join(f", {part} {count(sums[part])}/{count(result.patients[part])}" for part in others)
    best = ", nothing is nearer" if result.best else f"; {result.bound:.2f} would be the bound"
    pinned = ", pinned" if result.pinned else ""
    off = f"a class is {result.deviation:.2f} cases off at most{best}"
    lines = [
        f"{first} {count(sums[first])} cases/{count(result.patients[first])} patients{parts}",
        f"{result.split_id}{again}{pinned}: no {bound} in two parts, verified; {off}",
    ]
    if result.reasons:
        lines.append(f"patients joined by {_counted(result.reasons)}")
    if result.folds:
        lines.append(f"fold 1 of {len(result.folds)}: {', '.join(result.folds)}")
    if result.kept or result.placed:
        lines.append(f"{count(result.kept)} cases stay, {count(result.placed)} are new, {count(result.gone)} are gone")
    for incident in result.incidents[:MOST_SHOWN]:
        patients = ", ".join(incident.patients[:4])
        stood = " and ".join(incident.parts)
        lines.append(
            f"! {patients} belong together and stood in {stood}: {count(incident.cases)} cases {incident.done}"
        )
    if result.plan_sha256:
        lines.append(f"analysis plan locked: {result.plan_sha256[:12]}")
    if result.plan_changed:
        lines.append("! the study's analysis plan is not the one that was locked when this split was made")
    return told("split", *lines, *_warnings(result), *_without_patients(result))


def _warnings(result: Split) -> list[str]:
    lines = []
    for part, counts in result.counts.items():
        if empty := [name for name, cases in counts.items() if not cases]:
            lines.append(f"! no case in {part}: {', '.join(empty)}")
    if result.unresolved:
        lines.append(f"! {count(result.unresolved)} cases without a class stand in no part")
    if result.photographs_changed:
        lines.append(f"! {count(result.photographs_changed)} photographs are not those that were pinned")
    if result.not_opened:
        lines.append(f"! {count(result.not_opened)} photographs were not opened: copies among them are not known")
    return lines


@rendered.register
def _(result: Verified) -> RenderableType:
    verdict = f"PASS: split {result.split_id}, {count(result.cases)} cases in {result.parts} parts"
    proved = [f"proved: {check}" for check in result.checks]
    said = [f"photographs: {result.photographs}", f"attested by the data manager: {result.attested}"]
    return told("verify", verdict, *proved, *said, *_without_patients(result))


@rendered.register
def _(result: Withdrawn) -> RenderableType:
    removed = "removed" if result.applied else "would remove"
    made = table("where", f">{removed}")
    made.add_row(f"rows of {count(result.exports)} landed exports", count(result.rows))
    made.add_row("photographs in the registry", count(result.photographs))
    made.add_row("files of photographs in the workspace", count(result.files_removed))
    made.add_row("cases", count(result.cases))
    for split_id, times in result.splits.items():
        made.add_row(f"cases of split {split_id}, sealed again", count(times))
    for run_id, times in result.predictions.items():
        made.add_row(f"predictions of run {run_id}, and its scores", count(times))
    made.add_row("reports, to be made anew", count(len(result.reports)))
    lines = []
    if result.unreadable_lines:
        lines.append(f"! {count(result.unreadable_lines)} lines that are no rows may be anybody's: {removed} as well")
    if result.mentions:
        lines.append(f"! {count(result.mentions)} rows of others mention the identifier and stay: put them right")
    if result.files_elsewhere:
        lines.append(f"! {count(result.files_elsewhere)} photographs outside the workspace stay: delete them there")
    if result.models_that_saw:
        runs = ", ".join(result.models_that_saw)
        lines.append(f"! models that have seen the patient stay as they are: {runs}; train anew, or delete them")
    lines.append("the patient will not be taken in again" if result.applied else "nothing was changed")
    return Group(made, told("withdraw", *lines), *map(next_step, result.next))


def _held(result: Status) -> RenderableType:
    facts = table("what", ">count")
    for name in ("exports", "rows", "rows_quarantined", "photographs", "patients", "cases", "resolved"):
        facts.add_row(name.replace("_", " "), count(getattr(result, name)))
    if result.features_gigabytes:
        facts.add_row("kept features (GB)", f"{result.features_gigabytes:.2f}")
    for reason, times in result.kept_out.items():
        facts.add_row(line(f"kept out: {reason}", "yellow"), count(times))
    for kind, times in result.findings.items():
        facts.add_row(line(f"finding: {kind}"), count(times))
    for path, times in result.unknown_keys.items():
        facts.add_row(line(f"key not known, its values only in the landed file: {path}"), count(times))
    return facts


@rendered.register
def _(result: Status) -> RenderableType:
    lines: list[RenderableType] = [
        line(f"{result.workspace} (study: {result.study or 'none yet'})", "bold"),
        _held(result),
    ]
    if result.splits:
        splits = table("split", ">cases", "state")
        for row in result.splits:
            state = f"{count(row['changed_cases'])} cases changed since" if row["changed_cases"] else "fits the labels"
            splits.add_row(row["split_id"], count(row["cases"]), state)
        lines.append(splits)
    if result.runs:
        runs = table("run", "split", "model", ">predicted", ">scored", "report", "state")
        for row in result.runs:
            state = "labels have changed since" if row["stale"] else "fits the labels"
            if row["control"]:
                state = f"{row['control']} control of {row['control_of']}; {state}"
            told = "yes" if row["reported"] else "no"
            runs.add_row(
                row["run_id"],
                row["split_id"],
                line(row["model"]),
                count(row["predicted"]),
                str(row["scored"]),
                told,
                state,
            )
        lines.append(runs)
    return Group(*lines, next_step(result.next))


@rendered.register
def _(result: Pulled) -> RenderableType:
    lines = []
    for export in result.exports:
        since = f" changed since {export.since}" if export.since else ""
        again = ", as landed before" if export.already_there else (", gone on with" if export.resumed else "")
        landed = f" → {export.sha256[:12]}" if export.sha256 else ""
        what = f"{export.kind.replace('_', ' ')} {export.source}"
        lines.append(f"{what}: {count(export.rows)} rows{since}{again}{landed}")
        if export.errors:
            lines.append(f"! Labelbox could not export {count(export.errors)} rows: task {export.task}")
        if export.announced != export.rows:
            lines.append(f"! Labelbox announced {count(export.announced)} rows")
    if result.fetched or result.fetched_before:
        lines.append(f"{count(result.fetched)} photographs and masks fetched, {count(result.fetched_before)} before")
    if result.not_fetched:
        reasons = ", ".join(f"{count(times)} {reason}" for reason, times in result.not_fetched.items())
        lines.append(f"! not fetched: {reasons}")
    return told("pull", *lines)
