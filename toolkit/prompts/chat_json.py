"""The published study's JSON: for each photograph its path, what the user asks, what the assistant answers.

Refuses to write it unasked: paths may hold patients' identifiers, so the file is nobody else's to read.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from toolkit.errors import ToolkitError
from toolkit.files import write_atomically
from toolkit.manifest import Study
from toolkit.progress import Progress, silent
from toolkit.prompts.prompt import prompts_of
from toolkit.workspace.registry import Workspace
from toolkit.workspace.runs import PartCase, find_split, resolved_cases

MOST_TOLD = 20
"""Faults of a file that are told."""


@dataclass(frozen=True)
class ChatEntry:
    """One entry. `roi` is left, top, width, height in pixels; None = the whole photograph, or not said."""

    image: str
    user: str
    assistant: str
    roi: list[float] | None = None


@dataclass(frozen=True)
class ChatWritten:
    """How many entries were written where."""

    file: str
    split_id: str
    part: str
    entries: int
    values_left_out: int


@dataclass(frozen=True)
class ChatCompared:
    """How a file stands to a part: entries of the same case, prompt and class; and what is not as it is today."""

    file: str
    split_id: str
    part: str
    entries: int
    same: int
    other_prompt: int
    other_class: int
    unknown: int
    """Entries of no case of the part, or of one of several that cannot be told apart."""
    lacking: int
    """Cases of the part that the file does not hold."""


def write_chat(
    workspace: Workspace, study: Study, file: Path, *, part: str, split_id: str = "latest", progress: Progress = silent
) -> ChatWritten:
    """Write the entries of a part's resolved cases, in order of their IDs, mode 0600."""
    split_id = find_split(workspace, split_id)
    progress("writing prompts", 0, None)
    cases = resolved_cases(workspace, split_id, part)
    found, left_out = _triples(workspace, study, cases)
    text = json.dumps([asdict(triple) for triple in found], ensure_ascii=False, indent=1)
    write_atomically(file, f"{text}\n".encode(), mode=0o600)
    return ChatWritten(str(file), split_id, part, len(found), left_out)


def _triples(workspace: Workspace, study: Study, cases: list[PartCase]) -> tuple[list[ChatEntry], int]:
    prompts = prompts_of(workspace, study, [case.case_id for case in cases])
    answers = dict(zip(study.class_names, study.answers, strict=True))
    made = [
        ChatEntry(str(case.path), _user(text), answers[case.class_name], list(case.roi) if case.roi else None)
        for case, text in zip(cases, prompts.texts, strict=True)
    ]
    return made, prompts.left_out


def _user(prompt: str) -> str:
    """Return the words between "USER:" and "ASSISTANT:"; of a text without them all of it."""
    return prompt.strip().removeprefix("USER:").removesuffix("ASSISTANT:").strip()


def read_chat(file: Path) -> list[ChatEntry]:
    """Read such a file; raise ToolkitError with every entry that is none."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ToolkitError(f"the file cannot be read: {error}", place=str(file), remedy=_REMEDY) from None
    if not isinstance(document, list):
        raise ToolkitError("the file holds no list", place=str(file), remedy=_REMEDY)
    faults = [f"entry {n}: {fault}" for n, entry in enumerate(document, start=1) if (fault := _fault(entry))]
    if faults:
        told = "\n".join(f"  - {fault}" for fault in faults[:MOST_TOLD])
        raise ToolkitError(f"{len(faults)} entries cannot be used:\n{told}", place=str(file), remedy=_REMEDY)
    return [ChatEntry(*(entry[key] for key in ("image", "user", "assistant")), entry.get("roi")) for entry in document]


_REMEDY = 'it is a JSON list of objects with the texts "image", "user", "assistant", and perhaps "roi": four numbers'


def _fault(entry: Any) -> str:
    if not isinstance(entry, dict):
        return "no object"
    if lacking := [key for key in ("image", "user", "assistant") if not isinstance(entry.get(key), str)]:
        return f"no text under {lacking[0]!r}"
    roi = entry.get("roi")
    is_box = isinstance(roi, list) and len(roi) == 4 and all(type(side) in (int, float) for side in roi)
    return "" if roi is None or is_box else "roi is not four numbers"


def compare_chat(
    workspace: Workspace, study: Study, file: Path, *, part: str, split_id: str = "latest"
) -> ChatCompared:
    """Hold a file against today's cases, prompts and truth of a part; photographs are known by path, else by name."""
    split_id = find_split(workspace, split_id)
    given = read_chat(file)
    today, _ = _triples(workspace, study, resolved_cases(workspace, split_id, part))
    by_name: dict[str, list[ChatEntry]] = {}
    for triple in today:
        by_name.setdefault(Path(triple.image).name, []).append(triple)
    pairs = [(each, _match(each, by_name.get(Path(each.image).name, []))) for each in given]
    known = [(each, own) for each, own in pairs if own is not None]
    other_prompt = [_user(each.user) != own.user for each, own in known]
    other_class = [study.class_of(each.assistant) != study.class_of(own.assistant) for each, own in known]
    return ChatCompared(
        file=str(file),
        split_id=split_id,
        part=part,
        entries=len(given),
        same=sum(not (prompt or name) for prompt, name in zip(other_prompt, other_class, strict=True)),
        other_prompt=sum(other_prompt),
        other_class=sum(other_class),
        unknown=len(given) - len(known),
        lacking=len(today) - len({id(own) for _, own in known}),
    )


def _match(given: ChatEntry, named_alike: list[ChatEntry]) -> ChatEntry | None:
    """Return the one case that an entry can be of."""
    exact = [own for own in named_alike if own.image == given.image] or named_alike
    found = [own for own in exact if given.roi is None or own.roi == [float(side) for side in given.roi]]
    return found[0] if len(found) == 1 else None
