"""A landed export read row by row into the staging tables."""

from collections import Counter
from pathlib import Path

import pyarrow as pa

from toolkit.labelbox_json.reader import raw_rows
from toolkit.labelbox_json.rows import RowReader
from toolkit.labelbox_json.staging_tables import StagingTables
from toolkit.manifest import Study
from toolkit.privacy import PseudonymKey
from toolkit.progress import Progress
from toolkit.workspace.landed import Landed


def stage_export(
    landed: Landed, folder: Path, *, study: Study, key: PseudonymKey, progress: Progress
) -> Counter[str | None]:
    """Read a landed export into its staging tables; return the reasons of quarantined rows, None for the others."""
    outcomes: Counter[str | None] = Counter()
    reader = RowReader(study, key)
    with StagingTables(folder, landed.export_id) as staging:
        for number, line in enumerate(raw_rows(landed.path, longest=study.ingest.longest_row), start=1):
            row = reader.read(line)
            outcomes[row.reason] += 1
            staging.stage(line.row, "lines", [row.staged()])
            for table, records in row.records.items():
                staging.stage(line.row, table, records)
            if number % 500 == 0:
                progress(f"reading {landed.source}", number, None)
    pa.default_memory_pool().release_unused()
    return outcomes
