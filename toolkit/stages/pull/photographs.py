"""The photographs and masks of an export, fetched in parallel where they are not in the workspace yet."""

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from toolkit.errors import ServiceError
from toolkit.files import private, sha256_of_file, written_atomically
from toolkit.labelbox_json.links import FileLink
from toolkit.labelbox_json.outlines import address_digest
from toolkit.labelbox_service.patience import PassingError, Patience
from toolkit.photographs.opening import file_name
from toolkit.progress import Progress
from toolkit.stages.pull.fetch import RefusedError, Rules, fetch
from toolkit.workspace.landed import PHOTOGRAPH_INDEX, fetched_files

PAGE = 200
"""Links fetched between two notes in the index."""
TRIES = 4
UNREACHABLE = 50
"""So many in a row that cannot be reached mean that the network is down, not that photographs are missing."""


class Fetched(NamedTuple):
    """How many files were fetched now and before, and what went wrong with the others."""

    now: int
    before: int
    refused: dict[str, int]
    issues: list[dict[str, Any]]


class FetchOutcome(NamedTuple):
    """What became of one link; `record` is its line in the index."""

    link: FileLink
    record: dict[str, Any] | None = None
    reason: str | None = None
    problem: str = ""
    before: bool = False


class Store:
    """A folder of fetched files, and the index of which of them are whole: name, address without signature, digest."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index = folder / PHOTOGRAPH_INDEX
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for partial_file in folder.glob(".*"):  # an interruption leaves them
            partial_file.unlink()
        self.known = fetched_files(folder)

    def has(self, name: str, address: str) -> dict[str, Any] | None:
        """Return a file's record when it is here whole and came from this address, whatever its signature."""
        record, path = self.known.get(name), self.folder / name
        same = record is not None and record["address"] == address_digest(address)
        return record if same and path.is_file() and sha256_of_file(path) == record["sha256"] else None

    def outdate(self, name: str, address: str) -> None:
        """Remove a file that came from another address than the one that could not be fetched: it is not this one."""
        if name in self.known and self.known[name]["address"] != address_digest(address):
            (self.folder / name).unlink(missing_ok=True)

    def add(self, records: list[dict[str, Any]]) -> None:
        """Note files that are whole."""
        self.known |= {record["name"]: record for record in records}
        with open(self.index, "ab", opener=private) as file:
            file.write("".join(f"\n{json.dumps(record, sort_keys=True)}" for record in records).encode())
            file.flush()
            os.fsync(file.fileno())


def fetch_all(
    links: Iterable[FileLink],
    workspace: Path,
    rules: Rules,
    patience: Patience,
    *,
    connections: int,
    progress: Progress,
) -> Fetched:
    """Fetch photographs into `photographs/` and masks into `masks/`, all but those that are here already."""
    stores = {False: Store(workspace / "photographs"), True: Store(workspace / "masks")}
    counts: Counter[str] = Counter()
    issues: list[dict[str, Any]] = []
    unreachable = 0
    one = partial(_one, stores=stores, rules=rules, patience=replace(patience, tries=min(patience.tries, TRIES)))
    with ThreadPoolExecutor(connections) as pool:
        for page in _pages(links):
            new: dict[bool, list[dict[str, Any]]] = {False: [], True: []}
            for outcome in pool.map(one, page):
                unreachable = unreachable + 1 if outcome.reason == "url_unreachable" else 0
                counts[outcome.reason or ("before" if outcome.before else "now")] += 1
                if outcome.record and not outcome.before:
                    new[outcome.link.is_mask].append(outcome.record)
                if outcome.reason:
                    issues.append(_issue(outcome))
                progress("fetching photographs", counts.total(), None)
            for is_mask, records in new.items():
                if records:
                    stores[is_mask].add(records)
            if unreachable >= UNREACHABLE:
                remedy = "look at the network, then run the same command: what is here is not fetched again"
                raise ServiceError("the photographs' storage cannot be reached", remedy=remedy)
    now, before = counts.pop("now", 0), counts.pop("before", 0)
    return Fetched(now, before, dict(sorted(counts.items())), issues)


def _pages(links: Iterable[FileLink]) -> Iterator[list[FileLink]]:
    """Yield links in pages; an ID that stands twice in one is fetched once."""
    waiting = iter(links)
    while page := list(islice(waiting, PAGE)):
        yield list({(link.is_mask, link.id): link for link in page}.values())


def _one(link: FileLink, stores: dict[bool, Store], rules: Rules, patience: Patience) -> FetchOutcome:
    store, name = stores[link.is_mask], file_name(link.id)
    if record := store.has(name, link.address):
        return FetchOutcome(link, record, before=True)
    path = store.folder / name
    bound = rules if link.is_mask else replace(rules, key_origin="", key="")
    try:
        with written_atomically(path, mode=0o600) as temporary:

            def attempt() -> None:
                with temporary.open("wb") as file:
                    fetch(link.address, bound, file)

            patience.keep(attempt)
            record = {
                "name": name,
                "address": address_digest(link.address),
                "bytes": temporary.stat().st_size,
                "sha256": sha256_of_file(temporary),
            }
    except RefusedError as error:
        store.outdate(name, link.address)
        return FetchOutcome(link, reason=error.reason, problem=error.problem)
    except PassingError as error:
        store.outdate(name, link.address)
        return FetchOutcome(link, reason="url_unreachable", problem=str(error))
    return FetchOutcome(link, record)


def _issue(outcome: FetchOutcome) -> dict[str, Any]:
    what = "mask" if outcome.link.is_mask else "photograph"
    detail = f"the {what} was not fetched: {outcome.problem}"
    return {"level": "warning", "reason": outcome.reason, "detail": detail, "image_id": outcome.link.image_id}
