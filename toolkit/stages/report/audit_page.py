"""How an audit becomes a page: copies side by side, labels that contradict another, the cohort by part.

Refuses to look for anything: what is shown is what the registry holds. No photograph's name gets through.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from toolkit.errors import PhotographError, WorkspaceError
from toolkit.files import csv_text
from toolkit.formatting import counted
from toolkit.manifest import NO_PATIENTS, Study
from toolkit.photographs.opening import open_photograph, read_photograph, thumbnail
from toolkit.progress import Progress, silent
from toolkit.stages.report import layout
from toolkit.stages.report.bundle import renewed, write_all
from toolkit.stages.report.dictionary import with_dictionary
from toolkit.stages.report.index_page import write_index
from toolkit.stages.report.thumbnails import LONGEST, inline
from toolkit.stages.report.verdicts import Badge
from toolkit.workspace import sql
from toolkit.workspace.registry import Workspace
from toolkit.workspace.runs import find_split

PARTS = ("train", "validation", "test", "external")
PATIENTS = {"across": "Two patients", "unknown": "Patient not known", "within": "One patient"}
DUPLICATES = ("patients", "relation", "score", "change", "case_id", "other_case_id", "patient_id", "other_patient_id")
CONTRADICTIONS = ("kind", "case_id", "other_case_id", "patient_id", "other_patient_id", "detail")


@dataclass(frozen=True)
class AuditPage:
    """Where the page of an audit and its files stand, and how many of the duplicates it shows."""

    page: str
    files: list[str]
    duplicates_shown: int
    duplicates: int


class PairPictures(NamedTuple):
    """Two photographs that show the same, as data URIs; None where one can no longer be opened."""

    row: dict[str, Any]
    pictures: tuple[str | None, str | None]


class StratumLevel(NamedTuple):
    """A stratum's value: its counts by part (None = all), and by part how far its share is from that in train."""

    stratum: str
    level: str | None
    counts: dict[str | None, dict[str, Any]]
    differences: dict[str, float]


def audit_page(workspace: Workspace, study: Study, *, progress: Progress = silent) -> AuditPage:
    """Write the page of what the last audit found and its CSV files; with a split, how its parts compare."""
    duplicates = workspace.rows(sql.statement("report/audit_duplicates"))
    contradictions = workspace.rows(sql.statement("report/audit_contradictions"))
    issues = workspace.rows(sql.statement("report/issues"))
    split_id = _newest(workspace)
    cohort = _cohort(workspace, split_id) if split_id else []
    shown = []
    for done, row in enumerate(duplicates[: study.report.gallery], start=1):
        shown.append(PairPictures(row, (_picture(row["path"]), _picture(row["other_path"]))))
        progress("making thumbnails of duplicates", done, min(len(duplicates), study.report.gallery))
    facts = {
        "duplicates": duplicates,
        "contradictions": contradictions,
        "issues": issues,
        "split_id": split_id,
        "search": next(iter(workspace.rows("select * from duplicate_searches")), None),
        "patients_known": workspace.rows("select patient_from <> 'none' as known from label_states")[0]["known"],
        "leakage": _leakage(workspace, split_id) if split_id else None,
    }
    tables = {
        "duplicates.csv": _csv((*DUPLICATES, "class_name", "other_class_name"), duplicates),
        "contradictions.csv": _csv(CONTRADICTIONS, contradictions),
        "kept_out.csv": _csv(("level", "reason", "found"), issues),
        "cohort.csv": _cohort_csv(cohort),
    }
    contents = {"index.html": _render(study, facts, shown, cohort), **with_dictionary(tables, [])}
    folder = workspace.reports / "audit"
    with renewed(folder) as new:
        write_all(new, contents)
    write_index(workspace, study)
    files = [str(folder / name) for name in contents]
    return AuditPage(str(folder / "index.html"), files, len(shown), len(duplicates))


def _newest(workspace: Workspace) -> str | None:
    try:
        return find_split(workspace)
    except WorkspaceError:
        return None


