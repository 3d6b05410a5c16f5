"""The certificate of a release: the subsets of a split under new IDs, with digests of the released photographs."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from toolkit.files import short_id
from toolkit.manifest import Study
from toolkit.photographs.opening import Probe
from toolkit.stages.release.contents import Contents
from toolkit.stages.release.keys import ReleaseKey
from toolkit.stats.stratified_split import CLASS, PATIENTS, TOTAL
from toolkit.workspace.certificate import (
    CROP_DIGEST,
    PHOTOGRAPH_DIGEST,
    Certified,
    attested,
    counted,
    digest,
    divided_photographs,
    read_rows,
    salt_of,
    shares_of,
    write_sealed,
)
from toolkit.workspace.exported_cases import ExportedCase
from toolkit.workspace.patient_links import PatientLink, reasons
from toolkit.workspace.registry import Workspace
from toolkit.workspace.verification import certified_split, patients_are_known

OF_COHORT = {"strata", "incidents"}
"""What of a split's wishes is about metadata or earlier splits, and does not go with a release."""


class Placed(NamedTuple):
    """A case in a subset, with the group it had in the split."""

    case: ExportedCase
    group_id: str
    class_before: str


def write_certificate(
    folder: Path, workspace: Workspace, study: Study, split_id: str, contents: Contents, pictures: Mapping[str, Probe]
) -> str:
    """Write cases.csv, certificate.json and verify.sql over the released files; return the new split's ID.

    Of the old certificate its counts, targets and links are kept; digests, exports, label revision, plan, strata and
    everything with a time are not, since they lead back to the workspace.
    """
    key = contents.key
    stated = certified_split(workspace, split_id)
    before = {row.case_id: row for row in read_rows(workspace.split(split_id))}
    placed = [
        Placed(case, before[case.case_id].group_id, before[case.case_id].class_name)
        for case in contents.cases
        if case.part and case.class_name and case.case_id in before
    ]
    bare = _rows(placed, key, pictures, salt="")
    new_id = short_id({"released": [row._asdict() for row in bare]})
    rows = _rows(placed, key, pictures, salt=salt_of(new_id))
    unchanged = len(placed) == len(before) and all(each.case.class_name == each.class_before for each in placed)
    write_sealed(folder, _stated(stated, study, new_id, rows, key, unchanged=unchanged), rows)
    return new_id


def _rows(placed: list[Placed], key: ReleaseKey, pictures: Mapping[str, Probe], *, salt: str) -> list[Certified]:
    """Return the rows of cases.csv by their new IDs; a group is named after the least of its cases."""
    groups: dict[str, str] = {}
    for each in placed:
        own = key.case(each.case.case_id)
        groups[each.group_id] = min(own, groups.get(each.group_id, own))
    return sorted(_row(each.case, groups[each.group_id], key, pictures, salt) for each in placed)


def _row(case: ExportedCase, group: str, key: ReleaseKey, pictures: Mapping[str, Probe], salt: str) -> Certified:
    picture = pictures.get(case.image_id)
    sides = ",".join(repr(float(side)) for side in case.roi) if case.roi else ""
    return Certified(
        key.case(case.case_id),
        str(case.part),
        key.patient(case.patient_id),
        key.lesion(case.patient_id, case.lesion_id) if case.lesion_id else "",
        group,
        str(case.class_name),
        digest(salt, picture.pixel_sha256) if picture else "",
        digest(salt, picture.pixel_sha256, sides) if picture else "",
        "{}",
    )


def _stated(
    old: dict[str, Any], study: Study, split_id: str, rows: list[Certified], key: ReleaseKey, *, unchanged: bool
) -> dict[str, Any]:
    """Return what the new certificate states."""
    patients = {row.patient_id for row in rows}
    renamed = [
        PatientLink(each["relation"], key.patient(each["patient_id"]), key.patient(each["other_patient_id"]))
        for each in old["links"]
    ]
    links = sorted(link for link in renamed if {link.patient_id, link.other_patient_id} <= patients)
    opened = len({row.photograph_digest for row in rows if row.photograph_digest})
    classes = list(dict.fromkeys((*study.class_names, *sorted({row.class_name for row in rows}))))
    known = patients_are_known(old)
    return {
        "split_id": split_id,
        "study": study.study.name,
        "seed": old["seed"],
        "wish": {name: value for name, value in old["wish"].items() if name not in OF_COHORT},
        "minimum": old["minimum"],
        "objective": "as the split that this one was released from",
        "nothing_is_nearer": old["nothing_is_nearer"] and unchanged,
        "truth_id": study.ingest.policy,
        "exports": [],
        **counted(rows, _shares(old, rows), classes, minimum=old["minimum"]),
        "binds": old["binds"],
        "links": [link._asdict() for link in links],
        "reasons": reasons(links, patients),
        "photographs_opened": opened,
        "photographs_not_opened": sum(not row.photograph_digest for row in rows),
        "near_duplicates": None,
        "salt": salt_of(split_id),
        "photograph_digest": PHOTOGRAPH_DIGEST,
        "crop_digest": CROP_DIGEST,
        "toolkit": version("lesion-toolkit"),
        **attested(patients_known=known, photographs_apart=not divided_photographs(rows)),
    }


def _shares(old: dict[str, Any], rows: list[Certified]) -> dict[tuple[str, str], tuple[float, ...]]:
    """Return the target shares of classes, cases and patients; a class that is new has those of all cases."""
    shares = shares_of(old["strata"])
    kept = {key: value for key, value in shares.items() if key[0] in (CLASS, TOTAL, PATIENTS)}
    for name in sorted({row.class_name for row in rows}):
        kept.setdefault((CLASS, name), kept[TOTAL, ""])
    return kept
