"""The stage `plan-size`: which precision the present number of patients can give, and how many another would take.

Studies of patients like the present ones are simulated with the recall and the intraclass correlation that a run's
scored predictions have, or the annotators' readings, or that are stated.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from toolkit.errors import WorkspaceError
from toolkit.manifest import Study
from toolkit.progress import Progress, silent
from toolkit.stats import delong, sample_size
from toolkit.stats.sample_size import Assumed, Powers, RunPair, Widths
from toolkit.workspace import sql
from toolkit.workspace.class_arrays import class_arrays
from toolkit.workspace.registry import Workspace
from toolkit.workspace.runs import find_run, find_split


@dataclass(frozen=True)
class Wanted:
    """A width of intervals, a difference and the power to find it; and what is stated instead of estimated."""

    width: float = 0.1
    difference: float = 0.05
    power: float = 0.8
    patients: int | None = None
    """Instead of the number there is."""
    recall: float | None = None
    icc: float | None = None
    disagreement: float | None = None
    """Share of cases that exactly one of two runs has right; else as if their errors were independent."""


@dataclass(frozen=True)
class SizeRow:
    """One metric: what is expected of the present patients, and the patients that more would take.

    Patients are those of the whole subset, not of the class alone. Infinite: more than were simulated; NaN: impossible,
    or not simulated.
    """

    metric: str
    class_name: str | None
    primary: bool
    """Whether it is the primary metric of the analysis plan."""
    cases: float
    """Cases the metric would rest on, on average."""
    value: float
    width: float
    needed_for_width: float
    detectable: float
    needed_for_difference: float


@dataclass(frozen=True)
class PlannedSize:
    """Expected widths and differences for patients like those of a subset."""

    basis: str
    part: str
    patients: int
    cases: int
    """Of the subset as it is."""
    planned_for: int
    """Patients that `width` and `detectable` are about."""
    icc: float
    confidence: float
    wanted: Wanted
    most: int
    """Patients of the largest simulated study."""
    rows: list[SizeRow]


class _Basis(NamedTuple):
    words: str
    assumed: Assumed


def plan_size(
    workspace: Workspace,
    study: Study,
    wanted: Wanted,
    *,
    run: str = "latest",
    part: str = "test",
    progress: Progress = silent,
) -> PlannedSize:
    """Return which intervals and differences the patients of a part can give, by simulation seeded from the study.

    Raises WorkspaceError where nothing is known of how often cases are right: then recall and ICC have to be stated.
    """
    split_id = _latest_split(workspace)
    cases = workspace.read(sql.statement("plan_size/cases"), {"split_id": split_id or "", "part": part})
    if not cases.num_rows:
        raise WorkspaceError(
            f"the {part} set has no case with a class", place=f"split {split_id}", remedy="give another --part"
        )
    counts = _counts(cases, study.class_names)
    basis = _stated(study, wanted) or _of_run(workspace, study, run) or _of_readings(workspace, study)
    if basis is None:
        raise WorkspaceError(
            "nothing here says how often cases are right",
            place=str(workspace.folder),
            remedy="state it: toolkit plan-size --recall 0.8 --icc 0.3, or evaluate a run first",
        )
    assumed = basis.assumed if wanted.icc is None else basis.assumed._replace(icc=wanted.icc, auc_icc=wanted.icc)
    present = wanted.patients or len(counts)
    simulation = _simulation(study, wanted, counts, assumed, present, progress)
    return PlannedSize(
        basis=basis.words,
        part=part if split_id else "all",
        patients=len(counts),
        cases=int(counts.sum()),
        planned_for=present,
        icc=assumed.icc,
        confidence=study.evaluate.confidence,
        wanted=wanted,
        most=simulation.sizes[-1],
        rows=_rows(study, wanted, simulation),
    )


def _latest_split(workspace: Workspace) -> str | None:
    has_split = workspace.rows("select count(*) as n from splits")[0]["n"]
    return find_split(workspace) if has_split else None


def _counts(cases: pa.Table, classes: list[str]) -> np.ndarray:
    """Return each patient's numbers of cases by class (P, C), patients in the order of their first case."""
    patient = cases["patient_id"].combine_chunks().dictionary_encode().indices.to_numpy().astype(int)
    counts = np.zeros((int(patient.max()) + 1, len(classes)), dtype=int)
    np.add.at(counts, (patient, [classes.index(name) for name in cases["class_name"].to_pylist()]), 1)
    return counts


