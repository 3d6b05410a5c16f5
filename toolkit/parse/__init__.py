"""Knows how landed Labelbox exports become the case registry, losing nothing and saying what was kept out.

Refuses to update: the registry's label side is made anew from every landed export each time, so that neither the
order of import nor a second import can change the result.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from toolkit import sql
from toolkit.cases import Box, Lesion, Marked, Submission, find_cases
from toolkit.errors import ExportError, WorkspaceError
from toolkit.files import short_id
from toolkit.manifest import Study
from toolkit.parse import photographs
from toolkit.parse.landing import Landed, land, landed_exports
from toolkit.parse.rows import nearest_class
from toolkit.parse.staging import STAGED, stage_export
from toolkit.privacy import Key, scrub
from toolkit.progress import Progress, silent
from toolkit.registry import Workspace, insert, scratch

MERGED = ("metadata", "labels", "objects", "answers", "relationships", "projects")
REPLACED = (*MERGED, "exports", "conservation", "ingest_issues", "patients", "images", "cases", "readings")


@dataclass(frozen=True)
class Parsed:
    """What the registry holds after parsing; every row read is stored or quarantined."""

    exports: int
    rows: int
    rows_quarantined: int
    photographs: int
    photographs_opened: int
    patients: int
    labels: int
    cases: int
    with_roi: int
    resolved: int
    tied: int
    unread: int
    kept_out: dict[str, int]
    projects_elsewhere: list[str]
    photographs_elsewhere: int
    truth_id: str
    key_fingerprint: str
    key_created: str | None


def parse(
    workspace: Workspace,
    study: Study,
    key: Key,
    exports: list[Path],
    *,
    images: Path | None = None,
    progress: Progress = silent,
) -> Parsed:
    """Land exports and make the registry anew from all that have landed.

    Raises ExportError, changing nothing, for a file that holds no readable row. Single bad rows are quarantined.
    """
    if images is not None and not images.is_dir():
        raise ExportError("no such folder of photographs", place=str(images), remedy="give --images DIR")
    _check_key(workspace, key)
    for export in exports:
        _land_readable(workspace, export, images, study, key)
    landed = landed_exports(workspace)
    if not landed:
        raise ExportError("no export has landed in this workspace", remedy="toolkit parse EXPORT --images DIR")
    with tempfile.TemporaryDirectory(dir=workspace.folder, prefix=".parse-") as name:
        tables = _Derivation(Path(name), workspace, study, key, landed, progress).tables()
    with workspace.writing() as connection:
        for table in (*REPLACED, "label_states"):
            connection.execute(f"delete from {table}")  # noqa: S608 - names of our own schema
            insert(connection, table, tables[table])
        connection.execute("delete from findings where source = 'parse'")
        insert(connection, "findings", tables["findings"])
    return _summary(workspace, key)


def _check_key(workspace: Workspace, key: Key) -> None:
    """Refuse a key that would give the same patients other pseudonyms than this workspace's splits and reports have."""
    if not workspace.is_parsed():
        return
    used = {row["key_fingerprint"] for row in workspace.rows("select key_fingerprint from label_states")}
    if used and used != {key.fingerprint}:
        raise WorkspaceError(
            f"this workspace was made with pseudonym key {used.pop()}, the study now names key {key.fingerprint}",
            place=str(workspace.folder),
            remedy="use the first key, or start a new workspace",
        )


def _land_readable(workspace: Workspace, export: Path, images: Path | None, study: Study, key: Key) -> None:
    """Land an export, and take it back when not one of its lines is a row."""
    before = {landed.sha256 for landed in landed_exports(workspace)}
    landed = land(workspace, export, images=images)
    if landed.sha256 in before:
        return
    with tempfile.TemporaryDirectory(dir=workspace.folder, prefix=".parse-") as folder:
        taken = stage_export(landed, Path(folder), study=study, key=key, progress=silent)
    if taken == 0:
        landed.path.unlink()
        landed.path.with_name(f"{landed.sha256}.json").unlink()
        raise ExportError(
            "no line of this file is a row of a Labelbox export (version 2)",
            place=str(export),
            remedy="export the project as NDJSON from Labelbox; this file was not taken in",
        )


