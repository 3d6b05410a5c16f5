"""The stages in a row on a small study, with the state before and after each, to disturb a command and run it again."""

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from faults import Commands, Done, Fault
from state import differences, state_of

TRACEBACK = "Traceback (most recent call last)"
COUNTED = ("ledgers/ledger.jsonl", "table evaluations")
"""What a scoring more changes."""
LINE = ("parse", "audit", "split", "train", "predict", "evaluate", "report")


@dataclasses.dataclass(frozen=True)
class Step:
    """A command, the workspace before it, and what an undisturbed run leaves."""

    name: str
    arguments: list[object]
    before: Path
    after: dict[str, Any]
    done: Done


class Line:
    """Commands on one workspace, `folder/w`: paths stand in the registry, so that it is always the same one."""

    def __init__(self, folder: Path, commands: Commands, study: Path) -> None:
        self.folder, self.commands = folder, commands
        self.workspace = folder / "w"
        self.where: list[object] = ["--quiet", "--study", study, "--workspace", self.workspace]

    def step(self, name: str, *arguments: object) -> Step:
        """Run a command undisturbed, and remember the workspace before and after it."""
        before = self.folder / "before" / name
        before.mkdir(parents=True)
        if self.workspace.exists():
            shutil.copytree(self.workspace, before, dirs_exist_ok=True, copy_function=shutil.copy2)
        done = self.run([name, *arguments])
        assert done.code == 0, done.stderr
        return Step(name, [name, *arguments], before, state_of(self.workspace), done)

    def run(self, arguments: list[object], fault: Fault | None = None) -> Done:
        """Run a command in the workspace as it is."""
        return self.commands.run([*self.where, *arguments], fault=fault)

    def disturbed(self, step: Step, fault: Fault) -> tuple[Done, list[str]]:
        """Disturb a command, run it again, and return how it ended, and what then differs or was left behind."""
        shutil.rmtree(self.workspace, ignore_errors=True)
        shutil.copytree(step.before, self.workspace, copy_function=shutil.copy2)
        if not any(self.workspace.iterdir()):
            self.workspace.rmdir()
        first = self.run(step.arguments, fault)
        counted = step.name == "evaluate" and not any(self.workspace.glob("runs/*/scoring.json"))
        again = self.run(step.arguments)
        wrong = [f"run again: {again.stderr}"] if again.code else []
        wrong += differences(step.after, state_of(self.workspace))
        if counted:  # the fault came when the scoring was complete, or had not begun: then the second is another one
            wrong = [name for name in wrong if name not in COUNTED or self.scorings(step.before) == self.scorings()]
        return first, [*wrong, *(path.name for path in self.workspace.rglob(".*"))]

    def scorings(self, workspace: Path | None = None) -> int:
        """Return how many lines the ledger has."""
        path = (workspace or self.workspace) / "ledgers" / "ledger.jsonl"
        return len(path.read_bytes().splitlines()) if path.exists() else 0


def faults_of(step: Step, kind: str, most: int) -> Iterator[Fault]:
    """Yield up to `most` faults, evenly spread over a command's operations."""
    count = step.done.operations
    for number in range(min(most, count)):
        yield Fault(kind, at=1 + round(number * (count - 1) / max(1, min(most, count) - 1)))


def clear(done: Done) -> bool:
    """Tell whether a command that failed said so in words, or went on without what failed."""
    return TRACEBACK not in done.stderr and (done.code in (0, 1)) and (done.code == 0 or "error: " in done.stderr)
