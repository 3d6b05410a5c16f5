"""Results in a terminal: tables and lines on stdout, errors and progress on stderr, JSON for programs."""

import dataclasses
import re
from typing import TYPE_CHECKING, Any

from rich.text import Text

from toolkit.console.rows import print_json
from toolkit.console.text import line, next_step, plain, stderr, stdout, summary, table, to_type, wrapped
from toolkit.errors import ToolkitError
from toolkit.formatting import spoken
from toolkit.shipped import shipped
from toolkit.workspace.registry import Workspace
from toolkit.workspace.sql import Question, by_topic

if TYPE_CHECKING:
    from toolkit.stages.status import Status

PAGE = re.compile(r"\bdocs/(\w+\.md)")
"""A page of the toolkit's own, as messages name it."""
MOST_LISTED = 12
"""Cases of a queue in the terminal; all stand on its page."""


def show(result: Any, *, as_json: bool) -> None:
    """Show a result on stdout: for people, or the same facts as JSON."""
    if as_json:
        print_json(dataclasses.asdict(result))
    else:
        from toolkit.console.runs import rendered  # noqa: PLC0415 - it imports every stage; a query needs none of them

        stdout.print(rendered(result), crop=False)


def show_status(result: "Status", *, as_json: bool) -> None:
    """Show the status of a workspace."""
    if as_json:
        print_json(dataclasses.asdict(result))
    else:
        from toolkit.console.status import status_of  # noqa: PLC0415 - it imports the stage, which a query does not need

        stdout.print(status_of(result), crop=False)


def show_stage(workspace: Workspace, result: Any) -> None:
    """Show the result of one stage among several; the evaluation's with its scores in short."""
    show(result, as_json=False)
    if type(result).__name__ == "Evaluated":
        stdout.print()
        from toolkit.console.scores import show_in_short  # noqa: PLC0415 - it imports the report, with SciPy: half a second

        show_in_short(workspace, result.run_id)


def show_queue_items(items: list[dict[str, Any]]) -> None:
    """Show the first cases of a queue, and what speaks against their labels."""
    rows = table(">rank", "case", "label, and what speaks against it")
    for row in items[:MOST_LISTED]:
        alone = row["random"] or row["suggested_class"] is None
        label = spoken(row["class_name"])
        against = f"{label}:" if alone else f"{label}, or {spoken(row['suggested_class'])}?"
        rows.add_row(str(row["rank"]), line(row["case_id"]), line(f"{against} {spoken(row['reasons'])}"))
    stdout.print(rows, crop=False)
    if len(items) > MOST_LISTED:
        stdout.print(f"{len(items) - MOST_LISTED} more on the page")


def show_report(report: Any) -> None:
    """Show what a report's checks say to the study's own people, the path of its page, and a command to type next."""
    if report.audience == "internal":
        checks = (f"! {text}" if shape == "look" else text for shape, text in report.checks)
        stdout.print(summary("checks", *checks))
    show(report, as_json=False)
    stdout.print(next_step(f"toolkit query confident_errors --set run={report.run_id}"), soft_wrap=True)


def print_results(results: list[Any]) -> None:
    """Write the results of several stages as one JSON object, by stage."""
    print_json({type(result).__name__.lower(): dataclasses.asdict(result) for result in results})


def show_questions(questions: list[Question], *, as_json: bool) -> None:
    """List the questions by topic, with their parameters."""
    if as_json:
        print_json(
            [
                {
                    "name": q.name,
                    "topic": topic,
                    "question": q.question,
                    "parameters": [p._asdict() for p in q.parameters],
                    **({"fault": str(q.fault)} if q.fault else {}),
                }
                for topic, asked in by_topic(questions).items()
                for q in asked
            ]
        )
        return
    listing = table("question", "what it asks")
    for topic, asked in by_topic(each for each in questions if not each.fault).items():
        listing.add_row(line(topic.capitalize(), "dim"), "")
        for question in asked:
            taken = question.parameters
            defaults = ", ".join(f"{p.name}={p.default}" if p.default is not None else p.name for p in taken)
            words = question.question + (f"  [{defaults}]" if defaults else "")
            listing.add_row(line(question.name, "bold"), line(words))
    stdout.print(listing)
    for question in questions:
        if question.fault:
            stderr.print(Text.assemble(("! cannot be asked: ", "yellow"), plain(question.fault)), soft_wrap=True)


def show_error(error: ToolkitError) -> None:
    """Show what is wrong, where, and what to do next: on a terminal in lines that fit; a place or command is whole."""
    stderr.print(Text.assemble(("error: ", "bold red"), _in_lines(error.problem, 7)), soft_wrap=True)
    if error.place:
        stderr.print(f"  where: {plain(error.place)}", soft_wrap=True)
    if error.remedy:
        remedy = _with_pages(error.remedy)
        is_command = remedy.startswith("toolkit ")
        stderr.print(f"  next:  {plain(to_type(remedy)) if is_command else _in_lines(remedy, 9)}", soft_wrap=True)


def _with_pages(text: str) -> str:
    """Name a page of docs/ by its whole path where the toolkit is installed as a wheel, with no checkout around it."""
    docs = shipped("docs")
    return PAGE.sub(lambda page: str(docs / page[1]), text) if docs.name != "docs" else text


def _in_lines(text: str, before: int) -> str:
    """Return a text that follows some characters on its line, broken between words where it is for a terminal."""
    return wrapped(plain(text), stderr.width, before=before) if stderr.is_terminal else plain(text)
