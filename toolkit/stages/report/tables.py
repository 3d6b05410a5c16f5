"""The CSV files that stand beside a report's page: every number unrounded, one header each.

Refuses to know HTML, and how a cell is written: `files` does that for every CSV of the toolkit.
"""

from typing import Any

from toolkit.files import csv_text
from toolkit.formatting import clean
from toolkit.stages.report import evaluated, planned
from toolkit.stages.report.embedded_data import cost
from toolkit.stages.report.facts import ReportFacts
from toolkit.stats.metrics import AVERAGED

ABOUT_CASES = ("case_id", "part", "patient_id", "truth", "predicted", "confidence", "label_mass")
MORE_ABOUT_CASES = ("image_id", "resolved_by", "agreeing", "readings")


def files(facts: ReportFacts) -> dict[str, str]:
    """Return every CSV file of a report by name; what concerns single cases is for the study's own people."""
    made = {
        "per_class.csv": per_class(facts),
        "summary.csv": summary(facts),
        "confusions.csv": confusions(facts),
        "split.csv": split(facts),
        "flow.csv": flow(facts),
        "kept_out.csv": _rows(("level", "reason", "found"), facts.issues),
        "epochs.csv": csv_text(["metric", "epoch", "value"], _epochs(facts)),
        **evaluated.files(facts.evaluation),
        **planned.files(facts.planned),
    }
    if facts.controls:
        made["controls.csv"] = _rows(tuple(facts.controls[0]), facts.controls)
    if facts.audience == "internal":
        made["misclassified.csv"] = misclassified(facts)
        made["cases.csv"] = cases(facts)
        made["excluded.csv"] = _rows(("stage", "reason", "case_id", "image_id", "export_id", "line"), facts.excluded)
        rows = [{**row, "example": clean(row["example"])} for row in facts.findings]
        made["findings.csv"] = _rows(("kind", "source", "found", "cases", "example"), rows)
    else:
        made["findings.csv"] = _rows(("kind", "source", "found", "cases"), facts.findings)
    return made


def _rows(columns: tuple[str, ...], rows: list[dict[str, Any]]) -> str:
    return csv_text(columns, ([row[name] for name in columns] for row in rows))


def per_class(facts: ReportFacts) -> str:
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


def summary(facts: ReportFacts) -> str:
    """Return every score over all classes."""
    columns = ["part", "metric", "value", "low", "high", "method", "replicates", "cases", "patients", "classes"]
    order = {part: number for number, part in enumerate(facts.parts)}
    overall = [score for score in facts.scores.values() if score["class_name"] is None]
    overall.sort(key=lambda score: (order[score["part"]], score["metric"]))
    return csv_text(columns, ([score[name] for name in columns] for score in overall))


def confusions(facts: ReportFacts) -> str:
    """Return the confusion matrices, a row per cell that holds a case; a count that is not shown is empty."""
    rows = [
        (part, truth, predicted, cell.cases, cell.patients)
        for part in facts.parts
        for (truth, predicted), cell in sorted(facts.matrices[part].items())
    ]
    return csv_text(["part", "truth", "predicted", "cases", "patients"], rows)


def split(facts: ReportFacts) -> str:
    """Return cases and patients by part and class; "all" where it is over all of them."""
    rows = [(part or "all", name or "all", *cell) for (part, name), cell in facts.by_class.items()]
    return csv_text(["part", "class_name", "cases", "patients"], rows)


def flow(facts: ReportFacts) -> str:
    """Return the cohort's flow: what each stage counted, and what was left out on the way there."""
    rows = []
    for stage in facts.flow:
        rows += [(stage.name, "", stage.number), *((stage.name, *pair) for pair in stage.excluded)]
    return csv_text(["stage", "reason", "number"], rows)


def _epochs(facts: ReportFacts) -> list[tuple[str, int, float]]:
    return [(metric, *point) for metric, points in sorted(facts.epochs.items()) for point in points]


def misclassified(facts: ReportFacts) -> str:
    """Return every case the run got wrong; pseudonyms only, no photograph's name."""
    rows = ([*(case[name] for name in ABOUT_CASES), *_chances(facts, case)] for case in facts.errors)
    return csv_text([*ABOUT_CASES, *(f"probability_{name}" for name in facts.classes)], rows)


def cases(facts: ReportFacts) -> str:
    """Return every scored case with what the page says of it."""
    columns = (*ABOUT_CASES, *MORE_ABOUT_CASES)
    rows = (
        [
            *(case[name] for name in columns),
            cost(case["truth"], case["predicted"], facts.malignant, facts.report.costs),
            "; ".join(clean(kind) for kind in case["findings"]),
            "; ".join(f"{field}: {value}" for field, value in case["groups"]),
            *_chances(facts, case),
        ]
        for case in facts.cases
    )
    return csv_text([*columns, "cost", "findings", "groups", *(f"probability_{n}" for n in facts.classes)], rows)


def _chances(facts: ReportFacts, case: dict[str, Any]) -> list[float | None]:
    return [case["probabilities"].get(name) for name in facts.classes]