class _Derivation:
    """One pass from landed exports to tables, in a temporary folder and a database in memory."""

    def __init__(
        self, folder: Path, workspace: Workspace, study: Study, key: Key, landed: list[Landed], progress: Progress
    ) -> None:
        self.folder, self.workspace, self.study, self.key = folder, workspace, study, key
        self.landed, self.progress = landed, progress
        self.database: duckdb.DuckDBPyConnection = scratch(folder)
        self.issues: list[dict[str, Any]] = []
        self.findings: list[dict[str, Any]] = []
        self.cases: list[dict[str, Any]] = []
        self.readings: list[dict[str, Any]] = []

    def tables(self) -> dict[str, pa.Table]:
        """Return every table of the registry's label side."""
        self.stage()
        self.merge()
        found = self.look()
        for number, row in enumerate(self.dictionaries(sql.step("submissions")), start=1):
            self.photograph(row, found.get(row["image_id"]))
            if number % 500 == 0:
                self.progress("finding cases", number, None)
        tables = {name: self.columns_of(f"merged_{name}", name) for name in MERGED}
        tables["images"] = self.images(found)
        tables["patients"] = self.arrow(sql.step("patients"))
        tables["exports"] = self.exports()
        tables["conservation"] = self.arrow(sql.step("conserve"))
        tables["ingest_issues"] = self.table("ingest_issues", self.quarantined() + self.issues)
        for name in ("cases", "readings", "findings"):
            tables[name] = self.table(name, getattr(self, name))
        tables["label_states"] = self.table("label_states", [self.label_state()])
        self.database.close()
        return tables

    def stage(self) -> None:
        for landed in self.landed:
            stage_export(landed, self.folder, study=self.study, key=self.key, progress=self.progress)
        for table in STAGED:
            files = str(self.folder / f"{table}-*.parquet")
            self.database.execute(f"create table {table} as select * from read_parquet('{files}')")  # noqa: S608
        schema = sql.folder("schema")[0].read_text(encoding="utf-8")
        self.database.execute("create schema target; set schema = 'target'")
        self.database.execute(schema)
        self.database.execute("set schema = 'main'")

    def merge(self) -> None:
        self.database.execute(
            "create table export_times as select export_id, max(latest_at) as latest_at from lines group by export_id"
        )
        self.database.execute(sql.step("merge_lines"))
        self.database.execute(sql.step("merge_exports"))

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
            for row in self.dictionaries("select * from merged_images order by image_id")
            if row["export_id"] in roots
        ]
        return photographs.look(wanted, self.progress)

    def photograph(self, row: dict[str, Any], found: photographs.Found | None) -> None:
        """Find the cases of one photograph, and keep out those that must not be used."""
        submissions = [_submission(item) for item in row["submissions"]]
        lesions, findings = find_cases(row["image_id"], submissions, iou=self.study.ingest.box_iou)
        fault = row["patient_fault"]
        if fault:
            self.issue(row, fault, "the export names no patient" if fault.startswith("missing") else "several patients")
        if found and found.reason:
            self.issue(row, found.reason, found.detail or "")
        usable = not fault and not (found and found.reason)
        ids = {lesion.case_id for lesion in lesions if self.lesion(row, lesion, submissions, found, usable=usable)}
        self.findings += [
            {"kind": f.kind, "source": "parse", "case_id": lesions[0].case_id, "detail": f.detail}
            for f in findings
            if lesions[0].case_id in ids
        ]

    def lesion(
        self,
        row: dict[str, Any],
        lesion: Lesion,
        submissions: list[Submission],
        found: photographs.Found | None,
        *,
        usable: bool,
    ) -> bool:
        """Add one case with its readings; return whether it was kept."""
        known = set(self.study.class_names)
        unknown = sorted({reading.answer for reading in lesion.readings if reading.answer not in known})
        for spelling in unknown:
            self.issue(row, "unknown_class", f"case {lesion.case_id}: {nearest_class(spelling, self.study)}")
        for line in lesion.ambiguous:
            self.issue(row, "ambiguous_label", f"case {lesion.case_id}: {line}")
        roi, inside = self.inside(row, lesion, found)
        if not usable or unknown or lesion.ambiguous or not inside:
            return False
        sides = dict(zip(("roi_left", "roi_top", "roi_width", "roi_height"), roi or (None,) * 4, strict=True))
        identity = {name: row[name] for name in ("image_id", "patient_id", "lesion_id")}
        unread = None if lesion.readings else _why_unread(submissions)
        self.cases.append({"case_id": lesion.case_id, **identity, **sides, "unread": unread})
        for reading in lesion.readings:
            record = {"case_id": lesion.case_id, **reading._asdict(), "class_name": reading.answer}
            self.readings.append(record)
        return True

    def inside(self, row: dict[str, Any], lesion: Lesion, found: photographs.Found | None) -> tuple[Box | None, bool]:
        """Return the case's ROI clipped to the photograph, and whether anything of it is left."""
        roi = lesion.roi
        size = (found.probe.width, found.probe.height) if found and found.probe else (row["width"], row["height"])
        if roi is None or None in size:
            return roi, True
        clipped = roi.clipped(*size)
        if clipped is None:
            self.issue(row, "box_outside", f"case {lesion.case_id}: its box lies outside the photograph")
        elif clipped != roi:
            detail = f"case {lesion.case_id}: its box reaches over the edge; clipped, the original is in objects"
            self.issue(row, "clipped:bbox", detail, level="warning")
        return clipped, clipped is not None

    def issue(self, row: dict[str, Any], reason: str, detail: str, *, level: str = "case") -> None:
        place = {"export_id": row["export_id"], "line": None, "image_id": row["image_id"]}
        self.issues.append({**place, "level": level, "reason": reason, "detail": detail})

    def quarantined(self) -> list[dict[str, Any]]:
        text = "select export_id, line, 'row' as level, reason, detail, image_id from line_status"
        rows = self.dictionaries(f"{text} where status = 'quarantined' order by export_id, line")
        return [{**row, "detail": scrub(row["detail"])} for row in rows]

    def images(self, found: dict[str, photographs.Found]) -> pa.Table:
        facts = []
        for item in found.values():
            probed = item.probe._asdict() if item.probe else {}
            facts.append({"image_id": item.image_id, "path": str(item.path) if item.path else None, **probed})
        schema = pa.schema(
            [(name, pa.string()) for name in ("image_id", "path", "sha256", "pixel_sha256")]
            + [(name, pa.int64()) for name in ("width", "height")]
        )
        self.database.register("found", pa.Table.from_pylist(facts, schema=schema))
        return self.arrow(sql.step("images"))

    def exports(self) -> pa.Table:
        self.database.register("landed", pa.Table.from_pylist(self.sidecars()))
        return self.arrow(sql.step("exports"))

    def sidecars(self) -> list[dict[str, Any]]:
        return [{"export_id": x.export_id, "source": scrub(x.source), "sha256": x.sha256} for x in self.landed]

    def label_state(self) -> dict[str, str]:
        """Name the state of the labels: policy, and a digest over every reading and every unread case."""
        readings = sorted([r["case_id"], r["label_id"], r["revision"], r["class_name"]] for r in self.readings)
        revision = short_id([readings, sorted(case["case_id"] for case in self.cases if case["unread"])])
        policy = self.study.ingest.policy
        return {
            "truth_id": f"{policy}-{revision}",
            "policy": policy,
            "label_revision": revision,
            "key_fingerprint": self.key.fingerprint,
            "study": self.study.study.name,
        }

    def table(self, name: str, records: list[dict[str, Any]]) -> pa.Table:
        """Return records as a table with the columns and types of the schema."""
        empty = self.arrow(f"select * from target.{name} limit 0")  # noqa: S608 - names of our own schema
        return pa.Table.from_pylist([{n: r.get(n) for n in empty.column_names} for r in records], schema=empty.schema)

    def columns_of(self, source: str, target: str) -> pa.Table:
        """Return a merged table with just the columns of the schema."""
        columns = ", ".join(self.arrow(f"select * from target.{target} limit 0").column_names)  # noqa: S608
        return self.arrow(f"select {columns} from {source} order by all")  # noqa: S608 - names of our own schema

    def arrow(self, text: str) -> pa.Table:
        return self.database.sql(text).to_arrow_table()

    def dictionaries(self, text: str) -> list[dict[str, Any]]:
        return self.arrow(text).to_pylist()


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


def _summary(workspace: Workspace, key: Key) -> Parsed:
    facts = workspace.rows(sql.step("parsed"))[0]
    kept_out = workspace.rows(sql.step("kept_out"))
    return Parsed(
        **facts,
        kept_out={row["reason"]: row["cases"] for row in kept_out},
        key_fingerprint=key.fingerprint,
        key_created=str(key.created) if key.created else None,
    )
