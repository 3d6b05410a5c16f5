"""The scores of a run as tables of at most 80 columns: averages, classes, confusions, operating points, groups."""

from typing import Any

from rich.table import Table
from rich.text import Text

from toolkit.console.text import interval_bar, line, stdout, summary, table
from toolkit.formatting import (
    FEW_PATIENTS,
    FEW_PATIENTS_LEGEND,
    UNDEFINED,
    confirmation,
    count,
    counted,
    detection,
    group_name,
    in_units,
    interval,
    percent,
    proportion,
    short_metric_name,
    signed,
    subset,
    unit,
    used_to_choose,
)
from toolkit.stages.report.evaluation import FIXED, chosen_on_validation
from toolkit.workspace import sql
from toolkit.workspace.registry import Workspace
from toolkit.workspace.scores import Score, ScoreKey, read_scores, scored_parts

IN_SHORT = ("macro_recall", "macro_specificity", "macro_f1", "macro_roc_auc")
AVERAGES = (*IN_SHORT, "macro_precision", "macro_pr_auc", "accuracy")
OTHERS = ("precision", "specificity", "f1", "roc_auc", "pr_auc")
"""Columns of the table of classes beside recall."""
CALIBRATION = (
    "brier",
    "log_loss",
    "ece",
    "calibration_p",
    "calibration_power",
    "calibration_slope",
    "calibration_intercept",
)


def show_scores(workspace: Workspace, run_id: str) -> None:
    """Show a run's tables in the page's order: averages of every scored part, then the rest of the first part."""
    with workspace.reading():
        _show_scores(workspace, run_id)


def _show_scores(workspace: Workspace, run_id: str) -> None:
    scores = read_scores(workspace, run_id)
    part = scored_parts(scores)[0]
    stdout.print(_averages(workspace, scores, AVERAGES), "")
    stdout.print(_per_class(scores, part), "")
    stdout.print(_confusions(workspace, run_id, part), "")
    if points := workspace.shipped_rows("operating_points", run=run_id, part=part):
        stdout.print(_operating_points(points, part), "")
    if groups := workspace.shipped_rows("groups", run=run_id, part=part):
        stdout.print(_groups(groups, part), "")
    stdout.print(_calibration(scores, part), "")
    if controls := workspace.rows(sql.statement("report/comparisons"), {"run_id": run_id, "others": "controls"}):
        stdout.print(_controls(controls), "")


def show_in_short(workspace: Workspace, run_id: str) -> None:
    """Show four averages, the classes and the most frequent confusions, so that a whole run fits on a screen."""
    scores = read_scores(workspace, run_id)
    part = scored_parts(scores)[0]
    stdout.print(_averages(workspace, scores, IN_SHORT))
    stdout.print(_per_class(scores, part))
    confusions = [
        f"{row['truth']} predicted as {row['predicted']}: {counted(row['cases'], 'case')}"
        for row in _most_confused(workspace, run_id, part, most=3)
    ]
    stdout.print(summary("confused", *confusions or ["none"]))


def _averages(workspace: Workspace, scores: dict[ScoreKey, Score], metrics: tuple[str, ...]) -> Table:
    """Return the averages by part, with the first part's change since the previous run, where there is one."""
    parts = scored_parts(scores)
    any_score = next(iter(scores.values()))
    previous = workspace.rows(sql.statement("report/previous"), {"run_id": any_score.run_id})
    before = {row["metric"]: row["value"] for row in previous if (row["part"], row["class_name"]) == (parts[0], None)}
    columns = [name for part in parts for name in (f">{part}", f">{percent(any_score.confidence)}")]
    since = [f">since {previous[0]['run_id']}"] if before else []
    averages = table("over all classes", *columns, *since)
    for metric in metrics:
        own = [scores.get((part, metric, None)) for part in parts]
        cells = [cell for score in own for cell in (_value(score), _bounds(score))]
        if before:
            known = own[0] is not None and own[0].value is not None and before.get(metric) is not None
            cells.append(signed(own[0].value - before[metric]) if known else UNDEFINED)
        averages.add_row(short_metric_name(metric), *cells)
    notes = _undefined_classes(scores, metrics)
    if "validation" in parts:
        notes.append(used_to_choose(chosen_on_validation(workspace, any_score.run_id)))
    if before and not previous[0]["same_split"]:
        notes.append("The previous run was scored on another split: its test cases differ.")
    averages.caption = "\n".join(filter(None, notes)) or None
    return averages


def _value(score: Score | None) -> str:
    return proportion(score.value) if score else ""


def _bounds(score: Score | None) -> str:
    """Return a score's interval, marked where it rests on few patients."""
    if score is None or not score.has_interval:
        return ""
    return interval(score.low, score.high) + (FEW_PATIENTS if score.too_few else "")


def _undefined_classes(scores: dict[ScoreKey, Score], metrics: tuple[str, ...]) -> list[str]:
    """Return a note for each macro average that leaves classes out."""
    total = len({class_name for _, _, class_name in scores if class_name})
    averages = [scores.get((part, metric, None)) for part in scored_parts(scores) for metric in metrics]
    return [
        f"{short_metric_name(score.metric)}, {subset(score.part)}: over the {score.classes} of {total} classes where "
        "it is defined"
        for score in averages
        if score is not None and score.classes not in (None, total)
    ]


