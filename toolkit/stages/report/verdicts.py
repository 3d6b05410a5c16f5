"""What stands on the first screen: four numbers with their change, and badges that say what to think of them.

Refuses to know HTML. A condition is judged by its value and its interval, never by the value alone.
"""

import math
from typing import Any, NamedTuple

from toolkit import formatting
from toolkit.manifest import NO_PATIENTS
from toolkit.manifest.evaluation import Condition
from toolkit.stages.report.facts import ReportFacts
from toolkit.stages.report.methods import scored_truth

CONTROLS = {
    "blank": "a blank photograph",
    "border": "the border without the lesion",
    "shuffled": "photographs shuffled between cases",
    "metadata": "metadata only",
}


class Badge(NamedTuple):
    """A word and a shape: "good" is a circle, "look" a triangle, "fact" a square."""

    shape: str
    text: str
    link: str


class Headline(NamedTuple):
    """One of the four numbers of the first screen, and how it changed since the run before."""

    name: str
    score: dict[str, Any]
    note: str
    change: str


def headlines(facts: ReportFacts) -> list[Headline]:
    """Return macro recall, macro ROC AUC, accuracy and the recall of the class in which it is worst."""
    part, found = facts.parts[0], []
    for metric in ("macro_recall", "macro_roc_auc", "accuracy"):
        if score := facts.scores.get((part, metric, None)):
            note = f"over {score['classes']} of {len(facts.classes)} classes" if score["classes"] is not None else ""
            name = formatting.metric_name(metric).replace(" (sensitivity)", "")
            found.append(Headline(name, score, note, change(facts, score)))
    recalls = [facts.scores.get((part, "recall", name)) for name in facts.classes]
    defined = [score for score in recalls if score and score["cases"] > 0]
    if defined:
        worst = min(defined, key=lambda score: score["value"])
        alike = sum(score["value"] == worst["value"] for score in defined) - 1
        note = f"{formatting.counted(alike, 'other class', 'other classes')} as low" if alike else ""
        name = f"lowest recall: {formatting.spoken(worst['class_name'])}"
        found.append(Headline(name, worst, note, change(facts, worst)))
    return found


def change(facts: ReportFacts, score: dict[str, Any]) -> str:
    """Say how a score differs from that of the run before; nothing where there is none to compare with."""
    before = facts.previous
    value = before and before.values.get((score["part"], score["metric"], score["class_name"]))
    if before is None or value is None or math.isnan(value) or math.isnan(score["value"]) or facts.rounded:
        return ""
    cases = "" if before.same_split else ", another split"
    return f"{formatting.signed(score['value'] - value)} since run {before.run_id}{cases}"


def badges(facts: ReportFacts) -> list[Badge]:
    """Return what to know before believing a number."""
    found = [_leakage(facts), *_conditions(facts), _control(facts), *_calibration(facts), *_evaluation(facts)]
    if not facts.patients_known:
        found.insert(0, Badge("look", NO_PATIENTS[0].upper() + NO_PATIENTS[1:], "split"))
    for name, number, noun in (("Quarantined", facts.quarantined, "row"), ("Unresolved", facts.unresolved, "case")):
        shape = "look" if number else "good"
        found.append(Badge(shape, f"{name}: {formatting.few(number, noun, facts.audience)}", "flow"))
    for part in facts.parts[:1]:
        times = facts.scorings.get(part, {"times": 0, "runs": 0, "times_on_split": 0, "controls": 0})
        others = f" ({times['times_on_split']} by {times['runs']} runs on this split)" if times["runs"] > 1 else ""
        others += f", and {formatting.counted(times['controls'], 'control')}" if times["controls"] else ""
        shape = "fact" if times["times_on_split"] <= 1 else "look"
        text = f"{part.capitalize()} scored {formatting.counted(times['times'], 'time')}{others}"
        found.append(Badge(shape, text, "provenance"))
    if scored_truth(facts) != facts.label_state["truth_id"]:
        found.append(Badge("look", "Labels changed since scoring: run toolkit evaluate", "provenance"))
    return found


