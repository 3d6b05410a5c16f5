"""The extents of masks that an export only links to, read from the files that `pull` fetched."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from toolkit.cases import Box
from toolkit.errors import PhotographError
from toolkit.labelbox_json.outlines import NOT_FETCHED, color_of
from toolkit.photographs.crops import THREADS
from toolkit.photographs.masks import Size, extent_of_png
from toolkit.photographs.opening import file_name, read_photograph
from toolkit.progress import Progress
from toolkit.workspace.landed import fetched_files

EXTENTS = pa.schema(
    [(name, pa.string()) for name in ("object_id", "mask_address", "mask_color")]
    + [(f"extent_{side}", pa.float64()) for side in ("left", "top", "width", "height")]
    + [("no_extent", pa.string())]
)


class LinkedMask(NamedTuple):
    """A mask that an object links to, the size of its photograph, and the object's ID, which names its file."""

    object_id: str
    mask_address: str
    mask_color: str | None
    width: int | None
    height: int | None


class MaskExtent(NamedTuple):
    """What was found of a mask: its extent, or why there is none."""

    mask: LinkedMask
    extent: Box | None
    problem: str | None


def read_masks(folder: Path, masks: list[LinkedMask], progress: Progress) -> Iterator[MaskExtent]:
    """Yield the extent of each mask; a file of several objects' masks stands under the first one's name."""
    records = fetched_files(folder)
    by_address = {record["address"]: record for record in records.values()}

    def read(mask: LinkedMask) -> MaskExtent:
        own = records.get(file_name(mask.object_id))
        record = own if own and own["address"] == mask.mask_address else by_address.get(mask.mask_address)
        if record is None:
            return MaskExtent(mask, None, NOT_FETCHED)
        try:
            content = read_photograph(folder / file_name(record["name"]))
            if sha256(content).hexdigest() != record["sha256"]:
                return MaskExtent(mask, None, "its mask's file was changed since it was fetched: pull again")
            size = Size(mask.width, mask.height)
            return MaskExtent(mask, extent_of_png(content, size, color_of(mask.mask_color)), None)
        except PhotographError as error:
            return MaskExtent(mask, None, error.problem)

    with ThreadPoolExecutor(THREADS) as pool:
        for done, found in enumerate(pool.map(read, masks), start=1):
            progress("reading masks", done, len(masks))
            yield found


def extents_table(found: Iterable[MaskExtent]) -> pa.Table:
    """Return extents as a table: the mask's key, the sides of its extent, why there is none."""
    rows = [(*mask[:3], *(extent or (None,) * 4), problem) for mask, extent, problem in found]
    return pa.Table.from_pylist([dict(zip(EXTENTS.names, row, strict=True)) for row in rows], schema=EXTENTS)
