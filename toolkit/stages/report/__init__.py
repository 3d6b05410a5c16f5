"""The report of a scored run: a page that a person reads, with its tables, figures and photographs.

Nothing is computed here: the page shows what the registry holds, and the same registry gives the same bytes.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolkit.files import OPEN, PRIVATE
from toolkit.formatting import counted_by
from toolkit.manifest import Study
from toolkit.progress import Progress, silent
from toolkit.stages.report import guidelines, model_card
from toolkit.stages.report.bundle import write_page
from toolkit.stages.report.embedded_data import EmbeddedContext, document
from toolkit.stages.report.facts import Audience, ReportFacts, gather
from toolkit.stages.report.figures import draw
from toolkit.stages.report.first_screen import badges
from toolkit.stages.report.page import render
from toolkit.stages.report.sharing import shared
from toolkit.stages.report.tables import csv_tables
from toolkit.stages.report.thumbnails import thumbnails
from toolkit.workspace.locks import one_at_a_time
from toolkit.workspace.registry import Workspace
from toolkit.workspace.runs import find_run

OUTCOMES = [("wrong", "errors"), ("right", "correct predictions")]


@dataclass(frozen=True)
class Report:
    """Where the page and its files stand, and how many cases and errors it shows."""

    run_id: str
    audience: str
    page: str
    files: list[str]
    errors_shown: int
    errors: int
    one_file: bool
    """Whether the page holds its photographs itself."""
    patients_known: bool
    checks: list[tuple[str, str]]
    """Each badge of the first screen: good, look or fact, and its words."""
    seeds: list[dict[str, Any]] = field(default_factory=list)
    """Of a run with replicates: how much each measure over all classes changes with the seed."""


@one_at_a_time("report")
def report(
    workspace: Workspace,
    study: Study,
    *,
    run: str = "latest",
    audience: Audience = "internal",
    progress: Progress = silent,
) -> Report:
    """Write the page of a run, its tables and figures; raises WorkspaceError where the run was not scored."""
    run_id = find_run(workspace, run)
    progress("reading the registry", 0, None)
    whole = gather(workspace, study, run_id)
    with counted_by(patients_known=whole.patients_known):
        return _written(workspace, study, whole, audience, progress)


def _written(workspace: Workspace, study: Study, whole: ReportFacts, audience: Audience, progress: Progress) -> Report:
    run_id = whole.run["run_id"]
    facts = shared(whole) if audience == "shared" else whole
    progress("drawing curves", 0, None)
    figures = draw(facts)
    filled = guidelines.filled(workspace, study, facts)
    card = model_card.model_card(facts, study, filled)
    tables = {**csv_tables(facts), "guidelines.csv": guidelines.table(filled)}
    one_file = len(facts.errors) <= facts.report.gallery

    def rendered(folder: Path) -> dict[str, bytes]:
        data = _embedded(facts, study, None if one_file else folder, progress) if facts.cases else None
        drawings = {name: drawing.svg for name, drawing in figures.items()}
        return {
            "index.html": render(facts, study, drawings, data, filled, one_file=one_file),
            "guidelines.md": guidelines.markdown(filled, run_id).encode(),
            "model_card.html": model_card.page(card, facts, study),
            "model_card.md": model_card.markdown(card, run_id).encode(),
            **{f"figures/{name}.svg": drawing.svg for name, drawing in figures.items()},
            **{f"figures/{name}.png": drawing.png for name, drawing in figures.items()},
        }

    name = f"{run_id}-shared" if audience == "shared" else run_id
    files = write_page(workspace, study, name, tables, rendered, classes=facts.classes, mode=mode_for(audience))
    return Report(
        run_id=run_id,
        audience=audience,
        page=files[0],
        files=files,
        errors_shown=len(facts.errors),
        errors=whole.number_of_errors,
        one_file=one_file,
        patients_known=facts.patients_known,
        checks=[(badge.shape, badge.text) for badge in badges(facts)],
        seeds=[row for row in facts.seeds if row["class_name"] is None],
    )


def _embedded(facts: ReportFacts, study: Study, folder: Path | None, progress: Progress) -> str:
    """Return the data of the page; with a folder the thumbnails become files in it."""
    context = EmbeddedContext(
        classes=facts.classes,
        malignant=facts.malignant,
        parts=facts.parts,
        outcomes=OUTCOMES,
        costs=facts.report.costs,
        name=facts.run["run_id"],
        limited=facts.limited,
    )
    margin = facts.record.study.get("model", {}).get("roi_margin", study.model.roi_margin)
    crops_only = facts.audience == "shared"
    pictures = thumbnails(
        facts.cases,
        margin=margin,
        crops_only=crops_only,
        folder=folder,
        mode=mode_for(facts.audience),
        progress=progress,
    )
    return document(context, facts.cases, pictures)


def mode_for(audience: Audience) -> int:
    """Return the mode of a report's files: what is for others may be read by them."""
    return OPEN if audience == "shared" else PRIVATE
