"""Results of stages from `train` to `claims`, and of `push`, as lines and tables."""

from typing import Any

from rich.console import Group, RenderableType

from toolkit.console.claims import claims
from toolkit.console.evaluated_as_of import evaluated_as_of
from toolkit.console.impact import impact
from toolkit.console.patients import attached, translated
from toolkit.console.plan_size import planned_size
from toolkit.console.pushes import pushed
from toolkit.console.readers import reader_study
from toolkit.console.releases import released
from toolkit.console.results import rendered
from toolkit.console.robustness import compared_with_degraded, learning_curve, next_batch, pooled_folds
from toolkit.console.text import line, next_step, summary, table, unwrapped
from toolkit.formatting import (
    FEW_PATIENTS,
    FEW_PATIENTS_LEGEND,
    UNDEFINED,
    chance,
    count,
    counted,
    in_units,
    interval,
    listed,
    model_name,
    proportion,
    short_metric_name,
    signed,
    spoken,
    subset,
    support,
    unit,
)
from toolkit.pipeline import ComparedWithControl
from toolkit.prediction_files.faults import names, plain_name
from toolkit.prompts.ablation import meaning as meaning_of_control
from toolkit.prompts.chat_json import ChatCompared, ChatWritten
from toolkit.robustness import ComparedWithDegraded
from toolkit.stages.attach import Attached
from toolkit.stages.baseline import Baseline
from toolkit.stages.claims import Claims
from toolkit.stages.compare import Compared
from toolkit.stages.evaluate import Evaluated
from toolkit.stages.evaluate.as_of import EvaluatedAsOf
from toolkit.stages.evaluate.folds import PooledFolds
from toolkit.stages.export import Exported
from toolkit.stages.impact import Impact
from toolkit.stages.learning_curve import LearningCurve
from toolkit.stages.next_batch import NextBatch
from toolkit.stages.plan_size import PlannedSize
from toolkit.stages.predict import Predicted
from toolkit.stages.predict.imported import PredictionsRead
from toolkit.stages.push import Pushed
from toolkit.stages.readers import ReaderStudy
from toolkit.stages.release import Released
from toolkit.stages.report import Report
from toolkit.stages.report.compare_page import ComparePage
from toolkit.stages.report.impact_page import ImpactPage
from toolkit.stages.report.learning_curve_page import LearningCurvePage
from toolkit.stages.report.next_batch_page import NextBatchPage
from toolkit.stages.train import Trained, TrainingPlan
from toolkit.stages.translate import Translated
from toolkit.workspace.runs import PLAIN_CONTROL

OTHER_KEY = "the other workspace has another pseudonym key, or did not note it"
BETWEEN_SEEDS = ("macro_recall", "macro_roc_auc", "accuracy")


@rendered.register
def _(result: ComparePage) -> RenderableType:
    return unwrapped(f"page: {result.page}")


@rendered.register
def _(result: ImpactPage) -> RenderableType:
    query = f"toolkit query impact --set queue={result.queue_id}"
    return Group(unwrapped(f"page: {result.page}"), next_step(query))


@rendered.register
def _(result: Trained) -> RenderableType:
    again = ", as before" if result.already_there else ""
    said = summary(
        "train",
        f"run {result.run_id}{again}: {result.model} on {support(result.train_cases, result.train_patients)}, "
        f"{result.seconds:.0f} s on {result.device}",
        *([result.self_test] if result.self_test else []),
        *_started_elsewhere(result.start_leaks),
        f"{counted(result.epochs, 'epoch')}: loss {proportion(result.train_loss)}; validation set: loss "
        f"{proportion(result.validation_loss)}, macro recall {proportion(result.metrics['macro_recall'])}",
        *(
            f"run {each.run_id}, seed {each.seed}: validation set: loss {proportion(each.validation_loss)}, "
            f"macro recall {proportion(each.metrics['macro_recall'])}"
            for each in result.replicates
        ),
    )
    if result.started_from is None:
        return said
    steps = (
        f"predict --run {result.run_id}",
        f"evaluate --run {result.run_id}",
        f"compare {result.started_from} {result.run_id}",
        f"query adaptation --set run={result.run_id} --set other={result.started_from}",
    )
    return Group(said, *(next_step(f"toolkit {step}") for step in steps))


def _started_elsewhere(leaks: dict[str, Any]) -> list[str]:
    """Say what is known of what a run of another workspace has seen, where the training started from one."""
    if not leaks:
        return []
    compared = counted(leaks["photographs_compared"], "case")
    lines = [f"it goes back to a run of another workspace, trained on none of the photographs of {compared}"]
    if not leaks["patients_compared"]:
        lines.append(f"! {OTHER_KEY}: that run may have seen patients of this one")
    if unknown := leaks.get("unknown_there"):
        lines.append(f"! {_not_compared(unknown)}")
    return lines


