"""Knows how results look in a terminal: tables by rich on stdout, talk and progress on stderr, JSON for programs.

Refuses to compute. Every text from a study or an export is hostile here: control characters are made visible and
markup is never interpreted.
"""

import dataclasses
import io
import json
import math
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from functools import singledispatch
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from toolkit.audit import MEANING, Audit
from toolkit.errors import ToolkitError
from toolkit.evaluate import Evaluated
from toolkit.files import csv_text, without_nan
from toolkit.line import Status
from toolkit.parse import Parsed
from toolkit.predict import Predicted
from toolkit.progress import Progress, silent
from toolkit.registry import Workspace
from toolkit.report import Report
from toolkit.split import PARTS, Split, Verified
from toolkit.sql import Question
from toolkit.synthetic import Sample
from toolkit.train import Trained

QUIET_SECONDS = 10
"""Where progress cannot be drawn, a line is written this often."""
HEADLINE = (
    "macro_recall",
    "macro_precision",
    "macro_specificity",
    "macro_f1",
    "macro_roc_auc",
    "macro_pr_auc",
    "accuracy",
)
WIDE = 6
"""A single row of more columns than this is shown as a list."""
SHOWN = {"macro_roc_auc": "macro ROC AUC", "macro_pr_auc": "macro PR AUC", "macro_f1": "macro F1"}
KEPT = "\n\u2009"
BAR = "─"
BAR_WIDTH = 11

stdout = Console(markup=False, highlight=False, emoji=False, soft_wrap=False)
stderr = Console(markup=False, highlight=False, emoji=False, stderr=True)


def plain(value: object) -> str:
    """Return a text that can do nothing to a terminal: control characters become visible."""
    return "".join(c if c.isprintable() or c in KEPT else f"\\x{ord(c):02x}" for c in str(value))


def number(value: float | None) -> str:
    """Return a proportion with three decimals; "–" where it is undefined."""
    return "–" if value is None or math.isnan(value) else f"{value:.3f}"


def interval(low: float | None, high: float | None) -> str:
    """Return an interval as "0.812–0.903"."""
    return "" if low is None or high is None or math.isnan(low) else f"{low:.3f}–{high:.3f}"


def whole(count: int) -> str:
    """Return a count with thin spaces between thousands."""
    return f"{count:,}".replace(",", "\u2009")


def interval_bar(value: float | None, low: float | None, high: float | None) -> str:
    """Return an interval on a scale from 0 to 1: "·····──●──··"."""
    if value is None or math.isnan(value):
        return ""
    cells = ["·"] * BAR_WIDTH
    place = [min(BAR_WIDTH - 1, int(x * BAR_WIDTH)) for x in (value, low, high) if x is not None and not math.isnan(x)]
    if len(place) == 3:
        cells[place[1] : place[2] + 1] = [BAR] * (place[2] - place[1] + 1)
    cells[place[0]] = "●"
    return "".join(cells)


def table(*columns: str, title: str | None = None) -> Table:
    """Return an empty table; a column named with a leading > is set to the right."""
    made = Table(
        title=title,
        title_justify="left",
        box=None,
        padding=(0, 1, 0, 0),
        title_style="bold",
        header_style="dim",
        caption_justify="left",
    )
    for column in columns:
        right = column.startswith(">")
        made.add_column(column.removeprefix(">"), justify="right" if right else "left", overflow="fold", no_wrap=right)
    return made


def line(text: str, style: str = "") -> Text:
    """Return one line of hostile text, made plain."""
    return Text(plain(text), style=style)


@singledispatch
def rendered(result: object) -> RenderableType:
    """Return what a stage's result looks like."""
    raise TypeError(type(result))


@rendered.register
def _(result: Sample) -> RenderableType:
    drawn = (
        f"{whole(result.photographs)} photographs of {whole(result.patients)} patients, drawn with seed {result.seed}"
    )
    run = f"toolkit --study {result.study} --workspace WORKSPACE run {result.export} --images {result.images}"
    return Group(_told("sample", drawn), _next(run))


