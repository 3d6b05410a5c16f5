"""The stage `evaluate`: a run's predictions become scores with intervals, calibration, operating points, agreement.

Each scoring of a part is recorded, so that reports can say how often the test set was evaluated. What is fitted or
chosen is fitted and chosen on validation, never on test.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from toolkit.manifest import Study
from toolkit.progress import Progress, silent
from toolkit.stages.evaluate import calibrated, groups, operating, readers
from toolkit.stages.evaluate.as_of import kept_rows, with_newer_tables
from toolkit.stages.evaluate.operating import Target
from toolkit.stages.evaluate.parts import arrays_of, predicted_cases, sayable, scored_parts
from toolkit.stages.evaluate.scoring import EvaluationKey, Scorer
from toolkit.workspace import plan, results, sql
from toolkit.workspace.class_arrays import ClassArrays
from toolkit.workspace.locks import one_at_a_time
from toolkit.workspace.moments import newest_moment
from toolkit.workspace.plan import Departure
from toolkit.workspace.registry import Workspace
from toolkit.workspace.runs import find_run, read_run
from toolkit.workspace.sources import PredictionSource


@dataclass(frozen=True)
class Evaluated:
    """The headline of each part: metric → (value, low, high); and how often each part has been scored."""

    run_id: str
    truth_id: str
    cases: dict[str, int]
    patients: dict[str, int]
    unresolved: dict[str, int]
    headline: dict[str, dict[str, tuple[float, float, float]]]
    times_scored: dict[str, int]
    temperature: float | None
    plan_sha256: str | None
    """Of the analysis plan that was locked when the split was made; None where none was."""
    departures: list[Departure]


@one_at_a_time("evaluate")
def evaluate(workspace: Workspace, study: Study, *, run: str = "latest", progress: Progress = silent) -> Evaluated:
    """Score every predicted part of a run against today's reference diagnoses."""
    run_id = find_run(workspace, run)
    truth_id = workspace.rows("select truth_id from label_states")[0]["truth_id"]
    predicted = predicted_cases(workspace, run_id)
    with_newer_tables(workspace)
    cases, record = scored_parts(workspace, run_id, predicted), read_run(workspace, run_id)
    asked = sayable(workspace, study, run_id, cases)
    parts = arrays_of(asked, run_id, cases, remedy="toolkit status")
    knows = record.source.knows if record.source else "distribution"
    fitted = calibrated.temperature_of(parts, record, truth_id)
    targets = operating.targets(asked, parts, record.frozen, knows)
    temperature = None if fitted is None else fitted["temperature"]
    prior = calibrated.prior_of(workspace, study, run_id)
    lock = plan.locked_for(workspace, run_id)
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in results.TABLES}
    scorings = []
    for part, data in parts.items():
        progress(f"scoring {part}", 0, None)
        key = EvaluationKey(run_id, part, truth_id)
        for name, of_part in _scored(workspace, asked, data, key, Chosen(temperature, targets, record.source)).items():
            rows[name] += of_part
        rows["scores"] += calibrated.at_prior_rows(study, data, key, prior)
        now = datetime.now(UTC).replace(tzinfo=None)
        counts = {"cases": len(data.truth), "unresolved": predicted[part] - len(data.truth)}
        counts["bootstrap_seed"] = study.study.seed
        scorings.append({**key._asdict(), "scored_at": now, **counts, "plan_sha256": lock and lock.sha256})
    rows["temperatures"] = [{"run_id": run_id, **fitted}] if fitted else []
    rows[results.KEPT] = kept_rows(workspace, run_id, rows["scores"], newest_moment(workspace))
    results.record(workspace, run_id, rows, scorings)
    departures = plan.record(workspace, study, run_id)
    results.finish(workspace, run_id)
    return _summary(workspace, run_id, rows["scores"], scorings, temperature, departures)


class Chosen(NamedTuple):
    """What a part is scored with: the temperature and thresholds of the run, and the file its predictions came from."""

    temperature: float | None
    targets: list[Target]
    source: PredictionSource | None


def _scored(
    workspace: Workspace, study: Study, data: ClassArrays, key: EvaluationKey, chosen: Chosen
) -> dict[str, list[dict[str, Any]]]:
    """Return a part's rows of every table but `temperatures`."""
    temperature, targets, source = chosen
    aims = [target for target in targets if not target.fixed]
    part = {"run_id": key.run_id, "part": key.part}
    readings = workspace.read(sql.statement("evaluate/readings_of_part"), part)
    values = workspace.read(sql.statement("evaluate/group_values"), part)
    return {
        "scores": Scorer(study, data, key, temperature, source).rows(),
        "calibration_bins": calibrated.bins(study, data, key, temperature, source),
        "operating_points": [row for target in targets for row in operating.rows(study, data, key, target)],
        "guarantees": [operating.guarantee(study, data, key, target) for target in aims],
        "decision_curves": [row for target in aims for row in operating.decision_curve(study, data, key, target)],
        "agreement": readers.rows(study, data, key, readings),
        "subgroup_scores": groups.rows(study, data, key, groups.groups_of(study, data.case_ids, values)),
    }


def _summary(
    workspace: Workspace,
    run_id: str,
    scores: list[dict[str, Any]],
    scorings: list[dict[str, Any]],
    temperature: float | None,
    departures: list[Departure],
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
        truth_id=scorings[0]["truth_id"],
        cases={scoring["part"]: scoring["cases"] for scoring in scorings},
        patients=patients,
        unresolved={scoring["part"]: scoring["unresolved"] for scoring in scorings},
        headline=headline,
        times_scored={row["part"]: row["times"] for row in counted},
        temperature=temperature,
        plan_sha256=scorings[0]["plan_sha256"],
        departures=departures,
    )
