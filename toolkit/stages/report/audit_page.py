"""The page of an audit: labels to look at first, duplicates and contradictions side by side, the cohort by subset."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from toolkit.csv_files import sheet_text
from toolkit.errors import WorkspaceError
from toolkit.formatting import clean, count, counted, counted_by, proportion, spoken
from toolkit.manifest import NO_PATIENTS, Study
from toolkit.privacy import PseudonymKey
from toolkit.progress import Progress, silent
from toolkit.stages.report import layout
from toolkit.stages.report.audit_cards import AuditCard, Cards, cases_of
from toolkit.stages.report.bundle import digest_of_page, kept_page, write_page
from toolkit.stages.report.case_details import read_details
from toolkit.stages.report.first_screen import Badge, by_importance
from toolkit.stages.report.tables import csv_of
from toolkit.stages.report.thumbnails import MOST_LARGE
from toolkit.workspace import sql
from toolkit.workspace.locks import one_at_a_time
from toolkit.workspace.registry import Workspace
from toolkit.workspace.runs import find_split

PARTS = ("train", "validation", "test", "external")
DUPLICATES = ("patients", "relation", "score", "change", "case_id", "other_case_id", "patient_id", "other_patient_id")
SAME_LESION = ("case_id", "other_case_id", "patient_id", "class_name", "other_class_name", "score", "detail")
SUSPECTS = ("place", "score", "case_id", "patient_id", "class_name", "suggested_class", "suggested_probability")
CONTRADICTIONS = ("kind", "case_id", "other_case_id", "patient_id", "other_patient_id", "detail")


@dataclass(frozen=True)
class AuditPage:
    """Where the page of an audit and its files stand, and how many of the duplicates it shows."""

    page: str
    files: list[str]
    duplicates_shown: int
    duplicates: int


class StratumLevel(NamedTuple):
    """A stratum's value: its counts by part (None = all), and by part how far its share is from that in train."""

    stratum: str
    level: str | None
    counts: dict[str | None, dict[str, Any]]
    differences: dict[str, float]


@one_at_a_time("audit")
def audit_page(
    workspace: Workspace, study: Study, *, key: PseudonymKey | None = None, progress: Progress = silent
) -> AuditPage:
    """Write the page of what the last audit found and its CSV files; with a split, how its subsets compare.

    A page that was made from the same is kept.

    With the key of the study's pseudonyms it can tell which file names hold no patient's identifier, and shows those.
    """
    with workspace.reading():
        facts = _facts(workspace)
        shown = {name: facts[name][: study.report.gallery] for name in CARDS}
        facts["details"] = read_details(workspace, study, cases_of(*shown.values()), key)
        facts["cohort"] = _cohort(workspace, facts["split_id"]) if facts["split_id"] else []
    with counted_by(patients_known=facts["patients_known"]):
        return _written(workspace, study, facts, progress)


def _written(workspace: Workspace, study: Study, facts: dict[str, Any], progress: Progress) -> AuditPage:
    known, cohort = facts["patients_known"], facts["cohort"]
    shown = min(len(facts["duplicates"]), study.report.gallery)
    digest = digest_of_page(study, facts)
    if kept := kept_page(workspace, study, "audit", digest):
        return AuditPage(kept[0], kept, shown, len(facts["duplicates"]))
    tables = {
        "duplicates.csv": csv_of((*DUPLICATES[not known :], "class_name", "other_class_name"), facts["duplicates"]),
        "suspects.csv": csv_of((*SUSPECTS, "own_probability", "reasons"), facts["suspects"]),
        "contradictions.csv": csv_of(CONTRADICTIONS, facts["contradictions"]),
        "kept_out.csv": csv_of(("level", "reason", "found"), facts["issues"]),
        "cohort.csv": _cohort_csv(cohort, patients_known=known),
    }
    if known:
        tables["same_lesion.csv"] = csv_of(SAME_LESION, facts["same_lesion"])

    def rendered(folder: Path) -> dict[str, bytes]:
        return {"index.html": _render(study, facts, _cards(study, facts, folder, progress), cohort)}

    files = write_page(workspace, study, "audit", tables, rendered, classes=[], made_from=digest)
    return AuditPage(files[0], files, shown, len(facts["duplicates"]))


def _cards(study: Study, facts: dict[str, Any], folder: Path, progress: Progress) -> dict[str, list[AuditCard]]:
    """Return the cards of each section; those of suspect labels come first where larger pictures run out."""
    cards = Cards(folder, facts["details"], margin=study.model.roi_margin, budget=MOST_LARGE)
    made: dict[str, list[AuditCard]] = {}
    wanted = {name: facts[name][: study.report.gallery] for name in CARDS}
    total = sum(len(rows) for rows in wanted.values())
    for name, rows in wanted.items():
        made[name] = []
        for row in rows:
            made[name].append(CARDS[name](cards, row))
            progress("making thumbnails", cards.made, total)
    return made


def _suspect(cards: Cards, row: dict[str, Any]) -> AuditCard:
    suggested = clean(spoken(row["suggested_class"] or "")) or "another class"
    title = f"case {row['case_id']}, place {count(row['place'])}"
    score = f"probability that the label is wrong {proportion(row['score'])}"
    return cards.single(row, title=title, text=f"Perhaps {suggested}.", note=score)


def _duplicate(cards: Cards, row: dict[str, Any]) -> AuditCard:
    return cards.pair(row, title=_pair(row), text=row["change"], note=f"correlation {proportion(row['score'])}")


def _same_lesion(cards: Cards, row: dict[str, Any]) -> AuditCard:
    return cards.pair(row, title=_pair(row), text=clean(spoken(row["detail"])))


