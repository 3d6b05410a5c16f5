"""Knows how the facts of a run become the page: what stands where, and the policy that lets nothing else run.

Refuses to know wording and numbers; the template holds the HTML. Every text is escaped by the template engine.
"""

import base64
import hashlib
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from toolkit.manifest import NO_PATIENTS, Study, shipped
from toolkit.report import evaluated, wording
from toolkit.report.facts import Cell, Facts
from toolkit.report.figures import inline
from toolkit.report.gallery import Card
from toolkit.report.methods import methods, provenance, scored_truth

SHOWN = ("precision", "recall", "specificity", "f1", "roc_auc", "pr_auc")
LEVELS = 10
FIGURES = {
    "roc": "ROC curves, one per class",
    "pr": "Precision and recall, one curve per class",
    "reliability": "Reliability: what was said, and how often it came true",
    "decision": "Decision curve: net benefit of calling cases from a probability on",
    "losses": "Loss by epoch",
    "watched": "Metrics on validation by epoch",
}


class Badge(NamedTuple):
    """A word and a shape: "good" is a circle, "look" a triangle, "fact" a square."""

    shape: str
    text: str
    link: str


class Headline(NamedTuple):
    """One of the four numbers of the first screen."""

    name: str
    score: dict[str, Any]
    note: str


class MatrixRow(NamedTuple):
    """A class's cases by predicted class, each with its shade from 0 to LEVELS, and their sum."""

    truth: str
    cells: list[tuple[str, Cell, int]]
    cases: int


def render(facts: Facts, study: Study, figures: dict[str, bytes], cards: list[Card]) -> bytes:
    """Return the page: one file that needs no other and asks for none."""
    from markupsafe import Markup  # noqa: PLC0415 - needed only to render

    folder = shipped("reports/template")
    style, script = ((folder / name).read_text(encoding="utf-8") for name in ("style.css", "script.js"))
    drawn = {name: inline(svg, prefix=name, title=FIGURES[name]) for name, svg in figures.items()}
    text = (
        environment(folder)
        .get_template("page.html.j2")
        .render(
            facts=facts,
            study=study.study,
            interval=wording.interval,
            support=wording.support,
            cards=cards,
            style=Markup(style),  # noqa: S704 - our own file
            script=Markup(script),  # noqa: S704 - our own file
            figures={name: Markup(svg) for name, svg in drawn.items()},  # noqa: S704 - serialised by our own code
            captions=FIGURES,
            policy=policy(style=style, script=script),
            generator=generator(),
            **_sections(facts),
        )
    )
    return text.encode()


def generator() -> str:
    """Name what made the page: the version, and a digest of the template, by which an old page can be told."""
    digest = hashlib.sha256()
    for path in sorted(shipped("reports/template").iterdir()):
        digest.update(path.read_bytes())
    return f"lesion-toolkit {version('lesion-toolkit')}, template {digest.hexdigest()[:8]}"


