"""Which items of reporting guidelines a run fills: sentences with its numbers, and the query behind each.

Refuses to invent: what is undefined or not recorded is called not known, and what only authors can say is left to them.
"""

import math
import re
import tomllib
from datetime import datetime
from typing import Any, NamedTuple

from toolkit.files import csv_text
from toolkit.formatting import SMALLEST, clean, count, metric_name, percent, proportion, spoken
from toolkit.manifest import Study, shipped
from toolkit.stages.report.asked import written_out
from toolkit.stages.report.facts import ReportFacts
from toolkit.stages.report.methods import methods
from toolkit.workspace import sql
from toolkit.workspace.registry import Workspace

NOT_KNOWN = "not known"
WITHHELD = "Not given to others here: what may be shown stands in the tables of this report."
FILLED = ("run", "run and author", "author")
"""By whom an item is filled."""
COUNTED = ("cases", "patients", "patients_in_two_parts", "photographs_in_two_parts")
"""Columns of facts for others that may hold a small cell."""
MARKS = re.compile(r"([\\`*_{}\[\]()#+!|~])")


class GuidelineFact(NamedTuple):
    """What the run says, and what that comes from."""

    name: str
    text: str
    how: str


class Item(NamedTuple):
    """An item of a guideline: what the run says on it, what the study says, and which of its fields are empty."""

    number: str
    asks: str
    filled: str
    facts: list[GuidelineFact]
    written: list[str]
    missing: list[str]


class Guideline(NamedTuple):
    """A guideline with its items, in its order."""

    name: str
    reference: str
    items: list[Item]


def listed() -> dict[str, Any]:
    """Return the shipped list of guidelines, and the facts that fill them."""
    return tomllib.loads((shipped("sql") / "guidelines.toml").read_text(encoding="utf-8"))


def filled(workspace: Workspace, study: Study, facts: ReportFacts) -> list[Guideline]:
    """Return every guideline as far as the run and the study fill it; for others without what may be a small cell."""
    document = listed()
    said = {paragraph.heading: paragraph.text for paragraph in methods(facts)}
    with workspace.reading() as registry:  # opened once: opening takes longer than the queries
        known = {name: _fact(registry, facts, said, name, wanted) for name, wanted in document["facts"].items()}
    return [
        Guideline(guideline["name"], guideline["reference"], [_item(item, known, study) for item in guideline["items"]])
        for guideline in document["guidelines"]
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
    )


def _fact(registry: Any, facts: ReportFacts, said: dict[str, str], name: str, wanted: dict[str, Any]) -> GuidelineFact:
    if heading := wanted.get("said"):
        how = f'"{heading}" in the Methods of this report: run.json, certificate.json and the table label_states'
        return GuidelineFact(name, said.get(heading, NOT_KNOWN), how)
    for file, document in (("record", facts.record.document()), ("certificate", facts.certificate)):
        if keys := wanted.get(file):
            rows = [{column: _at(document, key) for column, key in keys.items()}]
            stands = {"record": "run.json", "certificate": "certificate.json"}[file]
            how = f"{stands}: {', '.join(keys.values())}"
            return GuidelineFact(name, _sentence(facts, wanted, rows), how)
    how = query(wanted, run=facts.run["run_id"], split=facts.run["split_id"], part=facts.parts[0])
    return GuidelineFact(name, _sentence(facts, wanted, registry.sql(how).to_arrow_table().to_pylist()), how)


def query(wanted: dict[str, Any], *, run: str, split: str, part: str) -> str:
    """Return the SQL of a fact, its parameters written out."""
    text = sql.statement(wanted["statement"]) if "statement" in wanted else wanted["query"]
    return written_out(text, run_id=run, split_id=split, part=part)


def _at(document: dict[str, Any], path: str) -> Any:
    value: Any = document
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _sentence(facts: ReportFacts, wanted: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """Return a fact's rows in words; for others only an open one, and none with a small cell."""
    if facts.audience == "shared" and not _is_open(wanted, rows):
        return WITHHELD
    if not rows:
        return wanted.get("none", f"{NOT_KNOWN.capitalize()}.")
    told = [
        wanted["says"].format(**{column: worded(facts, column, value) for column, value in row.items()}) for row in rows
    ]
    text = "; ".join(dict.fromkeys(told))
    return text if text.endswith(".") else f"{text}."


def _is_open(wanted: dict[str, Any], rows: list[dict[str, Any]]) -> bool:
    return wanted.get("open", False) and not any(
        0 < (row.get(name) or 0) < SMALLEST for row in rows for name in COUNTED
    )


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
    return metric_name(value) if column == "metric" else clean(spoken(str(value)))


def table(guidelines: list[Guideline]) -> str:
    """Return guidelines.csv: a row per item."""
    rows = [
        (
            guideline.name,
            item.number,
            item.asks,
            item.filled,
            " ".join([*(fact.text for fact in item.facts), *item.written]),
            "\n\n".join(fact.how for fact in item.facts),
            "; ".join(item.missing),
        )
        for guideline in guidelines
        for item in guideline.items
    ]
    return csv_text(["guideline", "item", "asks", "filled", "text", "how", "missing"], rows)


def markdown(guidelines: list[Guideline], run_id: str) -> str:
    """Return guidelines.md: every item, and at its end what each number comes from; texts can be no markup."""
    lines = [f"# Reporting guidelines: run {run_id}", "", *_preface()]
    for guideline in guidelines:
        lines += [f"## {guideline.name}", "", f"{guideline.reference}.", ""]
        for item in guideline.items:
            lines.append(f"- **{item.number}** {item.asks} ({item.filled})")
            lines += [f"  - {plain(fact.text)} \\[{fact.name}\\]" for fact in item.facts]
            lines += [f"  - {plain(text)}" for text in item.written]
            lines += [f"  - {left(item)}"] if left(item) else []
        lines.append("")
    hows = {fact.name: fact.how for guideline in guidelines for item in guideline.items for fact in item.facts}
    lines += ["## What the numbers come from", ""]
    for name, how in sorted(hows.items()):
        lines += [f"### {name}", "", *(f"    {line}" for line in how.splitlines()), ""]
    return "\n".join(lines)


def _preface() -> list[str]:
    return [
        "Items in our own words, by the guidelines' numbers: their wording is theirs, read it there. What a sentence",
        "comes from stands at the end of this file, under the name in brackets behind it.",
        "",
    ]


def left(item: Item) -> str:
    """Say what is left to the author; "" where nothing is."""
    if item.filled == "run" or (item.written and not item.missing):
        return ""
    fields = ", ".join(item.missing)
    where = f" [reporting] {fields} of the study file, or the manuscript" if fields else " see the guideline"
    return f"Author must write:{where}."


def plain(text: str) -> str:
    """Return a text as Markdown that shows it as it is: no element, no link, one line."""
    flat = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return MARKS.sub(r"\\\1", flat)
