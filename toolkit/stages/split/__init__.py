"""The stage `split`: a study's cases are divided into train, validation and test sets, and the split is certified.

Patients, and patients who share a photograph, form groups that are never divided. Nothing but the pseudonyms themselves
depends on the pseudonym key.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from toolkit.errors import WorkspaceError
from toolkit.files import short_id
from toolkit.manifest import NO_PATIENTS, Study
from toolkit.progress import Progress, silent
from toolkit.stages.split import earlier_split
from toolkit.stages.split.assignment import SplitAssignment, assign
from toolkit.stages.split.earlier_split import Incident, KeptSplit
from toolkit.stages.split.groups import Cohort, SplitCase, cohort_of
from toolkit.workspace import ledger, plan, sql
from toolkit.workspace.certificate import (
    CROP_DIGEST,
    PHOTOGRAPH_DIGEST,
    Certified,
    attested,
    copy_split,
    counted,
    digest,
    divided_photographs,
    has_certificate,
    read_certificate,
    read_rows,
    salt_of,
    split_folders,
    write_sealed,
)
from toolkit.workspace.locks import one_at_a_time
from toolkit.workspace.names import chosen_id
from toolkit.workspace.patient_links import reasons
from toolkit.workspace.registry import Workspace, insert
from toolkit.workspace.restore import note_split, split_rows
from toolkit.workspace.verification import certified_split, verify


@dataclass(frozen=True)
class Split:
    """The counts of a split by part and class, and its folder; of a cross-validation, those of its first fold."""

    split_id: str
    folder: str
    folds: list[str]
    """IDs of all folds; empty where there is no cross-validation."""
    counts: dict[str, dict[str, int]]
    patients: dict[str, int]
    groups: int
    linked_patients: int
    reasons: dict[str, int]
    """Groups of several patients that each relation helped to join."""
    unresolved: int
    not_opened: int
    """Photographs whose pixels are not known, so that their duplicates cannot be found."""
    deviation: float
    """Largest distance of a class from its target, in cases; `bound` is the least that whole cases permit."""
    bound: float
    best: bool
    """Whether it is proved that no other split is closer to the target."""
    patients_known: bool
    already_there: bool
    pinned: bool
    photographs_changed: int = 0
    """Photographs that are not those that were pinned."""
    kept: int = 0
    placed: int = 0
    gone: int = 0
    """Of a split that keeps an earlier one: cases that stay, that are new, that have no class any more."""
    incidents: list[Incident] = field(default_factory=list)
    plan_sha256: str | None = None
    """Of the analysis plan that stands in the certificate; None where none was locked."""
    plan_changed: bool = False
    """Whether the study's plan is another one today: the first one stays locked."""


class _SplitInputs(NamedTuple):
    """Cases, study, what of an earlier split is kept, and what the registry says of exports and patients."""

    cohort: Cohort
    study: Study
    kept: KeptSplit | None
    facts: dict[str, Any]


@one_at_a_time("split")
def split(
    workspace: Workspace,
    study: Study,
    *,
    study_folder: Path | None = None,
    frozen: str | None = None,
    progress: Progress = silent,
) -> Split:
    """Split the resolved cases and write the certificate. The same cases, target and seed give the same bytes.

    `frozen` is an earlier split whose patients stay where they are, or "pinned". A study with a pinned split takes its
    parts from there; `study_folder` is what its path is relative to.
    """
    progress("splitting", 0, None)
    section = study.split
    cohort = cohort_of(workspace, section)
    pinned = (study_folder or Path()) / section.pinned if section.pinned else None
    inputs = _SplitInputs(cohort, study, None, _facts(workspace))
    if pinned and frozen is None:
        rows = earlier_split.pinned_parts(pinned, cohort.cases)
        result = _take_pinned(workspace, inputs, pinned)
        return replace(result, photographs_changed=earlier_split.changed(rows, cohort.cases, salt_of(result.split_id)))
    if frozen is not None:
        folder = _folder_of(workspace, frozen, pinned)
        split_id, rows = verify(folder).split_id, read_rows(folder)
        if any(row.part == "external" for row in rows):
            raise WorkspaceError(
                "this split is external: there is nothing to keep", place=str(folder), remedy="toolkit split"
            )
        kept = earlier_split.keep(split_id, rows, cohort.cases, incidents=section.incidents)
        cases = [case for case in cohort.cases if case.group_id not in kept.dropped]
        inputs = inputs._replace(cohort=cohort._replace(cases=cases), kept=kept)
    return _make(workspace, inputs)


