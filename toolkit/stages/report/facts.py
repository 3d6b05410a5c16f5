"""Everything a report says of one run, read once from the registry and the workspace's files."""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from toolkit.manifest import Study
from toolkit.manifest.evaluation import ReportingSection, ReportSection
from toolkit.stages.report.analysis_plan import PlanSummary, read_plan
from toolkit.stages.report.cases import ReportCase, ScoredCases, grouped_cases
from toolkit.stages.report.evaluation import Evaluation, read_evaluation
from toolkit.stages.report.image_quality import ImageQuality, read_image_quality
from toolkit.workspace import ledger, sql
from toolkit.workspace.class_arrays import ClassArrays, class_arrays
from toolkit.workspace.registry import Workspace
from toolkit.workspace.runs import PredictedPart, RunRecord, predicted_parts, read_run
from toolkit.workspace.scores import Score, ScoreKey, read_scores, scored_parts, unsayable
from toolkit.workspace.verification import check_record, find_certified

Audience = Literal["internal", "shared"]
EXCLUDED = "select stage, reason, case_id, image_id, export_id, line from excluded_from($split_id)"
QUARANTINED = "select coalesce(sum(quarantined), 0)::bigint as rows from conservation where noun = 'row'"


class CountCell(NamedTuple):
    """A cell of a table of counts: cases and their patients; None in both where it is suppressed."""

    cases: int | None
    patients: int | None


class Boxes(NamedTuple):
    """The scored cases of a part, and how many of them have a ROI that was drawn."""

    cases: int
    drawn: int
    patients: tuple[int, int]
    """Of the cases with a ROI and of those without."""


class FlowStage(NamedTuple):
    """What was counted at a stage of the cohort's flow, and what was left out on the way there, by reason."""

    name: str
    number: int
    excluded: list[tuple[str, int]]


class PreviousRun(NamedTuple):
    """The run before this one, and its scores by part, metric and class."""

    run_id: str
    same_split: bool
    values: dict[tuple[str, str, str | None], float]


@dataclass(frozen=True)
class ReportFacts:
    """What there is to say of a run. Rows are those of the registry, as dictionaries."""

    run: dict[str, Any]
    record: RunRecord
    """What the run wrote about itself."""
    classes: list[str]
    malignant: set[str]
    parts: list[str]
    """Parts that were scored, as they are shown; the first one is the headline's."""
    scores: dict[ScoreKey, Score]
    matrices: dict[str, dict[tuple[str, str], CountCell]]
    """By part; then by truth and predicted class."""
    every_case: ScoredCases | None
    """Every scored case; None where single cases are not for the readers."""
    cases: list[ReportCase]
    """Those of them that the page shows."""
    limited: bool
    """Whether there are more than a page can hold."""
    epochs: dict[str, list[tuple[int, float]]]
    ranked: ClassArrays
    """Of the first part."""
    scorings: dict[str, dict[str, Any]]
    flow: list[FlowStage]
    excluded: list[dict[str, Any]]
    """What did not come as far as the split, one row each."""
    quarantined: int
    unresolved: int
    issues: list[dict[str, Any]]
    by_class: dict[tuple[str | None, str | None], CountCell]
    findings: list[dict[str, Any]]
    leakage: dict[str, Any]
    certificate: dict[str, Any]
    """Empty where the split has no folder, and the page says so."""
    exports: list[dict[str, Any]]
    label_state: dict[str, Any]
    report: ReportSection
    """What today's study file wants of the page."""
    reporting: ReportingSection
    """What today's study file says that no run can know."""
    evaluation: Evaluation
    """Of the first part."""
    previous: PreviousRun | None
    plan: PlanSummary
    seeds: list[dict[str, Any]]
    """How much each score of the first part changes with the seed of the training; empty without replicates."""
    ingest: dict[str, Any]
    """How labels became cases: as the run recorded, or as this study says where another workspace trained the run."""
    made: PredictedPart | None
    """How the first part was predicted; None where an earlier version predicted it."""
    boxes: dict[str, Boxes]
    bootstrap_seed: int | None
    """None where an earlier version scored the run."""
    unsayable: list[str]
    """Classes that the run has no answer for."""
    not_predicted: list[dict[str, Any]]
    """Cases of the first part without a prediction, by class."""
    adaptation: list[dict[str, Any]]
    """Rows of the question `adaptation` on the first part, where the training started from a run; else empty."""
    image_quality: ImageQuality
    """What the run loses on degraded photographs of the first part."""
    audience: Audience = "internal"
    rounded: bool = False
    """Whether averages are rounded, since they would give away counts that are suppressed."""

    @property
    def errors(self) -> list[ReportCase]:
        """The cases on the page that the run got wrong, in the same order."""
        return [case for case in self.cases if case.outcome == "wrong"]

    @property
    def number_of_errors(self) -> int:
        """How many cases the run got wrong; suppressed counts are left out."""
        cells = [pair for matrix in self.matrices.values() for pair in matrix.items()]
        return sum(cell.cases or 0 for (truth, predicted), cell in cells if truth != predicted)

    @property
    def patients_known(self) -> bool:
        """Whether the study has patient identifiers; without them every photograph counts as a patient of its own."""
        return self.label_state["patient_from"] != "none"


def gather(workspace: Workspace, study: Study, run_id: str) -> ReportFacts:
    """Read all there is to say of a run; raise WorkspaceError where it was not scored."""
    with workspace.reading():
        return _gathered(workspace, study, run_id)


