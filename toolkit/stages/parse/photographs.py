"""The search for the photographs of an export, and the comparison of their size with what the export says."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from toolkit.errors import PhotographError
from toolkit.photographs.crops import THREADS
from toolkit.photographs.names import NameOwners, NearMiss, NoFileError, PhotographFolder, PhotographNames
from toolkit.photographs.opening import Probe, probe, read_photograph
from toolkit.progress import Progress


class PhotographRequest(NamedTuple):
    """A photograph to look for: its possible file names, and its size as the export has it."""

    names: PhotographNames
    width: int | None
    height: int | None


class PhotographLookup(NamedTuple):
    """What was found: a file and its probe, or the reason the photograph cannot be used; files nearly of its name."""

    image_id: str
    path: Path | None = None
    probe: Probe | None = None
    reason: str | None = None
    detail: str | None = None
    near: tuple[NearMiss, ...] = ()


def look(
    requests: list[PhotographRequest], others: list[PhotographNames], progress: Progress
) -> dict[str, PhotographLookup]:
    """Find and open every photograph; a bad one costs itself only. `others` have names too, and are not looked for."""
    owners = NameOwners([*(request.names for request in requests), *others])
    folders = {root: PhotographFolder(root) for root in {request.names.root for request in requests}}
    lookups = {}
    with ThreadPoolExecutor(THREADS) as pool:
        results = pool.map(lambda request: _look(request, owners, folders[request.names.root]), requests)
        for done, lookup in enumerate(results, start=1):
            lookups[lookup.image_id] = lookup
            progress("opening photographs", done, len(requests))
    return lookups


def _look(request: PhotographRequest, owners: NameOwners, folder: PhotographFolder) -> PhotographLookup:
    path, image_id = None, request.names.image_id
    try:
        path = folder.find(*owners.divide(request.names))
        facts = probe(read_photograph(path), path.suffix)
    except NoFileError as error:
        return PhotographLookup(image_id, reason=error.reason, detail=error.problem, near=tuple(error.near))
    except PhotographError as error:
        return PhotographLookup(image_id, path=path, reason=error.reason, detail=error.problem)
    if request.width and request.height and (facts.width, facts.height) != (request.width, request.height):
        turned = " (turned?)" if (facts.height, facts.width) == (request.width, request.height) else ""
        exported, opened = f"{request.width} x {request.height}", f"{facts.width} x {facts.height}"
        detail = f"the export says {exported}, the upright photograph has {opened}{turned}"
        return PhotographLookup(image_id, path=path, probe=facts, reason="size_mismatch", detail=detail)
    return PhotographLookup(image_id, path=path, probe=facts)
