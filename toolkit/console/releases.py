"""How a release looks in a terminal, done or planned."""

import shlex

from rich.console import Group, RenderableType

from toolkit.console.text import line, next_step, summary, table, unwrapped
from toolkit.formatting import count, counted
from toolkit.stages.release import Released
from toolkit.stages.release.fields import ReleasedField
from toolkit.stages.release.groups import Anonymity


def released(result: Released) -> RenderableType:
    """Return what was released, or would be, and what stands against it."""
    fields = table("field", "type", ">photographs", "values, and what is left out")
    for each in result.fields:
        left_out = [f"{count(n)} left out: {reason}" for reason, n in each.left_out.items()]
        fields.add_row(
            line(each.name), each.kind, count(each.photographs), line("; ".join([*_values(each), *left_out]))
        )
    for name, reason in result.fields_left_out.items():
        fields.add_row(line(name), "-", "0", line(f"not released: {reason}"))
    verb = "released" if result.applied else "would be released"
    where = [unwrapped(f"folder: {result.folder}")] if result.applied else []
    return Group(fields, summary("release", *_released(result, verb)), *where, next_step(_next_of(result)))


def _values(field: ReleasedField) -> list[str]:
    return [", ".join(field.categories)] if field.categories else []


def _released(result: Released, verb: str) -> list[str]:
    hidden = result.anonymity
    counts = {"case": result.cases, "photograph": result.photographs, "reading": result.readings}
    what = ", ".join(counted(number, noun) for noun, number in counts.items())
    parts = ", ".join(f"{part} {count(cases)}" for part, cases in result.parts.items())
    lines = [f"{verb} under {result.licence}: {what} of {counted(result.patients, 'patient')}", f"subsets: {parts}"]
    if result.release_id:
        size = f"{counted(result.files, 'file')}, {result.megabytes:.1f} MB"
        lines.append(f"release {result.release_id}, split {result.released_split}: {size}")
    key = f"key: {result.key_file}" if result.key_file else "key: random, and kept by nobody: no ID leads back"
    lines += [key, _alike(hidden)]
    if hidden.emptied_patients:
        lines.append(f"! quasi-identifiers of {counted(hidden.emptied_patients, 'patient')} {_are(result)} left empty")
    lines += [f"! {counted(n, 'photograph')} left out: {reason}" for reason, n in result.photographs_left_out.items()]
    lines.append("! photographs may show faces, tattoos or labels with names: no program can tell, people must look")
    lines += [f"! it cannot be released yet: {problem}" for problem in result.problems]
    done = "! this copy stays when a patient is withdrawn: `toolkit withdraw` names the releases to be told of"
    return [*lines, done if result.applied else "nothing was written"]


def _are(result: Released) -> str:
    return "are" if result.applied else "would be"


def _alike(hidden: Anonymity) -> str:
    """Say how well patients are hidden among each other."""
    if hidden.smallest_group is None:
        return "! no quasi-identifiers are named ([release] quasi_identifiers): who could be recognised was not counted"
    alike = f"alike in {', '.join(hidden.quasi_identifiers)}: k = {hidden.smallest_group}"
    sign = "! " if hidden.patients_in_small_groups else ""
    alone = counted(hidden.unique_patients, "patient")
    few = counted(hidden.patients_in_small_groups, "patient")
    return f"{sign}{alike}; {alone} alone in their group, {few} in groups of fewer than {hidden.least}"


def _next_of(result: Released) -> str:
    folder = shlex.quote(result.folder)
    if result.applied:
        return f"toolkit verify {folder}/split --images {folder}/images"
    return f'toolkit release {folder} --photographs-checked-by "NAME" --apply'
