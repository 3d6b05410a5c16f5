"""A case's lesion beside its skin: a square around the ROI as absorbance relative to that skin, and a segmentation.

Absorbance is the negative logarithm of a colour. Relative to the surrounding skin it hardly depends on the skin's tone,
on the camera's balance and exposure, and on which side the light comes from.
"""

from typing import NamedTuple

import numpy as np
import scipy
from PIL import Image

from toolkit.cases import Box

SIDE = 128
"""Pixels of the square's sides."""
MARGIN = 0.25
"""Of the ROI's longer side, on each side. A photograph without ROI is taken to show its lesion in the middle."""
SKIN_FROM = 1.15
"""Distance from the ROI's centre, in half its sides, from which pixels count as skin."""
FEWEST_SKIN = 200
"""Pixels; with fewer, the ROI's corners count as skin too."""
BLACK = 4
"""Levels added to a colour before its logarithm is taken: noise in black would be everything else."""


class LesionView(NamedTuple):
    """One case's square, (S, S): `channels` (3, S, S) are darkness, blue against red, and redness, all 0 on skin.

    `seen` marks pixels inside the photograph, `skin` those outside the ROI, `lesion` what differs from them.
    `across` and `down` are the distance from the ROI's centre in half its sides, `radius` both together; `base` (3,) is
    the skin's own absorbance.
    """

    channels: np.ndarray
    seen: np.ndarray
    skin: np.ndarray
    lesion: np.ndarray
    across: np.ndarray
    down: np.ndarray
    radius: np.ndarray
    base: np.ndarray


def lesion_view(image: Image.Image, roi: Box | None) -> LesionView:
    """Return the view of a photograph, upright and in RGB, and of a ROI; None is the whole photograph."""
    box = roi or _middle(image)
    colours, seen, (across, down) = _cut(image, box)
    radius = np.hypot(across, down)
    skin = next(
        (area for area in (seen & (radius > SKIN_FROM), seen & (radius > 1)) if area.sum() >= FEWEST_SKIN), seen
    )
    absorbed = -np.log((colours + BLACK) / (255 + BLACK))
    relative, base = _without_skin(absorbed, skin)
    red, green, blue = relative
    channels = np.stack([relative.mean(axis=0), blue - red, green - (red + blue) / 2])
    lesion = _segmented(channels, skin, seen & (radius < SKIN_FROM + 0.1))
    return LesionView(channels, seen, skin, lesion, across, down, radius, base)


def _middle(image: Image.Image) -> Box:
    across, down = (side / (1 + 2 * MARGIN) for side in image.size)
    return Box((image.width - across) / 2, (image.height - down) / 2, across, down)


def _cut(image: Image.Image, box: Box) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Return colours (3, S, S), which pixels lie in the photograph, and each pixel's place in half sides of the box."""
    middle = box.left + box.width / 2, box.top + box.height / 2
    side = max(max(box.width, box.height) * (1 + 2 * MARGIN), 2.0)
    left, top = middle[0] - side / 2, middle[1] - side / 2
    # Places beyond the photograph are filled with its nearest pixel, and known as not seen.
    places = (np.arange(SIDE, dtype=np.float32) + 0.5) * side / SIDE
    columns, rows = left + places, top + places
    visible = (max(left, 0.0), max(top, 0.0), min(left + side, image.width), min(top + side, image.height))
    if visible[2] - visible[0] < 1 or visible[3] - visible[1] < 1:
        visible = (0.0, 0.0, float(image.width), float(image.height))
    size = [max(round((visible[n + 2] - visible[n]) * SIDE / side), 1) for n in (0, 1)]
    shown = image.resize((size[0], size[1]), Image.Resampling.BICUBIC, box=visible, reducing_gap=3.0)
    pixels = np.asarray(shown, np.float32)
    across = np.clip(((columns - visible[0]) / side * SIDE).astype(int), 0, size[0] - 1)
    down = np.clip(((rows - visible[1]) / side * SIDE).astype(int), 0, size[1] - 1)
    seen = ((rows >= 0) & (rows < image.height))[:, None] & ((columns >= 0) & (columns < image.width))[None]
    grid = np.meshgrid((columns - middle[0]) / (max(box.width, 1) / 2), (rows - middle[1]) / (max(box.height, 1) / 2))
    return pixels[down][:, across].transpose(2, 0, 1), seen, (grid[0], grid[1])


def _without_skin(absorbed: np.ndarray, skin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return absorbance less a plane through that of the skin, and the plane's middle; its hairs and marks aside."""
    if not skin.any():
        skin = np.ones_like(skin)
    mean = absorbed.mean(axis=0)
    away = np.abs(mean - np.median(mean[skin]))
    used = skin & (away <= np.quantile(away[skin], 0.8))
    line = np.linspace(-0.5, 0.5, SIDE, dtype=np.float32)
    x, y = np.meshgrid(line, line)
    plane = np.stack([np.ones_like(x), x, y])
    known = plane[:, used]
    # A little ridge: skin on one side alone must not tilt the plane.
    tilt = np.linalg.solve(known @ known.T + np.diag([1e-3, 20.0, 20.0]), known @ absorbed[:, used].T)
    return absorbed - np.einsum("kc,kij->cij", tilt, plane).astype(np.float32), tilt[0]


def _segmented(channels: np.ndarray, skin: np.ndarray, zone: np.ndarray) -> np.ndarray:
    """Return the pixels of a zone whose colour is far from the skin's: Otsu's threshold on Mahalanobis distance."""
    smooth = scipy.ndimage.gaussian_filter(channels, (0, 1.2, 1.2), truncate=3)
    known = smooth[:, skin] if skin.any() else smooth.reshape(3, -1)
    centre = np.median(known, axis=1)
    inverse = np.linalg.inv(np.cov(known) + np.eye(3) * 2e-4)
    away = smooth - centre[:, None, None]
    distance = np.log1p(np.sqrt(np.einsum("cij,cd,dij->ij", away, inverse, away).clip(0)))
    return zone & (distance > _otsu(distance[zone])) if zone.any() else zone


def _otsu(values: np.ndarray) -> float:
    """Return the threshold that leaves the least variance within both sides. N. Otsu, 1979."""
    counts, edges = np.histogram(values, 64)
    centres, below = (edges[1:] + edges[:-1]) / 2, np.cumsum(counts)
    above, total = below[-1] - below, np.cumsum(counts * centres)
    usable = (below > 0) & (above > 0)
    if not usable.any():
        return float(centres[-1])
    between = (total[-1] * below / below[-1] - total)[usable] ** 2 / (below * above)[usable]
    return float(centres[usable][between.argmax()])
