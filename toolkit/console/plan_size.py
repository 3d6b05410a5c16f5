"""Expected precision and power as a table, and the answer in sentences."""

from math import ceil, isinf, isnan

from rich.console import Group, RenderableType

from toolkit.console.text import line, summary, table
from toolkit.formatting import PATIENT, UNDEFINED, count, counted, proportion, short_metric_name, spoken, subset, unit
from toolkit.stages.plan_size import PlannedSize, SizeRow

NOT_FOUND = "none"
"""No difference that is possible, and none up to 0.4, is found so often."""


def planned_size(result: PlannedSize) -> RenderableType:
    """Return a row per metric, and what the primary one, or macro recall, says in words."""
    wanted = result.wanted
    noun = "patients" if unit() == PATIENT else "n"  # the word would not fit beside the others
    percent = f"{100 * wanted.power:g}%"
    sizes = table(
        "metric",
        ">cases",
        ">assumed",
        ">width now",
        f">{noun} for {wanted.width:g}",
        f">detectable ({percent})",
        f">{noun} for {wanted.difference:g}",
    )
    for row in result.rows:
        numbers = (proportion(row.value), proportion(row.width), _patients(row.needed_for_width, result))
        tested = (_difference(row), _patients(row.needed_for_difference, result))
        sizes.add_row(line(_name(row) + (" *" if row.primary else "")), count(round(row.cases)), *numbers, *tested)
    return Group(sizes, summary("plan", *_sentences(result)))


def _sentences(result: PlannedSize) -> list[str]:
    wanted = result.wanted
    where = subset(result.part) if result.part != "all" else "whole registry, for want of a split"
    there = f"{counted(result.planned_for, 'patient')}" + (
        f" like the {count(result.patients)} of the {where}" if result.planned_for != result.patients else f" ({where})"
    )
    row = next((row for row in result.rows if row.primary), None) or next(
        row for row in result.rows if row.metric == "macro_recall"
    )
    name = _name(row)
    lines = [f"assumed: {result.basis}; intraclass correlation {result.icc:.2f}"]
    if isnan(row.width):
        lines.append(f"{there}: {name} would mostly have no interval")
    else:
        needed = _patients(row.needed_for_width, result)
        lines.append(
            f"{there}: the {100 * result.confidence:g}% interval of {name} is expected to be {row.width:.2f} wide; a "
            f"width of {wanted.width:g} takes {needed}"
        )
    if not isnan(row.needed_for_difference):
        needed = _patients(row.needed_for_difference, result)
        detected = "no difference that is possible" if isinf(row.detectable) else f"one of {_difference(row)}"
        lines.append(
            f"to find with power {wanted.power:g} that two runs differ by {wanted.difference:g} in {name} takes "
            f"{needed} {unit()}s; {count(result.planned_for)} find {detected}"
        )
    if any(each.primary for each in result.rows):
        lines.append("* primary metric of the analysis plan")
    lines.append(
        f"{unit()}s are those of the whole subset; about 1 in 20 is simulation error: plan for more, not fewer"
    )
    return lines


def _name(row: SizeRow) -> str:
    if row.class_name:
        return f"{short_metric_name(row.metric)} {spoken(row.class_name)}"
    return "ROC AUC malignant" if row.metric == "roc_auc_malignant" else short_metric_name(row.metric)


def _patients(number: float, result: PlannedSize) -> str:
    if isnan(number):
        return UNDEFINED
    return f"over {count(result.most)}" if isinf(number) else count(ceil(number))


def _difference(row: SizeRow) -> str:
    if isnan(row.detectable):
        return UNDEFINED
    return NOT_FOUND if isinf(row.detectable) else f"{row.detectable:.3f}"
