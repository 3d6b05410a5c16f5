"""Knows how a run's predictions become scores: every metric with its interval, its support and its query.

Refuses to forget: each scoring of a part is recorded, so that reports can say how often test was looked at.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from toolkit import metrics, sql
from toolkit.errors import WorkspaceError
from toolkit.files import write_atomically, written_atomically
from toolkit.intervals import UNDEFINED, Interval, clustered_wilson, patient_bootstrap, percentile
from toolkit.manifest import Study
from toolkit.progress import Progress, silent
from toolkit.registry import Workspace, insert
from toolkit.runs import find_run

PROPORTIONS = ("precision", "recall", "specificity", "npv")
WILSON = "Wilson, effective size by patient"
BOOTSTRAP = "patient bootstrap, percentile"
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("run_id", "part", "metric", "class_name")),
        *((name, pa.float64()) for name in ("value", "low", "high", "confidence")),
        ("method", pa.string()),
        *((name, pa.int64()) for name in ("replicates", "cases", "patients", "classes")),
        *((name, pa.string()) for name in ("truth_id", "query")),
    ]
)


class PartData(NamedTuple):
    """A part's scored cases as arrays: class indices, probabilities (N, C), patients numbered as first seen."""

    truth: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray
    patient: np.ndarray


@dataclass(frozen=True)
class Evaluated:
    """The headline of each part: metric → (value, low, high); and how often each part was scored so far."""

    run_id: str
    truth_id: str
    cases: dict[str, int]
    patients: dict[str, int]
    unresolved: dict[str, int]
    headline: dict[str, dict[str, tuple[float, float, float]]]
    times_scored: dict[str, int]


def evaluate(workspace: Workspace, study: Study, *, run: str = "latest", progress: Progress = silent) -> Evaluated:
    """Score every predicted part of a run against today's truth."""
    run_id = find_run(workspace, run)
    truth_id = workspace.rows("select truth_id from label_states")[0]["truth_id"]
    counted = workspace.rows(
        "select part, count(*) as cases from predictions where run_id = $run_id group by part order by part desc",
        {"run_id": run_id},
    )
    if not counted:
        raise WorkspaceError(
            f"run {run_id} has no predictions",
            place=str(workspace.run(run_id)),
            remedy=f"toolkit predict --run {run_id}",
        )
    scores: list[dict[str, Any]] = []
    looks = []
    for row in counted:
        progress(f"scoring {row['part']}", 0, None)
        data = _part_data(workspace, study, run_id, row["part"])
        key = {"run_id": run_id, "part": row["part"], "truth_id": truth_id}
        scored = score_part(study, data, run_id=run_id, part=row["part"])
        scores += [{**score, "truth_id": truth_id} for score in scored]
        unresolved = row["cases"] - len(data.truth)
        now = datetime.now(UTC).replace(tzinfo=None)
        looks.append({**key, "scored_at": now, "cases": len(data.truth), "unresolved": unresolved})
    _record(workspace, run_id, scores, looks)
    return _summary(workspace, run_id, truth_id, scores, looks)


def _part_data(workspace: Workspace, study: Study, run_id: str, part: str) -> PartData:
    rows = workspace.rows(sql.step("scored_part"), {"run_id": run_id, "part": part})
    if not rows:
        raise WorkspaceError(
            f"no predicted case of part {part} has a resolved class", place=f"run {run_id}", remedy="toolkit status"
        )
    number = {name: index for index, name in enumerate(study.class_names)}
    if unknown := {row["truth"] for row in rows} - set(number):
        raise WorkspaceError(
            f"truth holds a class the study does not name: {min(unknown)}",
            place=str(workspace.folder),
            remedy="parse again with this study",
        )
    patients: dict[str, int] = {}
    return PartData(
        truth=np.array([number[row["truth"]] for row in rows]),
        predicted=np.array([number[row["predicted"]] for row in rows]),
        probabilities=np.array([[dict(row["probabilities"])[name] for name in study.class_names] for row in rows]),
        patient=np.array([patients.setdefault(row["patient_id"], len(patients)) for row in rows]),
    )


def score_part(study: Study, data: PartData, *, run_id: str, part: str) -> list[dict[str, Any]]:
    """Return every score of a part: per class, accuracy, and macro averages."""
    return _Scorer(study, data, run_id, part).rows()


class Measured(NamedTuple):
    """A value with its interval, how that was made, and which cases (N,) it rests on."""

    value: float
    interval: Interval
    method: str
    rests_on: np.ndarray


