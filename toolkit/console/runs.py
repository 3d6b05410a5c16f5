"""What the results of training, prediction, evaluation and reports look like.

Refuses to compute: what a line says, the result holds.
"""

from rich.console import Group, RenderableType

from toolkit.console.judged import judged
from toolkit.console.results import rendered
from toolkit.console.text import next_step, program, table, told, unwrapped
from toolkit.formatting import chance, count, interval, proportion, signed, spoken
from toolkit.prompts.ablation import MEANING as MEANING_OF_CONTROL
from toolkit.prompts.chat_json import ChatCompared, ChatWritten
from toolkit.stages.claims import Claims
from toolkit.stages.compare import Compared
from toolkit.stages.evaluate import Evaluated
from toolkit.stages.predict import Predicted
from toolkit.stages.report import Report
from toolkit.stages.report.compare_page import ComparePage
from toolkit.stages.train import Trained, TrainingPlan


@rendered.register
def _(result: ComparePage) -> RenderableType:
    return unwrapped(f"page: {result.page}")


@rendered.register
def _(result: Trained) -> RenderableType:
    again = ", as before" if result.already_there else ""
    return told(
        "train",
        f"run {result.run_id}{again}: {result.model} on {count(result.train_cases)} cases / "
        f"{count(result.train_patients)} patients, {result.epochs} epochs, {result.seconds:.0f} s on {result.device}",
        f"loss {proportion(result.train_loss)}, {proportion(result.validation_loss)} on validation; macro recall there "
        f"{proportion(result.metrics['macro_recall'])}",
    )


def _memory(gib: float) -> str:
    return f"{gib:.1f} GiB" if gib >= 0.1 else f"{gib * 1024:.1f} MiB"


@rendered.register
def _(result: TrainingPlan) -> RenderableType:
    made = table("mode", ">trained", ">frozen", ">float32", ">bfloat16", "here")
    for mode in result.modes:
        own = " *" if mode.mode == result.mode else ""
        coarse = "-" if mode.mode == "full" else _memory(mode.gib_bfloat16)
        sizes = (count(mode.trained), count(mode.frozen), _memory(mode.gib_float32), coarse)
        made.add_row(f"{mode.mode}{own}", *sizes, "fits" if mode.fits else "does not fit")
    what = f"{result.model} on {count(result.train_cases)} cases, {result.epochs} epochs, {count(result.steps)} steps"
    note = f"* the study's own; its frozen weights are {result.dtype}. Weights, gradients and AdamW: activations come"
    return Group(
        told("train", what),
        made,
        told("", f"{note} on top. This device ({result.device}) has {result.device_gib:.1f} GiB."),
    )


@rendered.register
def _(result: ChatWritten) -> RenderableType:
    lines = [f"{count(result.entries)} entries of part {result.part} of split {result.split_id}"]
    if result.values_left_out:
        lines.append(f"! {count(result.values_left_out)} values of metadata name a class: left out of the prompts")
    lines.append("! its paths may hold patients' identifiers: do not pass it on")
    return Group(told("prompts", *lines), unwrapped(f"file: {result.file}"))


@rendered.register
def _(result: ChatCompared) -> RenderableType:
    lines = [f"{count(result.same)} of {count(result.entries)} entries are as part {result.part} has them today"]
    found = {
        "have another prompt": result.other_prompt,
        "have another class": result.other_class,
        "are of no case of the part, or of one that cannot be told": result.unknown,
    }
    lines += [f"! {count(times)} {what}" for what, times in found.items() if times]
    if result.lacking:
        lines.append(f"! {count(result.lacking)} cases of the part do not stand in it")
    return told("prompts", *lines)


@rendered.register
def _(result: Predicted) -> RenderableType:
    parts = ", ".join(f"{part} {count(times)}" for part, times in result.cases.items())
    mass = proportion(result.mean_label_mass)
    lines = [f"{parts} cases ({count(result.scored_now)} now); mean label mass {mass}"]
    if result.control:
        shows = f"{result.control} control of run {result.control_of}"
        lines.insert(0, f"run {result.run_id}, {shows}: {MEANING_OF_CONTROL[result.control]}")
    if result.external_of:
        lines.insert(
            0,
            f"run {result.run_id}: run {result.external_of} of another workspace; it has seen no photograph here",
        )
        lines += [
            f"! {count(n)} cases of {name} were left out: the run does not know it"
            for name, n in result.unmapped.items()
        ]
        if not result.patients_compared:
            lines.append("! another pseudonym key was used there: whether it has seen a patient cannot be told")
    if result.left_out:
        lines.append(f"! {count(result.left_out)} cases have no box and were left out")
    if result.values_left_out:
        lines.append(f"! {count(result.values_left_out)} values of metadata name a class: left out of the prompts")
    if result.scores_are_older:
        lines.append(f"! the run's scores are of earlier predictions: toolkit evaluate --run {result.run_id}")
    if result.unparseable is not None:
        share = proportion(result.unparseable / sum(result.cases.values()))
        lines.append(f"freely generated: {count(result.unparseable)} answers ({share}) name no class")
    if not result.control:
        return told("predict", *lines)
    steps = (f"evaluate --run {result.run_id}", f"compare {result.control_of} {result.run_id}", "query controls")
    return Group(told("predict", *lines), *(next_step(f"{program()} {step}") for step in steps))


@rendered.register
def _(result: Claims) -> RenderableType:
    return judged(result)


@rendered.register
def _(result: Evaluated) -> RenderableType:
    times = ", ".join(f"{part} {n}×" for part, n in result.times_scored.items())
    lines = [f"against {result.truth_id}; scored so far: {times}"]
    if result.plan_sha256:
        kinds = ", ".join(dict.fromkeys(spoken(each.kind) for each in result.departures))
        departs = f"departs from it: {kinds}; {program()} query departures" if kinds else "nothing departs from it"
        lines.append(f"analysis plan {result.plan_sha256[:12]}: {departs}")
    return told("evaluate", *lines)


@rendered.register
def _(result: Report) -> RenderableType:
    look = sum(shape == "look" for shape, _ in result.checks)
    checks = f"! {look} of {len(result.checks)} checks" if look else "none of the checks"
    lines = [f"{checks} to be looked at; {count(result.errors)} errors, each with its photograph"]
    if result.audience == "shared":
        but = f" but {count(result.errors_shown)} numbered crops" if result.errors_shown else ", no photograph"
        lines = [f"for others: no single case{but}; read it before it leaves"]
    if not result.one_file:
        lines.append("photographs stand beside the page, in thumbs: give the whole folder away, or none of it")
    return Group(told("report", *lines), unwrapped(f"page: {result.page}"))


@rendered.register
def _(result: Compared) -> RenderableType:
    shown: list[RenderableType] = []
    for cause, found in (("model", result.differences), ("relabelling", result.relabelling)):
        for part, rows in found.items():
            title = f"{result.run_id} → {result.other_run_id}, {part}"
            made = table("metric", ">change", ">interval", ">p", title=title if cause == "model" else f"{part}, labels")
            for metric, (difference, low, high, p) in rows.items():
                made.add_row(spoken(metric), signed(difference), interval(low, high, missing=""), chance(p))
            shown.append(made)
            if cause == "model":
                shown.append(", ".join(f"{spoken(name)} {count(n)}" for name, n in result.cases[part].items()))
            shown.append("")
    return Group(*shown, next_step(result.next.replace("toolkit", program(), 1)))
