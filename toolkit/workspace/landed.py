"""Landed exports: their bytes unchanged, mode 0600, each with a sidecar that describes it."""

import gzip
import json
import zlib
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, cast

from toolkit.errors import DamagedError, ExportError
from toolkit.files import (
    PRIVATE,
    SEAL,
    changed,
    copy_file,
    move_into_place,
    ordinary_file,
    read_bytes,
    read_sealed,
    sha256_of,
    sha256_of_file,
    write_atomically,
    write_sealed,
    written_atomically,
)
from toolkit.workspace.registry import Workspace

BOM = b"\xef\xbb\xbf"
UTF16 = (b"\xff\xfe", b"\xfe\xff")
GZIP = b"\x1f\x8b"
PHOTOGRAPH_INDEX = "index.jsonl"
"""Beside fetched photographs and masks: a line for each file that is whole."""
FETCHED = ("name", "address", "sha256")
"""What each line says of a file."""
ISSUE = {"level", "reason", "detail", "image_id"}
"""What may be said of something that went wrong while an export was pulled."""
EXPORT_AGAIN = "copy it anew, or export it again; nothing was changed here"
FETCH_AGAIN = "move the file away, then pull again: the files that it told of are fetched again"


@dataclass(frozen=True)
class Landed:
    """An export in the workspace; `images` is the folder its photographs were looked for in.

    `pull` holds the request to Labelbox: source, task, params, filters, rows; None where it came as a file.
    """

    path: Path
    sha256: str
    source: str
    images: Path | None
    pull: dict[str, Any] | None = None

    @property
    def export_id(self) -> str:
        """The first 12 hexadecimal digits of the SHA-256."""
        return self.sha256[:12]


def land(
    workspace: Workspace,
    export: Path,
    *,
    images: Path | None,
    pull: dict[str, Any] | None = None,
    source: str | None = None,
    facts: dict[str, Any] | None = None,
) -> Landed:
    """Copy an export's bytes into the workspace; landing the same bytes again changes nothing but `images`, `pull`.

    What was pulled is moved, not copied: an interruption leaves no second copy of patients' data. `source` names where
    it came from, if not from the file itself; `facts` are added to its sidecar.
    """
    check(export)
    sha256 = sha256_of_file(export)
    path = workspace.exports / f"{sha256}.ndjson{'.gz' if _is_gzip(export) else ''}"
    is_whole = path.exists() and sha256_of_file(path) == sha256
    if pull is not None and not is_whole:
        move_into_place(export, path, mode=PRIVATE)
    elif not is_whole:
        with written_atomically(path) as temporary:
            copy_file(export, temporary)
    sidecar = _sidecar(path)
    try:
        before = read_sealed(sidecar) if sidecar.exists() else {}
    except DamagedError:
        before = {}
    stated = {
        "source": before.get("source", source or export.name),
        "sha256": sha256,
        "bytes": path.stat().st_size,
        "images": str(images.resolve()) if images else before.get("images"),
    }
    write_sealed(sidecar, {**before, **stated, **({"pull": pull} if pull else {}), **(facts or {})})
    return _landed(path)


def landed_exports(workspace: Workspace) -> list[Landed]:
    """Return every export of the workspace, ordered by hash: the order of import does not matter.

    One without a sidecar counts too: whatever was interrupted, its rows are on the disk.
    """
    paths = sorted(workspace.exports.glob("[!.]*.ndjson*"))
    known = {_sidecar(path) for path in paths}
    if gone := [sidecar for sidecar in sorted(workspace.exports.glob("[!.]*.json")) if sidecar not in known]:
        raise ExportError("a landed export is gone", place=str(gone[0]), remedy="parse the export again")
    return [_landed(path) for path in paths]


def check_bytes(landed: Landed) -> None:
    """Raise DamagedError where a landed export's bytes are no longer those that landed."""
    if sha256_of_file(landed.path) != landed.sha256:
        remedy = "parse the file that it came from again: that puts it right"
        raise changed(landed.path, remedy=remedy)


def _sidecar(path: Path) -> Path:
    return path.with_name(f"{path.name.partition('.')[0]}.json")


