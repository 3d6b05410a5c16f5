"""Knows how cases become parts without leakage, stratified by class, and how a stranger checks that.

Refuses to separate what belongs together: patients, and patients who share a photograph, form groups, and a group
stands in one part. Nothing but the pseudonyms themselves depends on the pseudonym key.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from toolkit import sql
from toolkit.errors import LeakError, WorkspaceError
from toolkit.files import csv_text, sha256_of, sha256_of_file, short_id, write_atomically, write_json
from toolkit.manifest import NO_PATIENTS, Study, shipped
from toolkit.progress import Progress, silent
from toolkit.registry import Workspace, insert, scratch

PARTS = ("train", "validation", "test")
PROVED = "no case twice; no patient, linked group or photograph digest in two parts; counts as stated"
ATTESTED = "that patient identifiers are true and complete"
SWAP_LIMIT = 300
"""Above this many kinds of group, swaps of two kinds are not searched: their number grows with the square."""


@dataclass(frozen=True)
class Split:
    """Parts by class, and the folder of the certificate. `deviation` is the largest distance from a wish, in cases."""

    split_id: str
    folder: str
    counts: dict[str, dict[str, int]]
    patients: dict[str, int]
    groups: int
    linked_patients: int
    unresolved: int
    deviation: float
    patients_known: bool
    already_there: bool


@dataclass(frozen=True)
class Verified:
    """What a certificate was checked for; every line holds. What the data manager attests cannot be checked."""

    split_id: str
    cases: int
    parts: int
    checks: list[str]
    attested: str
    patients_known: bool


class Table(NamedTuple):
    """Cases in order of their IDs: patient, group (its least case ID), class, photograph digest."""

    case_id: list[str]
    patient_id: list[str]
    group_id: list[str]
    class_name: list[str]
    pixels: list[str | None]


def split(workspace: Workspace, study: Study, *, progress: Progress = silent) -> Split:
    """Split the resolved cases and write the certificate. The same cases and seed give the same bytes."""
    progress("splitting", 0, None)
    rows = workspace.rows(sql.step("split_cases"))
    if not rows:
        raise WorkspaceError(
            "there is no case with a resolved class to split",
            place=str(workspace.folder),
            remedy="`toolkit status` says why cases were kept out; check projects, question and classes in the study",
        )
    table = _grouped(rows)
    fractions = [getattr(study.split, part) for part in PARTS]
    parts = assign(table, fractions, seed=study.study.seed)
    described = list(zip(table.case_id, table.group_id, table.class_name, table.pixels, strict=True))
    determined = {"seed": study.study.seed, "fractions": fractions, "cases": described}
    known = workspace.rows(sql.step("parsed"))[0]["patients_known"]
    if not known:
        determined["patients"] = NO_PATIENTS
    split_id = short_id(determined)
    folder = workspace.split(split_id)
    already = (folder / "certificate.json").exists()
    certificate = _certificate(workspace, study, split_id, table, parts, rows[0]["truth_id"])
    if not known:
        certificate |= _without_patients()
    if not already:
        _write(folder, certificate, table, parts)
    verify(folder)
    _record(workspace, split_id, table, parts)
    unresolved = workspace.rows("select count(*) as n from truth where class_name is null")[0]["n"]
    return Split(
        split_id=split_id,
        folder=str(folder),
        counts=certificate["counts"],
        patients=certificate["patients"],
        groups=certificate["groups"],
        linked_patients=certificate["linked_patients"],
        unresolved=unresolved,
        deviation=certificate["largest_deviation"],
        patients_known=known,
        already_there=already,
    )


def _grouped(rows: list[dict[str, Any]]) -> Table:
    """Join patients who share a photograph; a group is named after its least case ID."""
    case_id = [row["case_id"] for row in rows]
    links = []
    for column in ("patient_id", "pixel_sha256"):
        first: dict[str, int] = {}
        for number, row in enumerate(rows):
            if row[column] is not None:
                links.append((number, first.setdefault(row[column], number)))
    ends = np.array(links).T
    graph = coo_array((np.ones(ends.shape[1]), (ends[0], ends[1])), shape=(len(rows), len(rows)))
    number_of = connected_components(graph, directed=False)[1]
    least: dict[int, str] = {}
    for number, case in zip(number_of, case_id, strict=True):
        least[number] = min(case, least.get(number, case))
    return Table(
        case_id,
        [row["patient_id"] for row in rows],
        [least[number] for number in number_of],
        [row["class_name"] for row in rows],
        [row["pixel_sha256"] for row in rows],
    )


def assign(table: Table, fractions: list[float], *, seed: int) -> list[str]:
    """Return each case's part.

    Groups with the same number of cases of each class are interchangeable: how many of each kind go to which part is
    searched by moves and swaps from a proportional start; which ones is drawn by the seed.
    """
    classes = sorted(set(table.class_name))
    members: dict[str, np.ndarray] = {}
    for group, class_name in zip(table.group_id, table.class_name, strict=True):
        members.setdefault(group, np.zeros(len(classes), dtype=int))[classes.index(class_name)] += 1
    kinds: dict[tuple[int, ...], list[str]] = {}
    for group, counts in members.items():
        kinds.setdefault(tuple(counts), []).append(group)
    shapes = sorted(kinds, key=lambda shape: (-sum(shape), shape))
    allotted = _allot(np.array(shapes), np.array([len(kinds[shape]) for shape in shapes]), np.array(fractions))
    part_of = {}
    for shape, numbers in zip(shapes, allotted, strict=True):
        drawn = sorted(kinds[shape], key=lambda group: hashlib.sha256(f"{seed}\0{group}".encode()).digest())
        for part, end in zip(PARTS, np.cumsum(numbers), strict=True):
            start = end - numbers[PARTS.index(part)]
            part_of |= dict.fromkeys(drawn[start:end], part)
    return [part_of[group] for group in table.group_id]


def _allot(shapes: np.ndarray, available: np.ndarray, fractions: np.ndarray) -> np.ndarray:
    """Return how many groups of each kind (K, classes) go to each part, (K, parts)."""
    features = np.c_[shapes, shapes.sum(axis=1)]
    wish = np.outer(fractions, available @ features)
    allotted = np.floor(np.outer(available, fractions)).astype(int)
    for kind in range(len(shapes)):
        for _ in range(available[kind] - allotted[kind].sum()):
            short = wish - allotted.T @ features
            gain = (short**2 - (short - features[kind]) ** 2).sum(axis=1)
            allotted[kind, int(gain.argmax())] += 1
    while (change := _best_change(features, allotted, wish)) is not None:
        allotted += change
    return allotted


def _best_change(features: np.ndarray, allotted: np.ndarray, wish: np.ndarray) -> np.ndarray | None:
    """Return the move of one group, or swap of two, that lowers the squared distance from the wish most."""
    excess = allotted.T @ features - wish
    best, change = -1e-9, None
    for source in range(len(wish)):
        for target in range(len(wish)):
            if source == target:
                continue
            leaving = np.flatnonzero(allotted[:, source])
            if not len(leaving):
                continue
            returning = np.flatnonzero(allotted[:, target]) if len(features) <= SWAP_LIMIT else np.array([], dtype=int)
            moved = features[leaving][:, None, :] - np.r_[np.zeros((1, features.shape[1])), features[returning]][None]
            gap = excess[source] - excess[target]
            cost = 2 * (moved**2).sum(axis=2) - 2 * moved @ gap
            row, column = np.unravel_index(int(cost.argmin()), cost.shape)
            if cost[row, column] < best:
                best = cost[row, column]
                change = np.zeros_like(allotted)
                change[leaving[row], [source, target]] += [-1, 1]
                if column:
                    change[returning[column - 1], [source, target]] += [1, -1]
    return change


def _certificate(
    workspace: Workspace, study: Study, split_id: str, table: Table, parts: list[str], truth_id: str
) -> dict[str, Any]:
    """Return what the certificate states; counts and hashes that verify.sql and `verify` hold against cases.csv."""
    counts = {part: dict.fromkeys(study.class_names, 0) for part in PARTS}
    patients: dict[str, set[str]] = {part: set() for part in PARTS}
    for part, class_name, patient in zip(parts, table.class_name, table.patient_id, strict=True):
        counts[part][class_name] += 1
        patients[part].add(patient)
    total = {name: sum(counts[part][name] for part in PARTS) for name in study.class_names}
    wishes = {part: getattr(study.split, part) for part in PARTS}
    deviation = max(abs(counts[part][name] - wishes[part] * total[name]) for part in PARTS for name in total)
    distinct = len(set(table.patient_id))
    groups = len(set(table.group_id))
    return {
        "split_id": split_id,
        "study": study.study.name,
        "seed": study.study.seed,
        "fractions": wishes,
        "truth_id": truth_id,
        "exports": [row["sha256"] for row in workspace.rows("select sha256 from exports order by sha256")],
        "counts": counts,
        "patients": {part: len(members) for part, members in patients.items()},
        "groups": groups,
        "linked_patients": distinct - groups,
        "largest_deviation": round(deviation, 6),
        "binding_relations": ["patient", "identical pixels"],
        "salt": hashlib.sha256(f"photograph\0{split_id}".encode()).hexdigest()[:16],
        "photograph_digest": "sha256(salt + sha256 of the upright RGB pixels), first 32 hexadecimal digits",
        "toolkit": version("lesion-toolkit"),
        "proved_by_verify_sql": PROVED,
        "needs_photographs": "that the photograph digests are those of the photographs",
        "attested_by_the_data_manager": ATTESTED,
    }


def _without_patients() -> dict[str, Any]:
    """Return what a certificate states otherwise where each photograph counts as a patient of its own."""
    return {
        "binding_relations": ["photograph", "identical pixels"],
        "proved_by_verify_sql": PROVED.replace("patient, linked group", "linked group"),
        "attested_by_the_data_manager": f"nothing about patients; {NO_PATIENTS}",
    }


def _write(folder: Path, certificate: dict[str, Any], table: Table, parts: list[str]) -> None:
    salt = certificate["salt"]
    digests = [hashlib.sha256((salt + pixels).encode()).hexdigest()[:32] if pixels else "" for pixels in table.pixels]
    rows = zip(table.case_id, parts, table.patient_id, table.group_id, table.class_name, digests, strict=True)
    columns = ["case_id", "part", "patient_id", "group_id", "class_name", "photograph_digest"]
    write_atomically(folder / "cases.csv", csv_text(columns, rows).encode())
    write_atomically(folder / "verify.sql", _verify_sql())
    files = {name: sha256_of_file(folder / name) for name in ("cases.csv", "verify.sql")}
    stated = {**certificate, "files": files}
    write_json(folder / "certificate.json", {**stated, "seal": sha256_of(stated)})


def _verify_sql() -> bytes:
    return (shipped("sql") / "verify.sql").read_bytes()


def _record(workspace: Workspace, split_id: str, table: Table, parts: list[str]) -> None:
    """Mirror the split in the registry, once."""
    if workspace.rows("select 1 from splits where split_id = $split_id limit 1", {"split_id": split_id}):
        return
    now = datetime.now(UTC).replace(tzinfo=None)
    columns = {"case_id": table.case_id, "part": parts, "class_name": table.class_name}
    rows = pa.table(columns).append_column("split_id", pa.array([split_id] * len(parts)))
    rows = rows.append_column("created_at", pa.array([now] * len(parts), pa.timestamp("us")))
    with workspace.writing() as connection:
        insert(connection, "splits", rows)


def verify(folder: Path) -> Verified:
    """Check a certificate from its files alone; raise LeakError with every fault.

    The folder's own verify.sql is compared with the toolkit's, never run: a stranger's SQL is a stranger's program.
    """
    stated = _stated(folder)
    faults = [
        f"{name} is not the file the certificate was made for"
        for name, digest in stated["files"].items()
        if not (folder / name).is_file() or sha256_of_file(folder / name) != digest
    ]
    if (folder / "verify.sql").is_file() and (folder / "verify.sql").read_bytes() != _verify_sql():
        faults.append("verify.sql is not the one this version of the toolkit writes")
    seal = stated.pop("seal", None)
    if seal != sha256_of(stated):
        faults.append("certificate.json was changed after it was sealed")
    answers = _ask(folder)
    faults += [f"{row['verdict']}: {row['which']} ({row['times']})" for row in answers if row["verdict"] != "PASS"]
    if faults:
        shown = "\n".join(f"  - {fault}" for fault in faults[:20])
        more = f"\n  … and {len(faults) - 20} more" if len(faults) > 20 else ""
        raise LeakError(
            f"the certificate does not hold:\n{shown}{more}", place=str(folder), remedy="make the split anew"
        )
    checks = ["files and seal unchanged", *stated["proved_by_verify_sql"].split("; ")]
    attested = stated.get("attested_by_the_data_manager", "")
    return Verified(
        split_id=stated["split_id"],
        cases=answers[0]["times"],
        parts=len(stated["counts"]),
        checks=checks,
        attested=attested,
        patients_known=NO_PATIENTS not in attested,
    )


def _stated(folder: Path) -> dict[str, Any]:
    """Read a certificate, refusing what is none."""
    path = folder / "certificate.json"
    try:
        stated = json.loads(path.read_text(encoding="utf-8"))
        if not all(key in stated for key in ("split_id", "files", "counts", "seal", "proved_by_verify_sql")):
            raise LeakError("certificate.json lacks what a certificate states", place=str(path))
    except (OSError, ValueError) as error:
        raise LeakError(
            f"there is no readable certificate: {error}", place=str(path), remedy="give the folder of a split"
        ) from None
    return stated


def _ask(folder: Path) -> list[dict[str, Any]]:
    """Run the toolkit's verify.sql on a folder's files."""
    if not (folder / "cases.csv").is_file():
        return [{"verdict": "there is no cases.csv", "which": str(folder), "times": 0}]
    database = scratch(folder)
    try:
        database.execute("set file_search_path = ?", [str(folder.resolve())])
        return database.sql(_verify_sql().decode()).to_arrow_table().to_pylist()
    except Exception as error:  # noqa: BLE001 - whatever a changed file makes DuckDB raise, the certificate fails
        return [
            {"verdict": f"the files cannot be checked: {str(error).splitlines()[0]}", "which": str(folder), "times": 0}
        ]
    finally:
        database.close()
