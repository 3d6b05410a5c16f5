"""The search for the photographs of an export, and the comparison of their size with what the export says."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from toolkit.errors import PhotographError
from toolkit.photographs.crops import THREADS
from toolkit.photographs.opening import Probe, find_photograph, probe, read_photograph
from toolkit.progress import Progress


class PhotographRequest(NamedTuple):
    """A photograph to look for: its possible file names, and its size as the export has it."""

    image_id: str
    root: Path
    names: tuple[str | None, ...]
    width: int | None
    height: int | None


class PhotographLookup(NamedTuple):
    """What was found: a file and its probe, or the reason the photograph cannot be used."""

    image_id: str
    path: Path | None = None
    probe: Probe | None = None
    reason: str | None = None
    detail: str | None = None


def look(wanted: list[PhotographRequest], progress: Progress) -> dict[str, PhotographLookup]:
    """Find and open every photograph; a bad one costs itself only."""
    found = {}
    with ThreadPoolExecutor(THREADS) as pool:
        for done, item in enumerate(pool.map(_look, wanted), start=1):
            found[item.image_id] = item
            progress("opening photographs", done, len(wanted))
    return found


def _look(wanted: PhotographRequest) -> PhotographLookup:
    path = None
    try:
        path = find_photograph(wanted.root, wanted.names)
        facts = probe(read_photograph(path), path.suffix)
    except PhotographError as error:
        return PhotographLookup(wanted.image_id, path=path, reason=error.reason, detail=error.problem)
    if wanted.width and wanted.height and (facts.width, facts.height) != (wanted.width, wanted.height):
        told, seen = f"{wanted.width} x {wanted.height}", f"{facts.width} x {facts.height}"
        turned = (facts.height, facts.width) == (wanted.width, wanted.height)
        detail = f"the export says {told}, the upright photograph has {seen}" + (" (turned?)" if turned else "")
        return PhotographLookup(wanted.image_id, path=path, probe=facts, reason="size_mismatch", detail=detail)
    return PhotographLookup(wanted.image_id, path=path, probe=facts)