def _landed(path: Path) -> Landed:
    sidecar = _sidecar(path)
    remedy = "parse the file that the export came from again: that puts it right"
    stated = read_sealed(sidecar, remedy=remedy) if sidecar.exists() else {}
    try:
        images = Path(stated["images"]) if stated.get("images") else None
        return Landed(path, sidecar.stem, str(stated.get("source", path.name)), images, stated.get("pull"))
    except TypeError:
        raise changed(sidecar, remedy=remedy) from None


def landed_digests(workspace: Workspace) -> set[str]:
    """Return the SHA-256 of every export that has landed, by its file's name."""
    return {_sidecar(path).stem for path in workspace.exports.glob("[!.]*.ndjson*")}


def take_back(workspace: Workspace, sha256: str) -> None:
    """Remove a landed export; its bytes last, so that it is seen until then."""
    for ending in (".issues.jsonl", ".json", ".ndjson", ".ndjson.gz"):
        (workspace.exports / f"{sha256}{ending}").unlink(missing_ok=True)


def note_issues(landed: Landed, issues: list[dict[str, Any]]) -> None:
    """Write what went wrong while an export was pulled beside it, for `parse` to put among the issues."""
    lines = [*issues, {SEAL: sha256_of(issues)}] if issues else []
    if lines:
        text = "".join(json.dumps(line, sort_keys=True) + "\n" for line in lines)
        write_atomically(_issues_file(landed), text.encode())
    else:
        _issues_file(landed).unlink(missing_ok=True)


def noted_issues(landed: Landed) -> list[dict[str, Any]]:
    """Return what went wrong while an export was pulled: level, reason, detail, image_id."""
    file, remedy = _issues_file(landed), "pull again, or move the file away: it holds what went wrong when pulling"
    if not file.exists():
        return []
    try:
        issues = [json.loads(line) for line in read_bytes(file, remedy=remedy).split(b"\n") if line]
        seal = issues.pop()[SEAL] if SEAL in issues[-1] else None  # earlier versions wrote none
        if (seal is None or seal == sha256_of(issues)) and all(set(issue) <= ISSUE for issue in issues):
            return issues
    except (ValueError, TypeError, LookupError, RecursionError):
        pass
    raise changed(file, remedy=remedy)


def _issues_file(landed: Landed) -> Path:
    return landed.path.with_name(f"{landed.sha256}.issues.jsonl")


def fetched_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what the index of a folder of fetched files says of each, by its name.

    A damaged line counts for nothing: its file is fetched again.
    """
    index, records = folder / PHOTOGRAPH_INDEX, {}
    for line in read_bytes(index, remedy=FETCH_AGAIN).splitlines() if index.exists() else ():
        with suppress(ValueError, RecursionError):
            record = json.loads(line)
            if isinstance(record, dict) and all(isinstance(record.get(key), str) for key in FETCHED):
                records[record["name"]] = record
    return records


def opened(path: Path) -> BufferedReader:
    """Open an export for reading, unpacked."""
    return cast("BufferedReader", gzip.open(path, "rb") if _is_gzip(path) else path.open("rb"))


def _is_gzip(path: Path) -> bool:
    with ordinary_file(path) as file:
        return file.read(2) == GZIP


def check(export: Path) -> None:
    """Refuse what cannot be an export at all, before anything is written."""
    if not export.is_file():
        what = "this is a folder, not an export" if export.is_dir() else "no such export"
        raise ExportError(what, place=str(export), remedy="give the file that Labelbox wrote")
    try:
        with opened(export) as file:
            start = file.read(4096).removeprefix(BOM).strip()
    except (EOFError, OSError, zlib.error, DamagedError) as error:
        reason = error.args[-1]
        raise ExportError(f"the export cannot be read: {reason}", place=str(export), remedy=EXPORT_AGAIN) from None
    if not start:
        raise ExportError("the export is empty", place=str(export), remedy="export again; nothing was changed here")
    if start[:2] in UTF16 or start[:2] in (b"{\x00", b"\x00{", b"[\x00", b"\x00["):
        what, then = "the export is not UTF-8; it looks like UTF-16", "save it as UTF-8, or export it again"
        raise ExportError(what, place=str(export), remedy=then)