def environment(folder: Path) -> Any:
    """Return what renders the templates of a folder: every text escaped, nothing undefined let through."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415 - needed only to render

    made = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names = ("proportion", "count", "counted", "spoken", "clean", "metric_name", "model_name", "moment", "percent")
    made.filters |= {name: getattr(wording, name) for name in names}
    return made


def _sections(facts: Facts) -> dict[str, Any]:
    return {
        "part": facts.parts[0],
        "headlines": headlines(facts),
        "badges": badges(facts),
        "no_patients": "" if facts.patients_known else NO_PATIENTS,
        "matrices": {part: matrix_rows(facts, part) for part in facts.parts},
        "metrics": SHOWN,
        "undrawn": [facts.classes[k] for k in range(len(facts.classes)) if not (facts.ranked.truth == k).any()],
        "by_level": _by_level(facts),
        "split_parts": [p for p in ("train", "validation", "test", "external") if (p, None) in facts.by_class],
        "found": evaluated.FOUND,
        "vouched": evaluated.vouched,
        "methods": methods(facts),
        "provenance": provenance(facts),
    }


def policy(*, style: str, script: str) -> str:
    """Return the content security policy: one style, one script, pictures that stand in the page, nothing else."""
    hashes = {
        name: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
        for name, text in (("style", style), ("script", script))
    }
    return (
        f"default-src 'none'; script-src 'sha256-{hashes['script']}'; style-src 'sha256-{hashes['style']}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def headlines(facts: Facts) -> list[Headline]:
    """Return macro recall, macro ROC AUC, accuracy and the recall of the class in which it is worst."""
    part, found = facts.parts[0], []
    for metric in ("macro_recall", "macro_roc_auc", "accuracy"):
        if score := facts.scores.get((part, metric, None)):
            note = f"over {score['classes']} of {len(facts.classes)} classes" if score["classes"] is not None else ""
            found.append(Headline(wording.metric_name(metric).replace(" (sensitivity)", ""), score, note))
    recalls = [facts.scores.get((part, "recall", name)) for name in facts.classes]
    defined = [score for score in recalls if score and score["cases"] > 0]
    if defined:
        worst = min(defined, key=lambda score: score["value"])
        alike = sum(score["value"] == worst["value"] for score in defined) - 1
        note = f"{wording.counted(alike, 'other class', 'other classes')} as low" if alike else ""
        found.append(Headline(f"lowest recall: {wording.spoken(worst['class_name'])}", worst, note))
    return found


def badges(facts: Facts) -> list[Badge]:
    """Return what to know before believing a number."""
    quarantined, unresolved = facts.flow["quarantined"], facts.flow["unresolved"]
    found = [
        _leakage_badge(facts),
        Badge("look" if quarantined else "good", f"Quarantined: {wording.counted(quarantined, 'row')}", "labels"),
        Badge("look" if unresolved else "good", f"Unresolved: {wording.counted(unresolved, 'case')}", "labels"),
    ]
    if not facts.patients_known:
        found.insert(0, Badge("look", _sentence(NO_PATIENTS), "split"))
    for part in facts.parts[:1]:
        times = facts.scorings.get(part, {"times": 0, "runs": 0, "times_on_split": 0})
        others = f" ({times['times_on_split']} by {times['runs']} runs on this split)" if times["runs"] > 1 else ""
        shape = "fact" if times["times_on_split"] <= 1 else "look"
        found.append(Badge(shape, f"{part} scored {wording.counted(times['times'], 'time')}{others}", "provenance"))
    found += _evaluation_badges(facts)
    if scored_truth(facts) != facts.label_state["truth_id"]:
        found.append(Badge("look", "Labels changed since scoring: run toolkit evaluate", "provenance"))
    return found


def _evaluation_badges(facts: Facts) -> list[Badge]:
    found = []
    for row in facts.evaluation.guarantees:
        shape, verdict = ("good", "vouched for") if row["vouched"] else ("look", "not vouched for")
        name = wording.clean(wording.spoken(row["target"]))
        found.append(Badge(shape, f"{name} sensitivity {row['required']:g}: {verdict}", "operating"))
    if worst := facts.evaluation.worst_group:
        shape = "look" if worst["q"] < 0.05 else "fact"
        name = f"{wording.spoken(worst['group_name'])} {worst['group_value']}"
        found.append(Badge(shape, f"Worst group: {wording.clean(name)}", "groups"))
    return found


def _leakage_badge(facts: Facts) -> Badge:
    apart, same = facts.leakage["patients_in_two_parts"], facts.leakage["photographs_in_two_parts"]
    if apart or same:
        what = f"{wording.counted(apart, 'patient')} and {wording.counted(same, 'photograph')} in two parts"
        return Badge("look", f"Leakage: {what}", "split")
    groups = facts.certificate.get("groups")
    of = "" if groups is None else f", {wording.counted(groups, 'group')}"
    what = "patient" if facts.patients_known else "photograph"
    return Badge("good", f"No {what} in two parts: split {facts.run['split_id']}{of}", "split")


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def matrix_rows(facts: Facts, part: str) -> list[MatrixRow]:
    """Return the confusion matrix of a part; a cell's shade is its share of the row."""
    rows = []
    for truth in facts.classes:
        cells = [(predicted, facts.matrices[part].get((truth, predicted), Cell(0, 0))) for predicted in facts.classes]
        total = sum(cell.cases for _, cell in cells)
        shades = [0 if not cell.cases else max(1, round(LEVELS * cell.cases / total)) for _, cell in cells]
        rows.append(MatrixRow(truth, [(*pair, shade) for pair, shade in zip(cells, shades, strict=True)], total))
    return rows


def _by_level(facts: Facts) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for issue in facts.issues:
        found.setdefault(issue["level"], []).append(issue)
    return found
