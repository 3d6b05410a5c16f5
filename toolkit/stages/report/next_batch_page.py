"""The page of the next batch: which unlabelled photographs to label, and how sure the run is of all of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.formatting import counted_by
from toolkit.manifest import Study
from toolkit.progress import Progress, silent
from toolkit.stages.report import layout
from toolkit.stages.report.bundle import write_page
from toolkit.stages.report.figures import COLOURS, INK, Drawing, inline, saved, styled
from toolkit.stages.report.table_queries import question
from toolkit.stages.report.tables import csv_of
from toolkit.workspace.locks import one_at_a_time
from toolkit.workspace.registry import Workspace

NAME = "next-batch"
COLUMNS = (
    *("rank", "case_id", "image_id", "patient_id", "predicted", "confidence", "uncertainty", "patient_in_training"),
)


@dataclass(frozen=True)
class NextBatchPage:
    """Where the page of the next batch and its files stand."""

    page: str
    files: list[str]


@one_at_a_time("next-batch")
def next_batch_page(
    workspace: Workspace, study: Study, batch: dict[str, Any], *, progress: Progress = silent
) -> NextBatchPage:
    """Write the page of what `--json` shows of `next-batch`, its CSV file and its figure."""
    progress("writing the page", 0, None)
    known = workspace.rows("select patient_from from label_states")[0]["patient_from"] != "none"
    with counted_by(patients_known=known):
        drawn = figure(batch)
        page = layout.render(
            "next_batch.html.j2",
            study=study.study,
            batch=batch,
            query=question("unlabelled", run=batch["run_id"]),
            drawing=inline(drawn.svg, prefix=NAME, title="How unsure the run is of unlabelled photographs"),
        )
        files = write_page(
            workspace,
            study,
            NAME,
            {"next_batch.csv": csv_of(COLUMNS, batch["rows"])},
            lambda _: {"index.html": page, "uncertainty.svg": drawn.svg, "uncertainty.png": drawn.png},
            classes=study.class_names,
        )
    return NextBatchPage(files[0], files)


def figure(batch: dict[str, Any]) -> Drawing:
    """Return a histogram of the uncertainty of all unlabelled cases, and of those of the batch."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    edges = np.linspace(0, 1, 21).tolist()
    with styled():
        drawn = Figure(figsize=(5.2, 2.6))
        axes = drawn.add_axes((0.11, 0.2, 0.85, 0.76))
        axes.hist(batch["all_uncertainties"], bins=edges, color=INK, alpha=0.35, label="all without a label")
        chosen = [row["uncertainty"] for row in batch["rows"]]
        axes.hist(chosen, bins=edges, histtype="step", color=COLOURS[1], linewidth=1.6, label="of the batch")
        axes.set(xlabel="uncertainty (entropy; 1: all classes alike)", ylabel="cases", xlim=(0, 1))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
        axes.legend(fontsize=8, frameon=False)
        return saved(drawn)
