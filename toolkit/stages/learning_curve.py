"""The stage `learning-curve`: what more patients to train on would bring, from models of nested subsets of them.

The cheap models are those of plain colour, texture and shape and of metadata alone; the study's own is trained by
`train --patients`, and its predictions are read here. `plan-size` says what more patients to test on would bring.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from toolkit.errors import WorkspaceError
from toolkit.manifest import Study
from toolkit.models import metadata, plain
from toolkit.progress import Progress, silent
from toolkit.prompts.metadata_cases import MetadataCases, metadata_cases, metadata_fields
from toolkit.stats import intervals, learning_curve
from toolkit.stats.learning_curve import Extrapolated, MeasuredCurve
from toolkit.workspace import sql
from toolkit.workspace.class_arrays import class_arrays
from toolkit.workspace.measured_cases import measure
from toolkit.workspace.registry import Workspace
from toolkit.workspace.runs import PLAIN_CONTROL, find_split

CURVE_PART = "validation"
"""The test set is kept for the final evaluation: no scoring of it goes uncounted."""
METADATA = "metadata"
"""Name of the curve of a model that is given metadata and no photograph."""
ORDERS = 8
"""Random orders of the patients for the cheap model."""
FRACTIONS = (0.125, 0.25, 0.5, 0.75, 1.0)
"""Of the training patients."""
FEWEST = 24
"""Training patients; with fewer there is no curve to speak of."""


@dataclass(frozen=True)
class CurvePoint:
    """The macro recall of models trained on so many patients: mean over orders, and its interval."""

    patients: int
    cases: float
    """Training cases, mean over orders."""
    value: float
    low: float
    high: float
    lowest: float
    highest: float
    """Among the orders."""


@dataclass(frozen=True)
class LearningCurve:
    """A model's macro recall by the number of training patients, and what more of them are expected to give."""

    model: str
    run_id: str | None
    """Of the study's own model: the run that is trained on all patients."""
    split_id: str
    part: str
    cases: int
    patients: int
    """Evaluated."""
    orders: int
    confidence: float
    points: list[CurvePoint]
    expected: list[Extrapolated]
    gained: float
    """What the first of the expected numbers of patients adds by the curve."""
    floor: float
    scale: float
    power: float
    """Of the fitted error: floor + scale * patients ** -power."""


class _Evaluated(NamedTuple):
    truth: np.ndarray
    patient: np.ndarray
    predicted: np.ndarray
    """(R, S, N)."""


class _Cohort(NamedTuple):
    truth: np.ndarray
    names: list[tuple[str, str]]
    """Patient and case ID."""
    training: list[int]
    evaluated: list[int]


Predicted = Callable[[list[int]], np.ndarray]
"""Returns the classes (N,) that a model predicts for the evaluated cases, trained on some of the others."""


class PlainCohort(NamedTuple):
    """Measured cases: features (N, columns), class indices (N,), patient and case ID, and which are for what."""

    features: np.ndarray
    truth: np.ndarray
    names: list[tuple[str, str]]
    training: list[int]
    evaluated: list[int]


def plain_curve(
    workspace: Workspace,
    study: Study,
    *,
    split_id: str = "latest",
    more: Sequence[int] = (),
    orders: int = ORDERS,
    progress: Progress = silent,
) -> LearningCurve:
    """Return the learning curve of plain features: in a minute, without a neural network."""
    split_id, part = find_split(workspace, split_id), CURVE_PART
    rows = workspace.rows(sql.statement("predict/plain_cases"), {"split_id": split_id})
    rows = [row for row in rows if row["part"] in ("train", part) and row["class_name"]]
    training = [n for n, row in enumerate(rows) if row["part"] == "train"]
    evaluated = [n for n, row in enumerate(rows) if row["part"] == part]
    pairs = [(rows[n]["patient_id"], rows[n]["case_id"]) for n in training]
    sizes = subset_sizes(len({patient for patient, _ in pairs}), place=f"split {split_id}")
    if not evaluated:
        raise _nothing_to_evaluate(split_id)
    features = measure(workspace, rows, progress).features
    if np.isnan(features).any():
        raise WorkspaceError(
            "photographs cannot be opened", place=f"split {split_id}", remedy="toolkit audit, then the same again"
        )
    truth = np.array([study.class_names.index(row["class_name"]) for row in rows])
    cohort = PlainCohort(features, truth, [(row["patient_id"], row["case_id"]) for row in rows], training, evaluated)
    described: dict[str, Any] = {"model": PLAIN_CONTROL, "run_id": None, "split_id": split_id, "part": part}
    return curve_of_cohort(study, cohort, sizes, described, more=more, orders=orders, progress=progress)


