"""Knows the CSV files that stand beside a report's page: every number unrounded, one header each.

Refuses to know HTML, and how a cell is written: `files` does that for every CSV of the toolkit.
"""

from toolkit.files import csv_text
from toolkit.metrics import AVERAGED
from toolkit.report.facts import Facts


def per_class(facts: Facts) -> str:
    """Return every per-class score; cases and patients are those of the class itself."""
    found = {metric for _, metric, name in facts.scores if name is not None}
    metrics = [*AVERAGED, *sorted(found - set(AVERAGED))]
    header = ["part", "class_name", *(f"{m}{end}" for m in metrics for end in ("", "_low", "_high"))]
    rows = []
    for part in facts.parts:
        for name in facts.classes:
            scores = [facts.scores.get((part, metric, name)) for metric in metrics]
            own = facts.scores.get((part, "recall", name))
            if own is not None:
                values = [score[end] if score else None for score in scores for end in ("value", "low", "high")]
                rows.append([part, name, *values, own["cases"], own["patients"], own["truth_id"]])
    return csv_text([*header, "cases", "patients", "truth_id"], rows)


def summary(facts: Facts) -> str:
    """Return every score over all classes."""
    columns = ["part", "metric", "value", "low", "high", "method", "replicates", "cases", "patients", "classes"]
    order = {part: number for number, part in enumerate(facts.parts)}
    overall = [score for score in facts.scores.values() if score["class_name"] is None]
    overall.sort(key=lambda score: (order[score["part"]], score["metric"]))
    return csv_text(columns, ([score[name] for name in columns] for score in overall))


def misclassified(facts: Facts) -> str:
    """Return every case the run got wrong; pseudonyms only, no photograph's name."""
    columns = ["case_id", "part", "patient_id", "truth", "predicted", "confidence", "label_mass"]
    rows = (
        [*(error[name] for name in columns), *(error["probabilities"].get(name) for name in facts.classes)]
        for error in facts.errors
    )
    return csv_text([*columns, *(f"probability_{name}" for name in facts.classes)], rows)
