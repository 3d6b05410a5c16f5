"""A run's scores by a label revision: against the reference diagnoses as they stood at a moment of the exports.

Only what needs nothing chosen or fitted on the labels of the day is scored so: the metrics over all classes and of each
class. Temperature, thresholds, groups and agreement belong to the evaluation by today's labels.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from toolkit.manifest import Study
from toolkit.progress import Progress, silent
from toolkit.stages.evaluate.calibrated import AT_PRIOR
from toolkit.stages.evaluate.parts import arrays_of, predicted_cases, sayable, scored_parts_at
from toolkit.stages.evaluate.scoring import SCALED, EvaluationKey, Scorer
from toolkit.workspace import plan, results, sql
from toolkit.workspace.locks import one_at_a_time
from toolkit.workspace.moments import Moment, find_moment, truth_id_at
from toolkit.workspace.registry import Workspace
from toolkit.workspace.runs import find_run, source_of


@dataclass(frozen=True)
class EvaluatedAsOf:
    """The headline of each part by the labels as of an export: metric → (value, low, high), and what changed since."""

    run_id: str
    export_id: str
    latest_at: datetime | None
    """Latest time written in that export (UTC)."""
    truth_id: str
    """Of then: policy and label revision."""
    truth_id_today: str
    cases: dict[str, int]
    patients: dict[str, int]
    unresolved: dict[str, int]
    changed_since: dict[str, int]
    """Predicted cases whose reference diagnosis is another one today, or none, or whose first one is newer."""
    headline: dict[str, dict[str, tuple[float, float, float]]]
    today: dict[str, dict[str, float]]
    """Part → metric → value by today's labels, where the run was scored against these."""
    times_scored: dict[str, int]
    too_few: list[tuple[str, str]] = field(default_factory=list)
    """Part and metric of the values whose intervals are only approximate, since patients are few."""


@one_at_a_time("evaluate")
def evaluate_as_of(
    workspace: Workspace, study: Study, as_of: str, *, run: str = "latest", progress: Progress = silent
) -> EvaluatedAsOf:
    """Score every predicted part of a run against the reference diagnoses as of an export, or a time (UTC).

    The scores are kept in `scores_as_of`; `scores` stays as it is.
    """
    run_id = find_run(workspace, run)
    moment = find_moment(workspace, as_of)
    predicted = predicted_cases(workspace, run_id)
    with_newer_tables(workspace)
    truth_id = truth_id_at(workspace, moment.moment)
    parts = scored_parts_at(workspace, run_id, predicted, moment.moment)
    asked = sayable(workspace, study, run_id, parts, labelled=f"as of export {moment.export_id}")
    data = arrays_of(asked, run_id, parts, remedy=f"name a later export than {moment.export_id}")
    source, scores, scorings = source_of(workspace, run_id), [], []
    for part, arrays in data.items():
        progress(f"scoring {part}", 0, None)
        key = EvaluationKey(run_id, part, truth_id)
        scores += Scorer(asked, arrays, key, source=source).rows()
        counts = {"cases": len(arrays.truth), "unresolved": predicted[part] - len(arrays.truth)}
        now = datetime.now(UTC).replace(tzinfo=None)
        scorings.append({**key._asdict(), "scored_at": now, **counts, "as_of": moment.export_id})
    lock = plan.locked_for(workspace, run_id)
    scorings = [{**scoring, "plan_sha256": lock and lock.sha256} for scoring in scorings]
    results.record_as_of(workspace, run_id, kept_rows(workspace, run_id, scores, moment), scorings)
    if workspace.rows("select 1 from scores where run_id = $run_id limit 1", {"run_id": run_id}):
        plan.record(workspace, study, run_id)
    results.finish_as_of(workspace, run_id)
    return _summary(workspace, moment, scores, scorings)


def with_newer_tables(workspace: Workspace) -> None:
    """Give a registry of an earlier version what this one reads."""
    if not workspace.has_table(results.KEPT):
        with workspace.writing():
            pass


def kept_rows(workspace: Workspace, run_id: str, scores: list[dict[str, Any]], moment: Moment) -> list[dict[str, Any]]:
    """Return the rows of `scores_as_of`: those of `scores` that need neither temperature nor training set."""
    asked = "select part, sha256 from prediction_digests where run_id = $run_id"
    digests = {row["part"]: row["sha256"] for row in workspace.rows(asked, {"run_id": run_id})}
    export = {"export_id": moment.export_id, "latest_at": moment.latest_at}
    return [
        {
            **row,
            **export,
            "predictions_sha256": digests[row["part"]],
            "query": sql.query_as_of(row["query"], moment.export_id, row["truth_id"]),
        }
        for row in scores
        if row["metric"] not in SCALED and not row["metric"].startswith(AT_PRIOR)
    ]


def _summary(
    workspace: Workspace, moment: Moment, scores: list[dict[str, Any]], scorings: list[dict[str, Any]]
) -> EvaluatedAsOf:
    run = {"run_id": scorings[0]["run_id"]}
    over_all = [row for row in scores if row["class_name"] is None]
    headline: dict[str, dict[str, tuple[float, float, float]]] = {}
    for row in over_all:
        headline.setdefault(row["part"], {})[row["metric"]] = (row["value"], row["low"], row["high"])
    today: dict[str, dict[str, float]] = {}
    for row in workspace.rows(sql.statement("evaluate/scores_of_today"), run):
        today.setdefault(row["part"], {})[row["metric"]] = row["value"]
    changed = workspace.rows(sql.statement("evaluate/changed_since"), {**run, "moment": moment.moment})
    times = workspace.rows("select part, count(*) as times from evaluations where run_id = $run_id group by part", run)
    return EvaluatedAsOf(
        run_id=run["run_id"],
        export_id=moment.export_id,
        latest_at=moment.latest_at,
        truth_id=scorings[0]["truth_id"],
        truth_id_today=workspace.rows("select truth_id from label_states")[0]["truth_id"],
        cases={scoring["part"]: scoring["cases"] for scoring in scorings},
        patients={row["part"]: row["patients"] for row in over_all if row["metric"] == "accuracy"},
        unresolved={scoring["part"]: scoring["unresolved"] for scoring in scorings},
        changed_since={row["part"]: row["changed"] for row in changed},
        headline=headline,
        today=today,
        times_scored={row["part"]: row["times"] for row in times},
        too_few=[(row["part"], row["metric"]) for row in over_all if row["too_few"]],
    )
