"""The registry's label tables derived from the staging tables, as Parquet files, in bounded memory."""

import hashlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from toolkit.errors import DamagedError
from toolkit.formatting import counted
from toolkit.labelbox_json.staging_tables import TABLES as STAGED
from toolkit.labelbox_json.staging_tables import StagingWriter
from toolkit.labelbox_json.version_rows import version_rows
from toolkit.manifest import Study
from toolkit.photographs.names import PhotographNames
from toolkit.photographs.opening import file_name
from toolkit.privacy import PseudonymKey, normalise, printable, scrub, spans
from toolkit.progress import Progress
from toolkit.stages.parse import photographs
from toolkit.stages.parse.case_rules import CaseFinding, CaseReading, CaseRecord, CaseRules, Issue, PhotographHistory
from toolkit.stages.parse.masks import LinkedMask, extents_table, read_masks
from toolkit.stages.parse.staged import Staged
from toolkit.workspace import attached, label_versions, reviews, sql
from toolkit.workspace.landed import noted_issues
from toolkit.workspace.moments import label_revision
from toolkit.workspace.registry import Workspace, scratch, table_schema
from toolkit.workspace.restore import restore

OF_LABELS = ("objects", "answers", "relationships")
MERGED = ("labels", *OF_LABELS, "projects")
HISTORY = ("label_history", "image_history", "unknown_keys", "reviews", "workflow")
BESIDE = ("model_runs", "attachments", "embeddings")
RECORDS = {"case": CaseRecord, "reading": CaseReading, "finding": CaseFinding, "issue": Issue}
FROM_RULES = {
    "cases": "case where until is null",
    "readings": "reading where until is null",
    "case_history": "case",
    "reading_history": "reading",
    "ingest_issues": "issue",
}
"""The tables made of what the study's rules say of each photograph: which records, and which of these."""
STATEMENTS = ("images", "patients", "exports", "conservation", "attached")
TABLES = (
    *("metadata", *MERGED, *BESIDE, *HISTORY, *FROM_RULES, *STATEMENTS),
    *("findings", "label_versions", "verdicts", "label_states", "classes"),
)
CONTENT = ("metadata", *MERGED, *BESIDE, "images", "patients", "cases", "readings")
PROVENANCE = {"export_id", "first_export", "last_export", "deleted_by", "path"}
"""Columns that say where content came from; that a label is deleted is content, which export showed it is not."""
OF_VERDICTS = {
    "labels": "labels_of_verdicts",
    "answers": "answers_of_verdicts",
    "label_history": "history_of_verdicts",
    "reading_history": "readings_of_verdicts",
}
"""The tables that hold verdicts too, and where these stand."""
BESIDE_EXPORTS = {**OF_VERDICTS, "metadata": "attached_metadata"}
"""The tables that hold also what came in no export, and where that stands."""
HELD_FROM = ("case_history", "reading_history")
"""The tables that name the state of the labels."""
FILE_COLUMNS = ("image_id", "path", "sha256", "pixel_sha256", "width", "height")
"""Columns of `images` that come from a photograph's file."""
REVIEW_FILES = pa.schema(
    [
        *[(name, pa.string()) for name in ("review_id", "source", "sha256")],
        ("rows", pa.int64()),
        ("reviewed_at", pa.timestamp("us")),
    ]
)
PAGE = 2_000
"""Rows of a query in memory at once."""
INDEXES = "2GB"
"""What the registry may take while its tables are replaced: the index of a million photographs took 0.9 GB."""
MOST = 20_000
"""Photographs whose labels are gathered at once."""


