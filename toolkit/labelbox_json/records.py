"""The records for the staging tables that one valid row of an export holds."""

import hashlib
from collections import defaultdict
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import unquote

import msgspec

from toolkit.labelbox_json import history, shapes, staging_tables
from toolkit.labelbox_json.contents import Canvas, LabelContents, Tables, as_json, encode
from toolkit.labelbox_json.history import REMEMBERED
from toolkit.labelbox_json.identifiers import identify
from toolkit.labelbox_json.similar_ids import id_keys
from toolkit.labelbox_json.terms import Terms
from toolkit.manifest import Study
from toolkit.photographs.masks import Size
from toolkit.privacy import PseudonymKey, normalise, scrub, without_queries

NOWHERE = shapes.ProjectDetails()


class RowContent(NamedTuple):
    """What one row holds, and the latest time written in it (UTC)."""

    tables: Tables
    latest_at: datetime | None


class Place(NamedTuple):
    """Where a label stands: its ID in the registry, the project or the model run it was made in."""

    label_id: str
    source_id: str
    source: str
    in_study: bool = False
    kind: str = "label"


class Records:
    """Makes records of rows, by a study's terms and under a key's pseudonyms."""

    def __init__(self, study: Study, key: PseudonymKey) -> None:
        self.labelbox, self.ingest, self.key, self.terms = study.labelbox, study.ingest, key, Terms(study)
        self.person = lru_cache(maxsize=REMEMBERED)(lambda written: key.pseudonym("a", normalise(written)))
        self.keyed: set[str] = set()

    def of(self, row: shapes.Row, raw: dict | None, **drawn: bool) -> RowContent:
        """Return everything a row holds.

        `raw` is the same row undecoded where it has keys that no type knows: they are part of its labels' digests.
        `drawn` is what else a `Canvas` says of it.
        """
        tables: Tables = defaultdict(list)
        details = row.data_row.details
        times = [utc(details.updated_at), utc(details.last_activity_at)]
        secrets = self.image(row, tables)
        canvas = Canvas(Size(row.media_attributes.width, row.media_attributes.height), **drawn)
        for project_id, project in row.projects.items():
            in_study = self.terms.in_study(project.name, project_id)
            tables["projects"].append(_project(row, project_id, project, in_study))
            for position, label in enumerate(project.labels or ()):
                own = raw["projects"][project_id]["labels"][position] if raw else None
                place = Place(label.id, project_id, project.name, in_study)
                contents = self.label(row, place, label, own, project.project_details, tables)
                LabelContents(self.terms, tables, contents, secrets, canvas).fill(label.annotations)
                if label.label_details.reviews:
                    tables["reviews"] += history.reviews_of(label, row.data_row.id, self.person)
                times += (contents.created_at, contents.updated_at)
            if project.project_details.workflow_history:
                tables["workflow"] += history.steps_of(project, project_id, row.data_row.id, self.person)
        if row.experiments:
            self.runs(row, raw, secrets, canvas, tables)
        for position, item in enumerate(row.attachments or ()):
            tables["attachments"].append(_attachment(row, position, item, secrets))
        for position, item in enumerate(row.embeddings or ()):
            about = (item.id, item.name, item.dimensions, len(item.values or ()))
            tables["embeddings"].append(staging_tables.Embedding(row.data_row.id, position, *about))
        return RowContent(tables, max(filter(None, times), default=None))

    def image(self, row: shapes.Row, tables: Tables) -> tuple[str, ...]:
        """Add the photograph and its metadata; return the patient's identifiers, which no text may hold."""
        own, media, pseudonym = row.data_row, row.media_attributes, self.key.pseudonym
        image_id, identified = own.id, identify(row, self.labelbox)
        patient, written = identified.patient, identified.written
        patient_id = self.patient(patient, tables) if patient else None
        tables["images"].append(
            staging_tables.Image(
                image_id=image_id,
                global_key=without_queries(own.global_key) if own.global_key else None,
                external_id=without_queries(own.external_id) if own.external_id else None,
                url_name=_url_name(own.row_data),
                patient_id=patient_id,
                patient_fault=identified.fault,
                spelling=pseudonym("s", str(written[0]) if written else patient) if patient else None,
                lesion_id=pseudonym("l", patient, identified.lesion) if patient and identified.lesion else None,
                width=media.width,
                height=media.height,
            )
        )
        secrets = tuple(str(value).strip() for value in written)
        for item in row.metadata_fields or ():
            if item.value is not None and self.terms.keeps(item.schema_name):
                value = scrub(_as_text(item.value), secrets_in_it=secrets)
                tables["metadata"].append(staging_tables.Metadata(image_id, item.schema_name, item.schema_kind, value))
        return secrets

    def patient(self, identifier: str, tables: Tables) -> str:
        """Return the pseudonym of a patient's person; add what tells similar IDs, once for some 10,000 patients."""
        own = self.key.pseudonym("p", identifier)
        if self.labelbox.patient_from != "none" and own not in self.keyed:
            if len(self.keyed) >= REMEMBERED:
                self.keyed.clear()
            self.keyed.add(own)
            tables["patient_keys"] += [staging_tables.PatientKey(own, *key) for key in id_keys(identifier, self.key)]
        return self.ingest.one_person(own)[0]

    def label(
        self,
        row: shapes.Row,
        place: Place,
        label: shapes.Label,
        raw: dict | None,
        project: shapes.ProjectDetails,
        tables: Tables,
    ) -> staging_tables.Label:
        """Add a label and return it."""
        details, work = label.label_details, label.performance_details
        record = staging_tables.Label(
            label_id=place.label_id,
            content_sha256=_label_digest(label, raw),
            image_id=row.data_row.id,
            kind=place.kind,
            project_id=place.source_id,
            project=place.source,
            in_study=place.in_study,
            annotator=self.person(details.created_by) if details.created_by else None,
            created_at=utc(details.created_at),
            updated_at=utc(details.updated_at),
            skipped=work.skipped,
            workflow_status=project.workflow_status,
            seconds_to_create=work.seconds_to_create,
            seconds_to_review=work.seconds_to_review,
            consensus_score=work.consensus_score,
            benchmark_score=work.benchmark_score,
            benchmark_reference=work.benchmark_reference_label,
        )
        tables["labels"].append(record)
        return record

    def runs(self, row: shapes.Row, raw: dict | None, secrets: tuple[str, ...], canvas: Canvas, tables: Tables) -> None:
        """Add what model runs hold of the photograph, under IDs of its own: it is nobody's reading."""
        image_id = row.data_row.id
        for model_id, run_id, run in row.runs():
            model = row.experiments[model_id].name
            tables["model_runs"].append(staging_tables.ModelRun(image_id, model_id, model, run_id, run.name, run.split))
            raw_run = raw["experiments"][model_id]["runs"][run_id] if raw else {}
            for kind, field in (("run_label", "labels"), ("prediction", "predictions")):
                for position, label in enumerate(getattr(run, field) or ()):
                    own = "/".join((run_id, image_id, kind, str(position), label.id))
                    place = Place(own, run_id, run_id, kind=kind)
                    raw_label = raw_run[field][position] if raw else None
                    contents = self.label(row, place, label, raw_label, NOWHERE, tables)
                    LabelContents(self.terms, tables, contents, secrets, canvas).fill(label.annotations)


