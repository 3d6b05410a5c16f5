"""What internal pages show of single cases: readings, evidence on the label, file name, link into Labelbox."""

from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

from toolkit.manifest import Study
from toolkit.privacy import PseudonymKey, printable, scrub, spans
from toolkit.workspace import sql
from toolkit.workspace.queues import LEAST_SCORE
from toolkit.workspace.registry import Workspace

LABELBOX = "https://app.labelbox.com/projects/{project_id}/data-rows/{image_id}"


class Suggestion(NamedTuple):
    """Another class for a label, the probability that the label is wrong, and why."""

    class_name: str
    score: float
    reasons: str


class CaseDetails(NamedTuple):
    """What is known of one case besides its prediction; texts are empty where there is nothing, or nothing to show."""

    votes: list[tuple[str, str | None, bool]]
    """Each reading: annotator ("" = not recorded), class, and whether it counts for the reference diagnosis."""
    suggestion: Suggestion | None
    file: str
    address: str


def read_details(
    workspace: Workspace, study: Study, case_ids: list[str], key: PseudonymKey | None
) -> dict[str, CaseDetails]:
    """Read the details of cases; without the key of the pseudonyms nothing can tell which file name is harmless."""
    patients = known_patients(workspace, study) if key else set()
    rows = workspace.rows(sql.statement("report/case_details"), {"case_ids": case_ids, "least": LEAST_SCORE})
    return {row["case_id"]: _details(row, key, patients) for row in rows}


def known_patients(workspace: Workspace, study: Study) -> set[str]:
    """Return every pseudonym under which a patient of the study may be found, also those of a person's other IDs."""
    rows = workspace.rows("select patient_id from patients")
    return study.ingest.every_pseudonym(row["patient_id"] for row in rows)


def _details(row: dict[str, Any], key: PseudonymKey | None, patients: Collection[str]) -> CaseDetails:
    votes = [(vote["annotator"], vote["class_name"], vote["counts"]) for vote in row["votes"]]
    questioned = row["suggested_class"] is not None
    suggestion = Suggestion(row["suggested_class"], row["score"], row["reasons"]) if questioned else None
    return CaseDetails(votes, suggestion, shown_name(row, key, patients) if key else "", labelbox_address(row))


def shown_name(row: dict[str, Any], key: PseudonymKey, patients: Collection[str]) -> str:
    """Return the name of a photograph's file; nothing where a known patient's identifier may stand in it.

    `row` has path, external_id and global_key; `patients` are the pseudonyms of the study.
    """
    name = Path(row["path"]).name if row["path"] else row["external_id"] or row["global_key"] or ""
    hidden = any(key.pseudonym("p", words) in patients for words in spans(name))
    return "" if hidden else scrub(printable(name))


def labelbox_address(row: dict[str, Any]) -> str:
    """Return the address of a photograph in Labelbox's editor; nothing where its project is not known."""
    return LABELBOX.format(**row) if row["project_id"] and row["image_id"] else ""
