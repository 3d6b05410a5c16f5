"""The rows of withdrawn patients filtered out of an export before it is kept.

A line that is no row of an export may be about anybody, so that it is dropped as well.
"""

import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from toolkit.files import sha256_of_file
from toolkit.labelbox_json import legacy, shapes
from toolkit.labelbox_json.identifiers import identify
from toolkit.labelbox_json.reader import raw_rows
from toolkit.manifest import Study
from toolkit.manifest.cohort import LabelboxSection
from toolkit.privacy import PseudonymKey, as_typed, normalise, scrub
from toolkit.workspace.landed import Landed, land, note_issues, noted_issues, take_back
from toolkit.workspace.registry import Workspace
from toolkit.workspace.withdrawn import photograph_pseudonym, withdrawn_pseudonyms


class RowIdentity(NamedTuple):
    """The photograph and the patients a row names; names of files under which the photograph may stand.

    Patients are normalised, and also as earlier versions compared them: their withdrawals hold on.
    """

    image_id: str | None
    patients: frozenset[str]
    files: tuple[str | None, ...]
    written: tuple[str, ...] = ()
    """The patients as they are written."""


class DroppedLines(NamedTuple):
    """How many lines were dropped from an export: rows of withdrawn patients, and lines that are no rows."""

    rows: int = 0
    unreadable: int = 0

    def facts(self, export: Path) -> dict[str, Any]:
        """Return what the sidecar of the filtered export says: how many, and the digest of the file it replaces."""
        if not any(self):
            return {}
        lost = {"withdrawn_rows": self.rows, "unreadable_lines_dropped": self.unreadable}
        return {**lost, "replaces_sha256": sha256_of_file(export)}


@dataclass(frozen=True)
class SuppressionList:
    """The pseudonyms of patients and photographs whose rows no export may keep."""

    pseudonyms: frozenset[str]
    study: Study
    key: PseudonymKey

    def holds(self, identity: RowIdentity) -> bool:
        """Tell whether a row is of a withdrawn patient, by its photograph or by any patient that it names."""
        patients = (self.key.pseudonym("p", patient) for patient in identity.patients)
        return self.holds_photograph(identity.image_id) or any(
            not self.pseudonyms.isdisjoint(self.study.ingest.one_person(patient)) for patient in patients
        )

    def holds_photograph(self, image_id: str | None) -> bool:
        """Tell whether a photograph is of a withdrawn patient."""
        return image_id is not None and photograph_pseudonym(image_id, self.key) in self.pseudonyms

    @contextmanager
    def without(self, workspace: Workspace, export: Path) -> Generator[tuple[Path | None, DroppedLines]]:
        """Give an export's file without rows of withdrawn patients: itself where it has none, None if all are."""
        if not self.pseudonyms:
            yield export, DroppedLines()
            return
        with tempfile.TemporaryDirectory(dir=workspace.folder, prefix=".parse-") as folder:
            copy = Path(folder) / "export.ndjson"
            dropped = self._copy(export, copy)
            if any(dropped):
                yield (copy if copy.stat().st_size else None), dropped
            else:
                yield export, dropped

    def _copy(self, export: Path, target: Path) -> DroppedLines:
        """Write an export's other rows to `target`, one a line."""
        rows = unreadable = 0
        with target.open("wb") as file:
            for content, identity in rows_with_identity(export, self.study):
                if identity is None:
                    unreadable += 1
                elif self.holds(identity):
                    rows += 1
                else:
                    file.write(content.replace(b"\n", b" ") + b"\n")  # a row of an indented document has several
        return DroppedLines(rows, unreadable)


def suppression_list(workspace: Workspace, study: Study, key: PseudonymKey) -> SuppressionList:
    """Return the suppression list of a workspace; see `withdrawn_pseudonyms`."""
    return SuppressionList(withdrawn_pseudonyms(workspace, key), study, key)


def filter_export(
    workspace: Workspace, export: Landed, suppressed: SuppressionList, *, secrets: tuple[str, ...] = ()
) -> Landed | None:
    """Replace a landed export by one without the rows of withdrawn patients; return None where no row is left."""
    left = None
    with suppressed.without(workspace, export.path) as (kept, dropped):
        if kept == export.path:
            return export
        if kept is not None:
            facts = dropped.facts(export.path) | ({"pull": export.pull} if export.pull else {})
            source = scrub(export.source, secrets_in_it=secrets)
            left = replace(land(workspace, kept, images=export.images, source=source, facts=facts), pull=export.pull)
            issues = noted_issues(export)
            note_issues(left, [issue for issue in issues if not suppressed.holds_photograph(issue.get("image_id"))])
    take_back(workspace, export.sha256)
    return left


def identifier_of(text: str, labelbox: LabelboxSection) -> str:
    """Return an identifier as it is compared: a patient's, or a photograph's where the study has no patients."""
    return text.strip() if labelbox.patient_from == "none" else normalise(text)


def rows_with_identity(export: Path, study: Study) -> Iterator[tuple[bytes, RowIdentity | None]]:
    """Yield the lines of an export with the identity of each row; None for a line that is no row."""
    for line in raw_rows(export, longest=study.ingest.longest_row):
        yield line.content or b"", _identity_of(line.content or b"", study.labelbox)


def _identity_of(content: bytes, labelbox: LabelboxSection) -> RowIdentity | None:
    """Read what a line names, also from a row that parsing would quarantine."""
    raw = shapes.lenient(content)
    if legacy.is_entry(raw):
        raw = legacy.as_row(raw)
    own = raw.get("data_row")
    if not isinstance(own, dict):
        return None
    image_id, *names = (_text(own.get(name)) for name in ("id", "external_id", "global_key"))
    row = shapes.Row(
        data_row=shapes.DataRow(image_id or "", external_id=names[0], global_key=names[1]),
        metadata_fields=[
            shapes.MetadataField(str(item.get("schema_name")), value=item.get("value"))
            for item in shapes.dicts(raw.get("metadata_fields"))
        ],
    )
    written = identify(row, labelbox).written
    patients = {compared(value) for value in written for compared in (normalise, as_typed)} - {""}
    if labelbox.patient_from == "none" and image_id:
        patients = {image_id}
    return RowIdentity(image_id, frozenset(patients), (*names,), tuple(_plainly(value) for value in written))


def _plainly(value: str | float) -> str:
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
