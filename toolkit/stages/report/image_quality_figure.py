"""The figure of the section on image quality: macro recall by level, a panel for each kind of degradation."""

from typing import Any

import numpy as np

from toolkit.photographs.degradation import KINDS
from toolkit.stages.report.figures import COLOURS, INK, POINTS, Drawing, saved, styled
from toolkit.stages.report.image_quality import ImageQuality, by_kind

ACROSS, PANEL, DOWN, GAP = 4, 1.75, 1.55, 0.62
"""Panels beside each other, and inches: a panel's width and height, and the room between panels."""


def figure(quality: ImageQuality) -> dict[str, Drawing]:
    """Return a panel for each kind: macro recall by level, with the interval of its difference from the run's."""
    from matplotlib.figure import Figure

    kinds = by_kind(quality)
    if not kinds:
        return {}
    columns, lines = min(ACROSS, len(kinds)), -(-len(kinds) // ACROSS)
    width, height = columns * (PANEL + GAP) + 0.1, lines * (DOWN + GAP)
    with styled():
        drawn = Figure(figsize=(width, height))
        read = []
        for number, (kind, rows) in enumerate(kinds.items()):
            left = GAP + number % columns * (PANEL + GAP) - 0.05
            bottom = height - (number // columns + 1) * (DOWN + GAP) + 0.42
            axes = drawn.add_axes((left / width, bottom / height, (PANEL - 0.1) / width, (DOWN - 0.1) / height))
            read.append({"label": kind, "points": _panel(axes, kind, rows, height)})
        return {"image_quality": saved(drawn, {"across": "level", "up": "macro recall", "lines": read})}


def _panel(axes: Any, kind: str, rows: list[dict[str, Any]], height: float) -> list[list[float]]:
    """Draw one kind; return its points as a page reads them out."""
    levels = np.array([row["level"] for row in rows])
    value, degraded = rows[0]["value"], np.array([row["degraded"] for row in rows])
    ends = np.array([[row["value"] + row[side] for row in rows] for side in ("low", "high")])
    x, y = np.append(levels, 0.0), np.append(degraded, value)
    order = np.argsort(x, kind="stable")
    axes.axhline(value, color=INK, linewidth=0.9, linestyle=(0, (4, 2)))
    axes.plot(x[order], y[order], color=COLOURS[0], linewidth=1.4, marker="o", markersize=3.5)
    axes.vlines(levels, *ends, color=COLOURS[0], linewidth=1.4, alpha=0.55)
    axes.set(ylim=(0, 1), xlabel=KINDS[kind].unit)
    axes.set_title(kind, fontsize=9, loc="left")
    axes.grid(visible=True)
    places = axes.transData.transform(np.c_[x, y][order]) * POINTS / axes.figure.dpi
    return np.c_[places[:, 0].round(1), (height * POINTS - places[:, 1]).round(1), x[order], y[order].round(3)].tolist()
