"""What is sent to Labelbox: noted and synced in pushes/<push_id>.jsonl before each call and after it, and as a table.

Each line holds its own digest. A line that a kill cut off at the end was followed by no call, and counts for nothing.
The ledger states each finished operation with digests and counts; what is about patients stands here only, where
`withdraw` can take it out.
"""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, NamedTuple

import pyarrow as pa

from toolkit.errors import DamagedError
from toolkit.files import make_folder, private, read_bytes, sha256_of, short_id, write_atomically, writing_to
from toolkit.workspace import ledger
from toolkit.workspace.registry import Workspace, insert, table_schema

LOST = "restore the file from a backup: without it, what was sent would be sent again"
DONE = ("sent", "skipped")
"""States of what is not sent again."""
Line = dict[str, Any]


class PushName(NamedTuple):
    """What a push is about; all pushes of one thing are one push, which goes on."""

    kind: str
    subject: str

    @property
    def id(self) -> str:
        """The push's ID."""
        return short_id({"push": self.kind, "of": self.subject})


@dataclass(frozen=True)
class PushItem:
    """One thing to be sent: `item` tells it apart within its operation and target."""

    item: str
    image_id: str | None = None
    label_id: str | None = None
    case_id: str | None = None
    value: str | None = None
    before: dict[str, Any] = field(default_factory=dict, compare=False)
    """How it stood at Labelbox just before it was sent."""


@dataclass
class PushCall:
    """One call, as noted: its items, when it was sent, and the ID that Labelbox gave for it."""

    number: int
    operation: str
    target: str
    items: list[PushItem]
    at: datetime
    payload_sha256: str
    service_id: str | None = None
    state: str = "open"
    ended_at: datetime | None = None
    answer: str | None = None
    apart: dict[str, list[str | None]] = field(default_factory=dict)
    """State and answer of items that did not fare like the call."""

    def state_of(self, item: PushItem) -> tuple[str, str | None]:
        """Return an item's state and answer."""
        state, answer = self.apart.get(item.item, (self.state, self.answer))
        return str(state), answer


class PushJournal:
    """The notes of one push."""

    def __init__(self, workspace: Workspace, name: PushName) -> None:
        self.workspace, self.name = workspace, name
        self.path = workspace.folder / "pushes" / f"{name.id}.jsonl"
        self.calls = _calls(_whole_lines(self.path)) if self.path.exists() else []
        self._states = {
            (call.operation, call.target, item.item): (call, item) for call in self.calls for item in call.items
        }

    def state(self, operation: str, target: str, item: PushItem) -> str | None:
        """Return the state of an item; None where it was never about to be sent."""
        known = self._states.get((operation, target, item.item))
        return known[0].state_of(known[1])[0] if known else None

    def open_calls(self, operation: str, target: str) -> list[PushCall]:
        """Return the calls of which it is not known what became of them."""
        return [c for c in self.calls if (c.operation, c.target, c.state) == (operation, target, "open")]

    def service_id(self, operation: str, target: str) -> str | None:
        """Return the ID that Labelbox gave in the newest call of an operation that was done."""
        own = [c for c in self.calls if (c.operation, c.target) == (operation, target) and c.state in DONE]
        return own[-1].service_id if own else None

    def about_to_send(self, operation: str, target: str, items: list[PushItem], payload: object) -> PushCall:
        """Note a call before it is made."""
        call = PushCall(len(self.calls), operation, target, items, _now(), sha256_of(payload))
        self._append(
            {
                "event": "sending",
                "call": call.number,
                "operation": operation,
                "target": target,
                "items": [asdict(item) for item in items],
                "payload_sha256": call.payload_sha256,
                "at": call.at.isoformat(),
            }
        )
        self.calls.append(call)
        self._states |= {(operation, target, item.item): (call, item) for item in items}
        return call

    def started(self, call: PushCall, service_id: str) -> None:
        """Note the task, import or issue that Labelbox made of a call."""
        call.service_id = service_id
        self._append({"event": "started", "call": call.number, "service_id": service_id})

    def ended(
        self,
        call: PushCall,
        state: str,
        answer: str | None = None,
        *,
        apart: dict[str, list[str | None]] | None = None,
        service_id: str | None = None,
    ) -> None:
        """Note what became of a call: sent, skipped, failed or not_sent; `apart` = of items that fared otherwise."""
        call.state, call.answer, call.apart, call.ended_at = state, answer, apart or {}, _now()
        call.service_id = service_id or call.service_id
        line = {"event": "ended", "call": call.number, "state": state, "answer": answer, "apart": call.apart}
        self._append(line | {"service_id": call.service_id, "at": call.ended_at.isoformat()})

    def skipped(self, operation: str, target: str, items: list[PushItem], answer: str) -> None:
        """Note items that need not be sent."""
        self.ended(self.about_to_send(operation, target, items, None), "skipped", answer)

    def mirror(self) -> None:
        """Put the notes into the registry, and each operation in which nothing is open into the ledger."""
        ledger.append(self.workspace, self._statements())
        with self.workspace.writing() as connection:
            connection.execute("delete from pushes where push_id = ?", [self.name.id])
            insert(connection, "pushes", _table([self]))

    def _statements(self) -> Iterator[ledger.Entry]:
        operations = dict.fromkeys((call.operation, call.target) for call in self.calls)
        for operation, target in operations:
            own = [c for c in self.calls if (c.operation, c.target) == (operation, target)]
            if any(call.state == "open" for call in own):
                continue
            states = [call.state_of(item)[0] for call, item in self._latest(operation, target)]
            yield {
                "kind": "push",
                "push_id": self.name.id,
                "what": self.name.kind,
                "subject": self.name.subject,
                "operation": operation,
                "target": target,
                "counts": {state: states.count(state) for state in sorted(set(states))},
                "service_ids": sorted({call.service_id for call in own if call.service_id}),
                "calls_sha256": sha256_of([[call.payload_sha256, call.state, call.service_id] for call in own]),
                "at": max(call.ended_at or call.at for call in own).isoformat(),
            }

    def _latest(self, operation: str, target: str) -> list[tuple[PushCall, PushItem]]:
        return [pair for key, pair in self._states.items() if key[:2] == (operation, target)]

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of the table `pushes`."""
        for (operation, target, _), (call, item) in self._states.items():
            state, answer = call.state_of(item)
            about = {key: value for key, value in asdict(item).items() if key != "before"}
            yield {
                "push_id": self.name.id,
                "kind": self.name.kind,
                "subject": self.name.subject,
                "operation": operation,
                "target": target,
                **about,
                "state": state,
                "service_id": call.service_id,
                "payload_sha256": call.payload_sha256,
                "sent_at": call.at,
                "ended_at": call.ended_at,
                "answer": answer,
            }

    def _append(self, line: Line) -> None:
        """Add a line, synced to the disk; the file's first line says what the push is about."""
        make_folder(self.path.parent)
        with writing_to(self.path):
            new = not self.path.exists()
            with open(self.path, "r+b", opener=private) as file:
                if not _stand_at_end(file):
                    file.write(_written({"event": "push", "kind": self.name.kind, "subject": self.name.subject}))
                file.write(_written(line))
                file.flush()
                os.fsync(file.fileno())
            if new:
                folder = os.open(self.path.parent, os.O_RDONLY)
                os.fsync(folder)
                os.close(folder)


