"""A split's three files, cases.csv, certificate.json and verify.sql: their contents, digests, seal, and reading them.

They are checked in `verification`; the parts are assigned in `stages/split`.
"""

import csv
import hashlib
import io
import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from textwrap import shorten
from typing import Any, NamedTuple

import numpy as np
from pydantic import ValidationError

from toolkit.csv_files import csv_text
from toolkit.errors import DamagedError, LeakError
from toolkit.files import json_object, read_bytes, sha256_of, sha256_of_file, write_atomically, write_json
from toolkit.manifest import NO_PATIENTS, faults
from toolkit.manifest.base import is_class_name
from toolkit.shipped import shipped
from toolkit.stats.stratified_split import CLASS, PATIENTS, TOTAL, integer_bound
from toolkit.workspace.registry import Workspace
from toolkit.workspace.stated import ID, Stated

PARTS = ("train", "validation", "test")
EXTERNAL = ("external",)
"""The parts of a split of cases that another workspace's run is tried on."""
CASES, CERTIFICATE, VERIFY = "cases.csv", "certificate.json", "verify.sql"
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
DIGEST = re.compile(r"([0-9a-f]{32})?")
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
"""Characters that no version writes into cases.csv, and that programs read differently: a line ends with \\n alone."""
AGAIN = "give the folder of a split as toolkit split wrote it, or restore the file from a backup"
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


def proved(*, patients_known: bool, photographs_apart: bool) -> list[str]:
    """Return what verify.sql proves where nothing fails; nobody else's words are ever taken for it."""
    things = [*(["patient", "lesion"] if patients_known else []), "linked group"]
    things += ["photograph digest"] if photographs_apart else []
    apart = " or ".join([", ".join(things[:-1]), things[-1]]) if len(things) > 1 else things[0]
    return ["no case twice", f"no {apart} in two parts", "counts and distances from the wish as stated"]


def attested(*, patients_known: bool, photographs_apart: bool) -> dict[str, Any]:
    """Return what SQL alone proves, what can be checked only with photographs, and what the data manager attests."""
    return {
        "proved_by_verify_sql": "; ".join(proved(patients_known=patients_known, photographs_apart=photographs_apart)),
        "needs_photographs": NEEDS_PHOTOGRAPHS,
        "attested_by_the_data_manager": ATTESTED if patients_known else f"nothing about persons; {NO_PATIENTS}",
    }


def divided_photographs(rows: Iterable[Certified]) -> int:
    """Return how many photographs, by their digests, stand in more than one part."""
    part_of: dict[str, str] = {}
    divided = {
        row.photograph_digest
        for row in rows
        if row.photograph_digest and part_of.setdefault(row.photograph_digest, row.part) != row.part
    }
    return len(divided)


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
    """Return a certificate, unchecked; None where there is none, LeakError where there is one that cannot be read."""
    return read_certificate(folder) if os.path.lexists(folder / CERTIFICATE) else None


def read_certificate(folder: Path) -> dict[str, Any]:
    """Return a certificate whose every key is what it should be, unchecked; raise LeakError where there is none."""
    path = folder / CERTIFICATE
    try:
        data = read_bytes(path)
        stated = json_object(data, place=path)
        json.loads(data.decode(), object_pairs_hook=_once, parse_constant=_no_number)
        Stated.model_validate(stated)
    except DamagedError as error:
        problem = f"there is no readable certificate: {error.problem}"
    except ValidationError as error:
        problem = f"certificate.json does not state what a certificate states: {shorten('; '.join(faults(error)), 400)}"
    except ValueError as error:
        problem = f"there is no readable certificate: {error}"
    else:
        return stated
    raise LeakError(problem, place=str(path), remedy=AGAIN)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a key that stands twice: which of the two counts differs from program to program."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it holds the key {twice[:40]!r} twice")
    return found


def _no_number(constant: str) -> float:
    raise ValueError(f"it holds {constant}, which is no number")


def read_rows(folder: Path) -> list[Certified]:
    """Return the rows of a split's cases.csv, not checked for leaks; see `rows_of`."""
    path = folder / CASES
    try:
        return rows_of(read_bytes(path), place=path)
    except DamagedError as error:
        raise LeakError(f"cases.csv cannot be read: {error.problem}", place=str(path), remedy=AGAIN) from None


def rows_of(data: bytes, *, place: Path) -> list[Certified]:
    """Return the rows in the bytes of a cases.csv; raise LeakError for what programs might read differently."""
    reader = csv.reader(io.StringIO(_text(data, place), newline=""), strict=True)
    strata: dict[str, bool] = {}
    rows = []
    try:
        if next(reader, None) != [*COLUMNS]:
            raise _unreadable(place, f"its header is not {','.join(COLUMNS)}")
        for record in reader:
            if len(record) != len(COLUMNS):
                raise _unreadable(place, f"line {reader.line_num} has {len(record)} values, not {len(COLUMNS)}")
            row = Certified(*record)
            if row.strata not in strata:
                strata[row.strata] = _is_strata(row.strata)
            if fault := _fault(row, strata_hold=strata[row.strata]):
                raise _unreadable(place, f"line {reader.line_num}: {fault}")
            rows.append(row)
    except csv.Error as error:
        raise _unreadable(place, f"line {reader.line_num}: {error}") from None
    return rows


def _text(data: bytes, place: Path) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise _unreadable(place, "it is not UTF-8") from None
    if found := CONTROL.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise _unreadable(place, f"line {line} holds the control character {found[0]!r}")
    return text


def _fault(row: Certified, *, strata_hold: bool) -> str:
    """Return why a row is none that `split` writes: two ways to write one identifier would be two identifiers."""
    for name in ("case_id", "patient_id", "group_id"):
        if not ID.fullmatch(value := getattr(row, name)):
            return f"{name} is {value[:80]!r}; lower-case letters, digits and hyphens are expected"
    if row.lesion_id and not ID.fullmatch(row.lesion_id):
        return f"lesion_id is {row.lesion_id[:80]!r}; lower-case letters, digits and hyphens are expected"
    if row.part not in (*PARTS, *EXTERNAL):
        return f"part is {row.part[:80]!r}, none of {', '.join((*PARTS, *EXTERNAL))}"
    if not is_class_name(row.class_name):
        return f"class_name is {row.class_name[:80]!r}, which no class is called"
    if not (DIGEST.fullmatch(row.photograph_digest) and DIGEST.fullmatch(row.crop_digest)):
        return "a digest is not 32 hexadecimal digits"
    return "" if strata_hold else "strata is not a JSON object of texts as split writes it"


def _is_strata(text: str) -> bool:
    try:
        strata = json.loads(text)
        is_object = isinstance(strata, dict) and all(isinstance(value, str) for value in strata.values())
        return is_object and json.dumps(strata, ensure_ascii=False) == text
    except (ValueError, RecursionError):
        return False


def _unreadable(place: Path, fault: str) -> LeakError:
    return LeakError(f"cases.csv cannot be used: {fault}", place=str(place), remedy=AGAIN)
