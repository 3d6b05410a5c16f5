"""Knows how staged exports become the tables of the registry's label side, as Parquet, in memory that does not grow.

Refuses to touch the registry: its tables are replaced in one short transaction, by the caller.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from toolkit import sql
from toolkit.images import file_name
from toolkit.landing import Landed, noted_issues
from toolkit.manifest import Study
from toolkit.parse import photographs
from toolkit.parse.judging import Judge
from toolkit.parse.staging import STAGED, Batches
from toolkit.privacy import Key, normalise, scrub
from toolkit.progress import Progress
from toolkit.registry import Workspace, scratch

MERGED = ("metadata", "labels", "objects", "answers", "relationships", "projects")
BESIDE = ("model_runs", "attachments", "embeddings", "unknown_keys")
HISTORY = ("label_history", "image_history")
FOUND = ("cases", "readings", "case_history", "reading_history", "findings", "ingest_issues")
TABLES = (*MERGED, *BESIDE, *HISTORY, *FOUND, "exports", "conservation", "patients", "images", "label_states")
CONTENT = (*MERGED, "model_runs", "attachments", "embeddings", "images", "patients", "cases", "readings")
PROVENANCE = {"export_id", "first_export", "last_export", "deleted_by", "path"}
"""Columns that say where content came from; that a label is deleted is content, which export told it is not."""
PAGE = 2_000
"""Photographs held at once while their cases are found."""


class Derivation:
    """One pass from the staged Parquet of `folder` to one Parquet file per table, `table-derived.parquet`."""

    def __init__(self, folder: Path, study: Study, key: Key, landed: list[Landed], progress: Progress) -> None:
        self.folder, self.study, self.key, self.landed, self.progress = folder, study, key, landed, progress
        self.database: duckdb.DuckDBPyConnection = scratch(folder, on_disk=True)
        named = study.ingest.annotator
        self.judge = Judge(study, key.pseudonym("a", normalise(named)) if named else None)
        self.batches = Batches(folder, {}, name="")

    def derive(self) -> dict[str, Path]:
        """Write every table and return its file."""
        self.merge()
        found = self.look()
        schemas = {name: self.empty(name).schema for name in FOUND}
        with Batches(self.folder, schemas, name="derived") as self.batches:
            self.batches.add("ingest_issues", list(self.quarantined()))
            for landed in self.landed:
                noted = [{"export_id": landed.export_id, "line": None, **issue} for issue in noted_issues(landed)]
                self.batches.add("ingest_issues", noted)
            for number, row in enumerate(self.rows(sql.step("submissions")), start=1):
                self.photograph(row, found.get(row["image_id"]))
                if number % 500 == 0:
                    self.progress("finding cases", number, None)
        for name in (*MERGED, *BESIDE, *HISTORY):
            columns = ", ".join(self.empty(name).column_names)
            self.write(name, f"select {columns} from merged_{name} order by all")  # noqa: S608 - names of our schema
        self.write_images(found)
        self.database.register("landed", pa.Table.from_pylist(self.sidecars()))
        for name in ("patients", "exports", "conservation"):
            self.write(name, sql.step({"conservation": "conserve"}.get(name, name)).rstrip().rstrip(";"))
        for name in {*CONTENT, *FOUND}:
            file = sql.quoted(str(self.file(name)))
            self.database.execute(f"create view derived_{name} as select * from read_parquet({file})")  # noqa: S608
        pq.write_table(pa.Table.from_pylist([self.label_state()]), self.file("label_states"))
        self.database.close()
        return {name: self.file(name) for name in TABLES}

    def file(self, table: str) -> Path:
        """Return where a table's Parquet goes."""
        return self.folder / f"{table}-derived.parquet"

    def merge(self) -> None:
        """Load what was staged, settle repeated and contradicting rows, and merge the exports."""
        for table in STAGED:
            files = sql.quoted(str(self.folder / f"{table}-*.parquet"))
            self.database.execute(f"create table {table} as select * from read_parquet({files})")  # noqa: S608
        self.database.execute("create schema target; set schema = 'target'")
        self.database.execute(sql.folder("schema")[0].read_text(encoding="utf-8"))
        self.database.execute("set schema = 'main'")
        self.database.execute(sql.step("merge_lines"))
        self.database.execute(sql.step("merge_exports"))
        self.database.execute(sql.step("merge_beside"))

    def look(self) -> dict[str, photographs.Found]:
        """Look for the photographs that any export was given with a folder."""
        roots = {landed.export_id: landed.images for landed in self.landed if landed.images}
        if not roots:
            return {}
        self.database.register("rooted", pa.table({"export_id": list(roots)}))
        wanted = [
            photographs.Wanted(
                row["image_id"],
                roots[row["looked_in"]],
                (file_name(row["image_id"]), row["external_id"], row["global_key"], row["url_name"]),
                row["width"],
                row["height"],
            )
            for row in self.rows(sql.step("photographs").rstrip().rstrip(";"))
        ]
        return photographs.look(wanted, self.progress)

    def photograph(self, row: dict[str, Any], found: photographs.Found | None) -> None:
        """Add what holds of one photograph, and what held of it at earlier moments."""
        place = {"export_id": row["export_id"], "line": None, "image_id": row["image_id"]}
        for state in row["states"]:
            judged = self.judge.judge(row, state, found)
            span = {"since": state["since"], "until": state["until"]}
            self.batches.add("case_history", [{**case, **span} for case in judged.cases])
            self.batches.add("reading_history", [{**reading, **span} for reading in judged.readings])
            if state["until"] is None:
                self.batches.add("cases", judged.cases)
                self.batches.add("readings", judged.readings)
                self.batches.add("findings", judged.findings)
                self.batches.add("ingest_issues", [{**place, **issue} for issue in judged.issues])

    def quarantined(self) -> Iterator[dict[str, Any]]:
        """Yield the rows that were not stored, with their reasons."""
        text = (
            "select export_id, at_line as line, byte_offset, 'row' as level, reason, detail, image_id from line_status"
        )
        for row in self.rows(f"{text} where status = 'quarantined' order by export_id, byte_offset"):
            yield {**row, "detail": scrub(row["detail"])}

    def write_images(self, found: dict[str, photographs.Found]) -> None:
        """Write the photographs with what was found of their files."""
        facts = []
        for item in found.values():
            probed = item.probe._asdict() if item.probe else {}
            facts.append({"image_id": item.image_id, "path": str(item.path) if item.path else None, **probed})
        texts = [(name, pa.string()) for name in ("image_id", "path", "sha256", "pixel_sha256")]
        schema = pa.schema([*texts, ("width", pa.int64()), ("height", pa.int64())])
        self.database.register("found", pa.Table.from_pylist(facts, schema=schema))
        self.write("images", sql.step("images").rstrip().rstrip(";"))

    def sidecars(self) -> list[dict[str, Any]]:
        """Return the landed exports as rows."""
        return [{"export_id": x.export_id, "source": scrub(x.source), "sha256": x.sha256} for x in self.landed]

    def label_state(self) -> dict[str, str]:
        """Name the state of the labels: policy, and a digest over every reading and every unread case."""
        policy, digest = self.study.ingest.policy, hashlib.sha256()
        for row in self.rows(sql.step("label_revision")):
            *said, counts, benchmark = row.values()
            marks = ["uncounted"] * (not counts) + ["benchmark"] * (benchmark and policy == "benchmark")
            digest.update("\0".join(map(str, [*said, *marks])).encode() + b"\n")
        return {
            "truth_id": f"{policy}-{digest.hexdigest()[:8]}",
            "policy": policy,
            "patient_from": self.study.labelbox.patient_from,
            "label_revision": digest.hexdigest()[:8],
            "key_fingerprint": self.key.fingerprint,
            "study": self.study.study.name,
            "content_hash": self.content_hash(),
        }

    def content_hash(self) -> str:
        """Digest what the registry holds, whatever exports it came from: the same content, the same hash."""
        digest = hashlib.sha256()
        for table in CONTENT:
            columns = [name for name in self.empty(table).column_names if name not in PROVENANCE]
            columns += ["deleted_by is not null"] if table == "labels" else []
            content = f"row({', '.join(columns)})::text"
            digest.update(f"{table}: {content}\n".encode())
            for row in self.rows(f"select sha256({content}) as digest from derived_{table} order by digest"):  # noqa: S608 - names of our schema
                digest.update(row["digest"].encode() + b"\n")
        return digest.hexdigest()

    def empty(self, table: str) -> pa.Table:
        """Return a table of the schema without rows."""
        return self.database.sql(f"select * from target.{table} limit 0").to_arrow_table()  # noqa: S608

    def write(self, table: str, text: str) -> None:
        """Write a query's rows as a table's Parquet."""
        self.database.execute(f"copy ({text}) to {sql.quoted(str(self.file(table)))} (format parquet)")

    def rows(self, text: str) -> Iterator[dict[str, Any]]:
        """Yield the rows of a query, a page at a time."""
        for page in self.database.sql(text).to_arrow_reader(PAGE):
            yield from page.to_pylist()


def register_tables(workspace: Workspace, files: dict[str, Path]) -> None:
    """Replace the registry's label side by these files, in one transaction."""
    with workspace.writing() as connection:
        for table, path in files.items():
            own = " where source = 'parse'" if table == "findings" else ""
            connection.execute(f"delete from {table}{own}")  # noqa: S608 - names of our own schema
            connection.execute(f"insert into {table} by name select * from read_parquet({sql.quoted(str(path))})")  # noqa: S608