class Derivation:
    """One pass from exports' staging tables to one Parquet file per table in `folder`, `table-derived.parquet`."""

    def __init__(
        self,
        folder: Path,
        exports: list[Staged],
        study: Study,
        key: PseudonymKey,
        progress: Progress,
        *,
        workspace: Workspace,
    ) -> None:
        self.folder, self.study, self.key, self.progress, self.workspace = folder, study, key, progress, workspace
        self.read, self.landed = [each.folder for each in exports], [each.landed for each in exports]
        self.database: duckdb.DuckDBPyConnection = scratch(folder, on_disk=True)
        annotator = study.ingest.annotator
        self.rules = CaseRules(study, key.pseudonym("a", normalise(annotator)) if annotator else None)

    def derive(self) -> dict[str, Path]:
        """Write every table and return its file."""
        self.merge()
        self.read_masks()
        files = self.look_for_photographs()
        self.apply_rules(files)
        sources = {name: f"merged_{name}" for name in (*MERGED, *HISTORY)}
        sources |= {name: f"{name} semi join newest using (export_id, line)" for name in ("metadata", *BESIDE)}
        own = ", ".join(table_schema("verdicts").names)
        self.write("verdicts", f"select {own} from verdict_labels order by all")  # noqa: S608 - names of our schema
        for name, source in sources.items():
            columns = ", ".join(table_schema(name).names)
            more = f"union all by name from {BESIDE_EXPORTS[name]}" if name in BESIDE_EXPORTS else ""
            self.write(name, f"select {columns} from (from {source} {more}) order by all")  # noqa: S608 - names of our schema
        self.database.register("opened", self.opened(files))
        sidecars = [{"export_id": x.export_id, "source": scrub(x.source), "sha256": x.sha256} for x in self.landed]
        self.database.register("landed", pa.Table.from_pylist(sidecars))
        for name in STATEMENTS:
            self.write(name, sql.statement(f"parse/{name}"))
        for name in {*CONTENT, *FROM_RULES}:
            self.view(f"derived_{name}", self.file(name))
        for name in HELD_FROM:
            self.view(name, self.file(name))
        versions = list(version_rows(label_versions.versions(self.workspace), self.study, self.key))
        pq.write_table(
            pa.Table.from_pylist(versions, schema=table_schema("label_versions")), self.file("label_versions")
        )
        pq.write_table(pa.Table.from_pylist([self.label_state()]), self.file("label_states"))
        pq.write_table(pa.Table.from_pylist(list(self.classes()), schema=table_schema("classes")), self.file("classes"))
        self.database.close()
        return {name: self.file(name) for name in TABLES}

    def classes(self) -> Iterator[dict[str, Any]]:
        """Yield the study's classes."""
        for position, each in enumerate(self.study.classes, start=1):
            stated = {"malignant": each.malignant, "answer": each.answer, "aliases": list(each.aliases)}
            yield {"class_name": each.name, "position": position, **stated}

    def file(self, table: str) -> Path:
        """Return where a table's Parquet goes."""
        return self.folder / f"{table}-derived.parquet"

    def merge(self) -> None:
        """Load the staging tables, settle repeated and contradicting rows, and merge the exports."""
        for table in STAGED:
            files = ", ".join(sql.quoted(str(file)) for read in self.read for file in read.glob(f"{table}-*.parquet"))
            self.database.execute(f"create table {table} as select * from read_parquet([{files}])")  # noqa: S608
        self.load_verdicts()
        self.load("attached_rows", attached.of_persons(self.workspace, self.study.ingest.one_person))
        self.database.execute(sql.statement("parse/merge_lines"))
        self.database.execute(sql.statement("parse/merge_exports"))
        self.database.execute(sql.statement("parse/verdicts"))
        self.database.execute(sql.statement("parse/attached_metadata"))
        self.database.execute(sql.statement("parse/similar_patients"))
        for table in OF_LABELS:
            rows = f"{table} inner join merged_labels using (export_id, line, label_id, content_sha256)"
            self.database.execute(f"create table merged_{table} as select revision, {table}.* from {rows}")  # noqa: S608 - names of our schema

    def load_verdicts(self) -> None:
        """Load the verdicts of reviewers, and the files that they came in."""
        taken_in = reviews.reviews(self.workspace)
        rows = [row for review in taken_in for row in review.rows]
        self.load("verdicts", pa.Table.from_pylist(rows, schema=table_schema("verdicts")))
        files = [(x.review_id, x.source, x.sha256, len(x.rows), _last(x.rows)) for x in taken_in if x.rows]
        names = REVIEW_FILES.names
        self.load(
            "review_files", pa.Table.from_pylist([dict(zip(names, x, strict=True)) for x in files], schema=REVIEW_FILES)
        )

    def load(self, name: str, rows: pa.Table) -> None:
        """Make a table of rows."""
        self.database.register("rows_to_load", rows)
        self.database.execute(f"create table {name} as from rows_to_load")
        self.database.unregister("rows_to_load")

    def read_masks(self) -> None:
        """Give the objects whose masks an export links to the extents of the files that were fetched."""
        linked = [LinkedMask(**row) for row in self.rows(sql.statement("parse/linked_masks"))]
        if not linked:
            return
        self.database.register("mask_extents", extents_table(read_masks(self.workspace.masks, linked, self.progress)))
        self.database.execute(sql.statement("parse/mask_extents"))

    def look_for_photographs(self) -> dict[str, photographs.PhotographLookup]:
        """Look for the photographs that any export was given with a folder."""
        roots = {landed.export_id: landed.images for landed in self.landed if landed.images}
        if not roots:
            return {}
        self.database.register("rooted", pa.table({"export_id": list(roots)}))
        requests, others = [], []
        for row in self.rows(sql.statement("parse/photographs")):
            image_id = row["image_id"]
            files = (file_name(image_id), row["global_key"], row["external_id"], row["url_name"])
            names = PhotographNames(image_id, roots[row["looked_in"]], files)
            if row["is_stored"]:
                requests.append(photographs.PhotographRequest(names, row["width"], row["height"]))
            else:
                others.append(names)
        lookups = photographs.look(requests, others, self.progress)
        return {image_id: self.told(lookup) if lookup.near else lookup for image_id, lookup in lookups.items()}

    def told(self, lookup: photographs.PhotographLookup) -> photographs.PhotographLookup:
        """Name the files that nearly have a photograph's name, unless one holds a patient's identifier."""
        near = [f"{scrub(printable(x.file)) if self.may_show(x.file) else 'a file'} {x.how}" for x in lookup.near]
        return lookup._replace(detail=f"{lookup.detail}; {', '.join(dict.fromkeys(near))}")

    def may_show(self, name: str) -> bool:
        """Tell whether no word of a file's name, and no words in a row, are the identifier of a patient known here."""
        pseudonyms = [self.key.pseudonym("p", words) for words in spans(name)]
        known = "select count(*) from merged_images where patient_id in (select unnest($pseudonyms))"
        return not self.database.execute(known, {"pseudonyms": pseudonyms}).fetchall()[0][0]

    def apply_rules(self, files: dict[str, photographs.PhotographLookup]) -> None:
        """Apply the study's rules to every photograph in each of its states, and write the tables made of that."""
        with StagingWriter(self.folder, RECORDS, "records") as writer:
            writer.add("issue", list(self.issues()))
            for number, photograph in enumerate(self.histories(), start=1):
                for state in photograph.states:
                    usable = self.rules.apply(photograph, state, files.get(photograph.image_id))
                    writer.add("case", usable.cases)
                    writer.add("reading", usable.readings)
                    if state.until is None:
                        writer.add("finding", usable.findings)
                        writer.add("issue", usable.issues)
                if number % 500 == 0:
                    self.progress("finding cases", number, None)
        for name in RECORDS:
            self.view(f"records_{name}", self.folder / f"{name}-records.parquet")
        for name, source in FROM_RULES.items():
            fields = RECORDS[source.partition(" ")[0]].__struct_fields__
            columns = ", ".join(column for column in table_schema(name).names if column in fields)
            query = f"select {columns} from records_{source}"  # noqa: S608 - names of our schema
            if name in OF_VERDICTS:
                query = f"select *, false as is_verdict from ({query}) union all by name from {OF_VERDICTS[name]}"  # noqa: S608 - as above
            self.write(name, query)
        self.write("findings", sql.statement("parse/findings"))

    def histories(self) -> Iterator[PhotographHistory]:
        """Yield the study's photographs in order of their IDs."""
        decode = msgspec.json.Decoder(PhotographHistory).decode
        after: str | None = ""
        while after is not None:
            page, after = {"after": after, "most": MOST}, None
            for text in self.texts(sql.statement("parse/submissions"), page):
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
        for detail in self.texts(sql.statement("parse/attached_taken")):
            yield Issue(self.landed[-1].export_id, "warning", "attached_column_taken", detail)
        yield from self.of_identifiers()

    def of_identifiers(self) -> Iterator[Issue]:
        """Yield what is to be known of patients' IDs beside the findings: slips that chance hides, unknown names."""
        newest = self.landed[-1].export_id
        for row in self.rows(sql.statement("parse/similar_by_chance")):
            pairs = counted(row["pairs"], "pair")
            detail = f"{pairs} of patients whose IDs differ only in {row['how']}: as many as chance gives, not listed"
            yield Issue(newest, "warning", "similar_patient_ids", detail)
        listed = [pseudonym for group in self.study.ingest.same_patient for pseudonym in group]
        known = "select distinct patient_id from patient_keys where patient_id in (select unnest($listed))"
        there = set(self.texts(known, {"listed": listed})) if listed else set()
        for pseudonym in sorted(set(listed) - there):
            yield Issue(newest, "warning", "unknown_same_patient", f"ingest.same_patient: no row is of {pseudonym}")

    def opened(self, files: dict[str, photographs.PhotographLookup]) -> pa.Table:
        """Return what is known of the photographs' files."""
        rows = []
        for file in files.values():
            probed = file.probe._asdict() if file.probe else {}
            rows.append({"image_id": file.image_id, "path": str(file.path) if file.path else None, **probed})
        images = table_schema("images")
        return pa.Table.from_pylist(rows, schema=pa.schema([images.field(name) for name in FILE_COLUMNS]))

    def label_state(self) -> dict[str, str]:
        """Name the state of the labels: policy, and a digest over every reading and every unread case."""
        policy = self.study.ingest.policy
        [today] = self.rows("select coalesce(max(moment), 0) as moment from moments")
        revision = label_revision(self.texts(sql.statement("parse/label_revision"), {"policy": policy, **today}))
        return {
            "truth_id": f"{policy}-{revision}",
            "policy": policy,
            "patient_from": self.study.labelbox.patient_from,
            "label_revision": revision,
            "key_fingerprint": self.key.fingerprint,
            "study": self.study.study.name,
            "content_hash": self.content_hash(),
        }

    def content_hash(self) -> str:
        """Digest what the registry holds, whatever exports it came from: the same content, the same hash."""
        digest = hashlib.sha256()
        for table in CONTENT:
            columns = [name for name in table_schema(table).names if name not in PROVENANCE]
            columns += ["deleted_by is not null"] if table == "labels" else []
            content = f"row({', '.join(columns)})::text"
            digest.update(f"{table}: {content}\n".encode())
            for text in self.texts(f"select sha256({content}) as digest from derived_{table} order by digest"):  # noqa: S608 - names of our schema
                digest.update(text.encode() + b"\n")
        return digest.hexdigest()

    def write(self, table: str, text: str) -> None:
        """Write a query's rows as a table's Parquet."""
        query = text.rstrip().rstrip(";")
        self.database.execute(f"copy ({query}) to {sql.quoted(str(self.file(table)))} (format parquet)")

    def view(self, name: str, file: Path) -> None:
        """Let a Parquet file be asked."""
        self.database.execute(f"create view {name} as select * from read_parquet({sql.quoted(str(file))})")  # noqa: S608

    def rows(self, text: str) -> Iterator[dict[str, Any]]:
        """Yield the rows of a query, a page at a time."""
        for page in self.database.sql(text).to_arrow_reader(PAGE):
            yield from page.to_pylist()

    def texts(self, text: str, parameters: dict[str, Any] | None = None) -> Iterator[str]:
        """Yield the only column of a query, a page at a time."""
        for page in self.database.sql(text, params=parameters or {}).to_arrow_reader(PAGE):
            yield from page.column(0).to_pylist()


