"""The figures of a report as SVG and PNG: curves, calibration, training, confusion matrices.

Axes and text are drawn in INK, which the page replaces with its own text colour; the same numbers give the same bytes.
"""

import io
import re
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple
from xml.etree import ElementTree as ET

import numpy as np

from toolkit.formatting import SUPPRESSED, count, proportion, spoken
from toolkit.shipped import shipped
from toolkit.stages.report.evaluation import TREAT_ALL, TREAT_NONE, curves
from toolkit.stages.report.facts import CountCell, ReportFacts
from toolkit.stats import metrics
from toolkit.stats.metrics import Curve
from toolkit.workspace.class_arrays import ClassArrays
from toolkit.workspace.sources import is_undefined

INK = "#6f6f6f"
"""Readable on white and on black."""
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", INK)
"""Okabe and Ito 2008, without their yellow, which is lost on white."""
DASHES: tuple[Any, ...] = ("solid", (0, (5, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (1.2, 1.2)))
DPI = 200
WATCHED = {"macro_recall": "macro recall", "macro_roc_auc": "macro ROC AUC", "accuracy": "accuracy"}
"""Metrics drawn by epoch, and their labels."""
FONT = "DejaVu Sans"
"""Comes with matplotlib."""
OTHER_SCRIPTS = (
    "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans CJK KR", "Hiragino Sans", "Yu Gothic", "Microsoft YaHei",
    "Malgun Gothic", "Noto Sans Arabic", "Noto Sans Devanagari", "Noto Sans Thai", "Noto Sans Hebrew",
)  # fmt: skip
"""Fonts for class names that FONT lacks letters of, where they are installed."""
MOST_LETTERS = 40
"""Characters of a label in a figure."""
LABEL_GAP = 0.062
"""Height of a curve's label, as a share of the axes."""
LEFT, AXES, HEIGHT, KEY, CHARACTER = 0.72, 3.2, 3.4, 0.45, 0.074
"""Inches: beside the axes, the axes, the whole, the key before a label, a label's character."""
POINTS, MOST_READ = 72, 60
"""An inch in the units of an SVG; points of a line that a page reads out."""
LEAST_BELOW = 0.25
"""How far a decision curve's axis goes below 0 at least, as a share of how far it goes above."""


class PlotLine(NamedTuple):
    """A curve with its label."""

    curve: Curve
    label: str
    style: int


class Plot(NamedTuple):
    """Lines on one pair of axes; the y axis goes from `bottom` to `top`, and what is below it is cut off."""

    across: str
    up: str
    lines: list[PlotLine]
    top: float
    bottom: float = 0
    step: bool = False


class Drawing(NamedTuple):
    """A figure as two files; `readout` has its axes and its lines' points, by which a page reads out values.

    Each point is its place in the SVG, from the left and from the top, and its two values.
    """

    svg: bytes
    png: bytes
    readout: dict[str, Any]


def draw(facts: ReportFacts) -> dict[str, Drawing]:
    """Return the figures of a report by name, each as standalone files."""
    ranks = not is_undefined(facts.record.source, "roc_auc", None)
    roc = _by_class(facts.ranked, facts.classes, metrics.roc_curve, "roc") if ranks else []
    pr = _by_class(facts.ranked, facts.classes, pr_steps, "pr") if ranks else []
    plots = {
        "roc": Plot("1 \N{MINUS SIGN} specificity", "recall (sensitivity)", roc, 1),
        "pr": Plot("recall (sensitivity)", "precision", pr, 1, step=True),
        "reliability": _reliability(facts),
        "decision": _decision(facts),
        "losses": _losses(facts),
        "watched": Plot("epoch", "on the validation set", _series(facts, WATCHED), 1),
    }
    heat = {f"confusions_{part}": _confusions(facts, part) for part in facts.parts}
    return {name: _drawn(plot) for name, plot in plots.items() if plot.lines} | heat


def _by_class(
    ranked: ClassArrays,
    classes: list[str],
    curve: Callable[[np.ndarray, np.ndarray], Curve],
    area: Literal["roc", "pr"],
) -> list[PlotLine]:
    """Return a line per class, largest area first; a class without cases has none."""
    lines = []
    for number, name in enumerate(classes):
        positive, score = ranked.truth == number, ranked.probabilities[:, number]
        if positive.any() and not positive.all():
            value = float(getattr(metrics.areas(metrics.rank(positive, score)), area)[0])
            lines.append((value, PlotLine(curve(positive, score), f"{spoken(name)} {proportion(value)}", number)))
    return [line for _, line in sorted(lines, key=lambda pair: (-pair[0], pair[1].style))]


def pr_steps(positive: np.ndarray, score: np.ndarray) -> Curve:
    """Return the PR curve where recall rises, from recall 0: the steps whose area is average precision."""
    recall, precision = metrics.pr_curve(positive, score)
    rises = np.diff(recall, prepend=0) > 0
    return Curve(np.r_[0, recall[rises]], np.r_[precision[rises][:1], precision[rises]])


def _reliability(facts: ReportFacts) -> Plot:
    return Plot("mean predicted probability", "observed frequency", _of_evaluation(facts, "reliability"), 1)


def _decision(facts: ReportFacts) -> Plot:
    """Return the decision curves: as far below 0 as a model's net benefit goes, at most as far as above."""
    lines = _of_evaluation(facts, "decision")
    top = max((line.curve.y.max() for line in lines), default=1.0) * 1.1 or 1.0
    models = [line.curve.y.min() for line in lines if not line.label.endswith((TREAT_ALL, TREAT_NONE))]
    bottom = -min(max(LEAST_BELOW * top, -1.1 * min(models, default=0)), top)
    return Plot("threshold probability", "net benefit", lines, top, bottom)


def _of_evaluation(facts: ReportFacts, name: str) -> list[PlotLine]:
    lines = [PlotLine(curve, label, style) for style, (curve, label) in enumerate(curves(facts.evaluation)[name])]
    return sorted(lines, key=lambda line: -line.curve.y[-1])


def _losses(facts: ReportFacts) -> Plot:
    lines = _series(facts, {"train_loss": "training set", "validation_loss": "validation set"})
    top = max((line.curve.y.max() for line in lines), default=1.0)
    return Plot("epoch", "loss", lines, top * 1.05)


def _series(facts: ReportFacts, names: dict[str, str]) -> list[PlotLine]:
    lines = []
    for style, (metric, label) in enumerate(names.items()):
        if points := facts.epochs.get(metric):
            epoch, value = (np.array(side, dtype=float) for side in zip(*points, strict=True))
            lines.append(PlotLine(Curve(epoch, value), f"{label} {proportion(value[-1])}", style))
    return lines


def _shortened(label: str) -> str:
    """Return a label that fits beside the axes: of a long one the beginning, and the number at its end."""
    if len(label) <= MOST_LETTERS:
        return label
    name, _, number = label.rpartition(" ")
    ending = f" {number}" if re.fullmatch(r"[01]\.\d+", number) else ""
    return f"{(name if ending else label)[: MOST_LETTERS - len(ending) - 1]}\N{HORIZONTAL ELLIPSIS}{ending}"


def spread(wanted: list[float], *, gap: float) -> list[float]:
    """Return positions near the wanted ones, in their order from the top down, at least `gap` apart within 0 to 1."""
    placed: list[float] = []
    for position in wanted:
        placed.append(min(position, placed[-1] - gap) if placed else position)
    if placed and placed[-1] < 0:
        floor = 0.0
        for number in reversed(range(len(placed))):
            placed[number] = max(placed[number], floor)
            floor = placed[number] + gap
    return placed


def _drawn(plot: Plot) -> Drawing:
    from matplotlib.figure import Figure

    width = LEFT + AXES + KEY + CHARACTER * max(24, *(len(_shortened(line.label)) for line in plot.lines))
    with styled():
        figure = Figure(figsize=(width, HEIGHT))
        axes = figure.add_axes((LEFT / width, 0.15, AXES / width, 0.81))
        _plot(axes, plot)
        return saved(figure, _readout(figure, axes, plot))


def _readout(figure: Any, axes: Any, plot: Plot) -> dict[str, Any]:
    """Return a plot's points as an SVG has them, of each line at most MOST_READ, those within the axes."""
    to_points = POINTS / figure.dpi
    lines = []
    for line in plot.lines:
        x, y = (np.asarray(side, dtype=float) for side in line.curve)
        visible = np.flatnonzero((y >= plot.bottom) & (y <= plot.top))
        chosen = (
            visible[np.unique(np.linspace(0, len(visible) - 1, MOST_READ).round().astype(int))]
            if len(visible)
            else visible
        )
        places = axes.transData.transform(np.c_[x[chosen], y[chosen]]) * to_points
        down = HEIGHT * POINTS - places[:, 1]
        points = np.c_[places[:, 0].round(1), down.round(1), x[chosen].round(3), y[chosen].round(3)]
        lines.append({"label": line.label, "points": points.tolist()})
    return {"across": plot.across, "up": plot.up, "lines": lines}


@contextmanager
def styled() -> Generator[None]:
    """Draw in the style of all figures; names in scripts that no installed font has are drawn as boxes in the PNG."""
    import matplotlib as mpl
    from matplotlib import font_manager

    installed = set(font_manager.get_font_names())
    fonts = [FONT, *(name for name in OTHER_SCRIPTS if name in installed)]
    style = shipped("reports/template") / "figures.mplstyle"
    with mpl.rc_context({"font.family": fonts}, fname=style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield


def saved(figure: Any, readout: dict[str, Any] | None = None) -> Drawing:
    """Return a figure's files, without the time and the program they were made by."""
    svg, png = io.BytesIO(), io.BytesIO()
    figure.savefig(svg, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    figure.savefig(png, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    return Drawing(svg.getvalue(), png.getvalue(), readout or {})


def _confusions(facts: ReportFacts, part: str) -> Drawing:
    """Return the confusion matrix of a part, shaded by the share of the row, as it is printed in a paper."""
    from matplotlib.figure import Figure

    names = [_shortened(spoken(name)) for name in facts.classes]
    cells = [[facts.matrices[part].get((t, p), CountCell(0, 0)) for p in facts.classes] for t in facts.classes]
    counts = np.array([[cell.cases or 0 for cell in row] for row in cells], dtype=float)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    left, side = 0.3 + 0.075 * max(map(len, names)), 0.42 * len(names)
    width, height = left + side + 0.2, left + side + 0.2
    with styled():
        figure = Figure(figsize=(width, height))
        axes = figure.add_axes((left / width, left / height, side / width, side / height))
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axes.set_xticks(range(len(names)), names, rotation=90)
        axes.set_yticks(range(len(names)), names)
        starred = any(cell.cases is None for row in cells for cell in row)
        axes.set(xlabel=f"predicted{f' ({SUPPRESSED} suppressed)' if starred else ''}", ylabel="reference diagnosis")
        for down, row in enumerate(cells):
            for across, cell in enumerate(row):
                ink = "white" if shares[down, across] > 0.55 else "black"
                number = SUPPRESSED if cell.cases is None else count(cell.cases)
                axes.text(across, down, number, ha="center", va="center", color=ink, fontsize=8)
        return saved(figure)


def _plot(axes: Any, plot: Plot) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set(xlabel=plot.across, ylabel=plot.up, ylim=(plot.bottom, plot.top))
    axes.grid(visible=True)
    if plot.across == "epoch":
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    else:
        axes.set_xlim(0, 1)
    for line in plot.lines:
        style = "steps-pre" if plot.step else "default"
        axes.plot(*line.curve, linewidth=1.6, drawstyle=style, clip_on=plot.bottom < 0, **_look(line))
    _label(axes, plot)


def _look(line: PlotLine) -> dict[str, Any]:
    return {"color": COLOURS[line.style % len(COLOURS)], "linestyle": DASHES[line.style % len(DASHES)]}


def _label(axes: Any, plot: Plot) -> None:
    """Write the labels beside the axes, in the order in which the curves end, each after a key of its curve's look.

    Nothing joins a key to its curve: such a line would look like more of the curve.
    """
    height = plot.top - plot.bottom
    ends = [min(max((line.curve.y[-1] - plot.bottom) / height, 0), 1) for line in plot.lines]
    order = sorted(range(len(ends)), key=lambda number: -round(ends[number], 9))
    for number, place in zip(order, spread([ends[n] for n in order], gap=LABEL_GAP), strict=True):
        line = plot.lines[number]
        axes.plot([1.05, 1.12], [place, place], transform=axes.transAxes, linewidth=1.6, clip_on=False, **_look(line))
        axes.text(1.135, place, _shortened(line.label), transform=axes.transAxes, va="center", fontsize=8)


def inline(svg: bytes, *, prefix: str, title: str) -> str:
    """Return an SVG as it may stand inside a page: own ids, no style attributes, the page's text colour.

    The page's content security policy forbids style attributes; SVG has an attribute for each of them.
    """
    root = ET.fromstring(svg)  # noqa: S314 - our own bytes
    for parent in list(root.iter()):
        for child in [c for c in parent if c.tag.endswith(("}metadata", "}style"))]:
            parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        attributes = {name.rpartition("}")[2]: value for name, value in element.attrib.items()}
        attributes |= _presentation(attributes.pop("style", ""))
        element.attrib.clear()
        element.attrib.update({name: _own(name, value, prefix) for name, value in attributes.items()})
    size = root.attrib["viewBox"]
    root.attrib.clear()
    root.attrib.update({"viewBox": size, "role": "img", "aria-label": title, "class": "figure"})
    return ET.tostring(root, encoding="unicode")


def _presentation(style: str) -> dict[str, str]:
    pairs = (item.partition(":") for item in style.split(";") if item.strip())
    attributes = {name.strip(): value.strip() for name, _, value in pairs}
    attributes.pop("font-family", None)
    if short := re.search(r"([\d.]+px)", attributes.pop("font", "")):
        attributes["font-size"] = short[1]
    return attributes


def _own(name: str, value: str, prefix: str) -> str:
    """Return an attribute's value with ids made the figure's own and ink made the page's."""
    if name == "id":
        return f"{prefix}-{value}"
    if name == "href":
        return value.replace("#", f"#{prefix}-")
    if name in ("fill", "stroke") and value == INK:
        return "currentColor"
    return value.replace("url(#", f"url(#{prefix}-")
