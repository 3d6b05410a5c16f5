"""The checks on the first screen of a run's page: what stands against its use, what cannot be told, what holds."""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

from toolkit.formatting import (
    clean,
    counted,
    few,
    group_name,
    in_units,
    metric_name,
    proportion,
    short_metric_name,
    spoken,
    subset,
)
from toolkit.manifest import NO_PATIENTS
from toolkit.manifest.evaluation import Condition
from toolkit.stages.report.evaluation import confirmed
from toolkit.stages.report.facts import ReportFacts
from toolkit.stages.report.layout import CHECK_GROUPS
from toolkit.stages.report.methods import scored_truth
from toolkit.workspace.runs import PLAIN_CONTROL
from toolkit.workspace.scores import Score
from toolkit.workspace.sources import UNTOLD

FITTED_ON = "validation"
LEVEL = 0.05
TOO_SURE = 1.5
"""Logits this much too large must have been visible in the data before a badge says that there is no miscalibration."""
CONTROLS = {
    "blank": "a blank photograph",
    "border": "the border without the lesion",
    "shuffled": "photographs shuffled between cases",
    "metadata": "metadata only",
    PLAIN_CONTROL: "plain colour, texture and shape",
}


class Badge(NamedTuple):
    """A check as a sentence with a shape: "look" is a triangle, "fact" a square, "good" a circle."""

    shape: str
    text: str
    link: str


def badges(facts: ReportFacts) -> list[Badge]:
    """Return what to know before believing a number: what stands against use first, what holds last."""
    checks = [_leakage(facts), *_judged(facts)]
    if facts.record.source:
        checks.insert(0, Badge("look", UNTOLD[0].upper() + UNTOLD[1:], "external"))
    if not facts.patients_known:
        checks.insert(0, Badge("look", NO_PATIENTS[0].upper() + NO_PATIENTS[1:], "split"))
    if not facts.certificate:
        checks.insert(1, Badge("look", f"No certificate of split {facts.run['split_id']}: its folder is gone", "split"))
    counts = (("Quarantined", facts.quarantined, "row"), ("No reference diagnosis", facts.unresolved, "case"))
    for name, number, noun in counts:
        checks.append(Badge("look" if number else "good", f"{name}: {few(number, noun, facts.audience)}", "flow"))
    checks.append(_scorings(facts))
    if scored_truth(facts) != facts.label_state["truth_id"]:
        checks.append(Badge("look", "Labels changed since the evaluation: run toolkit evaluate", "provenance"))
    return by_importance(badge._replace(text=in_units(badge.text)) for badge in checks)


def by_importance(checks: Iterable[Badge]) -> list[Badge]:
    """Return checks in the order of their groups."""
    return sorted(checks, key=lambda badge: list(CHECK_GROUPS).index(badge.shape))


def _judged(facts: ReportFacts) -> list[Badge]:
    """Return what the scores say of the model; the validation set, on which choices were made, says nothing of it."""
    if facts.parts[0] == FITTED_ON:
        return [Badge("look", "Only the validation set was evaluated: nothing is judged on it", "per-class")]
    conditions = [judged(facts, condition) for condition in facts.report.conditions]
    return [*conditions, _control(facts), _plain(facts), *_calibration(facts), *_evaluation(facts)]


def _leakage(facts: ReportFacts) -> Badge:
    patients, photographs = facts.leakage["patients_in_two_parts"], facts.leakage["photographs_in_two_parts"]
    if patients or photographs:
        what = f"{counted(patients, 'patient')} and {counted(photographs, 'photograph')}"
        return Badge("look", f"Leakage: {what} in more than one subset", "split")
    groups = facts.certificate.get("groups")
    of = "" if groups is None else f", {counted(groups, 'group')}"
    what = "patient" if facts.patients_known else "photograph"
    return Badge("good", f"No {what} in more than one subset: split {facts.run['split_id']}{of}", "split")


def _scorings(facts: ReportFacts) -> Badge:
    row = facts.scorings.get(facts.parts[0], {"times": 0, "runs": 0, "times_on_split": 0, "controls": 0})
    others = f" ({row['times_on_split']} by {row['runs']} runs on this split)" if row["runs"] > 1 else ""
    others += f", besides {counted(row['controls'], 'control run')}" if row["controls"] else ""
    text = f"{subset(facts.parts[0]).capitalize()} evaluated {counted(row['times'], 'time')}{others}"
    return Badge("fact" if row["times_on_split"] <= 1 else "look", text, "provenance")


