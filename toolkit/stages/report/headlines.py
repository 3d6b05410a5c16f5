"""The finding of a run in sentences, and the three numbers below them, each with what it rests on."""

import math
from typing import NamedTuple

from toolkit.formatting import (
    SMALLEST,
    UNDEFINED,
    clean,
    count,
    counted,
    model_name,
    percent,
    percent_interval,
    proportion,
    short_metric_name,
    signed,
    spoken,
    support,
)
from toolkit.stages.report.cases import cost
from toolkit.stages.report.facts import ReportFacts
from toolkit.workspace.scores import Score

LEAST_CASES, LEAST_PATIENTS = 10, 5
"""What a number of the first screen rests on at least; counts stand in the place of others."""
MOST_FINDINGS = 3
"""Malignant classes with a sentence of their own."""
ONE_CASE = "; one case says nothing of how often"
MOST_WORDS = 140
"""Characters of a text by the authors that the first screen holds; the reporting guidelines have all of it."""


class ClassFinding(NamedTuple):
    """A sentence on one class: its beginning, the part that links to the photographs, and its end."""

    text: str
    link: str
    """"3 were missed"; "" where none was."""
    rest: str
    selection: str
    """What the gallery shows of it, as it stands in an address."""
    score: Score


class Headline(NamedTuple):
    """One of the numbers of the first screen; `score` is None for a count, whose cases `selection` shows."""

    name: str
    number: str
    score: Score | None
    support: str
    note: str
    change: str
    selection: str = ""


def findings(facts: ReportFacts) -> list[ClassFinding]:
    """Return a sentence on each malignant class, the most harmful misses first, and on the class recognised least."""
    scores = _recalls(facts)
    malignant = [score for score in scores if score.class_name in facts.malignant]
    malignant.sort(key=lambda score: -_harm_missed(facts, score))
    chosen = malignant[:MOST_FINDINGS]
    carried = [score for score in scores if _carries(score)]
    if carried and (lowest := min(carried, key=lambda score: score.value)) not in chosen and lowest.value < 1:
        chosen.append(lowest)
    return [_finding(facts, score) for score in chosen]


def _recalls(facts: ReportFacts) -> list[Score]:
    part = facts.parts[0]
    scores = [facts.scores.get((part, "recall", name)) for name in facts.classes]
    return [score for score in scores if score and score.cases and score.is_defined]


def _harm_missed(facts: ReportFacts, score: Score) -> float:
    row = _misses(facts, score)
    return sum(number * cost(score.class_name or "", name, facts.malignant, facts.report.costs) for name, number in row)


def _misses(facts: ReportFacts, score: Score) -> list[tuple[str, int]]:
    """Return the classes that a class's cases were predicted as instead, and how many; suppressed ones are left out."""
    matrix = facts.matrices[score.part]
    cells = [(p, cell.cases or 0) for (t, p), cell in matrix.items() if t == score.class_name and p != t]
    return [(predicted, number) for predicted, number in cells if number]


def _finding(facts: ReportFacts, score: Score) -> ClassFinding:
    name = score.class_name or ""
    recognised = round(score.value * score.cases)
    missed = score.cases - recognised
    selection = f"part={score.part}&truth={name}&outcome=wrong"
    if facts.audience == "shared" and any(0 < number < SMALLEST for number in (recognised, missed)):
        return _share_alone(score)
    if score.cases == 1:
        text = f"The only case of {spoken(name)} was "
        return ClassFinding(
            text if missed else f"{text}recognised", "missed" * missed, f"{ONE_CASE}.", selection, score
        )
    whose = f"{counted(score.cases, 'case')} of {spoken(name)} ({counted(score.patients, 'patient')})"
    number = {0: "none was", 1: "1 was"}.get(recognised, f"{count(recognised)} were")
    text = f"Of {whose}, {number} recognised"
    if not _carries(score):
        text += ", not enough to say how often"
    elif score.has_interval:
        text += f" ({percent(score.confidence)} interval {percent_interval(score.low, score.high)})"
    if not missed:
        return ClassFinding(f"{text}; none was missed", "", ".", "", score)
    link = f"{count(missed)} {'was' if missed == 1 else 'were'} missed"
    return ClassFinding(f"{text}; ", link, f"{_instead(facts, score, missed)}.", selection, score)


def _share_alone(score: Score) -> ClassFinding:
    """Return the finding for others where few were recognised or missed: the share, and no small count."""
    whose = f"{counted(score.cases, 'case')} of {spoken(score.class_name or '')} ({counted(score.patients, 'patient')})"
    text = f"Of {whose}, a share of {proportion(score.value)} was recognised"
    if _carries(score) and score.has_interval:
        text += f" ({percent(score.confidence)} interval {percent_interval(score.low, score.high)})"
    return ClassFinding(text, "", ".", "", score)


