"""How a scored run becomes a page that a person reads, with its tables, figures and photographs beside it.

Refuses to compute a metric: what is shown is what the registry holds, and the same registry gives the same bytes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.manifest import Study
from toolkit.manifest.evaluation import Costs
from toolkit.progress import Progress, silent
from toolkit.stages.report import embedded_data, guidelines, tables
from toolkit.stages.report.bundle import renewed, write_all
from toolkit.stages.report.dictionary import with_dictionary
from toolkit.stages.report.facts import Audience, ReportFacts, gather
from toolkit.stages.report.figures import draw
from toolkit.stages.report.index_page import write_index
from toolkit.stages.report.page import render
from toolkit.stages.report.sharing import shared
from toolkit.stages.report.thumbnails import Thumbnails, thumbnails
from toolkit.stages.report.verdicts import badges
from toolkit.workspace.registry import Workspace
from toolkit.workspace.runs import find_run

OUTCOMES = [("wrong", "errors"), ("right", "right predictions")]


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
    facts = shared(whole) if audience == "shared" else whole
    progress("drawing curves", 0, None)
    figures = draw(facts)
    folder = workspace.reports / (f"{run_id}-shared" if audience == "shared" else run_id)
    inlined = len(facts.errors) <= facts.report.gallery
    with renewed(folder) as new:
        margin = facts.record.study.get("model", {}).get("roi_margin", study.model.roi_margin)
        made = thumbnails(facts.cases, margin=margin, crops_only=audience == "shared", progress=progress)
        taken = [shot if inlined else put_beside(new, shot) for shot in made]
        text = _island(facts, study.report.costs, taken, inlined=inlined) if facts.cases else None
        asked_for = guidelines.filled(workspace, study, facts)
        tables_beside = {**tables.files(facts), "guidelines.csv": guidelines.table(asked_for)}
        drawings = {name: drawn.svg for name, drawn in figures.items()}
        contents = {
            "index.html": render(facts, study, drawings, text, asked_for, inlined=inlined),
            "guidelines.md": guidelines.markdown(asked_for, run_id).encode(),
            **with_dictionary(tables_beside, facts.classes),
            **{f"figures/{name}.svg": drawn.svg for name, drawn in figures.items()},
            **{f"figures/{name}.png": drawn.png for name, drawn in figures.items()},
        }
        write_all(new, contents)
    write_index(workspace, study)
    return Report(
        run_id=run_id,
        audience=audience,
        page=str(folder / "index.html"),
        files=[str(folder / name) for name in contents],
        errors_shown=len(facts.errors),
        errors=len(whole.errors),
        one_file=inlined,
        patients_known=facts.patients_known,
        checks=[(badge.shape, badge.text) for badge in badges(facts)],
    )


def put_beside(folder: Path, shot: Thumbnails) -> Thumbnails:
    """Write a case's thumbnails beside the page, and forget their bytes."""
    for picture, whole in ((shot.photograph, True), (shot.crop, False)):
        if picture is not None:
            path = folder / embedded_data.file_name(shot.case_id, whole=whole)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture)  # the folder takes its place as a whole; syncing each would cost minutes
    return shot._replace(photograph=shot.photograph and b"", crop=shot.crop and b"")


def _island(facts: ReportFacts, costs: Costs, taken: list[Thumbnails], *, inlined: bool) -> str:
    shown = embedded_data.EmbeddedContext(
        classes=facts.classes,
        malignant=facts.malignant,
        parts=facts.parts,
        outcomes=OUTCOMES,
        costs=costs,
        inline=inlined,
        name=facts.run["run_id"],
    )
    cases: list[dict[str, Any]] = [
        {**case, "outcome": "right" if case["truth"] == case["predicted"] else "wrong"} for case in facts.cases
    ]
    return embedded_data.document(shown, cases, taken)
