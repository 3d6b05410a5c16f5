"""Which values a printed number may stand for, and which of them counts can have.

Refuses to know where it was printed. Arithmetic is exact: numbers are fractions, shares are whole numbers.
"""

import re
from fractions import Fraction
from typing import Literal, NamedTuple

import numpy as np

VALUE = re.compile(r"^(\d{1,3})(?:\.(\d{1,9}))?\s*(%)?$")
CLOSE = 1e-9
"""What floating point may add to a mean of shares."""
Rounding = Literal["nearest", "any"]
"""To the nearest number, halves up or to even alike; or that or cut off, each figure by itself."""


class Range(NamedTuple):
    """Values from `low` to `high`; an open end does not belong to it."""

    low: Fraction
    high: Fraction
    low_open: bool = False
    high_open: bool = False

    def has(self, numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
        """Say, exactly, which shares of whole numbers stand in it; a denominator of 0 counts as a share of 0."""
        below, over = numerator, np.maximum(denominator, 1)
        left = below * self.low.denominator - self.low.numerator * over
        right = self.high.numerator * over - below * self.high.denominator
        return (left > 0 if self.low_open else left >= 0) & (right > 0 if self.high_open else right >= 0)

    def has_near(self, value: float) -> bool:
        """Say whether a value computed in floating point stands in it."""
        low, high = float(self.low), float(self.high)
        above = value > low + CLOSE if self.low_open else value >= low - CLOSE
        return above and (value < high - CLOSE if self.high_open else value <= high + CLOSE)


class Printed(NamedTuple):
    """A number as it was printed: its value, the unit of its last decimal, and how a figure stands to it."""

    number: "Number"
    comparison: str

    def range(self, rounding: Rounding) -> Range:
        """Return the values it may stand for."""
        value, unit = self.number
        one, nothing = Fraction(1), Fraction(0)
        if self.comparison in (">", ">="):
            return Range(value, one, low_open=self.comparison == ">")
        if self.comparison in ("<", "<="):
            return Range(nothing, value, high_open=self.comparison == "<")
        low = max(value - unit / 2, nothing)
        return Range(low, value + unit / 2) if rounding == "nearest" else Range(low, value + unit, high_open=True)


class Number(NamedTuple):
    """A printed share and the unit of its last decimal."""

    value: Fraction
    unit: Fraction


def read_value(text: str) -> Number:
    """Read "0.860" or "86.0 %"; raise ValueError for what is no share."""
    found = VALUE.match(text)
    if found is None:
        raise ValueError('a number as it was printed, such as "0.860" or "86.0 %"')
    whole, decimals, percent = found.groups()
    scale = Fraction(1, 10 ** len(decimals or "") * (100 if percent else 1))
    value = int(whole + (decimals or "")) * scale
    if value > 1:
        raise ValueError('a share is at most 1: write "86.0 %" for percent')
    return Number(value, scale)


def share_reason(printed: Printed, cases: int) -> str:
    """Say which shares of `cases` are nearest to a printed number that none of them gives, and what number would."""
    near = min(int(printed.number.value * cases), cases - 1)
    shown = " and ".join(f"{k}/{cases} = {k / cases:.4f}" for k in (near, near + 1))
    wanted = printed.range("any")
    fits = [n for n in range(1, 4 * cases) if wanted.has(np.arange(n + 1), np.full(n + 1, n)).any()]
    nearest = sorted(sorted(fits, key=lambda n: abs(n - cases))[:3])
    return f"{shown} are nearest; it would fit {', '.join(map(str, nearest)) or 'no other number of'} cases"
