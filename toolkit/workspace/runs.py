"""How to find a split, a run and the cases of a part: what the stages from train to report hand over.

Refuses to make or change any of them.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from toolkit.cases import Box
from toolkit.errors import WorkspaceError
from toolkit.photographs.crops import Crops, CropSource, PixelReader, case_pixels
from toolkit.workspace import sql
from toolkit.workspace.registry import Workspace

SIDES = ("roi_left", "roi_top", "roi_width", "roi_height")


class PartCase(NamedTuple):
    """A case of a part; `class_name` is today's truth, "" where it is not resolved."""

    case_id: str
    patient_id: str
    class_name: str
    path: Path
    roi: Box | None


def find_split(workspace: Workspace, name: str = "latest") -> str:
    """Return a split's ID; "latest" is the split that was made last, of a cross-validation its first fold."""
    text = "select split_id from splits group by split_id order by max(created_at) desc, split_id"
    known = [row["split_id"] for row in workspace.rows(text)]
    if name == "latest" and known:
        return known[0]
    if name not in known:
        what = "there is no split yet" if name == "latest" else f"no such split: {name}"
        there = f"the splits are: {', '.join(known)}" if known else "toolkit split"
        raise WorkspaceError(what, place=str(workspace.folder), remedy=there)
    return name


def find_run(workspace: Workspace, name: str) -> str:
    """Return a run's ID; "latest" is the run that was finished last, controls aside."""
    rows = workspace.rows("select run_id, control from runs order by finished_at desc, run_id")
    known, own = [row["run_id"] for row in rows], [row["run_id"] for row in rows if not row["control"]]
    if name == "latest" and own:
        return own[0]
    if name not in known:
        what = "there is no run yet" if name == "latest" else f"no such run: {name}"
        there = f"the runs are: {', '.join(known)}" if known else "toolkit train"
        raise WorkspaceError(what, place=str(workspace.folder / "runs"), remedy=there)
    return name


def read_run(workspace: Workspace, run_id: str) -> dict[str, Any]:
    """Return what a run recorded about itself."""
    path = workspace.run(run_id) / "run.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WorkspaceError(
            f"the record of run {run_id} cannot be read: {error}", place=str(path), remedy="toolkit train"
        ) from None


def now() -> str:
    """Return the time (UTC) as runs record it."""
    return datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="seconds")


def part_cases(workspace: Workspace, split_id: str, part: str) -> list[PartCase]:
    """Return the cases of a part, ordered by ID; refuse a part that is empty or lacks photographs."""
    rows = workspace.rows(sql.statement("split/part_cases"), {"split_id": split_id, "part": part})
    if not rows:
        raise WorkspaceError(
            f"part {part} of split {split_id} holds no case", place=str(workspace.folder), remedy="toolkit split"
        )
    if missing := sum(row["path"] is None for row in rows):
        raise WorkspaceError(
            f"{missing} of {len(rows)} cases of part {part} have no photograph",
            place=f"split {split_id}",
            remedy="toolkit parse EXPORT --images DIR",
        )
    boxes = [Box(*(row[side] for side in SIDES)) if row["roi_width"] is not None else None for row in rows]
    return [
        PartCase(row["case_id"], row["patient_id"], row["class_name"] or "", Path(row["path"]), box)
        for row, box in zip(rows, boxes, strict=True)
    ]


def resolved_cases(workspace: Workspace, split_id: str, part: str) -> list[PartCase]:
    """Return the cases of a part whose class is resolved today."""
    resolved = [case for case in part_cases(workspace, split_id, part) if case.class_name]
    if not resolved:
        raise WorkspaceError(
            f"no case of part {part} has a resolved class", place=f"split {split_id}", remedy="toolkit split"
        )
    return resolved


def crops_of(cases: list[PartCase], *, margin: float, size: int, read: PixelReader = case_pixels) -> Crops:
    """Return the crops of cases as the model sees them, or as `read` makes them."""
    return Crops([CropSource(case.case_id, case.path, case.roi) for case in cases], margin=margin, size=size, read=read)
