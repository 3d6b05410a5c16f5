"""The stage `readers`: what annotators reach without the model and with it, for other readers and cases like these.

A multi-reader multi-case study on the registry's readings. Each reader is held against a reference diagnosis in which
their own readings have no part; patients with all of their cases are the unit.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from toolkit.errors import StudyError, WorkspaceError
from toolkit.manifest import Study
from toolkit.manifest.base import fold
from toolkit.manifest.readers import ReaderArm, ReadersSection
from toolkit.progress import Progress, silent
from toolkit.stats import mrmc
from toolkit.workspace import reader_studies, sql
from toolkit.workspace.locks import one_at_a_time
from toolkit.workspace.registry import Workspace, table_schema

FEWEST_PATIENTS = 20
"""Patients; values that rest on fewer are marked."""
FEWEST_READERS = 2
READINGS = ("aided", "unaided")
"""In the order of the analysis: a difference is the first minus the second."""
METHOD = "Obuchowski and Rockette, Hillis' degrees of freedom; covariances by jackknife of patients"
FEW_WAYS = "reads of an annotator who read one way only, or few cases both ways"
TWO_CLASSES = "two classes given by one reader in one way"
NOT_CROSSED = "not read by every reader both unaided and aided"
IS_REFERENCE = "no reference diagnosis is left without this reader's own readings: not a reader here"
NO_REFERENCE = "no reference diagnosis without this reader's own readings"
NO_RATING = "no rating by some reader: left out of the ROC AUC"


@dataclass(frozen=True)
class ReaderStudy:
    """What readers reach without and with the model; `rows` are those of the table reader_study."""

    unaided: str
    aided: str
    positive: list[str]
    truth_id: str
    readers: int
    cases: int
    patients: int
    confidence: float
    rows: list[dict[str, Any]]
    left_out: list[dict[str, Any]]
    in_training: int
    """Cases that are in the training set of a run: there the model knew the answer."""
    in_reference: int
    """Aided readings that count for the study's own reference diagnosis; here they do not."""


class Design(NamedTuple):
    """The crossed part of a study: what J readers said of N cases in two ways, and what each is held against.

    Classes are indices, -1 where there is none; ratings are numbers, NaN where there is none.
    """

    readers: list[str]
    cases: list[str]
    patient: np.ndarray
    """(N,) numbered from 0."""
    classes: np.ndarray
    """(2, J, N), the aided ones first."""
    ratings: np.ndarray
    """(2, J, N)."""
    reference: np.ndarray
    """(J, N)."""


class Figure(NamedTuple):
    """A figure of merit: values (2, J), those without each patient (U, 2, J), and what they rest on."""

    values: np.ndarray
    left_out: np.ndarray
    cases: int
    patients: int


@one_at_a_time("readers")
def readers(workspace: Workspace, study: Study, *, progress: Progress = silent) -> ReaderStudy:
    """Compare the study's readers without and with the model; replaces the tables of an earlier reader study.

    Raises StudyError where the study file names no reader study, and WorkspaceError where fewer than two readers, or
    no case to be detected, can be compared.
    """
    section, positive = _section(study)
    progress("comparing readers", 0, None)
    arms = {name: _readings(workspace, getattr(section, name), section.rating or "") for name in READINGS}
    _check_apart(section, arms)
    left_out: list[dict[str, Any]] = []
    design = _design(workspace, study, section, arms, left_out)
    figures = _figures(study, design, positive, left_out)
    truth_id = workspace.rows("select truth_id from label_states")[0]["truth_id"]
    rows, parts = [], []
    for metric, figure in figures.items():
        covariance = mrmc.jackknife(figure.left_out)
        support = {"readers": len(design.readers), "cases": figure.cases, "patients": figure.patients}
        shared = {"metric": metric, "confidence": study.evaluate.confidence, "method": METHOD, **support}
        shared |= {"too_few": figure.patients < FEWEST_PATIENTS, "truth_id": truth_id}
        rows += [{**shared, **row} for row in _rows(design, figure, covariance, confidence=study.evaluate.confidence)]
        parts.append({"metric": metric, **mrmc.components(figure.values, covariance)._asdict(), **support})
    tables = {"reader_study": rows, "reader_components": parts, "reader_left_out": left_out}
    reader_studies.record(
        workspace, {name: pa.Table.from_pylist(tables[name], schema=table_schema(name)) for name in tables}
    )
    trained = workspace.read(sql.statement("readers/trained_on"), {"cases": design.cases})
    return ReaderStudy(
        unaided=section.unaided.project,
        aided=section.aided.project,
        positive=positive,
        truth_id=truth_id,
        readers=len(design.readers),
        cases=len(design.cases),
        patients=int(design.patient.max()) + 1,
        confidence=study.evaluate.confidence,
        rows=rows,
        left_out=left_out,
        in_training=trained["cases"][0].as_py(),
        in_reference=sum(row["counts"] for row in arms["aided"]),
    )


