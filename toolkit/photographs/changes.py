"""The change from one photograph to its duplicate, in words: mirrored, rotated, cropped."""

from typing import NamedTuple

import numpy as np

from toolkit.photographs.alignment import Placement

Size = tuple[int, ...]
"""Rows and columns of a picture."""


class Orientation(NamedTuple):
    """Whether the other photograph is mirrored, its rotation by whole quarters after that, and degrees beyond these."""

    mirrored: bool
    quarters: int
    degrees: float


def orientation(placement: Placement) -> Orientation:
    """Return how the other photograph lies against the first."""
    back = np.linalg.inv(placement.matrix)
    mirrored = bool(np.linalg.det(back) < 0)
    rotation = back @ np.diag([-1.0, 1.0]) if mirrored else back
    degrees = np.degrees(np.arctan2(rotation[1, 0] - rotation[0, 1], rotation[0, 0] + rotation[1, 1]))
    quarters = round(degrees / 90)
    return Orientation(mirrored, quarters % 4, float(degrees - 90 * quarters))


def change(first: Size, second: Size, placement: Placement) -> str:
    """Return in words how the second photograph differs from the first."""
    mirrored, quarters, degrees = orientation(placement)
    angle = 90 * quarters + (degrees if abs(degrees) >= 1 else 0)
    words = ["mirrored"] if mirrored else []
    if angle:
        words.append(f"rotated by {abs(angle):.0f}°")
    crop = _crop(*shares_shown(first, second, placement), degrees)
    return ", ".join([*words, crop] if crop else words) or "saved again"


def shares_shown(first: Size, second: Size, placement: Placement) -> tuple[float, float]:
    """Return the share of each photograph's area that the other shows."""
    return _visible(first, second, placement.inverse()), _visible(second, first, placement)


def _crop(of_first: float, of_second: float, degrees: float) -> str:
    """Return in words which photograph is a crop of the other, from the shares of each that the other shows."""
    whole = 0.95 - 0.008 * abs(degrees)  # a rotation alone moves some of either out of the frame
    if of_first < whole <= of_second:
        return f"the second is {_percent(of_first)} crop of the first"
    if of_second < whole <= of_first:
        return f"the first is {_percent(of_second)} crop of the second"
    if of_second < whole:
        return f"{100 * of_first:.0f} % of the first overlaps {100 * of_second:.0f} % of the second"
    return ""


def _percent(share: float) -> str:
    """Return a share in percent with its article: "an 81 %", "a 64 %"."""
    number = f"{100 * share:.0f}"
    return f"{'an' if number[0] == '8' or number in ('11', '18') else 'a'} {number} %"


def _visible(size: Size, other: Size, placement: Placement) -> float:
    """Return which share of one photograph's area falls on the other."""
    y, x = (((np.arange(40) + 0.5) / 40 - 0.5) * side for side in size)
    points = np.stack(np.meshgrid(x, y), axis=-1) @ placement.matrix.T + placement.shift
    return float((np.abs(points) <= np.array([other[1], other[0]]) / 2).all(axis=-1).mean())
