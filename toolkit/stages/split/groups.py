"""The cases of a split and their groups: connected components of the patients who share a photograph.

Duplicate photographs were found by `parse` and `audit`; here only their tables are read.
"""

import json
from typing import Any, NamedTuple

from toolkit.errors import StudyError, WorkspaceError
from toolkit.manifest.cohort import SplitSection
from toolkit.workspace import sql
from toolkit.workspace.certificate import roi_in_words
from toolkit.workspace.patient_links import PatientLink, grouped
from toolkit.workspace.registry import Workspace

MISSING = "(missing)"
"""The value of a stratum where the photograph's metadata has none."""
MOST_VALUES = 60
"""Different values that a stratum may have: more are a measurement, not groups."""


class SplitCase(NamedTuple):
    """A case to be split. `roi` is its box in words, "" = whole photograph; `strata` are in the study's order."""

    case_id: str
    patient_id: str
    lesion_id: str
    group_id: str
    class_name: str
    pixels: str | None
    roi: str
    strata: tuple[str, ...]


class Cohort(NamedTuple):
    """All cases in order of their IDs, their patients' links, and the facts of the search for near-duplicates."""

    cases: list[SplitCase]
    links: list[PatientLink]
    search: dict[str, Any]
    truth_id: str


def cohort_of(workspace: Workspace, section: SplitSection) -> Cohort:
    """Return the cases whose class is resolved, each in its group; a group is named after its least case ID."""
    rows = workspace.rows(sql.statement("split/cases"))
    if not rows:
        raise WorkspaceError(
            "there is no case with a resolved class to split",
            place=str(workspace.folder),
            remedy="`toolkit status` says why cases were kept out; check projects, question and classes in the study",
        )
    search = _search(workspace, section)
    links = [PatientLink(**row) for row in workspace.rows(sql.statement("split/links"))]
    links = [link for link in links if link.relation in section.binds]
    groups = grouped([(row["case_id"], row["patient_id"]) for row in rows], links)
    strata = _strata(workspace, section)
    cases = [
        SplitCase(
            row["case_id"],
            row["patient_id"],
            row["lesion_id"],
            group,
            row["class_name"],
            row["pixel_sha256"],
            roi_in_words(row),
            tuple(strata[name].get(row["image_id"], MISSING) for name in section.strata),
        )
        for row, group in zip(rows, groups, strict=True)
    ]
    return Cohort(cases, links, search, rows[0]["truth_id"])


def _search(workspace: Workspace, section: SplitSection) -> dict[str, Any]:
    """Return the facts of the search for near-duplicates; raise where they bind and were not searched for."""
    search = workspace.rows(sql.statement("split/duplicate_search"))[0]
    binding = "near_duplicate" in section.binds
    if binding and search["opened"] and not search["is_todays"]:
        fault = "were searched for among other photographs" if search["settings"] else "have not been searched for"
        raise WorkspaceError(
            f"near-duplicate photographs bind patients in this study, but they {fault}",
            place=str(workspace.folder),
            remedy="toolkit audit, then toolkit split",
        )
    near = {name: search[name] for name in ("settings", "images_sha256", "photographs", "pairs")}
    return {
        "photographs_opened": search["opened"],
        "photographs_not_opened": search["not_opened"],
        "near_duplicates": {**near, "settings": json.loads(near["settings"])}
        if binding and search["is_todays"]
        else None,
    }


def _strata(workspace: Workspace, section: SplitSection) -> dict[str, dict[str, str]]:
    """Return each stratum's value by photograph; raise for a field that no photograph has, or with too many values."""
    if not section.strata:
        return {}
    strata: dict[str, dict[str, str]] = {name: {} for name in section.strata}
    for row in workspace.rows(sql.statement("split/strata"), {"names": "\x1f".join(strata)}):
        strata[row["name"]][row["image_id"]] = row["value"]
    for name, values in strata.items():
        different = len(set(values.values()))
        if not values:
            known = [row["name"] for row in workspace.rows("select distinct name from metadata order by name")]
            fault, then = "no photograph has this metadata field", f"the fields are: {', '.join(known) or 'none'}"
        elif different > MOST_VALUES:
            fault, then = f"it has {different} values, and a stratum at most {MOST_VALUES}", "choose another field"
        else:
            continue
        raise StudyError(f"split.strata: {name}: {fault}", remedy=then)
    return strata
