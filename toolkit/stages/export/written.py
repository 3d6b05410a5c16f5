"""What is asked of a format, and what it has written: cases, pictures, what was left out and why."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolkit.manifest import Study
from toolkit.progress import Progress, silent
from toolkit.workspace.registry import Workspace


@dataclass(frozen=True)
class Order:
    """What to write, and into which folder; a format uses of it what it needs."""

    workspace: Workspace
    study: Study
    folder: Path
    split: str = "latest"
    run: str = "latest"
    images: bool = False
    progress: Progress = silent


@dataclass(frozen=True)
class Written:
    """What a format has written; `left_out` says for each case that is not in it why."""

    cases: int
    pictures: int = 0
    left_out: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
