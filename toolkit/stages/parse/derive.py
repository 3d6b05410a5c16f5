"""The registry's label tables derived from the staging tables, as Parquet files, in bounded memory."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from toolkit.labelbox_json.staging_tables import TABLES as STAGED
from toolkit.labelbox_json.staging_tables import StagingWriter
from toolkit.manifest import Study
from toolkit.photographs.opening import file_name
from toolkit.privacy import PseudonymKey, normalise, scrub
from toolkit.progress import Progress
from toolkit.stages.parse import photographs
from toolkit.stages.parse.case_rules import CaseFinding, CaseReading, CaseRules, Issue, JudgedCase, PhotographHistory
from toolkit.workspace import sql
from toolkit.workspace.landed import Landed, noted_issues
from toolkit.workspace.registry import Workspace, scratch

MERGED = ("metadata", "labels", "objects", "answers", "relationships", "projects")
BESIDE = ("model_runs", "attachments", "embeddings", "unknown_keys")
HISTORY = ("label_history", "image_history")
JUDGED = {"case": JudgedCase, "reading": CaseReading, "finding": CaseFinding, "issue": Issue}
FOUND = {
    "cases": "case where until is null",
    "readings": "reading where until is null",
    "case_history": "case",
    "reading_history": "reading",
    "findings": "finding",
    "ingest_issues": "issue",
}
"""The tables made of what was judged."""
TABLES = (*MERGED, *BESIDE, *HISTORY, *FOUND, "exports", "conservation", "patients", "images", "label_states")
CONTENT = (*MERGED, "model_runs", "attachments", "embeddings", "images", "patients", "cases", "readings")
PROVENANCE = {"export_id", "first_export", "last_export", "deleted_by", "path"}
"""Columns that say where content came from; that a label is deleted is content, which export told it is not."""
PAGE = 2_000
"""Rows of a query held at once."""
MOST = 20_000
"""Photographs whose labels are gathered at once."""


class Derivation:
    """One pass from the staged Parquet of `folder` to one Parquet file per table, `table-derived.parquet`."""

    def __init__(self, folder: Path, study: Study, key: PseudonymKey, landed: list[Landed], progress: Progress) -> None:
        self.folder, self.study, self.key, self.landed, self.progress = folder, study, key, landed, progress
        self.database: duckdb.DuckDBPyConnection = scratch(folder, on_disk=True)
        named = study.ingest.annotator
        self.judge = CaseRules(study, key.pseudonym("a", normalise(named)) if named else None)

    def derive(self) -> dict[str, Path]:
        """Write every table and return its file."""
        self.merge()
        found = self.look()
        self.judge_all(found)
        for name in (*MERGED, *BESIDE, *HISTORY):
            columns = ", ".join(self.empty(name).column_names)
            self.write(name, f"select {columns} from merged_{name} order by all")  # noqa: S608 - names of our schema
        self.write_images(found)
        self.database.register("landed", pa.Table.from_pylist(self.sidecars()))
        for name in ("patients", "exports", "conservation"):
            self.write(name, sql.statement(f"parse/{name}").rstrip().rstrip(";"))
        for name in {*CONTENT, *FOUND}:
            self.view(f"derived_{name}", self.file(name))
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
        self.database.execute(sql.statement("parse/merge_lines"))
        self.database.execute(sql.statement("parse/merge_exports"))
        self.database.execute(sql.statement("parse/merge_beside"))

    def look(self) -> dict[str, photographs.PhotographLookup]:
        """Look for the photographs that any export was given with a folder."""
        roots = {landed.export_id: landed.images for landed in self.landed if landed.images}
        if not roots:
            return {}
        self.database.register("rooted", pa.table({"export_id": list(roots)}))
        wanted = [
            photographs.PhotographRequest(
                row["image_id"],
                roots[row["looked_in"]],
                (file_name(row["image_id"]), row["external_id"], row["global_key"], row["url_name"]),
                row["width"],
                row["height"],
            )
            for row in self.rows(sql.statement("parse/photographs").rstrip().rstrip(";"))
        ]
        return photographs.look(wanted, self.progress)

    def judge_all(self, found: dict[str, photographs.PhotographLookup]) -> None:
        """Judge every photograph in each of its states, and write the tables made of that."""
        with StagingWriter(self.folder, JUDGED, "judged") as writer:
            writer.add("issue", list(self.issues()))
            for number, photograph in enumerate(self.submitted(), start=1):
                for state in photograph.states:
                    judged = self.judge.judge(photograph, state, found.get(photograph.image_id))
                    writer.add("case", judged.cases)
                    writer.add("reading", judged.readings)
                    if state.until is None:
                        writer.add("finding", judged.findings)
                        writer.add("issue", judged.issues)
                if number % 500 == 0:
                    self.progress("finding cases", number, None)
        for name in JUDGED:
            self.view(f"judged_{name}", self.folder / f"{name}-judged.parquet")
        for name, source in FOUND.items():
            kind = JUDGED[source.partition(" ")[0]]
            columns = ", ".join(column for column in self.empty(name).column_names if column in kind.__struct_fields__)
            self.write(name, f"select {columns} from judged_{source}")  # noqa: S608 - names of our schema

    def submitted(self) -> Iterator[PhotographHistory]:
        """Yield the study's photographs in order of their IDs."""
        decode = msgspec.json.Decoder(PhotographHistory).decode
        after: str | None = ""
        while after is not None:
            given, after = {"after": after, "most": MOST}, None
            for text in self.texts(sql.statement("parse/submissions"), given):
                photograph = decode(text)
                after = photograph.image_id
                yield photograph

    def issues(self) -> Iterator[Issue]:
        """Yield the rows that were not stored with their reasons, and what is known of whole exports."""
        for row in self.rows(sql.statement("parse/quarantined")):
            detail = scrub(row.pop("detail"))
            yield Issue(**row, detail=detail)
        for landed in self.landed:
            for issue in noted_issues(landed):
                yield Issue(export_id=landed.export_id, **issue)

    def write_images(self, found: dict[str, photographs.PhotographLookup]) -> None:
        """Write the photographs with what was found of their files."""
        facts = []
        for item in found.values():
            probed = item.probe._asdict() if item.probe else {}
            facts.append({"image_id": item.image_id, "path": str(item.path) if item.path else None, **probed})
        texts = [(name, pa.string()) for name in ("image_id", "path", "sha256", "pixel_sha256")]
        schema = pa.schema([*texts, ("width", pa.int64()), ("height", pa.int64())])
        self.database.register("found", pa.Table.from_pylist(facts, schema=schema))
        self.write("images", sql.statement("parse/images").rstrip().rstrip(";"))

    def sidecars(self) -> list[dict[str, Any]]:
        """Return the landed exports as rows."""
        return [{"export_id": x.export_id, "source": scrub(x.source), "sha256": x.sha256} for x in self.landed]

    def label_state(self) -> dict[str, str]:
        """Name the state of the labels: policy, and a digest over every reading and every unread case."""
        policy, digest = self.study.ingest.policy, hashlib.sha256()
        for said in self.texts(sql.statement("parse/label_revision"), {"policy": policy}):
            digest.update(said.encode() + b"\n")
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
            for text in self.texts(f"select sha256({content}) as digest from derived_{table} order by digest"):  # noqa: S608 - names of our schema
                digest.update(text.encode() + b"\n")
        return digest.hexdigest()

    def empty(self, table: str) -> pa.Table:
        """Return a table of the schema without rows."""
        return self.database.sql(f"select * from target.{table} limit 0").to_arrow_table()  # noqa: S608

    def write(self, table: str, text: str) -> None:
        """Write a query's rows as a table's Parquet."""
        self.database.execute(f"copy ({text}) to {sql.quoted(str(self.file(table)))} (format parquet)")

    def view(self, name: str, file: Path) -> None:
        """Let a Parquet file be asked."""
        self.database.execute(f"create view {name} as select * from read_parquet({sql.quoted(str(file))})")  # noqa: S608

    def rows(self, text: str) -> Iterator[dict[str, Any]]:
        """Yield the rows of a query, a page at a time."""
        for page in self.database.sql(text).to_arrow_reader(PAGE):
            yield from page.to_pylist()

    def texts(self, text: str, given: dict[str, str | int] | None = None) -> Iterator[str]:
        """Yield the only column of a query, a page at a time."""
        for page in self.database.sql(text, params=given or {}).to_arrow_reader(PAGE):
            yield from page.column(0).to_pylist()


def register_tables(workspace: Workspace, files: dict[str, Path]) -> None:
    """Replace the registry's label side by these files, in one transaction."""
    with workspace.writing() as connection:
        for table, path in files.items():
            own = " where source = 'parse'" if table == "findings" else ""
            connection.execute(f"delete from {table}{own}")  # noqa: S608 - names of our own schema
            connection.execute(f"insert into {table} by name select * from read_parquet({sql.quoted(str(path))})")  # noqa: S608
