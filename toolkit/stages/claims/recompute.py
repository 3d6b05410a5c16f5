"""Figures computed again, from a confusion matrix or from a file of predictions, and claims compared with them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from toolkit.errors import ClaimsError, PredictionsError
from toolkit.prediction_files import forms
from toolkit.prediction_files.faults import Faults, names, plain_name
from toolkit.prediction_files.tables import PredictionTable, read_table
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
    notes: Sequence[str] = ()
    """How the file was read, where that is not the usual way."""

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
        named[f"weighted_{name}", None] = float(np.nansum(value * weight) / weight.sum()) if weight.any() else np.nan
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
    """Read a file of predictions as `predict --from` does; raise ClaimsError for one that cannot be used."""
    path, faults = folder / section.file, Faults()
    try:
        table = read_table(path, faults)
        places = {column: place for place, column in enumerate(table.columns)}
        truth, predicted = (table.texts(places[column]) for column in (section.truth, section.predicted))
        faults.named = _naming(table, {*section.probabilities.values(), section.truth, section.predicted})
        for column in (section.truth, section.predicted):
            _note_empty(table, places[column], faults)
        columns = {name: places[column] for name, column in section.probabilities.items()}
        classes = sorted({*truth, *predicted, *columns} - {""})
        known = {*classes} if len(classes) == 2 and len(columns) == 1 else {*columns}
        if missing := sorted({*classes} - known):
            raise PredictionsError(
                f"there is no probability of {missing[0]}", place=str(path), remedy="name its column in probabilities"
            )
        values = forms.understood(table, list(columns.values()), None, faults)
        faults.check(path, rows=table.total, remedy="put the file right")
    except KeyError as error:
        problem = f"the predictions cannot be read: there is no column {error}"
        raise ClaimsError(problem, place=str(path), remedy=f"the file has {names(places)}") from None
    except PredictionsError as error:
        raise ClaimsError(error.problem, place=error.place, remedy=error.remedy) from None
    of = dict(zip(columns, values.values.T, strict=True))
    of |= {name: 1 - values.values[:, 0] for name in classes if name not in of}
    sides = (np.array([classes.index(name) for name in side]) for side in (truth, predicted))
    notes = [*table.notes, *filter(None, [values.note])]
    return PartPredictions(classes, *sides, np.column_stack([of[name] for name in classes]), notes)


def _note_empty(table: PredictionTable, place: int, faults: Faults) -> None:
    for number, text in zip(table.numbers, table.texts(place), strict=True):
        if not text:
            faults.add("no class", number, "is empty", column=table.columns[place])


def _naming(table: PredictionTable, read: set[str]) -> Callable[[int], str]:
    """Return what names a row besides its number: the first column that holds neither a class nor a probability."""
    place = next((place for place, column in enumerate(table.columns) if column not in read), None)
    keys = {} if place is None else dict(zip(table.numbers, table.texts(place), strict=True))
    column = "" if place is None else plain_name(table.columns[place])
    return lambda row: f"{column} {plain_name(keys[row])}" if row in keys else ""


def undefined(claim: ClaimSection, part: PartPredictions) -> str:
    """Say why a figure has no value for these cases; nothing where it is none that needs one, or cannot be told."""
    if not claim.class_name:
        only = f"all cases are {part.classes[part.truth[0]]}"
        return only if (part.truth == part.truth[0]).all() else "no class has a value"
    number = part.classes.index(claim.class_name)
    own = {
        "recall": (part.truth == number, "no case is"),
        "precision": (part.predicted == number, "no case was predicted as"),
        "specificity": (part.truth != number, "all cases are"),
        "npv": (part.predicted != number, "all cases were predicted as"),
    }
    if claim.rate in own:
        return f"{own[claim.rate][1]} {claim.class_name}"
    return f"{'all cases are' if (part.truth == number).all() else 'no case is'} {claim.class_name}"
