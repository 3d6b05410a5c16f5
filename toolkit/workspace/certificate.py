"""A split's three files, cases.csv, certificate.json and verify.sql: their contents, digests, seal, and reading them.

They are checked in `verification`; the parts are assigned in `stages/split`.
"""

import csv
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from toolkit.csv_files import csv_text
from toolkit.errors import LeakError
from toolkit.files import read_bytes, sha256_of, sha256_of_file, write_atomically, write_json
from toolkit.manifest import NO_PATIENTS, shipped
from toolkit.stats.stratified_split import CLASS, PATIENTS, TOTAL, integer_bound
from toolkit.workspace.registry import Workspace

PARTS = ("train", "validation", "test")
EXTERNAL = ("external",)
"""The parts of a split of cases that another workspace's run is tried on."""
CASES, CERTIFICATE, VERIFY = "cases.csv", "certificate.json", "verify.sql"
PROVED = (
    "no case twice; no patient, lesion, linked group or photograph digest in two parts; "
    "counts and distances from the wish as stated"
)
NEEDS_PHOTOGRAPHS = "that the digests are those of the photographs and crops"
ATTESTED = "that patient identifiers are true and complete"
PHOTOGRAPH_DIGEST = "sha256(salt + sha256 of the upright RGB pixels), first 32 hexadecimal digits"
CROP_DIGEST = (
    "sha256(salt + sha256 of the upright RGB pixels + space + left,top,width,height), first 32; whole: no sides"
)


class Certified(NamedTuple):
    """A row of cases.csv. `strata` is a JSON object of the study's strata besides class."""

    case_id: str
    part: str
    patient_id: str
    lesion_id: str
    group_id: str
    class_name: str
    photograph_digest: str
    crop_digest: str
    strata: str


COLUMNS = Certified._fields
STATED = ("split_id", "files", "counts", "strata", "links", "binds", "salt", "seal", "proved_by_verify_sql")
"""Keys without which a file is no certificate."""
Shares = Mapping[tuple[str, str], tuple[float, ...]]
"""By stratum and value: the share of its cases that each of PARTS should have."""


def salt_of(split_id: str) -> str:
    """Return what is hashed before every digest of a split, so that digests of two splits cannot be joined."""
    return hashlib.sha256(f"photograph\0{split_id}".encode()).hexdigest()[:16]


def digest(salt: str, pixels: str, roi: str | None = None) -> str:
    """Return the salted digest of a photograph, or of a crop with its sides in words."""
    text = salt + pixels if roi is None else f"{salt}{pixels} {roi}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def roi_in_words(row: dict[str, Any]) -> str:
    """Return the sides of a ROI in words, "" for the whole photograph."""
    sides = [row[f"roi_{side}"] for side in ("left", "top", "width", "height")]
    return "" if sides[2] is None else ",".join(repr(float(side)) for side in sides)


def counted(rows: list[Certified], shares: Shares, classes: list[str], *, minimum: int) -> dict[str, Any]:
    """Return a certificate's counts: by part and class, of every stratum beside its target, patients and groups."""
    parts = EXTERNAL if {row.part for row in rows} == set(EXTERNAL) else PARTS
    cells: dict[tuple[str, str], dict[str, int]] = {key: dict.fromkeys(parts, 0) for key in shares}
    patients: dict[str, set[str]] = {part: set() for part in parts}
    for row in rows:
        for key in ((CLASS, row.class_name), *json.loads(row.strata).items(), (TOTAL, "")):
            cells[key][row.part] += 1
        patients[row.part].add(row.patient_id)
    cells[PATIENTS, ""] = {part: len(members) for part, members in patients.items()}
    strata = [_stratum(*key, cells[key], shares[key], minimum) for key in shares if any(cells[key].values())]
    counts = {part: {name: cells.get((CLASS, name), {}).get(part, 0) for name in classes} for part in parts}
    groups = len({row.group_id for row in rows})
    return {
        "counts": counts,
        "strata": strata,
        "patients": cells[PATIENTS, ""],
        "groups": groups,
        "linked_patients": len({row.patient_id for row in rows}) - groups,
        "largest_deviation": max(each["distance"] for each in strata if each["stratum"] == CLASS),
        "largest_bound": max(each["bound"] for each in strata if each["stratum"] == CLASS),
    }


