"""The tables of a model card: each number with its interval, its support and its reference diagnoses."""

import math
from typing import Any, NamedTuple

from toolkit.formatting import (
    FEW_PATIENTS,
    clean,
    group_name,
    interval,
    metric_name,
    percent,
    proportion,
    spoken,
    subset,
    support,
)
from toolkit.stages.report.facts import CountCell, ReportFacts
from toolkit.stages.report.table_queries import TableQuery, statement, table_queries
from toolkit.workspace.scores import Score

OF_CLASSES = ("recall", "precision", "specificity", "f1", "roc_auc")
LEFT_OUT = ("scaled_", "prior_", "micro_", "weighted_")
"""Scores of probabilities that were changed afterwards, and other averages than macro: the report has them."""
NOTHING = "suppressed"


class CardRow(NamedTuple):
    """A row: its cells, whether it rests on few patients, and the SQL that computes its number ("" = the table's)."""

    cells: list[str]
    few: bool = False
    query: str = ""


class CardTable(NamedTuple):
    """A table with what its numbers rest on; the first `names` columns are words, all others numbers."""

    caption: str
    header: list[str]
    rows: list[CardRow]
    query: TableQuery
    names: int = 1


def card_tables(facts: ReportFacts) -> dict[str, CardTable]:
    """Return the tables of a card by name, those that have rows."""
    queries = table_queries(facts)
    queries["scores"] = statement("report/card_scores", run_id=facts.run["run_id"], part=facts.parts[0])
    tables = {
        "evaluation": _counted(facts, [facts.parts[0]], queries["parts"]),
        "training": _counted(facts, ["train", "validation"], queries["parts"]),
        "overall": _overall(facts, queries["scores"]),
        "per_class": _per_class(facts, queries["scores"]),
        "operating_points": _operating_points(facts, queries["operating_points"]),
        "groups": _groups(facts, queries["groups"]),
    }
    return {name: table for name, table in tables.items() if table.rows}


def _counted(facts: ReportFacts, parts: list[str], query: TableQuery) -> CardTable:
    """Return cases and patients of parts by class, as the split has them."""
    rows = [
        CardRow([subset(part), "all" if name is None else spoken(name), _support(facts.by_class[part, name])])
        for part in parts
        for name in (None, *facts.classes)
        if (part, name) in facts.by_class
    ]
    caption = f"Cases by class, split {facts.run['split_id']}"
    return CardTable(caption, ["subset", "class", "support"], rows, query, names=2)


def _support(cell: CountCell) -> str:
    return support(cell.cases, cell.patients)


def _caption(facts: ReportFacts, what: str, rows: list[Any]) -> str:
    """Say what the numbers of a table rest on: the subset, and which revision of the labels."""
    truths = sorted({row.truth_id if isinstance(row, Score) else row["truth_id"] for row in rows})
    return f"{what}, {subset(facts.parts[0])}; reference diagnoses {', '.join(truths)}"


def _interval(rows: list[Any]) -> str:
    """Return the heading of a column of intervals."""
    levels = sorted({row.confidence if isinstance(row, Score) else row["confidence"] for row in rows})
    return f"{' or '.join(map(percent, levels))} interval" if levels else "interval"


def _numbers(score: Score) -> list[str]:
    value = f"{proportion(score.value)}{FEW_PATIENTS if score.too_few else ''}"
    return [value, interval(score.low, score.high), support(score.cases, score.patients)]


def _overall(facts: ReportFacts, query: TableQuery) -> CardTable:
    part = facts.parts[0]
    scores = [
        score
        for (own, metric, name), score in sorted(facts.scores.items(), key=lambda item: item[0][1])
        if own == part and name is None and not metric.startswith(LEFT_OUT)
    ]
    rows = [CardRow([metric_name(score.metric), *_numbers(score)], score.too_few, score.query) for score in scores]
    caption = _caption(facts, "Scores over all classes", scores)
    return CardTable(caption, ["metric", "value", _interval(scores), "support"], rows, query)


def _per_class(facts: ReportFacts, query: TableQuery) -> CardTable:
    """Return a row for each class and metric; one that others may not see says so."""
    part, rows, scores = facts.parts[0], [], []
    for name in facts.classes:
        for metric in OF_CLASSES:
            score = facts.scores.get((part, metric, name))
            words = [spoken(name), metric_name(metric)]
            if score:
                scores.append(score)
                rows.append(CardRow([*words, *_numbers(score)], score.too_few, score.query))
            elif facts.audience == "shared":
                rows.append(CardRow([*words, NOTHING, NOTHING, NOTHING]))
    caption = _caption(facts, "Scores of each class against all others", scores)
    return CardTable(caption, ["class", "metric", "value", _interval(scores), "support"], rows, query, names=2)


def _operating_points(facts: ReportFacts, query: TableQuery) -> CardTable:
    points = facts.evaluation.operating_points
    rows = [
        CardRow(
            [clean(spoken(row["target"])), metric_name(row["metric"]), proportion(row["threshold"]), *_of_row(row)],
            bool(row["too_few"]),
            row["query"],
        )
        for row in points
    ]
    caption = _caption(facts, "Operating points", points)
    header = ["to detect", "metric", "threshold", "value", _interval(points), "support"]
    return CardTable(caption, header, rows, query, names=2)


def _groups(facts: ReportFacts, query: TableQuery) -> CardTable:
    """Return the scores of groups of cases, one field at a time; a group that was not scored says so."""
    groups = facts.evaluation.groups
    rows = [
        CardRow(
            [clean(group_name(row["group_name"], row["group_value"])), metric_name(row["metric"]), *_of_row(row)],
            bool(row["too_few"]) and not row["refused"],
        )
        for row in groups
    ]
    caption = _caption(facts, "Groups of cases, one field at a time", groups)
    header = ["group", "metric", "value", "interval", "support"]
    return CardTable(caption, header, rows, query, names=2)


def _of_row(row: dict[str, Any]) -> list[str]:
    """Return value, interval and support of a question's row; None in them is suppressed."""
    if row["cases"] is None:
        return [NOTHING, NOTHING, NOTHING]
    undefined = row["value"] is None or math.isnan(row["value"])
    few = FEW_PATIENTS if row["too_few"] and not undefined else ""
    why = "few cases or patients: not scored" if row.get("refused") else "no interval"
    bounds = interval(row["low"], row["high"], missing=why)
    return [f"{proportion(row['value'])}{few}", bounds, support(row["cases"], row["patients"])]
