"""The model card of a run, as Markdown and as a page: what was recorded, and what is left to its author.

Sections are those of Mitchell et al. 2019 and stand in sql/model_card.toml; sentences are those of the guidelines.
"""

import json
import tomllib
from typing import Any, NamedTuple

from toolkit.formatting import clean, count, field_name, model_name, moment, spoken, support, unit, used_to_choose
from toolkit.manifest import NO_PATIENTS, Study
from toolkit.manifest.cohort import StudySection
from toolkit.shipped import shipped
from toolkit.stages.report import layout
from toolkit.stages.report.card_tables import CardTable, card_tables
from toolkit.stages.report.facts import ReportFacts
from toolkit.stages.report.guidelines import Guideline, GuidelineFact, plain
from toolkit.stages.report.layout import text_environment
from toolkit.stages.report.methods import scored_truth

AUTHOR = "To be written by the author"
REFERENCE = "Mitchell et al. 2019, doi:10.1145/3287560.3287596"
PUBLIC_METRICS = {
    "accuracy": "accuracy",
    "macro_recall": "recall",
    "macro_precision": "precision",
    "macro_f1": "f1",
    "macro_roc_auc": "roc_auc",
    "brier": "brier_score",
}
"""Our metrics, and their names on the Hugging Face hub."""


class CardItem(NamedTuple):
    """What is asked, what was recorded of it, what the author wrote, and what the author still must."""

    asks: str
    facts: list[GuidelineFact]
    written: list[str]
    left: str


class CardSection(NamedTuple):
    """A section of the card."""

    heading: str
    items: list[CardItem]
    tables: list[CardTable]


class ModelCard(NamedTuple):
    """A model card: names and numbers of the model, its sections, and what to know of all of it."""

    details: list[tuple[str, str]]
    sections: list[CardSection]
    notes: list[str]
    front: list[str]
    """Lines of YAML."""


def model_card(facts: ReportFacts, study: Study, guidelines: list[Guideline]) -> ModelCard:
    """Return the card of a run; of facts for others it says no more than they do."""
    known = {fact.name: fact for each in guidelines for item in each.items for fact in item.facts}
    tables = card_tables(facts)
    sections = [
        CardSection(
            section["heading"],
            [_item(item, known, study) for item in section["items"]],
            [tables[name] for name in section.get("tables", []) if name in tables],
        )
        for section in listed()
    ]
    return ModelCard(_details(facts, study.study), sections, _notes(facts, study.study), _front(facts))


def listed() -> list[dict[str, Any]]:
    """Return the sections of a card with what fills them."""
    return tomllib.loads((shipped("sql") / "model_card.toml").read_text(encoding="utf-8"))["sections"]


def _item(item: dict[str, Any], known: dict[str, GuidelineFact], study: Study) -> CardItem:
    texts = {name: getattr(study.reporting, name).strip() for name in item.get("fields", [])}
    missing = [name for name, text in texts.items() if not text]
    if missing:
        left = f"{AUTHOR}: [reporting] {', '.join(missing)} of the study file."
    else:
        left = "" if texts or item.get("facts") else f"{AUTHOR}."
    return CardItem(
        item["asks"], [known[name] for name in item.get("facts", [])], [text for text in texts.values() if text], left
    )


def _details(facts: ReportFacts, study: StudySection) -> list[tuple[str, str]]:
    """Return what the run recorded of itself, as far as it did."""
    run, record = facts.run, facts.record
    more = record.model.model_extra or {}
    pairs = {
        "Study": clean(study.title),
        "Run": run["run_id"],
        "Model": model_name(record.model.name),
        "Backend": clean(record.model.backend or ""),
        "Mode of training": clean(str(more.get("mode") or "")),
        "Parameters": _number(record.model.parameters),
        "Parameters that were trained": _number(record.model.trainable_parameters),
        "Finished": moment(run["finished_at"]),
        "Trained on": "" if record.source else support(run["train_cases"], run["train_patients"]),
        "Split": run["split_id"],
        "Reference diagnoses of the scores": scored_truth(facts),
        "Classes": ", ".join(spoken(name) for name in facts.classes),
        "Groups that were scored": ", ".join(_groups(facts)),
    }
    return [(name, text) for name, text in pairs.items() if text]


def _number(number: int | None) -> str:
    return "" if number is None else count(number)


def _groups(facts: ReportFacts) -> list[str]:
    return list(dict.fromkeys(clean(field_name(row["group_name"])) for row in facts.evaluation.groups))


def _notes(facts: ReportFacts, study: StudySection) -> list[str]:
    """Return what to know before anything else."""
    notes = [clean(study.notice)] if study.notice else []
    notes += [] if facts.patients_known else [f"{NO_PATIENTS.capitalize()}."]
    if facts.parts[0] == "validation":
        notes.append(used_to_choose(facts.evaluation.chosen))
    if facts.plan.lock is None:
        notes.append("No analysis plan was locked before the evaluation.")
    return [note for note in notes if note]


def _front(facts: ReportFacts) -> list[str]:
    """Return the front matter for the Hugging Face hub, as far as it was recorded: a licence never is."""
    record = facts.record
    tags = ["lesion-toolkit", record.model.backend, (record.model.model_extra or {}).get("mode")]
    names = {metric for part, metric, name in facts.scores if part == facts.parts[0] and name is None}
    metrics = [public for own, public in PUBLIC_METRICS.items() if own in names]
    lines = [] if record.source or not record.model.transformers else ["library_name: transformers"]
    lines += _listed("tags", [clean(str(tag)) for tag in tags if tag]) + _listed("metrics", metrics)
    return [*lines, f"# license: {AUTHOR.lower()}"]


def _listed(key: str, values: list[str]) -> list[str]:
    """Return a list as YAML: strings of JSON are strings of YAML, whatever is in them."""
    return [f"{key}:", *(f"  - {json.dumps(value)}" for value in values)] if values else []


def markdown(card: ModelCard, run_id: str) -> str:
    """Return model_card.md."""
    sources = {fact.name: fact.source for section in card.sections for item in section.items for fact in item.facts}
    template = text_environment(unit()).get_template("model_card.md.j2")
    return template.render(
        card=card,
        run_id=run_id,
        sources=sources,
        plain=plain,
        line_of=_line,
        rule_of=lambda table: _line_of(["---:" if n >= table.names else "---" for n in range(len(table.header))]),
        reference=REFERENCE,
    )


def _line(cells: list[str]) -> str:
    """Return a line of a table, whose cells are text and no markup."""
    return _line_of([plain(cell) for cell in cells])


def _line_of(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def page(card: ModelCard, facts: ReportFacts, study: Study) -> bytes:
    """Return model_card.html."""
    return layout.render(
        "model_card.html.j2",
        card=card,
        study=study.study,
        run_id=facts.run["run_id"],
        shared=facts.audience == "shared",
        rounded=facts.rounded,
        reference=REFERENCE,
        few=any(row.few for section in card.sections for table in section.tables for row in table.rows),
    )
