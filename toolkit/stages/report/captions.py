"""What each chart of a report says here, in one sentence from its numbers, and what such a chart is."""

from typing import NamedTuple

import numpy as np

from toolkit.formatting import clean, count, field_name, group_value, proportion, spoken, support
from toolkit.stages.report.facts import ReportFacts
from toolkit.stages.report.pivots import GroupRow


class ChartNote(NamedTuple):
    """What a kind of chart is, for readers without a course in statistics, and where the glossary goes on."""

    text: str
    term: str


NOTES = {
    "roc": ChartNote(
        "Each curve is one class against all others: how many of its cases are detected (upwards) while others are "
        "flagged by mistake (to the right). A curve in the upper left corner is best; the diagonal is guessing.",
        "roc-auc",
    ),
    "pr": ChartNote(
        "Precision is the share of flagged cases that have the class; recall is the share of its cases that are "
        "flagged. Going right more cases are flagged. For a rare class it shows false alarms that a ROC curve hides.",
        "pr-auc",
    ),
    "losses": ChartNote(
        "The loss is how far probabilities are from the reference diagnoses; lower is better. Where the validation "
        "set's loss rises while the training set's falls, the model learns its photographs by heart.",
        "log-loss",
    ),
    "watched": ChartNote(
        "After each pass over the training photographs (an epoch) the model predicted the validation set. Macro "
        "averages count a rare class as much as a frequent one.",
        "macro-average",
    ),
    "reliability": ChartNote(
        "Cases are put into bins by the probability of their predicted class. Where the model is calibrated, of the "
        "cases with probability 0.8 about 80% are right, and points lie on the diagonal.",
        "calibration",
    ),
    "decision": ChartNote(
        "Net benefit counts lesions found, less false alarms weighted by how many of them one would accept for a "
        "lesion found (the threshold). A model is useful where its curve is above treat all and above treat none.",
        "net-benefit",
    ),
}  # fmt: skip


def sentences(facts: ReportFacts) -> dict[str, str]:
    """Return what each chart shows here; a chart with nothing to say has none."""
    return {
        "roc": _areas(facts, "roc_auc"),
        "pr": _areas(facts, "pr_auc"),
        "losses": _losses(facts),
        "watched": _watched(facts),
        "reliability": _reliability(facts),
        "adaptation": "",
        "image_quality": "A bar is the interval of the difference, drawn from the run's line: where it does not reach "
        "the line, the change is clear.",
        "decision": _decision(facts),
    }


def _areas(facts: ReportFacts, metric: str) -> str:
    part = facts.parts[0]
    scores = [facts.scores.get((part, metric, name)) for name in facts.classes]
    known = sorted((score for score in scores if score and score.is_defined), key=lambda score: score.value)
    if not known:
        return ""
    low, high = known[0], known[-1]
    if low is high:
        return f"The area under the curve of {spoken(low.class_name or '')} is {proportion(low.value)}."
    least = f"{proportion(low.value)} for {spoken(low.class_name or '')}"
    return (
        f"The areas under the curves go from {least} to {proportion(high.value)} for {spoken(high.class_name or '')}."
    )


def _losses(facts: ReportFacts) -> str:
    train, validation = (dict(facts.epochs.get(f"{name}_loss", [])) for name in ("train", "validation"))
    texts = []
    if len(train) > 1:
        first, last = min(train), max(train)
        texts.append(f"the loss on the training set went from {proportion(train[first])} to {proportion(train[last])}")
    if validation:
        best = min(validation, key=lambda epoch: (validation[epoch], epoch))
        texts.append(f"on the validation set it was lowest, {proportion(validation[best])}, after epoch {best}")
    joined = ", and ".join(texts)
    return joined[:1].upper() + joined[1:] + "." if joined else ""


def _watched(facts: ReportFacts) -> str:
    values = facts.epochs.get("macro_recall", [])
    if not values:
        return ""
    epoch, best = max(values, key=lambda pair: (pair[1], -pair[0]))
    last = f"; after the last it was {proportion(values[-1][1])}" if values[-1][0] != epoch else ""
    return f"Macro recall on the validation set was highest, {proportion(best)}, after epoch {epoch}{last}."


def _reliability(facts: ReportFacts) -> str:
    rows = [row for row in facts.evaluation.calibration if row["probabilities"] == "as predicted"]
    if not rows:
        return ""
    row = max(rows, key=lambda row: row["cases"])
    bin_words = f"{row['low_edge']:.3g} to {row['high_edge']:.3g}"
    return (
        f"Of the {support(row['cases'], row['patients'])} with probabilities of {bin_words}, the largest bin, the mean "
        f"predicted probability is {proportion(row['chance'])} and the observed frequency {proportion(row['came'])}."
    )


def _decision(facts: ReportFacts) -> str:
    """Say between which thresholds each target's curve is above treat all and treat none."""
    texts = []
    for target in dict.fromkeys(row["target"] for row in facts.evaluation.decision_curve):
        rows = [row for row in facts.evaluation.decision_curve if row["target"] == target]
        better = np.array([row["net_benefit"] > max(row["everyone"], 0) for row in rows])
        name = clean(spoken(target))
        if not better.any():
            texts.append(f"{name}: at no threshold drawn")
            continue
        reached = [row["threshold"] for row, is_better in zip(rows, better, strict=True) if is_better]
        throughout = better[better.argmax() : len(better) - better[::-1].argmax()].all()
        between = f"from {proportion(reached[0])} to {proportion(reached[-1])}"
        texts.append(f"{name}: {between if throughout else f'at {len(reached)} of {len(rows)} thresholds, {between}'}")
    where = "; ".join(texts)
    return f"The model's net benefit is above treat all and treat none at these thresholds: {where}." if texts else ""


def groups_sentence(groups: dict[str, list[GroupRow]]) -> str:
    """Say which group does worse than the others beyond chance, or that none does."""
    scored = [(field, row) for field, rows in groups.items() for row in rows if row.rows]
    if not scored:
        return "No group has enough cases and patients to be scored."
    worst = [(field, row) for field, row in scored if row.worst]
    if not worst:
        return f"Of {count(len(scored))} groups none is worse than the others beyond chance (q below 0.05)."
    names = ", ".join(f"{field_name(field)} {group_value(field, row.value)}" for field, row in worst)
    return f"Worse than the others beyond chance (q below 0.05): {clean(names)}."
