"""What of a report may be given to others: the same facts without what could lead to a patient.

Refuses to render: pages, tables and figures are made from what is left, so none of them can say more. What is hidden,
and what is not claimed, stands in docs/method.md.
"""

import math
import re
from dataclasses import replace
from typing import Any

import numpy as np

from toolkit.formatting import SMALLEST
from toolkit.stages.report.evaluated import Evaluation
from toolkit.stages.report.facts import CountCell, FlowStage, ReportFacts
from toolkit.stages.report.suppression import hidden
from toolkit.workspace.class_arrays import ClassArrays

NOTHING = CountCell(None, None)
DAY = re.compile(r"\b((?:19|20)\d\d)-\d\d(?:-\d\d)?(?:[T ][\d:.+Z-]*)?")
REFUSED = "too few patients to be shown"


def shared(facts: ReportFacts) -> ReportFacts:
    """Return the facts as others may have them."""
    matrices, secret = {}, {}
    for part in facts.parts:
        matrices[part], secret[part] = _matrix(facts, part)
    rounded = any(secret.values())
    scores = {}
    for key, score in facts.scores.items():
        part, _, class_name = key
        if class_name not in secret[part]:
            scores[key] = _rounded(score) if rounded and class_name is None else score
    first = secret[facts.parts[0]]
    return replace(
        facts,
        audience="shared",
        run={**facts.run, "finished_at": facts.run["finished_at"].year},
        matrices=matrices,
        scores=scores,
        rounded=rounded,
        cases=_cases(facts, matrices) if facts.report.share_crops else [],
        ranked=_without(facts.ranked, [facts.classes.index(name) for name in first]),
        by_class=_hidden(facts.by_class),
        flow=_flow(facts.flow),
        excluded=[],
        issues=[_counted(row) for row in facts.issues],
        findings=[{**_counted(row), "example": ""} for row in facts.findings],
        scorings={part: _in_year(row) for part, row in facts.scorings.items()},
        certificate=facts.certificate | _small_to_none(facts.certificate, "linked_patients"),
        evaluation=_evaluation(facts.evaluation),
    )


def _matrix(facts: ReportFacts, part: str) -> tuple[dict[tuple[str, str], CountCell], set[str]]:
    """Return a part's matrix with what may be shown of it, and the classes whose scores would give the rest away."""
    table: dict[Any, CountCell] = {
        (truth, predicted): facts.matrices[part].get((truth, predicted), CountCell(0, 0))
        for truth in facts.classes
        for predicted in facts.classes
    }
    for name in facts.classes:
        for metric, place in (("recall", (name, None)), ("precision", (None, name))):
            if score := facts.scores.get((part, metric, name)):
                table[place] = CountCell(score["cases"], score["patients"])
    kept_back = hidden(table, diagonal=True)
    secret = {name for name in facts.classes if kept_back & {(name, name), (name, None), (None, name)}}
    shown = facts.matrices[part] | {place: NOTHING for place in kept_back if None not in place}
    return shown, secret


def _rounded(score: dict[str, Any]) -> dict[str, Any]:
    return score | {side: round(score[side], 2) for side in ("value", "low", "high") if score[side] is not None}


def _hidden(table: dict[Any, CountCell]) -> dict[Any, CountCell]:
    kept_back = hidden(table)
    return {place: NOTHING if place in kept_back else cell for place, cell in table.items()}


def _without(ranked: ClassArrays, classes: list[int]) -> ClassArrays:
    """Return what curves need of the ranked cases; those of some classes count against others, and have no curve."""
    nothing = np.full_like(ranked.truth, -1)
    truth = np.where(np.isin(ranked.truth, classes), nothing, ranked.truth)
    return ClassArrays(truth, predicted=nothing, probabilities=ranked.probabilities, patient=nothing)


def _cases(facts: ReportFacts, matrices: dict[str, dict[tuple[str, str], CountCell]]) -> list[dict[str, Any]]:
    """Return the errors whose cell is shown, numbered, without anything that leads to case, patient or reader."""
    cells = ((case, matrices[case["part"]].get((case["truth"], case["predicted"]), NOTHING)) for case in facts.errors)
    kept = [case for case, cell in cells if cell.cases is not None and case["roi_width"] is not None]
    nothing: dict[str, Any] = {"image_id": "", "patient_id": "", "resolved_by": "", "agreeing": 0, "readings": 0}
    nothing |= {"groups": [], "findings": []}
    return [{**case, **nothing, "case_id": f"{number:05}"} for number, case in enumerate(kept, start=1)]


def _flow(flow: list[FlowStage]) -> list[FlowStage]:
    """Return the stages between which nobody small was left out; reasons with few are counted together with others."""
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


def _counted(row: dict[str, Any]) -> dict[str, Any]:
    return row | _small_to_none(row, "found") | (_small_to_none(row, "cases") if "cases" in row else {})


def _small_to_none(row: dict[str, Any], name: str) -> dict[str, Any]:
    value = row.get(name)
    return {} if value is None or value == 0 or value >= SMALLEST else {name: None}


def _in_year(row: dict[str, Any]) -> dict[str, Any]:
    scored = row["last_scored_at"]
    return {**row, "last_scored_at": None if scored is None else scored.year}


def _evaluation(found: Evaluation) -> Evaluation:
    few = {row["target"] for row in found.operating_points if 0 < row["patients_to_be_found"] < SMALLEST}
    bins = {row["probabilities"] for row in found.calibration}
    return found._replace(
        operating_points=[_misses(row) for row in found.operating_points if row["target"] not in few],
        decision_curve=[row for row in found.decision_curve if row["target"] not in few],
        calibration=[row for kind in sorted(bins) for row in _bins(found.calibration, kind)],
        groups=_groups(found.groups),
    )


def _misses(row: dict[str, Any]) -> dict[str, Any]:
    """Return an operating point without the number of patients found where it, or that of those missed, is small."""
    found, missed = row["patients_found"], row["patients_to_be_found"] - row["patients_found"]
    small = any(0 < number < SMALLEST for number in (found, missed))
    return row | ({"patients_found": None, "found": None, "at_least": math.nan, "needed": None} if small else {})


def _bins(rows: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    own = [row for row in rows if row["probabilities"] == kind]
    table = {("bins", row["low_edge"]): CountCell(row["cases"], row["patients"]) for row in own}
    total = {("bins", None): CountCell(sum(row["cases"] for row in own), SMALLEST)}
    kept_back = hidden(table | total)
    return [row for row in own if ("bins", row["low_edge"]) not in kept_back]


def _groups(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the groups that are large enough, and of each field one more hidden where one is; none of annotators."""
    rows = [{**row, "group_value": DAY.sub(r"\1", row["group_value"])} for row in rows]
    rows = [row for row in rows if row["group_name"] != "annotator"]
    made = []
    for field in dict.fromkeys(row["group_name"] for row in rows):
        own = [row for row in rows if row["group_name"] == field]
        table: dict[Any, CountCell] = {
            (field, row["group_value"]): CountCell(row["cases"], row["patients"]) for row in own
        }
        table[field, None] = CountCell(sum(cell.cases or 0 for cell in table.values()), SMALLEST)
        kept_back = hidden(table)
        made += [_refused(row) if (field, row["group_value"]) in kept_back else row for row in own]
    return made


def _refused(row: dict[str, Any]) -> dict[str, Any]:
    nothing = {name: None for name in row if isinstance(row[name], float)}
    return {**row, **nothing, "cases": None, "patients": None, "refused": REFUSED, "worst": False}
