"""How Python users open a workspace: `toolkit.open("workspace").table("scores")`.

Refuses to import anything until then.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toolkit.workspace.registry import Workspace


def open(workspace: str | Path) -> "Workspace":  # noqa: A001 - `toolkit.open` is how it reads
    """Open a workspace: its `table(name)` is a DataFrame, `ask(question)` and `sql(text)` give Arrow tables."""
    from toolkit.workspace.registry import Workspace

    return Workspace(Path(workspace))