def _not_compared(cases: int) -> str:
    return f"{counted(cases, 'case')} it was trained on could not be compared: withdrawn there, or without a digest"


def _memory(gib: float) -> str:
    return f"{gib:.1f} GiB" if gib >= 0.1 else f"{gib * 1024:.1f} MiB"


@rendered.register
def _(result: TrainingPlan) -> RenderableType:
    modes = table("mode", ">trainable", ">frozen", ">float32", ">bfloat16", ">4-bit", "this device")
    for mode in result.modes:
        own = " *" if mode.mode == result.mode else ""
        coarse = UNDEFINED if mode.mode == "full" else _memory(mode.gib_bfloat16)
        smallest = UNDEFINED if mode.gib_4bit is None else _memory(mode.gib_4bit)
        sizes = (count(mode.trained), count(mode.frozen), _memory(mode.gib_float32), coarse, smallest)
        modes.add_row(f"{mode.mode}{own}", *sizes, "fits" if mode.fits else "does not fit")
    cases, steps = counted(result.train_cases, "case"), counted(result.steps, "step")
    return Group(
        summary("train", f"{result.model} on {cases}, {counted(result.epochs, 'epoch')}, {steps}"),
        modes,
        summary(
            "",
            f"* is the study's own mode; its frozen weights are {result.dtype}. 4-bit weights need an NVIDIA GPU.",
            "The sizes hold weights, gradients and AdamW's state; activations need more.",
            f"This device ({result.device}) has {result.device_gib:.1f} GiB.",
        ),
    )


def _left_out_of_prompts(values: int) -> list[str]:
    """Return the warning that metadata which names a class was left out of the prompts."""
    return [f"! {counted(values, 'metadata value')} left out of the prompts: they name a class"] if values else []


@rendered.register
def _(result: Exported) -> RenderableType:
    pictures = f", {counted(result.pictures, 'picture')}" if result.pictures else ""
    size = f"{counted(result.files, 'file')}, {result.megabytes:.1f} MB"
    lines = [
        f"{result.format}: {counted(result.cases, 'case')}{pictures}, {size}",
        *(f"! {counted(cases, 'case')} left out: {reason}" for reason, cases in result.left_out.items()),
        "! this copy stays when a patient is withdrawn from the workspace",
    ]
    return Group(summary("export", *lines), unwrapped(f"folder: {result.folder}"))


@rendered.register
def _(result: ChatWritten) -> RenderableType:
    entries = counted(result.entries, "entry", "entries")
    lines = [f"{entries}: the {subset(result.part)} of split {result.split_id}"]
    lines += _left_out_of_prompts(result.values_left_out)
    lines.append("! the file's paths may contain patient identifiers: do not pass it on")
    return Group(summary("prompts", *lines), unwrapped(f"file: {result.file}"))


@rendered.register
def _(result: ChatCompared) -> RenderableType:
    lines = [f"{count(result.same)} of {counted(result.entries, 'entry', 'entries')} as in the {subset(result.part)}"]
    differences = {
        "with another prompt": result.other_prompt,
        "with another class": result.other_class,
        "of no case of the subset, or of one that cannot be identified": result.unknown,
    }
    lines += [f"! {counted(times, 'entry', 'entries')} {what}" for what, times in differences.items() if times]
    if result.lacking:
        lines.append(f"! {counted(result.lacking, 'case')} of the subset missing from the file")
    return summary("prompts", *lines)


@rendered.register
def _(result: Predicted) -> RenderableType:
    lines = [f"cases: {listed(result.cases)} ({count(result.scored_now)} predicted now)"]
    if result.control != PLAIN_CONTROL:
        lines.append(
            f"the study's answers hold {proportion(result.mean_label_mass)} of the probability (mean label mass)"
        )
    if result.control:
        control = f"{result.control} control of run {result.control_of}"
        lines.insert(0, f"run {result.run_id}, {control}: {meaning_of_control(result.control)}")
    if result.external_of:
        origin = f"the model of run {result.external_of} of another workspace"
        lines.insert(0, f"run {result.run_id}: {origin}; it has seen no photograph of this workspace")
        lines += [
            f"! {counted(cases, 'case')} of class {name} left out: the run does not know this class"
            for name, cases in result.unmapped.items()
        ]
        if not result.patients_compared:
            lines.append(f"! {OTHER_KEY}: the run may have seen patients of this one")
        if result.unknown_there:
            lines.append(f"! {_not_compared(result.unknown_there)}")
    if result.left_out:
        lines.append(f"! {counted(result.left_out, 'case')} without a box left out")
    lines += _left_out_of_prompts(result.values_left_out)
    if result.scores_are_older:
        lines.append(f"! the run's scores are older than its predictions: toolkit evaluate --run {result.run_id}")
    if result.unparseable is not None:
        share = proportion(result.unparseable / sum(result.cases.values()))
        lines.append(f"free answers that name no class: {count(result.unparseable)} ({share})")
    if not result.control:
        return summary("predict", *lines)
    steps = (f"evaluate --run {result.run_id}", f"compare {result.control_of} {result.run_id}", "query controls")
    return Group(summary("predict", *lines), *(next_step(f"toolkit {step}") for step in steps))


