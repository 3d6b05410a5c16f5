"""The patients who were withdrawn, as pseudonyms only, and how an export loses their rows before it is kept.

Refuses to guess: a line that is no row of an export can be anybody's, so it is dropped with them.
"""

import json
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from toolkit.errors import ExportError, WorkspaceError
from toolkit.files import sha256_of_file, write_json
from toolkit.labelbox_json import legacy, shapes
from toolkit.labelbox_json.identifiers import identify
from toolkit.labelbox_json.reader import raw_rows
from toolkit.manifest import Study
from toolkit.manifest.cohort import LabelboxSection
from toolkit.privacy import PseudonymKey, normalise, scrub
from toolkit.workspace.landed import Landed, land, note_issues, noted_issues, take_back
from toolkit.workspace.registry import Workspace

WITHDRAWN_FILE = "withdrawn.json"


class RowIdentity(NamedTuple):
    """The photograph and the patients a row names, normalised; names of files under which the photograph may stand."""

    image_id: str | None
    patients: frozenset[str]
    files: tuple[str | None, ...]


class DroppedLines(NamedTuple):
    """How many lines an export lost: rows of withdrawn patients, and lines that are no rows."""

    rows: int = 0
    unreadable: int = 0


@dataclass(frozen=True)
class SuppressionList:
    """The pseudonyms of withdrawn patients and of their photographs."""

    pseudonyms: frozenset[str]
    study: Study
    key: PseudonymKey

    def holds(self, named: RowIdentity) -> bool:
        """Tell whether a row is of a withdrawn patient."""
        return not self.pseudonyms.isdisjoint(pseudonyms_of(named, self.key))

    def copy(self, export: Landed, target: Path) -> DroppedLines:
        """Write an export's other rows to `target`, one a line."""
        rows = unreadable = 0
        with target.open("wb") as file:
            for content, named in rows_with_identity(export, self.study):
                if named is None:
                    unreadable += 1
                elif self.holds(named):
                    rows += 1
                else:
                    file.write(content.replace(b"\n", b" ") + b"\n")  # a row of an indented document has several
        return DroppedLines(rows, unreadable)

    def facts(self, export: Path, dropped: DroppedLines) -> dict[str, Any]:
        """Return what a sidecar says of an export that lost lines: how many, and the digest of what it replaces."""
        if not any(dropped):
            return {}
        lost = {"withdrawn_rows": dropped.rows, "unreadable_lines_dropped": dropped.unreadable}
        return {**lost, "replaces_sha256": sha256_of_file(export)}

    @contextmanager
    def without(self, workspace: Workspace, export: Path) -> Generator[tuple[Path, DroppedLines]]:
        """Give an export to land without the rows of withdrawn patients: the file itself where it holds none."""
        if not self.pseudonyms:
            yield export, DroppedLines()
            return
        with tempfile.TemporaryDirectory(dir=workspace.folder, prefix=".parse-") as folder:
            copy = Path(folder) / export.name
            dropped = self.copy(Landed(export, "", export.name, None), copy)
            if not copy.stat().st_size:
                raise ExportError("every row of this export is of a withdrawn patient", place=str(export))
            yield (copy if any(dropped) else export), dropped


def read_withdrawn(workspace: Workspace) -> list[dict[str, Any]]:
    """Return what is kept of the withdrawn patients."""
    path = workspace.folder / WITHDRAWN_FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def suppression_list(workspace: Workspace, study: Study, key: PseudonymKey) -> SuppressionList:
    """Return who must not come back; raise WorkspaceError for another key, under which nobody would be known again."""
    kept = read_withdrawn(workspace)
    if any(stone["key_fingerprint"] != key.fingerprint for stone in kept):
        raise WorkspaceError(
            "patients were withdrawn from this workspace under another pseudonym key; they would not be known again",
            place=str(workspace.folder / WITHDRAWN_FILE),
            remedy="use the first key",
        )
    known = {pseudonym for stone in kept for pseudonym in (stone["patient"], *stone["photographs"])}
    return SuppressionList(frozenset(known), study, key)


