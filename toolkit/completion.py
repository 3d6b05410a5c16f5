"""What a shell completes beyond commands and options: runs, splits, queues and questions, read from names of files.

The generated scripts ask `toolkit __complete`; whatever goes wrong here, the shell offers nothing.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LATEST = "latest"


def folder() -> Path:
    """Return the workspace that the command line means, as far as it is typed."""
    words = sys.argv[1:]
    for place, word in enumerate(words[:-1]):
        if word == "--workspace":
            return Path(words[place + 1])
        if word.startswith("--workspace="):
            return Path(word.partition("=")[2])
    return Path(os.environ.get("TOOLKIT_WORKSPACE") or "workspace")


def runs(_: Any = None) -> list[str]:
    """Return the runs of the workspace."""
    return [LATEST, *_names("runs/*/run.json", of_folder=True)]


def splits(_: Any = None) -> list[str]:
    """Return the splits of the workspace."""
    return [LATEST, *_names("splits/*/certificate.json", of_folder=True)]


def queues(_: Any = None) -> list[str]:
    """Return the review queues of the workspace."""
    return [LATEST, *_names("queues/*.json")]


def questions(_: Any = None) -> list[str]:
    """Return the names of the questions, the workspace's own too."""
    from toolkit.shipped import shipped  # noqa: PLC0415 - every command imports this module

    own = folder() / "queries"
    return sorted({path.stem for path in [*(shipped("sql") / "queries").glob("*.sql"), *own.glob("[!.]*.sql")]})


def parameters(context: Any) -> list[str]:
    """Return what --set may be given for the question on the command line: `part=test`, `run=latest`, …."""
    from toolkit.workspace import sql  # noqa: PLC0415 - as above

    asked = sql.questions(folder() / "queries").get(str(context["name"].value or ""))
    return [text for each in asked.parameters for text in _values(each)] if asked else []


def _values(parameter: Any) -> Iterator[str]:
    by_table = {"run_names": runs, "splits": splits, "queues": queues}
    listed = []
    for known in parameter.among:
        table, _, column = known.partition(".")
        listed.append((by_table[table]() if table in by_table else []) if column else [known])
    values = [value for some in listed for value in some] or [parameter.default or ""]
    return (f"{parameter.name}={value}" for value in dict.fromkeys(values))


def _names(pattern: str, *, of_folder: bool = False) -> list[str]:
    found = sorted(folder().glob(pattern), key=lambda path: path.stat().st_mtime, reverse=True)
    return [path.parent.name if of_folder else path.stem for path in found]