WHAT_IS_KNOWN = {
    "distribution": "every class's probability",
    "scores": "a score of each class by itself",
    "predicted": "the predicted class and its probability",
}


@rendered.register
def _(result: PredictionsRead) -> RenderableType:
    columns = table("column", "taken for")
    for name, meaning in result.columns.items():
        columns.add_row(line(plain_name(name)), line(meaning))
    lines = [
        f"run {result.run_id}: the model {model_name(result.model)}, {result.leakage}",
        f"cases: {listed(result.cases)} of {counted(result.rows, 'row')}, each with {WHAT_IS_KNOWN[result.knows]}",
        f"rows found by: {result.key}",
        *result.notes,
    ]
    if result.unread:
        lines.append(f"not read: {names(result.unread)}")
    lines += [
        f"! {counted(number, 'case')} of the {subset(part)} missing from the file"
        for part, number in result.missing.items()
    ]
    lines += [f"! the file holds no case of the {subset(part)}" for part in result.not_covered]
    lines += [f"! the file has no probability of class {name}" for name in result.lacking]
    lines += [f"! {counted(number, 'case')} of class {name} left out" for name, number in result.unmapped.items()]
    lines += [
        f"{counted(number, 'row')} of {'no subset' if part == 'no subset' else f'the {subset(part)}'}, not stored"
        for part, number in result.elsewhere.items()
    ]
    if result.without_case:
        lines.append(f"{counted(result.without_case, 'row')} of photographs that have no case here")
    if result.unknown:
        lines.append(f"! {counted(result.unknown, 'row')} left out: the key names nothing here")
    if result.scores_are_older:
        lines.append("! the run's scores are older than its predictions")
    return Group(columns, summary("predict", *lines), next_step(f"toolkit evaluate --run {result.run_id}"))


@rendered.register
def _(result: Claims) -> RenderableType:
    return claims(result)


@rendered.register
def _(result: Evaluated) -> RenderableType:
    times = [f"{subset(part)} evaluated {counted(times, 'time')}" for part, times in result.times_scored.items()]
    lines = [f"reference diagnosis: {result.truth_id}", ", ".join(times)]
    if result.plan_sha256:
        kinds = ", ".join(dict.fromkeys(spoken(each.kind) for each in result.departures))
        departures = f"departures from it: {kinds} (toolkit query departures)" if kinds else "no departure from it"
        lines.append(f"analysis plan {result.plan_sha256[:12]}: {departures}")
    return summary("evaluate", *lines)


@rendered.register
def _(result: EvaluatedAsOf) -> RenderableType:
    return evaluated_as_of(result)


@rendered.register
def _(result: Report) -> RenderableType:
    look = sum(shape == "look" for shape, _ in result.checks)
    checks = f"! {look} of {counted(len(result.checks), 'check')} need a look" if look else "no check needs a look"
    shown = "each with its photograph"
    if result.errors_shown < result.errors:
        shown = f"{count(result.errors_shown)} of them on the page; misclassified.csv has all"
    lines = [f"{checks}; {counted(result.errors, 'error')}, {shown}"]
    lines += [
        f"{counted(row['seeds'], 'seed')}: {short_metric_name(row['metric'])} {proportion(row['mean'])} on average, "
        f"SD {proportion(row['sd'])}, {proportion(row['lowest'])} to {proportion(row['highest'])}"
        for row in result.seeds
        if row["metric"] in BETWEEN_SEEDS
    ]
    if result.audience == "shared":
        crops = counted(result.errors_shown, "numbered crop") if result.errors_shown else "no photograph"
        lines = [f"shared: no data of single cases, {crops}; read the page before you pass it on"]
    if not result.one_file:
        lines.append("photographs are beside the page, in thumbs/: pass on the whole folder, or none of it")
    return Group(summary("report", *lines), unwrapped(f"page: {result.page}"))


