"""Knows the SQL behind the tables of a page, written out so that it can be pasted.

Refuses to run it.
"""

import re
from typing import NamedTuple

from toolkit import sql
from toolkit.report.facts import Facts


class Asked(NamedTuple):
    """The command that asks for a table's rows, "" where no question is named so, and its SQL."""

    command: str
    text: str


def queries(facts: Facts) -> dict[str, Asked]:
    """Return the SQL of each table of the page."""
    run, part, split = facts.run["run_id"], facts.parts[0], facts.run["split_id"]
    return {
        "matrix": _step("report_matrix", run_id=run),
        "cases": _step("report_cases", run_id=run),
        "flow": _step("report_flow", split_id=split),
        "parts": _step("report_parts", split_id=split),
        "findings": _step("report_findings"),
        "issues": _step("report_issues"),
        "controls": _step("report_controls", run_id=run),
        "compared": _step("report_compared", run_id=run),
        "leakage": _step("report_leakage", split_id=split),
        "departures": _question("departures", run=run),
        **{
            name: _question(name, run=run, part=part)
            for name in ("groups", "operating_points", "calibration", "decision_curve")
        },
    }


def _step(name: str, **literals: str) -> Asked:
    return Asked("", written_out(sql.step(name), **literals))


def _question(name: str, **given: str) -> Asked:
    question = sql.questions()[name]
    flags = " ".join(f"--set {key}={value}" for key, value in given.items())
    return Asked(f"toolkit query {name} {flags}", written_out(question.text, **sql.bind(question, given)))


def written_out(text: str, **literals: str) -> str:
    """Return a statement without its comments, its parameters written as literals."""
    bare = "\n".join(line for line in text.splitlines() if not line.startswith("--")).strip()
    return re.sub(r"\$(\w+)", lambda found: sql.quoted(literals[found[1]]), bare)
