"""Whether two photographs are exposures of one lesion: enough of their local features agree on one placement.

Copies of a photograph are found by duplicates.py; here framing, scale, angle, light, hair and focus may differ.
"""

from typing import Any, NamedTuple

import numpy as np

from toolkit.photographs.keypoints import Keypoints, keypoints
from toolkit.photographs.surrounds import comparable_thumbnail, votes

LONGEST = 320
"""Pixels on the longer side of the photographs that are compared."""
SETTINGS: dict[str, Any] = {
    "method": 1,
    "longest": LONGEST,
    "ratio": 0.85,
    "scale": 2.9,
    "stretch": 1.6,
    "apart": 0.015,
    "off": 0.025,
    "spread": 0.04,
    "least": 8,
}
"""What a search is determined by; docs/method.md says why these. `method` counts changes that no number here shows."""
ROUGHLY = 0.06
"""Share of the longer side that a feature may be off the place that one match alone gives it."""
TURN, GROWTH = 0.6, np.log(1.8)
"""Radians, and natural logarithm of scale, by which a match may differ from the placement: skin is no plane."""
FEWEST = 4
"""Matches from which a placement is refined."""
TRIED = 8
"""Matches, of those whose placement most others share, from which a placement is refined."""


class Agreement(NamedTuple):
    """How many features of two photographs agree on one placement, of how many that match."""

    features: int
    matches: int

    @property
    def is_one_lesion(self) -> bool:
        """Whether so many agree that both photographs are of one lesion."""
        return self.features >= SETTINGS["least"]

    @property
    def share(self) -> float:
        """Share of the matching features that agree; NaN without any."""
        return self.features / self.matches if self.matches else float("nan")


def features_of(content: bytes) -> Keypoints:
    """Return the local features of a photograph's file; its flat surround has none."""
    picture = comparable_thumbnail(content, longest=LONGEST)
    return keypoints(picture, votes(picture))


def agreement(one: Keypoints, other: Keypoints) -> Agreement:
    """Return how many features agree on where one photograph lies on the other, turned, scaled and tilted.

    Features close to each other count once. Where they lie on a line, as the ticks of a ruler do, none counts. Each
    photograph is laid on the other, and the lower number holds: which of them comes first does not matter.
    """
    return min(_laid_on(one, other), _laid_on(other, one))


def _laid_on(one: Keypoints, other: Keypoints) -> Agreement:
    mutual = _matches(one.descriptors, other.descriptors)
    if len(mutual) < FEWEST:
        return Agreement(0, len(mutual))
    pairs = _Matches.of(one, other, mutual)
    near = pairs.sharing()
    tried = np.argsort(-near.sum(axis=1), kind="stable")[:TRIED]
    return Agreement(max(_counted(pairs, pairs.refined(near[match])) for match in tried), len(mutual))


