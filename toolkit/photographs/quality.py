"""The technical quality of a photograph: sharpness, exposure, effective resolution, measured on its upright pixels."""

from typing import NamedTuple

import numpy as np
import scipy
from PIL import Image

VERSION = 1
"""Changes whenever a measure does."""
TILE = 512
"""Pixels of the middle square that sharpness is measured on, at the photograph's own resolution."""
SMALL = 256
"""Pixels of the longer side of the photograph that exposure is measured on."""
DARK, BRIGHT = 5, 250
"""Levels of 255 up to and from which a pixel counts as black or white."""
HELD = 0.95
"""Share of the energy of all edges that the effective resolution holds."""


class PhotographQuality(NamedTuple):
    """Measures of one photograph; which of them is poor depends on the study's others."""

    sharpness: float
    """Variance of the Laplacian against the variance of the grey levels (J. Pech-Pacheco et al., 2000); 0 = flat."""
    brightness: float
    """Median grey level, 0 to 1."""
    dark_share: float
    """Share of black pixels."""
    bright_share: float
    """Share of white pixels."""
    effective_pixels: float
    """Pixels of the longer side that would hold 95 % of the energy of its edges."""


def photograph_quality(image: Image.Image) -> PhotographQuality:
    """Return the quality of a photograph in RGB."""
    small = image.copy()
    small.thumbnail((SMALL, SMALL), Image.Resampling.BOX)
    grey = np.asarray(small.convert("L"))
    tile = _middle(image)
    variance = float(tile.var())
    sharpness = float(scipy.ndimage.laplace(tile, mode="nearest").var()) / variance if variance > 1e-6 else 0.0
    return PhotographQuality(
        sharpness=sharpness,
        brightness=float(np.median(grey)) / 255,
        dark_share=float((grey <= DARK).mean()),
        bright_share=float((grey >= BRIGHT).mean()),
        effective_pixels=_bandwidth(tile) * max(image.size),
    )


def _middle(image: Image.Image) -> np.ndarray:
    """Return the grey levels of the middle, (rows, columns) between 0 and 1."""
    across, down = (min(side, TILE) for side in image.size)
    left, top = (image.width - across) // 2, (image.height - down) // 2
    return np.asarray(image.crop((left, top, left + across, top + down)).convert("L"), np.float32) / 255


def _bandwidth(tile: np.ndarray) -> float:
    """Return the share of the finest frequency below which HELD of all edges' energy lies; 0 where nothing varies."""
    window = np.outer(*(np.hanning(side + 2)[1:-1] for side in tile.shape))
    power = np.abs(np.fft.rfft2((tile - tile.mean()) * window)) ** 2
    rows, columns = np.fft.fftfreq(tile.shape[0])[:, None], np.fft.rfftfreq(tile.shape[1])[None]
    frequency = np.hypot(rows, columns)
    bins = np.minimum(frequency / 0.5 * 64, 63).astype(int)
    energy = np.cumsum(np.bincount(bins.ravel(), (power * frequency**2).ravel(), 64))
    return float((np.searchsorted(energy, HELD * energy[-1]) + 1) / 64) if energy[-1] > 1e-9 else 0.0