def _stated(study: Study, wanted: Wanted) -> _Basis | None:
    """Return the assumptions that were stated, where they are all of them."""
    if wanted.recall is None:
        return None
    if wanted.icc is None:
        raise WorkspaceError(
            "--recall was stated and --icc was not",
            place="toolkit plan-size",
            remedy="--icc 0 where every patient has one case; 0.2 to 0.5 is usual for lesions of one patient",
        )
    recall = np.full(len(study.class_names), wanted.recall)
    return _Basis(f"recall {wanted.recall:g} of every class, as stated", Assumed(recall, wanted.icc))


def _of_run(workspace: Workspace, study: Study, run: str) -> _Basis | None:
    """Return what a run's scored predictions say; None where there is no run, or none that was scored."""
    if run == "latest" and not workspace.rows("select 1 from runs where control is null limit 1"):
        return None
    run_id = find_run(workspace, run)
    rows = workspace.read(sql.statement("plan_size/scored"), {"run_id": run_id})
    if not rows.num_rows:
        return None
    data = class_arrays(rows, study.class_names)
    recall, icc = _correct(data.truth, data.right, data.patient, len(study.class_names))
    words = f"run {run_id} on {' and '.join(rows['part'].unique().to_pylist())}: {rows.num_rows} scored cases"
    positive = tuple(number for number, c in enumerate(study.classes) if c.malignant)
    malignant = np.isin(data.truth, positive)
    if not 0 < malignant.sum() < len(malignant):
        return _Basis(words, Assumed(recall, icc))
    score = data.probabilities[:, list(positive)].sum(axis=1)
    auc = float(delong.placements(malignant, score[None]).auc[0])
    normal = np.empty(len(score))
    for kind in (malignant, ~malignant):
        normal[kind] = sample_size.normal_scores(score[kind])
    auc_icc = sample_size.intraclass_correlation(normal, data.patient)
    return _Basis(words, Assumed(recall, icc, auc, 0.0 if isnan(auc_icc) else auc_icc, positive))


def _of_readings(workspace: Workspace, study: Study) -> _Basis | None:
    """Return how often annotators say what the others say, each against a reference without their own readings."""
    readers = [row["annotator"] for row in workspace.rows(sql.statement("plan_size/readers"))]
    if len(readers) < 2:
        return None
    given = {"readers": readers, "aided": [], "unaided": [], "export": ""}
    references = workspace.read(sql.statement("readers/reference"), given).to_pylist()
    truth = {(row["reader"], row["case_id"]): row["class_name"] for row in references}
    readings = workspace.rows(
        "select readings.*, cases.patient_id from readings inner join cases using (case_id) order by case_id, label_id"
    )
    known = [row for row in readings if (row["annotator"], row["case_id"]) in truth]
    if not known:
        return None
    names = [truth[row["annotator"], row["case_id"]] for row in known]
    right = np.array([row["class_name"] == name for row, name in zip(known, names, strict=True)])
    _, patient = np.unique([row["patient_id"] for row in known], return_inverse=True)
    numbers = np.array([study.class_names.index(name) for name in names])
    recall, icc = _correct(numbers, right, patient, len(study.class_names))
    words = f"{len(known)} readings of {len({row['annotator'] for row in known})} annotators, each against the others'"
    return _Basis(words, Assumed(recall, icc))


def _correct(truth: np.ndarray, right: np.ndarray, patient: np.ndarray, classes: int) -> tuple[np.ndarray, float]:
    """Return each class's recall, with a case added that is right and one that is wrong, and the ICC of being right."""
    cases = np.bincount(truth, minlength=classes)
    hits = np.bincount(truth, weights=right, minlength=classes)
    raw = np.divide(hits, cases, out=np.zeros(classes), where=cases > 0)
    icc = sample_size.intraclass_correlation(right - raw[truth], patient)
    return (hits + 1) / (cases + 2), 0.0 if isnan(icc) else icc