def _instead(facts: ReportFacts, score: Score, missed: int) -> str:
    """Say how many of a malignant class's missed cases were predicted as benign, where that is known."""
    row = _misses(facts, score)
    if score.class_name not in facts.malignant or sum(number for _, number in row) != missed:
        return ""
    benign = sum(number for name, number in row if name not in facts.malignant)
    every = "" if missed == 1 else "all "
    if benign in (0, missed):
        return f", {every}predicted as {'a benign' if benign else 'another malignant'} class"
    return f", {count(benign)} of them predicted as a benign class"


def headlines(facts: ReportFacts) -> list[Headline]:
    """Return macro recall, macro ROC AUC and the most harmful confusion."""
    part, numbers = facts.parts[0], []
    for metric in ("macro_recall", "macro_roc_auc"):
        if score := facts.scores.get((part, metric, None)):
            note = "" if score.classes is None else f"over {score.classes} of {len(facts.classes)} classes"
            numbers.append(_headline(facts, short_metric_name(metric), score, note))
    return [*numbers, *_most_harmful(facts)]


def _headline(facts: ReportFacts, name: str, score: Score, note: str) -> Headline:
    own = support(score.cases, score.patients)
    if not _carries(score):
        notes = "; ".join(filter(None, [_too_few(score), note]))
        return Headline(name, UNDEFINED, None, own, notes, "")
    return Headline(name, proportion(score.value), score, own, note, change(facts, score))


def _most_harmful(facts: ReportFacts) -> list[Headline]:
    """Return the confusion that costs most, an error's harm times its cases; among equals the one of more cases."""
    costs, part = facts.report.costs, facts.parts[0]
    cells = [
        (cost(truth, predicted, facts.malignant, costs) * cell.cases, cell.cases, truth, predicted)
        for (truth, predicted), cell in facts.matrices[part].items()
        if truth != predicted and cell.cases
    ]
    if not cells:
        return []
    _, cases, truth, predicted = max(cells, key=lambda cell: (*cell[:2], cell[2:]))
    each = cost(truth, predicted, facts.malignant, costs)
    hidden = any(cell.cases is None for cell in facts.matrices[part].values())
    note = f"{spoken(truth)} predicted as {spoken(predicted)}, harm {each:g} each" + (
        ", of the confusions that are not suppressed" if hidden else ""
    )
    own = support(cases, facts.matrices[part][truth, predicted].patients)
    row = facts.scores.get((part, "recall", truth))
    number = f"{count(cases)} of {count(row.cases)}" if row else count(cases)
    return [
        Headline(
            "most harmful confusion", number, None, own, note, "", f"part={part}&truth={truth}&predicted={predicted}"
        )
    ]


def _carries(score: Score) -> bool:
    """Whether a score rests on enough cases and patients to stand as a large number."""
    return score.cases >= LEAST_CASES and score.patients >= LEAST_PATIENTS


def _too_few(score: Score) -> str:
    few_cases = score.cases < LEAST_CASES
    what = counted(score.cases, "case") if few_cases else counted(score.patients, "patient")
    return f"{what}: too few for a headline number"


def change(facts: ReportFacts, score: Score) -> str:
    """Say how a score differs from that of the run before; nothing where there is none to compare with."""
    before = facts.previous
    value = before.values.get((score.part, score.metric, score.class_name), math.nan) if before else math.nan
    if before is None or math.isnan(score.value - value) or facts.rounded:
        return ""
    return f"{signed(score.value - value)} since run {before.run_id}{'' if before.same_split else ', another split'}"


def model_line(facts: ReportFacts, trained: str) -> str:
    """Say in one line what was trained on how many patients, on whose photographs and for what use.

    `trained` is said instead of the first part, of a run that was not trained here as it stands.
    """
    run = facts.run
    here = (
        f"The model \N{LEFT DOUBLE QUOTATION MARK}{model_name(run['model'])}\N{RIGHT DOUBLE QUOTATION MARK} "
        f"was trained for {counted(run['epochs'], 'epoch')} on {support(run['train_cases'], run['train_patients'])}."
    )
    if facts.record.started_from:
        elsewhere = ", which goes back to another workspace" if facts.record.start_leaks else ""
        here += f" Its training started from run {facts.record.started_from}{elsewhere}."
    reporting = facts.reporting
    source = _short(reporting.data_source) or "their source is not stated in the study file"
    use = _short(reporting.intended_use) or "not stated in the study file"
    return f"{trained or here} Photographs: {source}. Intended use: {use}."


def _short(text: str) -> str:
    text = clean(text).strip().removesuffix(".")
    return text if len(text) <= MOST_WORDS else text[:MOST_WORDS].rpartition(" ")[0] + " \N{HORIZONTAL ELLIPSIS}"