def _matches(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return which features are each other's nearest and much nearer than the next, (M, 2) (Lowe's ratio test)."""
    if min(len(one), len(other)) < 2:
        return np.empty((0, 2), dtype=int)
    distance = np.sqrt(np.maximum(2 - 2 * one @ other.T, 0))
    nearest, first = distance.argmin(axis=1), np.arange(len(one))
    next_best = np.partition(distance, 1, axis=1)[:, 1]
    mutual = distance.argmin(axis=0)[nearest] == first
    clear = distance[first, nearest] < SETTINGS["ratio"] * next_best
    return np.stack([first, nearest], axis=1)[mutual & clear]


class _Matches(NamedTuple):
    """Matching features: their places on both photographs, (M, 2), how they turn and grow from one to the other."""

    one: np.ndarray
    other: np.ndarray
    turn: np.ndarray
    growth: np.ndarray

    @classmethod
    def of(cls, one: Keypoints, other: Keypoints, mutual: np.ndarray) -> "_Matches":
        first, second = mutual.T
        turn = other.angles[second] - one.angles[first]
        return cls(one.places[first], other.places[second], turn, np.log(other.sizes[second] / one.sizes[first]))

    def sharing(self) -> np.ndarray:
        """Return, (M, M), which matches lie where the placement that one match alone gives would put them."""
        source, target = self.one @ [1, 1j], self.other @ [1, 1j]
        similarity = np.exp(self.growth + 1j * self.turn)
        put = similarity[:, None] * (source[None] - source[:, None]) + target[:, None]
        near = np.abs(put - target) < ROUGHLY * LONGEST
        near &= np.abs(self.growth[None] - self.growth[:, None]) < GROWTH
        near &= np.abs(_angle(self.turn[None] - self.turn[:, None])) < TURN
        return near & (np.abs(self.growth) < np.log(SETTINGS["scale"]))[:, None]

    def refined(self, agreeing: np.ndarray) -> np.ndarray:
        """Return which matches agree on the affine placement that fits them best; none where it is no exposure's."""
        placement = np.zeros((2, 3))
        for off in (ROUGHLY, (ROUGHLY + SETTINGS["off"]) / 2, SETTINGS["off"], SETTINGS["off"]):
            if agreeing.sum() < FEWEST:
                return np.zeros_like(agreeing)
            fit = _similarity if off == ROUGHLY else _affine
            placement = fit(self.one[agreeing], self.other[agreeing])
            agreeing = self._on(placement, off=off * LONGEST)
        return agreeing if _is_plausible(placement) else np.zeros_like(agreeing)

    def _on(self, placement: np.ndarray, *, off: float) -> np.ndarray:
        (a, b, _), (c, d, _) = placement
        put = self.one @ placement[:, :2].T + placement[:, 2]
        near = np.linalg.norm(put - self.other, axis=1) < off
        near &= np.abs(_angle(self.turn - np.arctan2(c - b, a + d))) < TURN
        return near & (np.abs(self.growth - np.log(max(a * d - b * c, 1e-9)) / 2) < GROWTH)


def _similarity(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the placement, (2, 3), by turning, scaling and shifting alone that fits best."""
    source, target = one @ [1, 1j], other @ [1, 1j]
    design = np.stack([source, np.ones_like(source)], axis=1)
    (scale, shift), *_ = np.linalg.lstsq(design, target, rcond=None)
    return np.array([[scale.real, -scale.imag, shift.real], [scale.imag, scale.real, shift.imag]])


def _affine(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    design = np.column_stack([one, np.ones(len(one))])
    return np.linalg.lstsq(design, other, rcond=None)[0].T


def _is_plausible(placement: np.ndarray) -> bool:
    """Tell whether a camera could do that: not mirrored, not squeezed, of a scale that is looked for."""
    long, short = np.linalg.svd(placement[:, :2], compute_uv=False)
    scale, limit = np.sqrt(long * short), SETTINGS["scale"]
    is_upright = np.linalg.det(placement[:, :2]) > 0
    return bool(is_upright and long < SETTINGS["stretch"] * short and 1 / limit < scale < limit)


def _counted(pairs: _Matches, agreeing: np.ndarray) -> int:
    """Return how many of the agreeing features count."""
    places = np.stack([pairs.one[agreeing], pairs.other[agreeing]])
    if min(_spread(own) for own in places) < SETTINGS["spread"] * LONGEST:
        return 0
    apart = np.linalg.norm(places[:, :, None] - places[:, None], axis=3).min(axis=0) >= SETTINGS["apart"] * LONGEST
    kept: list[int] = []
    for number in range(len(apart)):
        if apart[number, kept].all():
            kept.append(number)
    return len(kept)


def _spread(places: np.ndarray) -> float:
    """Return the standard deviation of places along the line on which they vary least."""
    if len(places) < 2:
        return 0.0
    return float(np.linalg.svd(places - places.mean(axis=0), compute_uv=False)[-1] / np.sqrt(len(places)))


def _angle(radians: np.ndarray) -> np.ndarray:
    """Return angles between -π and π."""
    return (radians + np.pi) % (2 * np.pi) - np.pi