def _contradiction(cards: Cards, row: dict[str, Any]) -> AuditCard:
    text, kind = clean(spoken(row["detail"])), spoken(row["kind"])
    if row["other_case_id"]:
        return cards.pair(row, title=_pair(row), text=text, note=kind)
    return cards.single(row, title=f"case {row['case_id']}", text=text, note=kind)


def _pair(row: dict[str, Any]) -> str:
    return f"case {row['case_id'] or 'none'} and case {row['other_case_id'] or 'none'}"


CARDS = {
    "suspects": _suspect,
    "duplicates": _duplicate,
    "same_lesion": _same_lesion,
    "contradictions": _contradiction,
}
"""How a row of each section becomes a card."""


def _facts(workspace: Workspace) -> dict[str, Any]:
    try:
        split_id = find_split(workspace)
    except WorkspaceError:
        split_id = None
    return {
        "duplicates": workspace.rows(sql.statement("report/audit_duplicates")),
        "same_lesion": workspace.rows(sql.statement("report/audit_same_lesion")),
        "same_lesion_search": next(iter(workspace.rows("select * from same_lesion_searches")), None),
        "suspects": workspace.rows(sql.statement("report/audit_suspects")),
        "evidence": workspace.rows(sql.statement("audit/suspects"))[0],
        "contradictions": workspace.rows(sql.statement("report/audit_contradictions")),
        "issues": workspace.rows(sql.statement("report/issues")),
        "split_id": split_id,
        "search": next(iter(workspace.rows("select * from duplicate_searches")), None),
        "patients_known": workspace.rows("select patient_from <> 'none' as known from label_states")[0]["known"],
        "leakage": _leakage(workspace, split_id) if split_id else None,
    }


def _leakage(workspace: Workspace, split_id: str) -> dict[str, int]:
    key = {"split_id": split_id}
    apart = workspace.rows(sql.statement("report/audit_apart"), key)[0]["pairs"]
    return {**workspace.rows(sql.statement("report/leakage"), key)[0], "duplicates_in_two_parts": apart}


def _cohort(workspace: Workspace, split_id: str) -> list[StratumLevel]:
    """Return every level of every stratum, in order; the level None is the whole stratum."""
    levels: dict[tuple[str, str | None], dict[str | None, dict[str, Any]]] = {}
    for row in workspace.rows(sql.statement("report/audit_cohort"), {"split_id": split_id}):
        levels.setdefault((row["stratum"], row["level"]), {})[row["part"]] = row
    return [
        StratumLevel(stratum, level, counts, _differences(counts, levels[stratum, None]))
        for (stratum, level), counts in levels.items()
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


def _cohort_csv(cohort: list[StratumLevel], *, patients_known: bool) -> str:
    counts = ("cases", "photographs", *(["patients"] if patients_known else []))
    rows = [
        (
            each.stratum,
            each.level or "",
            part or "all",
            *(row[name] for name in counts),
            each.differences.get(part or "", math.nan),
        )
        for each in cohort
        for part, row in each.counts.items()
    ]
    return sheet_text(("stratum", "level", "part", *counts, "standardised_difference"), rows)


def _badges(facts: dict[str, Any]) -> list[Badge]:
    """Return what to know first."""
    known = facts["patients_known"]
    across = sum(row["patients"] == "across" for row in facts["duplicates"])
    again = [row for row in facts["same_lesion"] if row["class_name"] != row["other_class_name"]]
    pairs = [row for row in facts["contradictions"] if row["other_case_id"]]
    against = sum(row["kind"] == "contradiction" for row in pairs)
    excluded = sum(issue["found"] for issue in facts["issues"] if issue["level"] in ("case", "row"))
    counts = [
        *([(across, f"Duplicates of two patients: {counted(across, 'pair')}", "duplicates")] if known else []),
        (len(facts["suspects"]), _of_suspects(facts), "suspects"),
        (against, f"Contradicting classes: {counted(against, 'pair')}", "contradictions"),
        *([(len(again), f"One lesion, two diagnoses: {counted(len(again), 'pair')}", "same-lesion")] if known else []),
        (excluded, f"Excluded: {counted(excluded, 'row or case', 'rows and cases')}", "kept-out"),
    ]
    if facts["leakage"]:
        leaks = {name: times for name, times in facts["leakage"].items() if name.endswith("_in_two_parts") and times}
        what = ", ".join(f"{times} {name.split('_')[0]}" for name, times in leaks.items())
        clear = f"Nothing is in more than one subset: split {facts['split_id']}"
        counts.append((len(leaks), f"Leakage: {what} in more than one subset" if leaks else clear, "cohort"))
    unknown = [] if known else [Badge("look", NO_PATIENTS.capitalize(), "duplicates")]
    return by_importance(
        [*unknown, *(Badge("look" if number else "good", text, link) for number, text, link in counts)]
    )


def _of_suspects(facts: dict[str, Any]) -> str:
    suspects = len(facts["suspects"])
    if not suspects:
        return "Labels were not compared with photographs"
    wrong = f"{facts['evidence']['expected_listed']:.0f}"
    return f"To look at first: {counted(suspects, 'label')}, about {wrong} of them wrong"


def _render(
    study: Study, facts: dict[str, Any], cards: dict[str, list[AuditCard]], cohort: list[StratumLevel]
) -> bytes:
    return layout.render(
        "audit.html.j2",
        scripts=("layout.js", "enlarge.js"),
        beside=True,
        study=study.study,
        **facts,
        badges=_badges(facts),
        cards=cards,
        strata={each.stratum: [level for level in cohort if level.stratum == each.stratum] for each in cohort},
        parts=[part for part in PARTS if cohort and part in cohort[-1].counts] or list(PARTS[:3]),
    )