@rendered.register
def _(result: Parsed) -> RenderableType:
    rows = (
        f"{whole(result.rows - result.rows_quarantined)} of {whole(result.rows)} rows stored, "
        f"{whole(result.rows_quarantined)} quarantined; {whole(result.photographs)} photographs, "
        f"{whole(result.photographs_opened)} opened"
    )
    cases = (
        f"{whole(result.cases)} cases of {whole(result.patients)} patients, {whole(result.with_roi)} with a ROI; "
        f"{whole(result.resolved)} resolved, {whole(result.tied)} tied, {whole(result.unread)} without a reading"
    )
    lines = [rows, cases]
    if result.kept_out:
        reasons = ", ".join(f"{whole(count)} {reason}" for reason, count in result.kept_out.items())
        lines.append(f"! kept out: {reasons} (toolkit query quarantine)")
    if result.photographs_elsewhere:
        others = ", ".join(result.projects_elsewhere[:5]) or "none"
        number_elsewhere = whole(result.photographs_elsewhere)
        lines.append(f"! {number_elsewhere} photographs are in none of the study's projects (others: {others})")
    if result.key_created:
        lines.append(
            f"! a pseudonym key was made: {result.key_created} (mode 0600). Back it up and keep it out of the "
            "workspace: whoever has it can tell which patient a pseudonym is."
        )
    return _told("parse", *lines)


@rendered.register
def _(result: Audit) -> RenderableType:
    lines = [f"{whole(sum(result.findings.values()))} findings"]
    lines += [f"{whole(times)} {kind}: {MEANING.get(kind, '')}" for kind, times in result.findings.items()]
    if result.across_patients:
        lines.append(
            f"! {whole(result.across_patients)} photographs stand under two patients: `split` keeps those together"
        )
    return _told("audit", *lines)


@rendered.register
def _(result: Split) -> RenderableType:
    again = ", as before" if result.already_there else ""
    sums = {part: sum(result.counts[part].values()) for part in PARTS}
    lines = [
        f"{result.split_id}{again}",
        *(f"{part:<10} {whole(sums[part])} cases / {whole(result.patients[part])} patients" for part in PARTS),
        "no patient in two parts: certificate verified",
        f"largest distance from a wished count: {result.deviation:.2f} cases",
    ]
    if result.unresolved:
        lines.append(f"! {whole(result.unresolved)} cases without a resolved class stand in no part")
    return _told("split", *lines)


@rendered.register
def _(result: Verified) -> RenderableType:
    verdict = f"PASS: split {result.split_id}, {whole(result.cases)} cases in {result.parts} parts"
    return _told("verify", verdict, *result.checks)


@rendered.register
def _(result: Trained) -> RenderableType:
    again = ", as before" if result.already_there else ""
    return _told(
        "train",
        f"run {result.run_id}{again}: {result.model} on {whole(result.train_cases)} cases / "
        f"{whole(result.train_patients)} patients, {result.epochs} epochs, {result.seconds:.0f} s on {result.device}",
        f"loss {result.train_loss:.3f} training, {result.validation_loss:.3f} validation; validation macro recall "
        f"{number(result.metrics['macro_recall'])}, ROC AUC {number(result.metrics['macro_roc_auc'])}",
    )


@rendered.register
def _(result: Predicted) -> RenderableType:
    parts = ", ".join(f"{part} {whole(count)}" for part, count in result.cases.items())
    mass = number(result.mean_label_mass)
    return _told("predict", f"{parts} cases ({whole(result.scored_now)} now); mean label mass {mass}")


@rendered.register
def _(result: Evaluated) -> RenderableType:
    times = ", ".join(f"{part} scored {n} {'time' if n == 1 else 'times'}" for part, n in result.times_scored.items())
    return _told("evaluate", f"run {result.run_id} against {result.truth_id}; {times}")


@rendered.register
def _(result: Report) -> RenderableType:
    return _told("report", result.page, f"{whole(result.errors_shown)} of {whole(result.errors)} errors shown")


@rendered.register
def _(result: Status) -> RenderableType:
    facts = table("what", ">count")
    for name in ("exports", "rows", "rows_quarantined", "photographs", "patients", "cases", "resolved"):
        facts.add_row(name.replace("_", " "), whole(getattr(result, name)))
    for reason, count in result.kept_out.items():
        facts.add_row(line(f"kept out: {reason}", "yellow"), whole(count))
    for kind, count in result.findings.items():
        facts.add_row(line(f"finding: {kind}"), whole(count))
    lines: list[RenderableType] = [line(f"{result.workspace} (study: {result.study or 'none yet'})", "bold"), facts]
    if result.splits:
        splits = table("split", ">cases", "state")
        for row in result.splits:
            state = f"{whole(row['changed_cases'])} cases changed since" if row["changed_cases"] else "fits the labels"
            splits.add_row(row["split_id"], whole(row["cases"]), state)
        lines.append(splits)
    if result.runs:
        runs = table("run", "split", "model", ">predicted", ">scored", "report", "state")
        for row in result.runs:
            state = "labels have changed since" if row["stale"] else "fits the labels"
            told = "yes" if row["reported"] else "no"
            runs.add_row(
                row["run_id"],
                row["split_id"],
                line(row["model"]),
                whole(row["predicted"]),
                str(row["scored"]),
                told,
                state,
            )
        lines.append(runs)
    return Group(*lines, _next(result.next))


