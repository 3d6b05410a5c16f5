"""The figure of an adaptation: each class's recall before and after training that started from another run."""

from typing import Any

import numpy as np

from toolkit.formatting import spoken
from toolkit.stages.report.figures import COLOURS, INK, POINTS, Drawing, saved, styled


def adaptation_figure(rows: list[dict[str, Any]]) -> dict[str, Drawing]:
    """Return a line per class from its recall before to that after; a new class has the one after alone."""
    from matplotlib.figure import Figure

    if not rows:
        return {}
    left, height = 0.3 + 0.075 * max(len(spoken(row["class_name"])) for row in rows), 0.6 + 0.27 * len(rows)
    width = left + 3.6
    with styled():
        drawn = Figure(figsize=(width, height))
        axes = drawn.add_axes((left / width, 0.5 / height, 3.3 / width, (height - 0.6) / height))
        places = np.arange(len(rows))[::-1]
        before = np.array([np.nan if row["is_new"] else row["recall_before"] for row in rows], dtype=float)
        after = np.array([row["recall_on_all"] if row["is_new"] else row["recall_after"] for row in rows], dtype=float)
        axes.hlines(places, before, after, color=INK, linewidth=1.2)
        axes.plot(before, places, "o", color=INK, markersize=5, label="recall before")
        axes.plot(after, places, "s", color=COLOURS[1], markersize=5, label="recall after")
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.6, len(rows) - 0.4), xlabel="recall")
        axes.set_yticks(places, [spoken(row["class_name"]) for row in rows])
        axes.grid(visible=True, axis="x")
        axes.legend(fontsize=8, frameon=False, loc="lower left")
        lines = [
            {"label": label, "points": _points(axes, values, places, height)}
            for label, values in (("recall before", before), ("recall after", after))
        ]
        return {"adaptation": saved(drawn, {"across": "recall", "up": "class", "lines": lines})}


def _points(axes: Any, values: np.ndarray, places: np.ndarray, height: float) -> list[list[float]]:
    known = ~np.isnan(values)
    at = axes.transData.transform(np.c_[values, places][known]) * POINTS / axes.figure.dpi
    shown = values[known].round(3)
    return np.c_[at[:, 0].round(1), (height * POINTS - at[:, 1]).round(1), shown, places[known]].tolist()
