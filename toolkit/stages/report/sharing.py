"""The facts of a report as others may have them, without what could lead to a patient.

Pages, tables and figures are made from them, so none can say more. docs/method.md lists what is suppressed.
"""

import math
import re
from dataclasses import replace
from typing import Any

import numpy as np

from toolkit.formatting import SMALLEST
from toolkit.stages.report.cases import ReportCase
from toolkit.stages.report.evaluation import Evaluation
from toolkit.stages.report.facts import CountCell, FlowStage, ReportFacts
from toolkit.stages.report.suppression import suppressed_cells
from toolkit.workspace.class_arrays import ClassArrays
from toolkit.workspace.runs import PredictedPart
from toolkit.workspace.scores import Score

SUPPRESSED = CountCell(None, None)
DAY = re.compile(r"\b((?:19|20)\d\d)-\d\d(?:-\d\d)?(?:[T ][\d:.+Z-]*)?")


def shared(facts: ReportFacts) -> ReportFacts:
    """Return the facts as others may have them."""
    matrices, small_classes = {}, {}
    for part in facts.parts:
        matrices[part], small_classes[part] = _matrix(facts, part)
    rounded = any(small_classes.values())
    scores = {
        (part, metric, name): _rounded(score) if rounded and name is None else score
        for (part, metric, name), score in facts.scores.items()
        if name not in small_classes[part]
    }
    return replace(
        facts,
        audience="shared",
        run={**facts.run, "finished_at": facts.run["finished_at"].year},
        matrices=matrices,
        scores=scores,
        rounded=rounded,
        every_case=None,
        cases=_cases(facts, matrices) if facts.report.share_crops else [],
        ranked=_without(facts.ranked, [facts.classes.index(name) for name in small_classes[facts.parts[0]]]),
        by_class=_suppressed(facts.by_class),
        flow=_flow(facts.flow),
        excluded=[],
        issues=[_small_to_none(row, "found") for row in facts.issues],
        findings=[_small_to_none(row, "found", "cases") | {"example": ""} for row in facts.findings],
        scorings={part: _in_year(row) for part, row in facts.scorings.items()},
        certificate=_small_to_none(facts.certificate, "linked_patients"),
        evaluation=_evaluation(facts.evaluation),
        # Exact values of several runs would give away what a rounded one hides.
        seeds=[] if rounded else [row for row in facts.seeds if row["class_name"] is None],
        adaptation=[],
        image_quality=facts.image_quality._replace(rows=[] if rounded else _averages(facts.image_quality.rows)),
        boxes={part: boxes for part, boxes in facts.boxes.items() if not any(0 < n < SMALLEST for n in boxes.patients)},
        made=_made(facts.made),
        not_predicted=[row | _few(row) for row in facts.not_predicted],
    )


