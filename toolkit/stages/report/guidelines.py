"""Reporting guidelines filled from a run: sentences with its numbers, the query behind each, and what authors must add.

What is undefined or was not recorded is called not known.
"""

import math
import re
import tomllib
from datetime import datetime
from typing import Any, NamedTuple

from toolkit.csv_files import sheet_text
from toolkit.formatting import (
    SMALLEST,
    clean,
    count,
    field_name,
    group_value,
    in_units,
    metric_name,
    percent,
    proportion,
    spoken,
    subset,
    support,
    unit,
)  # fmt: skip
from toolkit.manifest import Study
from toolkit.shipped import shipped
from toolkit.stages.report.facts import ReportFacts
from toolkit.stages.report.layout import text_environment
from toolkit.stages.report.methods import methods
from toolkit.workspace import sql
from toolkit.workspace.registry import Workspace

NOT_KNOWN = "not known"
WITHHELD = "Suppressed here: the tables of this report hold what others may see."
NOT_APPLICABLE = "not applicable"
FILLED = ("run", "run and author", "author", NOT_APPLICABLE)
"""By whom an item is filled."""
COUNTED = ("cases", "patients", "patients_in_two_parts", "photographs_in_two_parts")
"""Columns of facts for others that may hold a small cell."""
MARKS = re.compile(r"([\\`*_{}\[\]()#+!|~])")


class GuidelineFact(NamedTuple):
    """What the run says, and what that comes from: SQL, or keys of its record."""

    name: str
    text: str
    source: str


class Item(NamedTuple):
    """An item of a guideline: what the run says on it, what the study says, and which of its fields are empty."""

    number: str
    asks: str
    filled: str
    facts: list[GuidelineFact]
    written: list[str]
    missing: list[str]
    why: str
    """Why it does not apply."""


class Guideline(NamedTuple):
    """A guideline with its items, in its order."""

    name: str
    reference: str
    compared: str
    """With what our list was compared."""
    note: str
    """What else a reader must know of the list."""
    items: list[Item]


def listed() -> dict[str, Any]:
    """Return the shipped list of guidelines, and the facts that fill them."""
    return tomllib.loads((shipped("sql") / "guidelines.toml").read_text(encoding="utf-8"))


def filled(workspace: Workspace, study: Study, facts: ReportFacts) -> list[Guideline]:
    """Return every guideline as far as the run and the study fill it; for others without what may be a small cell."""
    document = listed()
    paragraphs = {paragraph.heading: paragraph.text for paragraph in methods(facts)}
    with workspace.reading() as registry:  # opened once: opening takes longer than the queries
        known = {name: _fact(registry, facts, paragraphs, name, entry) for name, entry in document["facts"].items()}
    return [
        Guideline(
            each["name"],
            each["reference"],
            each["compared"],
            each.get("note", ""),
            [_item(i, known, study) for i in each["items"]],
        )
        for each in document["guidelines"]
    ]


def _item(item: dict[str, Any], known: dict[str, GuidelineFact], study: Study) -> Item:
    texts = {name: getattr(study.reporting, name).strip() for name in item.get("fields", [])}
    return Item(
        number=item["number"],
        asks=item["asks"],
        filled=item["filled"],
        facts=[known[name] for name in item.get("facts", [])],
        written=[text for text in texts.values() if text],
        missing=[name for name, text in texts.items() if not text],
        why=item.get("why", ""),
    )


def _fact(
    registry: Any, facts: ReportFacts, paragraphs: dict[str, str], name: str, entry: dict[str, Any]
) -> GuidelineFact:
    if heading := entry.get("methods"):
        source = f'"{heading}" in the Methods of this report: run.json, certificate.json and the table label_states'
        return GuidelineFact(name, paragraphs.get(heading, NOT_KNOWN), source)
    if facts.record.source and "elsewhere" in entry:
        return GuidelineFact(name, entry["elsewhere"], "run.json: source")
    for kind, file, document in (
        ("record", "run.json", facts.record.document()),
        ("predictions", "predictions.json", facts.made.model_dump() if facts.made else {}),
        ("certificate", "certificate.json", facts.certificate),
    ):
        if keys := entry.get(kind):
            rows = [{column: _at(document, key) for column, key in keys.items()}]
            return GuidelineFact(name, _sentence(facts, entry, rows), f"{file}: {', '.join(keys.values())}")
    source = query(entry, run=facts.run["run_id"], split=facts.run["split_id"], part=facts.parts[0])
    return GuidelineFact(name, _sentence(facts, entry, registry.sql(source).to_arrow_table().to_pylist()), source)