def _stratum(
    stratum: str, value: str, counts: dict[str, int], shares: tuple[float, ...], minimum: int
) -> dict[str, Any]:
    total = sum(counts.values())
    target = np.array(shares) * total
    distance = np.abs(np.array([*counts.values()]) - target).max()
    return {
        "stratum": stratum,
        "value": value,
        "counts": counts,
        "wished": dict(zip(counts, np.round(target, 6).tolist(), strict=True)),
        "bound": round(integer_bound(target, minimum if stratum == CLASS else 0), 6),
        "distance": round(float(distance), 6),
    }


def shares_of(strata: list[dict[str, Any]]) -> dict[tuple[str, str], tuple[float, ...]]:
    """Return the target shares that a certificate states, in the order of PARTS: JSON sorts its keys."""
    shares = {}
    for each in strata:
        target = each["wished"]
        in_order = [target[part] for part in (*PARTS, *EXTERNAL) if part in target]
        shares[each["stratum"], each["value"]] = tuple(cases / sum(target.values()) for cases in in_order)
    return shares


def attested(*, patients_known: bool) -> dict[str, Any]:
    """Return what SQL alone proves, what can be checked only with photographs, and what the data manager attests."""
    return {
        "proved_by_verify_sql": PROVED if patients_known else PROVED.replace("patient, lesion, linked", "linked"),
        "needs_photographs": NEEDS_PHOTOGRAPHS,
        "attested_by_the_data_manager": ATTESTED if patients_known else f"nothing about patients; {NO_PATIENTS}",
    }


def write_sealed(folder: Path, certificate: dict[str, Any], rows: Iterable[Certified]) -> None:
    """Write a split's three files."""
    write_atomically(folder / CASES, csv_text(COLUMNS, rows).encode())
    write_atomically(folder / VERIFY, verify_sql())
    files = {name: sha256_of_file(folder / name) for name in (CASES, VERIFY)}
    stated = {**certificate, "files": files}
    write_json(folder / CERTIFICATE, {**stated, "seal": seal_of(stated)})


def seal_of(certificate: dict[str, Any]) -> str:
    """Return the digest of a certificate apart from its own seal."""
    return sha256_of({key: value for key, value in certificate.items() if key != "seal"})


def verify_sql() -> bytes:
    """Return the SQL that goes with every split."""
    return (shipped("sql") / VERIFY).read_bytes()


def copy_split(source: Path, folder: Path) -> None:
    """Copy a split's three files, the certificate last: a folder that has one is complete."""
    for name in (CASES, VERIFY, CERTIFICATE):
        write_atomically(folder / name, read_bytes(source / name))


def split_folders(workspace: Workspace) -> list[Path]:
    """Return the folders of all splits, in order; those that are being written anew are left out."""
    return sorted(path.parent for path in workspace.folder.glob(f"splits/[!.]*/{CASES}"))


def has_certificate(folder: Path) -> bool:
    """Tell whether a folder holds a split's certificate."""
    return (folder / CERTIFICATE).is_file()


def find_certificate(folder: Path) -> dict[str, Any] | None:
    """Return a certificate, unchecked; None where there is none that can be read."""
    try:
        return _certificate(folder)
    except (OSError, ValueError):
        return None


def read_certificate(folder: Path) -> dict[str, Any]:
    """Return a certificate, unchecked; raise LeakError where there is none."""
    path = folder / CERTIFICATE
    try:
        stated = _certificate(folder)
    except (OSError, ValueError) as error:
        raise LeakError(
            f"there is no readable certificate: {error}", place=str(path), remedy="give the folder of a split"
        ) from None
    if not all(key in stated for key in STATED) or not {CASES, VERIFY} <= set(stated["files"]):
        raise LeakError("certificate.json lacks what a certificate states", place=str(path))
    return stated


def _certificate(folder: Path) -> dict[str, Any]:
    stated = json.loads((folder / CERTIFICATE).read_text(encoding="utf-8"))
    if not isinstance(stated, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 - whatever its type, the content is wrong
    return stated


def read_rows(folder: Path) -> list[Certified]:
    """Return the rows of a split's cases.csv, unchecked."""
    with (folder / CASES).open(encoding="utf-8", newline="") as file:
        return [Certified(**{name: row[name] for name in COLUMNS}) for row in csv.DictReader(file)]
