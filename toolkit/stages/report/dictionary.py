"""The data dictionary: what each column of a report's CSV files means, mostly by the comments of the schema."""

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
    "truth": "Reference diagnosis: the class by the study's policy.",
    "truth_id": "The reference diagnoses: policy and label revision.",
    "case_id": "The case; empty where there is none.",
    "cases": "Cases that the row rests on or counts; empty where suppressed.",
    "patients": "Their patients.",
    "too_few": "Whether patients are so few that the interval may be too narrow; of a macro average: in a class.",
    "target": "What is to be detected, as the study names it.",
    "positives": "Cases to be detected.",
    "patients_to_be_found": "Patients with such cases.",
    "patients_found": "Patients in whom every such case was detected.",
    "vouched": "Whether so many patients confirm the required sensitivity.",
    "needed_without_a_miss": "Patients that it takes to confirm it if in none a case is missed.",
    "needed": "Patients that it takes if in as many as here a case is missed; empty above 100 000.",
    "threshold": "A case is flagged from this probability on; its odds are the cost of a false positive.",
    "net_benefit": "Net benefit of the model; to treat none has 0.",
    "everyone": "Net benefit of treating all.",
    "chance": "Mean predicted probability.",
    "came": "Observed frequency.",
    "difference": "Other value minus value; of a group: its value minus that of all other cases.",
    "resolved_by": "How the readings became the class.",
    "agreeing": "Readings that agree with the reference diagnosis.",
    "readings": "Readings that count.",
    "cost": "Harm of the error by [report] costs; 0 where the prediction is correct.",
    "findings": "Kinds of findings about the case.",
    "groups": "Groups of the study that the case is in.",
    "example": "Details of one of them.",
    "found": "How many.",
    "stage": "What is counted, from the rows of the exports to the cases of the split.",
    "reason": "Why it was excluded; empty where the row counts the stage.",
    "number": "How many.",
    "control": "What the model was shown instead of the photographs.",
    "control_run_id": "The run of the control.",
    "stratum": "What the cohort is divided by.",
    "level": "What is concerned, or the stratum's value.",
    "standardised_difference": "Difference of the share from that in the training set, in standard deviations.",
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
    "text": "What the run and the study file say on it.",
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
    """Return what a column means; "" where that is not stated anywhere."""
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
    comments: dict[str, dict[str, str]] = {}
    table = ""
    for path in sql.folder("schema"):
        for line in path.read_text(encoding="utf-8").splitlines():
            if begins := TABLE.match(line):
                table = begins["name"]
            elif column := COLUMN.match(line):
                comments.setdefault(table, {})[column["name"]] = column["meaning"]
    merged: dict[str, str] = {"file": "The file.", "column": "Its column.", "meaning": "What it means."}
    for name in reversed(TABLES):
        merged |= comments[name]
    return merged
