"""The stage `export`: cases, labels and predictions in the formats of other tools, without what leads to a person.

Pseudonyms and IDs are all that names a patient, a photograph or a file. Every export stands in a folder of its own,
with a manifest of what it was made from, what it holds and what was left out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from toolkit.files import digests_of, size_of, write_json
from toolkit.manifest import Study
from toolkit.progress import Progress, silent
from toolkit.stages.export.chat import write_chat_folder
from toolkit.stages.export.coco import write_coco
from toolkit.stages.export.fiftyone import write_fiftyone
from toolkit.stages.export.imagefolder import write_imagefolder
from toolkit.stages.export.isic import write_isic
from toolkit.stages.export.parquet import write_parquet_tables
from toolkit.stages.export.written import Order, Written
from toolkit.workspace.locks import one_at_a_time
from toolkit.workspace.new_folder import new_folder
from toolkit.workspace.registry import Workspace

MANIFEST = "manifest.json"
Format = Literal["parquet", "coco", "imagefolder", "fiftyone", "isic", "chat"]
WRITERS: dict[Format, Callable[[Order], Written]] = {
    "parquet": write_parquet_tables,
    "coco": write_coco,
    "imagefolder": write_imagefolder,
    "fiftyone": write_fiftyone,
    "isic": write_isic,
    "chat": write_chat_folder,
}


@dataclass(frozen=True)
class Exported:
    """What was written, and for each reason how many cases were left out."""

    format: str
    folder: str
    cases: int
    pictures: int
    files: int
    megabytes: float
    left_out: dict[str, int]


@one_at_a_time("export")
def export(  # noqa: PLR0913 - what the formats are made from
    workspace: Workspace,
    study: Study,
    kind: Format,
    folder: Path,
    *,
    split: str = "latest",
    run: str = "latest",
    images: bool = False,
    progress: Progress = silent,
) -> Exported:
    """Write an export of a format into a new folder, whole or not at all."""
    with new_folder(folder, workspace=workspace.folder) as new, workspace.reading():
        written = WRITERS[kind](Order(workspace, study, new, split, run, images, progress))
        digests = digests_of(new)
        write_json(new / MANIFEST, _manifest(workspace, study, kind, written, digests))
    reasons = list(written.left_out.values())
    left_out = {reason: reasons.count(reason) for reason in sorted(set(reasons))}
    size = round(size_of(folder) / 1e6, 1)
    return Exported(kind, str(folder), written.cases, written.pictures, len(digests) + 1, size, left_out)


def _manifest(
    workspace: Workspace, study: Study, kind: str, written: Written, digests: dict[str, str]
) -> dict[str, Any]:
    """Return what an export was made from, what it holds and what was left out of it; it holds no time."""
    states = workspace.rows("select truth_id, content_hash from label_states")
    return {
        "format": kind,
        "toolkit": version("lesion-toolkit"),
        "study": study.study.name,
        "labels": states[0] if states else None,
        "cases": written.cases,
        "pictures": written.pictures,
        "left_out": written.left_out,
        "files": digests,
        **written.facts,
    }
