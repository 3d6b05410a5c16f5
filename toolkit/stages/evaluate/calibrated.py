"""The rows of `calibration_bins`, and the temperature of a run, which is fitted on validation only."""

from typing import Any

import numpy as np

from toolkit.manifest import Study
from toolkit.stages.evaluate.estimates import WILSON
from toolkit.stages.evaluate.scoring import EvaluationKey
from toolkit.stats import calibration
from toolkit.workspace.class_arrays import ClassArrays

FITTED_ON = "validation"


def temperature_of(parts: dict[str, ClassArrays], frozen: dict[str, Any], truth_id: str) -> dict[str, Any] | None:
    """Return the temperature fitted on validation, an external run's where it was trained; None without validation."""
    if fixed := frozen.get("temperature"):
        return {**fixed, "fitted_on": FITTED_ON}
    if (data := parts.get(FITTED_ON)) is None:
        return None
    temperature = calibration.fit_temperature(data.truth, data.probabilities)
    return {"temperature": temperature, "cases": len(data.truth), "truth_id": truth_id, "fitted_on": FITTED_ON}


def bins(study: Study, data: ClassArrays, key: EvaluationKey, temperature: float | None) -> list[dict[str, Any]]:
    """Return the reliability of the predicted class's probability, at the temperature too, and of every class's."""
    predicted = (np.arange(len(data.truth)), data.predicted)
    events = [("as predicted", None, data.probabilities[predicted], data.right)]
    if temperature is not None:
        scaled = calibration.at_temperature(data.probabilities, temperature)
        events.append(("at temperature", None, scaled[predicted], data.right))
    events += [
        ("as predicted", name, data.probabilities[:, number], data.truth == number)
        for number, name in enumerate(study.class_names)
    ]
    bins, confidence = study.evaluate.bins, study.evaluate.confidence
    shared = {**key._asdict(), "method": WILSON, "confidence": confidence}
    return [
        {**shared, "probabilities": kind, "class_name": name, **row._asdict(), **row.interval._asdict()}
        for kind, name, probability, occurred in events
        for row in calibration.reliability(probability, occurred, data.patient, bins=bins, confidence=confidence)
    ]
