"""From a Labelbox export of skin photographs to a report; Python users begin with `toolkit.open`."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toolkit.workspace.registry import Workspace


def open(workspace: str | Path) -> "Workspace":  # noqa: A001 - `toolkit.open` is how it reads
    """Open a workspace: its `table(name)` is a DataFrame, `ask(question)` and `sql(text)` give Arrow tables.

    >>> import toolkit
    >>> workspace = toolkit.open("workspace")
    >>> workspace.table("truth")["class_name"].value_counts().to_dict()
    {'nevus': 2, 'melasma': 1}
    """
    from toolkit.workspace.registry import Workspace

    return Workspace(Path(workspace))
