"""How a part's probabilities are held against what came true: rows of `calibration_bins`, the run's temperature.

Refuses to fit anything on another part than validation.
"""

from typing import Any

import numpy as np

from toolkit.manifest import Study
from toolkit.stages.evaluate.estimates import WILSON, PartData
from toolkit.stages.evaluate.scoring import EvaluationKey
from toolkit.stats import calibration

FITTED_ON = "validation"


def temperature_of(parts: dict[str, PartData]) -> float | None:
    """Return the temperature fitted on validation; None where validation is not scored."""
    data = parts.get(FITTED_ON)
    return None if data is None else calibration.fit_temperature(data.truth, data.probabilities)


def bins(study: Study, data: PartData, key: EvaluationKey, temperature: float | None) -> list[dict[str, Any]]:
    """Return the reliability of the predicted class's probability, at the temperature too, and of every class's."""
    right = data.truth == data.predicted
    events = [("as predicted", None, _said(data, data.probabilities), right)]
    if temperature is not None:
        scaled = calibration.at_temperature(data.probabilities, temperature)
        events.append(("at temperature", None, _said(data, scaled), right))
    events += [
        ("as predicted", name, data.probabilities[:, number], data.truth == number)
        for number, name in enumerate(study.class_names)
    ]
    rows = []
    for probabilities, class_name, chance, came in events:
        told = {"probabilities": probabilities, "class_name": class_name, "method": WILSON}
        told["confidence"] = confidence = study.evaluate.confidence
        for b in calibration.reliability(chance, came, data.patient, bins=study.evaluate.bins, confidence=confidence):
            rows.append({**key._asdict(), **told, **b._asdict(), **b.interval._asdict()})  # noqa: PERF401 - read as is
    return rows


def _said(data: PartData, probabilities: np.ndarray) -> np.ndarray:
    return probabilities[np.arange(len(data.predicted)), data.predicted]
