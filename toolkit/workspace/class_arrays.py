"""Predicted cases as arrays: class indices of reference diagnosis and prediction, probabilities, patients."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

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


def class_arrays(rows: pa.Table, classes: Sequence[str], *, prefix: str = "") -> ClassArrays:
    """Return rows of the view `scored` as arrays; raise WorkspaceError for a class that is not among `classes`.

    A class that the model was not asked for has the probability 0. `prefix` precedes the names of the columns truth,
    predicted and probabilities, where a row holds two predictions of a case.
    """
    truth, predicted = (rows[f"{prefix}{column}"] for column in ("truth", "predicted"))
    if unknown := {*truth.unique().to_pylist(), *predicted.unique().to_pylist()} - set(classes):
        raise WorkspaceError(
            f"the study does not name the class {min(unknown)}",
            place="reference diagnoses or predictions of the run",
            remedy="use the study file that the run was made with; if you renamed a class, parse and predict again",
        )
    return ClassArrays(
        truth=places(truth, classes),
        predicted=places(predicted, classes),
        probabilities=_probabilities(rows[f"{prefix}probabilities"], classes),
        patient=rows["patient_id"].combine_chunks().dictionary_encode().indices.to_numpy().astype(int),
        case_ids=tuple(rows["case_id"].to_pylist()),
    )


def places(values: pa.ChunkedArray, names: Sequence[str]) -> np.ndarray:
    """Return where each value stands among names, (N,); -1 where it is none of them."""
    found = pc.call_function("index_in", [values], pc.SetLookupOptions(pa.array(names, pa.string())))
    return found.fill_null(-1).to_numpy().astype(int)


def _probabilities(column: pa.ChunkedArray, classes: Sequence[str]) -> np.ndarray:
    """Return maps of class and probability as (N, C)."""
    values = np.zeros((len(column), len(classes)))
    if len(column):
        maps = pa.concat_arrays(column.chunks)
        ends = maps.offsets.to_numpy()
        case = np.repeat(np.arange(len(maps)), np.diff(ends))
        number = places(pa.chunked_array([maps.keys[ends[0] : ends[-1]]]), classes)
        known = number >= 0
        values[case[known], number[known]] = maps.items[ends[0] : ends[-1]].to_numpy()[known]
    return values
