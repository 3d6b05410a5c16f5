"""The rows of `scores`: each metric's value, interval, method and support, and the query that gives it again."""

from typing import Any, NamedTuple

import numpy as np

from toolkit.manifest import Study
from toolkit.stages.evaluate import estimates
from toolkit.stages.evaluate.estimates import WILSON
from toolkit.stages.evaluate.replicates import Measures
from toolkit.stats import calibration, intervals, metrics
from toolkit.stats.intervals import UNDEFINED, Interval
from toolkit.workspace import sql
from toolkit.workspace.class_arrays import ClassArrays
from toolkit.workspace.sources import PredictionSource, is_undefined

BOOTSTRAP = "patient bootstrap, percentile"
JACKKNIFE = "Wilson, effective size from leaving patients out"
LOGARITHM = "logarithmic scale, variance from leaving patients out"
SCORE_TEST = "score test inverted, correlation within patients"
NO_INTERVAL = "none: of a calibrated model it would lie above 0"
TESTED = "none: score test of slope 1 and intercept 0, correlation within patients"
NOT_GIVEN = "none: the file of predictions does not give what it rests on"
FITTED = ("calibration_slope", "calibration_intercept")
OF_EVENTS = ("ece", "ece_debiased", *FITTED)
OF_PROBABILITIES = ("brier", "log_loss", *OF_EVENTS, "calibration_p", "calibration_power")
OF_A_CLASS = ("brier", *OF_EVENTS)
SCALED = ("scaled_brier", "scaled_log_loss", "scaled_ece")
LARGEST_BRIER = 2
MICRO_QUERIES = {"specificity": "micro_specificity", "npv": "micro_specificity"}
MICRO_QUERIES |= {"roc_auc": "micro_roc_auc", "pr_auc": "micro_pr_auc"}


class EvaluationKey(NamedTuple):
    """Which run and part is scored, against which truth."""

    run_id: str
    part: str
    truth_id: str


class Measured(NamedTuple):
    """A value with its interval, how that was made, which cases (N,) it rests on, and whether their patients are few.

    `few` is the mark `too_few`; None where it follows from `rests_on` alone.
    """

    value: float
    interval: Interval
    method: str
    rests_on: np.ndarray
    few: bool | None = None


