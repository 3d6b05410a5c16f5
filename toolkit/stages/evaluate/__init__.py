"""How a run's predictions become scores: every metric with its interval, its support and its query.

Refuses to forget: each scoring of a part is recorded, so that reports can say how often test was looked at. What is
fitted or chosen is fitted and chosen on validation, never on test.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from toolkit.errors import WorkspaceError
from toolkit.manifest import Study
from toolkit.progress import Progress, silent
from toolkit.stages.evaluate import calibrated, groups, operating, readers, tables
from toolkit.stages.evaluate.estimates import PartData
from toolkit.stages.evaluate.scoring import EvaluationKey, Scorer
from toolkit.workspace import plan, sql
from toolkit.workspace.plan import Departure
from toolkit.workspace.registry import Workspace
from toolkit.workspace.runs import find_run

__all__ = ["Evaluated", "PartData", "evaluate", "score_part"]


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
    temperature: float | None
    plan_sha256: str | None
    """Of the analysis plan that was locked when the split was made; None where none was."""
    departures: list[Departure]


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
    parts = {row["part"]: _part_data(workspace, study, run_id, row["part"]) for row in counted}
    temperature, targets = calibrated.temperature_of(parts), operating.targets(study, parts)
    lock = plan.locked_for(workspace, run_id)
    made: dict[str, list[dict[str, Any]]] = {name: [] for name in tables.SCHEMAS}
    looks = []
    for row in counted:
        progress(f"scoring {row['part']}", 0, None)
        key, data = EvaluationKey(run_id, row["part"], truth_id), parts[row["part"]]
        made["scores"] += Scorer(study, data, key, temperature).rows()
        made["calibration_bins"] += calibrated.bins(study, data, key, temperature)
        for target in targets:
            made["operating_points"] += operating.rows(study, data, key, target)
            made["guarantees"].append(operating.guarantee(study, data, key, target))
            made["decision_curves"] += operating.decision_curve(study, data, key, target)
        readings = workspace.rows(sql.statement("evaluate/readings_of_part"), {"run_id": run_id, "part": row["part"]})
        made["agreement"] += readers.rows(study, data, key, readings)
        if study.evaluate.groups:
            values = workspace.rows(sql.statement("evaluate/group_values"), {"run_id": run_id, "part": row["part"]})
            made["subgroup_scores"] += groups.rows(study, data, key, groups.groups_of(study, data.case_ids, values))
        unresolved = row["cases"] - len(data.truth)
        now = datetime.now(UTC).replace(tzinfo=None)
        look = {"scored_at": now, "cases": len(data.truth), "unresolved": unresolved}
        looks.append({**key._asdict(), **look, "plan_sha256": lock and lock.sha256})
    if temperature is not None:
        fitted = {"fitted_on": calibrated.FITTED_ON, "cases": len(parts[calibrated.FITTED_ON].truth)}
        made["temperatures"] = [{"run_id": run_id, "temperature": temperature, "truth_id": truth_id, **fitted}]
    tables.record(workspace, run_id, made, looks)
    departures = plan.record(workspace, study, run_id)
    return _summary(workspace, run_id, made["scores"], looks, temperature, departures)


def _part_data(workspace: Workspace, study: Study, run_id: str, part: str) -> PartData:
    rows = workspace.rows(sql.statement("evaluate/scored_part"), {"run_id": run_id, "part": part})
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
        case_ids=tuple(row["case_id"] for row in rows),
    )


def score_part(
    study: Study, data: PartData, key: EvaluationKey, *, temperature: float | None = None
) -> list[dict[str, Any]]:
    """Return every score of a part: per class, over all classes, and the averages."""
    return Scorer(study, data, key, temperature).rows()


def _summary(
    workspace: Workspace,
    run_id: str,
    scores: list[dict[str, Any]],
    looks: list[dict[str, Any]],
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
        truth_id=looks[0]["truth_id"],
        cases={look["part"]: look["cases"] for look in looks},
        patients=patients,
        unresolved={look["part"]: look["unresolved"] for look in looks},
        headline=headline,
        times_scored={row["part"]: row["times"] for row in counted},
        temperature=temperature,
        plan_sha256=looks[0]["plan_sha256"],
        departures=departures,
    )
