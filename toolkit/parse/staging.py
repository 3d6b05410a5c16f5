"""Knows the tables a read export is staged in, and writes them as Parquet, a few thousand rows at a time.

Refuses to know what is in a row: `rows` decodes, `sql/steps` merges.
"""

from collections import Counter
from pathlib import Path
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from toolkit.landing import Landed
from toolkit.lines import lines
from toolkit.manifest import Study
from toolkit.parse import records, rows
from toolkit.parse.shapes import Counts
from toolkit.privacy import Key
from toolkit.progress import Progress

BATCH = 5_000
"""Records held before they are written: what bounds memory."""

TEXT, WHOLE, REAL, YES, TIME = pa.string(), pa.int64(), pa.float64(), pa.bool_(), pa.timestamp("us")
LABEL = {"label_id": TEXT, "content_sha256": TEXT}
COUNTS = {f"n_{noun}": WHOLE for noun in Counts.__struct_fields__}
STAGED = {
    "lines": {
        **dict.fromkeys(("at_line", "byte_offset"), WHOLE),
        **dict.fromkeys(("reason", "detail", "image_id", "part", "facts_sha256", "content_sha256"), TEXT),
        "latest_at": TIME,
        **COUNTS,
    },
    "images": {
        **dict.fromkeys(("image_id", "global_key", "external_id", "url_name"), TEXT),
        **dict.fromkeys(("patient_id", "patient_fault", "spelling", "lesion_id"), TEXT),
        **dict.fromkeys(("width", "height"), WHOLE),
    },
    "metadata": dict.fromkeys(("image_id", "name", "kind", "value"), TEXT),
    "projects": {
        **dict.fromkeys(("image_id", "project_id", "project"), TEXT),
        "in_study": YES,
        **dict.fromkeys(("workflow_status", "batch", "tags"), TEXT),
    },
    "labels": {
        **LABEL,
        **dict.fromkeys(("image_id", "kind", "project_id", "project"), TEXT),
        "in_study": YES,
        "annotator": TEXT,
        **dict.fromkeys(("created_at", "updated_at"), TIME),
        "skipped": YES,
        "workflow_status": TEXT,
        **dict.fromkeys(("seconds_to_create", "seconds_to_review", "consensus_score", "benchmark_score"), REAL),
        "benchmark_reference": TEXT,
    },
    "objects": {
        **LABEL,
        "position": WHOLE,
        **dict.fromkeys(("object_id", "name", "value", "annotation_kind", "geometry"), TEXT),
        **dict.fromkeys(records.SIDES, REAL),
        "marks_case": YES,
        "class_name": TEXT,
    },
    "answers": {
        **LABEL,
        **dict.fromkeys(("position", "parent", "object_position"), WHOLE),
        **dict.fromkeys(("question", "question_value", "kind", "answer", "answer_value"), TEXT),
        **dict.fromkeys(("diagnosis", "certainty"), TEXT),
    },
    "relationships": {**LABEL, "position": WHOLE, **dict.fromkeys(("name", "source_id", "target_id"), TEXT)},
    "model_runs": dict.fromkeys(("image_id", "model_id", "model", "run_id", "run", "split"), TEXT),
    "attachments": {"image_id": TEXT, "position": WHOLE, **dict.fromkeys(("kind", "name", "value"), TEXT)},
    "embeddings": {
        "image_id": TEXT,
        "position": WHOLE,
        "embedding_id": TEXT,
        "name": TEXT,
        **dict.fromkeys(("dimensions", "vectors"), WHOLE),
    },
    "unknown_keys": {"key_path": TEXT},
}
# `line` is a row's place among the rows of its export, which staged tables are joined by; `at_line` and `byte_offset`
# say where it begins in the file.
SCHEMAS = {
    table: pa.schema([("export_id", TEXT), ("line", WHOLE), *columns.items()]) for table, columns in STAGED.items()
}

OF_ROWS = [name for name in STAGED["lines"] if hasattr(rows.Taken, name)]


class Batches:
    """Parquet files that records are added to, one per table; complete when the block ends."""

    def __init__(self, folder: Path, schemas: dict[str, pa.Schema], *, name: str) -> None:
        self.schemas = schemas
        self.waiting: dict[str, list[records.Record]] = {table: [] for table in schemas}
        self.writers = {
            table: pq.ParquetWriter(folder / f"{table}-{name}.parquet", schema) for table, schema in schemas.items()
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for table, writer in self.writers.items():
            self.flush(table)
            writer.close()

    def add(self, table: str, added: list[records.Record]) -> None:
        """Add records; a column that one lacks is NULL."""
        self.waiting[table] += added
        if len(self.waiting[table]) >= BATCH:
            self.flush(table)

    def flush(self, table: str) -> None:
        """Write what waits for one table."""
        if self.waiting[table]:
            self.writers[table].write_table(pa.Table.from_pylist(self.waiting[table], schema=self.schemas[table]))
            self.waiting[table] = []


def stage_export(landed: Landed, folder: Path, *, study: Study, key: Key, progress: Progress) -> Counter[str | None]:
    """Read a landed export into staged Parquet; return why rows could not be taken, with None for those that could."""
    outcomes: Counter[str | None] = Counter()
    with Batches(folder, SCHEMAS, name=landed.export_id) as batches:
        for number, line in enumerate(lines(landed, longest=study.ingest.longest_row), start=1):
            taken = rows.take(line, study=study, key=key)
            outcomes[taken.reason] += 1
            place = {"export_id": landed.export_id, "line": line.row}
            batches.add("lines", [{**place, **_line(taken)}])
            for table, held in taken.records.items():
                batches.add(table, [{**place, **record} for record in held])
            if number % 500 == 0:
                progress(f"reading {landed.source}", number, None)
    return outcomes


def _line(taken: rows.Taken) -> records.Record:
    place = {"at_line": taken.line.number, "byte_offset": taken.line.offset}
    counts = {f"n_{noun}": getattr(taken.counts, noun) for noun in taken.counts.__struct_fields__}
    return {**place, **counts, **{name: getattr(taken, name) for name in OF_ROWS}}