def curve_of_cohort(  # noqa: PLR0913 - as above
    study: Study,
    cohort: PlainCohort,
    sizes: Sequence[int],
    described: dict[str, Any],
    *,
    more: Sequence[int] = (),
    orders: int = ORDERS,
    progress: Progress = silent,
) -> LearningCurve:
    """Return the learning curve of plain features, from cases that are measured."""

    def predicted(own: list[int]) -> np.ndarray:
        model = plain.fit(cohort.features[own], cohort.truth[own], seed=study.study.seed)
        shares = model.probabilities(cohort.features[cohort.evaluated], classes=len(study.class_names))
        return shares.argmax(axis=1)

    own = _Cohort(cohort.truth, cohort.names, cohort.training, cohort.evaluated)
    return _curve_by_orders(study, own, sizes, described, predicted, more=more, orders=orders, progress=progress)


def metadata_curve(
    workspace: Workspace,
    study: Study,
    *,
    split_id: str = "latest",
    more: Sequence[int] = (),
    orders: int = ORDERS,
    progress: Progress = silent,
) -> LearningCurve:
    """Return the learning curve of the metadata baseline: `baseline` trained on fewer patients, no photograph."""
    split_id, fields = find_split(workspace, split_id), metadata_fields(study)
    parts, _ = metadata_cases(workspace, study, split_id, fields)
    training, evaluated = (parts.get(part, MetadataCases.none()).known() for part in ("train", CURVE_PART))
    sizes = subset_sizes(len(set(training.patients)), place=f"split {split_id}")
    if not evaluated.ids:
        raise _nothing_to_evaluate(split_id)
    settings: dict[str, Any] = {"penalty": study.baseline.penalty, "balanced": study.train.balance != "none"}

    def predicted(own: list[int]) -> np.ndarray:
        truth = training.truth[own]
        if len(np.unique(truth)) < 2:
            return np.full(len(evaluated.ids), truth[0])
        model = metadata.fit(fields, [training.values[n] for n in own], truth, **settings)
        return model.probabilities(evaluated.values, classes=len(study.class_names)).argmax(axis=1)

    patients, ids = training.patients + evaluated.patients, training.ids + evaluated.ids
    places = list(range(len(ids)))
    cohort = _Cohort(
        np.concatenate([training.truth, evaluated.truth]),
        list(zip(patients, ids, strict=True)),
        places[: len(training.ids)],
        places[len(training.ids) :],
    )
    described: dict[str, Any] = {"model": METADATA, "run_id": None, "split_id": split_id, "part": CURVE_PART}
    return _curve_by_orders(study, cohort, sizes, described, predicted, more=more, orders=orders, progress=progress)


def _nothing_to_evaluate(split_id: str) -> WorkspaceError:
    return WorkspaceError(
        f"the {CURVE_PART} set has no case with a class", place=f"split {split_id}", remedy="toolkit split"
    )


def _curve_by_orders(  # noqa: PLR0913 - as above
    study: Study,
    cohort: _Cohort,
    sizes: Sequence[int],
    described: dict[str, Any],
    predictions: Predicted,
    *,
    more: Sequence[int],
    orders: int,
    progress: Progress,
) -> LearningCurve:
    """Train on nested subsets of the patients in several random orders."""
    seed, evaluated = study.study.seed, cohort.evaluated
    predicted, cases = np.empty((orders, len(sizes), len(evaluated)), int), np.zeros((orders, len(sizes)))
    for number in range(orders):
        order = learning_curve.patient_order((cohort.names[n] for n in cohort.training), seed=seed + number)
        for place, size in enumerate(sizes):
            progress("training on fewer patients", number * len(sizes) + place, orders * len(sizes))
            kept = set(order[:size])
            own = [n for n in cohort.training if cohort.names[n][0] in kept]
            predicted[number, place], cases[number, place] = predictions(own), len(own)
    patient = _numbered([cohort.names[n][0] for n in evaluated])
    of = _Evaluated(cohort.truth[evaluated], patient, predicted)
    return _curve(study, of, np.array(sizes), cases.mean(axis=0), described, more)


