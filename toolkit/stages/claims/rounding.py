"""The values that a printed number may stand for, and the shares of whole numbers among them, computed exactly."""

import re
from fractions import Fraction
from typing import Literal, NamedTuple

import numpy as np

VALUE = re.compile(r"^(\d{1,3})(?:\.(\d{1,9}))?\s*(%)?$")
CLOSE = 1e-9
"""What floating point may add to a mean of shares."""
Rounding = Literal["nearest", "any"]
"""To the nearest number, halves up or to even alike; or each figure either so or truncated."""


class Range(NamedTuple):
    """Values from `low` to `high`; an open end does not belong to it."""

    low: Fraction
    high: Fraction
    low_open: bool = False
    high_open: bool = False

    @property
    def middle(self) -> float:
        """The value halfway."""
        return float(self.low + self.high) / 2

    def has(self, numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
        """Return, exactly, which shares of whole numbers lie in it; a denominator of 0 counts as a share of 0."""
        denominator = np.maximum(denominator, 1)
        above_low = numerator * self.low.denominator - self.low.numerator * denominator
        below_high = self.high.numerator * denominator - numerator * self.high.denominator
        above = above_low > 0 if self.low_open else above_low >= 0
        return above & (below_high > 0 if self.high_open else below_high >= 0)

    def has_near(self, value: float) -> bool:
        """Tell whether a value computed in floating point lies in it."""
        low, high = float(self.low), float(self.high)
        above = value > low + CLOSE if self.low_open else value >= low - CLOSE
        return above and (value < high - CLOSE if self.high_open else value <= high + CLOSE)


class Printed(NamedTuple):
    """A share as it was printed: its value, the unit of its last decimal, and how the figure compares with it."""

    value: Fraction
    unit: Fraction
    comparison: str = "="

    def range(self, rounding: Rounding) -> Range:
        """Return the values it may stand for."""
        if self.comparison in (">", ">="):
            return Range(self.value, Fraction(1), low_open=self.comparison == ">")
        if self.comparison in ("<", "<="):
            return Range(Fraction(0), self.value, high_open=self.comparison == "<")
        low = max(self.value - self.unit / 2, Fraction(0))
        if rounding == "nearest":
            return Range(low, self.value + self.unit / 2)
        return Range(low, self.value + self.unit, high_open=True)


def read_printed(text: str, comparison: str = "=") -> Printed:
    """Read "0.860" or "86.0 %"; raise ValueError for what is no share."""
    match = VALUE.match(text)
    if match is None:
        raise ValueError('give the number as it was printed, such as "0.860" or "86.0 %"')
    whole, decimals, percent = match.groups()
    unit = Fraction(1, 10 ** len(decimals or "") * (100 if percent else 1))
    value = int(whole + (decimals or "")) * unit
    if value > 1:
        raise ValueError('a share is at most 1: write "86.0 %" for percent')
    return Printed(value, unit, comparison)


def share_reason(printed: Printed, cases: int) -> str:
    """Say which shares of `cases` are nearest to a printed number that none of them gives, and what number would."""
    near = min(int(printed.value * cases), cases - 1)
    shares = " and ".join(f"{k}/{cases} = {k / cases:.4f}" for k in (near, near + 1))
    wanted = printed.range("any")
    fits = [n for n in range(1, 4 * cases) if wanted.has(np.arange(n + 1), np.full(n + 1, n)).any()]
    nearest = sorted(sorted(fits, key=lambda n: abs(n - cases))[:3])
    return f"the nearest shares are {shares}; it would fit {', '.join(map(str, nearest)) or 'no other number of'} cases"
