"""The rows of `agreement`: annotators, reference diagnosis and model, in pairs and all annotators together.

Pairs of readers that share few cases are left out.
"""

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa

from toolkit.manifest import Study
from toolkit.stages.evaluate.scoring import BOOTSTRAP, EvaluationKey
from toolkit.stats import agreement, metrics
from toolkit.stats.intervals import patient_bootstrap, percentile
from toolkit.workspace.class_arrays import ClassArrays, places

MODEL, TRUTH, ANNOTATORS = "model", "truth", "annotators"
FEWEST = 10
"""Cases that two readers must share."""
MISSING = -1


def rows(study: Study, data: ClassArrays, key: EvaluationKey, readings: pa.Table) -> list[dict[str, Any]]:
    """Return rows of every pair of readers and of all annotators; `readings` have case, annotator and class."""
    readers = _codes(study, data, readings)
    annotators = [name for name in readers if name not in (MODEL, TRUTH)]
    measured = []
    for first, second in combinations(readers, 2):
        both = (readers[first] != MISSING) & (readers[second] != MISSING)
        if both.sum() >= FEWEST:
            measured += _pair(study, data, both, (first, second), (readers[first], readers[second]))
    if len(annotators) > 1:
        measured += _together(study, data, np.stack([readers[name] for name in annotators]))
    shared = {"confidence": study.evaluate.confidence, "method": BOOTSTRAP, "replicates": study.evaluate.replicates}
    return [{**key._asdict(), **shared, **row} for row in measured]


def _codes(study: Study, data: ClassArrays, readings: pa.Table) -> dict[str, np.ndarray]:
    """Return each reader's class index by case (N,): annotators in the order of their pseudonyms, model, truth."""
    names = sorted(readings["annotator"].unique().to_pylist())
    codes = np.full((len(names), len(data.case_ids)), MISSING)
    annotator, case = places(readings["annotator"], names), places(readings["case_id"], data.case_ids)
    codes[annotator, case] = places(readings["class_name"], study.class_names)  # -1 = MISSING
    return {**dict(zip(names, codes, strict=True)), MODEL: data.predicted, TRUTH: data.truth}


def _pair(
    study: Study, data: ClassArrays, both: np.ndarray, names: tuple[str, str], codes: tuple[np.ndarray, np.ndarray]
) -> list[dict[str, Any]]:
    """Return Cohen's kappa of two readers, weighted too where the study orders its classes."""
    tables = metrics.Matrices(codes[0][both], codes[1][both], len(study.class_names))

    def weighted(table: np.ndarray) -> np.ndarray:
        return agreement.cohen(table, weights=agreement.linear_weights(table.shape[-1]))

    readers = {"reader": names[0], "other_reader": names[1]}
    kappas = _by_class(tables, agreement.cohen)
    measured = _measured(study, data, both, kappas, {"measure": "cohen", **readers})
    if study.evaluate.ordered:
        ordered = _over_ordered(study, tables, weighted)
        measured += _measured(study, data, both, ordered, {"measure": "cohen_weighted", **readers})
    return measured


def _together(study: Study, data: ClassArrays, codes: np.ndarray) -> list[dict[str, Any]]:
    """Return alpha on the cases that several annotators read, and Fleiss' kappa where all have as many readings."""
    classes = len(study.class_names)
    counts = (codes[:, :, None] == np.arange(classes)).sum(axis=0)
    every = counts.sum(axis=1)
    several = every > 1
    if several.sum() < FEWEST:
        return []
    pairs = agreement.coincidences(counts[several]).reshape(-1, classes * classes)

    def tables(weights: np.ndarray) -> np.ndarray:
        return (weights @ pairs).reshape(-1, classes, classes)

    def ordinal(table: np.ndarray) -> np.ndarray:
        return agreement.krippendorff(table, level="ordinal")

    measures = {"krippendorff": _by_class(tables, agreement.krippendorff)}
    if study.evaluate.ordered:
        measures["krippendorff_ordinal"] = _over_ordered(study, tables, ordinal)
    if several.all() and every.min() == every.max():
        measures["fleiss"] = _by_class(tables, agreement.cohen)  # of coincidences, Cohen's formula is Fleiss'
    readers = {"reader": ANNOTATORS, "other_reader": None}
    return [
        row
        for name, measure in measures.items()
        for row in _measured(study, data, several, measure, {"measure": name, **readers})
    ]


Tables = Callable[[np.ndarray], np.ndarray]
"""Counts of two readers' answers (R, K, K) as a function of weights (R, N)."""
Measure = Callable[[np.ndarray], dict[str, np.ndarray]]
"""Agreement as a function of weights (R, N): over "all" classes (R,) and, where it has that, of each "one" (R, K)."""


def _by_class(tables: Tables, statistic: Callable[[np.ndarray], np.ndarray]) -> Measure:
    """Return a statistic of tables: over all classes, and of each against all others."""

    def measure(weights: np.ndarray) -> dict[str, np.ndarray]:
        table = tables(weights)
        both = np.diagonal(table, axis1=1, axis2=2)
        first, second = table.sum(axis=2) - both, table.sum(axis=1) - both
        neither = table.sum(axis=(1, 2))[:, None] - both - first - second
        one = np.stack([np.stack([both, first], axis=-1), np.stack([second, neither], axis=-1)], axis=-2)
        return {"all": statistic(table), "one": statistic(one)}

    return measure


def _over_ordered(study: Study, tables: Tables, statistic: Callable[[np.ndarray], np.ndarray]) -> Measure:
    """Return a statistic of tables with the classes in the order that the study declares."""
    order = [study.class_names.index(name) for name in study.evaluate.ordered]

    def measure(weights: np.ndarray) -> dict[str, np.ndarray]:
        return {"all": statistic(tables(weights)[..., order, :][..., order])}

    return measure


def _measured(
    study: Study, data: ClassArrays, inside: np.ndarray, measure: Measure, shared: dict[str, Any]
) -> list[dict[str, Any]]:
    """Return a row over all classes and, where the measure is taken of each class too, one for each."""
    _, patient = np.unique(data.patient[inside], return_inverse=True)
    value = measure(np.ones((1, len(patient))))
    replicates = patient_bootstrap(measure, patient, replicates=study.evaluate.replicates, seed=study.study.seed)
    support = {"cases": len(patient), "patients": int(patient.max()) + 1}
    measured = []
    for number, name in enumerate([None, *(study.class_names if "one" in value else [])]):
        kind, column = ("all", ...) if name is None else ("one", (..., number - 1))
        interval = percentile(replicates[kind][column], confidence=study.evaluate.confidence)
        point = float(value[kind][0][column])
        measured.append({**shared, "class_name": name, "value": point, **interval._asdict(), **support})
    return measured
