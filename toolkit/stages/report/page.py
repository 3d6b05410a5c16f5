"""The page of a run: which facts go where in the template `page.html.j2`."""

import json
from typing import Any, NamedTuple

from toolkit.formatting import field_name, used_to_choose
from toolkit.manifest import NO_PATIENTS, Study
from toolkit.prompts.ablation import MEANING
from toolkit.stages.report import captions, evaluation, first_screen, headlines, image_quality, layout, origin, pivots
from toolkit.stages.report.facts import CountCell, ReportFacts
from toolkit.stages.report.figures import Drawing, inline
from toolkit.stages.report.guidelines import Guideline, left
from toolkit.stages.report.methods import methods, scored_truth
from toolkit.stages.report.table_queries import table_queries
from toolkit.stages.report.thumbnails import LARGE, MOST_LARGE

SHOWN = ("precision", "recall", "specificity", "f1", "roc_auc", "pr_auc")
LEVELS = 10
FIGURES = {
    "roc": "ROC curves, one per class",
    "pr": "Precision and recall, one curve per class",
    "losses": "Loss by epoch",
    "watched": "Metrics on the validation set by epoch",
    "reliability": "Calibration curve: observed frequency by mean predicted probability",
    "decision": "Decision curve: net benefit by threshold probability",
    "adaptation": "Recall of each class before and after the adaptation",
    "image_quality": "Macro recall by degradation and level; the line is the run's own",
}
CURVES, TRAINING_CURVES = ("roc", "pr"), ("losses", "watched")
"""Of the figures those that stand under "Curves", and those that are folded there."""


class MatrixCell(NamedTuple):
    """A cell of the confusion matrix; shades go from 0 to LEVELS, by the share of the row and of its errors."""

    predicted: str
    cell: CountCell
    share: float | None
    shade: int
    error_shade: int


class MatrixRow(NamedTuple):
    """A class's cases by predicted class, and their sum; None where it is suppressed."""

    truth: str
    cells: list[MatrixCell]
    cases: int | None


def render(
    facts: ReportFacts,
    study: Study,
    figures: dict[str, Drawing],
    embedded: str | None,
    guidelines: list[Guideline],
    *,
    beside: bool,
) -> bytes:
    """Return the page: one file that needs no other, but pictures that stand beside it."""
    shown = [name for name in FIGURES if name in figures]
    drawings = {name: inline(figures[name].svg, prefix=name, title=FIGURES[name]) for name in shown}
    return layout.render(
        "page.html.j2",
        scripts=layout.GALLERY,
        beside=beside,
        facts=facts,
        study=study.study,
        embedded=embedded,
        drawings=drawings,
        captions=FIGURES,
        readouts={name: json.dumps(figures[name].readout, separators=(",", ":")) for name in shown},
        curves=CURVES,
        training_curves=TRAINING_CURVES,
        guidelines=guidelines,
        left=left,
        **_sections(facts),
    )


def _sections(facts: ReportFacts) -> dict[str, Any]:
    groups, calibration = pivots.groups(facts.evaluation.groups), pivots.calibration(facts)
    return {
        "part": facts.parts[0],
        "shared": facts.audience == "shared",
        "model_line": headlines.model_line(facts, origin.trained(facts)),
        "findings": headlines.findings(facts),
        "headlines": headlines.headlines(facts),
        "badges": first_screen.badges(facts),
        "controls": first_screen.CONTROLS,
        "no_patients": "" if facts.patients_known else NO_PATIENTS,
        "matrices": {part: matrix_rows(facts, part) for part in facts.parts},
        "metrics": SHOWN,
        "macros": [f"macro_{metric}" for metric in SHOWN],
        "scores_of": lambda part, metrics, name: [facts.scores.get((part, metric, name)) for metric in metrics],
        "points": pivots.operating_points(facts.evaluation.operating_points),
        "groups": groups,
        "group_metrics": list(dict.fromkeys(name for rows in groups.values() for row in rows for name in row.rows)),
        "groups_sentence": captions.groups_sentence(groups),
        "quality_sentences": image_quality.sentences(facts.image_quality),
        "measured_quality": [field_name(field) for field in groups if field in image_quality.MEASURED],
        "calibration": calibration,
        "kinds": pivots.kinds(calibration),
        "sentences": captions.sentences(facts),
        "notes": captions.NOTES,
        "large": LARGE,
        "most_large": MOST_LARGE,
        "confirmed": evaluation.confirmed,
        "undrawn": [facts.classes[k] for k in range(len(facts.classes)) if not (facts.ranked.truth == k).any()],
        "split_parts": [p for p in ("train", "validation", "test", "external") if (p, None) in facts.by_class],
        "guarantee": evaluation.guarantee,
        "used_to_choose": used_to_choose(facts.evaluation.chosen),
        "ablations": MEANING,
        "trained": origin.trained(facts),
        "external": origin.external(facts),
        "external_title": origin.external_title(facts.record),
        "methods": methods(facts),
        "scored_truth": scored_truth(facts),
        "queries": table_queries(facts),
    }


def matrix_rows(facts: ReportFacts, part: str) -> list[MatrixRow]:
    """Return the confusion matrix of a part."""
    return [_matrix_row(facts, part, truth) for truth in facts.classes]


def _matrix_row(facts: ReportFacts, part: str, truth: str) -> MatrixRow:
    cells = {predicted: facts.matrices[part].get((truth, predicted), CountCell(0, 0)) for predicted in facts.classes}
    known = [cell.cases for cell in cells.values() if cell.cases is not None]
    own = facts.scores.get((part, "recall", truth))
    total: int | None = sum(known) if len(known) == len(cells) else own.cases if own else None
    errors = sum(cell.cases or 0 for predicted, cell in cells.items() if predicted != truth)
    row = []
    for predicted, cell in cells.items():
        share = cell.cases / total if total and cell.cases is not None else None
        of_errors = 0 if predicted == truth or not cell.cases else cell.cases / errors
        row.append(MatrixCell(predicted, cell, share, _shade(share), _shade(of_errors)))
    return MatrixRow(truth, row, total)


def _shade(share: float | None) -> int:
    return max(1, round(LEVELS * share)) if share else 0
