"""How results look in a terminal: tables by rich on stdout, talk and progress on stderr, JSON for programs.

Refuses to compute.
"""

import dataclasses
from typing import Any

from rich.text import Text

from toolkit.console.bars import drawn_progress
from toolkit.console.rows import print_json, write_rows, write_text
from toolkit.console.scores import show_scores, show_story
from toolkit.console.text import line, next_step, plain, program, stderr, stdout, table, told
from toolkit.errors import ToolkitError
from toolkit.workspace.registry import Workspace
from toolkit.workspace.sql import Question

__all__ = [
    "drawn_progress",
    "print_results",
    "show",
    "show_ending",
    "show_error",
    "show_questions",
    "show_report",
    "show_scores",
    "write_rows",
    "write_text",
]


def show(result: Any, *, as_json: bool) -> None:
    """Show a result on stdout: for people, or the same facts as JSON."""
    if as_json:
        print_json(dataclasses.asdict(result))
    else:
        from toolkit.console.runs import rendered  # noqa: PLC0415 - every stage; a query needs none of them

        stdout.print(rendered(result), crop=False)


def show_ending(workspace: Workspace, report: Any) -> None:
    """End the line: the scores in short, the page, and what to type next."""
    stdout.print()
    show_story(workspace, report.run_id)
    show(report, as_json=False)
    here = f"{program()} --workspace {workspace.folder}"
    for command in (
        f"{here} query confident_errors",
        f"{here} query findings",
        f"{here} query score",
    ):
        stdout.print(next_step(command), soft_wrap=True)


def show_report(workspace: Workspace, report: Any) -> None:
    """Show the tables of a report for the study's own people, where it stands, and what to type next."""
    if report.audience == "internal":
        show_scores(workspace, report.run_id)
        stdout.print(told("checks", *(f"! {text}" if shape == "look" else text for shape, text in report.checks)))
    show(report, as_json=False)
    command = f"{program()} --workspace {workspace.folder} query confident_errors --set run={report.run_id}"
    stdout.print(next_step(command), soft_wrap=True)


def print_results(results: list[Any]) -> None:
    """Write the results of a whole line as one JSON object, by stage."""
    print_json({type(result).__name__.lower(): dataclasses.asdict(result) for result in results})


def show_questions(questions: list[Question], *, as_json: bool) -> None:
    """List the questions and their parameters."""
    if as_json:
        print_json(
            [
                {"name": q.name, "question": q.question, "parameters": [p._asdict() for p in q.parameters]}
                for q in questions
            ]
        )
        return
    made = table("question", "what it asks")
    for question in questions:
        taken = ", ".join(f"{p.name}={p.default}" if p.default is not None else p.name for p in question.parameters)
        made.add_row(line(question.name, "bold"), line(question.question + (f"  [{taken}]" if taken else "")))
    stdout.print(made)


def show_error(error: ToolkitError) -> None:
    """Say what is wrong, where, and what to do next."""
    stderr.print(Text.assemble(("error: ", "bold red"), plain(error)), soft_wrap=True)
