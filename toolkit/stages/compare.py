"""The stage `compare`: paired differences of two runs on the same cases, with intervals and p-values.

Only scored runs are compared: `evaluate` counts how often a part was scored.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from toolkit.errors import WorkspaceError
from toolkit.files import write_parquet
from toolkit.manifest import Study
from toolkit.progress import Progress, silent
from toolkit.stats import intervals, metrics, paired, significance
from toolkit.workspace import plan, sql
from toolkit.workspace.class_arrays import ClassArrays, class_arrays
from toolkit.workspace.locks import one_at_a_time
from toolkit.workspace.moments import find_moment
from toolkit.workspace.registry import Workspace, insert, table_schema
from toolkit.workspace.runs import comparison_file, find_run, source_of
from toolkit.workspace.scores import read_scores, scored_parts, seed_differences
from toolkit.workspace.sources import PredictionSource, is_undefined

LOSSES = ("brier", "log_loss")
MEANS = "paired t by patient, variance from leaving patients out, four half patients added"
AREAS = "recovered from both intervals on the logit scale, from leaving patients out, the most influential twice"


@dataclass(frozen=True)
class Compared:
    """What changed from one run to another, by part: metric → (difference, low, high, p), and counts of cases."""

    run_id: str
    other_run_id: str
    cases: dict[str, dict[str, int]]
    """By part: fixed, broken, both_right, both_wrong; of one run, by the labels before and today."""
    differences: dict[str, dict[str, tuple[float, float, float, float]]]
    relabelling: dict[str, dict[str, tuple[float, float, float, float]]]
    next: str
    seeds: dict[str, dict[str, tuple[int, float, float, float, float]]] = field(default_factory=dict)
    """By part and metric, where both runs were trained with several seeds: how many, and the mean, standard deviation,
    lowest and highest of the differences between the k-th training of one and of the other."""
    too_few: list[tuple[str, str]] = field(default_factory=list)
    """Part and metric of the differences whose intervals are only approximate, since patients are few."""


class RunPair(NamedTuple):
    """Two runs' predictions of the same cases, or a run's beside earlier and today's reference diagnoses."""

    first: ClassArrays
    second: ClassArrays


@one_at_a_time("compare")
def compare(
    workspace: Workspace, study: Study, run: str, other: str, *, since: str = "", progress: Progress = silent
) -> Compared:
    """Compare a run with another on the cases that both predicted, and with its own result by earlier labels.

    `since` is an export's ID or a time (UTC), "" for neither. With it a run may be compared with itself: what changed
    is labels alone.
    """
    run_id, other_id = find_run(workspace, run), find_run(workspace, other)
    parts = _parts(workspace, run_id, other_id, since)
    moment = find_moment(workspace, since).moment if since else 0
    sources = [source_of(workspace, name) for name in (run_id, other_id)]
    truth_id = workspace.rows("select truth_id from label_states")[0]["truth_id"]
    rows: list[dict[str, Any]] = []
    cases = {}
    for part in parts:
        progress(f"comparing on {part}", 0, None)
        key = {"run_id": run_id, "other_run_id": other_id, "part": part}
        if since:
            older = _relabelled(workspace, study, run_id, part, moment)
            rows += [
                {**key, "other_run_id": run_id, "truth_id": truth_id, **row}
                for row in _defined(differences(study, older, cause="relabelling"), sources[:1])
            ]
            cases[part] = _counted(older)
        if run_id == other_id:
            continue
        pair = _pair(study, workspace.read(sql.statement("compare/compared_part"), key))
        if pair is None:
            raise WorkspaceError(
                f"runs {run_id} and {other_id} share no case of the {part} set",
                place=str(workspace.folder / "runs"),
                remedy="compare runs on the same split",
            )
        cases[part] = _counted(pair)
        found = _defined(differences(study, pair, cause="model"), sources)
        rows += [{**key, "truth_id": truth_id, **row} for row in found]
    _record(workspace, run_id, other_id, rows)
    for name in (run_id, other_id):
        plan.record(workspace, study, name)
    return Compared(
        run_id,
        other_id,
        cases,
        _headline(rows, "model"),
        _headline(rows, "relabelling"),
        _next(run_id, other_id),
        _by_part(seed_differences(workspace, run_id, other_id, parts)),
        sorted({(row["part"], row["metric"]) for row in rows if row["too_few"] and row["class_name"] is None}),
    )


def _next(run_id: str, other_id: str) -> str:
    question = "comparison" if run_id == other_id else "fixed_and_broken"
    return f"toolkit query {question} --set run={run_id} --set other={other_id}"


def _by_part(rows: list[dict[str, Any]]) -> dict[str, dict[str, tuple[int, float, float, float, float]]]:
    found: dict[str, dict[str, tuple[int, float, float, float, float]]] = {}
    for row in rows:
        numbers = (row["seeds"], row["mean"], row["sd"], row["lowest"], row["highest"])
        found.setdefault(row["part"], {})[row["metric"]] = numbers
    return found


def _parts(workspace: Workspace, run_id: str, other_id: str, since: str) -> list[str]:
    """Return the parts in which both runs are scored."""
    if run_id == other_id and not since:
        raise WorkspaceError(
            "a run is not compared with itself",
            place=f"run {run_id}",
            remedy="give two runs, or --since EXPORT to see what new labels alone change",
        )
    first, second = (scored_parts(read_scores(workspace, name)) for name in (run_id, other_id))
    return sorted(set(first) & set(second))


