"""The page of a learning curve: how macro recall grows with training patients, and what more of them would give."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.formatting import CURVES, counted_by
from toolkit.manifest import Study
from toolkit.progress import Progress, silent
from toolkit.stages.report import layout
from toolkit.stages.report.bundle import write_page
from toolkit.stages.report.figures import COLOURS, INK, Drawing, inline, saved, styled
from toolkit.stages.report.tables import csv_of
from toolkit.stats.learning_curve import CurveFit
from toolkit.workspace.locks import one_at_a_time
from toolkit.workspace.registry import Workspace

NAME = "learning-curve"
"""Begins the name of the page's folder; the model follows."""
COLUMNS = ("kind", "patients", "cases", "value", "low", "high", "lowest", "highest")


@dataclass(frozen=True)
class LearningCurvePage:
    """Where the page of a learning curve and its files stand."""

    page: str
    files: list[str]


@one_at_a_time("learning-curve")
def learning_curve_page(
    workspace: Workspace, study: Study, curve: dict[str, Any], *, progress: Progress = silent
) -> LearningCurvePage:
    """Write the page of what `--json` shows of `learning-curve`, its CSV file and its figure."""
    progress("writing the page", 0, None)
    nothing = dict.fromkeys(COLUMNS)
    rows = [{**nothing, "kind": "measured", **row} for row in curve["points"]]
    rows += [{**nothing, "kind": "expected", **row} for row in curve["expected"]]
    known = workspace.rows("select patient_from from label_states")[0]["patient_from"] != "none"
    with counted_by(patients_known=known):
        drawn = figure(curve)
        page = layout.render(
            "learning_curve.html.j2",
            study=study.study,
            curve=curve,
            curves=CURVES,
            present=curve["points"][-1],
            drawing=inline(drawn.svg, prefix=NAME, title="Macro recall by number of training patients"),
        )
        files = write_page(
            workspace,
            study,
            f"{NAME}-{curve['run_id'] or curve['model']}",
            {"learning_curve.csv": csv_of(COLUMNS, rows)},
            lambda _: {"index.html": page, "learning_curve.svg": drawn.svg, "learning_curve.png": drawn.png},
            classes=study.class_names,
        )
    return LearningCurvePage(files[0], files)


def figure(curve: dict[str, Any]) -> Drawing:
    """Return the measured points with their intervals, the fitted curve, and the expected points with theirs."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    points, expected = curve["points"], curve["expected"]
    fit = CurveFit(*(np.array([curve[name]]) for name in ("floor", "scale", "power")))
    most = max([*(row["patients"] for row in expected), points[-1]["patients"]])
    across = np.linspace(points[0]["patients"], most, 120)
    with styled():
        drawn = Figure(figsize=(5.6, 3.3))
        axes = drawn.add_axes((0.12, 0.16, 0.84, 0.8))
        axes.plot(across, [fit.score(n)[0] for n in across], color=INK, linewidth=1.1, linestyle=(0, (4, 2)))
        for rows, colour, marker in ((points, COLOURS[0], "o"), (expected, COLOURS[1], "s")):
            places = [row["patients"] for row in rows]
            lows, highs = [row["low"] for row in rows], [row["high"] for row in rows]
            axes.vlines(places, lows, highs, color=colour, linewidth=1.6)
            axes.plot(places, [row["value"] for row in rows], marker, color=colour, markersize=4.5)
        axes.axvline(points[-1]["patients"], color=INK, linewidth=0.6)
        least = min(row["low"] for row in (*points, *expected))
        axes.set(ylim=(max(0.0, np.floor(10 * least - 0.5) / 10), 1), xlim=(0, most * 1.04))
        axes.set(xlabel="training patients", ylabel="macro recall")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))
        axes.grid(visible=True)
        return saved(drawn)