def filter_export(
    workspace: Workspace, export: Landed, stones: SuppressionList, *, secrets: tuple[str, ...] = ()
) -> Landed | None:
    """Put an export in the place of itself, without the rows of withdrawn patients; None where no row is left."""
    if not stones.pseudonyms:
        return export
    left = None
    with tempfile.TemporaryDirectory(dir=workspace.folder, prefix=".parse-") as folder:
        copy = Path(folder) / "export.ndjson"
        dropped = stones.copy(export, copy)
        if not any(dropped):
            return export
        if copy.stat().st_size:
            facts = stones.facts(export.path, dropped) | ({"pull": export.pull} if export.pull else {})
            source = scrub(export.source, secrets_in_it=secrets)
            left = replace(land(workspace, copy, images=export.images, source=source, facts=facts), pull=export.pull)
            issues = noted_issues(export)
            buried = {
                x["image_id"]
                for x in issues
                if photograph_pseudonym(str(x.get("image_id")), stones.key) in stones.pseudonyms
            }
            note_issues(left, [x for x in issues if x.get("image_id") not in buried])
    take_back(export)
    return left


def record_withdrawal(
    workspace: Workspace, patient: str, photographs: set[str], *, key: PseudonymKey, date: str
) -> None:
    """Write a patient's tombstone, or add photographs to it; the date of the first time stays."""
    stones = {stone["patient"]: stone for stone in read_withdrawn(workspace)}
    known = stones.get(patient, {"date": date, "photographs": []})
    stones[patient] = {
        "patient": patient,
        "date": known["date"],
        "key_fingerprint": key.fingerprint,
        "photographs": sorted({*known["photographs"], *photographs}),
    }
    write_json(workspace.folder / WITHDRAWN_FILE, [stones[name] for name in sorted(stones)])


def photographs_of(workspace: Workspace, patient: str) -> set[str]:
    """Return the pseudonyms of a withdrawn patient's photographs."""
    return {name for stone in read_withdrawn(workspace) if stone["patient"] == patient for name in stone["photographs"]}


def identifier_of(text: str, labelbox: LabelboxSection) -> str:
    """Return an identifier as it is compared: a patient's, or a photograph's where the study has no patients."""
    return text.strip() if labelbox.patient_from == "none" else normalise(text)


def pseudonyms_of(named: RowIdentity, key: PseudonymKey) -> set[str]:
    """Return the pseudonyms of the photograph and the patients a row names."""
    own = {photograph_pseudonym(named.image_id, key)} if named.image_id else set()
    return own | {key.pseudonym("p", patient) for patient in named.patients}


def photograph_pseudonym(image_id: str, key: PseudonymKey) -> str:
    """Return the pseudonym under which a withdrawn photograph is remembered."""
    return key.pseudonym("i", image_id)


def rows_with_identity(export: Landed, study: Study) -> Iterator[tuple[bytes, RowIdentity | None]]:
    """Yield the lines of an export with what they name; None for a line that is no row."""
    for line in raw_rows(export, longest=study.ingest.longest_row):
        named = None if line.content is None else _named(line.content, study.labelbox)
        yield line.content or b"", named


def _named(content: bytes, labelbox: LabelboxSection) -> RowIdentity | None:
    """Read what a line names, also from a row that parsing would quarantine."""
    try:
        raw = msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    if legacy.is_entry(raw):
        raw = legacy.as_row(raw)
    own = raw.get("data_row") if isinstance(raw, dict) else None
    if not isinstance(own, dict):
        return None
    image_id, *names = (_text(own.get(name)) for name in ("id", "external_id", "global_key"))
    fields = raw.get("metadata_fields")
    row = shapes.Row(
        data_row=shapes.DataRow(image_id or "", external_id=names[0], global_key=names[1]),
        metadata_fields=[
            shapes.MetadataField(str(item.get("schema_name")), value=item.get("value"))
            for item in (fields if isinstance(fields, list) else ())
            if isinstance(item, dict)
        ],
    )
    patients = {normalise(value) for value in identify(row, labelbox).written} - {""}
    if labelbox.patient_from == "none" and image_id:
        patients = {image_id}
    return RowIdentity(image_id, frozenset(patients), (*names,))


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
