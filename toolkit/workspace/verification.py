"""Checks of a split's certificate: its files and seal, verify.sql, and its digests against photographs.

A folder's own verify.sql is compared with the toolkit's and never executed, and what is proved is said in the toolkit's
own words: no text of a stranger's certificate is shown.
"""

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from toolkit.errors import DamagedError, LeakError, PhotographError
from toolkit.files import read_bytes
from toolkit.photographs.opening import probe, read_photograph
from toolkit.progress import Progress, silent
from toolkit.workspace import ledger, sql
from toolkit.workspace.certificate import (
    ATTESTED,
    CASES,
    CERTIFICATE,
    COLUMNS,
    NEEDS_PHOTOGRAPHS,
    VERIFY,
    Certified,
    attested,
    counted,
    digest,
    divided_photographs,
    proved,
    read_certificate,
    read_rows,
    roi_in_words,
    rows_of,
    salt_of,
    seal_of,
    shares_of,
    verify_sql,
)
from toolkit.workspace.patient_links import PatientLink, components
from toolkit.workspace.registry import Workspace, scratch
from toolkit.workspace.runs import CLOCKS, RECORD, RunRecord
from toolkit.workspace.runs import RESTORE as RESTORE_RUN

VERIFY_SQL_KNOWN = (
    "5a3a33372cc353e09b0d5be0ce234f071b768868c5762f92ff620db1560a1e90",
    "6194d6ae0f2ea6ac658b173d20ecd0b5c97fff1db00cc05b0ef4293dc6720ad9",
)
"""SHA-256 of every verify.sql that was ever written into a certificate. When the file changes, its new digest is added
and the earlier ones stay, so that certificates already issued still hold; the SQL that is run is always today's."""
AS_STATED = 1e-3
"""How far a bound may be from the stated one: wishes are rounded in the certificate."""
RESTORE = "restore the split's folder from a backup, or move it away and make the split again"


@dataclass(frozen=True)
class Verified:
    """The checks that a certificate has passed. What the data manager attests cannot be checked."""

    split_id: str
    cases: int
    parts: int
    checks: list[str]
    photographs: str
    """What was computed again from photographs."""
    attested: str
    patients_known: bool
    not_proved: list[str] = field(default_factory=list)
    """What a reader might take for proved, and is not."""


def verify(folder: Path, *, images: Path | None = None, progress: Progress = silent) -> Verified:
    """Check a certificate from its files, and its digests against the photographs below `images`.

    Raises LeakError with every fault: a leak, a changed byte, a digest that no photograph has.
    """
    stated = read_certificate(folder)
    if changes := _changed(folder, stated):
        raise _broken(folder, changes)
    cases = read_bytes(folder / CASES)
    rows = rows_of(cases, place=folder / CASES)
    faults = [*_verify_sql_faults(stated, cases, rows)]
    faults = faults or [*_counted_faults(stated, rows), *_linked_faults(stated, rows)]
    without = sum(not row.photograph_digest for row in rows)
    photographs = f"not checked: {NEEDS_PHOTOGRAPHS}"
    if not faults and images is not None:
        digests = _digests(images, stated["salt"], progress)
        missing = [row.case_id for row in rows if row.photograph_digest and row.photograph_digest not in digests]
        faults += [f"no photograph has the digest of case {case}" for case in missing]
        photographs = f"{len(rows) - without} photograph digests re-computed, {without} cases have none"
    if faults:
        raise _broken(folder, faults)
    patients_known = patients_are_known(stated)
    divided = divided_photographs(rows)
    words = attested(patients_known=patients_known, photographs_apart=not divided)
    return Verified(
        split_id=stated["split_id"],
        cases=len(rows),
        parts=len({row.part for row in rows}),
        checks=[
            "files and seal unchanged",
            *proved(patients_known=patients_known, photographs_apart=not divided),
        ],
        photographs=photographs,
        attested=words["attested_by_the_data_manager"],
        patients_known=patients_known,
        not_proved=[*_not_proved(divided=divided, without=without, cases=len(rows))],
    )


def patients_are_known(stated: dict[str, Any]) -> bool:
    """Tell whether a certificate binds patients, and its data manager attests them in the words for that."""
    return "patient" in stated["binds"] and stated["attested_by_the_data_manager"] == ATTESTED


def _not_proved(*, divided: int, without: int, cases: int) -> Iterator[str]:
    if divided:
        yield f"photographs are not kept apart: {divided} of them stand in two parts, which this split permits"
    if without:
        yield f"{without} of {cases} cases have no photograph digest: their photographs were not compared"


