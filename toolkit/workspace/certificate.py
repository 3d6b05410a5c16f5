"""What a split's three files say: who stands where, how near that is to the wish, what is proved and what is not.

Refuses to choose parts: they are given.
"""

import csv
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from toolkit.errors import LeakError
from toolkit.files import csv_text, sha256_of, sha256_of_file, write_atomically, write_json
from toolkit.manifest import NO_PATIENTS, shipped
from toolkit.stats.stratified_split import CLASS, TOTAL, UNITS, integer_bound

PARTS = ("train", "validation", "test")
EXTERNAL = ("external",)
"""The parts of a split of cases that another workspace's run is tried on."""
FILES = ("cases.csv", "certificate.json", "verify.sql")
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
"""By stratum and value: the share of its cases that is wished in each of PARTS."""


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
    """Return a certificate's counts: by part and class, of every stratum beside its wish, patients and groups."""
    parts = EXTERNAL if {row.part for row in rows} == set(EXTERNAL) else PARTS
    cells: dict[tuple[str, str], dict[str, int]] = {key: dict.fromkeys(parts, 0) for key in shares}
    patients: dict[str, set[str]] = {part: set() for part in parts}
    for row in rows:
        for key in ((CLASS, row.class_name), *json.loads(row.strata).items(), (TOTAL, "")):
            cells[key][row.part] += 1
        patients[row.part].add(row.patient_id)
    cells[UNITS, ""] = {part: len(members) for part, members in patients.items()}
    strata = [_stratum(*key, cells[key], shares[key], minimum) for key in shares if any(cells[key].values())]
    counts = {part: {name: cells.get((CLASS, name), {}).get(part, 0) for name in classes} for part in parts}
    groups = len({row.group_id for row in rows})
    return {
        "counts": counts,
        "strata": strata,
        "patients": cells[UNITS, ""],
        "groups": groups,
        "linked_patients": len({row.patient_id for row in rows}) - groups,
        "largest_deviation": max(each["distance"] for each in strata if each["stratum"] == CLASS),
        "largest_bound": max(each["bound"] for each in strata if each["stratum"] == CLASS),
    }


def _stratum(
    stratum: str, value: str, counts: dict[str, int], shares: tuple[float, ...], minimum: int
) -> dict[str, Any]:
    total = sum(counts.values())
    wished = np.array(shares) * total
    distance = max(abs(count - wish) for count, wish in zip(counts.values(), wished, strict=True))
    return {
        "stratum": stratum,
        "value": value,
        "counts": counts,
        "wished": dict(zip(counts, np.round(wished, 6).tolist(), strict=True)),
        "bound": round(integer_bound(wished, minimum if stratum == CLASS else 0), 6),
        "distance": round(float(distance), 6),
    }


def shares_of(strata: list[dict[str, Any]]) -> dict[tuple[str, str], tuple[float, ...]]:
    """Return the wished shares that a certificate states."""
    return {
        (each["stratum"], each["value"]): tuple(
            wished / sum(each["wished"].values()) for wished in _in_order(each["wished"])
        )
        for each in strata
    }


def _in_order(wished: Mapping[str, float]) -> list[float]:
    """Return the numbers of parts in the order of PARTS: JSON sorts its keys."""
    return [wished[part] for part in (*PARTS, *EXTERNAL) if part in wished]


def attested(*, patients_known: bool) -> dict[str, Any]:
    """Return the three columns: what SQL alone proves, what takes photographs, what the data manager answers for."""
    return {
        "proved_by_verify_sql": PROVED if patients_known else PROVED.replace("patient, lesion, linked", "linked"),
        "needs_photographs": NEEDS_PHOTOGRAPHS,
        "attested_by_the_data_manager": ATTESTED if patients_known else f"nothing about patients; {NO_PATIENTS}",
    }


def write_sealed(folder: Path, certificate: dict[str, Any], rows: Iterable[Certified]) -> None:
    """Write a split's three files."""
    write_atomically(folder / "cases.csv", csv_text(COLUMNS, rows).encode())
    write_atomically(folder / "verify.sql", verify_sql())
    files = {name: sha256_of_file(folder / name) for name in ("cases.csv", "verify.sql")}
    stated = {**certificate, "files": files}
    write_json(folder / "certificate.json", {**stated, "seal": sha256_of(stated)})


def verify_sql() -> bytes:
    """Return the SQL that goes with every split."""
    return (shipped("sql") / "verify.sql").read_bytes()


def read_certificate(folder: Path) -> dict[str, Any]:
    """Return a certificate, unchecked; refuse what is none."""
    path = folder / "certificate.json"
    try:
        stated = json.loads(path.read_text(encoding="utf-8"))
        if (
            not isinstance(stated, dict)
            or not all(key in stated for key in STATED)
            or not {"cases.csv", "verify.sql"} <= set(stated["files"])
        ):
            raise LeakError("certificate.json lacks what a certificate states", place=str(path))
    except (OSError, ValueError) as error:
        raise LeakError(
            f"there is no readable certificate: {error}", place=str(path), remedy="give the folder of a split"
        ) from None
    return stated


def read_rows(folder: Path) -> list[Certified]:
    """Return the rows of a split's cases.csv, unchecked."""
    with (folder / "cases.csv").open(encoding="utf-8", newline="") as file:
        return [Certified(**row) for row in csv.DictReader(file)]
