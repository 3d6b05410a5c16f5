"""The rows of `operating_points`, `guarantees` and `decision_curves`; thresholds are chosen on validation only."""

from typing import Any, NamedTuple

import numpy as np

from toolkit.manifest import Study
from toolkit.manifest.evaluation import OperatingPoint
from toolkit.stages.evaluate.estimates import WILSON
from toolkit.stages.evaluate.scoring import BOOTSTRAP, EvaluationKey
from toolkit.stats import thresholds
from toolkit.stats.intervals import TOO_FEW, Interval, patient_bootstrap, percentile
from toolkit.workspace import sql
from toolkit.workspace.class_arrays import ClassArrays

CHOSEN_ON = "validation"
SAME_SUPPORT = {"benign_per_found": "precision"}
OF_BOUNDS = "from both bounds of sensitivity and specificity"
FLAGGED = 0.5
"""The score from which a class is flagged where each has a score by itself, as the ISIC challenges do."""
FURTHER = ("f1", "accuracy")
"""Rates at FLAGGED besides those of every operating point: challenges state them."""
CURVE = np.round(np.arange(0.02, 1, 0.02), 2)
"""Thresholds of the decision curve."""


class Target(NamedTuple):
    """An operating point with its threshold."""

    point: OperatingPoint
    numbers: list[int]
    threshold: float
    fixed: bool = False
    """Whether the threshold is the same for every run, and no sensitivity is required."""

    def positive(self, data: ClassArrays) -> np.ndarray:
        """Return which cases should be flagged, (N,)."""
        return np.isin(data.truth, self.numbers)

    def score(self, data: ClassArrays) -> np.ndarray:
        """Return the probability of being one, (N,)."""
        return data.probabilities[:, self.numbers].sum(axis=1)


def targets(
    study: Study, parts: dict[str, ClassArrays], frozen: dict[str, Any], knows: str = "distribution"
) -> list[Target]:
    """Return the study's operating points with the thresholds chosen on validation; none where it has no positives.

    Those of an external run are the ones that were fixed where it was trained. Scores of each class by itself cannot be
    added, so that a point has one class; besides, each class is flagged from FLAGGED on, as challenges do.
    """
    if knows == "predicted":
        return []
    alone = [(number, name) for number, name in enumerate(study.class_names) if knows == "scores"]
    targets = [
        Target(OperatingPoint(name=f"{name} from {FLAGGED}", classes=[name]), [number], FLAGGED, fixed=True)
        for number, name in alone
    ]
    for fixed in frozen.get("operating_points", []):
        point = OperatingPoint(**{name: value for name, value in fixed.items() if name != "threshold"})
        if set(point.classes) <= set(study.class_names):
            numbers = [study.class_names.index(name) for name in point.classes]
            targets.append(Target(point, numbers, fixed["threshold"]))
    for point in study.operating_points if CHOSEN_ON in parts else []:
        if alone and len(point.classes) > 1:
            continue
        target = Target(point, [study.class_names.index(name) for name in point.classes], float("nan"))
        positive, score = target.positive(parts[CHOSEN_ON]), target.score(parts[CHOSEN_ON])
        chosen = (
            thresholds.youden(positive, score)
            if point.rule == "youden"
            else thresholds.for_sensitivity(positive, score, point.sensitivity)
        )
        if not np.isnan(chosen):
            targets.append(target._replace(threshold=chosen))
    return targets