def _section(study: Study) -> tuple[ReadersSection, list[str]]:
    if study.readers is None:
        raise StudyError(
            "the study file names no reader study",
            place="[readers]",
            remedy='say where the readings stand: unaided = {project = "A"} and aided = {project = "B"}',
        )
    positive = study.readers.positive or [c.name for c in study.classes if c.malignant]
    if not positive:
        raise StudyError(
            "nothing is said to be detected",
            place="[readers] positive",
            remedy="name the classes to be detected, or mark classes as malignant",
        )
    return study.readers, positive


def _readings(workspace: Workspace, arm: ReaderArm, rating: str) -> list[dict[str, Any]]:
    """Return an arm's readings; raise WorkspaceError where there are none."""
    known = workspace.rows("select distinct project_id, project from labels where kind = 'label' and in_study")
    wanted = [
        row["project_id"] for row in known if fold(arm.project) in (fold(row["project"]), fold(row["project_id"]))
    ]
    exports = [row["export_id"] for row in workspace.rows("select export_id from exports order by moment, export_id")]
    if arm.export and arm.export not in exports:
        raise WorkspaceError(f"no such export: {arm.export}", place="[readers]", remedy=f"there are: {exports}")
    days = {name: day.isoformat() if day else "" for name, day in (("since", arm.since), ("until", arm.until))}
    given = {"projects": wanted, "export": arm.export or "", "rating": rating, **days}
    rows = workspace.read(sql.statement("readers/readings"), given).to_pylist()
    if not rows:
        raise WorkspaceError(
            f"there is no reading in project {arm.project!r} that could be used",
            place="[readers]",
            remedy=f"the study's projects with labels are: {', '.join(sorted({row['project'] for row in known}))}",
        )
    return rows


def _check_apart(section: ReadersSection, arms: dict[str, list[dict[str, Any]]]) -> None:
    """Refuse a label that is in both arms, unless they are told apart by exports."""
    both = set.intersection(*({row["label_id"] for row in rows} for rows in arms.values()))
    if both and section.unaided.export == section.aided.export:
        raise WorkspaceError(
            f"{len(both)} labels are unaided and aided at once",
            place="[readers]",
            remedy="tell the rounds apart: until = a day for the first, since = a later day for the second",
        )


def _design(
    workspace: Workspace,
    study: Study,
    section: ReadersSection,
    arms: dict[str, list[dict[str, Any]]],
    left_out: list[dict[str, Any]],
) -> Design:
    """Return the crossed part: the cases that every reader read both ways, of the readers that leave most of them."""
    said = {name: _of_one_class(rows, left_out) for name, rows in arms.items()}
    cases_of: dict[str, set[str]] = defaultdict(set)
    for case_id, reader in said["aided"].keys() & said["unaided"].keys():
        cases_of[reader].add(case_id)
    references = _references(workspace, section, arms, sorted(cases_of))
    judges = cases_of.keys() - {reader for reader, _ in references}
    chosen, cases = _crossed({reader: own for reader, own in cases_of.items() if reader not in judges})
    if len(chosen) < FEWEST_READERS:
        raise WorkspaceError(
            "fewer than two annotators read the same cases both unaided and aided",
            place="[readers]",
            remedy="let at least two annotators read the same cases in both ways, the same people in both",
        )
    left_out += _not_crossed({key for rows in said.values() for key in rows}, chosen, set(cases), judges)
    names = [[references.get((reader, case)) for case in cases] for reader in chosen]
    reference = np.array([[study.class_names.index(name) if name else -1 for name in row] for row in names])
    for reader, row in zip(chosen, reference, strict=True):
        if missing := int((row < 0).sum()):
            left_out.append({"reason": NO_REFERENCE, "reader": reader, "cases": missing})
    patients = {row["case_id"]: row["patient_id"] for row in arms["aided"]}
    _, patient = np.unique([patients[case_id] for case_id in cases], return_inverse=True)
    table = [[[said[name][case, reader] for case in cases] for reader in chosen] for name in READINGS]
    ratings = [fold(answer) for answer in section.ratings]
    classes = [[[study.class_names.index(row["class_name"]) for row in rows] for rows in arm] for arm in table]
    rated = [[[_place(row["rating"], ratings) for row in rows] for rows in arm] for arm in table]
    return Design(chosen, cases, patient, np.array(classes), np.array(rated), reference)


