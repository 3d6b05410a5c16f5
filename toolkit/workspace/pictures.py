"""Photographs for other tools: upright and in sRGB, encoded anew, named by an ID; nothing else of their files."""

import io
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from toolkit.errors import PhotographError
from toolkit.files import make_folder, private
from toolkit.photographs.opening import open_photograph, read_parsed
from toolkit.progress import Progress
from toolkit.workspace.exported_cases import ExportedCase

QUALITY = 95
"""Of JPEG, with colours at full resolution."""
THREADS = 4
NO_PHOTOGRAPH = "its photograph was not found when it was parsed"


def write_pictures(wanted: Mapping[Path, ExportedCase], *, progress: Progress) -> dict[Path, str]:
    """Write the photograph of a case to each path; return why there is none, by path."""
    for folder in sorted({path.parent for path in wanted}):
        make_folder(folder)
    faults = []
    with ThreadPoolExecutor(THREADS) as pool:
        for number, fault in enumerate(pool.map(_write, wanted, wanted.values()), start=1):
            progress("writing pictures", number, len(wanted))
            faults.append(fault)
    return {path: fault for path, fault in zip(wanted, faults, strict=True) if fault}


def _write(path: Path, case: ExportedCase) -> str | None:
    """Write a picture; return why it cannot be. A photograph that was changed since it was parsed is an error."""
    if case.path is None:
        return NO_PHOTOGRAPH
    try:
        content = jpeg_of(read_parsed(Path(case.path), case.sha256, name=f"case {case.case_id}"))
    except PhotographError as problem:
        return f"its photograph cannot be used: {problem.reason.replace('_', ' ')}"
    with open(path, "xb", opener=private) as file:
        file.write(content)
    return None


def jpeg_of(content: bytes) -> bytes:
    """Return a photograph as a JPEG of its pixels alone: no EXIF, no comment, no colour profile, no thumbnail."""
    image = open_photograph(content).convert("RGB")
    image.info = {}  # Pillow would write a comment or a profile that stands here
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY, subsampling=0)
    return buffer.getvalue()
