"""Scores by an earlier revision of the labels, beside today's."""

from rich.console import Group, RenderableType

from toolkit.console.text import next_step, summary, table
from toolkit.formatting import (
    FEW_PATIENTS,
    FEW_PATIENTS_LEGEND,
    UNDEFINED,
    counted,
    in_units,
    interval,
    moment,
    proportion,
    short_metric_name,
    signed,
    subset,
)
from toolkit.stages.evaluate.as_of import EvaluatedAsOf

SHOWN = ("macro_recall", "macro_specificity", "macro_f1", "macro_roc_auc", "accuracy", "brier", "log_loss")


def evaluated_as_of(result: EvaluatedAsOf) -> RenderableType:
    """Return the averages of each part as they were, what changed since, and which labels they are by."""
    tables = [each for part in result.headline for each in (_averages(result, part), "")]
    labels = f"reference diagnoses as of export {result.export_id}"
    labels += f" of {moment(result.latest_at)}" if result.latest_at else ""
    since = "the same as today's"
    if result.truth_id != result.truth_id_today:
        changed = result.changed_since.items()
        parts = (f"{counted(number, 'case')} of the {subset(part)}" for part, number in changed)
        since = f"today's are {result.truth_id_today}, which differ in {', '.join(parts)}"
    times = [f"{subset(part)} evaluated {counted(times, 'time')}" for part, times in result.times_scored.items()]
    step = f"toolkit compare {result.run_id} {result.run_id} --since {result.export_id}"
    return Group(
        *tables,
        summary("evaluate", f"{labels}: {result.truth_id}", since, ", ".join(times)),
        next_step(step if result.truth_id != result.truth_id_today else "toolkit query scores_by_revision"),
    )


def _averages(result: EvaluatedAsOf, part: str) -> RenderableType:
    averages = table(
        f"{subset(part)}, over all classes", ">then", ">interval", ">today", ">today minus then",
        title=f"labels as of export {result.export_id}",
    )  # fmt: skip
    shown = {(part, metric) for metric in SHOWN}
    averages.caption = in_units(FEW_PATIENTS_LEGEND) if shown & set(result.too_few) else None
    for metric in (name for name in SHOWN if name in result.headline[part]):
        value, low, high = result.headline[part][metric]
        today = result.today.get(part, {}).get(metric)
        known = today is not None
        averages.add_row(
            short_metric_name(metric),
            proportion(value),
            interval(low, high, missing="") + (FEW_PATIENTS if (part, metric) in result.too_few else ""),
            proportion(today) if known else UNDEFINED,
            signed(today - value) if known else UNDEFINED,
        )
    return averages