def _picture(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        small = thumbnail(open_photograph(read_photograph(Path(path))), longest=LONGEST)
    except PhotographError:
        return None
    return inline(small)


def _leakage(workspace: Workspace, split_id: str) -> dict[str, int]:
    key = {"split_id": split_id}
    apart = workspace.rows(sql.statement("report/audit_apart"), key)[0]["pairs"]
    return {**workspace.rows(sql.statement("report/leakage"), key)[0], "duplicates_in_two_parts": apart}


def _cohort(workspace: Workspace, split_id: str) -> list[StratumLevel]:
    """Return every level of every stratum, in order; the level None is the whole stratum."""
    found: dict[tuple[str, str | None], dict[str | None, dict[str, Any]]] = {}
    for row in workspace.rows(sql.statement("report/audit_cohort"), {"split_id": split_id}):
        found.setdefault((row["stratum"], row["level"]), {})[row["part"]] = row
    return [
        StratumLevel(stratum, level, counts, _differences(counts, found[stratum, None]))
        for (stratum, level), counts in found.items()
        if level is not None or stratum == "class"
    ]


def _differences(counts: dict[str | None, dict[str, Any]], whole: dict[str | None, dict[str, Any]]) -> dict[str, float]:
    """Return, by part, the standardised difference of a level's share from that in train (Austin 2009)."""
    shares = {
        part: counts[part]["cases"] / whole[part]["cases"] if part in counts else 0.0 for part in PARTS if part in whole
    }
    return {part: _standardised(shares["train"], share) for part, share in shares.items() if part != "train"}


def _standardised(one: float, other: float) -> float:
    """Return the difference of two proportions in standard deviations; NaN where neither varies."""
    spread = (one * (1 - one) + other * (1 - other)) / 2
    return (other - one) / math.sqrt(spread) if spread > 0 else math.nan


def _csv(columns: tuple[str, ...], rows: list[dict[str, Any]]) -> str:
    return csv_text(columns, ([row[name] for name in columns] for row in rows))


def _cohort_csv(cohort: list[StratumLevel]) -> str:
    columns = ("stratum", "level", "part", "cases", "photographs", "patients", "standardised_difference")
    rows = [
        (
            each.stratum,
            each.level or "",
            part or "all",
            *(row[name] for name in columns[3:6]),
            each.differences.get(part or "", math.nan),
        )
        for each in cohort
        for part, row in each.counts.items()
    ]
    return csv_text(columns, rows)


def _badges(facts: dict[str, Any]) -> list[Badge]:
    """Return what to know first."""
    across = sum(row["patients"] == "across" for row in facts["duplicates"])
    against = sum(row["kind"] == "contradiction" for row in facts["contradictions"])
    kept = sum(issue["found"] for issue in facts["issues"] if issue["level"] in ("case", "row"))
    found = [
        Badge("look" if across else "good", f"Duplicates of two patients: {counted(across, 'pair')}", "duplicates"),
        Badge("look" if against else "good", f"Contradicting classes: {counted(against, 'pair')}", "contradictions"),
        Badge("look" if kept else "good", f"Kept out: {counted(kept, 'row or case', 'rows and cases')}", "kept-out"),
    ]
    if facts["leakage"]:
        apart = {name: times for name, times in facts["leakage"].items() if name.endswith("_in_two_parts") and times}
        said = ", ".join(f"{times} {name.split('_')[0]} in two parts" for name, times in apart.items())
        text = f"Leakage: {said}" if apart else f"Nothing in two parts: split {facts['split_id']}"
        found.append(Badge("look" if apart else "good", text, "cohort"))
    if not facts["patients_known"]:
        found.insert(0, Badge("look", NO_PATIENTS.capitalize(), "duplicates"))
    return found


def _render(study: Study, facts: dict[str, Any], shown: list[PairPictures], cohort: list[StratumLevel]) -> bytes:
    return layout.render(
        "audit.html.j2",
        study=study.study,
        **facts,
        badges=_badges(facts),
        groups={words: [each for each in shown if each.row["patients"] == kind] for kind, words in PATIENTS.items()},
        cohort=cohort,
        parts=[part for part in PARTS if cohort and part in cohort[-1].counts] or list(PARTS[:3]),
    )
