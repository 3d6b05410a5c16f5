"""The analysis plan: what is locked when a split is made, and where a run departs from it.

A departure is a fact, its reason is for the author to give; without a locked plan there is none.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from toolkit.errors import WorkspaceError
from toolkit.files import sha256_of, write_parquet
from toolkit.manifest import Study
from toolkit.workspace import sql
from toolkit.workspace.certificate import CERTIFICATE, find_certificate
from toolkit.workspace.registry import Workspace, insert, table_schema
from toolkit.workspace.runs import read_run
from toolkit.workspace.scores import read_scores
from toolkit.workspace.verification import find_certified

EVALUATED = {
    "operating_point": "select distinct target as name from operating_points where run_id = $run_id and part = $part",
    "subgroup": "select distinct group_name as name from subgroup_scores where run_id = $run_id and part = $part",
}
"""What can be evaluated by name, beside the scores of all cases."""


class LockedPlan(NamedTuple):
    """The plan that stands in a split's certificate, and the truth that the split was made with."""

    sha256: str
    plan: dict[str, Any]
    truth_id: str


@dataclass(frozen=True)
class Departure:
    """Where a run departs from the plan; `part` is None where the plan as a whole is concerned."""

    part: str | None
    kind: str
    detail: str


def stated(study: Study) -> dict[str, Any] | None:
    """Return a study's plan together with what it refers to; None where the study has none."""
    if study.plan is None:
        return None
    points = {point.name: point.model_dump(mode="json") for point in study.operating_points}
    return {
        **study.plan.model_dump(mode="json"),
        "operating_points": [points[name] for name in study.plan.operating_points],
        "subgroups": {name: sorted(study.evaluate.bands.get(name, [])) for name in study.plan.subgroups},
        "confidence": study.evaluate.confidence,
        "replicates": study.evaluate.replicates,
    }


def sealed(study: Study) -> dict[str, Any]:
    """Return what a certificate states of a study's plan: itself and its SHA-256, or nothing."""
    plan = stated(study)
    return {} if plan is None else {"plan": plan, "plan_sha256": sha256_of(plan)}


def locked(folder: Path) -> LockedPlan | None:
    """Return the plan in the certificate of a split's folder; refuse one that is not what its SHA-256 says."""
    certificate = find_certificate(folder)
    if certificate is None or "plan" not in certificate:
        return None
    if sha256_of(certificate["plan"]) != certificate.get("plan_sha256"):
        raise WorkspaceError(
            "the analysis plan was changed after it was locked",
            place=str(folder / CERTIFICATE),
            remedy="put back the certificate",
        )
    return LockedPlan(certificate["plan_sha256"], certificate["plan"], certificate["truth_id"])


def locked_for(workspace: Workspace, run_id: str) -> LockedPlan | None:
    """Return the plan that was locked with the split of a run."""
    (run,) = workspace.rows("select split_id from runs where run_id = $run_id", {"run_id": run_id})
    find_certified(workspace, run["split_id"])
    return locked(workspace.split(run["split_id"]))


def record(workspace: Workspace, study: Study, run_id: str) -> list[Departure]:
    """Find where a scored run departs from its plan; keep that beside the run and in the registry."""
    with workspace.reading():
        departed = departures(workspace, study, run_id)
    rows = [{"run_id": run_id, **asdict(each)} for each in departed]
    table = pa.Table.from_pylist(rows, schema=table_schema("departures"))
    write_parquet(workspace.run(run_id) / "departures.parquet", table)
    with workspace.writing() as connection:
        connection.execute("delete from departures where run_id = ?", [run_id])
        insert(connection, "departures", table)
    return departed


def departures(workspace: Workspace, study: Study, run_id: str) -> list[Departure]:
    """Return where today's study and what the registry says was done depart from the plan locked with a run's split.

    A control departs from nothing.
    """
    lock = locked_for(workspace, run_id)
    (run,) = workspace.rows("select run_id, model, control from runs where run_id = $run_id", {"run_id": run_id})
    if lock is None or run["control"] is not None:
        return []
    key = {"run_id": run_id, "part": lock.plan["part"]}
    scorings = workspace.rows(sql.statement("evaluate/plan_scorings"), key)
    departed = [*_changed(study, lock), *_replaced(lock, scorings)]
    if not any(row["run_id"] == run_id for row in scorings):
        return [*departed, Departure(lock.plan["part"], "part_not_scored", f"{lock.plan['part']} was not scored")]
    departed += _scored_before(workspace, lock, run, scorings)
    departed += _revised(lock, run_id, scorings)
    departed += _primary(workspace, lock, key)
    departed += _compared(workspace, lock, run, key)
    departed += _beside(workspace, "operating_point", [point["name"] for point in lock.plan["operating_points"]], key)
    return departed + _beside(workspace, "subgroup", lock.plan["subgroups"], key)


