"""The rows of `calibration_bins`, and the temperature of a run, which is fitted on validation only."""

from typing import Any

import numpy as np

from toolkit.manifest import Study
from toolkit.stages.evaluate.estimates import WILSON
from toolkit.stages.evaluate.scoring import EvaluationKey, Scorer
from toolkit.stats import calibration
from toolkit.workspace import sql
from toolkit.workspace.class_arrays import ClassArrays
from toolkit.workspace.registry import Workspace
from toolkit.workspace.runs import RunRecord, read_run
from toolkit.workspace.sources import PredictionSource, is_undefined

FITTED_ON = "validation"
AT_PRIOR = "prior_"


def temperature_of(parts: dict[str, ClassArrays], record: RunRecord, truth_id: str) -> dict[str, Any] | None:
    """Return the temperature fitted on validation, an external run's where it was trained; None without validation.

    None too where predictions from a file are no distributions: there is nothing to be scaled.
    """
    frozen = record.frozen
    if record.source and record.source.knows != "distribution":
        return None
    if fixed := frozen.get("temperature"):
        return {**fixed, "fitted_on": FITTED_ON}
    if (data := parts.get(FITTED_ON)) is None:
        return None
    temperature = calibration.fit_temperature(data.truth, data.probabilities)
    return {"temperature": temperature, "cases": len(data.truth), "truth_id": truth_id, "fitted_on": FITTED_ON}


def prior_of(workspace: Workspace, study: Study, run_id: str) -> np.ndarray | None:
    """Return the cases of each class (C,) that a run was trained on, where training balanced them; else None.

    Of an external run the training set is not here.
    """
    record = read_run(workspace, run_id)
    if record.study.get("train", {}).get("balance", "none") == "none" or record.external_of:
        return None
    rows = workspace.rows(sql.statement("evaluate/trained_on"), {"run_id": run_id})
    cases = {row["class_name"]: row["cases"] for row in rows}
    prior = np.array([cases.get(name, 0) for name in study.class_names], dtype=float)
    return prior if prior.any() else None


def at_prior(probabilities: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Return probabilities (N, C) of a model that was trained on balanced classes, for classes as frequent as `prior`.

    Saerens, Latinne and Decaestecker, Neural Comput 2002;14:21.
    """
    weighed = probabilities * prior
    total = weighed.sum(axis=1, keepdims=True)
    return np.divide(weighed, total, out=probabilities.copy(), where=total > 0)


def at_prior_rows(
    study: Study, data: ClassArrays, key: EvaluationKey, prior: np.ndarray | None
) -> list[dict[str, Any]]:
    """Return scores at the class shares of the training set, where training was balanced: rows of `scores`."""
    if prior is None:
        return []
    chances = at_prior(data.probabilities, prior)
    corrected = data._replace(predicted=chances.argmax(axis=1), probabilities=chances)
    rows = {row["metric"]: row for row in Scorer(study, corrected, key).over_all()}
    literals = {"run_id": key.run_id, "part": key.part, "class_name": "", "bins": str(study.evaluate.bins)}
    return [
        {
            **rows[name],
            "metric": f"{AT_PRIOR}{name}",
            "query": sql.metric_query(name, source="at_prior", **literals),
        }
        for name in ("accuracy", "brier", "log_loss", "ece")
    ]


def bins(
    study: Study,
    data: ClassArrays,
    key: EvaluationKey,
    temperature: float | None,
    source: PredictionSource | None = None,
) -> list[dict[str, Any]]:
    """Return the reliability of the predicted class's probability, at the temperature too, and of every class's."""
    predicted = (np.arange(len(data.truth)), data.predicted)
    events = [("as predicted", None, data.probabilities[predicted], data.right)]
    if temperature is not None:
        scaled = calibration.at_temperature(data.probabilities, temperature)
        events.append(("at temperature", None, scaled[predicted], data.right))
    events += [
        ("as predicted", name, data.probabilities[:, number], data.truth == number)
        for number, name in enumerate(study.class_names)
        if not is_undefined(source, "ece", name)
    ]
    bins, confidence = study.evaluate.bins, study.evaluate.confidence
    shared = {**key._asdict(), "method": WILSON, "confidence": confidence}
    return [
        {**shared, "probabilities": kind, "class_name": name, **row._asdict(), **row.interval._asdict()}
        for kind, name, probability, occurred in events
        for row in calibration.reliability(probability, occurred, data.patient, bins=bins, confidence=confidence)
    ]