def _averages(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows over all classes, without the numbers of single predictions that flipped."""
    nothing = dict.fromkeys(("became_wrong", "became_right", "flipped"))
    return [row | nothing for row in rows if row["class_name"] is None]


def _made(made: PredictedPart | None) -> PredictedPart | None:
    """Return how a part was predicted, without the counts of what was left out where one is small."""
    if made is None:
        return None
    counts = [made.values_left_out, made.without_box, *made.unmapped.values()]
    small = any(0 < number < SMALLEST for number in counts)
    return made.model_copy(update={"values_left_out": 0, "without_box": 0, "unmapped": {}}) if small else made


def _matrix(facts: ReportFacts, part: str) -> tuple[dict[tuple[str, str], CountCell], set[str]]:
    """Return a part's matrix with what may be shown of it, and the classes whose scores would reveal the rest."""
    table: dict[Any, CountCell] = {
        (truth, predicted): facts.matrices[part].get((truth, predicted), CountCell(0, 0))
        for truth in facts.classes
        for predicted in facts.classes
    }
    for name in facts.classes:
        for metric, place in (("recall", (name, None)), ("precision", (None, name))):
            if score := facts.scores.get((part, metric, name)):
                table[place] = CountCell(score.cases, score.patients)
    suppressed = suppressed_cells(table, diagonal=True)
    classes = {name for name in facts.classes if suppressed & {(name, name), (name, None), (None, name)}}
    return facts.matrices[part] | {place: SUPPRESSED for place in suppressed if None not in place}, classes


def _rounded(score: Score) -> Score:
    return score._replace(value=round(score.value, 2), low=round(score.low, 2), high=round(score.high, 2))


def _suppressed(table: dict[Any, CountCell]) -> dict[Any, CountCell]:
    return table | dict.fromkeys(suppressed_cells(table), SUPPRESSED)


def _without(ranked: ClassArrays, classes: list[int]) -> ClassArrays:
    """Return what curves need of the ranked cases; those of some classes count against others, and have no curve."""
    nothing = np.full_like(ranked.truth, -1)
    truth = np.where(np.isin(ranked.truth, classes), nothing, ranked.truth)
    return ClassArrays(truth, predicted=nothing, probabilities=ranked.probabilities, patient=nothing)


def _cases(facts: ReportFacts, matrices: dict[str, dict[tuple[str, str], CountCell]]) -> list[ReportCase]:
    """Return the errors whose cell is shown, numbered, without anything that leads to case, patient or reader."""
    cells = ((case, matrices[case.part].get((case.truth, case.predicted), SUPPRESSED)) for case in facts.errors)
    shown = [case for case, cell in cells if cell.cases is not None and case.roi is not None]
    nothing: dict[str, Any] = {"image_id": "", "patient_id": "", "resolved_by": "", "agreeing": 0, "readings": 0}
    nothing |= {"groups": [], "findings": []}
    return [case._replace(**nothing, case_id=f"{number:05}") for number, case in enumerate(shown, start=1)]


def _flow(flow: list[FlowStage]) -> list[FlowStage]:
    """Return the stages before which no small number was excluded; reasons with few are counted with the others."""
    kept = [flow[0]]
    for stage in flow[1:]:
        if 0 < abs(kept[-1].number - stage.number) < SMALLEST and len(kept) > 1:
            kept.pop()
        kept.append(stage)
    return [FlowStage(stage.name, stage.number, _reasons(stage.excluded)) for stage in kept]


def _reasons(excluded: list[tuple[str, int]]) -> list[tuple[str, int]]:
    if any(number < SMALLEST for _, number in excluded):
        total = sum(number for _, number in excluded)
        return [("all reasons together", total)] if total >= SMALLEST else []
    return excluded


def _small_to_none(row: dict[str, Any], *names: str) -> dict[str, Any]:
    return row | {name: None for name in names if 0 < (row.get(name) or 0) < SMALLEST}


def _few(row: dict[str, Any]) -> dict[str, Any]:
    """Return what takes the place of a row's counts where they are small."""
    return {"cases": None, "patients": None} if row["patients"] < SMALLEST else {}


def _in_year(row: dict[str, Any]) -> dict[str, Any]:
    scored = row["last_scored_at"]
    return {**row, "last_scored_at": None if scored is None else scored.year}


def _evaluation(whole: Evaluation) -> Evaluation:
    few = {row["target"] for row in whole.operating_points if 0 < row["patients_to_be_found"] < SMALLEST}
    bins = {row["probabilities"] for row in whole.calibration}
    return whole._replace(
        operating_points=[_misses(row) for row in whole.operating_points if row["target"] not in few],
        decision_curve=[row for row in whole.decision_curve if row["target"] not in few],
        calibration=[row for kind in sorted(bins) for row in _bins(whole.calibration, kind)],
        groups=_groups(whole.groups),
    )


def _misses(row: dict[str, Any]) -> dict[str, Any]:
    """Return an operating point without the number of patients detected where it, or that of those missed, is small."""
    if row["patients_found"] is None:
        return row
    detected, missed = row["patients_found"], row["patients_to_be_found"] - row["patients_found"]
    small = any(0 < number < SMALLEST for number in (detected, missed))
    return row | ({"patients_found": None, "found": None, "at_least": math.nan, "needed": None} if small else {})


def _bins(rows: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    own = [row for row in rows if row["probabilities"] == kind]
    table = {("bins", row["low_edge"]): CountCell(row["cases"], row["patients"]) for row in own}
    total = {("bins", None): CountCell(sum(row["cases"] for row in own), SMALLEST)}
    suppressed = suppressed_cells(table | total)
    return [row for row in own if ("bins", row["low_edge"]) not in suppressed]


def _groups(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the groups, small ones suppressed with what would reveal them in their field; none of annotators."""
    rows = [{**row, "group_value": DAY.sub(r"\1", row["group_value"])} for row in rows]
    rows = [row for row in rows if row["group_name"] != "annotator"]
    shown = []
    for field in dict.fromkeys(row["group_name"] for row in rows):
        own = [row for row in rows if row["group_name"] == field]
        table: dict[Any, CountCell] = {
            (field, row["group_value"]): CountCell(row["cases"], row["patients"]) for row in own
        }
        table[field, None] = CountCell(sum(cell.cases or 0 for cell in table.values()), SMALLEST)
        suppressed = suppressed_cells(table)
        shown += [_refused(row) if (field, row["group_value"]) in suppressed else row for row in own]
    return shown


def _refused(row: dict[str, Any]) -> dict[str, Any]:
    nothing = {name: None for name in row if isinstance(row[name], float)}
    return {**row, **nothing, "cases": None, "patients": None, "refused": "suppressed", "worst": False}