def _changed(study: Study, lock: LockedPlan) -> Iterator[Departure]:
    plan = stated(study)
    if plan is None:
        yield Departure(None, "plan_changed", "the study has no plan any more")
    elif keys := sorted(key for key in lock.plan | plan if lock.plan.get(key) != plan.get(key)):
        yield Departure(None, "plan_changed", f"changed since it was locked: {', '.join(keys)}")


def _replaced(lock: LockedPlan, scorings: list[dict[str, Any]]) -> Iterator[Departure]:
    if other := sum(row["plan_sha256"] != lock.sha256 for row in scorings):
        yield Departure(lock.plan["part"], "plan_replaced", f"scored {_times(other)} while this plan was not locked")


def _scored_before(
    workspace: Workspace, lock: LockedPlan, run: dict[str, Any], scorings: list[dict[str, Any]]
) -> Iterator[Departure]:
    """Count every scoring of the part; those that the planned comparison needs are part of the plan."""
    own = sum(row["run_id"] == run["run_id"] for row in scorings)
    planned = [row for row in (run, *scorings) if _is_baseline(workspace, row, lock)]
    others = 0 if run in planned else len(scorings) - own - len(planned)
    if own + others > 1:
        detail = f"scored {_times(own + others)}: {own} by this run, {others} by other runs"
        yield Departure(lock.plan["part"], "scored_before", detail)


def _revised(lock: LockedPlan, run_id: str, scorings: list[dict[str, Any]]) -> Iterator[Departure]:
    """Compare the truth that a run's scores rest on with earlier ones; scorings as of an earlier moment stand aside."""
    of_their_day = [row for row in scorings if row["as_of"] is None]
    last = next(row["truth_id"] for row in reversed(of_their_day) if row["run_id"] == run_id)
    earlier = {"when the split was made": lock.truth_id, "at the first scoring": of_their_day[0]["truth_id"]}
    if before := [f"{truth_id} {when}" for when, truth_id in earlier.items() if truth_id != last]:
        yield Departure(lock.plan["part"], "truth_revised", f"scored against {last}; it was {', '.join(before)}")


def _primary(workspace: Workspace, lock: LockedPlan, key: dict[str, str]) -> Iterator[Departure]:
    metric, class_name = lock.plan["metric"], lock.plan["class_name"]
    score = read_scores(workspace, key["run_id"]).get((key["part"], metric, class_name))
    if score is None or not score.is_defined:
        of = f" of {class_name}" if class_name else ""
        yield Departure(key["part"], "primary_metric_undefined", f"{metric}{of} has no value")


def _compared(workspace: Workspace, lock: LockedPlan, run: dict[str, Any], key: dict[str, str]) -> Iterator[Departure]:
    if lock.plan["comparison"] is None:
        return
    others = workspace.rows(sql.statement("evaluate/plan_comparisons"), key)
    itself = _is_baseline(workspace, run, lock)
    if not any(itself or _is_baseline(workspace, other, lock) for other in others):
        yield Departure(key["part"], "comparison_missing", "the planned comparison was not made")


def _is_baseline(workspace: Workspace, run: dict[str, Any], lock: LockedPlan) -> bool:
    """Tell whether a run is what the plan compares with: a control by its name, else a model or a backend."""
    wanted = lock.plan["comparison"]
    if wanted is None or run["control"] is not None:
        return wanted is not None and run["control"] == wanted
    return wanted == run["model"] or wanted == read_run(workspace, run["run_id"]).model.backend


def _beside(workspace: Workspace, what: str, planned: Iterable[str], key: dict[str, str]) -> list[Departure]:
    """Return what was planned and not evaluated, and what was evaluated and not planned: that is exploratory."""
    done = {row["name"] for row in workspace.rows(EVALUATED[what], key)}
    part, noun = key["part"], what.replace("_", " ")
    missing = [Departure(part, f"{what}_missing", f"{noun} {name} was not evaluated") for name in {*planned} - done]
    further = [Departure(part, "exploratory", f"{noun} {name} was not planned") for name in done - {*planned}]
    return sorted([*missing, *further], key=lambda each: (each.kind, each.detail))


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"
