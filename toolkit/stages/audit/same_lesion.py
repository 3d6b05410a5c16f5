"""The search for other exposures of one lesion, among each patient's own photographs."""

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations, groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
from threadpoolctl import threadpool_limits

from toolkit.errors import PhotographError
from toolkit.photographs import exposures
from toolkit.photographs.keypoints import Keypoints
from toolkit.photographs.opening import read_parsed
from toolkit.progress import Progress
from toolkit.workspace import audited, sql
from toolkit.workspace.registry import Workspace, table_schema

MOST = 100
"""Photographs of one patient that are compared with each other, those whose IDs come first: 4,950 pairs."""
THREADS = 2
SETTINGS = json.dumps({**exposures.SETTINGS, "most": MOST}, sort_keys=True)
"""As the registry notes them."""
Row = dict[str, Any]


@dataclass(frozen=True)
class SameLesionSearch:
    """How many photographs were compared with others of their patient, and how many were not."""

    photographs: int
    left_out: int
    """Of patients with more than MOST."""


def search(workspace: Workspace, progress: Progress) -> SameLesionSearch:
    """Compare each patient's photographs and keep the pairs, unless the last search would find the same."""
    rows = [row for row in workspace.rows(sql.statement("audit/photographs_of_patients")) if _is_there(row)]
    patients = [own for _, group in groupby(rows, lambda row: row["patient_id"]) if len(own := list(group)) > 1]
    digest = _digest(patients)
    [last] = workspace.rows("select * from same_lesion_searches") or [None]
    if last and (last["settings"], last["images_sha256"]) == (SETTINGS, digest):
        return SameLesionSearch(last["photographs"], last["left_out"])
    compared = [own[:MOST] for own in patients]
    found = SameLesionSearch(sum(map(len, compared)), sum(map(len, patients)) - sum(map(len, compared)))
    _record(workspace, found, digest, [pair for pairs in _compared(compared, progress) for pair in pairs])
    return found


def _is_there(row: Row) -> bool:
    return Path(row["path"]).is_file()


def _digest(patients: list[list[Row]]) -> str:
    """Return the digest that says which photographs a search is made on, and which of them are of one patient."""
    lines = [f"{row['patient_id']} {row['image_id']} {row['pixel_sha256']}" for own in patients for row in own]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _compared(patients: list[list[Row]], progress: Progress) -> Iterator[list[Row]]:
    """Yield the pairs of each patient; only the features of a few patients are in memory at once."""
    done, total = 0, sum(map(len, patients))
    # The linear algebra is of small matrices: its own threads would mostly wait for each other.
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(THREADS) as pool:
        for own, pairs in zip(patients, pool.map(_pairs, patients), strict=True):
            yield pairs
            done += len(own)
            progress("comparing each patient's photographs", done, total)


def _pairs(photographs: list[Row]) -> list[Row]:
    """Return the pairs of one patient's photographs that show one lesion."""
    described = [(row["image_id"], features) for row in photographs if (features := _features(row)) is not None]
    pairs = []
    for (image_id, one), (other_image_id, other) in combinations(described, 2):
        agreement = exposures.agreement(one, other)
        if agreement.is_one_lesion:
            pairs.append({"image_id": image_id, "other_image_id": other_image_id, **agreement._asdict()})
    return pairs


def _features(row: Row) -> Keypoints | None:
    try:
        content = read_parsed(Path(row["path"]), row["sha256"], name=f"photograph {row['image_id']}")
        return exposures.features_of(content)
    except PhotographError:
        return None


def _record(workspace: Workspace, found: SameLesionSearch, digest: str, pairs: list[Row]) -> None:
    """Replace the registry's pairs; where nothing was compared, no search is noted."""
    noted = {"settings": SETTINGS, "images_sha256": digest, "pairs": len(pairs)}
    noted |= {"photographs": found.photographs, "left_out": found.left_out}
    rows = {"same_lesion_pairs": pairs, "same_lesion_searches": [noted] if found.photographs else []}
    audited.record(workspace, {name: pa.Table.from_pylist(rows[name], schema=table_schema(name)) for name in rows})
