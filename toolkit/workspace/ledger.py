"""The ledger of a workspace, a chain of digests: splits, runs, scorings, reviews, pushes, translations, releases.

Every line holds the digest of the line before it and its own, so that none can be changed, left out or added between
without notice; that the last ones are there is seen from the scores and the registry, which hold what they say too.
"""

import json
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from toolkit.errors import DamagedError
from toolkit.files import changed, read_bytes, sha256_of, without_nan, write_atomically
from toolkit.workspace.locks import held
from toolkit.workspace.registry import Workspace

FIRST = "0" * 64
"""What the first line holds in the place of the digest of the line before."""
KEYS = {
    "split": ("split_id", "seal"),
    "run": ("run_id", "record_sha256"),
    "scoring": ("run_id", "part", "scored_at"),
    "review": ("review_id", "sha256_of_file"),
    "translation": ("translated_at", "user"),
    "push": ("push_id", "operation", "target", "calls_sha256"),
    "release": ("release_id", "made_at"),
}
"""What tells two entries of a kind apart: an entry is made once."""
LOST = "restore the file from a backup; nothing was changed"
Entry = dict[str, Any]


def entries(
    workspace: Workspace,
    kind: Literal["split", "run", "scoring", "review", "push", "translation", "release"] | None = None,
) -> list[Entry]:
    """Return the ledger's entries in order, of one kind or all, without what chains them.

    Raises DamagedError for a line that does not follow from the one before it. The scorings that an earlier version
    noted beside each run come first.
    """
    found = [*_earlier(workspace), *_chained(path_of(workspace))]
    first = {_key(entry): entry for entry in reversed(found)}
    return [entry for entry in found if first[_key(entry)] is entry and kind in (None, entry["kind"])]


def append(workspace: Workspace, new: Iterable[Entry]) -> None:
    """Add entries that are not there yet; the ledger is written as a whole."""
    with held(workspace.folder, "ledger", "writing the ledger"):
        path = path_of(workspace)
        chain = _chained(path)
        known = {_key(entry) for entry in chain}
        added = []
        for entry in [*_earlier(workspace), *new]:
            if _key(entry) not in known:
                known.add(_key(entry))
                added.append(without_nan(entry))
        if added:
            write_atomically(path, "".join(_lines([*chain, *added])).encode())


def path_of(workspace: Workspace) -> Path:
    """Return the ledger's file."""
    return workspace.folder / "ledgers" / "ledger.jsonl"


def scorings_of(workspace: Workspace, run_id: str | None = None) -> list[Entry]:
    """Return the scorings of a run, or of all: the columns of the table `evaluations`, and the digest of the scores."""
    return [
        {**entry, "scored_at": datetime.fromisoformat(entry["scored_at"])}
        for entry in entries(workspace, "scoring")
        if run_id in (None, entry["run_id"])
    ]


def last(workspace: Workspace, kind: Literal["split", "run"], name: str) -> Entry | None:
    """Return the newest entry of a split or a run."""
    own = [entry for entry in entries(workspace, kind) if entry[f"{kind}_id"] == name]
    return own[-1] if own else None


def _key(entry: Entry) -> tuple[str, ...]:
    return (entry["kind"], *(str(entry.get(key)) for key in KEYS[entry["kind"]]))


def _lines(chain: list[Entry]) -> Iterable[str]:
    previous = FIRST
    for entry in chain:
        stated = {**entry, "previous": previous}
        previous = sha256_of(stated)
        yield json.dumps({**stated, "sha256": previous}, sort_keys=True, ensure_ascii=False) + "\n"


def _chained(path: Path) -> list[Entry]:
    """Return the entries of the file, each checked against the line before."""
    if not path.exists():
        return []
    chain: list[Entry] = []
    previous = FIRST
    for number, line in enumerate(read_bytes(path, remedy=LOST).splitlines(), start=1):
        try:
            stated = json.loads(line)
            digest = stated.pop("sha256")
            known = all(key in stated for key in KEYS[stated["kind"]])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            known, digest, stated = False, "", {}
        follows = stated.pop("previous", None) == previous and digest == sha256_of({**stated, "previous": previous})
        if not known or not follows:
            problem = f"line {number} of the ledger does not follow from the line before it: it was changed or damaged"
            raise DamagedError(problem, place=str(path), remedy=LOST)
        chain.append(stated)
        previous = digest
    return chain


def _earlier(workspace: Workspace) -> list[Entry]:
    """Return the scorings that earlier versions noted in `runs/<run_id>/evaluations.jsonl`."""
    found: list[Entry] = []
    for path in sorted(workspace.folder.glob("runs/*/evaluations.jsonl")):
        for line in read_bytes(path, remedy=LOST).splitlines():
            try:
                scoring = json.loads(line)
                found.append({"kind": "scoring", **scoring, "scored_at": str(scoring["scored_at"])})
            except (ValueError, KeyError, TypeError, RecursionError):
                raise changed(path, remedy=LOST) from None
    return sorted(found, key=lambda entry: entry["scored_at"])
