"""The reader study as tables: readers without and with the model, and for whom the difference holds."""

from rich.console import Group, RenderableType

from toolkit.console.text import line, next_step, summary, table
from toolkit.formatting import (
    FEW_PATIENTS,
    FEW_PATIENTS_LEGEND,
    chance,
    counted,
    in_units,
    interval,
    metric_name,
    proportion,
    short_metric_name,
    signed,
    spoken,
    support,
)
from toolkit.stages.readers import ReaderStudy

HOLDS_FOR = {
    "readers and cases": "readers and cases like these",
    "cases": "these readers, cases like these",
    "readers": "readers like these, these cases",
}
FEW_READERS = 5


def reader_study(result: ReaderStudy) -> RenderableType:
    """Return the means of all readers, the differences by inference, and each reader's own."""
    sure = f"{100 * result.confidence:g}%"
    means = table("metric", ">unaided", ">interval", ">aided", ">interval", "rests on")
    gains = table("aided minus unaided", "holds for", ">difference", f">{sure} interval", ">F", ">df", ">p")
    own = table("reader", "metric", ">unaided", ">aided", ">difference", f">{sure} interval", ">p")
    for metric in dict.fromkeys(row["metric"] for row in result.rows):
        rows = [row for row in result.rows if row["metric"] == metric]
        of = {(row["inference"], row["reader"], row["reading"]): row for row in rows}
        unaided, aided = (of["readers and cases", None, reading] for reading in ("unaided", "aided"))
        sign = FEW_PATIENTS if unaided["too_few"] else ""
        cells = [cell for row in (unaided, aided) for cell in (proportion(row["value"]), _interval(row))]
        means.add_row(metric_name(metric), *cells, support(unaided["cases"], unaided["patients"]) + sign)
        for inference, words in HOLDS_FOR.items():
            row = of[inference, None, "difference"]
            df = "" if row["df"] != row["df"] else ("\N{INFINITY}" if row["df"] == float("inf") else f"{row['df']:.1f}")
            test = (proportion(row["f"]), df, chance(row["p"]))
            gains.add_row(short_metric_name(metric), words, signed(row["value"]), _interval(row), *test)
        for reader in dict.fromkeys(row["reader"] for row in rows if row["reader"]):
            first, second, gain = (of["one reader", reader, name] for name in ("unaided", "aided", "difference"))
            values = (proportion(first["value"]), proportion(second["value"]), signed(gain["value"]))
            own.add_row(line(reader), short_metric_name(metric), *values, _interval(gain), chance(gain["p"]))
    return Group(means, gains, own, summary("readers", *_lines(result)), next_step("toolkit query readers"))


def _interval(row: dict) -> str:
    return interval(row["low"], row["high"], missing="none")


def _lines(result: ReaderStudy) -> list[str]:
    read = support(result.cases, result.patients)
    lines = [
        f"{counted(result.readers, 'reader')}, {read}: unaided in {result.unaided}, aided in {result.aided}",
        f"to be detected: {', '.join(map(spoken, result.positive))}",
        "reference diagnosis: by the study's policy, without the reader's own readings and without aided ones",
    ]
    if result.readers < FEW_READERS:
        lines.append(f"! {counted(result.readers, 'reader')}: what holds for other readers is hardly known")
    if any(row["too_few"] for row in result.rows):
        lines.append(f"! {in_units(FEW_PATIENTS_LEGEND)}")
    if result.in_training:
        lines.append(
            f"! {counted(result.in_training, 'case')} in the training set of a run: there the model knew the class"
        )
    if result.in_reference:
        lines.append(
            f"! {counted(result.in_reference, 'aided reading')} count for the study's own reference diagnoses, so that "
            "scores of the model are held against readers who saw its answers"
        )
    for row in result.left_out:
        reader = f"{row['reader']}: " if row["reader"] else ""
        lines.append(f"left out: {reader}{counted(row['cases'], 'case')}, {row['reason']}")
    return lines
