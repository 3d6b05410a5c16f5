"""How a stranger checks a split: its files and seal, verify.sql, and its digests against photographs.

Refuses to run a stranger's SQL: the folder's own verify.sql is compared with the toolkit's, never executed.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from toolkit.errors import LeakError, PhotographError
from toolkit.files import sha256_of, sha256_of_file
from toolkit.manifest import NO_PATIENTS
from toolkit.photographs.opening import probe, read_photograph
from toolkit.progress import Progress, silent
from toolkit.workspace import sql
from toolkit.workspace.certificate import digest, read_certificate, read_rows, roi_in_words, verify_sql
from toolkit.workspace.registry import Workspace, scratch

VERIFY_SQL_KNOWN = ("5a3a33372cc353e09b0d5be0ce234f071b768868c5762f92ff620db1560a1e90",)
"""SHA-256 of every verify.sql that was ever written into a certificate. When the file changes, its new digest is added
and the earlier ones stay, so that certificates already issued still hold; the SQL that is run is always today's."""

@dataclass(frozen=True)
class Verified:
    """What a certificate was checked for; every line holds. What the data manager attests cannot be checked."""

    split_id: str
    cases: int
    parts: int
    checks: list[str]
    photographs: str
    """What was re-computed from photographs."""
    attested: str
    patients_known: bool


def verify(folder: Path, *, images: Path | None = None, progress: Progress = silent) -> Verified:
    """Check a certificate from its files, and its digests against the photographs below `images`.

    Raises LeakError with every fault: a leak, a changed byte, a digest that no photograph has.
    """
    stated = read_certificate(folder)
    attested = stated.get("attested_by_the_data_manager", "")
    faults = _changed(folder, stated)
    answers = _ask(folder)
    faults += [f"{row['verdict']}: {row['which']} ({row['times']})" for row in answers if row["verdict"] != "PASS"]
    looked = f"not looked at: {stated.get('needs_photographs', '')}"
    if not faults and images is not None:
        rows = read_rows(folder)
        found = _photographs(images, stated["salt"], progress)
        missing = [row.case_id for row in rows if row.photograph_digest and row.photograph_digest not in found]
        faults += [f"no photograph has the digest of case {case}" for case in missing]
        with_digest = sum(bool(row.photograph_digest) for row in rows)
        looked = f"{with_digest} photograph digests re-computed, {len(rows) - with_digest} cases have none"
    if faults:
        raise _broken(folder, faults)
    return Verified(
        split_id=stated["split_id"],
        cases=answers[0]["times"],
        parts=len(stated["counts"]),
        checks=["files and seal unchanged", *stated["proved_by_verify_sql"].split("; ")],
        photographs=looked,
        attested=attested,
        patients_known=NO_PATIENTS not in attested,
    )


def verify_registered(folder: Path, registered: Iterable[dict[str, Any]], *, progress: Progress = silent) -> Verified:
    """Check a certificate as `verify` does, and its digests against registered photographs.

    `registered` has case_id, path and the ROI's sides of each case whose photograph is there.
    """
    checked = verify(folder)
    salt = read_certificate(folder)["salt"]
    by_case = {row["case_id"]: row for row in registered}
    rows = read_rows(folder)
    faults, done, pixels_of = [], 0, {}
    for number, row in enumerate(rows):
        progress("looking at photographs", number, len(rows))
        here = by_case.get(row.case_id)
        if here is None or not row.photograph_digest:
            continue
        if here["path"] not in pixels_of:
            pixels_of[here["path"]] = _pixels(Path(here["path"]))
        pixels = pixels_of[here["path"]]
        done += 1
        if pixels is None or digest(salt, pixels) != row.photograph_digest:
            faults.append(f"the photograph of case {row.case_id} is not the one that was split, or cannot be read")
        elif digest(salt, pixels, roi_in_words(here)) != row.crop_digest:
            faults.append(f"the crop of case {row.case_id} is not the one that was split")
    if faults:
        raise _broken(folder, faults)
    told = f"digests of photograph and crop re-computed for {done} of {len(rows)} cases"
    return replace(checked, photographs=told)


def verify_photographs(workspace: Workspace, folder: Path, *, progress: Progress = silent) -> Verified:
    """Check a certificate, and its digests against the photographs registered in the workspace."""
    rows = workspace.rows(sql.statement("split/photographs"))
    return verify_registered(folder, rows, progress=progress)


def _photographs(images: Path, salt: str, progress: Progress) -> set[str]:
    """Return the salted digest of every photograph below a folder."""
    if not images.is_dir():
        raise LeakError("there is no such folder of photographs", place=str(images), remedy="give --images DIR")
    paths = sorted(path for path in images.rglob("*") if path.is_file())
    found = set()
    for number, path in enumerate(paths):
        progress("looking at photographs", number, len(paths))
        if pixels := _pixels(path):
            found.add(digest(salt, pixels))
    return found


def _pixels(path: Path) -> str | None:
    try:
        return probe(read_photograph(path)).pixel_sha256
    except PhotographError:
        return None


def _broken(folder: Path, faults: list[str]) -> LeakError:
    shown = "\n".join(f"  - {fault}" for fault in faults[:20])
    more = f"\n  … and {len(faults) - 20} more" if len(faults) > 20 else ""
    return LeakError(f"the certificate does not hold:\n{shown}{more}", place=str(folder), remedy="make the split anew")


def _changed(folder: Path, stated: dict[str, Any]) -> list[str]:
    """Return which of the three files are not those that were sealed."""
    faults = [
        f"{name} is not the file the certificate was made for"
        for name, sealed in stated["files"].items()
        if not (folder / name).is_file() or sha256_of_file(folder / name) != sealed
    ]
    if (folder / "verify.sql").is_file() and sha256_of_file(folder / "verify.sql") not in VERIFY_SQL_KNOWN:
        faults.append("verify.sql is not one that any version of the toolkit has written")
    if stated["seal"] != sha256_of({key: value for key, value in stated.items() if key != "seal"}):
        faults.append("certificate.json was changed after it was sealed")
    return faults


def _ask(folder: Path) -> list[dict[str, Any]]:
    """Run the toolkit's verify.sql on a folder's files."""
    if not (folder / "cases.csv").is_file():
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
