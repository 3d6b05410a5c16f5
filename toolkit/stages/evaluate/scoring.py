"""The rows of `scores`: each metric's value, interval, method and support, and the query that gives it again."""

from typing import Any, NamedTuple

import numpy as np

from toolkit.manifest import Study
from toolkit.stages.evaluate import estimates
from toolkit.stages.evaluate.estimates import RECOVERED, WILSON
from toolkit.stages.evaluate.replicates import Measures
from toolkit.stats import metrics
from toolkit.stats.intervals import (
    TOO_FEW,
    UNDEFINED,
    Interval,
    bca,
    patient_bootstrap,
    patient_jackknife,
    percentile,
)
from toolkit.workspace import sql
from toolkit.workspace.class_arrays import ClassArrays

BOOTSTRAP = "patient bootstrap, percentile"
BCA = "patient bootstrap, BCa"
ONE_STEP = "patient bootstrap, one Newton step, percentile"
OF_PROBABILITIES = ("brier", "log_loss", "ece", "calibration_slope", "calibration_intercept")
OF_A_CLASS = ("brier", "ece", "calibration_slope", "calibration_intercept")
SCALED = ("scaled_brier", "scaled_log_loss", "scaled_ece")
MICRO_QUERIES = {"specificity": "micro_specificity", "npv": "micro_specificity"}
MICRO_QUERIES |= {"roc_auc": "micro_roc_auc", "pr_auc": "micro_pr_auc"}


class EvaluationKey(NamedTuple):
    """Which run and part is scored, against which truth."""

    run_id: str
    part: str
    truth_id: str


class Measured(NamedTuple):
    """A value with its interval, how that was made, and which cases (N,) it rests on."""

    value: float
    interval: Interval
    method: str
    rests_on: np.ndarray


