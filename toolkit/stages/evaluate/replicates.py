"""Every metric of a part as a function of weights: once for the values, and for those without each patient."""

import numpy as np

from toolkit.stats import calibration, metrics
from toolkit.workspace.class_arrays import ClassArrays


class Measures:
    """All metrics of a part but the fitted ones; what does not depend on the weights is computed once.

    Values per class are (R, C), those over all classes (R,).
    """

    def __init__(self, data: ClassArrays, *, temperature: float | None) -> None:
        self.of_decisions = metrics.WeightedMetrics(data.truth, data.probabilities, data.predicted)
        self.classes, self.scaled = data.probabilities.shape[1], temperature is not None
        is_it = data.truth[:, None] == np.arange(self.classes)
        losses = metrics.losses(data.truth, data.probabilities)
        columns = [losses["brier"], losses["log_loss"], *((data.probabilities - is_it) ** 2).T]
        if temperature is not None:
            losses = metrics.losses(data.truth, calibration.at_temperature(data.probabilities, temperature))
            columns += [losses["brier"], losses["log_loss"]]
        self.columns = np.column_stack(columns)

    def __call__(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Return every metric."""
        values = self.of_decisions.per_class(weights)
        return values | self.of_decisions.averages(values, weights) | self._of_probabilities(weights)

    def _of_probabilities(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        means = metrics.mean(self.columns, weights)
        values = {"brier": means[:, 0], "log_loss": means[:, 1], "class_brier": means[:, 2 : 2 + self.classes]}
        if self.scaled:
            values |= {"scaled_brier": means[:, -2], "scaled_log_loss": means[:, -1]}
        return values
