"""The charts of the progress page: labels by week, what is still to do, agreement by week, outcomes of queues."""

from collections.abc import Sequence
from datetime import date
from typing import Any, NamedTuple

from toolkit.formatting import clean, count, proportion, spoken
from toolkit.stages.report.figures import COLOURS, INK, Drawing, saved, styled

OUTCOMES = ("confirmed", "changed", "rejected", "unresolved", "cannot_tell", "untouched")
HATCHES = ("", "////", "....", "xxxx", "----", "++++", "oooo")
"""So that parts of a bar are told apart in grey, too."""
MOST_ANNOTATORS = 6
"""With a colour of their own; all others share one."""
MOST_QUEUES = 12
"""Queues in the chart, the newest ones."""
MOST_TICKS = 4
WIDTH, ROW, ABOVE, BELOW, CHARACTER = 5.8, 0.28, 0.1, 0.5, 0.075
"""Inches: the whole, a bar with its gap, above and below the axes, a label's character."""
LONGEST = 34
"""Characters of a label; the table has the whole name."""
DAYS = {"week": 7, "month": 28, "year": 365}
"""How long a period is at least."""


class Bars(NamedTuple):
    """One part of every bar: its label, and how much of each bar it is."""

    label: str
    lengths: list[int]


@styled()
def labels_chart(rows: list[dict[str, Any]], period: str) -> Drawing | None:
    """Return bars of the labels of each period, parted by annotator; None without a dated label."""
    dated = [row for row in rows if row["period"]]
    if not dated:
        return None
    periods = sorted({row["period"] for row in dated})
    labels = {(row["period"], row["annotator"]): row["labels"] for row in dated}
    shown, others = _most_active(dated)
    parts = [Bars(clean(name), [labels.get((each, name), 0) for each in periods]) for name in shown]
    if others:
        summed = [sum(labels.get((each, name), 0) for name in others) for each in periods]
        parts.append(Bars(f"{len(others)} others", summed))
    figure, axes = _figure(3.0, left=0.6, right=_beside(parts))
    bottom = [0] * len(periods)
    for number, part in enumerate(parts):
        axes.bar(_middles(periods, period), part.lengths, DAYS[period] * 0.8, bottom, label=part.label, **_fill(number))
        bottom = [sum(pair) for pair in zip(bottom, part.lengths, strict=True)]
    axes.set(ylabel="labels", xlabel=f"{period} of the label")
    _time_axis(axes, periods, period)
    _whole_numbers(axes.yaxis)
    _key(axes)
    return saved(figure)


def _most_active(rows: list[dict[str, Any]]) -> tuple[list[str], list[str]]:
    """Return the annotators that have a colour of their own, the one with most labels first, and all others."""
    totals: dict[str, int] = {}
    for row in rows:
        totals[row["annotator"]] = totals.get(row["annotator"], 0) + row["labels"]
    order = sorted(totals, key=lambda name: (-totals[name], name))
    return (order, []) if len(order) <= MOST_ANNOTATORS else (order[:MOST_ANNOTATORS], order[MOST_ANNOTATORS:])


@styled()
def left_chart(rows: list[dict[str, Any]]) -> Drawing | None:
    """Return a bar for each state and class of what is still to do; None where nothing is."""
    if not rows:
        return None
    names = [f"{row['state']}: {spoken(clean(row['reason'] or row['class_name'] or 'no class'))}" for row in rows]
    figure, axes = _rows(names, right=0.5)
    states = list(dict.fromkeys(row["state"] for row in rows))
    for place, row in enumerate(rows):
        axes.barh(place, row["cases"], 0.7, **_fill(states.index(row["state"])))
        axes.text(row["cases"], place, f" {count(row['cases'])}", va="center", fontsize=8)
    axes.set_xlabel("cases")
    return saved(figure)


