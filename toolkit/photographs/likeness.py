"""Which photographs look like a view of one: every pair is compared, or, among very many, those that an index gives."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from toolkit.photographs.hashes import ORIENTATIONS, oriented

TILE = 1024
"""Photographs compared with one at a time, so that the products stay in the processor's cache."""
BATCH = 16
"""Photographs whose views are looked up in the index together."""
CLUSTER = 10
"""Photographs in a cluster of the index, on average, until there are so many clusters:"""
MOST_CLUSTERS = 2048
ROUNDS = 4
"""Of k-means."""
SLACK = 0.12
"""How much less like a cluster's centre a view may be than its members, beside what the pair itself lacks."""
LONE = 0.02
"""Share of the photographs, those least like any centre, that are in no cluster: every view is compared with them."""


class Look(NamedTuple):
    """Which photographs look like a view of one, (K,) each: positions, likenesses, that view and its orientation."""

    others: np.ndarray
    likenesses: np.ndarray
    views: np.ndarray
    orientations: np.ndarray


class Index(NamedTuple):
    """Vectors of whole photographs in clusters; a first cluster without a centre holds the lone ones."""

    whole: np.ndarray
    """All vectors, (N, 64)."""
    centres: np.ndarray
    """(C, 64)"""
    members: list[np.ndarray]
    """Positions, by cluster; the lone ones first."""
    vectors: list[np.ndarray]
    """Of the members, (64, members)."""
    nearest: np.ndarray
    """How like its centre a view must at least be for a cluster to be searched, (C,)."""


def compare_all(views: np.ndarray, whole: np.ndarray, *, likeness: float) -> Look:
    """Return exactly which of `whole`, (N, 64), look like any of one photograph's `views`, (V, 8, 8), as it may lie."""
    queries = oriented(views).reshape(-1, 64)
    close = []
    for start in range(0, max(len(whole), 1), TILE):
        similarity = queries @ whole[start : start + TILE].T
        best = similarity.max(axis=0)
        near = np.flatnonzero(best >= likeness)
        close.append((near + start, best[near], similarity[:, near].argmax(axis=0)))
    others, likenesses, ways = (np.concatenate(columns) for columns in zip(*close, strict=True))
    return Look(others, likenesses, ways // len(ORIENTATIONS), ways % len(ORIENTATIONS))


def build_index(whole: np.ndarray, *, likeness: float) -> Index:
    """Put whole photographs, (N, 64), into clusters (spherical k-means from evenly spaced ones)."""
    number = min(max(len(whole) // CLUSTER, 1), MOST_CLUSTERS)
    centres = whole[np.linspace(0, len(whole) - 1, number).astype(int)]
    for _ in range(ROUNDS):
        clusters, _ = _nearest(whole, centres)
        sums = np.zeros_like(centres)
        np.add.at(sums, clusters, whole)
        centres = np.where(sums.any(axis=1, keepdims=True), sums, centres)
        centres /= np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-6)
    clusters, similarity = _nearest(whole, centres)
    clusters[similarity < np.quantile(similarity, LONE)] = -1
    members = [np.flatnonzero(clusters == cluster) for cluster in range(-1, number)]
    least = [similarity[own].min() if len(own) else np.inf for own in members[1:]]
    nearest = likeness * np.array(least, dtype=np.float32) - SLACK
    return Index(whole, centres, members, [np.ascontiguousarray(whole[own].T) for own in members], nearest)


def _nearest(whole: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each photograph's most alike centre, and how alike it is."""
    clusters, best = np.empty(len(whole), dtype=int), np.empty(len(whole), dtype=np.float32)
    for start in range(0, len(whole), TILE):
        similarity = whole[start : start + TILE] @ centres.T
        clusters[start : start + TILE] = similarity.argmax(axis=1)
        best[start : start + TILE] = similarity.max(axis=1)
    return clusters, best


def look_up(views: np.ndarray, index: Index, *, likeness: float) -> Iterator[Look]:
    """Yield for each photograph, of its `views`, (B, V, 8, 8), which photographs the index finds alike."""
    queries = oriented(views).reshape(-1, 64)
    each = len(queries) // len(views)
    searched = queries @ index.centres.T >= index.nearest
    pairs = []
    for cluster in [-1, *np.flatnonzero(searched.any(axis=0))]:
        asking = np.arange(len(queries)) if cluster < 0 else np.flatnonzero(searched[:, cluster])
        row, column = np.nonzero(queries[asking] @ index.vectors[cluster + 1] >= likeness)
        pairs.append(np.stack([asking[row] // each, index.members[cluster + 1][column]], axis=1))
    found = np.unique(np.concatenate(pairs), axis=0)
    for number, own in enumerate(views):
        others = found[found[:, 0] == number, 1]
        look = compare_all(own, index.whole[others], likeness=likeness)
        yield look._replace(others=others[look.others])
