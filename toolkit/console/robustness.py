"""What a run loses on degraded photographs, in a terminal."""

from rich.console import Group, RenderableType

from toolkit.console.text import line, next_step, summary, table
from toolkit.formatting import count, counted, interval, proportion, short_metric_name, signed, spoken, subset
from toolkit.photographs.degradation import Degradation
from toolkit.robustness import ComparedWithDegraded

MOST_LOST = 3
"""Classes that are named for each degradation."""


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
