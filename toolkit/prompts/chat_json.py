"""The published study's JSON: for each photograph its path, the user's question and the assistant's answer."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from toolkit.errors import ToolkitError
from toolkit.files import read_bytes, write_atomically
from toolkit.manifest import Study, faults
from toolkit.models.backend import user_words
from toolkit.progress import Progress, silent
from toolkit.prompts.prompt import prompts_of
from toolkit.workspace.registry import Workspace
from toolkit.workspace.runs import PartCase, find_split, resolved_cases

FAULTS_LISTED = 20
CHAT_JSON = 'it is a JSON list of objects with the texts "image", "user", "assistant", and perhaps "roi": four numbers'


@dataclass(frozen=True)
class ChatEntry:
    """One entry. `roi` is left, top, width, height in pixels; None = the whole photograph, or not stated."""

    image: str
    user: str
    assistant: str
    roi: Annotated[list[float], Field(min_length=4, max_length=4)] | None = None


@dataclass(frozen=True)
class ChatWritten:
    """The file that was written and its number of entries."""

    file: str
    split_id: str
    part: str
    entries: int
    values_left_out: int


@dataclass(frozen=True)
class ChatCompared:
    """A file compared with a part of the split: how many entries agree with today's cases, prompts and classes."""

    file: str
    split_id: str
    part: str
    entries: int
    same: int
    other_prompt: int
    other_class: int
    unknown: int
    """Entries that match no case of the part, or several."""
    lacking: int
    """Cases of the part without an entry in the file."""


def write_chat(
    workspace: Workspace, study: Study, file: Path, *, part: str, split_id: str = "latest", progress: Progress = silent
) -> ChatWritten:
    """Write the entries of a part's resolved cases, ordered by case ID.

    The file gets mode 0600: the paths of photographs may contain patient identifiers.
    """
    split_id = find_split(workspace, split_id)
    progress("writing prompts", 0, None)
    entries, left_out = chat_entries(workspace, study, resolved_cases(workspace, split_id, part))
    text = json.dumps([asdict(entry) for entry in entries], ensure_ascii=False, indent=1)
    write_atomically(file, f"{text}\n".encode(), mode=0o600)
    return ChatWritten(str(file), split_id, part, len(entries), left_out)


def chat_entries(workspace: Workspace, study: Study, cases: list[PartCase]) -> tuple[list[ChatEntry], int]:
    """Return an entry per case, and how many metadata values were left out of the prompts."""
    prompts = prompts_of(workspace, study, [case.case_id for case in cases])
    answers = dict(zip(study.class_names, study.answers, strict=True))
    entries = [
        ChatEntry(str(case.path), user_words(text), answers[case.class_name], list(case.roi) if case.roi else None)
        for case, text in zip(cases, prompts.texts, strict=True)
    ]
    return entries, prompts.left_out


def read_chat(file: Path) -> list[ChatEntry]:
    """Read such a file; raise ToolkitError that lists the entries with a fault."""
    try:
        return TypeAdapter(list[ChatEntry]).validate_json(read_bytes(file, remedy=CHAT_JSON), strict=True)
    except ValidationError as error:
        listed = "\n".join(f"  - {fault}" for fault in faults(error)[:FAULTS_LISTED])
        problem = f"{error.error_count()} faults in the file, each with the number of its entry:\n{listed}"
    raise ToolkitError(problem, place=str(file), remedy=CHAT_JSON)


def compare_chat(
    workspace: Workspace, study: Study, file: Path, *, part: str, split_id: str = "latest"
) -> ChatCompared:
    """Compare a file with today's cases of a part; photographs match by path, else by file name."""
    split_id = find_split(workspace, split_id)
    entries = read_chat(file)
    today, _ = chat_entries(workspace, study, resolved_cases(workspace, split_id, part))
    by_name: dict[str, list[ChatEntry]] = {}
    for entry in today:
        by_name.setdefault(Path(entry.image).name, []).append(entry)
    pairs = [(entry, _match(entry, by_name.get(Path(entry.image).name, []))) for entry in entries]
    matched = [(entry, own) for entry, own in pairs if own is not None]
    other_prompt = [user_words(entry.user) != own.user for entry, own in matched]
    other_class = [study.class_of(entry.assistant) != study.class_of(own.assistant) for entry, own in matched]
    return ChatCompared(
        file=str(file),
        split_id=split_id,
        part=part,
        entries=len(entries),
        same=sum(not (prompt or name) for prompt, name in zip(other_prompt, other_class, strict=True)),
        other_prompt=sum(other_prompt),
        other_class=sum(other_class),
        unknown=len(entries) - len(matched),
        lacking=len(today) - len({id(own) for _, own in matched}),
    )


def _match(entry: ChatEntry, same_name: list[ChatEntry]) -> ChatEntry | None:
    """Return the one case of the part that an entry can belong to."""
    same_path = [own for own in same_name if own.image == entry.image] or same_name
    same_roi = [own for own in same_path if entry.roi is None or own.roi == [float(side) for side in entry.roi]]
    return same_roi[0] if len(same_roi) == 1 else None
