"""Every metric of a part as a function of weights: once for the values, and for all bootstrap replicates."""

import numpy as np

from toolkit.stats import calibration, metrics
from toolkit.workspace.class_arrays import ClassArrays

RECALIBRATION = 7
"""Columns of one recalibration."""


class Measures:
    """All metrics of a part; what does not depend on the weights is computed once.

    Values per class are (R, C), those over all classes (R,).
    """

    def __init__(self, data: ClassArrays, *, bins: int, temperature: float | None) -> None:
        self.of_decisions = metrics.WeightedMetrics(data.truth, data.probabilities, data.predicted)
        self.bins, self.classes, self.scaled = bins, data.probabilities.shape[1], temperature is not None
        rows = np.arange(len(data.truth))
        is_it = data.truth[:, None] == np.arange(self.classes)
        losses = metrics.losses(data.truth, data.probabilities)
        events = [(data.probabilities[rows, data.predicted], data.right)]
        events += [(data.probabilities[:, k], is_it[:, k]) for k in range(self.classes)]
        self.refits = [calibration.recalibration(*event) for event in events]
        columns = [losses["brier"], losses["log_loss"], *((data.probabilities - is_it) ** 2).T]
        gaps = [calibration.gaps(*event, bins) for event in events]
        if temperature is not None:
            scaled = calibration.at_temperature(data.probabilities, temperature)
            losses = metrics.losses(data.truth, scaled)
            columns += [losses["brier"], losses["log_loss"]]
            gaps.append(calibration.gaps(scaled[rows, data.predicted], data.right, bins))
        self.parts = (len(columns), bins * len(gaps))
        self.columns = np.column_stack([*columns, *gaps, *(refit.columns for refit in self.refits)])

    def __call__(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Return every metric."""
        values = self.of_decisions.per_class(weights)
        over_all = self.of_decisions.averages(values, weights)
        return values | over_all | self._of_probabilities(weights)

    def _of_probabilities(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        sums, cases = weights @ self.columns, weights.sum(axis=1, keepdims=True)
        means, gaps, refits = np.split(sums, np.cumsum(self.parts), axis=1)
        means = means / cases
        errors = calibration.calibration_error(gaps.reshape(len(weights), -1, self.bins), cases)
        steps = refits.reshape(len(weights), -1, RECALIBRATION)
        fitted = [calibration.one_step(refit, steps[:, place]) for place, refit in enumerate(self.refits)]
        slope, intercept = (np.stack(side, axis=1) for side in zip(*fitted, strict=True))
        every = slice(1, 1 + self.classes)
        values = {
            "brier": means[:, 0],
            "log_loss": means[:, 1],
            "class_brier": means[:, 2 : 2 + self.classes],
            "ece": errors[:, 0],
            "class_ece": errors[:, every],
            "calibration_slope": slope[:, 0],
            "class_calibration_slope": slope[:, every],
            "calibration_intercept": intercept[:, 0],
            "class_calibration_intercept": intercept[:, every],
        }
        if self.scaled:
            values |= {"scaled_brier": means[:, -2], "scaled_log_loss": means[:, -1], "scaled_ece": errors[:, -1]}
        return values