def _gathered(workspace: Workspace, study: Study, run_id: str) -> ReportFacts:
    key = {"run_id": run_id}
    run = workspace.rows("select * from runs where run_id = $run_id", key)[0]
    split = {"split_id": run["split_id"]}
    scores = read_scores(workspace, run_id)
    parts = scored_parts(scores)
    matrix = workspace.rows(sql.statement("report/matrix"), key)
    record = read_run(workspace, run_id)
    check_record(workspace, record)
    classes = _classes(study, matrix, scores)
    every_case = grouped_cases(workspace, study, run_id, parts)
    cases = every_case.for_page()
    return ReportFacts(
        run=run,
        record=record,
        classes=classes,
        malignant={c.name for c in study.classes if c.malignant},
        parts=parts,
        scores=scores,
        matrices={part: _matrix(matrix, part) for part in parts},
        every_case=every_case,
        cases=cases,
        limited=len(cases) < len(every_case),
        epochs=_epochs(workspace, run_id),
        ranked=class_arrays(workspace.read(sql.statement("evaluate/scored_part"), {**key, "part": parts[0]}), classes),
        scorings={row["part"]: row for row in workspace.rows(sql.statement("report/scorings"), key)},
        flow=_flow(workspace.rows(sql.statement("report/flow"), split)),
        excluded=workspace.rows(f"{EXCLUDED} order by all", split),
        quarantined=workspace.rows(QUARANTINED)[0]["rows"],
        unresolved=workspace.rows("select count(*) as cases from truth where class_name is null")[0]["cases"],
        issues=workspace.rows(sql.statement("report/issues")),
        by_class={
            (row["part"], row["class_name"]): CountCell(row["cases"], row["patients"])
            for row in workspace.rows(sql.statement("report/parts"), split)
        },
        findings=workspace.rows(sql.statement("report/findings")),
        leakage=workspace.rows(sql.statement("report/leakage"), split)[0],
        certificate=find_certified(workspace, run["split_id"]) or {},
        exports=workspace.rows("select export_id, sha256, rows from exports order by export_id"),
        label_state=workspace.rows("select * from label_states")[0],
        report=study.report,
        reporting=study.reporting,
        evaluation=read_evaluation(workspace, run_id, parts[0]),
        previous=_previous(workspace.rows(sql.statement("report/previous"), key)),
        plan=read_plan(workspace, run),
        seeds=_seeds(workspace, run_id, parts[0]),
        ingest=study.ingest.model_dump() if record.external_of else record.study.get("ingest", {}),
        made=predicted_parts(workspace, run_id).get(parts[0]),
        boxes={row.pop("part"): Boxes(**row) for row in workspace.rows(sql.statement("report/boxes"), key)},
        bootstrap_seed=_bootstrap_seed(workspace, run_id),
        unsayable=unsayable(workspace, run_id),
        not_predicted=workspace.rows(sql.statement("report/not_predicted"), {**key, **split, "part": parts[0]}),
        adaptation=_adaptation(workspace, record, parts[0]),
        image_quality=read_image_quality(workspace, run_id, parts[0]),
    )


def _bootstrap_seed(workspace: Workspace, run_id: str) -> int | None:
    scorings = [scoring for scoring in ledger.scorings_of(workspace, run_id) if not scoring.get("as_of")]
    return max(scorings, key=lambda scoring: scoring["scored_at"]).get("bootstrap_seed") if scorings else None


def _classes(study: Study, matrix: list[dict[str, Any]], scores: dict[ScoreKey, Score]) -> list[str]:
    """Return the study's classes, and after them any other that labels, predictions or scores still hold."""
    seen = {row[side] for row in matrix for side in ("truth", "predicted")}
    seen |= {class_name for _, _, class_name in scores if class_name is not None}
    return [*study.class_names, *sorted(seen - set(study.class_names))]


def _matrix(rows: list[dict[str, Any]], part: str) -> dict[tuple[str, str], CountCell]:
    return {
        (row["truth"], row["predicted"]): CountCell(row["cases"], row["patients"])
        for row in rows
        if row["part"] == part
    }


def _flow(rows: list[dict[str, Any]]) -> list[FlowStage]:
    stages: dict[str, FlowStage] = {}
    for row in rows:
        if row["reason"] is None:
            stages[row["stage"]] = FlowStage(row["stage"], row["number"], [])
        else:
            stages[row["stage"]].excluded.append((row["reason"], row["number"]))
    return list(stages.values())


def _previous(rows: list[dict[str, Any]]) -> PreviousRun | None:
    if not rows:
        return None
    values = {(row["part"], row["metric"], row["class_name"]): row["value"] for row in rows}
    return PreviousRun(rows[0]["run_id"], rows[0]["same_split"], values)


def _adaptation(workspace: Workspace, record: RunRecord, part: str) -> list[dict[str, Any]]:
    """Return what was forgotten and learned; nothing before the run was compared with the one that it started from."""
    if record.started_from is None:
        return []
    rows = workspace.shipped_rows("adaptation", run=record.run_id, other=record.started_from, part=part)
    return rows if any(row["difference"] is not None for row in rows) else []


def _seeds(workspace: Workspace, run_id: str, part: str) -> list[dict[str, Any]]:
    rows = workspace.shipped_rows("seeds", run=run_id, part=part)
    return [{"part": part, **row} for row in rows] if any(row["seeds"] > 1 for row in rows) else []


def _epochs(workspace: Workspace, run_id: str) -> dict[str, list[tuple[int, float]]]:
    """Return what was watched while training: (epoch, value) by metric, where it is defined."""
    rows = workspace.rows(
        "select metric, epoch, value from epochs where run_id = $run_id and isfinite(value) order by epoch",
        {"run_id": run_id},
    )
    watched: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        watched.setdefault(row["metric"], []).append((row["epoch"], row["value"]))
    return watched