def own_curve(
    workspace: Workspace, study: Study, runs: dict[int, str], *, run_id: str, part: str, more: Sequence[int] = ()
) -> LearningCurve:
    """Return the learning curve of runs by the patients that they were trained on, from their predictions of a part."""
    sizes, predicted, cases = sorted(runs), [], []
    for size in sizes:
        key = {"run_id": runs[size], "part": part}
        data = class_arrays(workspace.read(sql.statement("evaluate/scored_part"), key), study.class_names)
        predicted.append(data.predicted)
        cases.append(workspace.rows("select train_cases from runs where run_id = $run_id", {"run_id": runs[size]})[0])
    of = _Evaluated(data.truth, data.patient, np.stack(predicted)[None])
    split_id = workspace.rows("select split_id from runs where run_id = $run_id", {"run_id": run_id})[0]["split_id"]
    described: dict[str, Any] = {"model": study.model.name, "run_id": run_id, "split_id": split_id, "part": part}
    trained = np.array([row["train_cases"] for row in cases], dtype=float)
    return _curve(study, of, np.array(sizes), trained, described, more)


def subset_sizes(patients: int, *, place: str) -> list[int]:
    """Return the numbers of patients of the nested subsets; refuse fewer than FEWEST."""
    if patients < FEWEST:
        raise WorkspaceError(
            f"{patients} patients in the training set give no learning curve",
            place=place,
            remedy=f"it takes {FEWEST}",
        )
    return [round(fraction * patients) for fraction in FRACTIONS]


def _curve(
    study: Study,
    of: _Evaluated,
    sizes: np.ndarray,
    cases: np.ndarray,
    described: dict[str, Any],
    more: Sequence[int],
) -> LearningCurve:
    confidence, classes, seed = study.evaluate.confidence, len(study.class_names), study.study.seed
    orders, steps = of.predicted.shape[:2]

    def statistics(weights: np.ndarray) -> dict[str, np.ndarray]:
        return {
            f"{r} {s}": learning_curve.macro_recall(of.truth, of.predicted[r, s], classes, weights)
            for r in range(orders)
            for s in range(steps)
        }

    def stacked(values: dict[str, np.ndarray]) -> np.ndarray:
        return np.stack([values[f"{r} {s}"] for r in range(orders) for s in range(steps)], axis=1).reshape(
            -1, orders, steps
        )

    replicates = intervals.patient_bootstrap(statistics, of.patient, replicates=study.evaluate.replicates, seed=seed)
    measured = MeasuredCurve(sizes, stacked(statistics(np.ones((1, len(of.truth)))))[0], stacked(replicates))
    present, rng = int(sizes[-1]), np.random.default_rng(seed)
    at = [present + number for number in (more or (present,))]
    expected = learning_curve.extrapolate(measured, at, confidence=confidence, rng=rng)
    fit = learning_curve.fit_curves(sizes, measured.scores.mean(axis=0)[None])
    return LearningCurve(
        **described,
        cases=len(of.truth),
        patients=len(np.unique(of.patient)),
        orders=orders,
        confidence=confidence,
        points=[_point(measured, cases, n, confidence) for n in range(steps)],
        expected=expected,
        gained=expected[0].value - float(fit.score(present)[0]),
        floor=float(fit.floor[0]),
        scale=float(fit.scale[0]),
        power=float(fit.power[0]),
    )


def _point(measured: MeasuredCurve, cases: np.ndarray, n: int, confidence: float) -> CurvePoint:
    bounds = intervals.percentile(measured.resampled[:, :, n].mean(axis=1), confidence=confidence)
    own = measured.scores[:, n]
    return CurvePoint(
        int(measured.sizes[n]), float(cases[n]), float(own.mean()), float(bounds.low), float(bounds.high),
        float(own.min()), float(own.max()),
    )  # fmt: skip


def _numbered(patients: Sequence[str]) -> np.ndarray:
    """Return patients as numbers in the order of their first case: nothing may depend on pseudonyms."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(patient, len(numbers)) for patient in patients])
