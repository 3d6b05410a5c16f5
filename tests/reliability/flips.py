"""One byte of a workspace's file flipped: which command reads it next, and whether it notices."""

import hashlib
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from toolkit.errors import ToolkitError
from toolkit.files import check_sums, read_parquet
from toolkit.manifest import Study
from toolkit.models.features import read_features
from toolkit.photographs.crops import Crops, CropSource
from toolkit.stages.parse.staged import kept_outcomes
from toolkit.stages.predict import predict
from toolkit.stages.pull.photographs import Store
from toolkit.stages.report.index_page import write_index
from toolkit.stages.status import status
from toolkit.stages.train import plan_training, train
from toolkit.study_file import StudyFile, open_study
from toolkit.workspace import ledger
from toolkit.workspace.landed import check_bytes, landed_exports, noted_issues
from toolkit.workspace.registry import Workspace, table_names
from toolkit.workspace.restore import restore
from toolkit.workspace.verification import verify
from toolkit.workspace.withdrawn import read_withdrawn

ADDRESS = "https://photographs.example"
"""Where the photographs of the workspace came from, with their name behind it."""


class Kind(NamedTuple):
    """Files that the same commands read: how they are called, where they are, and those commands."""

    name: str
    pattern: str
    use: Callable[["Flips", Path], Any]
    """Does what the commands do that read such a file first; returns what they made of it."""


class Flips:
    """A finished workspace, and for each kind of its files what became of the flips."""

    def __init__(self, workspace: Workspace, study_file: StudyFile, studies: dict[str, Study] | None = None) -> None:
        self.workspace, self.study_file = workspace, study_file
        self.studies = studies or {}
        """By run: the study it was trained with, where it is another one."""
        self.outcomes: dict[Path, Any] = {}
        """What kept exports' rows came to when they were first read."""
        self.features: dict[Path, Any] = {}
        """Cached features when they were first read."""
        self.outcomes: dict[str, Counter[str]] = {}
        photographs = workspace.rows("select image_id, path, sha256 from images where sha256 is not null")
        self.photographs = {Path(row["path"]).resolve(): row for row in photographs}

    def files(self, kind: Kind) -> list[Path]:
        """Return the files of a kind that no kind before it has."""
        before = {path for other in KINDS[: KINDS.index(kind)] for path in self.workspace.folder.glob(other.pattern)}
        return sorted(
            path for path in self.workspace.folder.glob(kind.pattern) if path.is_file() and path not in before
        )

    def flip(self, kind: Kind, path: Path, *, times: int, seed: int = 0) -> list[str]:
        """Flip one byte at a time and use the file; return what went wrong: what was not noticed, or not named."""
        rng, good = random.Random(f"{seed} {path.name}"), path.read_bytes()
        expected, wrong = kind.use(self, path), []
        assert good == path.read_bytes(), f"using {path} changes it"
        for place in [rng.randrange(len(good)) for _ in range(times)]:
            with flipped(path, good, place, rng.randrange(1, 256)):
                try:
                    used = kind.use(self, path)
                    outcome = "without effect" if used == expected else "UNSEEN"
                except ToolkitError as error:
                    outcome = "noticed" if self.names(path, str(error)) else "NOT NAMED"
                    used = error
            self.outcomes.setdefault(kind.name, Counter())[outcome] += 1
            if outcome not in ("noticed", "without effect"):
                wrong.append(f"{path.relative_to(self.workspace.folder)} at {place}: {outcome}: {str(used)[:300]}")
        return wrong

    def names(self, path: Path, message: str) -> bool:
        """Tell whether a message names a file; a photograph by its ID, since its name may hold a patient's."""
        photograph = self.photographs.get(path.resolve())
        return path.name in message or (photograph is not None and photograph["image_id"] in message)

    def table(self) -> str:
        """Return what became of the flips, by kind of file, in Markdown."""
        lines = ["| file | flips | noticed and named | without effect |", "| --- | ---: | ---: | ---: |"]
        for name, counts in self.outcomes.items():
            lines.append(f"| {name} | {counts.total()} | {counts['noticed']} | {counts['without effect']} |")
        return "\n".join(lines)


@contextmanager
def flipped(path: Path, good: bytes, place: int, by: int) -> Iterator[None]:
    """Change one byte of a file for the block, in place."""
    with path.open("r+b") as file:
        file.seek(place)
        file.write(bytes([good[place] ^ by]))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # a command may have replaced it
        path.write_bytes(good)
        path.chmod(0o600)


def _registry(flips: Flips, _: Path) -> str:
    return _contents(flips.workspace)


def _contents(workspace: Workspace) -> str:
    digest = hashlib.sha256()
    with workspace.reading() as connection:
        for name in [*table_names(), "truth", "scored", "misclassified", "schema_history"]:
            digest.update(repr(connection.execute(f'from "{name}" order by all').fetchall()).encode())
    return digest.hexdigest()


def _status(flips: Flips, _: Path) -> str:
    return repr((status(flips.workspace), open_study(flips.workspace, None).path))


def _landed(flips: Flips, _: Path) -> str:
    """Do what parse does before it reads a row; more than one export would be read in full."""
    exports = landed_exports(flips.workspace)
    for landed in exports:
        check_bytes(landed)
    return repr([(landed.source, landed.images, landed.pull, noted_issues(landed)) for landed in exports])


def _ledger(flips: Flips, _: Path) -> str:
    return repr(ledger.entries(flips.workspace))


