"""Knows how a landed export is read, row by row, into the staged tables.

Refuses to know what is in a row: `rows` decodes, `sql/steps` merges.
"""

from collections import Counter
from pathlib import Path

import pyarrow as pa

from toolkit.landing import Landed
from toolkit.lines import lines
from toolkit.manifest import Study
from toolkit.parse.rows import Reader
from toolkit.parse.staged import Staging
from toolkit.privacy import Key
from toolkit.progress import Progress


def stage_export(landed: Landed, folder: Path, *, study: Study, key: Key, progress: Progress) -> Counter[str | None]:
    """Read a landed export into staged Parquet; return why rows could not be taken, with None for those that could."""
    outcomes: Counter[str | None] = Counter()
    reader = Reader(study, key)
    with Staging(folder, landed.export_id) as staging:
        for number, line in enumerate(lines(landed, longest=study.ingest.longest_row), start=1):
            taken = reader.take(line)
            outcomes[taken.reason] += 1
            staging.stage(line.row, "lines", [taken.staged()])
            for table, held in taken.records.items():
                staging.stage(line.row, table, held)
            if number % 500 == 0:
                progress(f"reading {landed.source}", number, None)
    pa.default_memory_pool().release_unused()
    return outcomes
