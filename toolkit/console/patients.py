"""Results about patients' own data in a terminal: what was attached, and what was translated."""

from rich.console import Group, RenderableType

from toolkit.console.text import line, summary, table
from toolkit.formatting import count, counted
from toolkit.stages.attach import Attached
from toolkit.stages.translate import Translated


def attached(result: Attached) -> RenderableType:
    """Return what of a file came in, and what of it matched."""
    columns = ", ".join(f"{name} ({kind})" for name, kind in result.columns.items())
    replaced = ", in the place of the earlier one" if result.is_replaced else ""
    lines = [f"{result.name}: {counted(result.rows, 'row')}{replaced}; {columns}"]
    lines.append(
        f"{counted(result.patients, 'patient')} matched; {count(result.patients_without)} of the study without a row"
    )
    left_out = (
        (result.rows_unknown, "of patients who are not in the study"),
        (result.rows_without_patient, "without an identifier"),
        (result.rows_withdrawn, "of withdrawn patients"),
    )
    lines += [f"! {counted(rows, 'row')} {what}: left out" for rows, what in left_out if rows]
    if result.rows_nearly_known:
        rows = counted(result.rows_nearly_known, "row")
        lines.append(f"! {rows} of these would match with other leading zeros: compare how the IDs are written")
    lines += [f"{counted(result.rows_repeated, 'row')} said nothing new of a patient"] if result.rows_repeated else []
    lines += [f"! {name} repeats identifiers of patients: left out" for name in result.columns_left_out]
    for name, times in result.cells_changed.items():
        lines.append(f"! {name}: identifiers or addresses were taken out of {counted(times, 'cell')}")
    return summary("attach", *lines, *(f"! {note}" for note in result.notes))


def translated(result: Translated) -> RenderableType:
    """Return identifiers beside their pseudonyms, or where they were written."""
    what = "are of patients of the study" if result.direction == "to pseudonyms" else "stand in a landed export"
    told = f"{result.direction}: {count(result.found)} of {count(result.asked)} {what}; noted in the ledger"
    if result.output:
        return summary("answer", told, f"{result.output} holds identifiers: nobody else may read it")
    rows = table("identifier", "pseudonym", "in the study")
    for pair in result.pairs:
        rows.add_row(line(str(pair["identifier"])), line(str(pair["pseudonym"])), "yes" if pair["in_study"] else "no")
    return Group(rows, summary("answer", told))
