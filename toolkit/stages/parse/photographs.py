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


def look(requests: list[PhotographRequest], progress: Progress) -> dict[str, PhotographLookup]:
    """Find and open every photograph; a bad one costs itself only."""
    lookups = {}
    with ThreadPoolExecutor(THREADS) as pool:
        for done, lookup in enumerate(pool.map(_look, requests), start=1):
            lookups[lookup.image_id] = lookup
            progress("opening photographs", done, len(requests))
    return lookups


def _look(request: PhotographRequest) -> PhotographLookup:
    path = None
    try:
        path = find_photograph(request.root, request.names)
        facts = probe(read_photograph(path), path.suffix)
    except PhotographError as error:
        return PhotographLookup(request.image_id, path=path, reason=error.reason, detail=error.problem)
    if request.width and request.height and (facts.width, facts.height) != (request.width, request.height):
        turned = " (turned?)" if (facts.height, facts.width) == (request.width, request.height) else ""
        exported, opened = f"{request.width} x {request.height}", f"{facts.width} x {facts.height}"
        detail = f"the export says {exported}, the upright photograph has {opened}{turned}"
        return PhotographLookup(request.image_id, path=path, probe=facts, reason="size_mismatch", detail=detail)
    return PhotographLookup(request.image_id, path=path, probe=facts)
