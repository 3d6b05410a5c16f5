"""How a run's scores look: headline, per class with interval bars, most frequent confusions, 80 columns wide.

Refuses to compute a metric: what is shown stands in the registry.
"""

import math
from typing import Any

from rich.table import Table

from toolkit.console.text import interval_bar, line, stdout, table, told
from toolkit.formatting import UNDEFINED, count, interval, proportion, short_metric_name, signed, spoken
from toolkit.workspace import sql
from toolkit.workspace.registry import Workspace

HEADLINE = (
    "macro_recall",
    "macro_precision",
    "macro_specificity",
    "macro_f1",
    "macro_roc_auc",
    "macro_pr_auc",
    "accuracy",
)
IN_SHORT = ("macro_recall", "macro_specificity", "macro_f1", "macro_roc_auc")
CALIBRATION = ("brier", "log_loss", "ece", "calibration_slope", "calibration_intercept")


def show_scores(workspace: Workspace, run_id: str) -> None:
    """Show a run's tables in the page's order, those of a part on the first of its parts: test where it was scored."""
    scores, parts = _scores(workspace, run_id)
    before = workspace.rows(sql.statement("report/previous"), {"run_id": run_id})
    stdout.print(_headline(scores, parts, HEADLINE, before), "")
    stdout.print(_per_class([row for row in scores if row["part"] == parts[0]], parts[0]), "")
    confusions = workspace.ask("confusions", run=run_id, part=parts[0]).to_pylist()[:5]
    stdout.print(_confusions(confusions, parts[0]), "")
    if points := workspace.ask("operating_points", run=run_id, part=parts[0]).to_pylist():
        stdout.print(_operating(points, parts[0]), "")
    if groups := workspace.ask("groups", run=run_id, part=parts[0]).to_pylist():
        stdout.print(_groups(groups, parts[0]), "")
    stdout.print(_calibration([row for row in scores if row["part"] == parts[0]], parts[0]), "")
    if controls := workspace.rows(sql.statement("report/comparisons"), {"run_id": run_id, "others": "controls"}):
        stdout.print(_controls(controls), "")


def show_story(workspace: Workspace, run_id: str) -> None:
    """Show the same in short, so that a whole line fits a screen: four numbers, the classes, what is mixed up."""
    scores, parts = _scores(workspace, run_id)
    before = workspace.rows(sql.statement("report/previous"), {"run_id": run_id})
    stdout.print(_headline(scores, parts, IN_SHORT, before))
    stdout.print(_per_class([row for row in scores if row["part"] == parts[0]], parts[0]))
    confusions = workspace.ask("confusions", run=run_id, part=parts[0]).to_pylist()[:3]
    taken = [f"{row['truth']} for {row['predicted']} ({count(row['cases'])})" for row in confusions]
    stdout.print(told("mix-ups", *taken) if taken else told("mix-ups", "none"))