def _not_crossed(
    every: set[tuple[str, str]], chosen: list[str], cases: set[str], judges: set[str]
) -> list[dict[str, Any]]:
    """Count what has readings, by case and reader, and no part in the crossed design."""
    read = Counter(reader for _, reader in every)
    rows: list[dict[str, Any]] = [
        {"reason": IS_REFERENCE if reader in judges else FEW_WAYS, "reader": reader, "cases": read[reader]}
        for reader in sorted(read.keys() - set(chosen))
    ]
    others = {case_id for case_id, reader in every if reader in chosen} - cases
    return [*rows, {"reason": NOT_CROSSED, "reader": None, "cases": len(others)}] if others else rows


def _of_one_class(rows: list[dict[str, Any]], left_out: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """Return an arm's reading by case and reader; readers that gave a case two classes are left out of it."""
    grouped: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        grouped[row["case_id"], row["reader"]].append(row)
    unclear = [key for key, own in grouped.items() if len({row["class_name"] for row in own}) > 1]
    for reader, cases in sorted(Counter(reader for _, reader in unclear).items()):
        left_out.append({"reason": TWO_CLASSES, "reader": reader, "cases": cases})
    return {key: own[-1] for key, own in grouped.items() if key not in unclear}


def _crossed(cases_of: dict[str, set[str]]) -> tuple[list[str], list[str]]:
    """Return readers and the cases that all of them read both ways: those that make the most readings together.

    Readers are added by how many cases they read; which ones they are depends on nothing that they said.
    """
    ranked = sorted(cases_of, key=lambda reader: (-len(cases_of[reader]), reader))
    best: tuple[list[str], list[str]] = ([], [])
    for count in range(FEWEST_READERS, len(ranked) + 1):
        shared = set.intersection(*(cases_of[reader] for reader in ranked[:count]))
        if shared and count * len(shared) >= len(best[0]) * len(best[1]):
            best = (sorted(ranked[:count]), sorted(shared))
    return best


def _references(
    workspace: Workspace, section: ReadersSection, arms: dict[str, list[dict[str, Any]]], candidates: list[str]
) -> dict[tuple[str, str], str]:
    """Return the class that the others give, by reader and case; a tie gives none."""
    labels = {name: sorted({row["label_id"] for row in rows}) for name, rows in arms.items()}
    given = {**labels, "readers": candidates, "export": section.unaided.export or ""}
    rows = workspace.read(sql.statement("readers/reference"), given).to_pylist() if candidates else []
    return {(row["reader"], row["case_id"]): row["class_name"] for row in rows}


def _place(rating: str | None, ratings: list[str]) -> float:
    """Return the place of an answer on the scale, NaN where it is not on it."""
    return float(ratings.index(fold(rating))) if rating and fold(rating) in ratings else float("nan")


def _figures(study: Study, design: Design, positive: list[str], left_out: list[dict[str, Any]]) -> dict[str, Figure]:
    """Return the figures of merit of all readers; those that have no case to rest on are left out."""
    members = np.array([study.class_names.index(name) for name in positive])
    known, is_positive = design.reference >= 0, np.isin(design.reference, members)
    if not (is_positive & known).any(axis=1).all():
        raise WorkspaceError(
            f"some reader read no case whose reference diagnosis is {' or '.join(positive)}",
            place="[readers]",
            remedy="let others label these cases too: a reader's own readings are no reference for that reader",
        )
    flagged = np.isin(design.classes, members)
    figures = {"accuracy": _share(design.patient, design.classes == design.reference, known)}
    figures["recall"] = _share(design.patient, flagged, known & is_positive)
    negative = known & ~is_positive
    if negative.any(axis=1).all():
        figures["specificity"] = _share(design.patient, ~flagged, negative)
        if study.readers and study.readers.rating:
            figures |= _rated(design, is_positive, known, left_out)
    return figures


def _share(patient: np.ndarray, right: np.ndarray, trials: np.ndarray) -> Figure:
    """Return shares of right readings (2, J, N) among each reader's trials (J, N), and those without each patient."""
    used = trials.any(axis=0)
    _, unit = np.unique(patient[used], return_inverse=True)
    of_patient = np.eye(int(unit.max()) + 1)[unit]  # (cases, patients)
    hits = (right & trials)[..., used] @ of_patient
    counts = trials[:, used] @ of_patient
    left = counts.sum(axis=1, keepdims=True) - counts
    without = np.divide(
        hits.sum(axis=2, keepdims=True) - hits,
        left,
        out=np.full(hits.shape, np.nan),
        where=np.broadcast_to(left > 0, hits.shape),
    )
    values = hits.sum(axis=2) / counts.sum(axis=1)
    return Figure(values, np.moveaxis(without, 2, 0), int(used.sum()), of_patient.shape[1])


def _rated(
    design: Design, positive: np.ndarray, known: np.ndarray, left_out: list[dict[str, Any]]
) -> dict[str, Figure]:
    """Return the area under the ROC curve of the readers' ratings, on the cases that all of them rated both ways."""
    rated = ~np.isnan(design.ratings).any(axis=(0, 1))
    if missing := int((~rated).sum()):
        left_out.append({"reason": NO_RATING, "reader": None, "cases": missing})
    used = known & rated
    if not ((used & positive).any(axis=1) & (used & ~positive).any(axis=1)).all():
        return {}
    numbers, unit = np.unique(design.patient[used.any(axis=0)], return_inverse=True)
    values, left = np.empty(design.classes.shape[:2]), np.empty((len(numbers), *design.classes.shape[:2]))
    place = np.full(len(design.patient), -1)
    place[used.any(axis=0)] = unit
    for reader, own in enumerate(used):
        auc, without = mrmc.areas(positive[reader, own], design.ratings[:, reader, own], place[own], units=len(numbers))
        values[:, reader], left[:, :, reader] = auc, without
    return {"roc_auc": Figure(values, left, int(used.any(axis=0).sum()), len(numbers))}


def _rows(design: Design, figure: Figure, covariance: np.ndarray, *, confidence: float) -> list[dict[str, Any]]:
    """Return the rows of one figure of merit: for whom it holds, and for each reader."""
    together = {
        "readers and cases": mrmc.random_readers(figure.values, covariance, confidence=confidence),
        "cases": mrmc.fixed_readers(figure.values, covariance, confidence=confidence),
        "readers": mrmc.fixed_cases(figure.values, confidence=confidence),
    }
    rows = [row for name, inference in together.items() for row in _effects(inference, name, None)]
    for number, reader in enumerate(design.readers):
        own = mrmc.of_reader(figure.values, covariance, number, confidence=confidence)
        rows += _effects(own, "one reader", reader)
    return rows


def _effects(inference: mrmc.Inference, holds_for: str, reader: str | None) -> list[dict[str, Any]]:
    """Return a row for each way, its interval within 0 and 1, and one for the difference."""
    rows = []
    for name, effect in zip((*READINGS, "difference"), inference, strict=True):
        low, high = (effect.low, effect.high) if name == "difference" else np.clip([effect.low, effect.high], 0, 1)
        bounds = {"low": float(low), "high": float(high)}
        rows.append({"inference": holds_for, "reader": reader, "reading": name, **effect._asdict(), **bounds})
    return rows
