"""From a Labelbox export of skin photographs to a report; Python users begin with `toolkit.open`."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toolkit.workspace.registry import Workspace


def open(workspace: str | Path) -> "Workspace":  # noqa: A001 - `toolkit.open` is how it reads
    """Open a workspace: its `table(name)` is a DataFrame, `ask(question)` and `sql(text)` give Arrow tables.

    Each runs in a process of its own that can only read and is ended at 2 GB or 60 s, or at `sql(text, limits=…)`.

    >>> import toolkit
    >>> workspace = toolkit.open("workspace")
    >>> workspace.table("truth")["class_name"].value_counts().to_dict()
    {'nevus': 2, 'melasma': 1}
    """
    from toolkit.workspace.registry import Workspace

    return Workspace(Path(workspace))
