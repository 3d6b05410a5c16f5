"""Knows what each stage's result looks like: a few lines beside the stage's name.

Refuses to compute: what a line says, the result holds.
"""

from functools import singledispatch

from rich.console import Group, RenderableType

from toolkit.audit import MEANING, Audit
from toolkit.claims import Claims
from toolkit.compare import Compared
from toolkit.console.judged import judged
from toolkit.console.text import interval, line, next_step, number, program, table, told, unwrapped, whole
from toolkit.controls import MEANING as MEANING_OF_CONTROL
from toolkit.evaluate import Evaluated
from toolkit.init import Initialised
from toolkit.line import Status
from toolkit.manifest import NO_PATIENTS
from toolkit.parse import Parsed
from toolkit.predict import Predicted
from toolkit.pull import Pulled
from toolkit.report import Report
from toolkit.report.audit_page import AuditPage
from toolkit.report.compare_page import ComparePage
from toolkit.split import Split, Verified
from toolkit.synthetic import Sample
from toolkit.train import Plan, Trained
from toolkit.triples import TriplesCompared, TriplesWritten
from toolkit.withdraw import Withdrawn

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
    drawn = f"{whole(result.photographs)} photographs of {whole(result.people)} people, seed {result.seed}"
    planted = f"{whole(sum(result.planted.values()))} faults and changes are planted: {result.truth / 'planted.csv'}"
    run = f"{program()} --study {result.study} --workspace WORKSPACE run {result.export} --images {result.images}"
    return Group(told("sample", f"{drawn}, stage {result.stage}", planted), next_step(run))


@rendered.register
def _(result: Initialised) -> RenderableType:
    made = table("what", "found", ">times", "taken as")
    for name, times in _first(result.projects):
        made.add_row("project", line(name), whole(times), "projects" if name == result.project else "")
    for question in result.questions[:MOST_SHOWN]:
        taken = {result.question: "question", result.certainty: "certainty"}.get(question.question, "")
        made.add_row(
            f"question, {question.kind}", line(question.question), whole(sum(question.answers.values())), taken
        )
    for name, times in _first(result.boxes):
        made.add_row("box", line(name), whole(times), "roi" if name == result.roi else "")
    for field in result.metadata[:MOST_SHOWN]:
        left = "left out" if field.left_out else "metadata"
        taken = {result.patient: "patient", result.lesion: "lesion"}.get(field.name, left)
        made.add_row("metadata", line(f"{field.name} ({whole(field.distinct)} values)"), whole(field.rows), taken)
    for found in result.classes:
        of = line(", ".join(found.spellings) or "nothing: a placeholder")
        shown = line(f"class {found.name}{', malignant?' if found.malignant else ''}")
        made.add_row("answer" if result.question else "box", of, whole(sum(found.spellings.values())), shown)
    lines = [f"{whole(result.rows)} rows read, {whole(result.rows_unread)} of them unreadable; wrote {result.study}"]
    if result.patient is None:
        lines.append(f"! {NO_PATIENTS}: say in the file where they stand")
    return Group(made, told("init", *lines, "read the file through: its guesses are marked"), next_step(result.next))


def _first(counts: dict[str, int]) -> list[tuple[str, int]]:
    return list(counts.items())[:MOST_SHOWN]


@rendered.register
def _(result: Parsed) -> RenderableType:
    rows = (
        f"{whole(result.rows - result.rows_quarantined)} of {whole(result.rows)} rows stored, "
        f"{whole(result.rows_quarantined)} quarantined; {whole(result.photographs_opened)} of "
        f"{whole(result.photographs)} photographs opened"
    )
    cases = (
        f"{whole(result.cases)} cases of {whole(result.patients)} patients, {whole(result.with_roi)} with a ROI; "
        f"{whole(result.resolved)} have a class"
    )
    lines = [rows, cases]
    if result.decided:
        lines.append(f"decided by: {_counted(result.decided)}")
    if result.changes:
        lines.append(f"since the export before: {_counted(result.changes)} (toolkit query changes)")
    if result.tied or result.unread or result.not_counted:
        uncounted = f", {whole(result.not_counted)} whose readings do not count" if result.not_counted else ""
        lines.append(
            f"! without a class: {whole(result.tied)} tied, {whole(result.unread)} without a reading{uncounted}"
        )
    lines += _without_patients(result)
    if result.kept_out:
        reasons = ", ".join(f"{whole(count)} {reason}" for reason, count in result.kept_out.items())
        lines.append(f"! kept out: {reasons}")
    if result.photographs_elsewhere:
        others = ", ".join(result.projects_elsewhere[:5]) or "none"
        number_elsewhere = whole(result.photographs_elsewhere)
        lines.append(f"! {number_elsewhere} photographs are in none of the study's projects (others: {others})")
    if result.not_taken_in:
        lines.append(
            f"! {whole(result.not_taken_in)} lines were not taken in: patients were withdrawn from this workspace"
        )
    if result.key_created:
        lines.append(
            f"! a pseudonym key was made: {result.key_created} (mode 0600). Back it up and keep it out of the "
            "workspace: whoever has it can tell which patient a pseudonym is."
        )
    return told("parse", *lines)


