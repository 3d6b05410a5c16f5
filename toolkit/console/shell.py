"""A shell over a private copy of the registry: harlequin, or DuckDB's own."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from toolkit.console.text import stderr
from toolkit.errors import ToolkitError
from toolkit.workspace.registry import Workspace

SHELLS = {"harlequin": ("--read-only",), "duckdb": ("-readonly",)}
"""Programs that are looked for, in this order, and what makes them read only."""


def open_shell(workspace: Workspace) -> None:
    """Run the first shell that is installed on a copy of the registry; the copy is removed at its end."""
    program, path = next(((name, found) for name in SHELLS if (found := shutil.which(name))), ("", ""))
    if not program:
        raise ToolkitError(
            "neither harlequin nor duckdb is on the PATH",
            remedy="pipx install harlequin, or install DuckDB's command line; toolkit query --sql needs neither",
        )
    with tempfile.TemporaryDirectory(prefix="lesion-toolkit-") as folder:
        copy = Path(folder) / "registry.duckdb"
        workspace.copy_registry(copy)
        stderr.print(f"a copy of the registry as it is now, in {program}; it is removed when {program} ends")
        ended = subprocess.run([path, *SHELLS[program], str(copy)], check=False, env=_environment())  # noqa: S603 - as found
    if ended.returncode:
        raise ToolkitError(f"{program} ended with code {ended.returncode}", remedy="see what it says above")


def _environment() -> dict[str, str]:
    """Return the surroundings without keys: a shell's extensions have no need of them."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("LABELBOX_", "HF_"))}
