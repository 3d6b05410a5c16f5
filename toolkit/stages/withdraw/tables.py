"""What the registry holds of a patient."""

from pathlib import Path

from toolkit.workspace.registry import Workspace


def photographs_in(workspace: Workspace) -> list[dict]:
    """Return the registry's photographs: image_id, patient_id, path."""
    return _rows(workspace, "select image_id, patient_id, path from images")


def cases_of(workspace: Workspace, images: set[str]) -> set[str]:
    """Return the cases on photographs."""
    cases = _rows(workspace, "select case_id, image_id from cases")
    return {row["case_id"] for row in cases if row["image_id"] in images}


def files_of(photographs: list[dict], images: set[str]) -> set[Path]:
    """Return the files of some photographs that no other photograph shares."""
    own = {row["path"] for row in photographs if row["image_id"] in images}
    others = {row["path"] for row in photographs if row["image_id"] not in images}
    return {Path(path) for path in own - others - {None}}


def _rows(workspace: Workspace, text: str) -> list[dict]:
    return workspace.rows(text) if workspace.is_parsed() else []
