"""Exports once read, kept as Parquet below `staged/`: a second export costs the reading of its own rows only.

A folder is named by what its content follows from: the export, the part of the study that reading depends on, the key's
fingerprint and the code that reads. What is not as it was written is read again from the landed export.
"""

import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.metadata import version
from pathlib import Path

import pyarrow as pa

from toolkit.errors import DamagedError
from toolkit.files import private_writing, read_sealed, sha256_of, sha256_of_file, write_sealed
from toolkit.labelbox_json.reader import RawRow, raw_rows
from toolkit.labelbox_json.rows import RowReader
from toolkit.labelbox_json.staging_tables import StagingTables
from toolkit.manifest import Study
from toolkit.privacy import PseudonymKey
from toolkit.progress import Progress
from toolkit.workers import spread
from toolkit.workspace.landed import Landed
from toolkit.workspace.registry import Workspace

RECORD = "staged.json"
CODE = ("labelbox_json", "manifest/base.py", "manifest/__init__.py", "photographs/masks.py", "privacy.py")
"""The code that what is read depends on."""
MOST_ROWS = 5_000
MOST_BYTES = 16 * 1024 * 1024
"""Rows of an export, and bytes of them, that are read at once: what bounds memory."""


@dataclass(frozen=True)
class Staged:
    """An export's staging tables in a folder, and the reasons of quarantined rows, None for the others."""

    landed: Landed
    folder: Path
    outcomes: Counter[str | None]


class StagedExports:
    """The staging tables of a workspace's exports for one study and key; `folder` takes those that are new.

    With `anew` nothing that was kept is believed.
    """

    def __init__(self, workspace: Workspace, folder: Path, study: Study, key: PseudonymKey, *, anew: bool) -> None:
        self.kept, self.new, self.study, self.key, self.anew = workspace.staged, folder, study, key, anew

    def of(self, landed: Landed, progress: Progress) -> Staged:
        """Return an export's staging tables: those that were kept, if they are as they were written, or read now."""
        name = self.name_of(landed)
        if not self.anew and (outcomes := kept_outcomes(self.kept / name)) is not None:
            return Staged(landed, self.kept / name, outcomes)
        folder = self.new / name
        with private_writing():
            folder.mkdir()
            outcomes = stage_export(landed, folder, study=self.study, key=self.key, progress=progress)
            digests = {file.name: sha256_of_file(file) for file in sorted(folder.iterdir())}
            counts = [[reason, times] for reason, times in outcomes.items()]
            write_sealed(folder / RECORD, {"files": digests, "outcomes": counts})
        return Staged(landed, folder, outcomes)

    def keep(self, staged: list[Staged]) -> None:
        """Keep these tables, once the registry has them, and no others."""
        names = {each.folder.name for each in staged}
        for old in self.kept.iterdir() if self.kept.is_dir() else ():
            if old.name not in names:
                shutil.rmtree(old)
        for each in staged:
            if each.folder.parent == self.new:
                with private_writing():
                    self.kept.mkdir(exist_ok=True)
                shutil.rmtree(self.kept / each.folder.name, ignore_errors=True)
                each.folder.rename(self.kept / each.folder.name)

    def name_of(self, landed: Landed) -> str:
        """Return the name of an export's folder."""
        ingest = self.study.ingest.model_dump(mode="json", include={"longest_row", "same_patient"})
        sections = self.study.model_dump(mode="json", include={"labelbox", "classes"})
        determined = [landed.sha256, sections, ingest, self.key.fingerprint, version("lesion-toolkit"), _code_digest()]
        return sha256_of({"of": determined})[:16]


@lru_cache(maxsize=1)
def _code_digest() -> str:
    package = Path(__file__).parents[2]
    files = sorted(
        file for name in CODE for file in ((package / name).glob("*.py") if "." not in name else [package / name])
    )
    return sha256_of({str(file.relative_to(package)): sha256_of_file(file) for file in files})


def kept_outcomes(folder: Path) -> Counter[str | None] | None:
    """Return what the rows of a kept export came to; None where nothing is kept, or not as it was written."""
    try:
        record = read_sealed(folder / RECORD)
        there = {file.name: sha256_of_file(file) for file in folder.iterdir() if file.name != RECORD}
        return Counter(dict(map(tuple, record["outcomes"]))) if there == record["files"] else None
    except (DamagedError, OSError, KeyError, TypeError, ValueError):
        return None


def stage_export(
    landed: Landed, folder: Path, *, study: Study, key: PseudonymKey, progress: Progress
) -> Counter[str | None]:
    """Read a landed export into its staging tables; return the reasons of quarantined rows, None for the others."""
    outcomes: Counter[str | None] = Counter()
    batches = enumerate(_batches(raw_rows(landed.path, longest=study.ingest.longest_row)))
    for read in spread(partial(_Staging, landed.export_id, folder, study, key), batches):
        outcomes += read
        progress(f"reading {landed.source}", outcomes.total(), None)
    return outcomes


class _Staging:
    """Reads batches of an export's rows, each into staging tables of its own."""

    def __init__(self, export_id: str, folder: Path, study: Study, key: PseudonymKey) -> None:
        self.export_id, self.folder, self.reader = export_id, folder, RowReader(study, key)

    def __call__(self, batch: tuple[int, list[RawRow]]) -> Counter[str | None]:
        number, rows = batch
        outcomes: Counter[str | None] = Counter()
        with StagingTables(self.folder, self.export_id, number) as staging:
            for each in rows:
                row = self.reader.read(each)
                outcomes[row.reason] += 1
                staging.stage(each.row, "lines", [row.staged()])
                for table, records in row.records.items():
                    staging.stage(each.row, table, records)
        pa.default_memory_pool().release_unused()
        return outcomes


def _batches(rows: Iterator[RawRow]) -> Iterator[list[RawRow]]:
    """Yield rows in batches that are small in memory; the last may be empty: an export without rows has its tables."""
    batch: list[RawRow] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += len(row.content or b"")
        if len(batch) == MOST_ROWS or size > MOST_BYTES:
            yield batch
            batch, size = [], 0
    yield batch