def _last(rows: list[dict[str, Any]]) -> datetime:
    return max(row["reviewed_at"] for row in rows)


def changed_photographs(workspace: Workspace, images: Path) -> list[str]:
    """Return the photographs whose files have another digest than in the registry, where that can be read."""
    try:
        if not workspace.is_parsed():
            return []
        with workspace.reading() as connection:
            connection.register("opened_now", pq.read_table(images, columns=["image_id", "sha256"]))
            rows = connection.execute(sql.statement("parse/changed_photographs")).fetchall()
    except DamagedError:
        return []
    return [image_id for (image_id,) in rows]


def register_tables(workspace: Workspace, files: dict[str, Path], *, anew: bool) -> None:
    """Replace the registry's label side by these files, all or nothing; with `anew` the other side too.

    What is written to is a copy of the registry, so that each table can be a transaction of its own.
    """
    with workspace.writing(anew=anew) as connection:
        connection.execute(f"set memory_limit = '{INDEXES}'")
        connection.execute("delete from findings where source = 'parse'")
        definitions = dict(connection.execute("select table_name, sql from duckdb_tables()").fetchall())
        for table, path in files.items():
            if table != "findings" and connection.execute(f"select 1 from {table} limit 1").fetchall():  # noqa: S608
                connection.execute(f"drop table {table}")  # a new table is filled three times as fast as an emptied one
                connection.execute(definitions[table])
            if pq.read_metadata(path).num_rows:
                connection.execute(f"insert into {table} by name select * from read_parquet({sql.quoted(str(path))})")  # noqa: S608
                connection.execute("commit; begin")  # until then its index is in memory, and cannot spill
        if anew:
            restore(connection, workspace)
