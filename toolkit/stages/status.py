"""The status of a workspace: what it holds, which stages are out of date, what to do next.

It imports no other stage, so that it answers in less than a second.
"""

from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from toolkit.files import size_of
from toolkit.workspace import sql
from toolkit.workspace.landed import landed_exports
from toolkit.workspace.note import known_study
from toolkit.workspace.registry import Workspace

State = Literal["up to date", "out of date", "interrupted", "missing"]
Row = dict[str, Any]
RELABELLED = "cases with another reference diagnosis since"


@dataclass(frozen=True)
class StageState:
    """Whether what a stage made still fits what it was made from; `next` is the command that brings it up to date."""

    stage: str
    state: State
    reason: str = ""
    """Why it does not, or what it has made."""
    next: str = ""


@dataclass(frozen=True)
class Status:
    """What a workspace holds; `next` is the command to type next."""

    workspace: str
    study: str | None
    exports: int
    rows: int = 0
    rows_quarantined: int = 0
    photographs: int = 0
    patients: int = 0
    patients_known: bool = True
    """Whether the study has patient identifiers; without them every photograph counts as a patient of its own."""
    cases: int = 0
    resolved: int = 0
    kept_out: dict[str, int] = field(default_factory=dict)
    findings: dict[str, int] = field(default_factory=dict)
    unknown_keys: dict[str, int] = field(default_factory=dict)
    truth_id: str | None = None
    content_hash: str | None = None
    features_gigabytes: float = 0.0
    splits: list[dict[str, Any]] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    study_missing: bool = False
    """Whether the study file is no longer where it was when the workspace was made."""
    pushes: list[dict[str, Any]] = field(default_factory=list)
    """What was sent to Labelbox: things by what was pushed and their state."""
    stages: list[StageState] = field(default_factory=list)
    """Of each stage whether it is up to date, in the order of the line."""
    next: str = "toolkit parse EXPORT --images DIR"


def status(workspace: Workspace, given: Path | None = None) -> Status:
    """Return what a workspace holds and what of it no longer fits its labels.

    Raises StudyError for a study file that is given and cannot be read; of one that the workspace was made with and is
    gone, the status says so.
    """
    if given is not None:
        from toolkit.manifest import load_study  # noqa: PLC0415 - with pydantic, 0.2 s

        load_study(given)
    study = given or known_study(workspace)
    empty = Status(
        str(workspace.folder),
        str(study) if study else None,
        len(landed_exports(workspace)),
        study_missing=study is not None and not study.is_file(),
    )
    if not workspace.is_parsed():
        return empty
    with workspace.reading():
        return _of_parsed(workspace, empty)


def _of_parsed(workspace: Workspace, empty: Status) -> Status:
    facts = workspace.rows(sql.statement("parse/parsed"))[0]
    splits = workspace.rows(sql.statement("status/splits"))
    runs = workspace.rows(sql.statement("status/runs"))
    for row in runs:
        row["reported"] = _page(workspace, row).is_file()
    stages = _stages(workspace, splits, runs)
    return replace(
        empty,
        **{each.name: facts[each.name] for each in fields(Status) if each.name in facts},
        kept_out=_counts(workspace, sql.statement("parse/kept_out")),
        findings=_counts(workspace, "select kind, count(*) from findings group by kind order by kind"),
        unknown_keys=_counts(
            workspace, "select key_path, sum(rows)::bigint from unknown_keys group by key_path order by key_path"
        ),
        features_gigabytes=size_of(workspace.features) / 1e9,
        splits=splits,
        runs=runs,
        pushes=_pushes(workspace),
        stages=stages,
        next=_next(stages, runs),
    )


def _pushes(workspace: Workspace) -> list[dict[str, Any]]:
    """Return how many things of each push are in each state; none in a registry of an earlier version."""
    return workspace.rows(sql.statement("status/pushes")) if workspace.has_table("pushes") else []


def _counts(workspace: Workspace, statement: str) -> dict[str, int]:
    """Return the rows of a statement with two columns as names and their counts."""
    return dict(tuple(row.values()) for row in workspace.rows(statement))


def _page(workspace: Workspace, run: Row) -> Path:
    return workspace.reports / run["run_id"] / "index.html"


def _stages(workspace: Workspace, splits: list[Row], runs: list[Row]) -> list[StageState]:
    known = workspace.has_table("queues")  # an earlier version's registry has none, and no evidence against labels
    facts = workspace.rows(sql.statement("status/stages"))[0] if known else {}
    own = [row for row in runs if not (row["control"] or row["replicate_of"])]
    own = [row for row in own if not row["source_sha256"]] or own
    current = [row for row in own if splits and row["split_id"] == splits[0]["split_id"] and not row["stale"]]
    run = current[0] if current else None
    return [
        _parse(workspace, facts),
        _audit(workspace, facts),
        _split(splits),
        _train(workspace, splits, own, run),
        _predict(workspace, run),
        _evaluate(run),
        _report(workspace, run),
        _queue(facts),
    ]