def _scores(workspace: Workspace, run_id: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Return a run's scores and its scored parts, the one to show first (test, where it was scored)."""
    scores = workspace.rows("select * from scores where run_id = $run_id", {"run_id": run_id})
    return scores, sorted({row["part"] for row in scores}, key=lambda part: (part != "test", part))


def _headline(
    scores: list[dict[str, Any]], parts: list[str], metrics: tuple[str, ...], before: list[dict[str, Any]]
) -> Table:
    """Return the averages by part, with the first part's change since the run before, where there is one."""
    changes = {row["metric"]: row["value"] for row in before if (row["part"], row["class_name"]) == (parts[0], None)}
    since = [f">since {before[0]['run_id']}"] if changes else []
    made = table("over all classes", *(f">{part}" for part in parts for _ in (0, 1)), *since)
    for place in range(len(parts)):
        made.columns[2 * place + 2].header = f"{scores[0]['confidence']:.0%}"
    for metric in metrics:
        cells = []
        for part in parts:
            row = next(
                (r for r in scores if r["part"] == part and r["metric"] == metric and r["class_name"] is None), None
            )
            cells += [proportion(row["value"]), interval(row["low"], row["high"], missing="")] if row else ["", ""]
        if since:
            own = next(
                (r for r in scores if (r["part"], r["metric"], r["class_name"]) == (parts[0], metric, None)), None
            )
            cells.append(_difference(own["value"] if own else None, changes.get(metric)))
        made.add_row(short_metric_name(metric), *cells)
    notes = _undefined_classes(scores, metrics)
    if since and not before[0]["same_split"]:
        notes.append("the run before stands on another split: other test cases")
    made.caption = "\n".join(notes) or None
    return made


def _difference(value: float | None, before: float | None) -> str:
    known = value is not None and before is not None and not math.isnan(value - before)
    return signed(value - before) if known else ""


def _undefined_classes(scores: list[dict[str, Any]], metrics: tuple[str, ...]) -> list[str]:
    """Say which macro averages leave classes out."""
    total = len({row["class_name"] for row in scores if row["class_name"]})
    partial = [row for row in scores if row["classes"] not in (None, total) and row["metric"] in metrics]
    return [
        f"{short_metric_name(row['metric'])}, {row['part']}: "
        f"over the {row['classes']} of {total} classes where it is defined"
        for row in partial
    ]


def _per_class(scores: list[dict[str, Any]], part: str) -> Table:
    made = table(
        "class", ">n/pat.", ">recall", "0 to 1", ">prec.", ">spec.", ">F1", ">ROC", ">PR", title=f"per class, {part}"
    )
    for name in sorted({row["class_name"] for row in scores if row["class_name"]}):
        own = {row["metric"]: row for row in scores if row["class_name"] == name}
        recall = own["recall"]
        made.add_row(
            line(name if len(name) <= 20 else f"{name[:19]}…"),
            f"{recall['cases']}/{recall['patients']}",
            proportion(recall["value"]),
            interval_bar(recall["value"], recall["low"], recall["high"]),
            *(proportion(own[metric]["value"]) for metric in ("precision", "specificity", "f1", "roc_auc", "pr_auc")),
        )
    return made


def _confusions(rows: list[dict[str, Any]], part: str) -> Table:
    made = table("truth", "predicted", ">cases", ">patients", title=f"most frequent confusions, {part}")
    for row in rows:
        made.add_row(line(row["truth"]), line(row["predicted"]), count(row["cases"]), count(row["patients"]))
    return made


def _operating(rows: list[dict[str, Any]], part: str) -> Table:
    title = f"operating points, {part}; thresholds chosen on validation"
    made = table("to be found", ">from", "", ">value", ">95%", ">n/pat.", title=title)
    made.columns[4].header = f"{rows[0]['confidence']:.0%}"
    for row in rows:
        name = spoken(row["metric"])
        bounds = interval(row["low"], row["high"], missing="")
        support = f"{row['cases']}/{row['patients']}"
        made.add_row(line(row["target"]), proportion(row["threshold"]), name, proportion(row["value"]), bounds, support)
    said = {row["target"]: row for row in rows}
    made.caption = "\n".join(_guarantee(row) for row in said.values())
    return made


def _guarantee(row: dict[str, Any]) -> str:
    verdict = "can vouch" if row["vouched"] else "cannot vouch"
    return (
        f"{line(row['target'])}: {row['patients_found']} of {row['patients_to_be_found']} patients found: "
        f"these {verdict} for {row['required']:g} (at least {proportion(row['at_least'])}; "
        f"it takes {row['needed_without_a_miss']} without a miss)"
    )


def _groups(rows: list[dict[str, Any]], part: str) -> Table:
    made = table("group", ">n/pat.", ">accuracy", "0 to 1", ">to others", ">q", title=f"groups, {part}")
    for row in rows:
        name = f"{row['group_name']} {row['group_value']}"
        name = line(name if len(name) <= 25 else f"{name[:24]}…")
        support = f"{row['cases']}/{row['patients']}"
        if row["refused"]:
            made.add_row(name, support, UNDEFINED, "too few")
            continue
        bar = interval_bar(row["value"], row["low"], row["high"])
        worst = " worst" if row["worst"] else ""
        made.add_row(
            name, support, proportion(row["value"]), bar, signed(row["difference"]), proportion(row["q"]) + worst
        )
    return made


def _calibration(scores: list[dict[str, Any]], part: str) -> Table:
    made = table("measure", ">value", ">interval", title=f"calibration, {part}")
    found = {row["metric"]: row for row in scores if row["class_name"] is None}
    for metric in CALIBRATION:
        if row := found.get(metric):
            made.add_row(
                short_metric_name(metric), proportion(row["value"]), interval(row["low"], row["high"], missing="")
            )
    return made


def _controls(rows: list[dict[str, Any]]) -> Table:
    made = table("control", "part", "measure", ">run", ">control", ">change", title="blind controls")
    for row in rows:
        values = (
            proportion(row["value"]),
            proportion(row["other_value"]),
            _difference(row["other_value"], row["value"]),
        )
        made.add_row(line(row["control"]), row["part"], short_metric_name(row["metric"]), *values)
    return made