def judged(facts: ReportFacts, condition: Condition) -> Badge:
    """Return the verdict on a condition: met by the interval, by the value only, not met, or more than can be told."""
    least = condition.at_least is not None
    bound, sign = (
        (condition.at_least, "\N{GREATER-THAN OR EQUAL TO}")
        if least
        else (condition.at_most, "\N{LESS-THAN OR EQUAL TO}")
    )
    of = "" if condition.class_name is None else f"{spoken(condition.class_name)} "
    name = of + short_metric_name(condition.metric)
    what = f"{name[0].upper()}{name[1:]} {sign} {bound:g}"
    score = facts.scores.get((facts.parts[0], condition.metric, condition.class_name))
    if score is None or bound is None or not score.is_defined:
        return Badge("look", f"{what}: not known", "per-class")
    if score.value < bound if least else score.value > bound:
        return Badge("look", f"{what}: not met, {proportion(score.value)}", "per-class")
    if score.too_few:
        return Badge("fact", f"{what}: cannot be told, {proportion(score.value)} on few patients", "per-class")
    if not (score.low >= bound if least else score.high <= bound):  # NaN is no proof
        return Badge("fact", f"{what}: {proportion(score.value)}, not confirmed by its interval", "per-class")
    return Badge("good", f"{what}: met, {proportion(score.value)}", "per-class")


def _control(facts: ReportFacts) -> Badge:
    """Return whether input ablations have a lower macro recall: the whole interval of each difference is below 0."""
    rows = [row for row in _controls(facts) if row["control"] != PLAIN_CONTROL]
    if not rows:
        return Badge("fact", "No comparison with a control without the lesion", "control")
    if not_beaten := [row for row in rows if row["high"] is None or not row["high"] < 0]:
        return Badge("look", f"Macro recall is not clearly lower with {_names(not_beaten)}", "control")
    least = proportion(-max(row["difference"] for row in rows))
    loss = f"{least} lower with {_names(rows)}" if len(rows) == 1 else f"at least {least} lower in {len(rows)} controls"
    return Badge("good", f"Macro recall is {loss}", "control")


def _controls(facts: ReportFacts) -> list[dict[str, Any]]:
    """Return the differences of the controls in macro recall, on the subset that is shown first."""
    key = facts.parts[0], "macro_recall"
    return [row for row in facts.evaluation.controls if (row["part"], row["metric"]) == key]


def _plain(facts: ReportFacts) -> Badge:
    """Return whether the run beats logistic regression and extra trees on plain features of its training set."""
    rows = [row for row in _controls(facts) if row["control"] == PLAIN_CONTROL]
    if not rows:
        return Badge("fact", f"No comparison with {CONTROLS[PLAIN_CONTROL]} alone", "control")
    (row,) = rows
    values = f"macro recall {proportion(row['value'])} of the run, {proportion(row['other_value'])} of theirs"
    if row["high"] is not None and row["high"] < 0:
        return Badge("good", f"Better than {CONTROLS[PLAIN_CONTROL]} alone: {values}", "control")
    if row["low"] is not None and row["low"] > 0:
        return Badge("look", f"Worse than {CONTROLS[PLAIN_CONTROL]} alone: {values}", "control")
    return Badge("look", f"Not clearly better than {CONTROLS[PLAIN_CONTROL]} alone: {values}", "control")


def _names(controls: Iterable[dict[str, Any]]) -> str:
    return ", ".join(CONTROLS.get(row["control"], row["control"]) for row in controls)


def _calibration(facts: ReportFacts) -> list[Badge]:
    """Return whether probabilities are calibrated: seen from slope and intercept, or from the test of both."""
    part = facts.parts[0]
    scores = {name: score for (of, name, class_name), score in facts.scores.items() if (of, class_name) == (part, None)}
    verdict = calibration_verdict(scores)
    if verdict is None:
        return []
    error = scores.get("ece")
    of = f", {metric_name('ece')} {proportion(error.value)}" if error else ""
    words = {
        "good": "No miscalibration shown",
        "look": "Miscalibrated",
        "fact": "Whether it is calibrated cannot be told from these patients",
    }
    return [Badge(verdict, f"{words[verdict]}{of}", "calibration")]


def calibration_verdict(scores: dict[str, Score]) -> str | None:
    """Return "look" for miscalibration, "good" where the data would have shown it, else "fact"; None without intervals.

    They would have where slopes of TOO_SURE and its inverse, and odds off by that factor, lie outside the intervals.
    """
    slope, intercept = scores.get("calibration_slope"), scores.get("calibration_intercept")
    if slope is None or intercept is None or not (slope.has_interval and intercept.has_interval):
        return None
    p = scores.get("calibration_p")
    holds = slope.low <= 1 <= slope.high and intercept.low <= 0 <= intercept.high
    if not holds or (p is not None and p.value < LEVEL):
        return "look"
    narrow = slope.low > 1 / TOO_SURE and slope.high < TOO_SURE
    narrow &= max(-intercept.low, intercept.high) < math.log(TOO_SURE)
    return "good" if narrow and not slope.too_few else "fact"


def _evaluation(facts: ReportFacts) -> list[Badge]:
    checks = []
    for row in facts.evaluation.guarantees:
        name = clean(spoken(row["target"]))
        checks.append(
            Badge("good" if row["vouched"] else "look", f"{name.capitalize()}: {confirmed(row)}", "operating")
        )
    if worst := facts.evaluation.worst_group:
        name = clean(group_name(worst["group_name"], worst["group_value"]))
        checks.append(Badge("look", f"Worst group: {name}", "groups"))
    return checks
