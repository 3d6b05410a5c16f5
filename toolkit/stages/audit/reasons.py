"""Why a label is suspect, in a sentence: only what was measured, and nothing that could name a patient."""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from toolkit.stats.label_errors import LabelErrors
from toolkit.workspace.labelled_cases import LabelledCases
from toolkit.workspace.measured_cases import MeasuredCases, Row, roi_of

CARELESS = 2.0
"""Times the usual share of wrong readings."""
FAST = 0.25
"""Of an annotator's usual time."""
TINY, HUGE = 0.005, 0.9
"""Shares of the photograph."""
PALE = 0.02
"""Absorbance by which a ROI is darker or paler than its surroundings at least."""
POOR = 0.05
"""Of the study's photographs, the least sharp, and those of the least effective resolution."""
CLIPPED = 0.25
"""Share of black or white pixels."""


class _Limits(NamedTuple):
    sharpness: float
    effective_pixels: float


class LabelSearch(NamedTuple):
    """What is known of N labelled cases: measures, probabilities of models out of fold (N, classes), all evidence."""

    labelled: LabelledCases
    measured: MeasuredCases
    probabilities: np.ndarray
    errors: LabelErrors

    @property
    def compared(self) -> np.ndarray:
        """Which cases have probabilities, (N,)."""
        return np.asarray(~np.isnan(self.probabilities).any(axis=1))


def reasons_of(search: LabelSearch, suggested: np.ndarray) -> list[str]:
    """Return a sentence for each case; `suggested` (N,) is the class that is suggested instead."""
    labelled, measured = search.labelled, search.measured
    careless, limits = _careless(search), _limits(measured)
    readings: dict[str, list[Row]] = {}
    for row in labelled.readings:
        readings.setdefault(row["case_id"], []).append(row)
    same: dict[int, list[int]] = {}
    for n, lesion in enumerate(labelled.lesion.tolist()):
        same.setdefault(lesion, []).append(n)
    sentences = []
    for n, row in enumerate(labelled.rows):
        own = readings.get(row["case_id"], [])
        parts = [
            _photograph(labelled, search.probabilities, n, int(suggested[n])),
            *_of_readings(row, own, careless),
            *_of_lesion(labelled, same[int(labelled.lesion[n])], n),
            *_of_roi(row, own, measured, n),
            *_of_quality(measured, n, limits),
        ]
        sentences.append("; ".join(parts))
    return sentences


def _careless(search: LabelSearch) -> set[str]:
    """Return the annotators whose estimated share of wrong readings is far above the usual one."""
    numbers: dict[str, int] = {}
    for row in search.labelled.readings:
        numbers.setdefault(row["annotator"], len(numbers))
    error = search.errors.error
    return {name for name, n in numbers.items() if error[n] > CARELESS * np.median(error)}


def _photograph(labelled: LabelledCases, probabilities: np.ndarray, n: int, other: int) -> str:
    """Say what models say that saw no case of the group."""
    if np.isnan(probabilities[n]).any():
        if labelled.rows[n]["pixel_sha256"] is None:
            return "its photograph could not be compared with others"
        return "its class is known from one group of patients only: the photograph cannot be compared with others"
    best = int(probabilities[n].argmax())
    if best == labelled.given[n]:
        best = other
    said, own = (f"{labelled.classes[c]} ({probabilities[n, c]:.2f})" for c in (best, labelled.given[n]))
    more = "more" if probabilities[n, best] > probabilities[n, labelled.given[n]] else "less"
    return f"colour, texture and shape are {more} like {said} than {own}"


def _of_readings(row: Row, own: list[Row], careless: set[str]) -> Iterator[str]:
    others = Counter(reading["class_name"] for reading in own if reading["class_name"] != row["class_name"])
    for name, times in sorted(others.items()):
        yield f"{times} of {len(own)} annotators {'says' if times == 1 else 'say'} {name}"
    giving = [reading for reading in own if reading["class_name"] == row["class_name"]]
    if giving and all(reading["annotator"] in careless for reading in giving):
        yield "its annotator is wrong more often than others"
    fast = [reading for reading in giving if _is_fast(reading)]
    if fast and len(fast) == len(giving):
        yield f"answered in {fast[0]['seconds']:.0f} s, usually {fast[0]['usual_seconds']:.0f} s"


def _is_fast(reading: Row) -> bool:
    seconds, usual = reading["seconds"], reading["usual_seconds"]
    return bool(seconds is not None and usual and 0 < seconds < FAST * usual)


def _of_lesion(labelled: LabelledCases, same: list[int], n: int) -> Iterator[str]:
    others = Counter(labelled.rows[m]["class_name"] for m in same if labelled.given[m] != labelled.given[n])
    for name, times in sorted(others.items()):
        what = "another photograph" if times == 1 else f"{times} other photographs"
        yield f"{what} of this lesion, or a duplicate, {'has' if times == 1 else 'have'} the class {name}"


def _of_roi(row: Row, own: list[Row], measured: MeasuredCases, n: int) -> Iterator[str]:
    roi = roi_of(row)
    if any(reading["over_edge"] for reading in own):
        yield "its box reaches over the edge of the photograph"
    if roi is not None and row["width"] and row["height"]:
        share = roi.width * roi.height / (row["width"] * row["height"])
        if share < TINY or share > HUGE:
            yield f"its ROI is {100 * share:.1f} % of the photograph"
    if abs(measured.contrast[n]) < PALE:
        yield "its ROI hardly differs from the skin around"


def _limits(measured: MeasuredCases) -> _Limits:
    known = [quality for quality in measured.quality if quality is not None]
    if len(known) < 1 / POOR:
        return _Limits(-np.inf, -np.inf)
    return _Limits(*(float(np.quantile([getattr(q, name) for q in known], POOR)) for name in _Limits._fields))


def _of_quality(measured: MeasuredCases, n: int, limits: _Limits) -> Iterator[str]:
    quality = measured.quality[n]
    if quality is None:
        return
    if quality.sharpness < limits.sharpness:
        yield "the photograph is one of the least sharp of the study"
    if quality.effective_pixels < limits.effective_pixels:
        yield "the photograph has one of the lowest effective resolutions of the study"
    if quality.dark_share > CLIPPED or quality.bright_share > CLIPPED:
        yield f"the photograph is {'under' if quality.dark_share > CLIPPED else 'over'}exposed"
