"""What the numbers of a file of predictions are: probabilities, percentages, logits, or a score of each class alone."""

import math
import re
from typing import Literal, NamedTuple, get_args

import numpy as np

Scale = Literal["probabilities", "percentages", "logits", "scores"]
"""How the numbers of a file are meant; `scores` judge each class by itself, so that no row needs to add up to 1."""
SCALES: tuple[Scale, ...] = get_args(Scale)
NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
WITH_COMMA = re.compile(r"[+-]?\d*,\d+(?:e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
MANY = 0.2
"""Share of a file's rows from which those that add up to 1 are the rule, and the others faults."""
LEAST_ROWS = 10
"""Rows from which numbers between 0 and 1 that add up to nothing are taken for scores of each class alone.

Where no row adds up to more than 1, a class is missing, and they are none.
"""
NARROWEST, WIDEST = 0.001, 0.05
"""How far from 1 a row's sum may be, at least and at most."""
NEAR = 1e-9
OFF = "the probabilities do not add up to 1"
DIVIDED = "the numbers are percentages and were divided by 100"


class Numbers(NamedTuple):
    """The numbers of some columns, (N, K), NaN where a cell holds none, and how they are written."""

    values: np.ndarray
    decimals: int
    """Most digits after the point; many where numbers have an exponent."""
    has_percent: bool
    has_comma: bool


def parse(columns: list[list[str]]) -> Numbers:
    """Return the numbers of columns of texts; a column has decimal commas where none of its cells has a point.

    >>> parse([["0,9", "10"], ["1e-1", "nan"]]).values.T.tolist()
    [[0.9, 10.0], [0.1, nan]]
    """
    percent = any(text.endswith("%") for texts in columns for text in texts)
    bare = [[_bare(text) for text in texts] for texts in columns]
    commas = [any("," in text for text in texts) and not any("." in text for text in texts) for texts in bare]
    bare = [
        [text.replace(",", ".") if WITH_COMMA.fullmatch(text) else text for text in texts] if comma else texts
        for texts, comma in zip(bare, commas, strict=True)
    ]
    values = np.array([[_number(text) for text in texts] for texts in bare], dtype=float).reshape(len(columns), -1).T
    decimals = max((_decimals(text) for texts in bare for text in texts), default=0)
    return Numbers(values, decimals, percent, any(commas))


def _bare(text: str) -> str:
    return text.removesuffix("%").strip().replace("\N{MINUS SIGN}", "-")


def _number(text: str) -> float:
    value = float(text) if NUMBER.fullmatch(text) else math.nan
    return value if math.isfinite(value) else math.nan


def _decimals(text: str) -> int:
    return 16 if "e" in text.lower() else len(text.partition(".")[2])


class Understood(NamedTuple):
    """Probabilities (N, K), or scores of each class alone, with the scale they were written in and what was done."""

    values: np.ndarray
    scale: Scale
    tolerance: float
    note: str


def tolerance_of(decimals: int, columns: int) -> float:
    """Return how far from 1 rounded numbers may add up, within NARROWEST and WIDEST.

    >>> tolerance_of(2, 7), tolerance_of(6, 7), tolerance_of(1, 2)
    (0.035, 0.001, 0.05)
    """
    return min(max(columns / 2 * 10.0**-decimals, NARROWEST), WIDEST)


def understood(numbers: Numbers, stated: Scale | None = None) -> Understood:
    """Return the numbers of all classes as probabilities; raise ValueError where they cannot be told.

    `stated` is the scale, where the user says it. Rows that do not add up are left as they are: `off` finds them.
    """
    values = numbers.values
    tolerance, of_percent = (tolerance_of(numbers.decimals + more, values.shape[1]) for more in (0, 2))
    scale = stated or _scale(numbers, tolerance, of_percent)
    if scale == "percentages":
        return Understood(values / 100, scale, of_percent, DIVIDED)
    if scale == "logits":
        words = "the numbers are log-probabilities" if _are_logarithms(values, tolerance) else "the numbers are logits"
        return Understood(softmax(values), scale, tolerance, f"{words}: their softmax was taken")
    if scale == "scores":
        note = "the rows do not add up to 1: the numbers are scores of each class by itself, kept as they are"
        return Understood(values, scale, tolerance, note)
    return Understood(values, scale, tolerance, "")


def _scale(numbers: Numbers, tolerance: float, of_percent: float) -> Scale:
    known = numbers.values[~np.isnan(numbers.values).any(axis=1)]
    if not len(known) or numbers.has_percent:
        return "percentages" if numbers.has_percent else "probabilities"
    ones, hundreds = _share_near(known, 1, tolerance), _share_near(known, 100, 100 * of_percent)
    if max(ones, hundreds) >= MANY:
        return "percentages" if hundreds > ones else "probabilities"
    if float((known < 0).any(axis=1).mean()) > MANY:
        return "logits"
    if float((known > 1 + NEAR).any(axis=1).mean()) > MANY:
        raise ValueError(
            f"the numbers go from {known.min():g} to {known.max():g}, and rows add up to neither 1 nor 100"
        )
    above_one = (known.sum(axis=1) > 1 + tolerance).any()
    return "scores" if len(known) >= LEAST_ROWS and above_one else "probabilities"


def _share_near(values: np.ndarray, total: float, tolerance: float) -> float:
    return float((np.abs(values.sum(axis=1) - total) <= tolerance + NEAR).mean())


def _are_logarithms(values: np.ndarray, tolerance: float) -> bool:
    known = values[~np.isnan(values).any(axis=1)]
    return bool((known <= 0).all()) and _share_near(np.exp(known), 1, tolerance) >= 1 - MANY


def softmax(values: np.ndarray) -> np.ndarray:
    """Return the softmax of each row (N, K), NaN where a row holds NaN."""
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def one_probability(numbers: Numbers, stated: Scale | None = None) -> Understood:
    """Return one column of probabilities, (N, 1); a logit goes through the logistic function."""
    values, known = numbers.values, numbers.values[~np.isnan(numbers.values)]
    above = float((known > 1 + NEAR).mean()) if len(known) else 0.0
    within = not len(known) or (known.min() >= 0 and known.max() <= 100)
    guess: Scale = "probabilities"
    if numbers.has_percent or (within and above > MANY):
        guess = "percentages"
    elif len(known) and float(((known < 0) | (known > 1 + NEAR)).mean()) > MANY:
        guess = "logits"
    scale = stated or guess
    tolerance = tolerance_of(numbers.decimals, 1)
    if scale == "percentages":
        return Understood(values / 100, scale, tolerance, DIVIDED)
    if scale == "logits":
        words = "the numbers are logits: the logistic function was taken"
        return Understood(softmax(np.hstack([values, np.zeros_like(values)]))[:, :1], scale, tolerance, words)
    return Understood(values, scale, tolerance, "")


class Fault(NamedTuple):
    """What is wrong with a row's numbers."""

    kind: str
    detail: str


def off(found: Understood) -> dict[int, Fault]:
    """Return what is wrong with each row that is no probability distribution, by its place; rows with NaN left out."""
    low, high, sums = (found.values.min(axis=1), found.values.max(axis=1), found.values.sum(axis=1))
    adds_up = found.values.shape[1] == 1 or found.scale == "scores"
    faults = {}
    for place in np.flatnonzero(~np.isnan(sums)).tolist():
        if low[place] < -NEAR:
            faults[place] = Fault("a probability is negative", f"has {low[place]:g}")
        elif high[place] > 1 + (NEAR if adds_up else found.tolerance):
            faults[place] = Fault("a probability is above 1", f"has {high[place]:g}")
        elif not adds_up and abs(sums[place] - 1) > found.tolerance + NEAR:
            kind = f"{OFF} (tolerance {found.tolerance:g})"
            faults[place] = Fault(kind, f"has the sum {sums[place]:.4g}")
    return faults
