"""A question that a person asks, by name, as SQL or in a file: asked once, or again and again, and answered."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pyarrow as pa

from toolkit.console.answer_files import file_form, save_rows
from toolkit.console.rows import write_rows
from toolkit.console.text import stderr
from toolkit.errors import ToolkitError
from toolkit.workspace.registry import Workspace
from toolkit.workspace.user_sql import USUAL, Limits


@dataclass(frozen=True)
class Inquiry:
    """What is asked: a question's name, SQL, or a file of SQL; never two of them."""

    name: str | None = None
    sql: str | None = None
    file: Path | None = None
    values: tuple[str, ...] = ()
    """Parameters, each as name=value."""
    limits: Limits = USUAL

    def checked(self) -> "Inquiry":
        """Return what is asked; raise ToolkitError where that is not clear."""
        if sum(each is not None for each in (self.name, self.sql, self.file)) > 1:
            problem = "a question, --sql and --file were given, not one of them alone: give one, not both"
            raise ToolkitError(problem, remedy="toolkit query --sql TEXT")
        if self.sql is not None and self.values:
            remedy = "write the SQL into a file with lines `-- $name: meaning`, and ask it with --file"
            raise ToolkitError("--set goes with a question or --file, not with --sql", remedy=remedy)
        return self

    def counted_by(self, workspace: Workspace) -> str | None:
        """Return the column by which the rows of a named question are counted first, if any."""
        asked = [question for question in workspace.questions() if question.name == self.name]
        return asked[0].counted_by if asked else None

    def answer(self, workspace: Workspace) -> pa.Table:
        """Return the rows that answer it, by the newest state of the registry."""
        if self.sql is not None:
            return workspace.sql(self.sql, limits=self.limits)
        if self.file is not None:
            return workspace.answer_file(self.file, assignments(self.values), limits=self.limits)
        return workspace.answer(str(self.name), assignments(self.values), limits=self.limits)


def assignments(texts: tuple[str, ...]) -> dict[str, str]:
    """Return name=value texts as a dictionary."""
    pairs = [text.partition("=") for text in texts]
    if wrong := [name for name, equals, _ in pairs if not equals]:
        raise ToolkitError(f"--set takes name=value, not {wrong[0]}", remedy="toolkit query lists the parameters")
    return {name: value for name, _, value in pairs}


def ask(workspace: Workspace, asked: Inquiry, form: str, *, output: Path | None, watch: float | None) -> None:
    """Answer on stdout or in a new file; with `watch`, again every so many seconds until Ctrl-C."""
    give: Callable[..., None] = write_rows
    if output is not None:
        form = file_form(output, form, workspace=workspace.folder)
        give = partial(save_rows, path=output)
    elif form == "table":
        give = partial(write_rows, counted_by=asked.counted_by(workspace))
    if watch is None:
        give(asked.answer(workspace), form)
        return
    if output is not None or form == "parquet":
        problem = "--watch shows answers one after the other; a file, or Parquet, holds one"
        raise ToolkitError(problem, remedy="leave out --output, and choose --format table, csv or json")
    try:
        while True:
            stderr.print(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC", style="dim")
            give(asked.answer(workspace), form)
            time.sleep(watch)
    except KeyboardInterrupt:
        return