class Scorer:
    """The scores of one part, with the values, and those without each patient, that every row is made from."""

    def __init__(
        self,
        study: Study,
        data: ClassArrays,
        key: EvaluationKey,
        temperature: float | None = None,
        source: PredictionSource | None = None,
    ) -> None:
        self.study, self.data, self.key, self.source = study, data, key, source
        self.confidence, self.bins = study.evaluate.confidence, study.evaluate.bins
        self.temperature = temperature
        measures = Measures(data, temperature=temperature)
        self.points = measures(np.ones((1, len(data.truth))))
        self.jackknifed = intervals.patient_jackknife(measures, data.patient)
        self.analytic = estimates.per_class(data, confidence=self.confidence)
        self.everyone = np.ones(len(data.truth), dtype=bool)
        self.cases = np.arange(len(data.truth))

    def rows(self) -> list[dict[str, Any]]:
        """Return every score of the part."""
        rows = [*self._per_class(), *self.over_all(), *self._averages()]
        return [self._undefined(row) if self._is_undefined(row["metric"], row["class_name"]) else row for row in rows]

    def _is_undefined(self, metric: str, class_name: str | None) -> bool:
        return is_undefined(self.source, metric, class_name)

    @staticmethod
    def _undefined(row: dict[str, Any]) -> dict[str, Any]:
        """Return a row without a value: the run's file does not give the numbers that it rests on."""
        nothing = {"value": np.nan, **UNDEFINED._asdict(), "method": NOT_GIVEN}
        return {**row, **nothing, "query": sql.metric_query("undefined")}

    def _per_class(self) -> list[dict[str, Any]]:
        rows = []
        for number, name in enumerate(self.study.class_names):
            event = (self.data.probabilities[:, number], self.data.truth == number)
            measured = {metric: self._of_class(metric, number) for metric in metrics.AVERAGED}
            measured["brier"] = self._jackknifed("class_brier", self.everyone, number)
            if self._is_undefined("ece", name):
                measured |= dict.fromkeys(OF_EVENTS, self._unknown)
            else:
                measured |= self._of_event(*event)
            few = intervals.too_few(self.data.patient, self.data.truth == number)
            for metric in OF_A_CLASS:
                measured[metric] = measured[metric]._replace(few=few)
            rows += [
                self._row(metric, name, each, self._query(metric, class_name=name)) for metric, each in measured.items()
            ]
        return rows

    def _of_class(self, metric: str, number: int) -> Measured:
        rests_on, few = (
            self._rests_on(metric, number),
            intervals.too_few(self.data.patient, *self._groups(metric, number)),
        )
        if metric not in self.analytic.estimates:
            return self._jackknifed(metric, rests_on, number)._replace(few=few)
        interval = self.analytic.estimates[metric].interval_of(number)
        return Measured(float(self.points[metric][0, number]), interval, self.analytic.methods[metric], rests_on, few)

    def _rests_on(self, metric: str, number: int) -> np.ndarray:
        """Return the cases of a share's denominator; for F1 and the areas the class's own cases."""
        truth, predicted = self.data.truth == number, self.data.predicted == number
        return {"precision": predicted, "npv": ~predicted, "specificity": ~truth}.get(metric, truth)

    def _groups(self, metric: str, number: int) -> list[np.ndarray]:
        """Return the cases that a class's value needs enough patients of.

        For an area those are the other classes' too, for NPV the class's own, of which its errors are.
        """
        own = self.data.truth == number
        return [self._rests_on(metric, number), *{"npv": [own], "roc_auc": [~own], "pr_auc": [~own]}.get(metric, [])]

    def _of_event(self, probability: np.ndarray, occurred: np.ndarray) -> dict[str, Measured]:
        """Return what calibration of one event's probabilities is measured by."""
        event = (probability, occurred.astype(float), self.data.patient)
        fit = calibration.recalibration(*event, confidence=self.confidence)
        gaps = calibration.gaps(probability, occurred, self.bins).sum(axis=0)
        error = float(calibration.calibration_error(gaps, len(occurred)))
        debiased = calibration.debiased_error(*event, bins=self.bins)
        return {
            "ece": Measured(error, UNDEFINED, NO_INTERVAL, self.everyone),
            "ece_debiased": Measured(debiased, UNDEFINED, NO_INTERVAL, self.everyone),
            "calibration_slope": Measured(fit.slope, fit.slope_interval, SCORE_TEST, self.everyone),
            "calibration_intercept": Measured(fit.intercept, fit.intercept_interval, SCORE_TEST, self.everyone),
        }

    def over_all(self) -> list[dict[str, Any]]:
        """Return the scores that are not of a class, nor averages over classes but balanced accuracy."""
        event = (self.data.probabilities[self.cases, self.data.predicted], self.data.right)
        test = calibration.calibration_test(event[0], event[1].astype(float), self.data.patient)
        accuracy = estimates.accuracy(self.data, confidence=self.confidence)
        measured = {
            "accuracy": Measured(*accuracy, WILSON, self.everyone),
            **self._losses(self.data.probabilities, ""),
            **self._of_event(*event),
            "calibration_p": Measured(test.p, UNDEFINED, TESTED, self.everyone),
            "calibration_power": Measured(test.power, UNDEFINED, TESTED, self.everyone),
        }
        rows = [self._row(metric, None, each, self._query(metric)) for metric, each in measured.items()]
        balanced = self._query("macro", metric="recall")
        rows.append(self._average("balanced_accuracy", "recall", self._mean("macro_recall", "recall"), balanced))
        if self.temperature is None:
            return rows
        scaled = calibration.at_temperature(self.data.probabilities, self.temperature)
        values = self._losses(scaled, "scaled_")
        values["scaled_ece"] = self._of_event(scaled[self.cases, self.data.predicted], self.data.right)["ece"]
        queries = {name: self._query(name.removeprefix("scaled_"), source="scaled") for name in SCALED}
        return rows + [self._row(name, None, values[name], queries[name]) for name in SCALED]

    @property
    def _unknown(self) -> Measured:
        return Measured(float("nan"), UNDEFINED, NOT_GIVEN, self.everyone)

    def _losses(self, probabilities: np.ndarray, prefix: str) -> dict[str, Measured]:
        """Return Brier score and log loss; to the latter's variance one patient more adds, like the worst of all."""
        if self._is_undefined("log_loss", None):
            return dict.fromkeys((f"{prefix}brier", f"{prefix}log_loss"), self._unknown)
        name, patients = f"{prefix}log_loss", self._patients(self.everyone)
        value = float(self.points[name][0])
        losses = metrics.losses(self.data.truth, probabilities)["log_loss"]
        worst = np.max(np.bincount(self.data.patient, losses) / np.bincount(self.data.patient))
        variance = intervals.jackknife_variance(self.jackknifed[name]) + ((worst - value) / patients) ** 2
        interval = intervals.log_interval(value, variance, patients, confidence=self.confidence)
        return {
            f"{prefix}brier": self._jackknifed(f"{prefix}brier", self.everyone, largest=LARGEST_BRIER),
            name: Measured(value, interval, LOGARITHM, self.everyone),
        }

    def _averages(self) -> list[dict[str, Any]]:
        rows = []
        micro = estimates.micro(self.data, confidence=self.confidence)
        for metric in metrics.AVERAGED:
            pooled = (
                Measured(*micro[metric], WILSON, self.everyone)
                if metric in micro
                else self._jackknifed(f"micro_{metric}", self.everyone)
            )
            for kind in ("macro", "weighted"):
                measured, query = self._mean(f"{kind}_{metric}", metric), self._query(kind, metric=metric)
                rows.append(self._average(f"{kind}_{metric}", metric, measured, query))
            query = self._query(MICRO_QUERIES.get(metric, "accuracy"))
            rows.append(self._row(f"micro_{metric}", None, pooled, query))
        return rows

    def _average(self, name: str, metric: str, measured: Measured, query: str) -> dict[str, Any]:
        """Return the row of a mean over classes, with the number of classes where the metric is defined."""
        defined = np.flatnonzero(~np.isnan(self.points[metric][0]))
        groups = [group for number in defined for group in self._groups(metric, number)]
        few = intervals.too_few(self.data.patient, *groups, *intervals.classes_in(self.data.truth))
        return {**self._row(name, None, measured._replace(few=few), query), "classes": len(defined)}

    def _mean(self, name: str, metric: str) -> Measured:
        """Return a mean over classes; that of specificity and NPV rests on the patients outside the commonest class."""
        patients = None
        if metric in ("specificity", "npv"):
            classes = np.unique(self.data.truth)
            patients = min(self._patients(self._rests_on(metric, number)) for number in classes)
        return self._jackknifed(name, self.everyone, patients=patients)

    def _jackknifed(
        self,
        name: str,
        rests_on: np.ndarray,
        number: int | None = None,
        *,
        largest: int = 1,
        patients: int | None = None,
    ) -> Measured:
        """Return a number between 0 and `largest` with its interval, from so many patients (those it rests on)."""
        place = ... if number is None else (..., number)
        value, variance = float(self.points[name][0][place]), intervals.jackknife_variance(self.jackknifed[name][place])
        patients = self._patients(rests_on) if patients is None else patients
        low, high = intervals.effective_wilson(
            value / largest, variance / largest**2, patients, confidence=self.confidence
        )
        return Measured(value, Interval(low * largest, high * largest), JACKKNIFE, rests_on)

    def _patients(self, cases: np.ndarray) -> int:
        return len(np.unique(self.data.patient[cases]))

    def _query(self, name: str, *, class_name: str = "", metric: str = "", source: str = "scored") -> str:
        literals = {"run_id": self.key.run_id, "part": self.key.part, "bins": str(self.bins)}
        return sql.metric_query(name, source=source, class_name=class_name, metric=metric, **literals)

    def _row(self, metric: str, class_name: str | None, measured: Measured, query: str) -> dict[str, Any]:
        interval = UNDEFINED if np.isnan(measured.value) else measured.interval
        few = intervals.too_few(self.data.patient, measured.rests_on) if measured.few is None else measured.few
        return {
            **self.key._asdict(),
            "metric": metric,
            "class_name": class_name,
            "value": measured.value,
            "low": interval.low,
            "high": interval.high,
            "confidence": self.confidence,
            "method": measured.method,
            "replicates": 0,
            "cases": int(measured.rests_on.sum()),
            "patients": self._patients(measured.rests_on),
            "too_few": few,
            "classes": None,
            "query": query,
        }
