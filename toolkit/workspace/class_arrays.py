"""Predicted cases as arrays: class indices of reference diagnosis and prediction, probabilities, patients."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from toolkit.errors import WorkspaceError


class ClassArrays(NamedTuple):
    """Cases as arrays: class indices (N,), probabilities (N, C), patients (N,) numbered as first seen."""

    truth: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray
    patient: np.ndarray
    case_ids: tuple[str, ...] = ()

    @property
    def right(self) -> np.ndarray:
        """Which cases are predicted right, (N,)."""
        return self.truth == self.predicted


def class_arrays(rows: list[dict[str, Any]], classes: Sequence[str], *, prefix: str = "") -> ClassArrays:
    """Return rows of the view `scored` as arrays; raise WorkspaceError for a class that is not among `classes`.

    A class that the model was not asked for has the probability 0. `prefix` precedes the names of the columns truth,
    predicted and probabilities, where a row holds two predictions of a case.
    """
    number = {name: index for index, name in enumerate(classes)}
    truth, predicted = ([row[f"{prefix}{column}"] for row in rows] for column in ("truth", "predicted"))
    if unknown := {*truth, *predicted} - set(number):
        raise WorkspaceError(
            f"the study does not name the class {min(unknown)}",
            place="reference diagnoses or predictions of the run",
            remedy="use the study file that the run was made with; if you renamed a class, parse and predict again",
        )
    probabilities = [dict(row[f"{prefix}probabilities"]) for row in rows]
    patients: dict[str, int] = {}
    return ClassArrays(
        truth=np.array([number[name] for name in truth], dtype=int),
        predicted=np.array([number[name] for name in predicted], dtype=int),
        probabilities=np.array([each.get(name, 0.0) for each in probabilities for name in classes]).reshape(
            len(rows), len(classes)
        ),
        patient=np.array([patients.setdefault(row["patient_id"], len(patients)) for row in rows], dtype=int),
        case_ids=tuple(row["case_id"] for row in rows),
    )