def _facts(workspace: Workspace) -> dict[str, Any]:
    parsed = workspace.rows(sql.statement("parse/parsed"))[0]
    exports = [row["sha256"] for row in workspace.rows("select sha256 from exports order by sha256")]
    unresolved = workspace.rows("select count(*) as n from truth where class_name is null")[0]["n"]
    return {"patients_known": parsed["patients_known"], "exports": exports, "unresolved": unresolved}


def _folder_of(workspace: Workspace, split_id: str, pinned: Path | None) -> Path:
    """Return the folder of an earlier split: in the workspace, or the pinned one."""
    if pinned and (split_id == "pinned" or verify(pinned).split_id == split_id):
        return pinned
    known = [path.name for path in split_folders(workspace) if has_certificate(path)]
    place = str(workspace.split(split_id))
    return workspace.split(chosen_id(split_id, known, kind="split", place=place, remedy="toolkit split"))


def _make(workspace: Workspace, inputs: _SplitInputs) -> Split:
    """Assign what is free, and write and record one split, or one for each fold."""
    section = inputs.study.split
    if section.external and inputs.kept:
        raise WorkspaceError(
            "every case is in the external set: there is nothing to keep",
            place="split.external",
            remedy="toolkit split",
        )
    if section.folds and inputs.kept:
        raise WorkspaceError(
            "a cross-validation cannot be kept", place="split.folds", remedy="freeze the split of a study without folds"
        )
    cases = inputs.cohort.cases
    fixed = inputs.kept.fixed if inputs.kept else {}
    assignments = assign(cases, section, seed=inputs.study.study.seed, fixed=fixed)
    now = datetime.now(UTC).replace(tzinfo=None)
    results = []
    for fold, assignment in enumerate(assignments, start=1):
        number = fold if section.folds else None
        split_id = short_id(_determined(inputs, number))
        folder = workspace.split(split_id)
        already = has_certificate(folder)
        rows = certified(cases, assignment.parts, section.strata, salt_of(split_id))
        stated = _stated(inputs, split_id, assignment, rows, fold=number)
        if not already:
            write_sealed(folder, stated, rows)
        verify(folder)
        # The first fold is the newest split: what comes next takes that.
        _record(workspace, split_id, at=now - timedelta(microseconds=fold), written=not already)
        results.append(_result(inputs, folder, stated, already=already, pinned=False))
    folds = [result.split_id for result in results] if section.folds else []
    return replace(results[0], folds=folds)


def _take_pinned(workspace: Workspace, inputs: _SplitInputs, pinned: Path) -> Split:
    """Copy a pinned split into the workspace unchanged."""
    stated = read_certificate(pinned)
    folder = workspace.split(stated["split_id"])
    already = has_certificate(folder)
    if not already:
        copy_split(pinned, folder)
    verify(folder)
    _record(workspace, stated["split_id"], at=datetime.now(UTC).replace(tzinfo=None), written=not already)
    return _result(inputs, folder, stated, already=already, pinned=True)


def certified(cases: Iterable[SplitCase], parts: Iterable[str], strata: Iterable[str], salt: str) -> list[Certified]:
    """Return the rows of cases.csv."""
    names = list(strata)
    return [
        Certified(
            case.case_id,
            part,
            case.patient_id,
            case.lesion_id,
            case.group_id,
            case.class_name,
            digest(salt, case.pixels) if case.pixels else "",
            digest(salt, case.pixels, case.roi) if case.pixels else "",
            json.dumps(dict(zip(names, case.strata, strict=True)), ensure_ascii=False),
        )
        for case, part in zip(cases, parts, strict=True)
    ]


