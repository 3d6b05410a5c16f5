"""What each column of a report's CSV files means: from the comments of the schema, and a few words of its own.

Refuses to know a value.
"""

import re
from functools import cache

from toolkit.files import csv_text
from toolkit.formatting import METRICS, spoken
from toolkit.workspace import sql

COLUMN = re.compile(r"^\s+(?P<name>\w+) [a-z]+.*? -- (?P<meaning>.+)$")
TABLE = re.compile(r"^create table (?P<name>\w+)")
TABLES = (
    "scores", "operating_points", "guarantees", "decision_curves", "calibration_bins", "subgroup_scores", "comparisons",
    "departures",
    "predictions", "splits", "findings", "ingest_issues", "images", "epochs", "duplicates",
)  # fmt: skip
"""Where a column's meaning is looked for, in this order."""
OWN = {
    "patient_id": "Pseudonym of the patient.",
    "truth": "Class by the study's policy.",
    "case_id": "The case; empty where there is none.",
    "cases": "Cases that the row rests on or counts; empty where it is not shown.",
    "patients": "Their patients.",
    "positives": "Cases to be found.",
    "patients_to_be_found": "Patients with such cases.",
    "everyone": "Net benefit of calling every case.",
    "resolved_by": "How the readings became the class.",
    "agreeing": "Readings that say the class of the truth.",
    "readings": "Readings that count.",
    "cost": "What the error costs by [report] costs; 0 where it is right.",
    "findings": "Kinds of findings about the case.",
    "groups": "Groups of the study that the case is in.",
    "example": "Details of one of them.",
    "found": "How many.",
    "stage": "What is counted, from the rows of the exports to the cases of the split.",
    "reason": "Why it was left out; empty where the row counts the stage.",
    "number": "How many.",
    "control": "What the photographs were replaced by.",
    "control_run_id": "The run of the control.",
    "stratum": "What the cohort is divided by.",
    "level": "What is concerned, or the stratum's value.",
    "standardised_difference": "How far the share is from that in train, in standard deviations.",
    "photographs": "Photographs.",
    "outcome": "What became of the case from one run to the other.",
    "before": "Class predicted by the run that is compared.",
    "after": "Class predicted by the run it is compared with.",
    "confidence_before": "Its probability.",
    "confidence_after": "Its probability.",
    "other_patient_id": "Pseudonym of the other patient.",
    "class_name": "The class; empty or all = over all classes.",
    "other_class_name": "The other photograph's class.",
    "guideline": "The reporting guideline.",
    "item": "The item's number in it.",
    "asks": "What it asks for, in our words.",
    "filled": "By whom: the run, run and author, or the author.",
    "text": "What is said on it.",
    "how": "What the numbers come from: SQL, or keys of the run's record.",
    "missing": "Fields of the study's [reporting] that are still empty.",
}


def with_dictionary(tables: dict[str, str], classes: list[str]) -> dict[str, bytes]:
    """Return CSV files as bytes, with data_dictionary.csv, which says what every column of them means."""
    names = dict.fromkeys([*tables, "data_dictionary.csv"])
    rows = [
        (file, column, meaning(column, classes))
        for file in names
        for column in (tables[file].partition("\n")[0].split(",") if file in tables else ("file", "column", "meaning"))
    ]
    own = csv_text(["file", "column", "meaning"], rows)
    return {name: text.encode() for name, text in {**tables, "data_dictionary.csv": own}.items()}


def meaning(column: str, classes: list[str]) -> str:
    """Return what a column means; "" where nobody has said so."""
    bare = column.strip("'\"")
    if bare.startswith("probability_") and bare.removeprefix("probability_") in classes:
        return f"Probability of {spoken(bare.removeprefix('probability_'))}."
    for ending, words in (("_low", "Lower bound of"), ("_high", "Upper bound of")):
        if bare.endswith(ending) and (name := _metric(bare.removesuffix(ending))):
            return f"{words} the interval of {name}."
    metric = _metric(bare)
    return OWN.get(bare) or (metric and f"{metric[0].upper()}{metric[1:]} of the class.") or _comments().get(bare, "")


def _metric(name: str) -> str:
    known = METRICS.get(name, spoken(name) if name.startswith("calibration_") else "")
    return "" if name == "confidence" else known


@cache
def _comments() -> dict[str, str]:
    """Return the comment of each column that the schema describes, from the table that comes first in TABLES."""
    found: dict[str, dict[str, str]] = {}
    table = ""
    for path in sql.folder("schema"):
        for line in path.read_text(encoding="utf-8").splitlines():
            if begins := TABLE.match(line):
                table = begins["name"]
            elif column := COLUMN.match(line):
                found.setdefault(table, {})[column["name"]] = column["meaning"]
    merged: dict[str, str] = {"file": "The file.", "column": "Its column.", "meaning": "What it means."}
    for name in reversed(TABLES):
        merged |= found[name]
    return merged
