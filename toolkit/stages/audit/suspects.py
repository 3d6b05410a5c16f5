"""Labels that should be looked at first: how likely each is wrong, given photographs, readings, lesions and duplicates.

The models that compare photographs with labels see plain features only, and never a case of the same leakage group.
"""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from toolkit.files import sha256_of
from toolkit.manifest import Study
from toolkit.models import plain
from toolkit.photographs import plain_features, quality
from toolkit.progress import Progress
from toolkit.stages.audit.reasons import LabelSearch, reasons_of
from toolkit.stats.label_errors import Weights, label_errors
from toolkit.workspace import audited, measured_cases, sql
from toolkit.workspace.labelled_cases import LabelledCases, evidence_of, labelled_cases, numbered
from toolkit.workspace.measured_cases import Row
from toolkit.workspace.registry import Workspace, table_schema

FIRST = 50
"""Labels that are listed at least, unless that is more than a part of the study."""
PART = 5
"""The part: no more than a fifth of the cases is listed, unless more labels than that are thought to be wrong."""
ROUNDED = 6
"""Decimals of scores: what lies beyond may differ from machine to machine."""


@dataclass(frozen=True)
class SuspectLabels:
    """How many labels were compared with their photographs, how many are listed, how many are thought to be wrong."""

    cases: int
    compared: int
    listed: int
    expected_wrong: float
    expected_listed: float
    """Of those that are listed."""


def find_suspects(workspace: Workspace, study: Study | None, progress: Progress) -> SuspectLabels:
    """Note how likely each label is wrong, and which are listed; nothing is computed anew from the same input."""
    labelled = labelled_cases(workspace, study)
    settings = json.dumps({"features": plain_features.VERSION, **plain.SETTINGS, **Weights()._asdict()}, sort_keys=True)
    digest = _digest(labelled, settings, seed := study.study.seed if study else 0)
    if not workspace.rows("select 1 from label_searches where inputs_sha256 = $digest", {"digest": digest}):
        measured = measured_cases.measure(workspace, labelled.rows, progress)
        probabilities = _out_of_fold(labelled, measured.features, seed, progress)
        errors = label_errors(evidence_of(labelled, probabilities))
        _record(workspace, LabelSearch(labelled, measured, probabilities, errors), digest, settings)
    (summary,) = workspace.rows(sql.statement("audit/suspects"))
    return SuspectLabels(**summary)


def _digest(labelled: LabelledCases, settings: str, seed: int) -> str:
    """Return the digest of all that the scores and their reasons rest on."""
    numbers = [column.tolist() for column in labelled[3:]]
    places = {row["patient_id"]: "" for row in labelled.rows}
    rows = [{name: value for name, value in row.items() if name not in ("path", "patient_id")} for row in labelled.rows]
    readings = [{**row, "annotator": None} for row in labelled.readings]
    who = numbered([row["annotator"] for row in labelled.readings]).tolist()
    return sha256_of([settings, quality.VERSION, seed, len(places), rows, readings, who, numbers])


def _out_of_fold(labelled: LabelledCases, features: np.ndarray, seed: int, progress: Progress) -> np.ndarray:
    """Return (N, classes), NaN for cases without features and for classes of one group."""
    every = np.full((len(labelled.rows), len(labelled.classes)), np.nan)
    known = ~np.isnan(features).any(axis=1)
    if known.any():
        every[known] = plain.out_of_fold(
            features[known],
            labelled.given[known],
            labelled.group[known],
            classes=len(labelled.classes),
            seed=seed,
            progress=progress,
        )
    return every


def _record(workspace: Workspace, search: LabelSearch, digest: str, settings: str) -> None:
    """Replace the tables of the search."""
    rows = search.labelled.rows
    noted = {
        "inputs_sha256": digest,
        "settings": settings,
        "cases": len(rows),
        "compared": int(search.compared.sum()),
        "expected_wrong": round(float(_scores(search).sum()), ROUNDED),
        "temperature": float(search.errors.temperatures[0]),
    }
    tables = {
        "photograph_quality": _quality_rows(search),
        "label_evidence": _evidence_rows(search),
        "label_searches": [noted] if rows else [],
    }
    audited.record(workspace, {name: pa.Table.from_pylist(tables[name], schema=table_schema(name)) for name in tables})


def _scores(search: LabelSearch) -> np.ndarray:
    return np.round(search.errors.wrong(search.labelled.given), ROUNDED)


def _quality_rows(search: LabelSearch) -> list[Row]:
    rows = {
        row["image_id"]: {"image_id": row["image_id"], "pixel_sha256": row["pixel_sha256"], **own._asdict()}
        for row, own in zip(search.labelled.rows, search.measured.quality, strict=True)
        if own is not None
    }
    return [rows[image] for image in sorted(rows)]


def _evidence_rows(search: LabelSearch) -> list[Row]:
    """Return a row per case. The first are listed: as many as are thought to be wrong, at least 50 or a fifth.

    Without any photograph that was compared none is: annotators who disagree are a finding of their own.
    """
    labelled, probabilities, scores = search.labelled, search.probabilities, _scores(search)
    # Cases are in the order of their IDs: a stable sort breaks ties by them.
    place = np.empty(len(scores), dtype=int)
    place[np.argsort(-scores, kind="stable")] = np.arange(1, len(scores) + 1)
    most = max(min(FIRST, len(scores) // PART), int(np.ceil(scores.sum()))) if search.compared.any() else 0
    suggested, chances = search.errors.suggested(labelled.given)
    reasons = reasons_of(search, suggested)
    is_choice = len(labelled.classes) > 1
    return [
        {
            "case_id": row["case_id"],
            "class_name": row["class_name"],
            "suggested_class": labelled.classes[suggested[n]] if is_choice else None,
            "suggested_probability": _number(chances[n]) if is_choice else None,
            "score": float(scores[n]),
            "place": int(place[n]),
            "listed": bool(place[n] <= most),
            "own_probability": _number(probabilities[n, labelled.given[n]]),
            "probabilities": _by_class(labelled.classes, probabilities[n]) if search.compared[n] else None,
            "reasons": reasons[n],
        }
        for n, row in enumerate(labelled.rows)
    ]


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), ROUNDED)


def _by_class(classes: list[str], probabilities: np.ndarray) -> list[tuple[str, Any]]:
    return [(name, round(float(value), ROUNDED)) for name, value in zip(classes, probabilities, strict=True)]
