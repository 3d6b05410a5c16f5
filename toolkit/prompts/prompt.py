"""The prompt of each case: the study's question with the metadata of the photograph filled in.

`manifest` refuses a question that names a class.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from toolkit.errors import StudyError
from toolkit.manifest import Study
from toolkit.manifest.model import PROMPT_FIELD, PROMPT_PART, PromptSection
from toolkit.workspace import sql
from toolkit.workspace.registry import Workspace

NOTHING: Mapping[str, str] = MappingProxyType({})
LONGEST_VALUE = 60
"""Characters of a metadata value; the rest is cut off."""
ROLES = re.compile(r"\b(user|assistant)\s*:", re.IGNORECASE)
WHOLE_NUMBER = re.compile(r"(-?\d+)[.,]0+")


class Prompts(NamedTuple):
    """The prompts of cases, in their order, and how many metadata values were left out because they name a class."""

    texts: list[str]
    left_out: int


def prompt_of(prompt: PromptSection, values: Mapping[str, str] = NOTHING) -> str:
    """Return "USER: … ASSISTANT:", as in the published study, the same for training and prediction.

    A field without a value is left out, together with the words in square brackets around it.
    """
    user = prompt.user
    if prompt.fields:
        text = PROMPT_PART.sub(lambda part: part[1] if set(PROMPT_FIELD.findall(part[1])) <= set(values) else "", user)
        user = " ".join(PROMPT_FIELD.sub(lambda field: values.get(field[1], ""), text).split())
    return f"USER: {user} ASSISTANT:"


def prompts_without_metadata(study: Study, cases: Sequence[str]) -> Prompts:
    """Return for each case the prompt that holds no metadata."""
    return Prompts([prompt_of(study.prompt)] * len(cases), 0)


def prompts_of(workspace: Workspace, study: Study, cases: Sequence[str], *, strict: bool = True) -> Prompts:
    """Return the prompt of each case; `strict` refuses a field that no photograph has."""
    fields = study.prompt.fields
    if not fields:
        return prompts_without_metadata(study, cases)
    rows = workspace.rows(sql.statement("predict/prompt_values"), {"names": "\x1f".join(fields)})
    if strict and (absent := sorted(set(fields) - {row["name"] for row in rows})):
        known = [row["name"] for row in workspace.rows("select distinct name from metadata order by name")]
        raise StudyError(
            f"prompt.user: no case has the metadata field {absent[0]!r}",
            remedy=f"the fields are: {', '.join(known) or 'none'}",
        )
    values: dict[str, dict[str, str]] = {}
    for row in rows:
        values.setdefault(row["case_id"], {})[row["name"]] = row["value"]
    filled = [_filled(study, values.get(case, NOTHING)) for case in cases]
    return Prompts([text for text, _ in filled], sum(left_out for _, left_out in filled))


def _filled(study: Study, values: Mapping[str, str]) -> tuple[str, int]:
    """Return a prompt and how many values were left out of it: all of them where only together they name a class."""
    cleaned = {name: text for name, value in values.items() if (text := clean_value(value))}
    allowed = {name: text for name, text in cleaned.items() if not study.names_a_class(text)}
    text = prompt_of(study.prompt, allowed)
    if allowed and study.names_a_class(text) and not study.names_a_class(study.prompt.words):
        return prompt_of(study.prompt), len(cleaned)
    return text, len(cleaned) - len(allowed)


def clean_value(value: str) -> str:
    """Return a metadata value as one short line without markup and role names; a whole number without .0."""
    text = unicodedata.normalize("NFKC", value)
    text = "".join(c if c.isprintable() and c not in "<>[]{}" else " " for c in text)
    text = " ".join(ROLES.sub(" ", text).split())[:LONGEST_VALUE].strip()
    whole = WHOLE_NUMBER.fullmatch(text)
    return whole[1] if whole else text