def _relabelled(workspace: Workspace, study: Study, run_id: str, part: str, moment: int) -> RunPair:
    key = {"run_id": run_id, "part": part, "moment": moment}
    pair = _pair(study, workspace.read(sql.statement("compare/relabelled_part"), key))
    if pair is None:
        raise WorkspaceError(
            f"no case of the {part} set had a resolved class then",
            place=str(workspace.folder),
            remedy="name a later export",
        )
    return pair


def _pair(study: Study, rows: pa.Table) -> RunPair | None:
    if not len(rows):
        return None
    return RunPair(*(class_arrays(rows, study.class_names, prefix=prefix) for prefix in ("", "other_")))


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
    patient, confidence = pair.first.patient, study.evaluate.confidence
    measures = [_PairedMetrics(side) for side in pair]
    values = [measure(np.ones((1, len(patient)))) for measure in measures]
    left_out = [intervals.patient_jackknife(measure, patient) for measure in measures]
    shared = {"cause": cause, "confidence": confidence, "replicates": 0}
    shared |= {"cases": len(patient), "patients": int(patient.max()) + 1}
    rows = []
    for metric, value in values[0].items():
        for number, name in [(None, None)] if value.ndim == 1 else enumerate(study.class_names):
            column = ... if number is None else (..., number)
            numbers = [
                paired.Number(float(each[metric][0][column]), without[metric][column])
                for each, without in zip(values, left_out, strict=True)
            ]
            support = _support(pair, metric, number)
            is_area = metric.endswith(metrics.AREAS)
            of = paired.of_areas if is_area else paired.of_means
            found = of(*numbers, len(np.unique(patient[support[0]])), confidence=confidence)
            most = np.inf if metric in LOSSES else 1.0  # two numbers between 0 and 1 differ by no more
            bounds = dict(zip(("low", "high"), np.clip(np.array(found.interval), -most, most).tolist(), strict=True))
            row = {**shared, "metric": metric, "class_name": name, "value": numbers[0].value}
            row |= {"other_value": numbers[1].value, "difference": found.value, **bounds}
            row |= {"method": AREAS if is_area else MEANS, "p": found.p}
            rows.append({**row, "too_few": intervals.too_few(patient, *support)})
    return _corrected(rows)


def _defined(rows: list[dict[str, Any]], sources: list[PredictionSource | None]) -> list[dict[str, Any]]:
    """Return the rows, without numbers where the file that a run's predictions came from does not give them."""
    nothing = dict.fromkeys(("value", "other_value", "difference", "low", "high", "p", "p_corrected"), np.nan)
    return [
        {**row, **nothing, "method": "none"}
        if any(is_undefined(source, row["metric"], row["class_name"]) for source in sources)
        else row
        for row in rows
    ]


def _support(pair: RunPair, metric: str, number: int | None) -> list[np.ndarray]:
    """Return the cases that a difference rests on, and of an area or average every group that needs patients."""
    everyone = np.ones(len(pair.first.patient), dtype=bool)
    if number is None:
        is_mean = metric.startswith("macro_")
        return [everyone, *(group for side in pair if is_mean for group in intervals.classes_in(side.truth))]
    truth, predicted = (
        np.any([getattr(side, field) == number for side in pair], axis=0) for field in ("truth", "predicted")
    )
    others, unpredicted = (
        np.any([getattr(side, field) != number for side in pair], axis=0) for field in ("truth", "predicted")
    )
    if metric in metrics.AREAS:
        return [truth, others]
    return {"precision": [predicted], "npv": [unpredicted, truth], "specificity": [others]}.get(metric, [truth])


class _PairedMetrics:
    """The compared metrics of one side as a function of weights."""

    def __init__(self, side: ClassArrays) -> None:
        self.of_decisions = metrics.WeightedMetrics(side.truth, side.probabilities, side.predicted)
        losses = metrics.losses(side.truth, side.probabilities)
        self.columns = np.column_stack([side.right, *(losses[name] for name in LOSSES)])

    def __call__(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        values = self.of_decisions.per_class(weights)
        means = metrics.mean(self.columns, weights).T
        over_all = dict(zip(("accuracy", *LOSSES), means, strict=True))
        return over_all | {f"macro_{name}": value for name, value in metrics.macro(values).items()} | values


def _corrected(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for metric in {row["metric"] for row in rows}:
        own = [row for row in rows if row["metric"] == metric]
        for row, p in zip(own, significance.holm(np.array([row["p"] for row in own])), strict=True):
            row["p_corrected"] = float(p)
    return rows


def _record(workspace: Workspace, run_id: str, other_id: str, rows: list[dict[str, Any]]) -> None:
    table = pa.Table.from_pylist(rows, schema=table_schema("comparisons"))
    for name in (other_id, run_id):
        path, own = comparison_file(workspace, run_id, name), [row for row in rows if row["other_run_id"] == name]
        if own:
            write_parquet(path, pa.Table.from_pylist(own, schema=table.schema))
        else:
            path.unlink(missing_ok=True)
    with workspace.writing() as connection:
        connection.execute(
            "delete from comparisons where run_id = ? and (other_run_id = ? or cause = 'relabelling')",
            [run_id, other_id],
        )
        insert(connection, "comparisons", table)


def _headline(rows: list[dict[str, Any]], cause: str) -> dict[str, dict[str, tuple[float, float, float, float]]]:
    headline: dict[str, dict[str, tuple[float, float, float, float]]] = {}
    for row in rows:
        if row["class_name"] is None and row["cause"] == cause:
            figures = (row["difference"], row["low"], row["high"], row["p"])
            headline.setdefault(row["part"], {})[row["metric"]] = figures
    return headline
