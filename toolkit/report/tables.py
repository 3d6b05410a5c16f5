"""Knows the CSV files that stand beside a report's page: every number unrounded, one header each.

Refuses to know HTML. A spreadsheet takes a text that starts with = + - @ for a formula: such texts, and only texts,
get an apostrophe in front.
"""

import csv
import io
from collections.abc import Iterable
from typing import Any

from toolkit.metrics import PER_CLASS
from toolkit.report.facts import Facts

FORMULA = ("=", "+", "-", "@", "\t", "\r")


def guarded(cell: Any) -> Any:
    """Return a cell as it may stand in a CSV file."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell


def to_csv(header: list[str], rows: Iterable[list[Any]]) -> bytes:
    """Write rows as CSV: UTF-8, LF, NaN as nan, floats with every digit."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([guarded(cell) for cell in header])
    writer.writerows([guarded(cell) for cell in row] for row in rows)
    return buffer.getvalue().encode()


def per_class(facts: Facts) -> bytes:
    """Return every per-class score; cases and patients are those of the class itself."""
    header = ["part", "class_name", *(f"{m}{end}" for m in PER_CLASS for end in ("", "_low", "_high"))]
    rows = []
    for part in facts.parts:
        for name in facts.classes:
            scores = [facts.scores.get((part, metric, name)) for metric in PER_CLASS]
            own = facts.scores.get((part, "recall", name))
            if own is not None:
                values = [score[end] if score else None for score in scores for end in ("value", "low", "high")]
                rows.append([part, name, *values, own["cases"], own["patients"], own["truth_id"]])
    return to_csv([*header, "cases", "patients", "truth_id"], rows)


def summary(facts: Facts) -> bytes:
    """Return every score over all classes."""
    columns = ["part", "metric", "value", "low", "high", "method", "replicates", "cases", "patients", "classes"]
    order = {part: number for number, part in enumerate(facts.parts)}
    overall = [score for score in facts.scores.values() if score["class_name"] is None]
    overall.sort(key=lambda score: (order[score["part"]], score["metric"]))
    return to_csv(columns, ([score[name] for name in columns] for score in overall))


def misclassified(facts: Facts) -> bytes:
    """Return every case the run got wrong; pseudonyms only, no photograph's name."""
    columns = ["case_id", "part", "patient_id", "truth", "predicted", "confidence", "label_mass"]
    rows = (
        [*(error[name] for name in columns), *(error["probabilities"].get(name) for name in facts.classes)]
        for error in facts.errors
    )
    return to_csv([*columns, *(f"probability_{name}" for name in facts.classes)], rows)