@styled()
def agreement_chart(rows: list[dict[str, Any]], period: str) -> Drawing | None:
    """Return the agreement of each period with its interval; periods where it is undefined have no point."""
    known = [row for row in rows if row["period"] and row["pairs"]]
    if not known:
        return None
    periods = [row["period"] for row in known]
    figure, axes = _figure(3.0, left=0.72, right=0.4)
    for place, row in zip(_middles(periods, period), known, strict=True):
        axes.plot([place, place], [row["low"], row["high"]], color=COLOURS[0], linewidth=1.6, alpha=0.5)
        axes.plot(place, row["agreement"], "o", color=COLOURS[0], markersize=5)
        if len(known) <= 2 * MOST_TICKS:
            axes.text(place, 1.04, f"n = {count(row['pairs'])}", ha="center", fontsize=7)
    axes.set(ylabel="share of pairs that agree", xlabel=f"{period} of the second reading", ylim=(0, 1.12))
    axes.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1], [proportion(tick)[:3] for tick in (0, 0.2, 0.4, 0.6, 0.8, 1)])
    _time_axis(axes, [row["period"] for row in rows if row["period"]], period)
    return saved(figure)


@styled()
def queues_chart(rows: list[dict[str, Any]]) -> Drawing | None:
    """Return a bar for each of the newest queues, parted by what became of its cases; None without a queue."""
    shown = rows[-MOST_QUEUES:]
    if not shown:
        return None
    seen = [name for name in OUTCOMES if any(row[name] for row in shown)]
    parts = [
        Bars("not reviewed" if name == "untouched" else spoken(name), [row[name] for row in shown]) for name in seen
    ]
    figure, axes = _rows([f"{row['queue_id']}, {row['made_at']:%Y-%m-%d}" for row in shown], right=_beside(parts))
    left = [0] * len(shown)
    for name, part in zip(seen, parts, strict=True):
        fill = _fill(OUTCOMES.index(name)) if name != "untouched" else {"color": INK, "alpha": 0.35, "linewidth": 0}
        axes.barh(range(len(shown)), part.lengths, 0.7, left, label=part.label, **fill)
        left = [sum(pair) for pair in zip(left, part.lengths, strict=True)]
    axes.set_xlabel("cases")
    _key(axes)
    return saved(figure)


def _figure(height: float, *, left: float, right: float) -> tuple[Any, Any]:
    """Return a figure with one pair of axes, and so many inches on either side of them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height))
    place = (left / WIDTH, BELOW / height, 1 - (left + right) / WIDTH, 1 - (ABOVE + BELOW) / height)
    axes = figure.add_axes(place)
    axes.grid(visible=True)
    axes.set_axisbelow(True)
    return figure, axes


def _rows(names: Sequence[str], *, right: float) -> tuple[Any, Any]:
    """Return axes for horizontal bars from the top down, one for each name."""
    names = [name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}\N{HORIZONTAL ELLIPSIS}" for name in names]
    left = 0.2 + CHARACTER * max(map(len, names))
    figure, axes = _figure(ABOVE + BELOW + ROW * max(len(names), 3), left=left, right=right)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    _whole_numbers(axes.xaxis)
    return figure, axes


def _beside(parts: list[Bars]) -> float:
    return 0.6 + CHARACTER * max(len(part.label) for part in parts)


def _fill(number: int) -> dict[str, Any]:
    look = {"color": COLOURS[number % len(COLOURS)], "hatch": HATCHES[number % len(HATCHES)]}
    return {**look, "edgecolor": "white", "linewidth": 0.4}


def _middles(periods: list[date], period: str) -> list[float]:
    return [each.toordinal() + DAYS[period] / 2 for each in periods]


def _time_axis(axes: Any, periods: list[date], period: str) -> None:
    """Write the first day, month or year of some periods below their middle, and give all of them room."""
    form = {"week": "%Y-%m-%d", "month": "%Y-%m", "year": "%Y"}[period]
    step = -(-len(periods) // MOST_TICKS)
    shown = periods[::step]
    axes.set_xticks(_middles(shown, period), [each.strftime(form) for each in shown])
    axes.set_xlim(periods[0].toordinal() - 1, periods[-1].toordinal() + DAYS[period] + 1)
    axes.grid(visible=False, axis="x")


def _whole_numbers(axis: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins=5, integer=True))


def _key(axes: Any) -> None:
    axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1.02), frameon=False, fontsize=8, handlelength=1.2)
