"""What in a registry a person should look at: photographs that are there twice, labels that contradict another.

Refuses to change a label: findings are rows, decisions are people's.
"""

import hashlib
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from toolkit.errors import PhotographError
from toolkit.photographs import duplicates
from toolkit.photographs.opening import grayscale_thumbnail, read_photograph
from toolkit.progress import Progress, silent
from toolkit.workspace import sql
from toolkit.workspace.registry import Workspace, insert

MEANING = {
    "identical_bytes": "photographs whose files are the same, byte for byte",
    "identical_pixels": "photographs whose pixels are the same in different files",
    "near_duplicate": "photographs that show the same, turned, cut or saved anew",
    "duplicate_within_patient": "copies within a patient: no leak, but counted twice",
    "contradiction": "lesions or copies whose classes contradict each other",
    "disagreement": "cases whose annotators say different classes",
    "unmatched_box": "boxes that not every annotator of the photograph drew",
    "ambiguous_box": "boxes that overlap several lesions",
    "ambiguous_answer": "one answer for a photograph with several lesions",
}
THREADS = 4
_COLUMNS = ("image_id", "other_image_id", "relation", "score", "change")


@dataclass(frozen=True)
class Audit:
    """How many findings there are of each kind, and what was looked at for near-duplicates."""

    findings: dict[str, int]
    across_patients: int
    """Pairs of photographs that show the same under two known patients."""
    patients_known: bool
    photographs: int
    """Compared with each other; those with the same pixels count once."""
    missing: int
    """Photographs that parse found and that are no longer there."""
    parts_looked_for: bool
    """Whether cut and slightly rotated copies were looked for too; not among very many photographs."""
    already_searched: bool


@dataclass(frozen=True)
class _Search:
    """What was found among which photographs."""

    pairs: list[dict[str, Any]]
    images_sha256: str
    photographs: int
    missing: int
    before: bool


def audit(workspace: Workspace, *, progress: Progress = silent) -> Audit:
    """Find duplicates, contradictions and disagreements; replaces what an earlier audit found.

    Photographs are compared anew only where they, or how they are compared, have changed.
    """
    search = _search(workspace, progress)
    identical = workspace.rows(sql.statement("audit/identical"))
    _record(workspace, search, identical)
    found = workspace.sql(sql.statement("audit/findings"))
    with workspace.writing() as connection:
        connection.execute("delete from findings where source = 'audit'")
        insert(connection, "findings", found)
    kinds = workspace.rows("select kind, count(*) as found from findings group by kind order by kind")
    return Audit(
        findings={row["kind"]: row["found"] for row in kinds},
        across_patients=workspace.rows(sql.statement("audit/across_patients"))[0]["pairs"],
        patients_known=workspace.rows(sql.statement("parse/parsed"))[0]["patients_known"],
        photographs=search.photographs,
        missing=search.missing,
        parts_looked_for=search.photographs <= duplicates.SETTINGS["most_viewed"],
        already_searched=search.before,
    )


def _search(workspace: Workspace, progress: Progress) -> _Search:
    """Compare the registry's photographs, or take what the last search found if it would find the same."""
    rows = workspace.rows(sql.statement("audit/photographs"))
    there = [row for row in rows if Path(row["path"]).is_file()]
    digest, missing = images_digest(row["pixel_sha256"] for row in there), len(rows) - len(there)
    last = workspace.rows("select settings, images_sha256 from duplicate_searches")
    if last == [{"settings": _settings(), "images_sha256": digest}]:
        kept = workspace.rows("select * from duplicates where relation = 'near_duplicate' order by all")
        if {row[side] for row in kept for side in _COLUMNS[:2]} <= {row["image_id"] for row in there}:
            return _Search(kept, digest, len(there), missing, before=True)
    ids, pictures = [], []
    with ThreadPoolExecutor(THREADS) as pool:
        for done, (row, picture) in enumerate(zip(there, pool.map(_sketched, there), strict=True), start=1):
            if picture is not None:
                ids.append(row["image_id"])
                pictures.append(picture)
            progress("opening photographs", done, len(there))
    pairs = [
        dict(zip(_COLUMNS, (ids[pair.first], ids[pair.other], "near_duplicate", pair.score, pair.change), strict=True))
        for pair in duplicates.find(pictures, progress=progress)
    ]
    return _Search(pairs, digest, len(ids), len(rows) - len(ids), before=False)


def _sketched(row: dict[str, Any]) -> np.ndarray | None:
    try:
        return grayscale_thumbnail(read_photograph(Path(row["path"])), longest=duplicates.LONGEST)
    except PhotographError:
        return None


def images_digest(pixel_digests: Iterable[str]) -> str:
    """Return the digest by which a search knows which photographs it was made on."""
    return hashlib.sha256("\n".join(sorted(set(pixel_digests))).encode()).hexdigest()


def _settings() -> str:
    return json.dumps(duplicates.SETTINGS, sort_keys=True)


def _record(workspace: Workspace, search: _Search, identical: list[dict[str, Any]]) -> None:
    """Replace what is known of duplicates; without a photograph nothing was searched."""
    pairs = [*identical, *search.pairs]
    made = {
        "settings": _settings(),
        "images_sha256": search.images_sha256,
        "photographs": search.photographs,
        "pairs": len(pairs),
    }
    with workspace.writing() as connection:
        connection.execute("delete from duplicates; delete from duplicate_searches")
        if pairs:
            insert(connection, "duplicates", pa.Table.from_pylist(pairs))
        if search.photographs:
            insert(connection, "duplicate_searches", pa.Table.from_pylist([made]))
