"""The cases of an export, each with its photograph, ROI, reference diagnosis, subset, readings and metadata."""

from dataclasses import dataclass
from typing import Any

from toolkit.cases import Box
from toolkit.errors import WorkspaceError
from toolkit.workspace import sql
from toolkit.workspace.registry import Workspace
from toolkit.workspace.runs import SIDES, find_split


@dataclass(frozen=True)
class ExportedCase:
    """A case; `class_name` is its reference diagnosis, None where there is none; `part` its subset of the split.

    `readings` are annotator (pseudonym), class_name, and whether it counts for the reference diagnosis.
    """

    case_id: str
    image_id: str
    patient_id: str
    lesion_id: str | None
    class_name: str | None
    resolved_by: str
    part: str | None
    width: int | None
    height: int | None
    roi: Box | None
    path: str | None
    sha256: str | None
    readings: list[dict[str, Any]]
    metadata: dict[str, str]

    @property
    def box(self) -> list[float]:
        """The ROI: left, top, width and height in pixels of the upright photograph, or the whole of it."""
        return list(self.roi or (0.0, 0.0, float(self.width or 0), float(self.height or 0)))

    @property
    def facts(self) -> dict[str, Any]:
        """What every format says of a case beside its class and its ROI."""
        return {
            "case_id": self.case_id,
            "image_id": self.image_id,
            "patient_id": self.patient_id,
            "lesion_id": self.lesion_id,
            "resolved_by": self.resolved_by,
        }


def newest_split(workspace: Workspace, name: str) -> str | None:
    """Return the ID of the split that is named; None where the latest is meant and there is none yet."""
    if name == "latest" and not workspace.rows("select 1 from splits limit 1"):
        return None
    return find_split(workspace, name)


def read_cases(workspace: Workspace, split_id: str | None) -> list[ExportedCase]:
    """Return every case, ordered by its ID; refuse a registry without any."""
    rows = workspace.rows(sql.statement("export/cases"), {"split_id": split_id or ""})
    if not rows:
        raise WorkspaceError(
            "there is no case", place=str(workspace.folder), remedy="toolkit parse EXPORT --images DIR"
        )
    return [_case(row) for row in rows]


def _case(row: dict[str, Any]) -> ExportedCase:
    sides = [row.pop(side) for side in SIDES]
    roi = Box(*sides) if None not in sides else None
    values: dict[str, Any] = {**row, "roi": roi, "metadata": dict(row["metadata"] or ())}
    return ExportedCase(**values)
