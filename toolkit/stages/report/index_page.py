"""The index of a workspace's reports: its runs, and a link to every page there is."""

import re
from typing import Any

from toolkit.errors import ToolkitError
from toolkit.files import write_atomically
from toolkit.formatting import PATIENT, support, unit
from toolkit.manifest import Study
from toolkit.stages.report import layout
from toolkit.stages.report.table_queries import statement
from toolkit.workspace import sql
from toolkit.workspace.registry import Workspace
from toolkit.workspace.runs import read_run

PAIR = re.compile(r"([0-9a-f]{8})-to-([0-9a-f]{8})")
IMPACT = re.compile(r"impact-([0-9a-f]{8})")
CURVE = re.compile(r"learning-curve-(?:plain|([0-9a-f]{8}))")


def write_index(workspace: Workspace, study: Study) -> None:
    """Write the page that lists the pages."""
    names = sorted(path.parent.name for path in workspace.reports.glob("[!.]*/index.html"))
    runs = [{**run, "trained": _trained(workspace, run)} for run in workspace.rows(sql.statement("report/runs"))]
    for run in runs:
        run["pages"] = _pages_of(workspace, run["run_id"])
    page = layout.render(
        "index.html.j2",
        study=study.study,
        runs=runs,
        boards=_boards([run for run in runs if not run["is_folded"]]),
        folded=[run for run in runs if run["is_folded"]],
        query=statement("report/runs"),
        others=_others(names),
        counts=_counts(workspace),
        patients_known=unit() == PATIENT,
    )
    write_atomically(workspace.reports / "index.html", page)


def _boards(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the runs by split and by the part that they are ranked on, in their order."""
    boards: dict[tuple[str, str | None], list[dict[str, Any]]] = {}
    for run in runs:
        boards.setdefault((run["split_id"], run["part"]), []).append(run)
    return [{"split_id": split_id, "part": part, "runs": own} for (split_id, part), own in boards.items()]


def _trained(workspace: Workspace, run: dict[str, Any]) -> str:
    """Say where and on how much a run was trained."""
    if run["source_sha256"]:
        return "elsewhere: leakage cannot be told"
    try:
        elsewhere = read_run(workspace, run["run_id"]).external_of
    except ToolkitError:  # the record is damaged: the run's own commands say so
        elsewhere = None
    return f"{'elsewhere' if elsewhere else 'here'}, on {support(run['train_cases'], run['train_patients'])}"


def _pages_of(workspace: Workspace, run_id: str) -> list[tuple[str, str]]:
    """Return the pages of a run that there are, each with its address and its words."""
    own = {
        f"{run_id}/index.html": "report",
        f"{run_id}/model_card.html": "model card",
        f"{run_id}-shared/index.html": "for others",
        f"{run_id}-shared/model_card.html": "model card for others",
    }
    return [(address, words) for address, words in own.items() if (workspace.reports / address).is_file()]


def _others(names: list[str]) -> list[tuple[str, str]]:
    pairs = [(name, f"Run {runs[1]} and run {runs[2]} compared") for name in names if (runs := PAIR.fullmatch(name))]
    progress = [("progress", "Progress: labels over time, what is left, agreement")] if "progress" in names else []
    audit = [("audit", "Audit: duplicate photographs, contradicting labels, cohort")] if "audit" in names else []
    queue = [("queue", "Review queue: which labels to look at again first")] if "queue" in names else []
    impacts = [
        (name, f"Impact of review queue {of[1]}: what was found, and what it changes")
        for name in names
        if (of := IMPACT.fullmatch(name))
    ]
    curves = [
        (name, f"Learning curve of {f'run {of[1]}' if of[1] else 'plain features'}: what more patients would bring")
        for name in names
        if (of := CURVE.fullmatch(name))
    ]
    batch = [("next-batch", "Next batch: which photographs to label next")] if "next-batch" in names else []
    return progress + audit + queue + batch + curves + impacts + pairs


def _counts(workspace: Workspace) -> dict[str, Any]:
    facts = workspace.rows(sql.statement("parse/parsed"))[0]
    return {name: facts[name] for name in ("cases", "patients", "photographs", "exports", "truth_id")}
