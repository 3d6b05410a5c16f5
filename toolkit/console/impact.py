"""What a queue's labels change, as lines and tables."""

import math

from rich.console import Group, RenderableType
from rich.table import Table

from toolkit.console.text import line, summary, table
from toolkit.formatting import (
    UNDEFINED,
    counted,
    estimate_note,
    interval,
    listed,
    percent,
    proportion,
    reached,
    short_metric_name,
    signed,
    spoken,
    subset,
    support,
)
from toolkit.stages.impact import Impact, PartImpact

MOST_CANDIDATES = 15
"""Changes of labels in the terminal; `--json` has all."""


def impact(result: Impact) -> RenderableType:
    """Return what became of the queue, what it says of all labels, and what it changes in the run's metrics."""
    lines = [f"{support(result.cases, result.patients)}: {listed(result.outcomes)}"]
    if result.of_run is None:
        lines.append("! there is no run yet whose metrics could change")
        return Group(summary("impact", f"queue {result.queue_id}", *lines), _estimates(result))
    of_run = result.of_run
    lines += _sentences(of_run)
    what = summary("impact", f"queue {result.queue_id}", *lines)
    return Group(what, _scores(of_run), _estimates(result), _candidates(of_run))


def _sentences(result: PartImpact) -> list[str]:
    (f1,) = (row for row in result.scores if row["metric"] == "macro_f1")
    where = f"macro F1 on the {subset(result.part)} of run {result.run_id}"
    values = f"{proportion(f1['before'])} to {proportion(f1['reviewed'])}"
    changed = counted(result.changed, "label")
    lines = [f"with what reviewers say ({changed} changed) {where} goes from {values}"]
    if result.suggested:
        lines.append(
            f"if also {counted(result.suggested, 'label')} not reviewed became what is suggested, it would be "
            f"{proportion(f1['suggested'])}; whichever of them do, between {reached(result.bounds)}"
        )
    return lines


def _scores(result: PartImpact) -> Table:
    columns = ("metric", "class", ">before", ">reviewed", ">change", ">suggested", ">change")
    scores = table(
        *columns, title=f"run {result.run_id}, {subset(result.part)}: {support(result.cases, result.patients)}"
    )
    for row in result.scores:
        if row["class_name"] and row["metric"] != "recall":
            continue
        changes = (row[name] - row["before"] for name in ("reviewed", "suggested"))
        first, second = (signed(change) for change in changes)
        values = (proportion(row["before"]), proportion(row["reviewed"]), first, proportion(row["suggested"]), second)
        scores.add_row(short_metric_name(row["metric"]), line(spoken(row["class_name"] or "")), *values)
    return scores


def _estimates(result: Impact) -> Table:
    level = percent(result.estimates[0]["confidence"])
    columns = ("from the random share", ">value", f">{level} interval", ">reviewed", ">of")
    estimates = table(*columns, title="all labels, also those that nobody reviewed")
    for row in result.estimates:
        where = f", {subset(row['part'])}" if "part" in row else ""
        bounds = interval(row["low"], row["high"], missing="nothing reviewed" if not row["cases"] else "no interval")
        rests_on = (support(row["cases"], row["patients"]), support(row["of_cases"], row["of_patients"]))
        estimates.add_row(f"{row['estimate']}{where}", proportion(row["value"]), bounds, *rests_on)
    notes = [f"{row['estimate']}: {estimate_note(row)}" for row in result.estimates if estimate_note(row)]
    estimates.caption = "\n".join(notes) or None
    return estimates


def _candidates(result: PartImpact) -> Table:
    columns = ("case", "outcome", "from", "to", "predicted", ">p", ">macro F1")
    candidates = table(*columns, title="changes of labels by their impact, times the probability of a suggestion")
    for row in result.candidates[:MOST_CANDIDATES]:
        names = (row["case_id"], spoken(row["outcome"]), *(_class(row[key]) for key in ("class_name", "changed_to")))
        probability = UNDEFINED if math.isnan(row["probability"]) else f"{row['probability']:.2f}"
        cells = (*names, _class(row["predicted"]))
        candidates.add_row(*(line(cell) for cell in cells), probability, signed(row["contribution"]))
    more = len(result.candidates) - MOST_CANDIDATES
    candidates.caption = f"{more} more with --json" if more > 0 else None
    return candidates


def _class(name: str | None) -> str:
    return "none" if name is None else spoken(name)
