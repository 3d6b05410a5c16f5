"""The report of a scored run: a page that a person reads, with its tables, figures and photographs.

Nothing is computed here: the page shows what the registry holds, and the same registry gives the same bytes.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolkit.files import OPEN, PRIVATE
from toolkit.formatting import counted_by
from toolkit.manifest import Study
from toolkit.privacy import PseudonymKey
from toolkit.progress import Progress, silent
from toolkit.stages.report import guidelines, image_quality_figure, model_card
from toolkit.stages.report.adaptation_figure import adaptation_figure
from toolkit.stages.report.bundle import write_page
from toolkit.stages.report.case_details import CaseDetails, read_details
from toolkit.stages.report.embedded_data import EmbeddedContext, document
from toolkit.stages.report.facts import Audience, ReportFacts, gather
from toolkit.stages.report.figures import draw
from toolkit.stages.report.first_screen import badges
from toolkit.stages.report.page import render
from toolkit.stages.report.sharing import shared
from toolkit.stages.report.tables import csv_tables
from toolkit.stages.report.thumbnails import Pictures, thumbnails
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
    key: PseudonymKey | None = None,
    progress: Progress = silent,
) -> Report:
    """Write the page of a run, its tables and figures; raises WorkspaceError where the run was not scored.

    With the key of the study's pseudonyms it can tell which file names hold no patient's identifier, and shows those.
    """
    run_id = find_run(workspace, run)
    progress("reading the registry", 0, None)
    whole = gather(workspace, study, run_id)
    with counted_by(patients_known=whole.patients_known):
        facts = shared(whole) if audience == "shared" else whole
        return _written(workspace, study, facts, key, progress, errors=whole.number_of_errors)


def _written(
    workspace: Workspace,
    study: Study,
    facts: ReportFacts,
    key: PseudonymKey | None,
    progress: Progress,
    *,
    errors: int,
) -> Report:
    run_id = facts.run["run_id"]
    progress("drawing curves", 0, None)
    figures = draw(facts) | image_quality_figure.figure(facts.image_quality) | adaptation_figure(facts.adaptation)
    filled = guidelines.filled(workspace, study, facts)
    card = model_card.model_card(facts, study, filled)
    tables = {**csv_tables(facts), "guidelines.csv": guidelines.table(filled)}
    one_file = len(facts.errors) <= facts.report.gallery

    def rendered(folder: Path) -> dict[str, bytes]:
        pictures = _pictures(facts, study, folder, one_file=one_file)
        data = _embedded(facts, _details(workspace, study, facts, key), pictures, progress) if facts.cases else None
        beside = bool(pictures.beside or pictures.enlarged)
        return {
            "index.html": render(facts, study, figures, data, filled, beside=beside),
            "guidelines.md": guidelines.markdown(filled, run_id).encode(),
            "model_card.html": model_card.page(card, facts, study),
            "model_card.md": model_card.markdown(card, run_id).encode(),
            **{f"figures/{name}.svg": drawing.svg for name, drawing in figures.items()},
            **{f"figures/{name}.png": drawing.png for name, drawing in figures.items()},
        }

    name = f"{run_id}-shared" if facts.audience == "shared" else run_id
    files = write_page(workspace, study, name, tables, rendered, classes=facts.classes, mode=mode_for(facts.audience))
    return Report(
        run_id=run_id,
        audience=facts.audience,
        page=files[0],
        files=files,
        errors_shown=len(facts.errors),
        errors=errors,
        one_file=one_file,
        patients_known=facts.patients_known,
        checks=[(badge.shape, badge.text) for badge in badges(facts)],
        seeds=[row for row in facts.seeds if row["class_name"] is None],
    )


def _pictures(facts: ReportFacts, study: Study, folder: Path, *, one_file: bool) -> Pictures:
    """Return what pictures the page has; a page for others has crops alone, none larger than a thumbnail."""
    internal = facts.audience == "internal"
    return Pictures(
        margin=facts.record.study.get("model", {}).get("roi_margin", study.model.roi_margin),
        beside=None if one_file else folder,
        enlarged=folder if internal else None,
        mode=mode_for(facts.audience),
        whole=internal,
    )


def _details(
    workspace: Workspace, study: Study, facts: ReportFacts, key: PseudonymKey | None
) -> dict[str, CaseDetails]:
    """Return the details of the page's cases; a page for others has none."""
    if facts.audience == "shared":
        return {}
    return read_details(workspace, study, [case.case_id for case in facts.cases], key)


def _embedded(facts: ReportFacts, details: dict[str, CaseDetails], pictures: Pictures, progress: Progress) -> str:
    """Return the data of the page; its pictures become files where they stand beside it."""
    context = EmbeddedContext(
        classes=facts.classes,
        malignant=facts.malignant,
        parts=facts.parts,
        outcomes=OUTCOMES,
        costs=facts.report.costs,
        name=facts.run["run_id"],
        limited=facts.limited,
    )
    return document(context, facts.cases, thumbnails(facts.cases, pictures, progress=progress), details)


def mode_for(audience: Audience) -> int:
    """Return the mode of a report's files: what is for others may be read by them."""
    return OPEN if audience == "shared" else PRIVATE
