"""What a run loses on degraded photographs, what more patients would bring, and what to label next, in a terminal."""

from rich.console import Group, RenderableType

from toolkit.console.text import line, next_step, summary, table
from toolkit.formatting import (
    CURVES,
    count,
    counted,
    interval,
    proportion,
    short_metric_name,
    signed,
    spoken,
    subset,
    support,
)
from toolkit.photographs.degradation import Degradation
from toolkit.robustness import ComparedWithDegraded
from toolkit.stages.evaluate.folds import PooledFolds
from toolkit.stages.learning_curve import LearningCurve
from toolkit.stages.next_batch import NextBatch

MOST_LOST = 3
"""Classes that are named for each degradation."""
MOST_SHOWN = 12
"""Cases of a batch in the terminal; all stand on its page."""


def compared_with_degraded(result: ComparedWithDegraded) -> RenderableType:
    """Return a row per degradation and average, and in which classes most predictions became wrong."""
    title = f"{subset(result.part)}, degraded photographs minus run {result.run_id}"
    scores = table("degraded", "metric", ">run", ">degraded", ">difference", ">became wrong", ">right", title=title)
    for row in result.rows:
        if row["class_name"] is None:
            flips = (count(row["became_wrong"]), count(row["became_right"]))
            shown = "" if row["metric"] != "macro_recall" else _name(row)
            bounds = f"{signed(row['difference'])} ({interval(row['low'], row['high'])})"
            values = (proportion(row["value"]), proportion(row["degraded"]), bounds)
            of_cases = flips if row["metric"] == "macro_recall" else ("", "")
            scores.add_row(line(shown), short_metric_name(row["metric"]), *values, *of_cases)
    lines = [*_classes(result), *_checks(result)]
    steps = ("query image_quality", f"report --run {result.run_id}")
    return Group(scores, "", summary("degraded", *lines), *(next_step(f"toolkit {step}") for step in steps))


def _name(row: dict) -> str:
    return Degradation(row["kind"], row["level"]).name


def _classes(result: ComparedWithDegraded) -> list[str]:
    """Say in which classes most predictions became wrong."""
    lines = []
    for name in result.unchanged:
        own = [row for row in result.rows if row["class_name"] and _name(row) == name and row["became_wrong"]]
        worst = sorted(own, key=lambda row: -row["became_wrong"])[:MOST_LOST]
        lost = [f"{spoken(row['class_name'])} {row['became_wrong']} of {row['cases']}" for row in worst]
        lines.append(f"{name}: became wrong {', '.join(lost) if lost else 'in no case'}")
    return lines


def _checks(result: ComparedWithDegraded) -> list[str]:
    known = [change for change in result.unchanged.values() if change is not None]
    lines = []
    if known:
        lines.append(f"at level 0 the run's own predictions came back (largest difference {max(known):.1g})")
    if result.left_out:
        lines.append(f"! {counted(result.left_out, 'case')} without a box left out")
    return lines


def learning_curve(result: LearningCurve) -> RenderableType:
    """Return a row per number of training patients, measured and expected, and the answer in a sentence."""
    of = f"run {result.run_id}" if result.run_id else CURVES[result.model]
    points = table(">patients", "", ">cases", ">macro recall", ">interval", title=f"learning curve of {of}")
    for row in result.points:
        bounds = interval(row.low, row.high)
        points.add_row(count(row.patients), "measured", count(round(row.cases)), proportion(row.value), bounds)
    for row in result.expected:
        points.add_row(count(row.patients), "expected", "", proportion(row.value), interval(row.low, row.high))
    present = result.points[-1]
    lines = [
        f"with {counted(row.patients - present.patients, 'patient')} more, macro recall {proportion(row.value)} "
        f"({interval(row.low, row.high)}) is expected"
        for row in result.expected
    ]
    evaluated = support(result.cases, result.patients)
    lines.append(f"evaluated on {evaluated} of the {subset(result.part)}; patients to come may be others than these")
    return Group(points, "", summary("learning", *lines))


def next_batch(result: NextBatch) -> RenderableType:
    """Return the first cases of a batch, and how sure the run is of them and of all."""
    cases = table(">rank", "case", "predicted", ">probability", ">uncertainty", title="to label next")
    for row in result.rows[:MOST_SHOWN]:
        shares = (proportion(row["confidence"]), proportion(row["uncertainty"]))
        cases.add_row(str(row["rank"]), line(row["case_id"]), line(spoken(row["predicted"])), *shares)
    sure = f"{proportion(result.mean_uncertainty)}, of all {proportion(result.mean_uncertainty_of_all)}"
    lines = [
        f"{support(len(result.rows), result.patients)} of {counted(result.unlabelled, 'case')} without a label",
        f"mean uncertainty of run {result.run_id}: {sure}",
    ]
    if result.in_training:
        lines.append(f"! {counted(result.in_training, 'case')} of patients in its training set")
    return Group(cases, "", summary("batch", *lines))


def pooled_folds(result: PooledFolds) -> RenderableType:
    """Return a row per metric and class: mean and SD over folds, and the value over all held-out cases."""
    title = f"{counted(len(result.run_ids), 'fold')} pooled"
    scores = table("metric", "class", ">mean of folds", ">SD", ">pooled", ">interval", title=title)
    for row in result.rows:
        of_folds = (proportion(row["mean"]), proportion(row["sd"]))
        pooled = (proportion(row["value"]), interval(row["low"], row["high"]) + ("\N{DAGGER}" * row["too_few"]))
        scores.add_row(short_metric_name(row["metric"]), line(spoken(row["class_name"] or "")), *of_folds, *pooled)
    lines = [
        f"{support(result.cases, result.patients)}, each held out once; the interval counts patients, not trainings",
        "pooled areas mix the probabilities of several models; the mean of folds does not",
    ]
    if any(row["too_few"] for row in result.rows):
        lines.append("\N{DAGGER} few patients: the interval is only approximate")
    return Group(scores, "", summary("folds", *lines))