class Scorer:
    """The scores of one part, with the values and the bootstrap replicates that every row is made from."""

    def __init__(self, study: Study, data: ClassArrays, key: EvaluationKey, temperature: float | None = None) -> None:
        self.study, self.data, self.key = study, data, key
        self.confidence, self.bins = study.evaluate.confidence, study.evaluate.bins
        self.temperature = temperature
        measures = Measures(data, bins=self.bins, temperature=temperature)
        self.points = measures(np.ones((1, len(data.truth))))
        self.replicates = patient_bootstrap(
            measures, data.patient, replicates=study.evaluate.replicates, seed=study.study.seed
        )
        self.jackknifed = patient_jackknife(measures, data.patient)
        self.analytic = estimates.per_class(data, confidence=self.confidence)
        self.everyone = np.ones(len(data.truth), dtype=bool)
        self.least = min(len(np.unique(data.patient[data.truth == k])) for k in np.unique(data.truth))

    def rows(self) -> list[dict[str, Any]]:
        """Return every score of the part."""
        return [*self._per_class(), *self._over_all(), *self._averages()]

    def _per_class(self) -> list[dict[str, Any]]:
        rows = []
        for number, name in enumerate(self.study.class_names):
            for metric in (*metrics.AVERAGED, *OF_A_CLASS):
                if metric in metrics.AVERAGED:
                    measured = self._of_class(metric, number)
                else:
                    measured = self._bootstrapped(f"class_{metric}", self.everyone, number)
                rows.append(self._row(metric, name, measured, self._query(metric, class_name=name)))
        return rows

    def _of_class(self, metric: str, number: int) -> Measured:
        rests_on = self._rests_on(metric, number)
        if metric not in self.analytic.estimates:
            return self._bootstrapped(metric, rests_on, number)
        interval = self.analytic.estimates[metric].interval_of(number)
        return Measured(float(self.points[metric][0, number]), interval, self.analytic.methods[metric], rests_on)

    def _rests_on(self, metric: str, number: int) -> np.ndarray:
        """Return the cases of a share's denominator; for F1 and the areas the class's own cases."""
        truth, predicted = self.data.truth == number, self.data.predicted == number
        return {"precision": predicted, "npv": ~predicted, "specificity": ~truth}.get(metric, truth)

    def _over_all(self) -> list[dict[str, Any]]:
        accuracy = Measured(*estimates.accuracy(self.data, confidence=self.confidence), WILSON, self.everyone)
        rows = [
            self._row("accuracy", None, accuracy, self._query("accuracy")),
            self._average("balanced_accuracy", "recall", self._macro("recall"), self._query("macro", metric="recall")),
        ]
        for metric in (*OF_PROBABILITIES, *(SCALED if self.temperature is not None else ())):
            source = "scaled" if metric in SCALED else "scored"
            query = self._query(metric.removeprefix("scaled_"), source=source)
            rows.append(self._row(metric, None, self._bootstrapped(metric, self.everyone), query))
        return rows

    def _averages(self) -> list[dict[str, Any]]:
        rows = []
        micro = estimates.micro(self.data, confidence=self.confidence)
        for metric in metrics.AVERAGED:
            weighted = self._bootstrapped(f"weighted_{metric}", self.everyone)
            pooled = (
                Measured(*micro[metric], WILSON, self.everyone)
                if metric in micro
                else self._bootstrapped(f"micro_{metric}", self.everyone)
            )
            rows += [
                self._average(f"macro_{metric}", metric, self._macro(metric), self._query("macro", metric=metric)),
                self._average(f"weighted_{metric}", metric, weighted, self._query("weighted", metric=metric)),
                self._row(f"micro_{metric}", None, pooled, self._query(MICRO_QUERIES.get(metric, "accuracy"))),
            ]
        return rows

    def _average(self, name: str, metric: str, measured: Measured, query: str) -> dict[str, Any]:
        """Return the row of a mean over classes, with the number of classes where the metric is defined."""
        return {**self._row(name, None, measured, query), "classes": int((~np.isnan(self.points[metric][0])).sum())}

    def _macro(self, metric: str) -> Measured:
        if metric not in self.analytic.estimates:
            return self._bootstrapped(f"macro_{metric}", self.everyone)
        interval = estimates.macro(self.analytic.estimates[metric])[1]
        return Measured(float(self.points[f"macro_{metric}"][0]), interval, RECOVERED, self.everyone)

    def _bootstrapped(self, name: str, rests_on: np.ndarray, number: int | None = None) -> Measured:
        place = ... if number is None else (..., number)
        value, replicates = float(self.points[name][0][place]), self.replicates[name][place]
        # nearly every replicate of a calibration error is larger than itself: nothing BCa could correct
        if name.endswith("ece") or "calibration_" in name:
            method = ONE_STEP if "calibration_" in name else BOOTSTRAP
            return Measured(value, percentile(replicates, confidence=self.confidence), method, rests_on)
        interval = bca(replicates, value, self.jackknifed[name][place], confidence=self.confidence)
        return Measured(value, interval, BCA, rests_on)

    def _query(self, name: str, *, class_name: str = "", metric: str = "", source: str = "scored") -> str:
        literals = {"run_id": self.key.run_id, "part": self.key.part, "bins": str(self.bins)}
        return sql.metric_query(name, source=source, class_name=class_name, metric=metric, **literals)

    def _row(self, metric: str, class_name: str | None, measured: Measured, query: str) -> dict[str, Any]:
        interval = UNDEFINED if np.isnan(measured.value) else measured.interval
        patients = len(np.unique(self.data.patient[measured.rests_on]))
        return {
            **self.key._asdict(),
            "metric": metric,
            "class_name": class_name,
            "value": measured.value,
            "low": interval.low,
            "high": interval.high,
            "confidence": self.confidence,
            "method": measured.method,
            "replicates": self.study.evaluate.replicates if "bootstrap" in measured.method else 0,
            "cases": int(measured.rests_on.sum()),
            "patients": patients,
            "too_few": min(patients, self.least if measured.method == RECOVERED else patients) < TOO_FEW,
            "classes": None,
            "query": query,
        }