class _Simulation(NamedTuple):
    """What was simulated for each number of patients, and for the present number by difference."""

    counts: np.ndarray
    assumed: Assumed
    present: int
    sizes: list[int]
    widths: list[Widths]
    powers: list[Powers]
    by_difference: list[Powers]


def _simulation(
    study: Study, wanted: Wanted, counts: np.ndarray, assumed: Assumed, present: int, progress: Progress
) -> _Simulation:
    rng, confidence = np.random.default_rng(study.study.seed), study.evaluate.confidence

    def power(difference: float, patients: int) -> Powers:
        if wanted.disagreement is None:
            disagreement = sample_size.independent_disagreement(assumed.recall, difference)
        else:
            disagreement = np.full(len(assumed.recall), wanted.disagreement)
        runs = RunPair(assumed.recall, disagreement, assumed.icc, difference)
        return sample_size.powers(counts, runs, patients=patients, confidence=confidence, rng=rng)

    sizes = [max(2, round(factor * present)) for factor in sample_size.FACTORS]
    widths, powers = [], []
    for done, size in enumerate(sizes, start=1):
        progress("simulating studies", done, len(sizes) + 1)
        widths.append(sample_size.widths(counts, assumed, patients=size, confidence=confidence, rng=rng))
        powers.append(power(wanted.difference, size))
    by_difference = [power(difference, present) for difference in sample_size.DIFFERENCES]
    return _Simulation(counts, assumed, present, sizes, widths, powers, by_difference)


def _rows(study: Study, wanted: Wanted, simulation: _Simulation) -> list[SizeRow]:
    """Return a row per metric that has a value."""
    metrics: list[tuple[str, int | None]] = [("accuracy", None), ("macro_recall", None), ("roc_auc", None)]
    metrics += [("recall", number) for number in np.nonzero(simulation.counts.sum(axis=0))[0].tolist()]
    rows = [_row(study, wanted, simulation, metric, number) for metric, number in metrics]
    return [row for row in rows if not isnan(row.value)]


def _row(study: Study, wanted: Wanted, simulation: _Simulation, metric: str, number: int | None) -> SizeRow:
    """Return the row of one metric, or of one class's recall."""

    def of(simulated: Sequence[Widths] | Sequence[Powers]) -> list[float]:
        values = [np.asarray(getattr(each, metric, float("nan"))) for each in simulated]
        return [float(value if number is None else value[number]) for value in values]

    name = None if number is None else study.class_names[number]
    plan, counts, sizes = study.plan, simulation.counts, simulation.sizes
    value, cases = _expected(simulation.assumed, counts.sum(axis=0), metric, number)
    differences = list(sample_size.DIFFERENCES)
    return SizeRow(
        metric="roc_auc_malignant" if metric == "roc_auc" else metric,
        class_name=name,
        primary=plan is not None and (plan.metric, plan.class_name) == (metric, name),
        cases=cases * simulation.present / len(counts),
        value=value,
        width=of(simulation.widths)[sample_size.FACTORS.index(1)],
        needed_for_width=sample_size.size_for_width(sizes, of(simulation.widths), wanted.width),
        detectable=sample_size.detectable(differences, of(simulation.by_difference), wanted.power),
        needed_for_difference=sample_size.size_for_power(sizes, of(simulation.powers), wanted.power),
    )


def _expected(assumed: Assumed, total: np.ndarray, metric: str, number: int | None) -> tuple[float, float]:
    """Return the value that is assumed of a metric, and the cases that it rests on in the subset as it is."""
    if number is not None:
        return float(assumed.recall[number]), float(total[number])
    if metric == "roc_auc":
        return assumed.auc, float(total.sum())
    there = total > 0
    mean = assumed.recall[there].mean() if metric == "macro_recall" else assumed.recall @ total / total.sum()
    return float(mean), float(total.sum())
