"""How two runs differ on the same cases: paired differences with intervals and p-values, fixed and broken cases.

Refuses runs that were not scored: what looks at a part is counted by `evaluate`. Nothing is compared across different
cases.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from toolkit.errors import WorkspaceError
from toolkit.files import written_atomically
from toolkit.manifest import Study
from toolkit.progress import Progress, silent
from toolkit.stats import delong, metrics, significance
from toolkit.stats.intervals import Interval, patient_bootstrap, percentile
from toolkit.workspace import plan, sql
from toolkit.workspace.registry import Workspace, insert
from toolkit.workspace.runs import find_run

CLUSTERED = "paired patient bootstrap, percentile; p by permutation of runs within patients"
RELABELLED = "paired patient bootstrap, percentile; p from it"
DELONG = "paired DeLong"
MCNEMAR = "paired patient bootstrap, percentile; p by exact McNemar"
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("run_id", "other_run_id", "part", "cause", "metric", "class_name")),
        *((n, pa.float64()) for n in ("value", "other_value", "difference", "low", "high", "confidence")),
        ("method", pa.string()),
        ("replicates", pa.int64()),
        *((name, pa.float64()) for name in ("p", "p_corrected")),
        *((name, pa.int64()) for name in ("cases", "patients")),
        ("truth_id", pa.string()),
    ]
)


@dataclass(frozen=True)
class Compared:
    """What changed from one run to another, by part: metric → (difference, low, high, p), and counts of cases."""

    run_id: str
    other_run_id: str
    cases: dict[str, dict[str, int]]
    """By part: fixed, broken, both_right, both_wrong."""
    differences: dict[str, dict[str, tuple[float, float, float, float]]]
    relabelling: dict[str, dict[str, tuple[float, float, float, float]]]
    next: str


class RunSide(NamedTuple):
    """One side of a comparison: class indices (N,), probabilities (N, C)."""

    truth: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray

    @property
    def right(self) -> np.ndarray:
        """Which cases are right."""
        return self.truth == self.predicted


class RunPair(NamedTuple):
    """Two sides of the same cases, and their patients."""

    first: RunSide
    second: RunSide
    patient: np.ndarray


def compare(
    workspace: Workspace, study: Study, run: str, other: str, *, since: str = "", progress: Progress = silent
) -> Compared:
    """Compare a run with another on the cases that both predicted, and with its own result by the labels of an export.

    `since` is an export's ID, or "" for no look at relabelling.
    """
    run_id, other_id = find_run(workspace, run), find_run(workspace, other)
    parts = _parts(workspace, run_id, other_id)
    truth_id = workspace.rows("select truth_id from label_states")[0]["truth_id"]
    rows: list[dict[str, Any]] = []
    cases = {}
    for part in parts:
        progress(f"comparing on {part}", 0, None)
        key = {"run_id": run_id, "other_run_id": other_id, "part": part}
        pair = _read(study, workspace.rows(sql.statement("compare/compared_part"), key))
        if pair is None:
            raise WorkspaceError(
                f"runs {run_id} and {other_id} share no case of part {part}",
                place=str(workspace.folder / "runs"),
                remedy="compare runs on the same split",
            )
        cases[part] = _counted(pair)
        rows += [{**key, "truth_id": truth_id, **row} for row in differences(study, pair, cause="model")]
        if since:
            older = _relabelled(workspace, study, run_id, part, since)
            told = {**key, "other_run_id": run_id, "truth_id": truth_id}
            rows += [{**told, **row} for row in differences(study, older, cause="relabelling")]
    _record(workspace, run_id, other_id, rows)
    for name in (run_id, other_id):
        plan.record(workspace, study, name)
    return Compared(
        run_id,
        other_id,
        cases,
        _headline(rows, "model"),
        _headline(rows, "relabelling"),
        f"toolkit query fixed_and_broken --set run={run_id} --set other={other_id}",
    )


def _parts(workspace: Workspace, run_id: str, other_id: str) -> list[str]:
    if run_id == other_id:
        raise WorkspaceError("a run is not compared with itself", place=f"run {run_id}", remedy="give two runs")
    scored = {
        name: {
            row["part"]
            for row in workspace.rows("select distinct part from scores where run_id = $run_id", {"run_id": name})
        }
        for name in (run_id, other_id)
    }
    for name, parts in scored.items():
        if not parts:
            raise WorkspaceError(
                f"run {name} has no scores yet",
                place=str(workspace.run(name)),
                remedy=f"toolkit evaluate --run {name}",
            )
    return sorted(scored[run_id] & scored[other_id])


def _relabelled(workspace: Workspace, study: Study, run_id: str, part: str, since: str) -> RunPair:
    known = [row["export_id"] for row in workspace.rows("select export_id from exports order by moment, export_id")]
    if since not in known:
        raise WorkspaceError(
            f"no such export: {since}", place=str(workspace.exports), remedy=f"the exports are: {', '.join(known)}"
        )
    key = {"run_id": run_id, "part": part, "export": since}
    pair = _read(study, workspace.rows(sql.statement("compare/relabelled_part"), key))
    if pair is None:
        raise WorkspaceError(
            f"no case of part {part} had a class as of export {since}",
            place=str(workspace.folder),
            remedy="name a later export",
        )
    return pair


def _read(study: Study, rows: list[dict[str, Any]]) -> RunPair | None:
    if not rows:
        return None
    number = {name: index for index, name in enumerate(study.class_names)}
    named = {row[side] for row in rows for side in ("truth", "other_truth", "predicted", "other_predicted")}
    if unknown := named - set(number):
        raise WorkspaceError(
            f"a class the study does not name: {min(unknown)}", place="truth or predictions", remedy="use its own study"
        )
    patients: dict[str, int] = {}
    sides = [
        RunSide(
            np.array([number[row[f"{prefix}truth"]] for row in rows]),
            np.array([number[row[f"{prefix}predicted"]] for row in rows]),
            np.array([[dict(row[f"{prefix}probabilities"])[name] for name in number] for row in rows]),
        )
        for prefix in ("", "other_")
    ]
    return RunPair(*sides, np.array([patients.setdefault(row["patient_id"], len(patients)) for row in rows]))


def _counted(pair: RunPair) -> dict[str, int]:
    before, after = pair.first.right, pair.second.right
    return {
        "fixed": int((~before & after).sum()),
        "broken": int((before & ~after).sum()),
        "both_right": int((before & after).sum()),
        "both_wrong": int((~before & ~after).sum()),
    }


def differences(study: Study, pair: RunPair, *, cause: str) -> list[dict[str, Any]]:
    """Return a row per metric and class: both values, the paired difference, its interval, its p-value."""
    confidence, replicates, seed = study.evaluate.confidence, study.evaluate.replicates, study.study.seed
    first, second = _measure(pair.first), _measure(pair.second)
    everyone = np.ones((1, len(pair.patient)))
    values, others = first(everyone), second(everyone)
    drawn = patient_bootstrap(lambda w: _less(second(w), first(w)), pair.patient, replicates=replicates, seed=seed)
    permuted = _permuted(pair, replicates=replicates, seed=seed) if cause == "model" else None
    alone = cause == "model" and len(np.unique(pair.patient)) == len(pair.patient)
    rows = []
    for metric, value in values.items():
        for place, name in enumerate([None] if value.ndim == 1 else study.class_names):
            at = (0,) if name is None else (0, place)
            column = ... if name is None else (..., place)
            point = float(others[metric][at] - value[at])
            found = percentile(drawn[metric][column], confidence=confidence)
            made = (
                _TestResult(found, RELABELLED, significance.bootstrap_p(drawn[metric][column]), replicates)
                if permuted is None
                else _TestResult(
                    found, CLUSTERED, significance.permutation_p(point, permuted[metric][column]), replicates
                )
            )
            if alone:
                made = _unclustered(pair, metric, None if name is None else place, made, confidence=confidence)
            told = {"cause": cause, "metric": metric, "class_name": name, "value": float(value[at])}
            told |= {"other_value": float(others[metric][at]), "difference": point, "confidence": confidence}
            support = {"cases": len(pair.patient), "patients": int(pair.patient.max()) + 1}
            rows.append({**told, **made.interval._asdict(), **made.told(), **support})
    return _corrected(rows)


class _TestResult(NamedTuple):
    interval: Interval
    method: str
    p: float
    replicates: int

    def told(self) -> dict[str, Any]:
        return {"method": self.method, "p": self.p, "replicates": self.replicates}


def _unclustered(
    pair: RunPair, metric: str, number: int | None, made: _TestResult, *, confidence: float
) -> _TestResult:
    """Return DeLong's test of an area and McNemar's of accuracy and recall; any other metric's as it was made."""
    if metric == "roc_auc" and number is not None:
        positive = pair.first.truth == number
        scores = np.stack([side.probabilities[:, number] for side in (pair.second, pair.first)])
        found = delong.difference(positive, scores, confidence=confidence)
        return _TestResult(found.interval, DELONG, found.p, 0)
    if metric in ("accuracy", "recall"):
        own = np.ones(len(pair.patient), dtype=bool) if number is None else pair.first.truth == number
        before, after = pair.first.right[own], pair.second.right[own]
        p = significance.mcnemar(int((before & ~after).sum()), int((~before & after).sum())).exact
        return made._replace(method=MCNEMAR, p=p)
    return made