def _counted(times: dict[str, int]) -> str:
    return ", ".join(f"{whole(count)} {COUNTED.get(kind, kind).replace('_', ' ')}" for kind, count in times.items())


@rendered.register
def _(result: Audit) -> RenderableType:
    again = ", as before" if result.already_searched else ""
    lines = [f"{whole(result.photographs)} photographs compared with each other{again}"]
    lines += [f"{whole(times)} {MEANING.get(kind, kind)}" for kind, times in result.findings.items()]
    if not result.photographs:
        lines[0] = "! there are no photographs: near-duplicates were not looked for"
    elif not result.parts_looked_for:
        lines.append("! cut and slightly rotated copies were not looked for among so many photographs")
    if result.missing:
        lines.append(f"! {whole(result.missing)} photographs are no longer there, or cannot be read, and were left out")
    if result.across_patients:
        pairs = whole(result.across_patients)
        lines.append(f"! {pairs} pairs stand under two patients: a wrong identifier, or a wrong photograph")
    return told("audit", *lines, *_without_patients(result))


@rendered.register
def _(result: AuditPage) -> RenderableType:
    return Group(unwrapped(f"page: {result.page}"), next_step(f"{program()} query findings"))


@rendered.register
def _(result: ComparePage) -> RenderableType:
    return unwrapped(f"page: {result.page}")