def _withdrawn(flips: Flips, _: Path) -> str:
    return repr(read_withdrawn(flips.workspace))


def _restored(flips: Flips, _: Path) -> str:
    """Read splits, runs, predictions, scores, comparisons and audit as rebuild does, into an empty registry."""
    with tempfile.TemporaryDirectory() as folder:
        new = Workspace(Path(folder))
        with new.writing() as connection:
            restore(connection, flips.workspace)
        return _contents(new)


def _verified(flips: Flips, path: Path) -> str:
    verify(path.parent)
    return _restored(flips, path)


def _trained(flips: Flips, path: Path) -> bytes:
    """Ask for a training that is there: its losses are written from its record where they differ."""
    study = flips.studies.get(path.parent.name, flips.study_file.study)
    train(flips.workspace, study, study_folder=flips.study_file.folder)
    return path.read_bytes()


def _planned(flips: Flips, _: Path) -> str:
    plan = plan_training(flips.workspace, flips.study_file.study, study_folder=flips.study_file.folder, device="cpu")
    return repr(plan.modes)


def _predicted(flips: Flips, path: Path) -> str:
    """Predict anew with a run's checkpoint."""
    run = path.relative_to(flips.workspace.folder / "runs").parts[0]
    folder = flips.workspace.run(run) / "predictions"
    kept = {file: file.read_bytes() for file in folder.glob("*.parquet")}
    try:
        for file in kept:
            file.unlink()
        predict(flips.workspace, flips.study_file.study, run=run, device="cpu")
        return repr([file.read_bytes() for file in sorted(folder.glob("*.parquet"))])
    finally:
        for file, content in kept.items():
            file.write_bytes(content)


def _features(flips: Flips, path: Path) -> str:
    """Read cached features: those that were written, or None, and then they are computed again."""
    features = read_features(path)
    if features is None:
        return "as they were, or computed again"
    first = flips.features.setdefault(path, features)
    return "as they were, or computed again" if first.equal(features) else "others"


def _plain(_: Flips, path: Path) -> str:
    """Read what an audit has measured of cases, as the next one does."""
    return repr(read_parquet(path).to_pylist())


def _staged(flips: Flips, path: Path) -> str:
    """Take an export that was read before: what was kept as it was written, or None, and then it is read again."""
    outcomes = kept_outcomes(path.parent)
    first = flips.outcomes.setdefault(path.parent, outcomes)
    return "as it was, or read again" if outcomes in (None, first) else "others"


def _photograph(flips: Flips, path: Path) -> str:
    photograph = flips.photographs.get(path.resolve())
    if photograph is None:
        return "parse could not open it"
    source = CropSource(photograph["image_id"], path, None, photograph["sha256"])
    return hashlib.sha256(Crops([source], margin=0.1, size=64)[0].tobytes()).hexdigest()


def _index(flips: Flips, path: Path) -> str:
    """Ask for every file of an index as pull does: a file is fetched before, rightly, or it is fetched again."""
    store = Store(path.parent)
    digests = {file.name: photograph["sha256"] for file, photograph in flips.photographs.items()}
    believed = {name: record for name in digests if (record := store.has(name, f"{ADDRESS}/{name}"))}
    wrong = [name for name, record in believed.items() if record["sha256"] != digests[name]]
    return f"wrong files that are believed: {wrong}"


def _page(_: Flips, path: Path) -> str:
    """Check the folder of a page as `toolkit claims` does."""
    folder = next(each for each in path.parents if each.parent.name == "reports")
    check_sums(folder, remedy="make the report again")
    return "unchanged"


def _pages(flips: Flips, path: Path) -> bytes:
    """Write the index of the pages again, as every report does; no command reads it."""
    write_index(flips.workspace, flips.study_file.study)
    return path.read_bytes()


KINDS = (
    Kind("registry.duckdb", "registry.duckdb", _registry),
    Kind("workspace.json", "workspace.json", _status),
    Kind("withdrawn.json", "withdrawn.json", _withdrawn),
    Kind("exports/, landed", "exports/*.ndjson*", _landed),
    Kind("exports/, sidecar", "exports/*.json", _landed),
    Kind("exports/, issues of a pull", "exports/*.issues.jsonl", _landed),
    Kind("ledgers/ledger.jsonl", "ledgers/ledger.jsonl", _ledger),
    Kind("audit/*.parquet", "audit/*.parquet", _restored),
    Kind("splits/", "splits/*/*", _verified),
    Kind("models/ (tiny)", "models/**/*", _planned),
    Kind("runs/*/checkpoint/", "runs/*/checkpoint/**/*", _predicted),
    Kind("runs/*/predictions/", "runs/*/predictions/*", _restored),
    Kind("runs/*/loss.csv", "runs/*/loss.csv", _trained),
    Kind("runs/*/as_of/", "runs/*/as_of/*", _restored),
    Kind("runs/*/, other", "runs/*/*", _restored),
    Kind("queues/", "queues/*.json", _restored),
    Kind("features/plain/", "features/plain/*", _plain),
    Kind("features/", "features/**/*.safetensors", _features),
    Kind("staged/", "staged/*/*", _staged),
    Kind("photographs/index.jsonl", "photographs/index.jsonl", _index),
    Kind("photographs/", "photographs/*", _photograph),
    Kind("reports/*/", "reports/*/**/*", _page),
    Kind("reports/index.html", "reports/index.html", _pages),
)
