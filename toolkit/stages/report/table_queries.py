"""The SQL behind the tables of a page, with its parameters written out so that it can be pasted."""

from typing import NamedTuple

from toolkit.stages.report.facts import ReportFacts
from toolkit.workspace import sql

STATEMENTS = ("matrix", "cases", "flow", "parts", "findings", "issues", "leakage")
QUESTIONS = ("groups", "operating_points", "calibration", "decision_curve", "seeds", "image_quality")


class TableQuery(NamedTuple):
    """The command that asks for a table's rows, "" where no question is named so, and its SQL."""

    command: str
    text: str


def table_queries(facts: ReportFacts) -> dict[str, TableQuery]:
    """Return the SQL of each table of the page."""
    run, part = facts.run["run_id"], facts.parts[0]
    key = {"run_id": run, "split_id": facts.run["split_id"]}
    return {
        **{name: statement(f"report/{name}", **key) for name in STATEMENTS},
        **{others: statement("report/comparisons", **key, others=others) for others in ("runs", "controls")},
        **{name: question(name, run=run, part=part) for name in QUESTIONS},
        "adaptation": question("adaptation", run=run, other=facts.record.started_from or run, part=part),
        "departures": question("departures", run=run),
    }


def statement(name: str, command: str = "", **literals: str) -> TableQuery:
    """Return a statement that a stage runs, its parameters written out."""
    return TableQuery(command, sql.written_out(sql.statement(name), **literals))


def question(name: str, **parameters: str) -> TableQuery:
    """Return a shipped question, its parameters written out."""
    asked = sql.questions()[name]
    flags = " ".join(f"--set {key}={value}" for key, value in parameters.items())
    text = sql.written_out(asked.text, **sql.bind(asked, parameters))
    return TableQuery(f"toolkit query {name} {flags}", text)
