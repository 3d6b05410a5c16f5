"""How far annotators, truth and model agree on a part's cases: rows of `agreement`.

Refuses pairs of readers that share few cases.
"""

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np

from toolkit.manifest import Study
from toolkit.stages.evaluate.estimates import PartData
from toolkit.stages.evaluate.scoring import BOOTSTRAP, EvaluationKey
from toolkit.stats import agreement
from toolkit.stats.intervals import patient_bootstrap, percentile

MODEL, TRUTH, ANNOTATORS = "model", "truth", "annotators"
FEWEST = 10
"""Cases that two readers must share."""
MISSING = -1


def rows(study: Study, data: PartData, key: EvaluationKey, readings: list[dict[str, str]]) -> list[dict[str, Any]]:
    """Return rows of every pair of readers and of all annotators; `readings` say case, annotator, class."""
    readers = _codes(study, data, readings)
    annotators = [name for name in readers if name not in (MODEL, TRUTH)]
    made = []
    for first, second in combinations(readers, 2):
        both = (readers[first] != MISSING) & (readers[second] != MISSING)
        if both.sum() >= FEWEST:
            made += _cohen(study, data, both, (first, second), (readers[first], readers[second]))
    if len(annotators) > 1:
        made += _together(study, data, np.stack([readers[name] for name in annotators]))
    told = {"confidence": study.evaluate.confidence, "method": BOOTSTRAP, "replicates": study.evaluate.replicates}
    return [{**key._asdict(), **told, **row} for row in made]


def _codes(study: Study, data: PartData, readings: list[dict[str, str]]) -> dict[str, np.ndarray]:
    """Return each reader's class index by case (N,): annotators in the order of their pseudonyms, model, truth."""
    place = {case_id: number for number, case_id in enumerate(data.case_ids)}
    number = {name: index for index, name in enumerate(study.class_names)}
    names = sorted({row["annotator"] for row in readings})
    found = {name: np.full(len(place), MISSING) for name in names}
    for row in readings:
        if row["class_name"] in number:
            found[row["annotator"]][place[row["case_id"]]] = number[row["class_name"]]
    return {**found, MODEL: data.predicted, TRUTH: data.truth}


def _cohen(
    study: Study, data: PartData, both: np.ndarray, names: tuple[str, str], codes: tuple[np.ndarray, np.ndarray]
) -> list[dict[str, Any]]:
    classes = len(study.class_names)
    cells = np.zeros((int(both.sum()), classes * classes))
    cells[np.arange(len(cells)), codes[0][both] * classes + codes[1][both]] = 1

    def kappas(weights: np.ndarray) -> dict[str, np.ndarray]:
        table = (weights @ cells).reshape(-1, classes, classes)
        hit = np.diagonal(table, axis1=1, axis2=2)
        rest = [table.sum(axis=2) - hit, table.sum(axis=1) - hit]
        other = table.sum(axis=(1, 2))[:, None] - hit - rest[0] - rest[1]
        one = np.stack([np.stack([hit, rest[0]], axis=-1), np.stack([rest[1], other], axis=-1)], axis=-2)
        return {"all": agreement.cohen(table), "one": agreement.cohen(one)}

    def weighted(weights: np.ndarray) -> dict[str, np.ndarray]:
        table = _in_order(study, (weights @ cells).reshape(-1, classes, classes))
        return {"all": agreement.cohen(table, weights=agreement.linear_weights(classes))}

    told = {"reader": names[0], "other_reader": names[1]}
    made = _measured(study, data, both, kappas, {"measure": "cohen", **told})
    if study.evaluate.ordered:
        made += _measured(study, data, both, weighted, {"measure": "cohen_weighted", **told})
    return made


def _together(study: Study, data: PartData, codes: np.ndarray) -> list[dict[str, Any]]:
    """Return alpha on the cases that several annotators read, and Fleiss' kappa where all have as many readings."""
    classes = len(study.class_names)
    counts = (codes[:, :, None] == np.arange(classes)).sum(axis=0)
    every = counts.sum(axis=1)
    several = every > 1
    if several.sum() < FEWEST:
        return []
    pairs = agreement.coincidences(counts[several]).reshape(-1, classes * classes)

    def found(statistic: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
        def measure(weights: np.ndarray) -> dict[str, np.ndarray]:
            table = (weights @ pairs).reshape(-1, classes, classes)
            own = np.diagonal(table, axis1=1, axis2=2)
            apart = table.sum(axis=2) - own
            other = table.sum(axis=(1, 2))[:, None] - own - 2 * apart
            one = np.stack([np.stack([own, apart], axis=-1), np.stack([apart, other], axis=-1)], axis=-2)
            return {"all": statistic(table), "one": statistic(one)}

        return measure

    def ordinal(weights: np.ndarray) -> dict[str, np.ndarray]:
        table = _in_order(study, (weights @ pairs).reshape(-1, classes, classes))
        return {"all": agreement.krippendorff(table, level="ordinal")}

    measures = {"krippendorff": found(agreement.krippendorff)}
    if study.evaluate.ordered:
        measures["krippendorff_ordinal"] = ordinal
    if several.all() and every.min() == every.max():
        measures["fleiss"] = found(agreement.cohen)  # of coincidences, Cohen's formula is Fleiss' kappa
    told = {"reader": ANNOTATORS, "other_reader": None}
    return [
        row
        for name, measure in measures.items()
        for row in _measured(study, data, several, measure, {"measure": name, **told})
    ]


def _in_order(study: Study, table: np.ndarray) -> np.ndarray:
    """Return counts (..., K, K) by class with the classes in the order that the study declares."""
    order = [study.class_names.index(name) for name in study.evaluate.ordered]
    return table[..., order, :][..., order]


def _measured(study: Study, data: PartData, inside: np.ndarray, measure: Callable, told: dict) -> list[dict[str, Any]]:
    """Return a row over all classes and, where the measure is taken of each class too, one for each."""
    _, patient = np.unique(data.patient[inside], return_inverse=True)
    value = measure(np.ones((1, len(patient))))
    drawn = patient_bootstrap(measure, patient, replicates=study.evaluate.replicates, seed=study.study.seed)
    support = {"cases": len(patient), "patients": int(patient.max()) + 1}
    made = []
    for number, name in enumerate([None, *(study.class_names if "one" in value else [])]):
        kind, column = ("all", ...) if name is None else ("one", (..., number - 1))
        interval = percentile(drawn[kind][column], confidence=study.evaluate.confidence)
        point = float(value[kind][0][column])
        made.append({**told, "class_name": name, "value": point, **interval._asdict(), **support})
    return made