def journals(workspace: Workspace) -> Iterator[PushJournal]:
    """Yield the notes of every push."""
    for path in sorted((workspace.folder / "pushes").glob("[!.]*.jsonl")):
        lines = _whole_lines(path)
        if lines:
            yield PushJournal(workspace, PushName(lines[0]["kind"], lines[0]["subject"]))


def read(workspace: Workspace) -> pa.Table:
    """Return the table `pushes` from the notes."""
    return _table(journals(workspace))


def leave_out(workspace: Workspace, *, images: set[str], cases: set[str]) -> None:
    """Remove what is about some photographs and cases from the notes; that something was sent stays."""
    for path in sorted((workspace.folder / "pushes").glob("[!.]*.jsonl")):
        lines = _whole_lines(path)
        items = [(line["call"], item) for line in lines for item in line.get("items", [])]
        gone = {(n, i["item"]) for n, i in items if i["image_id"] in images or i["case_id"] in cases}
        if gone:
            write_atomically(path, b"".join(_written(_without(line, gone)) for line in lines))


def _without(line: Line, gone: set[tuple[int, str]]) -> Line:
    """Return a line without some items of its call, and without words that may be about them."""
    own = {item for call, item in gone if call == line.get("call")}
    if not own:
        return line
    if "items" in line:
        return {**line, "items": [item for item in line["items"] if item["item"] not in own]}
    apart = {item: fared for item, fared in line.get("apart", {}).items() if item not in own}
    return line | ({"apart": apart, "answer": None} if line["event"] == "ended" else {})


def _table(journals: Iterable[PushJournal]) -> pa.Table:
    rows = [row for journal in journals for row in journal.rows()]
    return pa.Table.from_pylist(rows, schema=table_schema("pushes"))


def _written(line: Line) -> bytes:
    stated = {key: value for key, value in line.items() if key != "sha256"}
    return (json.dumps({**stated, "sha256": sha256_of(stated)}, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _stand_at_end(file: IO[bytes]) -> int:
    """Go to the end of the last whole line, cutting off what a kill left behind it; return how far that is."""
    end = file.seek(0, os.SEEK_END)
    if end and (file.seek(end - 1), file.read(1))[1] != b"\n":
        file.seek(0)
        file.truncate(_whole(file.read()))
    return file.seek(0, os.SEEK_END)


def _whole(data: bytes) -> int:
    """Return where the last whole line ends."""
    return data.rfind(b"\n") + 1


def _whole_lines(path: Path) -> list[Line]:
    """Return the lines, each checked by its digest; what a kill cut off at the end is left out."""
    data = read_bytes(path, remedy=LOST)
    lines = []
    for number, text in enumerate(data[: _whole(data)].splitlines(), start=1):
        try:
            line = json.loads(text)
            holds = line.pop("sha256") == sha256_of(line) and (line["event"] == "push") == (number == 1)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            line, holds = {}, False
        if not holds:
            raise DamagedError(
                f"line {number} was changed or damaged after it was written", place=str(path), remedy=LOST
            )
        lines.append(line)
    return lines


def _calls(lines: list[Line]) -> list[PushCall]:
    calls: list[PushCall] = []
    for line in lines[1:]:
        if line["event"] == "sending":
            items = [PushItem(**item) for item in line["items"]]
            at = datetime.fromisoformat(line["at"])
            calls.append(PushCall(len(calls), line["operation"], line["target"], items, at, line["payload_sha256"]))
            continue
        call = calls[line["call"]]
        call.service_id = line["service_id"] or call.service_id
        if line["event"] == "ended":
            call.state, call.answer, call.apart = line["state"], line["answer"], line["apart"]
            call.ended_at = datetime.fromisoformat(line["at"])
    return calls


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None, microsecond=0)