def _project(row: shapes.Row, project_id: str, project: shapes.Project, in_study: bool) -> staging_tables.Project:  # noqa: FBT001
    return staging_tables.Project(
        image_id=row.data_row.id,
        project_id=project_id,
        project=project.name,
        in_study=in_study,
        workflow_status=project.project_details.workflow_status,
        batch=project.project_details.batch_name,
        tags=as_json(project.project_tags) if project.project_tags else None,
    )


def _attachment(
    row: shapes.Row, position: int, item: shapes.Attachment, secrets: tuple[str, ...]
) -> staging_tables.Attachment:
    value = None if item.value is None else scrub(_as_text(item.value), secrets_in_it=secrets)
    name = scrub(item.name, secrets_in_it=secrets) if item.name else None
    return staging_tables.Attachment(row.data_row.id, position, item.type, name, value)


def _label_digest(label: shapes.Label, raw: dict | None) -> str:
    """Return the digest of what a label says: what no type knows is part of it, signatures in addresses are not."""
    skipped = label.performance_details.skipped
    written = encode((label.annotations, label.label_details, skipped))
    if raw is not None:
        undecoded = encode((raw.get("annotations", {}), raw.get("label_details", {}), skipped))
        written = fuller(written, undecoded)
    if b"://" in written:
        written = without_queries(written.decode()).encode()
    return sha256(written)


def fuller(written: bytes, undecoded: bytes) -> bytes:
    """Return a row as its types write it, unless they leave out a key that stands in it."""
    return written if written.count(b'":') == undecoded.count(b'":') else undecoded


def utc(time: datetime | None) -> datetime | None:
    """Return a time in UTC without its zone, as the registry keeps all times."""
    if time is None or time.tzinfo is None:
        return time
    return (time if time.tzinfo is UTC else time.astimezone(UTC)).replace(tzinfo=None)


def sha256(content: bytes) -> str:
    """Return the hexadecimal SHA-256."""
    return hashlib.sha256(content).hexdigest()


def _url_name(url: str | None) -> str | None:
    """Return the base name of a photograph's URL: all of it that is kept, since URLs carry signatures."""
    path = (url or "").partition("?")[0].partition("#")[0]
    _, has_host, rest = path.partition("://")
    _, slash, name = unquote(rest if has_host else path).rstrip("/").rpartition("/")
    return name or None if slash or not has_host else None


def _as_text(value: Any) -> str:
    """Return a metadata value as text: numbers plainly, options by their names."""
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list):
        return ", ".join(map(_as_text, value))
    if isinstance(value, dict):
        return str(value.get("schema_name") or value.get("name") or msgspec.json.encode(value).decode())
    return str(value)
