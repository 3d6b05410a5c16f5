"""The CSV files beside a report's page: every number unrounded, one header each."""

from collections.abc import Iterable
from operator import attrgetter
from typing import Any

from toolkit.csv_files import sheet_text
from toolkit.formatting import clean
from toolkit.stages.report.cases import ReportCase, ScoredCases, cost
from toolkit.stages.report.facts import ReportFacts
from toolkit.stats.metrics import AVERAGED

ABOUT_CASES = ("case_id", "part", "patient_id", "truth", "predicted", "confidence", "label_mass")
MORE_ABOUT_CASES = ("image_id", "resolved_by", "agreeing", "readings")
COMPARED = (
    "run_id", "other_run_id", "part", "cause", "metric", "value", "other_value", "difference", "low", "high", "p",
    "cases", "patients", "method",
)  # fmt: skip
CONTROLS = (
    "control", "control_run_id", "part", "metric", "class_name", "value", "other_value", "difference", "low", "high",
    "p", "confidence", "method", "cases", "patients",
)  # fmt: skip
IMAGE_QUALITY = (
    "kind", "level", "metric", "class_name", "value", "degraded", "difference", "low", "high", "p", "became_wrong",
    "became_right", "flipped", "cases", "patients", "degraded_run_id",
)  # fmt: skip
SEEDS = ("part", "metric", "class_name", "value", "low", "high", "seeds", "mean", "sd", "lowest", "highest")
OVER_ALL_CLASSES = ("part", "metric", "value", "low", "high", "method", "replicates", "cases", "patients", "classes")


def csv_of(columns: Iterable[str], rows: list[dict[str, Any]]) -> str:
    """Return rows as CSV with these columns."""
    return sheet_text(columns, ([row[name] for name in columns] for row in rows))


def csv_tables(facts: ReportFacts) -> dict[str, str]:
    """Return every CSV file of a report by name; what concerns single cases is for the study's own people."""
    more = facts.evaluation
    controls = [row | {"control_run_id": row["other_run_id"]} for row in more.controls]
    optional = {
        "operating_points.csv": (more.operating_points, None),
        "decision_curve.csv": (more.decision_curve, None),
        "calibration.csv": (more.calibration, None),
        "groups.csv": (more.groups, None),
        "comparison.csv": (more.compared, COMPARED),
        "controls.csv": (controls, CONTROLS),
        "seeds.csv": (facts.seeds, SEEDS),
        "adaptation.csv": (facts.adaptation, None),
        "image_quality.csv": (facts.image_quality.rows, IMAGE_QUALITY),
    }
    tables = {
        "per_class.csv": _per_class(facts),
        "summary.csv": _summary(facts),
        "confusions.csv": _confusions(facts),
        "split.csv": _split(facts),
        "flow.csv": _flow(facts),
        "kept_out.csv": csv_of(("level", "reason", "found"), facts.issues),
        "epochs.csv": _epochs(facts),
        **{name: csv_of(columns or tuple(rows[0]), rows) for name, (rows, columns) in optional.items() if rows},
        "findings.csv": csv_of(("kind", "source", "found", "cases"), facts.findings),
    }
    if facts.plan.lock:
        tables["departures.csv"] = csv_of(("part", "kind", "detail"), facts.plan.departures)
    return tables | (_about_cases(facts, facts.every_case) if facts.every_case is not None else {})


def _about_cases(facts: ReportFacts, cases: ScoredCases) -> dict[str, str]:
    findings = [{**row, "example": clean(row["example"])} for row in facts.findings]
    return {
        "misclassified.csv": _misclassified(facts, cases),
        "cases.csv": _cases(facts, cases),
        "excluded.csv": csv_of(("stage", "reason", "case_id", "image_id", "export_id", "line"), facts.excluded),
        "findings.csv": csv_of(("kind", "source", "found", "cases", "example"), findings),
    }


def _per_class(facts: ReportFacts) -> str:
    """Return every per-class score; cases and patients are those of the class itself."""
    scored = {metric for _, metric, name in facts.scores if name is not None}
    metrics = [*AVERAGED, *sorted(scored - set(AVERAGED))]
    header = ["part", "class_name", *(f"{metric}{end}" for metric in metrics for end in ("", "_low", "_high"))]
    rows = []
    for part, name in ((part, name) for part in facts.parts for name in facts.classes):
        if own := facts.scores.get((part, "recall", name)):
            scores = [facts.scores.get((part, metric, name)) for metric in metrics]
            values = [
                value for score in scores for value in ((score.value, score.low, score.high) if score else [None] * 3)
            ]
            rows.append([part, name, *values, own.cases, own.patients, own.truth_id])
    return sheet_text([*header, "cases", "patients", "truth_id"], rows)


def _summary(facts: ReportFacts) -> str:
    """Return every score over all classes."""
    overall = [score for score in facts.scores.values() if score.class_name is None]
    overall.sort(key=lambda score: (facts.parts.index(score.part), score.metric))
    return sheet_text(OVER_ALL_CLASSES, map(attrgetter(*OVER_ALL_CLASSES), overall))


def _confusions(facts: ReportFacts) -> str:
    """Return the confusion matrices, a row per cell that holds a case; a suppressed count is empty."""
    rows = [
        (part, truth, predicted, *cell)
        for part in facts.parts
        for (truth, predicted), cell in sorted(facts.matrices[part].items())
    ]
    return sheet_text(["part", "truth", "predicted", "cases", "patients"], rows)


def _split(facts: ReportFacts) -> str:
    """Return cases and patients by part and class; "all" where it is over all of them."""
    rows = [(part or "all", name or "all", *cell) for (part, name), cell in facts.by_class.items()]
    return sheet_text(["part", "class_name", "cases", "patients"], rows)


def _flow(facts: ReportFacts) -> str:
    """Return the cohort's flow: what each stage counted, and what was excluded before it."""
    rows = []
    for stage in facts.flow:
        rows += [(stage.name, "", stage.number), *((stage.name, *pair) for pair in stage.excluded)]
    return sheet_text(["stage", "reason", "number"], rows)


def _epochs(facts: ReportFacts) -> str:
    rows = [(metric, *point) for metric, points in sorted(facts.epochs.items()) for point in points]
    return sheet_text(["metric", "epoch", "value"], rows)


def _misclassified(facts: ReportFacts, cases: ScoredCases) -> str:
    """Return every case the run got wrong; pseudonyms only, no photograph's name."""
    about = attrgetter(*ABOUT_CASES)
    return sheet_text(
        [*ABOUT_CASES, *(f"probability_{name}" for name in facts.classes)],
        ([*about(case), *_probabilities(facts, case)] for case in cases if case.outcome == "wrong"),
    )


def _cases(facts: ReportFacts, cases: ScoredCases) -> str:
    """Return every scored case with what the page says of it."""
    columns = (*ABOUT_CASES, *MORE_ABOUT_CASES)
    about = attrgetter(*columns)
    rows = (
        [
            *about(case),
            cost(case.truth, case.predicted, facts.malignant, facts.report.costs),
            "; ".join(clean(kind) for kind in case.findings),
            "; ".join(f"{field}: {value}" for field, value in case.groups),
            *_probabilities(facts, case),
        ]
        for case in cases
    )
    return sheet_text([*columns, "cost", "findings", "groups", *(f"probability_{n}" for n in facts.classes)], rows)


def _probabilities(facts: ReportFacts, case: ReportCase) -> list[float | None]:
    return [case.probabilities.get(name) for name in facts.classes]