def _leakage(facts: ReportFacts) -> Badge:
    apart, same = facts.leakage["patients_in_two_parts"], facts.leakage["photographs_in_two_parts"]
    if apart or same:
        what = f"{formatting.counted(apart, 'patient')} and {formatting.counted(same, 'photograph')} in two parts"
        return Badge("look", f"Leakage: {what}", "split")
    groups = facts.certificate.get("groups")
    of = "" if groups is None else f", {formatting.counted(groups, 'group')}"
    what = "patient" if facts.patients_known else "photograph"
    return Badge("good", f"No {what} in two parts: split {facts.run['split_id']}{of}", "split")


def _conditions(facts: ReportFacts) -> list[Badge]:
    return [judged(facts, condition) for condition in facts.report.conditions]


def judged(facts: ReportFacts, condition: Condition) -> Badge:
    """Return the verdict on a condition: met, reached by the value but not by the interval, or missed."""
    least = condition.at_least is not None
    bound = condition.at_least if least else condition.at_most
    of = "" if condition.class_name is None else f"{formatting.spoken(condition.class_name)} "
    name = of + formatting.metric_name(condition.metric).replace(" (sensitivity)", "")
    sign = "\N{GREATER-THAN OR EQUAL TO}" if least else "\N{LESS-THAN OR EQUAL TO}"
    what = f"{name[0].upper()}{name[1:]} {sign} {bound:g}"
    score = facts.scores.get((facts.parts[0], condition.metric, condition.class_name))
    if score is None or bound is None or score["value"] is None or math.isnan(score["value"]):
        return Badge("look", f"{what}: not known", "per-class")
    side = score["low"] if least else score["high"]
    value, shown = score["value"], formatting.proportion(score["value"])
    if (value < bound) if least else (value > bound):
        return Badge("look", f"{what}: missed, {shown}", "per-class")
    if side is None or math.isnan(side) or ((side < bound) if least else (side > bound)):
        return Badge("fact", f"{what}: {shown}, not certain", "per-class")
    return Badge("good", f"{what}: met, {shown}", "per-class")


def _control(facts: ReportFacts) -> Badge:
    """Return whether the run beats its controls in macro recall: the whole interval of each difference is below 0."""
    own = [row for row in facts.controls if row["part"] == facts.parts[0] and row["metric"] == "macro_recall"]
    if not own:
        return Badge("fact", "No blind control yet", "control")
    lost = [row for row in own if row["high"] is None or not row["high"] < 0]
    if lost:
        names = ", ".join(CONTROLS.get(row["control"], row["control"]) for row in lost)
        return Badge("look", f"Does not beat {names}", "control")
    nearest = max(own, key=lambda row: row["difference"])
    what = "its blind control" if len(own) == 1 else f"its {len(own)} blind controls"
    return Badge("good", f"Beats {what} by {formatting.proportion(-nearest['difference'])} macro recall", "control")


def _calibration(facts: ReportFacts) -> list[Badge]:
    """Return whether slope 1 and intercept 0 are within their intervals."""
    found = [facts.scores.get((facts.parts[0], f"calibration_{side}", None)) for side in ("slope", "intercept")]
    wanted = [(score, right) for score, right in zip(found, (1, 0), strict=True) if score is not None]
    if any(score["low"] is None or math.isnan(score["low"]) for score, _ in wanted) or not wanted:
        return []
    right = all(score["low"] <= goal <= score["high"] for score, goal in wanted)
    error = facts.scores.get((facts.parts[0], "ece", None))
    off = f", error {formatting.proportion(error['value'])}" if error else ""
    return [Badge("good" if right else "look", f"Calibration {'holds' if right else 'is off'}{off}", "calibration")]


def _evaluation(facts: ReportFacts) -> list[Badge]:
    found = []
    for row in facts.evaluation.guarantees:
        shape, verdict = ("good", "vouched for") if row["vouched"] else ("look", "not vouched for")
        name = formatting.clean(formatting.spoken(row["target"]))
        found.append(Badge(shape, f"{name.capitalize()} sensitivity {row['required']:g} {verdict}", "operating"))
    if worst := facts.evaluation.worst_group:
        shape = "look" if worst["q"] < 0.05 else "fact"
        name = f"{formatting.spoken(worst['group_name'])} {worst['group_value']}"
        found.append(Badge(shape, f"Worst group: {formatting.clean(name)}", "groups"))
    return found