def _parse(workspace: Workspace, facts: Row) -> StageState:
    landed = {each.export_id for each in landed_exports(workspace)}
    if waiting := landed - set(facts.get("parsed", landed)):
        return StageState(
            "parse", "out of date", f"landed and not parsed: {', '.join(sorted(waiting))}", "toolkit parse"
        )
    return StageState("parse", "up to date")


def _audit(workspace: Workspace, facts: Row) -> StageState:
    again = "toolkit audit"
    if not (facts and any((workspace.folder / "audit").glob("*.parquet"))):
        return StageState("audit", "missing", next=again)
    if cases := facts["audit_differs"]:
        return StageState("audit", "out of date", f"{RELABELLED}: {cases:,}", again)
    return StageState("audit", "up to date")


def _split(splits: list[Row]) -> StageState:
    if not splits:
        return StageState("split", "missing", next="toolkit split")
    if cases := splits[0]["changed_cases"]:
        return StageState("split", "out of date", f"{RELABELLED}: {cases:,}", "toolkit split")
    return StageState("split", "up to date")


def _train(workspace: Workspace, splits: list[Row], own: list[Row], run: Row | None) -> StageState:
    if run is not None:
        return StageState("train", "up to date", f"run {run['run_id']}: {run['model']}")
    if splits and splits[0]["external"]:
        return StageState("train", "missing", "an external test set", "toolkit predict --run FOLDER --part external")
    begun = sorted(each.parent for each in workspace.folder.glob("runs/*/training") if any(each.iterdir()))
    if left := [folder.name for folder in begun if not (folder / "run.json").is_file()]:
        return StageState("train", "interrupted", f"run {', '.join(left)}", "toolkit train --resume")
    if own:
        return StageState("train", "out of date", "no run of the newest split and of today's labels", "toolkit train")
    return StageState("train", "missing", next="toolkit train")


def _predict(workspace: Workspace, run: Row | None) -> StageState:
    if run is None or not run["predicted"]:
        begun = run is not None and any((workspace.run(run["run_id"]) / "predictions").glob("*.parquet"))
        return StageState("predict", "interrupted" if begun else "missing", next="toolkit predict")
    return StageState("predict", "up to date", f"cases: {run['predicted']:,}")


def _evaluate(run: Row | None) -> StageState:
    if run is not None and run["scored"]:
        return StageState("evaluate", "up to date", f"times evaluated against today's labels: {run['scored']:,}")
    if run is not None and run["scored_at"]:
        return StageState("evaluate", "out of date", "scored against other labels", "toolkit evaluate")
    return StageState("evaluate", "missing", next="toolkit evaluate")


def _report(workspace: Workspace, run: Row | None) -> StageState:
    if run is None or not run["reported"]:
        return StageState("report", "missing", next="toolkit report")
    written = datetime.fromtimestamp(_page(workspace, run).stat().st_mtime, UTC).replace(tzinfo=None)
    if run["scored_at"] and written < run["scored_at"]:
        return StageState("report", "out of date", "the run was scored since", "toolkit report")
    return StageState("report", "up to date")


def _queue(facts: Row) -> StageState:
    if not facts.get("queue_id"):
        return StageState("queue", "missing", next="toolkit queue")
    reviewed = f"{facts['queue_id']}: {facts['reviewed']:,} of {facts['queued']:,} cases reviewed"
    if facts["queue_is_older"]:
        return StageState("queue", "out of date", f"{reviewed}; labels have changed since", "toolkit queue")
    return StageState("queue", "up to date", reviewed)


def _next(stages: list[StageState], runs: list[Row]) -> str:
    """Return the command that brings up to date what comes first in the line; a queue is made where one can be."""
    by_name = {each.stage: each for each in stages}
    for name in ("parse", "audit", "split", "train", "predict", "evaluate"):
        if by_name[name].state != "up to date":
            return by_name[name].next
    newest = next(row for row in runs if not (row["control"] or row["replicate_of"]))
    for row in runs:
        own_seed = row["replicate_of"] == newest["run_id"] and not row["control"]
        if row["scored"] == 0 and (own_seed or (row["source_sha256"] and row["predicted"])):
            return f"toolkit {'evaluate' if row['predicted'] else 'predict'} --run {row['run_id']}"
    return by_name["report"].next or "toolkit query"
