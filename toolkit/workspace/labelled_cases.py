"""The cases with a reference diagnosis, and who shares a patient, a lesion or a leakage group, as numbers."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy

from toolkit.manifest import Study
from toolkit.stats.label_errors import Evidence
from toolkit.workspace import sql
from toolkit.workspace.measured_cases import Row
from toolkit.workspace.patient_links import PatientLink, grouped
from toolkit.workspace.registry import Workspace


class LabelledCases(NamedTuple):
    """Cases with a reference diagnosis, their readings, and their numbers: class, leakage group, lesion, patient."""

    rows: list[Row]
    readings: list[Row]
    classes: list[str]
    given: np.ndarray
    group: np.ndarray
    lesion: np.ndarray
    patient: np.ndarray


def labelled_cases(workspace: Workspace, study: Study | None) -> LabelledCases:
    """Read the cases; a leakage group is what the split never divides."""
    with workspace.reading():
        return _labelled_cases(workspace, study)


def _labelled_cases(workspace: Workspace, study: Study | None) -> LabelledCases:
    rows = workspace.rows(sql.statement("labelled/cases"))
    readings = workspace.rows(sql.statement("labelled/readings"))
    links = [PatientLink(**row) for row in workspace.rows(sql.statement("split/links"))]
    if study:
        links = [link for link in links if link.relation in study.split.binds]
    classes = sorted({row["class_name"] for row in (*rows, *readings)})
    return LabelledCases(
        rows,
        readings,
        classes,
        np.array([classes.index(row["class_name"]) for row in rows], dtype=int),
        numbered(grouped([(row["case_id"], row["patient_id"]) for row in rows], links)),
        _lesions(workspace, rows),
        numbered([row["patient_id"] for row in rows]),
    )


def numbered(names: Sequence[object]) -> np.ndarray:
    """Return names as numbers in the order of their first case: nothing may depend on pseudonyms."""
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=int)


def _lesions(workspace: Workspace, rows: list[Row]) -> np.ndarray:
    """Return the same number for cases that show one lesion: by its ID, or because their photographs are duplicates."""
    alone = {row["image_id"]: n for n, row in enumerate(rows) if row["alone"]}
    first: dict[tuple[str, str], int] = {}
    pairs = [(n, n) for n in range(len(rows))]
    for n, row in enumerate(rows):
        if row["alone"] and row["lesion_id"] is not None:
            pairs.append((n, first.setdefault((row["patient_id"], row["lesion_id"]), n)))
    copies = workspace.rows("select image_id, other_image_id from duplicates order by all")
    ends = ((alone.get(row["image_id"]), alone.get(row["other_image_id"])) for row in copies)
    pairs += [(one, other) for one, other in ends if one is not None and other is not None]
    if not rows:
        return np.zeros(0, dtype=int)
    one, other = np.array(pairs).T
    graph = scipy.sparse.coo_array((np.ones(len(one)), (one, other)), shape=(len(rows), len(rows)))
    return scipy.sparse.csgraph.connected_components(graph, directed=False)[1]


def evidence_of(labelled: LabelledCases, *models: np.ndarray) -> Evidence:
    """Return cases and readings as numbers; `models` are each (N, classes), NaN where one says nothing."""
    at = {row["case_id"]: n for n, row in enumerate(labelled.rows)}
    readings = labelled.readings
    return Evidence(
        np.stack(models),
        labelled.given,
        labelled.lesion,
        labelled.patient,
        np.array([at[row["case_id"]] for row in readings], dtype=int),
        numbered([row["annotator"] for row in readings]),
        np.array([labelled.classes.index(row["class_name"]) for row in readings], dtype=int),
    )
