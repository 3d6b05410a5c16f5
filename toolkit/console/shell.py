"""A shell over a private copy of the registry: harlequin, or DuckDB's own."""

import os
import re
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb

from toolkit.console.text import stderr
from toolkit.errors import ToolkitError
from toolkit.files import remove
from toolkit.workspace.registry import Workspace

VERSION = re.compile(r"v?(\d+)\.\d+")
HARLEQUIN, DUCKDB = ("harlequin", "--read-only"), ("duckdb", "-readonly")


def open_shell(workspace: Workspace) -> None:
    """Run the first shell that can be used on a copy of the registry; the copy is removed at its end.

    It stands in the workspace, where what a killed command leaves is swept away by the next one.
    """
    path, flag = _usable()
    program = Path(path).name
    copy = workspace.folder / f".shell-{secrets.token_hex(4)}.duckdb"
    try:
        workspace.copy_registry(copy)
        stderr.print(f"a copy of the registry as it is now, in {program}; it is removed at the end")
        ended = subprocess.run([path, flag, str(copy)], check=False, env=_environment())  # noqa: S603 - as found
    finally:
        remove(copy)
    if ended.returncode:
        problem = f"{program} ended with code {ended.returncode}"
        raise ToolkitError(problem, remedy="see what it says above; toolkit query --sql needs no shell")


def _usable() -> tuple[str, str]:
    """Return the path of a shell and what makes it read only; raise ToolkitError that says why there is none."""
    reasons = []
    for (name, flag), why_not in ((HARLEQUIN, _no_terminal), (DUCKDB, _too_old)):
        path = shutil.which(name)
        reason = f"{name} is not on the PATH" if path is None else why_not(path)
        if path and not reason:
            return path, flag
        reasons.append(reason)
    needed = f"pipx install harlequin, or install DuckDB {_major(duckdb.__version__)}"
    raise ToolkitError(
        f"no shell can be used: {'; '.join(reasons)}", remedy=f"{needed}; toolkit query --sql needs neither"
    )


def _no_terminal(_: str) -> str:
    return "" if sys.stdin.isatty() and sys.stdout.isatty() else "harlequin needs a terminal"


def _too_old(path: str) -> str:
    """Say so where a DuckDB cannot read the files of the one that the toolkit writes with."""
    said = subprocess.run([path, "--version"], check=False, capture_output=True, text=True).stdout  # noqa: S603 - as found
    if _major(said) >= _major(duckdb.__version__):
        return ""
    version = said.split(maxsplit=1)[0] if said.strip() else "of an unknown version"
    return f"duckdb {version} cannot read a registry of DuckDB {duckdb.__version__}"


def _major(version: str) -> int:
    found = VERSION.match(version.strip())
    return int(found[1]) if found else 0


def _environment() -> dict[str, str]:
    """Return the surroundings without keys: a shell's extensions have no need of them."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("LABELBOX_", "HF_"))}