def _told(stage: str, *lines: str) -> Table:
    """Return a stage's name and what it has to say beside it; a line that starts with ! is a warning."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(width=8, no_wrap=True)
    grid.add_column(overflow="fold")
    for position, text in enumerate(lines):
        warning = text.startswith("! ")
        grid.add_row(
            Text("" if position else stage, "bold green"), line(text.removeprefix("! "), "yellow" if warning else "")
        )
    return grid


def _next(command: str) -> Text:
    return Text.assemble(("next: ", "dim"), (plain(command), "bold"))


def show(result: Any, *, as_json: bool) -> None:
    """Show a result on stdout: for people, or the same facts as JSON."""
    if as_json:
        print_json(dataclasses.asdict(result))
    else:
        stdout.print(rendered(result))


def print_json(document: Any) -> None:
    """Write a document as JSON; what JSON cannot say is null."""
    sys.stdout.write(json.dumps(without_nan(document), ensure_ascii=False, indent=2, default=str) + "\n")


def show_scores(workspace: Workspace, run_id: str) -> None:
    """Show a run's headline, per-class table and confusions on the last of its parts: test where it was scored."""
    scores = workspace.rows("select * from scores where run_id = $run_id", {"run_id": run_id})
    parts = sorted({row["part"] for row in scores}, reverse=True)
    stdout.print(_headline(scores, parts))
    part = "test" if "test" in parts else parts[0]
    stdout.print(_per_class([row for row in scores if row["part"] == part], part))
    confusions = workspace.ask("confusions", run=run_id, part=part).to_pylist()[:5]
    stdout.print(_confusions(confusions, part))


def _headline(scores: list[dict[str, Any]], parts: list[str]) -> Table:
    made = table("over all classes", *(f">{part}" for part in parts for _ in (0, 1)))
    made.columns[-1].header = made.columns[2].header = "95 %" if not scores else f"{scores[0]['confidence']:.0%}"
    for metric in HEADLINE:
        cells = []
        for part in parts:
            row = next(
                (r for r in scores if r["part"] == part and r["metric"] == metric and r["class_name"] is None), None
            )
            cells += [number(row["value"]), interval(row["low"], row["high"])] if row else ["", ""]
        made.add_row(_shown(metric), *cells)
    made.caption = "\n".join(_undefined_classes(scores))
    return made


def _undefined_classes(scores: list[dict[str, Any]]) -> list[str]:
    """Say which macro averages leave classes out."""
    total = len({row["class_name"] for row in scores if row["class_name"]})
    partial = [row for row in scores if row["classes"] not in (None, total) and row["metric"] in HEADLINE]
    return [
        f"{_shown(row['metric'])}, {row['part']}: over the {row['classes']} of {total} classes where it is defined"
        for row in partial
    ]


def _shown(metric: str) -> str:
    return SHOWN.get(metric, metric.replace("macro_", "macro "))


def _per_class(scores: list[dict[str, Any]], part: str) -> Table:
    made = table(
        "class", ">n/pat.", ">recall", "0 to 1", ">prec.", ">spec.", ">F1", ">ROC", ">PR", title=f"per class, {part}"
    )
    for name in sorted({row["class_name"] for row in scores if row["class_name"]}):
        own = {row["metric"]: row for row in scores if row["class_name"] == name}
        recall = own["recall"]
        made.add_row(
            line(name if len(name) <= 20 else f"{name[:19]}…"),
            f"{recall['cases']}/{recall['patients']}",
            number(recall["value"]),
            interval_bar(recall["value"], recall["low"], recall["high"]),
            *(number(own[metric]["value"]) for metric in ("precision", "specificity", "f1", "roc_auc", "pr_auc")),
        )
    return made


def _confusions(rows: list[dict[str, Any]], part: str) -> Table:
    made = table("truth", "predicted", ">cases", ">patients", title=f"most frequent confusions, {part}")
    for row in rows:
        made.add_row(line(row["truth"]), line(row["predicted"]), whole(row["cases"]), whole(row["patients"]))
    return made