class _Scorer:
    """Scores one part; holds the values and the bootstrap replicates that every row is made from."""

    def __init__(self, study: Study, data: PartData, run_id: str, part: str) -> None:
        self.study, self.data = study, data
        self.key = {"run_id": run_id, "part": part}
        self.confidence = study.evaluate.confidence
        self.points = self.statistics(None)
        self.drawn = patient_bootstrap(
            self.statistics, data.patient, replicates=study.evaluate.replicates, seed=study.study.seed
        )

    def statistics(self, weights: np.ndarray | None) -> dict[str, np.ndarray]:
        values = metrics.per_class(self.data.truth, self.data.probabilities, weights)
        return values | metrics.over_classes(values)

    def rows(self) -> list[dict[str, Any]]:
        rows = []
        for number, class_name in enumerate(self.study.class_names):
            for metric in metrics.PER_CLASS:
                measured = self.proportion(metric, number) if metric in PROPORTIONS else self.ranked(metric, number)
                rows.append(self.row(metric, class_name, measured, self.query(metric, class_name=class_name)))
        rows.append(self.row("accuracy", None, self.accuracy(), self.query("accuracy")))
        for metric in metrics.PER_CLASS:
            row = self.row(f"macro_{metric}", None, self.macro(metric), self.query("macro", metric=metric))
            rows.append({**row, "classes": int((~np.isnan(self.points[metric][0])).sum())})
        return rows

    def proportion(self, metric: str, number: int) -> Measured:
        """Measure a share of cases: precision, recall, specificity, npv."""
        truth, predicted = self.data.truth, self.data.predicted
        own, other = (predicted, truth) if metric in ("precision", "npv") else (truth, predicted)
        positive = metric in ("precision", "recall")
        rests_on = (own == number) == positive
        success = (other == number) == positive
        interval = clustered_wilson(success[rests_on], self.data.patient[rests_on], confidence=self.confidence)
        return Measured(float(self.points[metric][0, number]), interval, WILSON, rests_on)

    def ranked(self, metric: str, number: int) -> Measured:
        """Measure what is no share of cases: f1 and the areas; their support is the class's own cases."""
        interval = percentile(self.drawn[metric][:, number], confidence=self.confidence)
        return Measured(float(self.points[metric][0, number]), interval, BOOTSTRAP, self.data.truth == number)

    def accuracy(self) -> Measured:
        right = self.data.truth == self.data.predicted
        interval = clustered_wilson(right, self.data.patient, confidence=self.confidence)
        return Measured(float(right.mean()), interval, WILSON, np.ones(len(right), dtype=bool))

    def macro(self, metric: str) -> Measured:
        name = f"macro_{metric}"
        everyone = np.ones(len(self.data.truth), dtype=bool)
        interval = percentile(self.drawn[name], confidence=self.confidence)
        return Measured(float(self.points[name][0]), interval, BOOTSTRAP, everyone)

    def query(self, name: str, **literals: str) -> str:
        return sql.metric_query(name, **self.key, **literals)

    def row(self, metric: str, class_name: str | None, measured: Measured, query: str) -> dict[str, Any]:
        interval = UNDEFINED if np.isnan(measured.value) else measured.interval
        return {
            **self.key,
            "metric": metric,
            "class_name": class_name,
            "value": measured.value,
            "low": interval.low,
            "high": interval.high,
            "confidence": self.confidence,
            "method": measured.method,
            "replicates": self.study.evaluate.replicates if measured.method == BOOTSTRAP else 0,
            "cases": int(measured.rests_on.sum()),
            "patients": len(np.unique(self.data.patient[measured.rests_on])),
            "classes": None,
            "query": query,
        }


def _record(workspace: Workspace, run_id: str, scores: list[dict[str, Any]], looks: list[dict[str, Any]]) -> None:
    """Write scores as Parquet, append to the ledger of scorings, mirror both in the registry."""
    folder = workspace.run(run_id)
    table = pa.Table.from_pylist(scores, schema=SCHEMA)
    with written_atomically(folder / "scores.parquet") as temporary:
        pq.write_table(table, temporary)
    ledger = folder / "evaluations.jsonl"
    before = ledger.read_bytes() if ledger.exists() else b""
    lines = [json.dumps({**look, "scored_at": look["scored_at"].isoformat()}) for look in looks]
    write_atomically(ledger, before + "".join(f"{line}\n" for line in lines).encode())
    with workspace.writing() as connection:
        connection.execute("delete from scores where run_id = ?", [run_id])
        insert(connection, "scores", table)
        insert(connection, "evaluations", pa.Table.from_pylist(looks))


def _summary(
    workspace: Workspace, run_id: str, truth_id: str, scores: list[dict[str, Any]], looks: list[dict[str, Any]]
) -> Evaluated:
    headline: dict[str, dict[str, tuple[float, float, float]]] = {}
    patients = {}
    for score in scores:
        if score["class_name"] is None:
            part = headline.setdefault(score["part"], {})
            part[score["metric"]] = (score["value"], score["low"], score["high"])
            patients[score["part"]] = score["patients"]
    counted = workspace.rows(
        "select part, count(*) as times from evaluations where run_id = $run_id group by part", {"run_id": run_id}
    )
    return Evaluated(
        run_id=run_id,
        truth_id=truth_id,
        cases={look["part"]: look["cases"] for look in looks},
        patients=patients,
        unresolved={look["part"]: look["unresolved"] for look in looks},
        headline=headline,
        times_scored={row["part"]: row["times"] for row in counted},
    )