def _determined(inputs: _SplitInputs, fold: int | None) -> dict[str, Any]:
    """Return what a split's ID is the digest of; no pseudonym is in it."""
    determined: dict[str, Any] = {
        "seed": inputs.study.study.seed,
        "split": inputs.study.split.model_dump(mode="json", exclude={"pinned", "incidents", "external"}),
        "cases": [(c.case_id, c.group_id, c.class_name, c.pixels, c.roi, c.strata) for c in inputs.cohort.cases],
    }
    if not inputs.facts["patients_known"]:
        determined["patients"] = NO_PATIENTS
    if inputs.study.split.external:
        determined["external"] = True
    if fold is not None:
        determined["fold"] = fold
    if inputs.kept:
        determined["frozen"] = [inputs.kept.split_id, sorted(inputs.kept.fixed.items())]
    return determined


def _stated(
    inputs: _SplitInputs, split_id: str, assignment: SplitAssignment, rows: list[Certified], *, fold: int | None
) -> dict[str, Any]:
    """Return what the certificate states; verify.sql and `verify` check it against cases.csv."""
    study, section, cohort = inputs.study, inputs.study.split, inputs.cohort
    patients = {row.patient_id for row in rows}
    links = [link for link in cohort.links if {link.patient_id, link.other_patient_id} & patients]
    known = inputs.facts["patients_known"]
    stated = {
        "split_id": split_id,
        "study": study.study.name,
        "seed": study.study.seed,
        "wish": section.model_dump(mode="json", exclude={"pinned", "minimum", "binds"}),
        "minimum": section.minimum,
        "objective": "least weighted cases beyond the bounds: class first, then all cases, strata by weight, patients",
        "nothing_is_nearer": assignment.best,
        "truth_id": cohort.truth_id,
        "exports": inputs.facts["exports"],
        **counted(rows, assignment.shares, study.class_names, minimum=section.minimum),
        "binds": section.binds if known else ["photograph", *section.binds[1:]],
        "links": [link._asdict() for link in links],
        "reasons": reasons(cohort.links, patients),
        **cohort.search,
        "salt": salt_of(split_id),
        "photograph_digest": PHOTOGRAPH_DIGEST,
        "crop_digest": CROP_DIGEST,
        "toolkit": version("lesion-toolkit"),
        **attested(patients_known=known, photographs_apart=not divided_photographs(rows)),
    }
    stated |= plan.sealed(study)
    if fold is not None:
        stated["fold"] = {"fold": fold, "of": section.folds}
    if inputs.kept:
        stated["frozen"] = inputs.kept.stated()
    return stated


def _result(inputs: _SplitInputs, folder: Path, stated: dict[str, Any], *, already: bool, pinned: bool) -> Split:
    kept, lock = inputs.kept or KeptSplit("", {}), plan.locked(folder)
    return Split(
        split_id=stated["split_id"],
        folder=str(folder),
        folds=[],
        counts=stated["counts"],
        patients=stated["patients"],
        groups=stated["groups"],
        linked_patients=stated["linked_patients"],
        reasons=stated["reasons"],
        unresolved=inputs.facts["unresolved"],
        not_opened=stated["photographs_not_opened"],
        deviation=stated["largest_deviation"],
        bound=stated["largest_bound"],
        best=stated["nothing_is_nearer"],
        patients_known=inputs.facts["patients_known"],
        already_there=already,
        pinned=pinned,
        kept=kept.kept,
        placed=kept.placed,
        gone=len(kept.gone),
        incidents=kept.incidents,
        plan_sha256=lock and lock.sha256,
        plan_changed=plan.stated(inputs.study) != (lock and lock.plan),
    )


def _record(workspace: Workspace, split_id: str, *, at: datetime, written: bool) -> None:
    """Note the split in the ledger and mirror it in the registry, once; it keeps the time of the first time.

    A folder that was not written now must be the one that the ledger knows.
    """
    known = workspace.rows("select 1 from splits where split_id = $split_id limit 1", {"split_id": split_id})
    if written or not (known or ledger.last(workspace, "split", split_id)):
        note_split(workspace, split_id, at)
    certified_split(workspace, split_id)
    if known:
        return
    with workspace.writing() as connection:
        insert(connection, "splits", split_rows(workspace, split_id))