def show_ending(workspace: Workspace, result: Report) -> None:
    """End the line: the scores, the page, and what to type next."""
    stdout.print()
    show_scores(workspace, result.run_id)
    stdout.print(line(f"\npage: {result.page}", "bold"), soft_wrap=True)
    here = f"toolkit --workspace {workspace.folder}"
    for command in (
        f"{here} query confident_errors",
        f"{here} query score --set metric=macro_recall",
        f"{here} status",
    ):
        stdout.print(_next(command), soft_wrap=True)


def print_results(results: list[Any]) -> None:
    """Write the results of a whole line as one JSON object, by stage."""
    print_json({type(result).__name__.lower(): dataclasses.asdict(result) for result in results})


def show_questions(questions: list[Question], *, as_json: bool) -> None:
    """List the questions and their parameters."""
    if as_json:
        print_json([{"name": q.name, "question": q.question, "parameters": q.parameters} for q in questions])
        return
    made = table("question", "what it asks")
    for question in questions:
        taken = ", ".join(f"{p.name}={p.default}" if p.default is not None else p.name for p in question.parameters)
        made.add_row(line(question.name, "bold"), line(question.question + (f"  [{taken}]" if taken else "")))
    stdout.print(made)


def write_rows(rows: pa.Table, form: str) -> None:
    """Write the rows of an answer to stdout; csv and json are never rounded."""
    if form == "parquet":
        buffer = io.BytesIO()
        pq.write_table(rows, buffer)
        sys.stdout.buffer.write(buffer.getvalue())
    elif form == "json":
        print_json(_plain_rows(rows))
    elif form == "csv":
        sys.stdout.write(csv_text(rows.column_names, (row.values() for row in _plain_rows(rows))))
    elif rows.num_rows == 1 and rows.num_columns > WIDE:
        made = table("column", "value")
        for name, value in _plain_rows(rows)[0].items():
            made.add_row(line(name, "dim"), line(_cell(value)))
        stdout.print(made)
    else:
        made = table(*(plain(name) for name in rows.column_names))
        for row in _plain_rows(rows):
            made.add_row(*(line(_cell(value)) for value in row.values()))
        stdout.print(made)
        stderr.print(f"{rows.num_rows} {'row' if rows.num_rows == 1 else 'rows'}", style="dim")


def _plain_rows(rows: pa.Table) -> list[dict[str, Any]]:
    """Return rows as dictionaries, with maps as dictionaries too."""
    maps = {field.name for field in rows.schema if pa.types.is_map(field.type)}
    return [
        {name: dict(value) if name in maps and value is not None else value for name, value in row.items()}
        for row in rows.to_pylist()
    ]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:.4g}"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    if isinstance(value, list | dict):
        return json.dumps(without_nan(value), ensure_ascii=False, default=str)
    return str(value)


def show_error(error: ToolkitError) -> None:
    """Say what is wrong, where, and what to do next."""
    stderr.print(Text.assemble(("error: ", "bold red"), plain(error)), soft_wrap=True)


@contextmanager
def drawn_progress(*, quiet: bool) -> Generator[Progress]:
    """Give a progress callback that draws on stderr: a bar in a terminal, a line now and then in a file."""
    if quiet:
        yield silent
    elif stderr.is_terminal:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Bar(*columns, console=stderr, transient=True) as bar:
            yield _Drawn(bar)
    else:
        yield _Written()


class _Drawn:
    """Draws the activity at hand as one bar."""

    def __init__(self, bar: Bar) -> None:
        self.bar, self.activity, self.task = bar, "", None

    def __call__(self, activity: str, done: int, total: int | None) -> None:
        if activity != self.activity:
            if self.task is not None:
                self.bar.remove_task(self.task)
            self.activity, self.task = activity, self.bar.add_task(plain(activity), total=total)
        if self.task is not None:
            self.bar.update(self.task, completed=done, total=total)


class _Written:
    """Writes a line when an activity has gone on for a while."""

    def __init__(self) -> None:
        self.told = time.monotonic()

    def __call__(self, activity: str, done: int, total: int | None) -> None:
        if time.monotonic() - self.told >= QUIET_SECONDS:
            self.told = time.monotonic()
            stderr.print(line(f"{activity}: {done}{f' of {total}' if total else ''}"))