def query(entry: dict[str, Any], *, run: str, split: str, part: str) -> str:
    """Return the SQL of a fact, its parameters written out."""
    text = sql.statement(entry["statement"]) if "statement" in entry else entry["query"]
    return sql.written_out(text, run_id=run, split_id=split, part=part, others=entry.get("others", ""))


def _at(document: dict[str, Any], path: str) -> Any:
    value: Any = document
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _sentence(facts: ReportFacts, entry: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """Return a fact's rows in words; for others only an open one, and none with a small cell."""
    small = any(0 < (row.get(name) or 0) < SMALLEST for row in rows for name in COUNTED)
    if facts.audience == "shared" and (small or not entry.get("open")):
        return WITHHELD
    if not rows:
        return in_units(entry.get("none", f"{NOT_KNOWN.capitalize()}."))
    says = in_units(entry["says"]) if facts.patients_known else entry.get("without_patients", in_units(entry["says"]))
    sentences = [says.format(**_words(facts, row)) for row in rows]
    text = in_units(entry.get("intro", "")) + "; ".join(dict.fromkeys(sentences))
    return f"{text[0].upper()}{text[1:]}".removesuffix(".") + "."


def _words(facts: ReportFacts, row: dict[str, Any]) -> dict[str, str]:
    words = {column: worded(facts, column, value) for column, value in row.items()}
    if "group_name" in row:
        words["group_value"] = clean(group_value(row["group_name"], row["group_value"]))
    if "low" in row:
        known = NOT_KNOWN not in {words["low"], words["high"]}
        words["interval"] = f"({words['low']} to {words['high']})" if known else "(no interval)"
    if "cases" in row:
        words["support"] = support(row["cases"], row.get("patients"))
    return words


def worded(facts: ReportFacts, column: str, value: Any) -> str:
    """Return a value as a reader sees it; times are months, for others years: a day may lead to a patient."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NOT_KNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value:%Y}" if facts.audience == "shared" else f"{value:%Y-%m}"
    return _number(facts, column, value) if isinstance(value, int | float) else _text(column, value)


def _number(facts: ReportFacts, column: str, value: float) -> str:
    if isinstance(value, int):
        return count(value)
    if column in ("confidence", "required"):
        return percent(value)
    return proportion(round(value, 2) if facts.rounded else value)


def _text(column: str, value: Any) -> str:
    names = {"metric": metric_name, "method": in_units, "part": subset, "fitted_on": subset, "group_name": field_name}
    return clean(names.get(column, spoken)(str(value)))


def table(guidelines: list[Guideline]) -> str:
    """Return guidelines.csv: a row per item."""
    rows = [
        (
            guideline.name,
            item.number,
            item.asks,
            item.filled,
            " ".join([*(fact.text for fact in item.facts), *item.written, *([left(item)] if item.why else [])]),
            "\n\n".join(fact.source for fact in item.facts),
            "; ".join(item.missing),
            guideline.compared,
        )
        for guideline in guidelines
        for item in guideline.items
    ]
    return sheet_text(["guideline", "item", "asks", "filled", "text", "how", "missing", "compared"], rows)


def markdown(guidelines: list[Guideline], run_id: str) -> str:
    """Return guidelines.md."""
    sources = {fact.name: fact.source for guideline in guidelines for item in guideline.items for fact in item.facts}
    template = text_environment(unit()).get_template("guidelines.md.j2")
    return template.render(guidelines=guidelines, sources=sources, run_id=run_id, plain=plain, left=left)


def left(item: Item) -> str:
    """Say what is left to the author, or why the item does not apply; "" where nothing is left."""
    if item.filled == NOT_APPLICABLE:
        return f"Not applicable: {item.why}."
    if item.filled == "run" or (item.written and not item.missing):
        return ""
    fields = ", ".join(item.missing)
    where = f" [reporting] {fields} of the study file, or the manuscript" if fields else " see the guideline"
    return f"Author must write:{where}."


def plain(text: str) -> str:
    """Return a text as Markdown that shows it as it is: no element, no link, one line."""
    flat = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return MARKS.sub(r"\\\1", flat)