def _per_class(scores: dict[ScoreKey, Score], part: str) -> Table:
    columns = ("class", ">n/pat.", ">recall", "0 to 1", ">prec.", ">spec.", ">F1", ">ROC", ">PR")
    few = any(score.too_few for score in scores.values())
    legend = f" ({FEW_PATIENTS_LEGEND})" if few else ""
    classes = table(*columns, title=f"per class, {subset(part)}{legend}")
    names = sorted({class_name for _, _, class_name in scores if class_name})
    for recall in (scores[part, "recall", name] for name in names):
        others = (scores[part, metric, recall.class_name] for metric in OTHERS)
        classes.add_row(
            _shortened(recall.class_name or "", 20),
            f"{recall.cases}/{recall.patients}{FEW_PATIENTS if recall.too_few else ''}",
            proportion(recall.value),
            interval_bar(recall.value, recall.low, recall.high),
            *(proportion(score.value) for score in others),
        )
    return classes


def _shortened(name: str, width: int) -> Text:
    return line(name if len(name) <= width else f"{name[: width - 1]}…")


def _most_confused(workspace: Workspace, run_id: str, part: str, *, most: int) -> list[dict[str, Any]]:
    return workspace.shipped_rows("confusions", run=run_id, part=part)[:most]


def _confusions(workspace: Workspace, run_id: str, part: str) -> Table:
    confusions = table(
        "reference diagnosis", "predicted", ">cases", ">patients", title=f"most frequent confusions, {subset(part)}"
    )
    for row in _most_confused(workspace, run_id, part, most=5):
        confusions.add_row(line(row["truth"]), line(row["predicted"]), count(row["cases"]), count(row["patients"]))
    return confusions


def _operating_points(rows: list[dict[str, Any]], part: str) -> Table:
    chosen = "fixed" if all(row["rule"] == FIXED for row in rows) else "chosen on the validation set"
    title = f"operating points, {subset(part)}; thresholds {chosen}"
    columns = ("target", ">threshold", "metric", ">value", f">{percent(rows[0]['confidence'])}", ">n/pat.")
    points = table(*columns, title=title)
    for row in rows:
        points.add_row(
            line(row["target"]),
            proportion(row["threshold"]),
            short_metric_name(row["metric"]),
            proportion(row["value"]),
            interval(row["low"], row["high"], missing=""),
            f"{row['cases']}/{row['patients']}{FEW_PATIENTS if row['too_few'] else ''}",
        )
    points.caption = (
        "\n".join(_confirmation(row) for row in rows if row["metric"] == "recall" and row["rule"] != FIXED) or None
    )
    return points


def _confirmation(row: dict[str, Any]) -> str:
    detected, patients = row["patients_found"], row["patients_to_be_found"]
    numbers = {"detected": detected, "patients": patients, "of_lesions": row["value"]}
    verdict = confirmation(row["required"], confirmed=row["vouched"], **numbers)
    return (
        f"{line(detection(row['target'], detected, patients))}: {verdict} (lower bounds: "
        f"{proportion(row['at_least'])} of {unit()}s without a miss, {proportion(row['low'])} of lesions; "
        f"it takes {row['needed_without_a_miss']} {unit()}s without a miss)."
    )


def _groups(rows: list[dict[str, Any]], part: str) -> Table:
    columns = ("group", ">n/pat.", ">accuracy", "0 to 1", ">vs. others", ">q")
    groups = table(*columns, title=f"groups of cases, {subset(part)}")
    for row in rows:
        name = _shortened(group_name(row["group_name"], row["group_value"]), 25)
        support = f"{row['cases']}/{row['patients']}"
        if row["refused"]:
            groups.add_row(name, support, UNDEFINED)
            continue
        support += FEW_PATIENTS if row["too_few"] else ""
        bar = interval_bar(row["value"], row["low"], row["high"])
        q = proportion(row["q"]) + (" worst" if row["worst"] else "")
        groups.add_row(name, support, proportion(row["value"]), bar, signed(row["difference"]), q)
    notes = ["Differences are at the same mix of classes: on the classes that the group and all others have."]
    notes.append("q is the p-value of the difference, corrected for the number of groups (Benjamini-Hochberg).")
    if any(row["refused"] for row in rows):
        notes.append(f"{UNDEFINED} few cases or {unit()}s: the group is not scored")
    if any(row["too_few"] for row in rows if not row["refused"]):
        notes.append(in_units(FEW_PATIENTS_LEGEND))
    groups.caption = "\n".join(notes)
    return groups


def _calibration(scores: dict[ScoreKey, Score], part: str) -> Table:
    calibration = table("measure", ">value", ">interval", title=f"calibration, {subset(part)}")
    for metric in CALIBRATION:
        if score := scores.get((part, metric, None)):
            calibration.add_row(short_metric_name(metric), proportion(score.value), _bounds(score))
    return calibration


def _controls(rows: list[dict[str, Any]]) -> Table:
    columns = ("control", "part", "metric", ">run", ">control", ">difference")
    controls = table(*columns, title="controls: control minus run")
    for row in rows:
        values = (proportion(row["value"]), proportion(row["other_value"]), signed(row["difference"]))
        controls.add_row(line(row["control"]), row["part"], short_metric_name(row["metric"]), *values)
    return controls
