"""A workspace as notebooks use it: its tables, its questions and SQL as DataFrames of pandas, or as Arrow or Polars."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Literal

from toolkit.errors import ToolkitError
from toolkit.workspace.registry import Workspace
from toolkit.workspace.sql import by_topic
from toolkit.workspace.user_sql import USUAL, Limits

Frame = Literal["pandas", "arrow", "polars"]


class OpenedWorkspace(Workspace):
    """What `toolkit.open` gives. Each call reads the newest state and lets go of it, so no writer ever waits."""

    def __repr__(self) -> str:
        """Say which workspace it is."""
        return f"<workspace {self.folder}>"

    def table(self, name: str, *, frame: Frame = "pandas") -> Any:
        """Return a whole table or view; docs/tables.md lists them. Raises QuestionError for an unknown name.

        >>> import toolkit
        >>> toolkit.open("workspace").table("truth")["class_name"].value_counts().to_dict()
        {'nevus': 2, 'melasma': 1}
        """
        quoted = '"' + name.replace('"', '""') + '"'
        return _framed(self.read(f"select * from {quoted}"), frame)  # noqa: S608 - the name is quoted

    def ask(self, name: str, /, *, frame: str = "pandas", **parameters: Any) -> Any:
        """Answer a named question, the toolkit's or the workspace's own; `questions_table()` lists them.

        >>> import toolkit
        >>> toolkit.open("workspace").ask("conservation")["noun"].tolist()[:1]
        ['answer']
        """
        return _framed(super().ask(name, **{key: str(value) for key, value in parameters.items()}), frame)

    def sql(
        self,
        text: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        frame: Frame = "pandas",
        limits: Limits = USUAL,
    ) -> Any:
        """Return what one read-only statement gives; parameters stand in it as `$name`.

        It runs in a process of its own that can only read and is ended at `limits`, 2 GB and 60 s unless given.
        Raises QuestionError, with DuckDB's own words where it has any.

        >>> import toolkit
        >>> toolkit.open("workspace").sql("select count(*) as cases from truth")["cases"].tolist()
        [3]
        """
        return _framed(super().sql(text, parameters, limits=limits), frame)

    def questions_table(self) -> Any:
        """Return all questions as a DataFrame: name, topic, what it asks, and its parameters with their defaults."""
        import pandas as pd

        rows = [
            (topic, each.name, each.question, {p.name: p.default for p in each.parameters})
            for topic, asked in by_topic(self.questions()).items()
            for each in asked
        ]
        return pd.DataFrame(rows, columns=["topic", "name", "asks", "parameters"])


def _framed(table: Any, frame: str) -> Any:
    """Return an Arrow table as what was asked for."""
    if frame == "arrow":
        return table
    if frame == "polars":
        try:
            polars = import_module("polars")  # not among the toolkit's own packages
        except ImportError:
            raise ToolkitError("Polars is not installed", remedy="pip install polars, or frame='arrow'") from None
        return polars.from_arrow(table)
    if frame == "pandas":
        return table.to_pandas()
    raise ToolkitError(f"no such frame: {frame!r}", remedy="frame is pandas, arrow or polars")
