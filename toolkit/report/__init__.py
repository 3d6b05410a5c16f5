"""Knows how a scored run becomes a page that a person reads, and the CSV files beside it.

Refuses to compute a metric: what is shown is what the registry holds, and the same registry gives the same bytes.
"""

from dataclasses import dataclass

from toolkit.files import write_atomically
from toolkit.manifest import Study
from toolkit.progress import Progress, silent
from toolkit.registry import Workspace
from toolkit.report import evaluated, tables
from toolkit.report.facts import gather
from toolkit.report.figures import draw
from toolkit.report.gallery import cards
from toolkit.report.page import render
from toolkit.runs import find_run


@dataclass(frozen=True)
class Report:
    """Where the page and its files stand, and how many of the misclassified cases it shows."""

    run_id: str
    page: str
    files: list[str]
    errors_shown: int
    errors: int
    patients_known: bool


def report(workspace: Workspace, study: Study, *, run: str = "latest", progress: Progress = silent) -> Report:
    """Write the page of a run and its CSV files; raises WorkspaceError where the run was not scored."""
    run_id = find_run(workspace, run)
    progress("reading the registry", 0, None)
    facts = gather(workspace, study, run_id)
    progress("drawing curves", 0, None)
    figures = draw(facts)
    margin = facts.record.get("study", {}).get("model", {}).get("roi_margin", study.model.roi_margin)
    shown = cards(facts, margin=margin, progress=progress)
    folder = workspace.reports / run_id
    contents = {
        "index.html": render(facts, study, figures, shown),
        "per_class.csv": tables.per_class(facts).encode(),
        "summary.csv": tables.summary(facts).encode(),
        "misclassified.csv": tables.misclassified(facts).encode(),
        **{name: text.encode() for name, text in evaluated.files(facts.evaluation).items()},
        **{f"figures/{name}.svg": svg for name, svg in figures.items()},
    }
    for name, content in contents.items():
        write_atomically(folder / name, content)
    return Report(
        run_id=run_id,
        page=str(folder / "index.html"),
        files=[str(folder / name) for name in contents],
        errors_shown=len(shown),
        errors=len(facts.errors),
        patients_known=facts.patients_known,
    )
