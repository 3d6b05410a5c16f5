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
from toolkit.cases import Box, Lesion, Marked, Submission, find_cases
from toolkit.manifest import Study
from toolkit.parse import photographs
from toolkit.parse.landing import Landed
from toolkit.parse.records import nearest_class
from toolkit.parse.staging import STAGED, Batches
from toolkit.privacy import Key, scrub
from toolkit.progress import Progress
from toolkit.registry import Workspace, scratch

MERGED = ("metadata", "labels", "objects", "answers", "relationships", "projects")
BESIDE = ("model_runs", "attachments", "embeddings", "unknown_keys")
FOUND = ("cases", "readings", "findings", "ingest_issues")
TABLES = (*MERGED, *BESIDE, *FOUND, "exports", "conservation", "patients", "images", "label_states")
PAGE = 2_000
"""Photographs held at once while their cases are found."""


class Derivation:
    """One pass from the staged Parquet of `folder` to one Parquet file per table, `table-derived.parquet`."""

    def __init__(self, folder: Path, study: Study, key: Key, landed: list[Landed], progress: Progress) -> None:
        self.folder, self.study, self.key, self.landed, self.progress = folder, study, key, landed, progress
        self.database: duckdb.DuckDBPyConnection = scratch(folder, on_disk=True)
        self.classes = set(study.class_names)
        self.batches = Batches(folder, {}, name="")

    def derive(self) -> dict[str, Path]:
        """Write every table and return its file."""
        self.merge()
        found = self.look()
        schemas = {name: self.empty(name).schema for name in FOUND}
        with Batches(self.folder, schemas, name="derived") as self.batches:
            self.batches.add("ingest_issues", list(self.quarantined()))
            for number, row in enumerate(self.rows(sql.step("submissions")), start=1):
                self.photograph(row, found.get(row["image_id"]))
                if number % 500 == 0:
                    self.progress("finding cases", number, None)
        for name in (*MERGED, *BESIDE):
            columns = ", ".join(self.empty(name).column_names)
            self.write(name, f"select {columns} from merged_{name} order by all")  # noqa: S608 - names of our schema
        self.write_images(found)
        self.database.register("landed", pa.Table.from_pylist(self.sidecars()))
        for name in ("patients", "exports", "conservation"):
            self.write(name, sql.step({"conservation": "conserve"}.get(name, name)).rstrip().rstrip(";"))
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
        self.database.execute(
            "create table export_times as select export_id, max(latest_at) as latest_at from lines group by export_id"
        )
        self.database.execute(sql.step("merge_lines"))
        self.database.execute(sql.step("merge_exports"))
        self.database.execute(sql.step("merge_beside"))

    def look(self) -> dict[str, photographs.Found]:
        """Look for the photographs of every export that was given a folder of them."""
        roots = {landed.export_id: landed.images for landed in self.landed if landed.images}
        if not roots:
            return {}
        wanted = [
            photographs.Wanted(
                row["image_id"],
                roots[row["export_id"]],
                (row["external_id"], row["global_key"], row["url_name"]),
                row["width"],
                row["height"],
            )
            for row in self.rows("select * from merged_images order by image_id")
            if row["export_id"] in roots
        ]
        return photographs.look(wanted, self.progress)

    def photograph(self, row: dict[str, Any], found: photographs.Found | None) -> None:
        """Find the cases of one photograph, and keep out those that must not be used."""
        submissions = [_submission(item) for item in row["submissions"]]
        lesions, findings = find_cases(row["image_id"], submissions, iou=self.study.ingest.box_iou)
        fault = row["patient_fault"]
        if fault:
            told = "the export names no patient" if fault.startswith("missing") else "the export names several patients"
            self.issue(row, fault, told)
        if found and found.reason:
            self.issue(row, found.reason, found.detail or "")
        for reason, told in (found.probe.changes if found and found.probe else {}).items():
            self.issue(row, reason, told, level="warning")
        usable = not fault and not (found and found.reason)
        kept = [lesion for lesion in lesions if self.is_kept(row, lesion, usable=usable)]
        for lesion in kept:
            self.case(row, lesion, submissions, found)
        if lesions[0] in kept:
            case_id = lesions[0].case_id
            about = [{"kind": f.kind, "source": "parse", "case_id": case_id, "detail": f.detail} for f in findings]
            self.batches.add("findings", about)

    def is_kept(self, row: dict[str, Any], lesion: Lesion, *, usable: bool) -> bool:
        """Tell whether a case may be used; what speaks against its labels becomes an issue."""
        unknown = sorted({reading.answer for reading in lesion.readings} - self.classes)
        for spelling in unknown:
            self.issue(row, "unknown_class", f"case {lesion.case_id}: {nearest_class(spelling, self.study)}")
        for line in lesion.ambiguous:
            self.issue(row, "ambiguous_label", f"case {lesion.case_id}: {line}")
        return usable and not unknown and not lesion.ambiguous

    def case(
        self, row: dict[str, Any], lesion: Lesion, submissions: list[Submission], found: photographs.Found | None
    ) -> None:
        """Add a case with its ROI clipped to the photograph, and its readings."""
        roi = lesion.roi
        probed = found.probe if found else None
        width, height = (probed.width, probed.height) if probed else (row["width"], row["height"])
        if roi is not None and width and height:
            clipped = roi.clipped(width, height)
            if clipped is None:
                self.issue(row, "box_outside", f"case {lesion.case_id}: its box lies outside the photograph")
                return
            if clipped != roi:
                detail = f"case {lesion.case_id}: its box reaches over the edge; clipped, the original is in objects"
                self.issue(row, "clipped:bbox", detail, level="warning")
            roi = clipped
        sides = dict(zip(("roi_left", "roi_top", "roi_width", "roi_height"), roi or (None,) * 4, strict=True))
        identity = {name: row[name] for name in ("image_id", "patient_id", "lesion_id")}
        unread = None if lesion.readings else _why_unread(submissions)
        self.batches.add("cases", [{"case_id": lesion.case_id, **identity, **sides, "unread": unread}])
        said = [{"case_id": lesion.case_id, **r._asdict(), "class_name": r.answer} for r in lesion.readings]
        self.batches.add("readings", said)

    def issue(self, row: dict[str, Any], reason: str, detail: str, *, level: str = "case") -> None:
        """Add one reason why something was not taken as it stood."""
        place = {"export_id": row["export_id"], "line": None, "image_id": row["image_id"]}
        self.batches.add("ingest_issues", [{**place, "level": level, "reason": reason, "detail": detail}])

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
        readings, cases = (sql.quoted(str(self.file(name))) for name in ("readings", "cases"))
        digest = hashlib.sha256()
        for row in self.rows(
            f"select case_id, label_id, revision, class_name from read_parquet({readings}) "  # noqa: S608
            f"union all select case_id, '', 0, unread from read_parquet({cases}) where unread is not null order by all"
        ):
            digest.update("\0".join(map(str, row.values())).encode() + b"\n")
        policy, revision = self.study.ingest.policy, digest.hexdigest()[:8]
        return {
            "truth_id": f"{policy}-{revision}",
            "policy": policy,
            "label_revision": revision,
            "key_fingerprint": self.key.fingerprint,
            "study": self.study.study.name,
        }

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


def _submission(item: dict[str, Any]) -> Submission:
    boxes = [Marked(box["object_id"], Box(*box["box"]), tuple(box["answers"])) for box in item["boxes"]]
    return Submission(
        label_id=item["label_id"],
        revision=item["revision"],
        latest=item["latest"],
        skipped=item["skipped"],
        annotator=item["annotator"],
        boxes=tuple({marked.object_id: marked for marked in boxes}.values()),
        answers=tuple(item["answers"]),
    )


def _why_unread(submissions: list[Submission]) -> str:
    if not submissions:
        return "unlabelled"
    return "skipped" if all(s.skipped for s in submissions if s.latest) else "no_answer"
