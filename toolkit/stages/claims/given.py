"""Figures that can be computed again: from a confusion matrix, or from a file of predictions.

Refuses to search. An area under the curve of hard labels is (recall + specificity)/2: a figure that equals it was not
computed from probabilities.
"""

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np

from toolkit.errors import ClaimsError
from toolkit.stages.claims.printed import Range, Rounding
from toolkit.stages.claims.stated import OF_PROBABILITIES, ClaimSection, Predictions
from toolkit.stats import metrics

CONVENTIONS = ("left out", "counted as 0")
"""What becomes of the undefined in a mean."""
Figures = dict[tuple[str, str | None], float]
"""By metric and class; over all classes by average and metric, as `macro_recall`, with None for the class."""


class KnownFigures(NamedTuple):
    """A part whose predictions are known."""

    classes: list[str]
    truth: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray

    @property
    def matrix(self) -> np.ndarray:
        """Its confusion matrix."""
        return metrics.confusion(self.truth, self.predicted, len(self.classes))


def figures(matrix: np.ndarray, classes: list[str], *, undefined: str = CONVENTIONS[0]) -> Figures:
    """Return every rate of a confusion matrix, and what hard labels make of ROC AUC."""
    outcome = metrics.confusion_counts(matrix)
    values = metrics.rates(outcome)
    values["hard_roc_auc"] = (values["recall"] + values["specificity"]) / 2
    values = {name: value if undefined == CONVENTIONS[0] else np.nan_to_num(value) for name, value in values.items()}
    return _named(values, matrix.sum(axis=1), metrics.rates(metrics.pooled(outcome)), classes)


def figures_of(known: KnownFigures) -> Figures:
    """Return every rate of a file of predictions, and its areas."""
    found = figures(known.matrix, known.classes)
    decided = metrics.WeightedMetrics(known.truth, known.probabilities)
    values = {name: value[0] for name, value in decided.per_class().items() if name in OF_PROBABILITIES}
    return found | _named(values, known.matrix.sum(axis=1), {}, known.classes)


def _named(
    values: dict[str, np.ndarray], cases: np.ndarray, pooled: dict[str, np.ndarray], classes: list[str]
) -> Figures:
    found: Figures = {}
    for name, value in values.items():
        found |= {(name, class_name): float(value[k]) for k, class_name in enumerate(classes)}
        there = ~np.isnan(value)
        found["macro_" + name, None] = float(value[there].mean()) if there.any() else float("nan")
        weight = np.where(there, cases, 0)
        found["weighted_" + name, None] = float(np.nansum(value * weight) / weight.sum()) if there.any() else np.nan
    return found | {(f"micro_{name}", None): float(value) for name, value in pooled.items()}


def value_of(claim: ClaimSection, found: Figures) -> float:
    """Return the figure that a claim is about; NaN where it is about several."""
    name = claim.rate if claim.class_name else f"{claim.averaged}_{claim.rate}"
    return found.get((name, claim.class_name), float("nan"))


def holds(claim: ClaimSection, found: Figures, matrix: np.ndarray, classes: list[str], rounding: Rounding) -> bool:
    """Say whether a claim is true of figures and their matrix."""
    if claim.pairs:
        return _most_confused(claim, matrix, classes)
    mine = value_of(claim, found)
    others = [found[claim.rate, name] for name in classes if (claim.rate, name) in found]
    if claim.rank == "highest" and not mine >= np.nanmax(others) - 1e-9:
        return False
    if claim.rank == "lowest" and not mine <= np.nanmin(others) + 1e-9:
        return False
    if claim.printed is None:
        return True
    wanted = claim.printed.range(rounding)
    if claim.classes:
        return sum(wanted.has_near(value) for value in others) >= claim.classes
    return wanted.has_near(mine)


def _most_confused(claim: ClaimSection, matrix: np.ndarray, classes: list[str]) -> bool:
    both = matrix + matrix.T
    named = [(classes.index(one), classes.index(other)) for one, other in claim.pairs]
    rest = both.copy()
    np.fill_diagonal(rest, 0)
    for one, other in named:
        rest[one, other] = rest[other, one] = 0
    return bool(min(both[pair] for pair in named) >= rest.max())


def hard_range(claim: ClaimSection, claims: list[ClaimSection]) -> Range | None:
    """Return where the area of a claim would lie by hard labels, from the recall and specificity beside it."""
    beside = {
        other.metric: other.printed.range("nearest")
        for other in claims
        if other.printed
        and other.comparison == "="
        and (other.part, other.source) == (claim.part, claim.source)
        and (other.class_name, other.averaged) == (claim.class_name, claim.averaged)
    }
    if not {"recall", "specificity"} <= set(beside) or claim.average == "micro":
        return None
    recall, specificity = beside["recall"], beside["specificity"]
    return Range((recall.low + specificity.low) / 2, (recall.high + specificity.high) / 2)


def read_predictions(section: Predictions, folder: Path) -> KnownFigures:
    """Read a file of predictions; raise ClaimsError for one that cannot be used."""
    path = folder / section.file
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        truth, predicted = ([row[column] for row in rows] for column in (section.truth, section.predicted))
        classes = sorted({*truth, *predicted, *section.probabilities})
        number = {name: k for k, name in enumerate(classes)}
        chances = {name: [float(row[c]) for row in rows] for name, c in section.probabilities.items()}
    except (OSError, KeyError, ValueError, TypeError) as error:
        told = f"no column {error}" if isinstance(error, KeyError) else str(error)
        raise ClaimsError(
            f"the predictions cannot be read: {told}", place=str(path), remedy="name the file's own columns"
        ) from None
    if len(classes) == 2 and len(chances) == 1:
        ((given, chance),) = chances.items()
        chances |= {name: [1 - one for one in chance] for name in classes if name != given}
    if missing := sorted(set(classes) - set(chances)):
        raise ClaimsError(
            f"there is no probability of {missing[0]}", place=str(path), remedy="name its column in probabilities"
        )
    sides = (np.array([number[name] for name in side]) for side in (truth, predicted))
    return KnownFigures(classes, *sides, np.column_stack([chances[name] for name in classes]))
