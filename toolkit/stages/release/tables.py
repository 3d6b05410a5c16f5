"""The two tables of a release, as CSV and as Parquet with the same rows: a row per case, and a row per reading."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from toolkit.csv_files import csv_text
from toolkit.files import write_atomically
from toolkit.manifest import Study
from toolkit.photographs.opening import Probe
from toolkit.stages.release.contents import Contents
from toolkit.stages.release.keys import ReleaseKey
from toolkit.workspace.answer_values import distinct_names
from toolkit.workspace.exported_cases import ExportedCase
from toolkit.workspace.runs import SIDES

LABELS, READINGS = "labels", "readings"
IMAGES = "images"
OWN = {
    "case_id": (pa.string(), "one lesion on one photograph"),
    "file_name": (pa.string(), "its photograph, below this folder; empty where there is none"),
    "image_id": (pa.string(), "the photograph's ID"),
    "patient_id": (pa.string(), "the patient's ID"),
    "lesion_id": (pa.string(), "the lesion's ID, where it is known"),
    "part": (pa.string(), "train, validation, test or external; empty: in no subset"),
    "reference_diagnosis": (pa.string(), "its class; empty where the readings give none"),
    "malignant": (pa.bool_(), "whether that class is malignant"),
    "resolved_by": (pa.string(), "how the readings gave the class, or why they gave none"),
    "readings": (pa.int64(), "how many annotators read it"),
    "width": (pa.int64(), "of the photograph, in pixels"),
    "height": (pa.int64(), "of the photograph, in pixels"),
    **{side: (pa.float64(), "lesion's box in pixels; empty: the whole photograph") for side in SIDES},
}
"""Columns of labels besides metadata fields: type and meaning."""
OF_READINGS = {
    "case_id": (pa.string(), "the case"),
    "annotator": (pa.string(), "the annotator's ID"),
    "class_name": (pa.string(), "the class that the annotator named"),
    "counts": (pa.bool_(), "whether the reading counts for the reference diagnosis"),
}
NO_BEGINNING = re.compile(r"^[\W_]+")
ODD = re.compile(r"[^\w ().%+/,-]")
"""What a column's name has not: it stands in SQL, Markdown and spreadsheets."""
TYPES = {
    "age": pa.int64(),
    "number": pa.float64(),
    "category": pa.string(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
}


class Tables(NamedTuple):
    """The rows of both tables; `columns` are the names of the metadata fields' columns, by field."""

    labels: pa.Table
    readings: pa.Table
    columns: dict[str, str]


def file_of(key: ReleaseKey, case: ExportedCase) -> str:
    """Return where the photograph of a case stands in the release."""
    return f"{IMAGES}/{key.photograph(case.image_id)}.jpg"


def column_names(fields: Mapping[str, str]) -> dict[str, str]:
    """Return the column of each metadata field: its name in plain characters, numbered where a column has it.

    >>> column_names({"age": "age", "part": "category", "=1+1|x": "number"})
    {'age': 'age', 'part': 'part_1', '=1+1|x': 'field 1+1_x'}
    """
    plain = [ODD.sub("_", NO_BEGINNING.sub("field ", name)) for name in fields]
    names = distinct_names([*OWN, *plain])[len(OWN) :]
    return dict(zip(fields, names, strict=True))


def tables_of(contents: Contents, study: Study, pictures: Mapping[str, Probe]) -> Tables:
    """Return both tables, ordered by their new IDs; `pictures` are those that were written, by photograph."""
    columns, key = column_names(contents.kinds), contents.key
    malignant = {each.name: each.malignant for each in study.classes}
    cases = sorted(contents.cases, key=lambda case: key.case(case.case_id))
    rows = []
    for case in cases:
        values = {columns[name]: contents.values[name].get(case.image_id) for name in columns}
        rows.append(_label(case, key, pictures.get(case.image_id), malignant) | values)
    types = {name: kind for name, (kind, _) in OWN.items()}
    types |= {columns[name]: TYPES[kind] for name, kind in contents.kinds.items()}
    schema = pa.schema([pa.field(name, kind) for name, kind in types.items()])
    readings = [reading for case in cases for reading in _readings(case, key)]
    of_readings = pa.schema([pa.field(name, kind) for name, (kind, _) in OF_READINGS.items()])
    return Tables(
        pa.Table.from_pylist(rows, schema=schema), pa.Table.from_pylist(readings, schema=of_readings), columns
    )


def _label(case: ExportedCase, key: ReleaseKey, picture: Probe | None, malignant: Mapping[str, bool]) -> dict[str, Any]:
    sides = (case.roi.left, case.roi.top, case.roi.width, case.roi.height) if case.roi else (None,) * len(SIDES)
    return {
        "case_id": key.case(case.case_id),
        "file_name": file_of(key, case) if picture else None,
        "image_id": key.photograph(case.image_id),
        "patient_id": key.patient(case.patient_id),
        "lesion_id": key.lesion(case.patient_id, case.lesion_id) if case.lesion_id else None,
        "part": case.part if case.class_name else None,
        "reference_diagnosis": case.class_name,
        "malignant": malignant.get(case.class_name or ""),
        "resolved_by": case.resolved_by,
        "readings": len(case.readings),
        "width": picture.width if picture else case.width,
        "height": picture.height if picture else case.height,
        **dict(zip(SIDES, sides, strict=True)),
    }


def _readings(case: ExportedCase, key: ReleaseKey) -> list[dict[str, Any]]:
    """Return the readings of a case; an annotator that no export names has no ID."""
    rows = [
        {
            "case_id": key.case(case.case_id),
            "annotator": key.annotator(each["annotator"]) if each["annotator"] else None,
            "class_name": each["class_name"],
            "counts": each["counts"],
        }
        for each in case.readings
    ]
    return sorted(rows, key=lambda row: (row["annotator"] or "", row["class_name"], row["counts"]))


def write_tables(folder: Path, tables: Tables) -> None:
    """Write labels and readings, as CSV and as Parquet."""
    for name, table in ((LABELS, tables.labels), (READINGS, tables.readings)):
        rows = ([row[column] for column in table.column_names] for row in table.to_pylist())
        write_atomically(folder / f"{name}.csv", csv_text(table.column_names, rows).encode())
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        write_atomically(folder / f"{name}.parquet", sink.getvalue().to_pybytes())
