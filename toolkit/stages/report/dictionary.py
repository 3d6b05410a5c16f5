"""The data dictionary of a report's CSV files: sql/columns.toml, then the comments of the schema."""

import tomllib
from functools import cache
from typing import Any

from toolkit.csv_files import columns_of, sheet_text
from toolkit.formatting import METRICS, PATIENT, in_units, spoken, unit
from toolkit.shipped import shipped
from toolkit.workspace import sql

TABLES = (
    "scores", "operating_points", "guarantees", "decision_curves", "calibration_bins", "subgroup_scores", "comparisons",
    "departures",
    "predictions", "splits", "findings", "ingest_issues", "images", "epochs", "duplicates", "label_evidence",
)  # fmt: skip
"""Where a column's meaning is looked for, in this order."""


def with_dictionary(tables: dict[str, str], classes: list[str]) -> dict[str, bytes]:
    """Return CSV files as bytes, with data_dictionary.csv, which says what every column of them means."""
    names = dict.fromkeys([*tables, "data_dictionary.csv"])
    rows = [
        (file, _in_units(column), in_units(_meanings().get(file, {}).get(column) or meaning(column, classes)))
        for file in names
        for column in (columns_of(tables[file]) if file in tables else ("file", "column", "meaning"))
    ]
    own = sheet_text(["file", "column", "meaning"], rows)
    called = {file: _with_units(text) for file, text in tables.items()}
    return {name: text.encode() for name, text in {**called, "data_dictionary.csv": own}.items()}


def _with_units(text: str) -> str:
    """Return CSV with what counts as a patient in the names of its columns."""
    if unit() == PATIENT:
        return text
    head, end, rows = text.partition("\n")
    return f"{','.join(map(_in_units, head.split(',')))}{end}{rows}"


def _in_units(column: str) -> str:
    return column if unit() == PATIENT else column.replace("patients", f"{unit()}s")


def meaning(column: str, classes: list[str]) -> str:
    """Return what a column means; "" where that is not stated anywhere."""
    if column.startswith("probability_") and column.removeprefix("probability_") in classes:
        return f"Probability of {spoken(column.removeprefix('probability_'))}."
    for ending, words in (("_low", "Lower bound of"), ("_high", "Upper bound of")):
        if column.endswith(ending) and (name := _metric(column.removesuffix(ending))):
            return f"{words} the interval of {name}."
    metric = _metric(column)
    return _meanings().get(column) or (metric and f"{metric[0].upper()}{metric[1:]} of the class.")


def _metric(name: str) -> str:
    return METRICS.get(name, spoken(name) if name.startswith("calibration_") else "")


@cache
def _meanings() -> dict[str, Any]:
    """Return the meaning of each column by name: our own, else the schema's comment in the first of TABLES; by file."""
    columns = {table.name: {name: meaning for name, _, meaning in table.columns} for table in sql.schema_tables()}
    meanings: dict[str, Any] = {}
    for table in reversed(TABLES):
        meanings |= columns[table]
    return meanings | tomllib.loads((shipped("sql") / "columns.toml").read_text(encoding="utf-8"))
