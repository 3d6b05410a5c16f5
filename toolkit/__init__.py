"""From a Labelbox export of skin photographs to a report; Python users begin with `toolkit.open`."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toolkit.notebook import OpenedWorkspace


def open(workspace: str | Path) -> "OpenedWorkspace":  # noqa: A001 - `toolkit.open` is how it reads
    """Open a workspace: `table(name)`, `ask(question)` and `sql(text)` give DataFrames of pandas.

    `frame="arrow"` or `frame="polars"` gives those instead. docs/notebook.md is a tour.

    >>> import toolkit
    >>> workspace = toolkit.open("workspace")
    >>> workspace.table("truth")["class_name"].value_counts().to_dict()
    {'nevus': 2, 'melasma': 1}
    """
    from toolkit.notebook import OpenedWorkspace

    return OpenedWorkspace(Path(workspace))