@rendered.register
def _(result: Split) -> RenderableType:
    again = ", as before" if result.already_there else ""
    sums = {part: sum(counts.values()) for part, counts in result.counts.items()}
    first, *others = sums
    bound = "patient" if result.patients_known else "photograph"
    parts = "".join(f", {part} {whole(sums[part])}/{whole(result.patients[part])}" for part in others)
    best = ", nothing is nearer" if result.best else f"; {result.bound:.2f} would be the bound"
    pinned = ", pinned" if result.pinned else ""
    off = f"a class is {result.deviation:.2f} cases off at most{best}"
    lines = [
        f"{first} {whole(sums[first])} cases/{whole(result.patients[first])} patients{parts}",
        f"{result.split_id}{again}{pinned}: no {bound} in two parts, verified; {off}",
    ]
    if result.reasons:
        lines.append(f"patients joined by {_counted(result.reasons)}")
    if result.folds:
        lines.append(f"fold 1 of {len(result.folds)}: {', '.join(result.folds)}")
    if result.kept or result.placed:
        lines.append(f"{whole(result.kept)} cases stay, {whole(result.placed)} are new, {whole(result.gone)} are gone")
    for incident in result.incidents[:MOST_SHOWN]:
        patients = ", ".join(incident.patients[:4])
        stood = " and ".join(incident.parts)
        lines.append(
            f"! {patients} belong together and stood in {stood}: {whole(incident.cases)} cases {incident.done}"
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
        lines.append(f"! {whole(result.unresolved)} cases without a class stand in no part")
    if result.photographs_changed:
        lines.append(f"! {whole(result.photographs_changed)} photographs are not those that were pinned")
    if result.not_opened:
        lines.append(f"! {whole(result.not_opened)} photographs were not opened: copies among them are not known")
    return lines


@rendered.register
def _(result: Verified) -> RenderableType:
    verdict = f"PASS: split {result.split_id}, {whole(result.cases)} cases in {result.parts} parts"
    proved = [f"proved: {check}" for check in result.checks]
    said = [f"photographs: {result.photographs}", f"attested by the data manager: {result.attested}"]
    return told("verify", verdict, *proved, *said, *_without_patients(result))


@rendered.register
def _(result: Trained) -> RenderableType:
    again = ", as before" if result.already_there else ""
    return told(
        "train",
        f"run {result.run_id}{again}: {result.model} on {whole(result.train_cases)} cases / "
        f"{whole(result.train_patients)} patients, {result.epochs} epochs, {result.seconds:.0f} s on {result.device}",
        f"loss {result.train_loss:.3f}, {result.validation_loss:.3f} on validation; macro recall there "
        f"{number(result.metrics['macro_recall'])}",
    )


@rendered.register
def _(result: Plan) -> RenderableType:
    made = table("mode", ">trained", ">frozen", ">float32", ">bfloat16", "here")
    for mode in result.modes:
        own = " *" if mode.mode == result.mode else ""
        coarse = "-" if mode.mode == "full" else f"{mode.gib_bfloat16:.1f} GiB"
        sizes = (whole(mode.trained), whole(mode.frozen), f"{mode.gib_float32:.1f} GiB", coarse)
        made.add_row(f"{mode.mode}{own}", *sizes, "fits" if mode.fits else "does not fit")
    what = f"{result.model} on {whole(result.train_cases)} cases, {result.epochs} epochs, {whole(result.steps)} steps"
    note = f"* the study's own; its frozen weights are {result.dtype}. Weights, gradients and AdamW: activations come"
    return Group(
        told("train", what),
        made,
        told("", f"{note} on top. This device ({result.device}) has {result.device_gib:.1f} GiB."),
    )


@rendered.register
def _(result: TriplesWritten) -> RenderableType:
    lines = [f"{whole(result.entries)} entries of part {result.part} of split {result.split_id}"]
    if result.values_left_out:
        lines.append(f"! {whole(result.values_left_out)} values of metadata name a class: left out of the prompts")
    lines.append("! its paths may hold patients' identifiers: do not pass it on")
    return Group(told("prompts", *lines), unwrapped(f"file: {result.file}"))


@rendered.register
def _(result: TriplesCompared) -> RenderableType:
    lines = [f"{whole(result.same)} of {whole(result.entries)} entries are as part {result.part} has them today"]
    found = {
        "have another prompt": result.other_prompt,
        "have another class": result.other_class,
        "are of no case of the part, or of one that cannot be told": result.unknown,
    }
    lines += [f"! {whole(times)} {what}" for what, times in found.items() if times]
    if result.lacking:
        lines.append(f"! {whole(result.lacking)} cases of the part do not stand in it")
    return told("prompts", *lines)


@rendered.register
def _(result: Predicted) -> RenderableType:
    parts = ", ".join(f"{part} {whole(count)}" for part, count in result.cases.items())
    mass = number(result.mean_label_mass)
    lines = [f"{parts} cases ({whole(result.scored_now)} now); mean label mass {mass}"]
    if result.control:
        shows = f"{result.control} control of run {result.control_of}"
        lines.insert(0, f"run {result.run_id}, {shows}: {MEANING_OF_CONTROL[result.control]}")
    if result.external_of:
        lines.insert(
            0,
            f"run {result.run_id}: run {result.external_of} of another workspace; it has seen no photograph here",
        )
        lines += [
            f"! {whole(n)} cases of {name} were left out: the run does not know it"
            for name, n in result.unmapped.items()
        ]
        if not result.patients_compared:
            lines.append("! another pseudonym key was used there: whether it has seen a patient cannot be told")
    if result.left_out:
        lines.append(f"! {whole(result.left_out)} cases have no box and were left out")
    if result.values_left_out:
        lines.append(f"! {whole(result.values_left_out)} values of metadata name a class: left out of the prompts")
    if result.scores_are_older:
        lines.append(f"! the run's scores are of earlier predictions: toolkit evaluate --run {result.run_id}")
    if result.unparseable is not None:
        share = number(result.unparseable / sum(result.cases.values()))
        lines.append(f"freely generated: {whole(result.unparseable)} answers ({share}) name no class")
    if not result.control:
        return told("predict", *lines)
    steps = (f"evaluate --run {result.run_id}", f"compare {result.control_of} {result.run_id}", "query controls")
    return Group(told("predict", *lines), *(next_step(f"{program()} {step}") for step in steps))


@rendered.register
def _(result: Withdrawn) -> RenderableType:
    removed = "removed" if result.applied else "would remove"
    made = table("where", f">{removed}")
    made.add_row(f"rows of {whole(result.exports)} landed exports", whole(result.rows))
    made.add_row("photographs in the registry", whole(result.photographs))
    made.add_row("files of photographs in the workspace", whole(result.files_removed))
    made.add_row("cases", whole(result.cases))
    for split_id, times in result.splits.items():
        made.add_row(f"cases of split {split_id}, sealed again", whole(times))
    for run_id, times in result.predictions.items():
        made.add_row(f"predictions of run {run_id}, and its scores", whole(times))
    made.add_row("reports, to be made anew", whole(len(result.reports)))
    lines = []
    if result.unreadable_lines:
        lines.append(f"! {whole(result.unreadable_lines)} lines that are no rows may be anybody's: {removed} as well")
    if result.mentions:
        lines.append(f"! {whole(result.mentions)} rows of others mention the identifier and stay: put them right")
    if result.files_elsewhere:
        lines.append(f"! {whole(result.files_elsewhere)} photographs outside the workspace stay: delete them there")
    if result.models_that_saw:
        runs = ", ".join(result.models_that_saw)
        lines.append(f"! models that have seen the patient stay as they are: {runs}; train anew, or delete them")
    lines.append("the patient will not be taken in again" if result.applied else "nothing was changed")
    return Group(made, told("withdraw", *lines), *map(next_step, result.next))


@rendered.register
def _(result: Claims) -> RenderableType:
    return judged(result)


@rendered.register
def _(result: Evaluated) -> RenderableType:
    times = ", ".join(f"{part} {n}×" for part, n in result.times_scored.items())
    lines = [f"against {result.truth_id}; scored so far: {times}"]
    if result.plan_sha256:
        kinds = ", ".join(spoken for spoken in dict.fromkeys(each.kind.replace("_", " ") for each in result.departures))
        departs = f"departs from it: {kinds}; {program()} query departures" if kinds else "nothing departs from it"
        lines.append(f"analysis plan {result.plan_sha256[:12]}: {departs}")
    return told("evaluate", *lines)


@rendered.register
def _(result: Report) -> RenderableType:
    look = sum(shape == "look" for shape, _ in result.checks)
    checks = f"! {look} of {len(result.checks)} checks" if look else "none of the checks"
    lines = [f"{checks} to be looked at; {whole(result.errors)} errors, each with its photograph"]
    if result.audience == "shared":
        lines = [
            f"for others: no single case but {whole(result.errors_shown)} numbered crops; read it before it leaves"
        ]
    if not result.one_file:
        lines.append("photographs stand beside the page, in thumbs: give the whole folder away, or none of it")
    return Group(told("report", *lines), unwrapped(f"page: {result.page}"))


def _held(result: Status) -> RenderableType:
    facts = table("what", ">count")
    for name in ("exports", "rows", "rows_quarantined", "photographs", "patients", "cases", "resolved"):
        facts.add_row(name.replace("_", " "), whole(getattr(result, name)))
    if result.features_gigabytes:
        facts.add_row("kept features (GB)", f"{result.features_gigabytes:.2f}")
    for reason, count in result.kept_out.items():
        facts.add_row(line(f"kept out: {reason}", "yellow"), whole(count))
    for kind, count in result.findings.items():
        facts.add_row(line(f"finding: {kind}"), whole(count))
    for path, count in result.unknown_keys.items():
        facts.add_row(line(f"key not known, its values only in the landed file: {path}"), whole(count))
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
            state = f"{whole(row['changed_cases'])} cases changed since" if row["changed_cases"] else "fits the labels"
            splits.add_row(row["split_id"], whole(row["cases"]), state)
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
                whole(row["predicted"]),
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
        lines.append(f"{what}: {whole(export.rows)} rows{since}{again}{landed}")
        if export.errors:
            lines.append(f"! Labelbox could not export {whole(export.errors)} rows: task {export.task}")
        if export.announced != export.rows:
            lines.append(f"! Labelbox announced {whole(export.announced)} rows")
    if result.fetched or result.fetched_before:
        lines.append(f"{whole(result.fetched)} photographs and masks fetched, {whole(result.fetched_before)} before")
    if result.not_fetched:
        reasons = ", ".join(f"{whole(count)} {reason}" for reason, count in result.not_fetched.items())
        lines.append(f"! not fetched: {reasons}")
    return told("pull", *lines)


@rendered.register
def _(result: Compared) -> RenderableType:
    shown: list[RenderableType] = []
    for cause, found in (("model", result.differences), ("relabelling", result.relabelling)):
        for part, rows in found.items():
            title = f"{result.run_id} → {result.other_run_id}, {part}"
            made = table("metric", ">change", ">interval", ">p", title=title if cause == "model" else f"{part}, labels")
            for metric, (difference, low, high, p) in rows.items():
                bounds = interval(low, high).replace("–", " to ")
                made.add_row(
                    metric.replace("_", " "), f"{difference:+.3f}", bounds, "<0.001" if p < 0.001 else number(p)
                )
            shown.append(made)
            if cause == "model":
                shown.append(
                    ", ".join(f"{name.replace('_', ' ')} {whole(n)}" for name, n in result.cases[part].items())
                )
            shown.append("")
    return Group(*shown, next_step(result.next))
