"""Knows what in a registry a person should look at: photographs that are there twice, readings that disagree.

Refuses to change a label: findings are rows, decisions are people's.
"""

from dataclasses import dataclass

from toolkit import sql
from toolkit.progress import Progress, silent
from toolkit.registry import Workspace, insert

MEANING = {
    "identical_bytes": "photographs whose files are the same, byte for byte",
    "identical_pixels": "photographs whose pixels are the same in different files",
    "disagreement": "cases whose annotators say different classes",
    "unmatched_box": "boxes that not every annotator of the photograph drew",
    "ambiguous_box": "boxes that overlap several lesions",
    "ambiguous_answer": "one answer for a photograph with several lesions",
}


@dataclass(frozen=True)
class Audit:
    """How many findings there are of each kind, and how many photographs stand under two known patients."""

    findings: dict[str, int]
    across_patients: int
    patients_known: bool


def audit(workspace: Workspace, *, progress: Progress = silent) -> Audit:
    """Find duplicates and disagreements; replaces what an earlier audit found."""
    progress("looking for duplicates and disagreements", 0, None)
    found = workspace.sql(sql.step("audit"))
    with workspace.writing() as connection:
        connection.execute("delete from findings where source = 'audit'")
        insert(connection, "findings", found)
    kinds = workspace.rows("select kind, count(*) as found from findings group by kind order by kind")
    across = workspace.rows(sql.step("across_patients"))[0]["pairs"]
    known = workspace.rows(sql.step("parsed"))[0]["patients_known"]
    return Audit({row["kind"]: row["found"] for row in kinds}, across, known)
