"""Perceptual hashes and feature vectors of grayscale pictures in all eight orientations, and which of them are close.

They only propose pairs: `duplicates` compares the pixels.
"""

from collections.abc import Iterator
from functools import cache
from itertools import pairwise

import numpy as np
import scipy

SIDE = 32
"""Pixels of the square that a picture is resized to."""
LOW = 9
"""Cosines kept in each direction."""
ORIENTATIONS = tuple((swap, down, right) for swap in (0, 1) for down in (0, 1) for right in (0, 1))
"""The eight ways to lay a photograph: rows and columns swapped, then upside down, then mirrored."""
CHUNK = 1 << 22
"""Pairs of hashes compared at a time."""
_EDGE = 0.25
"""Share of the side over which a square fades out: what a crop or a rotation brings in there counts little."""


@cache
def _cosines() -> np.ndarray:
    return scipy.fft.dct(np.eye(SIDE, dtype=np.float32), axis=0, norm="ortho")[:LOW]


def spectra(squares: np.ndarray) -> np.ndarray:
    """Return the low cosines (DCT-II), (…, LOW, LOW), of squares, (…, SIDE, SIDE)."""
    return _cosines() @ squares @ _cosines().T


def oriented(low: np.ndarray) -> np.ndarray:
    """Return the spectra, (…, 8, n, n), of the same squares in all ORIENTATIONS: no second transform is needed.

    Mirroring changes the sign of every odd cosine, and swapping rows with columns transposes.
    """
    signs = (-1.0) ** np.arange(low.shape[-1], dtype=low.dtype)
    ways = []
    for swap, down, right in ORIENTATIONS:
        way = np.swapaxes(low, -1, -2) if swap else low
        way = way * signs[:, None] if down else way
        ways.append(way * signs if right else way)
    return np.stack(ways, axis=-3)


def hashes(low: np.ndarray) -> np.ndarray:
    """Return perceptual hashes, (…) uint64: a bit per cosine, set where it lies above their median (Zauner 2010)."""
    bits = low[..., 1:, 1:].reshape(*low.shape[:-2], 64)
    above = bits > np.median(bits, axis=-1, keepdims=True)
    return np.ascontiguousarray(np.packbits(above, axis=-1)).view(np.uint64)[..., 0]


def vectors(squares: np.ndarray) -> np.ndarray:
    """Return (…, 8, 8) float32 whose dot product says how alike two squares are, 1 = the same; all 0 for a blank.

    The cosines are weighted by their frequency squared: photographs are smooth, and low ones would decide alone.
    """
    ramp = np.clip((np.minimum(np.arange(SIDE), np.arange(SIDE)[::-1]) + 0.5) / (SIDE * _EDGE), 0, 1)
    fade = np.outer(*[0.5 - 0.5 * np.cos(np.pi * ramp)] * 2)
    mean = (squares * fade).sum(axis=(-2, -1), keepdims=True) / fade.sum()
    low = spectra((squares - mean) * fade)[..., :8, :8]
    across = np.arange(8)
    low = low * (across[:, None] ** 2 + across**2)
    length = np.sqrt((low**2).sum(axis=(-2, -1), keepdims=True))
    return (low / np.maximum(length, 1e-6)).astype(np.float32)


def close_hashes(queries: np.ndarray, library: np.ndarray, *, distance: int) -> np.ndarray:
    """Return exactly the (query, member) positions, (K, 2), of hashes that differ in at most `distance` bits.

    Of distance + 1 bands one must be equal (pigeonhole), so only hashes that share a band are compared.
    """
    close = [np.empty((0, 2), dtype=np.int64)]
    masks = _bands(distance + 1)
    for number, mask in enumerate(masks):
        for query, member in _equal_pairs(queries & mask, library & mask):
            differences = queries[query] ^ library[member]
            is_close = np.bitwise_count(differences) <= distance
            for earlier in masks[:number]:
                is_close &= (differences & earlier) != 0
            close.append(np.stack([query[is_close], member[is_close]], axis=1))
    pairs = np.concatenate(close)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def _bands(number: int) -> list[np.uint64]:
    """Return masks that divide 64 bits into bands of nearly the same width."""
    ends = [64 * band // number for band in range(number + 1)]
    return [np.uint64((1 << high) - (1 << low)) for low, high in pairwise(ends)]


def _equal_pairs(queries: np.ndarray, library: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the positions of equal values, about CHUNK pairs at a time."""
    order = np.argsort(library, kind="stable")
    ranked = library[order]
    first, last = np.searchsorted(ranked, queries, "left"), np.searchsorted(ranked, queries, "right")
    times = last - first
    ends = np.cumsum(times)
    start = 0
    while start < len(queries):
        done = ends[start] - times[start]
        stop = max(int(np.searchsorted(ends, done + CHUNK, "right")), start + 1)
        counts = times[start:stop]
        query = np.repeat(np.arange(start, stop), counts)
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        yield query, order[np.repeat(first[start:stop], counts) + within]
        start = stop
