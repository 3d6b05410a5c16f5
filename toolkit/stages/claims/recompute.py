"""Figures computed again, from a confusion matrix or from a file of predictions, and claims compared with them."""

import csv
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np

from toolkit.errors import ClaimsError, DamagedError
from toolkit.files import read_bytes
from toolkit.stages.claims.claims_file import ClaimSection, Predictions
from toolkit.stages.claims.rounding import Range, Rounding
from toolkit.stats import metrics

CONVENTIONS = ("left out", "counted as 0")
"""How a mean treats undefined values."""
Figures = dict[tuple[str, str | None], float]
"""By metric and class; over all classes by average and metric, as `macro_recall`, with None for the class."""


class PartPredictions(NamedTuple):
    """The predictions of a part, (N,), with the probabilities of all classes, (N, C)."""

    classes: list[str]
    truth: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray

    @property
    def matrix(self) -> np.ndarray:
        """Its confusion matrix."""
        return metrics.confusion(self.truth, self.predicted, len(self.classes))


def figures(matrix: np.ndarray, classes: list[str], *, undefined: str = CONVENTIONS[0]) -> Figures:
    """Return every rate of a confusion matrix, and the ROC AUC of its hard labels: (recall + specificity)/2."""
    counts = metrics.confusion_counts(matrix)
    values = metrics.rates(counts)
    values["hard_roc_auc"] = (values["recall"] + values["specificity"]) / 2
    values = {name: value if undefined == CONVENTIONS[0] else np.nan_to_num(value) for name, value in values.items()}
    micro = {(f"micro_{name}", None): float(value) for name, value in metrics.rates(metrics.pooled(counts)).items()}
    return _named(values, matrix.sum(axis=1), classes) | micro


def figures_of(part: PartPredictions) -> Figures:
    """Return every rate of a file of predictions, and its areas."""
    measured = metrics.WeightedMetrics(part.truth, part.probabilities).per_class()
    areas = {name: measured[name][0] for name in metrics.AREAS}
    return figures(part.matrix, part.classes) | _named(areas, part.matrix.sum(axis=1), part.classes)


def _named(values: dict[str, np.ndarray], cases: np.ndarray, classes: list[str]) -> Figures:
    """Return values (C,) by class, with their macro and weighted means over the classes where they are defined."""
    named: Figures = {}
    for name, value in values.items():
        named |= {(name, class_name): float(value[k]) for k, class_name in enumerate(classes)}
        defined = ~np.isnan(value)
        weight = np.where(defined, cases, 0)
        named[f"macro_{name}", None] = float(value[defined].mean()) if defined.any() else np.nan
        named[f"weighted_{name}", None] = float(np.nansum(value * weight) / weight.sum()) if defined.any() else np.nan
    return named


def value_of(claim: ClaimSection, values: Figures) -> float:
    """Return the figure that a claim is about; NaN where it is about several."""
    name = claim.rate if claim.class_name else f"{claim.averaged}_{claim.rate}"
    return values.get((name, claim.class_name), float("nan"))


def holds(claim: ClaimSection, values: Figures, matrix: np.ndarray, classes: list[str], rounding: Rounding) -> bool:
    """Tell whether a claim is true of figures and their matrix."""
    if claim.pairs:
        return _most_confused(claim, matrix, classes)
    own = value_of(claim, values)
    by_class = [values[claim.rate, name] for name in classes if (claim.rate, name) in values]
    if claim.rank == "highest" and not own >= np.nanmax(by_class) - 1e-9:
        return False
    if claim.rank == "lowest" and not own <= np.nanmin(by_class) + 1e-9:
        return False
    if claim.printed is None:
        return True
    wanted = claim.printed.range(rounding)
    if claim.classes:
        return sum(wanted.has_near(value) for value in by_class) >= claim.classes
    return wanted.has_near(own)


def _most_confused(claim: ClaimSection, matrix: np.ndarray, classes: list[str]) -> bool:
    both = matrix + matrix.T
    named = [(classes.index(one), classes.index(other)) for one, other in claim.pairs]
    rest = both.copy()
    np.fill_diagonal(rest, 0)
    for one, other in named:
        rest[one, other] = rest[other, one] = 0
    return bool(min(both[pair] for pair in named) >= rest.max())


def printed_flag(claim: ClaimSection, claims: list[ClaimSection]) -> str:
    """Say that a ROC AUC equals the one from the recall and specificity printed beside it; a perfect one may."""
    if not claim.is_roc_auc or claim.printed is None:
        return ""
    hard, wanted = _hard_range(claim, claims), claim.printed.range("nearest")
    if hard is None or hard.high >= 1 or hard.high < wanted.low or wanted.high < hard.low:
        return ""
    return f"equals the value from hard labels: (recall + specificity)/2 = {hard.middle:.4f}"


def _hard_range(claim: ClaimSection, claims: list[ClaimSection]) -> Range | None:
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


def predictions_flag(claim: ClaimSection, values: Figures) -> str:
    """Say that a ROC AUC is that of hard labels and not that of the probabilities."""
    if not claim.is_roc_auc or claim.printed is None:
        return ""
    name = "hard_roc_auc" if claim.class_name else f"{claim.average}_hard_roc_auc"
    hard, true = values.get((name, claim.class_name), np.nan), value_of(claim, values)
    wanted = claim.printed.range("any")
    if not wanted.has_near(hard) or wanted.has_near(true):
        return ""
    return f"equals the value from hard labels, {hard:.4f}; the probabilities give {true:.4f}"


def read_predictions(section: Predictions, folder: Path) -> PartPredictions:
    """Read a file of predictions; raise ClaimsError for one that cannot be used."""
    path = folder / section.file
    try:
        text = read_bytes(path).decode("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
        truth, predicted = ([row[column] for row in rows] for column in (section.truth, section.predicted))
        probabilities = {name: [float(row[c]) for row in rows] for name, c in section.probabilities.items()}
        classes = sorted({*truth, *predicted, *probabilities})
    except (DamagedError, KeyError, ValueError, TypeError, csv.Error) as error:
        reason = error.problem if isinstance(error, DamagedError) else str(error)[:300]
        problem = f"there is no column {error}" if isinstance(error, KeyError) else reason
        raise ClaimsError(
            f"the predictions cannot be read: {problem}", place=str(path), remedy="name the columns of this file"
        ) from None
    if len(classes) == 2 and len(probabilities) == 1:
        ((class_name, known),) = probabilities.items()
        probabilities |= {name: [1 - one for one in known] for name in classes if name != class_name}
    if missing := sorted(set(classes) - set(probabilities)):
        raise ClaimsError(
            f"there is no probability of {missing[0]}", place=str(path), remedy="name its column in probabilities"
        )
    sides = (np.array([classes.index(name) for name in side]) for side in (truth, predicted))
    return PartPredictions(classes, *sides, np.column_stack([probabilities[name] for name in classes]))
