"""Findings that a person should look at: duplicate photographs, labels that contradict each other, suspect labels."""

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
from toolkit.manifest import Study
from toolkit.photographs import duplicates
from toolkit.photographs.opening import read_parsed
from toolkit.photographs.surrounds import comparable_thumbnail
from toolkit.progress import Progress, silent
from toolkit.stages.audit import same_lesion
from toolkit.stages.audit.suspects import SuspectLabels, find_suspects
from toolkit.workspace import audited, sql
from toolkit.workspace.locks import one_at_a_time
from toolkit.workspace.registry import Workspace, table_schema

MEANING = {
    "identical_bytes": "pairs of photographs whose files are identical",
    "identical_pixels": "pairs of photographs whose pixels are identical, in different files",
    "near_duplicate": "pairs of near-duplicate photographs: mirrored, rotated, cropped or saved again",
    "duplicate_within_patient": "pairs of duplicates of one patient: no leak, but each counts as a case",
    "second_patient_id": "pairs of duplicates of two patients with equal metadata: one person under two IDs?",
    "similar_patient_ids": "pairs of patients whose IDs differ by a slip of typing: one person under two IDs?",
    "same_lesion_within_patient": "pairs of photographs of one patient that look like one lesion, photographed again",
    "contradiction": "pairs of photographs of one lesion, or of duplicates, whose classes differ; labels with two",
    "suspect_label": "labels to look at again first: the most probable errors",
    "disagreement": "cases whose annotators give different classes",
    "unmatched_box": "boxes that not every annotator of the photograph drew",
    "ambiguous_box": "boxes that overlap several lesions",
    "ambiguous_answer": "photographs with several lesions and one answer",
}
THREADS = 4
SETTINGS = json.dumps(duplicates.SETTINGS, sort_keys=True)
"""As the registry notes them."""


@dataclass(frozen=True)
class Audit:
    """How many findings there are of each kind, and which photographs were searched for near-duplicates."""

    findings: dict[str, int]
    across_patients: int
    """Pairs of duplicate photographs under two known patients."""
    patients_known: bool
    photographs: int
    """Compared with each other; those with the same pixels count once."""
    missing: int
    """Photographs that parse opened and that cannot be opened now."""
    already_searched: bool
    compared_within_patients: int
    """Photographs that were compared with others of their patient: do they show the same lesion?"""
    left_out_within_patients: int
    """Photographs that were not, of patients with very many."""
    suspects: SuspectLabels


@dataclass(frozen=True)
class _Search:
    """The near-duplicates among some photographs."""

    pairs: list[dict[str, Any]]
    images_sha256: str
    photographs: int
    missing: int
    already_searched: bool


@one_at_a_time("audit")
def audit(workspace: Workspace, study: Study | None = None, *, progress: Progress = silent) -> Audit:
    """Find duplicates, contradictions, disagreements and suspect labels; replaces the findings of an earlier audit.

    Photographs are compared again only where they, or how they are compared, have changed; labels with photographs,
    where one of both has. `study` gives the seed and what binds patients into groups.
    """
    search = _search(workspace, progress)
    _record(workspace, search, workspace.rows(sql.statement("audit/identical")))
    within = same_lesion.search(workspace, progress)
    suspects = find_suspects(workspace, study, progress)
    with workspace.reading():
        findings = [workspace.read(sql.statement(f"audit/{name}")) for name in ("findings", "same_lesion")]
    audited.record(workspace, {"findings": pa.concat_tables(each.cast(table_schema("findings")) for each in findings)})
    with workspace.reading():
        counts = workspace.rows("select kind, count(*) as findings from findings group by kind order by kind")
        across = workspace.rows(sql.statement("audit/across_patients"))[0]["pairs"]
        known = workspace.rows("select patient_from <> 'none' as known from label_states")[0]["known"]
    return Audit(
        findings={row["kind"]: row["findings"] for row in counts},
        across_patients=across,
        patients_known=known,
        photographs=search.photographs,
        missing=search.missing,
        already_searched=search.already_searched,
        compared_within_patients=within.photographs,
        left_out_within_patients=within.left_out,
        suspects=suspects,
    )


def _search(workspace: Workspace, progress: Progress) -> _Search:
    """Compare the registry's photographs, or return the last search if it would find the same."""
    with workspace.reading():
        registered = workspace.rows(sql.statement("audit/photographs"))
        last = workspace.rows("select settings, images_sha256 from duplicate_searches")
        pairs = workspace.rows("select * from duplicates where relation = 'near_duplicate' order by all")
    rows = [row for row in registered if Path(row["path"]).is_file()]
    digest = images_digest(row["pixel_sha256"] for row in rows)
    in_pairs = {row[side] for row in pairs for side in ("image_id", "other_image_id")}
    if last == [{"settings": SETTINGS, "images_sha256": digest}] and in_pairs <= {row["image_id"] for row in rows}:
        return _Search(pairs, digest, len(rows), len(registered) - len(rows), already_searched=True)
    ids, pictures = [], []
    with ThreadPoolExecutor(THREADS) as pool:
        for done, (row, picture) in enumerate(zip(rows, pool.map(_thumbnail, rows), strict=True), start=1):
            if picture is not None:
                ids.append(row["image_id"])
                pictures.append(picture)
            progress("opening photographs", done, len(rows))
    pairs = [
        {"image_id": ids[i], "other_image_id": ids[j], "relation": "near_duplicate", "score": score, "change": change}
        for i, j, score, change in duplicates.find(pictures, progress=progress)
    ]
    return _Search(pairs, digest, len(ids), len(registered) - len(ids), already_searched=False)


def _thumbnail(row: dict[str, Any]) -> np.ndarray | None:
    try:
        content = read_parsed(Path(row["path"]), row["sha256"], name=f"photograph {row['image_id']}")
        return comparable_thumbnail(content, longest=duplicates.LONGEST)
    except PhotographError:
        return None


def images_digest(pixel_digests: Iterable[str]) -> str:
    """Return the digest that says which photographs a search was made on."""
    return hashlib.sha256("\n".join(sorted(set(pixel_digests))).encode()).hexdigest()


def _record(workspace: Workspace, search: _Search, identical: list[dict[str, Any]]) -> None:
    """Replace the registry's duplicates; without a photograph no search is noted."""
    pairs = [*identical, *search.pairs]
    noted = {
        "settings": SETTINGS,
        "images_sha256": search.images_sha256,
        "photographs": search.photographs,
        "pairs": len(pairs),
    }
    rows = {"duplicates": pairs, "duplicate_searches": [noted] if search.photographs else []}
    audited.record(workspace, {name: pa.Table.from_pylist(rows[name], schema=table_schema(name)) for name in rows})