def find_certified(workspace: Workspace, split_id: str) -> dict[str, Any] | None:
    """Return the certificate of a split as `certified_split` does; None where it never had files that anybody knows."""
    known = os.path.lexists(workspace.split(split_id)) or ledger.last(workspace, "split", split_id)
    return certified_split(workspace, split_id) if known else None


def certified_split(workspace: Workspace, split_id: str) -> dict[str, Any]:
    """Return the certificate of a split of this workspace, whose files must be those that the ledger knows.

    Raises LeakError for a split that was changed after it was made, even where it was sealed again.
    """
    folder = workspace.split(split_id)
    stated = read_certificate(folder)
    faults = _changed(folder, stated)
    noted = ledger.last(workspace, "split", split_id)
    if stated["split_id"] != split_id or (noted and noted["seal"] != stated["seal"]):
        faults.append("certificate.json is not the one that was noted in the ledger when the split was made")
    if faults:
        raise _broken(folder, faults, remedy=RESTORE)
    return stated


def check_record(workspace: Workspace, record: RunRecord) -> None:
    """Compare a run's record with its split; raise DamagedError where it has more cases, or is older than the split."""
    stated = find_certified(workspace, record.split_id)
    made = [entry["created_at"] for entry in ledger.entries(workspace, "split") if entry["split_id"] == record.split_id]
    faults = []
    if made and record.finished_at.replace(tzinfo=None) < datetime.fromisoformat(min(made)) - CLOCKS:
        faults.append("it was finished before its split was made")
    if stated and not record.external_of:
        withdrawn = sum(each["cases"] for each in stated.get("withdrawn", []))
        for part, trained in (("train", record.train_cases), ("validation", record.validation_cases)):
            there = sum(stated["counts"].get(part, {}).values())
            if trained > there + withdrawn:
                faults.append(f"it has {trained} cases of part {part}, and its split {there}")
    if faults:
        place = str(workspace.run(record.run_id) / RECORD)
        problem = f"the record of run {record.run_id} does not fit its split: {'; '.join(faults)}"
        raise DamagedError(problem, place=place, remedy=RESTORE_RUN)


def verify_photographs(workspace: Workspace, folder: Path, *, progress: Progress = silent) -> Verified:
    """Check a certificate as `verify` does, and its digests against the photographs registered in the workspace."""
    checked = verify(folder)
    salt = read_certificate(folder)["salt"]
    by_case = {row["case_id"]: row for row in workspace.rows(sql.statement("split/photographs"))}
    rows = read_rows(folder)
    faults, done, pixels_of = [], 0, {}
    for number, row in enumerate(rows):
        progress("reading photographs", number, len(rows))
        case = by_case.get(row.case_id)
        if case is None or not row.photograph_digest:
            continue
        if case["path"] not in pixels_of:
            pixels_of[case["path"]] = _pixels(Path(case["path"]))
        pixels = pixels_of[case["path"]]
        done += 1
        if pixels is None or digest(salt, pixels) != row.photograph_digest:
            faults.append(f"the photograph of case {row.case_id} is not the one that was split, or cannot be read")
        elif digest(salt, pixels, roi_in_words(case)) != row.crop_digest:
            faults.append(f"the crop of case {row.case_id} is not the one that was split")
    if faults:
        raise _broken(folder, faults)
    return replace(checked, photographs=f"digests of photograph and crop re-computed for {done} of {len(rows)} cases")


def _digests(images: Path, salt: str, progress: Progress) -> set[str]:
    """Return the salted digest of every photograph below a folder."""
    if not images.is_dir():
        raise LeakError("there is no such folder of photographs", place=str(images), remedy="give --images DIR")
    paths = sorted(path for path in images.rglob("*") if path.is_file())
    digests = set()
    for number, path in enumerate(paths):
        progress("reading photographs", number, len(paths))
        if pixels := _pixels(path):
            digests.add(digest(salt, pixels))
    return digests


def _pixels(path: Path) -> str | None:
    try:
        return probe(read_photograph(path)).pixel_sha256
    except PhotographError:
        return None


def _broken(folder: Path, faults: list[str], *, remedy: str = "make the split again") -> LeakError:
    shown = "\n".join(f"  - {fault[:300]}" for fault in faults[:20])
    more = f"\n  … and {len(faults) - 20} more" if len(faults) > 20 else ""
    return LeakError(f"the certificate does not hold:\n{shown}{more}", place=str(folder), remedy=remedy)