@rendered.register
def _(result: Compared) -> RenderableType:
    blocks: list[RenderableType] = []
    for part, rows in result.differences.items():
        title = f"{subset(part)}: run {result.other_run_id} minus run {result.run_id}"
        differences = _differences(title, rows, _few(result, part))
        blocks += [differences, *_between_seeds(result, part), f"cases: {listed(result.cases[part])}", ""]
    for part, rows in result.relabelling.items():
        alone = [] if part in result.differences else [f"cases: {listed(result.cases[part])}"]
        blocks += [_differences(f"{subset(part)}: change from new labels alone", rows, _few(result, part)), *alone, ""]
    return Group(*blocks, next_step(result.next))


@rendered.register
def _(result: ComparedWithControl) -> RenderableType:
    row = next(row for row in result.rows if row["metric"] == "macro_recall")
    values = f"macro recall {proportion(row['other_value'])} of the control, {proportion(row['value'])} of the run"
    bounds = interval(row["low"], row["high"])
    return summary(
        "compare",
        f"{result.control} control of run {result.run_id}: {meaning_of_control(result.control)}",
        f"{subset(row['part'])}: {values}; {signed(row['difference'])} ({bounds})",
    )


def _between_seeds(result: Compared, part: str) -> list[RenderableType]:
    return [
        f"{short_metric_name(metric)} over {counted(seeds, 'pair')} of trainings: mean {signed(mean)}, "
        f"SD {proportion(sd)}, {signed(lowest)} to {signed(highest)}"
        for metric, (seeds, mean, sd, lowest, highest) in result.seeds.get(part, {}).items()
        if metric in BETWEEN_SEEDS
    ]


def _few(result: Compared, part: str) -> set[str]:
    return {metric for each, metric in result.too_few if each == part}


def _differences(title: str, rows: dict[str, tuple[float, float, float, float]], few: set[str]) -> RenderableType:
    differences = table("metric", ">difference", ">interval", ">p", title=title)
    differences.caption = in_units(FEW_PATIENTS_LEGEND) if few else None
    for metric, (difference, low, high, p) in rows.items():
        bounds = interval(low, high, missing="") + (FEW_PATIENTS if metric in few else "")
        differences.add_row(short_metric_name(metric), signed(difference), bounds, chance(p))
    return differences


@rendered.register
def _(result: Impact) -> RenderableType:
    return impact(result)


@rendered.register
def _(result: Pushed) -> RenderableType:
    return pushed(result)


@rendered.register
def _(result: ReaderStudy) -> RenderableType:
    return reader_study(result)


@rendered.register
def _(result: ComparedWithDegraded) -> RenderableType:
    return compared_with_degraded(result)


@rendered.register
def _(result: LearningCurve) -> RenderableType:
    return learning_curve(result)


@rendered.register
def _(result: NextBatch) -> RenderableType:
    return next_batch(result)


@rendered.register
def _(result: NextBatchPage) -> RenderableType:
    return unwrapped(f"page: {result.page}")


@rendered.register
def _(result: PooledFolds) -> RenderableType:
    return pooled_folds(result)


@rendered.register
def _(result: LearningCurvePage) -> RenderableType:
    return unwrapped(f"page: {result.page}")


@rendered.register
def _(result: PlannedSize) -> RenderableType:
    return planned_size(result)


@rendered.register
def _(result: Baseline) -> RenderableType:
    again = ", as before" if result.already_there else ""
    fields, trained = ", ".join(result.fields), support(result.train_cases, result.train_patients)
    found = {f"out of fold by {unit()}, on the training set": result.out_of_fold, "validation set": result.validation}
    lines = [
        f"run {result.run_id}{again}: no photograph, but {fields}; trained on {trained}",
        *(
            f"{where}: accuracy {proportion(values['accuracy'])}, macro recall {proportion(values['macro_recall'])}, "
            f"macro ROC AUC {proportion(values['macro_roc_auc'])}"
            for where, values in found.items()
            if values
        ),
        f"predicted: {', '.join(f'{subset(part)} {count(cases)}' for part, cases in result.cases.items())}",
    ]
    if result.values_left_out:
        lines.append(f"! {counted(result.values_left_out, 'metadata value')} left out: they name a class")
    return Group(summary("baseline", *lines), next_step(f"toolkit evaluate --run {result.run_id}"))


@rendered.register
def _(result: Attached) -> RenderableType:
    return attached(result)


@rendered.register
def _(result: Translated) -> RenderableType:
    return translated(result)


@rendered.register
def _(result: Released) -> RenderableType:
    return released(result)
