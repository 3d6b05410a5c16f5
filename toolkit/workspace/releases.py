"""What was released: a sealed file for each data set, `releases/<release_id>.json`, and the table `releases`.

Of its patients it keeps digests salted with the release's ID: a withdrawal can tell in which releases somebody stands,
and nothing leads from there to the IDs within the release.
"""

import hashlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from toolkit.files import changed, read_sealed, write_sealed
from toolkit.workspace import ledger
from toolkit.workspace.registry import Workspace, insert, table_schema

LOST = "restore the file from a backup: without it `withdraw` cannot tell who is in the release"


def record(workspace: Workspace, release: dict[str, Any], patients: Iterable[str]) -> bool:
    """Keep what was released, as a file, in the ledger and in the registry; return False where it is there already.

    `patients` are pseudonyms of the registry. The same data set made again keeps the time of the first.
    """
    release_id = release["release_id"]
    path = _file(workspace, release_id)
    is_new = not path.exists()
    if is_new:
        stated = {**release, "made_at": release["made_at"].isoformat(), "withdrawn": 0}
        write_sealed(path, {"release": stated, "members": sorted(_member(release_id, each) for each in patients)})
    kept, _ = _read(path)
    names = ("release_id", "manifest_sha256", "cases", "photographs", "patients", "licence", "checked_by")
    noted = {name: kept[name] for name in names}
    ledger.append(workspace, [{"kind": "release", **noted, "made_at": kept["made_at"].isoformat()}])
    with workspace.writing() as connection:
        connection.execute("delete from releases where release_id = $id", {"id": release_id})
        insert(connection, "releases", _table([kept]))
    return is_new


def read(workspace: Workspace) -> pa.Table:
    """Return the table of every release that has a file."""
    return _table([_read(path)[0] for path in _paths(workspace)])


def holding(workspace: Workspace, persons: Iterable[str]) -> list[dict[str, Any]]:
    """Return release_id and made_at of each release that holds one of a person's pseudonyms, or may hold it.

    It may where the ledger knows a release whose file is gone: `is_known` is then false.
    """
    found, pseudonyms = [], set(persons)
    for path in _paths(workspace):
        release, members = _read(path)
        if members & {_member(release["release_id"], each) for each in pseudonyms}:
            found.append({"release_id": release["release_id"], "made_at": release["made_at"], "is_known": True})
    there = {path.stem for path in _paths(workspace)}
    for entry in ledger.entries(workspace, "release"):
        if entry["release_id"] not in there:
            made = datetime.fromisoformat(entry["made_at"])
            found.append({"release_id": entry["release_id"], "made_at": made, "is_known": False})
    return found


def leave_out(workspace: Workspace, persons: Iterable[str]) -> None:
    """Remove a withdrawn person from the members of every release, and count the withdrawal there."""
    pseudonyms = set(persons)
    for path in _paths(workspace):
        release, members = _read(path)
        left = members - {_member(release["release_id"], each) for each in pseudonyms}
        if left != members:
            stated = {**release, "made_at": release["made_at"].isoformat(), "withdrawn": release["withdrawn"] + 1}
            write_sealed(path, {"release": stated, "members": sorted(left)})


def _member(release_id: str, pseudonym: str) -> str:
    """Return under what a release's file knows a patient."""
    return hashlib.sha256(f"release\0{release_id}\0{pseudonym}".encode()).hexdigest()[:32]


def _paths(workspace: Workspace) -> Iterator[Path]:
    yield from sorted((workspace.folder / "releases").glob("[!.]*.json"))


def _file(workspace: Workspace, release_id: str) -> Path:
    return workspace.folder / "releases" / f"{release_id}.json"


def _read(path: Path) -> tuple[dict[str, Any], set[str]]:
    """Return what a file says of a release, and its members."""
    document = read_sealed(path, remedy=LOST)
    try:
        release = {**document["release"], "made_at": datetime.fromisoformat(document["release"]["made_at"])}
        _table([release])
        if release["release_id"] == path.stem:
            return release, set(document["members"])
    except (KeyError, TypeError, ValueError, pa.ArrowException):
        pass
    raise changed(path, remedy=LOST)


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=table_schema("releases"))