def _changed(folder: Path, stated: dict[str, Any]) -> list[str]:
    """Return which of the three files are not those that were sealed."""
    faults = []
    for name in (CASES, VERIFY):
        try:
            found = hashlib.sha256(read_bytes(folder / name)).hexdigest()
        except DamagedError as error:
            faults.append(f"{name} cannot be read: {error.problem}")
            continue
        if found != stated["files"][name]:
            faults.append(f"{name} is not the file the certificate was made for")
        if name == VERIFY and found not in VERIFY_SQL_KNOWN:
            faults.append("verify.sql is not one that any version of the toolkit has written")
    if stated["seal"] != seal_of(stated):
        faults.append("certificate.json was changed after it was sealed")
    return faults


def _verify_sql_faults(stated: dict[str, Any], cases: bytes, rows: list[Certified]) -> Iterator[str]:
    """Run the toolkit's verify.sql on copies of the files that were read, and compare what DuckDB reads in them."""
    with tempfile.TemporaryDirectory(prefix="lesion-toolkit-") as copy:
        (Path(copy) / CASES).write_bytes(cases)
        (Path(copy) / CERTIFICATE).write_text(json.dumps(stated, ensure_ascii=False), encoding="utf-8")
        database = scratch(Path(copy))
        try:
            database.execute("set file_search_path = ?", [copy])
            answers = database.sql(verify_sql().decode()).to_arrow_table().to_pylist()
            read_alike = _read_alike(database, rows)
        except Exception as error:  # noqa: BLE001 - whatever a hostile file makes DuckDB raise, the certificate fails
            yield f"the files cannot be checked: {str(error).splitlines()[0]}"
            return
        finally:
            database.close()
    if not read_alike:
        yield "DuckDB reads other cases in cases.csv than the toolkit does"
    yield from (f"{row['verdict']}: {row['which']} ({row['times']})" for row in answers if row["verdict"] != "PASS")


def _read_alike(database: duckdb.DuckDBPyConnection, rows: list[Certified]) -> bool:
    """Tell whether DuckDB finds in cases.csv what the toolkit has found."""
    database.execute("set preserve_insertion_order = true")
    columns = ", ".join(f"coalesce({name}, '') as {name}" for name in COLUMNS)
    types = ", ".join(f"'{name}': 'varchar'" for name in COLUMNS)
    database.execute(
        f"select {columns} from read_csv('{CASES}', header = true, all_varchar = true, auto_detect = false, "  # noqa: S608 - our own names
        f"delim = ',', quote = '\"', columns = {{{types}}})"
    )
    for row in rows:
        if database.fetchone() != row:
            return False
    return database.fetchone() is None


def _counted_faults(stated: dict[str, Any], rows: list[Certified]) -> Iterator[str]:
    """Count the cases again: every number of the certificate that a report may show must come out."""
    if stated["salt"] != salt_of(stated["split_id"]):
        yield "the salt of the digests is not that of this split"
    by_stratum = {(each["stratum"], each["value"]): each for each in stated["strata"]}
    parts = set(stated["counts"])
    complete = all(set(each["counts"]) == set(each["wished"]) == parts for each in stated["strata"])
    if not complete or len(by_stratum) < len(stated["strata"]) or not all(map(_adds_up, stated["strata"])):
        yield "the wishes are not as a certificate states them"
        return
    classes = list(next(iter(stated["counts"].values())))
    try:
        again = counted(rows, shares_of(stated["strata"]), classes, minimum=stated["minimum"])
    except (KeyError, ValueError, ZeroDivisionError):
        yield "the cases cannot be counted as the certificate states"
        return
    names = ("counts", "patients", "groups", "linked_patients")
    yield from (f"{name} is not as counted again" for name in names if stated[name] != again[name])
    for each in again["strata"]:
        bound = by_stratum[each["stratum"], each["value"]]["bound"]
        if not _alike(bound, each["bound"]):
            yield f"the bound of {each['stratum']} {each['value']} is not as counted again"
    names = ("largest_deviation", "largest_bound")
    yield from (f"{name} is not as counted again" for name in names if not _alike(stated[name], again[name]))


def _adds_up(stratum: dict[str, Any]) -> bool:
    total = sum(stratum["counts"].values())
    return total > 0 and abs(sum(stratum["wished"].values()) - total) < AS_STATED


def _alike(stated: float | None, again: float) -> bool:
    return abs((math.inf if stated is None else stated) - again) < AS_STATED or (stated is None and again == math.inf)


def _linked_faults(stated: dict[str, Any], rows: list[Certified]) -> Iterator[str]:
    """Follow links through patients who have no case, which verify.sql does not."""
    component = components([PatientLink(**link) for link in stated["links"]])
    part_of: dict[int, str] = {}
    for row in rows:
        linked = component.get(row.patient_id)
        if linked is not None and part_of.setdefault(linked, row.part) != row.part:
            yield f"linked patients stand in two parts: {row.patient_id} and another"
