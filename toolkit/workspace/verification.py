"""Checks of a split's certificate: its files and seal, verify.sql, and its digests against photographs.

A folder's own verify.sql is compared with the toolkit's and never executed.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from toolkit.errors import LeakError, PhotographError
from toolkit.files import sha256_of_file
from toolkit.manifest import NO_PATIENTS
from toolkit.photographs.opening import probe, read_photograph
from toolkit.progress import Progress, silent
from toolkit.workspace import sql
from toolkit.workspace.certificate import (
    CASES,
    VERIFY,
    digest,
    read_certificate,
    read_rows,
    roi_in_words,
    seal_of,
    verify_sql,
)
from toolkit.workspace.registry import Workspace, scratch

VERIFY_SQL_KNOWN = ("5a3a33372cc353e09b0d5be0ce234f071b768868c5762f92ff620db1560a1e90",)
"""SHA-256 of every verify.sql that was ever written into a certificate. When the file changes, its new digest is added
and the earlier ones stay, so that certificates already issued still hold; the SQL that is run is always today's."""


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


def verify(folder: Path, *, images: Path | None = None, progress: Progress = silent) -> Verified:
    """Check a certificate from its files, and its digests against the photographs below `images`.

    Raises LeakError with every fault: a leak, a changed byte, a digest that no photograph has.
    """
    stated = read_certificate(folder)
    attested = stated.get("attested_by_the_data_manager", "")
    faults = _changed(folder, stated)
    answers = _verify_sql_answers(folder)
    faults += [f"{row['verdict']}: {row['which']} ({row['times']})" for row in answers if row["verdict"] != "PASS"]
    photographs = f"not checked: {stated.get('needs_photographs', '')}"
    if not faults and images is not None:
        rows = read_rows(folder)
        digests = _digests(images, stated["salt"], progress)
        missing = [row.case_id for row in rows if row.photograph_digest and row.photograph_digest not in digests]
        faults += [f"no photograph has the digest of case {case}" for case in missing]
        with_digest = sum(bool(row.photograph_digest) for row in rows)
        photographs = f"{with_digest} photograph digests re-computed, {len(rows) - with_digest} cases have none"
    if faults:
        raise _broken(folder, faults)
    return Verified(
        split_id=stated["split_id"],
        cases=answers[0]["times"],
        parts=len(stated["counts"]),
        checks=["files and seal unchanged", *stated["proved_by_verify_sql"].split("; ")],
        photographs=photographs,
        attested=attested,
        patients_known=NO_PATIENTS not in attested,
    )


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


def _broken(folder: Path, faults: list[str]) -> LeakError:
    shown = "\n".join(f"  - {fault}" for fault in faults[:20])
    more = f"\n  … and {len(faults) - 20} more" if len(faults) > 20 else ""
    return LeakError(f"the certificate does not hold:\n{shown}{more}", place=str(folder), remedy="make the split again")


def _changed(folder: Path, stated: dict[str, Any]) -> list[str]:
    """Return which of the three files are not those that were sealed."""
    faults = [
        f"{name} is not the file the certificate was made for"
        for name, sealed in stated["files"].items()
        if not (folder / name).is_file() or sha256_of_file(folder / name) != sealed
    ]
    if (folder / VERIFY).is_file() and sha256_of_file(folder / VERIFY) not in VERIFY_SQL_KNOWN:
        faults.append("verify.sql is not one that any version of the toolkit has written")
    if stated["seal"] != seal_of(stated):
        faults.append("certificate.json was changed after it was sealed")
    return faults


def _verify_sql_answers(folder: Path) -> list[dict[str, Any]]:
    """Run the toolkit's verify.sql on a folder's files."""
    if not (folder / CASES).is_file():
        return [{"verdict": "there is no cases.csv", "which": str(folder), "times": 0}]
    database = scratch(folder)
    try:
        database.execute("set file_search_path = ?", [str(folder.resolve())])
        return database.sql(verify_sql().decode()).to_arrow_table().to_pylist()
    except Exception as error:  # noqa: BLE001 - whatever a changed file makes DuckDB raise, the certificate fails
        return [
            {"verdict": f"the files cannot be checked: {str(error).splitlines()[0]}", "which": str(folder), "times": 0}
        ]
    finally:
        database.close()
