"""Multinomial logistic regression on metadata: how far one gets without the photograph.

Numbers are standardised and categories one-hot; that a value is missing is known too. What it needs to predict is plain
numbers and names, so that it is stored as JSON and nothing of a file is ever run.
"""

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

import numpy as np
import scipy

from toolkit.errors import ModelError

FOLDS = 5
FEWEST_OF_CATEGORY = 5
"""Training cases; rarer values are taken together as "other", and are not stored."""
FEWEST_NUMBERS = 3
"""Distinct numbers of a field that counts as one of numbers."""
Values = Mapping[str, str]
"""A case's metadata by field; a field without a value is not there."""


@dataclass(frozen=True)
class EncodedField:
    """A field as columns: its number and whether it is missing; or one for each category, other, and missing."""

    name: str
    categories: tuple[str, ...] | None
    """None = a field of numbers."""
    mean: float = 0.0
    deviation: float = 1.0

    @property
    def columns(self) -> list[str]:
        """The names of its columns."""
        own = ["number"] if self.categories is None else [*self.categories, "(other)"]
        return [f"{self.name}: {column}" for column in (*own, "(missing)")]

    def encode(self, values: Sequence[Values]) -> np.ndarray:
        """Return (N, columns)."""
        encoded = np.zeros((len(values), len(self.columns)))
        for case, value in zip(encoded, values, strict=True):
            text = value.get(self.name)
            if self.categories is None:
                number = None if text is None else as_number(text)
                case[0 if number is not None else 1] = 1 if number is None else (number - self.mean) / self.deviation
            elif text is None:
                case[-1] = 1
            else:
                case[self.categories.index(text) if text in self.categories else -2] = 1
        return encoded


@dataclass(frozen=True)
class MetadataModel:
    """Fields, and for each class that training had the coefficients of their columns."""

    fields: tuple[EncodedField, ...]
    classes: tuple[int, ...]
    """Indices of the study's classes; the others have the probability 0."""
    coefficients: np.ndarray
    """(classes, columns)."""
    intercepts: np.ndarray

    def probabilities(self, values: Sequence[Values], *, classes: int) -> np.ndarray:
        """Return (N, classes), by the arithmetic of numpy alone."""
        known = scipy.special.softmax(encode(self.fields, values) @ self.coefficients.T + self.intercepts, axis=1)
        every = np.zeros((len(values), classes))
        every[:, list(self.classes)] = known
        return every

    def document(self, names: Sequence[str]) -> dict[str, Any]:
        """Return it as JSON knows it, with the names of the study's classes."""
        return {
            "fields": [asdict(field) for field in self.fields],
            "columns": [column for field in self.fields for column in field.columns],
            "classes": [names[number] for number in self.classes],
            "coefficients": self.coefficients.tolist(),
            "intercepts": self.intercepts.tolist(),
        }


def as_number(text: str) -> float | None:
    """Return a value as a number; None where it is none."""
    try:
        number = float(text.replace(",", "."))
    except ValueError:
        return None
    return number if isfinite(number) else None


def learn_fields(names: Sequence[str], values: Sequence[Values]) -> tuple[EncodedField, ...]:
    """Return how fields are encoded, from training cases alone; a field without any value is left out."""
    fields = []
    for name in names:
        texts = [value[name] for value in values if name in value]
        numbers = [as_number(text) for text in texts]
        known = np.array([number for number in numbers if number is not None])
        if texts and len(known) == len(texts) and len(np.unique(known)) >= FEWEST_NUMBERS:
            fields.append(EncodedField(name, None, float(known.mean()), float(known.std()) or 1.0))
        elif texts:
            frequent = sorted(text for text, cases in Counter(texts).items() if cases >= FEWEST_OF_CATEGORY)
            fields.append(EncodedField(name, tuple(frequent)))
    return tuple(fields)


def encode(fields: Sequence[EncodedField], values: Sequence[Values]) -> np.ndarray:
    """Return the columns of all fields, (N, columns)."""
    return np.hstack([np.zeros((len(values), 0)), *(field.encode(values) for field in fields)])


def fit(
    names: Sequence[str], values: Sequence[Values], truth: np.ndarray, *, penalty: float, balanced: bool
) -> MetadataModel:
    """Return the model of some cases; `balanced` lets every class count equally much."""
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - a second, and only the baseline needs it

    fields, present = learn_fields(names, values), np.unique(truth)
    if len(present) < 2:
        raise ModelError(
            "the training cases are all of one class", place="toolkit baseline", remedy="make another split"
        )
    regression = LogisticRegression(C=1 / penalty, max_iter=2_000, class_weight="balanced" if balanced else None)
    columns = encode(fields, values)
    # A column that is always 0 changes nothing, and a study without any field has the shares of the classes.
    regression.fit(columns if columns.shape[1] else np.zeros((len(values), 1)), truth)
    coefficients, intercepts = regression.coef_[:, : columns.shape[1]], regression.intercept_
    if len(present) == 2:  # scikit-learn stores the second class against the first
        coefficients, intercepts = np.vstack([0 * coefficients, coefficients]), np.append(0.0, intercepts)
    return MetadataModel(fields, tuple(present.tolist()), coefficients, intercepts)


def out_of_fold(  # noqa: PLR0913 - the settings of a fit, and the folds
    names: Sequence[str],
    values: Sequence[Values],
    truth: np.ndarray,
    patient: np.ndarray,
    *,
    classes: int,
    penalty: float,
    balanced: bool,
    seed: int,
) -> np.ndarray:
    """Return each case's probabilities (N, classes) by a model that saw no case of its patient; NaN with one patient.

    Fields are encoded anew in every fold. `patient` (N,) is numbered in an order that does not depend on pseudonyms.
    """
    from sklearn.model_selection import StratifiedGroupKFold  # noqa: PLC0415 - a second, and only the baseline needs it

    every = np.full((len(truth), classes), np.nan)
    folds = min(FOLDS, len(np.unique(patient)))
    if folds < 2:
        return every
    cut = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class of fewer patients than folds is said by its support
        pieces = list(cut.split(np.zeros(len(truth)), truth, patient))
    for training, held_out in pieces:
        if len(held_out) and len(np.unique(truth[training])) > 1:
            own = [values[number] for number in training]
            model = fit(names, own, truth[training], penalty=penalty, balanced=balanced)
            every[held_out] = model.probabilities([values[number] for number in held_out], classes=classes)
    return every
