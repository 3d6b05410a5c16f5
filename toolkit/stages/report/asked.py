"""The SQL behind the tables of a page, written out so that it can be pasted.

Refuses to run it.
"""

import re
from typing import NamedTuple

from toolkit.stages.report.facts import ReportFacts
from toolkit.workspace import sql


class QueryReference(NamedTuple):
    """The command that asks for a table's rows, "" where no question is named so, and its SQL."""

    command: str
    text: str


def queries(facts: ReportFacts) -> dict[str, QueryReference]:
    """Return the SQL of each table of the page."""
    run, part, split = facts.run["run_id"], facts.parts[0], facts.run["split_id"]
    return {
        "matrix": _statement("report/matrix", run_id=run),
        "cases": _statement("report/cases", run_id=run),
        "flow": _statement("report/flow", split_id=split),
        "parts": _statement("report/parts", split_id=split),
        "findings": _statement("report/findings"),
        "issues": _statement("report/issues"),
        "controls": _statement("report/controls", run_id=run),
        "compared": _statement("report/compared", run_id=run),
        "leakage": _statement("report/leakage", split_id=split),
        "departures": _question("departures", run=run),
        **{
            name: _question(name, run=run, part=part)
            for name in ("groups", "operating_points", "calibration", "decision_curve")
        },
    }


def _statement(name: str, **literals: str) -> QueryReference:
    return QueryReference("", written_out(sql.statement(name), **literals))


def _question(name: str, **given: str) -> QueryReference:
    question = sql.questions()[name]
    flags = " ".join(f"--set {key}={value}" for key, value in given.items())
    return QueryReference(f"toolkit query {name} {flags}", written_out(question.text, **sql.bind(question, given)))


def written_out(text: str, **literals: str) -> str:
    """Return a statement without its comments, its parameters written as literals."""
    bare = "\n".join(line for line in text.splitlines() if not line.startswith("--")).strip()
    return re.sub(r"\$(\w+)", lambda found: sql.quoted(literals[found[1]]), bare)