def rows(study: Study, data: ClassArrays, key: EvaluationKey, target: Target) -> list[dict[str, Any]]:
    """Return the rates of a part at the threshold."""
    point, confidence = target.point, study.evaluate.confidence
    rates = thresholds.rates_at(
        target.positive(data),
        target.score(data),
        target.threshold,
        data.patient,
        confidence=confidence,
        further=FURTHER if target.fixed else (),
    )
    values = {name: (float(share.value), interval) for name, (share, interval) in rates.items()}
    values["benign_per_found"] = _per_found(*values["precision"])
    for prevalence in study.evaluate.prevalences:
        sensitivity, specificity = values["recall"], values["specificity"]
        for name, predictive in (("precision", thresholds.precision_at), ("npv", thresholds.npv_at)):
            values[f"{name}_at_{prevalence}"] = predictive(prevalence, sensitivity, specificity)
    shared = {
        **key._asdict(),
        "target": point.name,
        "classes": ",".join(point.classes),
        "rule": "fixed" if target.fixed else point.rule,
        "required": float("nan") if target.fixed else point.sensitivity,
        "threshold": target.threshold,
        "confidence": confidence,
    }
    literals = {"run_id": key.run_id, "part": key.part, "classes": shared["classes"]}
    literals["threshold"] = repr(target.threshold)
    table = []
    for metric, (value, interval) in values.items():
        at_prevalence = "_at_" in metric
        names = ["recall", "specificity"] if at_prevalence else [SAME_SUPPORT.get(metric, metric)]
        trials = [rates[name][0].trials for name in names]
        together = np.sum(trials, axis=0)
        support = {
            "cases": int(together.sum()),
            "patients": int(np.count_nonzero(together)),
            "too_few": min(np.count_nonzero(each) for each in trials) < TOO_FEW,
            "method": OF_BOUNDS if at_prevalence else WILSON,
        }
        query = sql.metric_query("operating_point", metric=metric, **literals)
        table.append({**shared, "metric": metric, "value": value, **interval._asdict(), **support, "query": query})
    return table


def _per_found(precision: float, interval: Interval) -> tuple[float, Interval]:
    """Return false positives for each true one: the odds against, from the precision."""
    value, high, low = (
        (1 - share) / share if share > 0 else float("inf" if share == 0 else "nan")
        for share in (precision, float(interval.low), float(interval.high))
    )
    return (float("nan") if np.isinf(value) else value), Interval(low, high)


def guarantee(study: Study, data: ClassArrays, key: EvaluationKey, target: Target) -> dict[str, Any]:
    """Return whether a part confirms the sensitivity, of patients in whom no positive is missed and of positives.

    Patients alone would confirm it where one of them has many positives that are missed, positives alone where many of
    a few patients' are found: both lower bounds must reach it.
    """
    confidence, required = study.evaluate.confidence, target.point.sensitivity
    positive, score = target.positive(data), target.score(data)
    missed = positive & (score < target.threshold)
    rates = thresholds.rates_at(positive, score, target.threshold, data.patient, confidence=confidence)
    patients = len(np.unique(data.patient[positive]))
    missed_patients = len(np.unique(data.patient[missed]))
    at_least = thresholds.confirmed_sensitivity(patients - missed_patients, patients, confidence=confidence)
    return {
        **key._asdict(),
        "target": target.point.name,
        "required": required,
        "confidence": confidence,
        "positives": int(positive.sum()),
        "found": int(positive.sum() - missed.sum()),
        "patients": patients,
        "patients_found": patients - missed_patients,
        "at_least": at_least,
        "vouched": bool(at_least >= required and rates["recall"][1].low >= required),
        "needed_without_a_miss": thresholds.needed(0, required, confidence=confidence),
        "needed": thresholds.needed(missed_patients, required, confidence=confidence),
    }


def decision_curve(study: Study, data: ClassArrays, key: EvaluationKey, target: Target) -> list[dict[str, Any]]:
    """Return the net benefit over a range of thresholds."""
    positive = target.positive(data)
    own = thresholds.net_benefits(positive, target.score(data), CURVE)
    everyone = thresholds.net_benefits(positive, np.ones(len(positive)), CURVE).mean(axis=0)
    replicates = patient_bootstrap(
        lambda weights: {"net": weights @ own / weights.sum(axis=1, keepdims=True)},
        data.patient,
        replicates=study.evaluate.replicates,
        seed=study.study.seed,
    )["net"]
    shared = {**key._asdict(), "target": target.point.name, "confidence": study.evaluate.confidence}
    shared |= {"method": BOOTSTRAP, "replicates": study.evaluate.replicates}
    shared |= {"cases": len(positive), "patients": int(data.patient.max()) + 1}
    return [
        {
            **shared,
            "threshold": float(threshold),
            "net_benefit": float(own[:, place].mean()),
            **percentile(replicates[:, place], confidence=study.evaluate.confidence)._asdict(),
            "everyone": float(everyone[place]),
        }
        for place, threshold in enumerate(CURVE)
    ]