def _measure(side: RunSide) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Return the metrics of one side as a function of weights."""
    decided = metrics.WeightedMetrics(side.truth, side.probabilities, side.predicted)
    losses = metrics.losses(side.truth, side.probabilities)

    def measured(weights: np.ndarray) -> dict[str, np.ndarray]:
        values = decided.per_class(weights)
        columns = np.column_stack([side.right, losses["brier"], losses["log_loss"]])
        means = metrics.mean(columns, weights).T
        over_all = dict(zip(("accuracy", "brier", "log_loss"), means, strict=True))
        return over_all | {f"macro_{name}": value for name, value in metrics.macro(values).items()} | values

    return measured


def _less(after: dict[str, np.ndarray], before: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: after[name] - before[name] for name in after}


def _permuted(pair: RunPair, *, replicates: int, seed: int) -> dict[str, np.ndarray]:
    """Return the differences when in each patient, with even chance, the two runs change places."""
    both = RunSide(*(np.concatenate(sides) for sides in zip(pair.first, pair.second, strict=True)))
    measured = _measure(both)
    generator = np.random.default_rng(seed)

    def swapped(weights: np.ndarray) -> dict[str, np.ndarray]:
        swap = generator.integers(0, 2, (len(weights), int(pair.patient.max()) + 1))[:, pair.patient].astype(float)
        return _less(measured(np.hstack([1 - swap, swap])), measured(np.hstack([swap, 1 - swap])))

    return patient_bootstrap(swapped, pair.patient, replicates=replicates, seed=seed)


def _corrected(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for metric in {row["metric"] for row in rows}:
        own = [row for row in rows if row["metric"] == metric]
        for row, p in zip(own, significance.holm(np.array([row["p"] for row in own])), strict=True):
            row["p_corrected"] = float(p)
    return rows


def _record(workspace: Workspace, run_id: str, other_id: str, rows: list[dict[str, Any]]) -> None:
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    with written_atomically(workspace.run(run_id) / f"compared-with-{other_id}.parquet") as temporary:
        pq.write_table(table, temporary)
    with workspace.writing() as connection:
        connection.execute(
            "delete from comparisons where run_id = ? and (other_run_id = ? or cause = 'relabelling')",
            [run_id, other_id],
        )
        insert(connection, "comparisons", table)


def _headline(rows: list[dict[str, Any]], cause: str) -> dict[str, dict[str, tuple[float, float, float, float]]]:
    found: dict[str, dict[str, tuple[float, float, float, float]]] = {}
    for row in rows:
        if row["class_name"] is None and row["cause"] == cause:
            told = (row["difference"], row["low"], row["high"], row["p"])
            found.setdefault(row["part"], {})[row["metric"]] = told
    return found
