"""Forged splits and runs: changed as someone would who knows the format, and sealed again."""

import csv
import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from toolkit.files import sha256_of, write_json

Rows = list[dict[str, str]]
Stated = dict[str, Any]


def rows_in(folder: Path) -> Rows:
    with (folder / "cases.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_rows(folder: Path, rows: Rows) -> None:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    (folder / "cases.csv").write_text(buffer.getvalue(), encoding="utf-8")


def stated_in(folder: Path) -> Stated:
    return json.loads((folder / "certificate.json").read_text(encoding="utf-8"))


def seal(folder: Path, stated: Stated) -> str:
    """Write a certificate with the digest of today's cases.csv and a seal that fits; return the seal."""
    stated = {key: value for key, value in stated.items() if key != "seal"}
    if isinstance(stated.get("files"), dict) and (folder / "cases.csv").is_file():
        stated["files"]["cases.csv"] = hashlib.sha256((folder / "cases.csv").read_bytes()).hexdigest()
    write_json(folder / "certificate.json", {**stated, "seal": sha256_of(stated)})
    return sha256_of(stated)


def forge(
    folder: Path,
    *,
    rows: Callable[[Rows], object] | None = None,
    stated: Callable[[Stated], object] | None = None,
    data: Callable[[bytes], bytes] | None = None,
) -> str:
    """Change the rows, the certificate or the bytes of cases.csv, and seal again; return the new seal."""
    if rows:
        changed = rows_in(folder)
        rows(changed)
        write_rows(folder, changed)
    if data:
        (folder / "cases.csv").write_bytes(data((folder / "cases.csv").read_bytes()))
    certificate = stated_in(folder)
    if stated:
        stated(certificate)
    return seal(folder, certificate)


def swapped(rows: Rows) -> tuple[dict[str, str], dict[str, str]]:
    """Return a case in train and one in test of the same class."""
    first = next(row for row in rows if row["part"] == "train")
    other = next(row for row in rows if row["part"] == "test" and row["class_name"] == first["class_name"])
    return first, other


def count_again(folder: Path, stated: Stated) -> None:
    """Let a certificate state the counts that its cases have now."""
    from toolkit.workspace.certificate import counted, read_rows, shares_of

    classes = list(next(iter(stated["counts"].values())))
    stated |= counted(read_rows(folder), shares_of(stated["strata"]), classes, minimum=stated["minimum"])
