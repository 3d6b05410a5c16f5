"""Guesses of what the names in an export mean: the diagnosis question, the patient's field, malignant classes."""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from toolkit.manifest.base import fold
from toolkit.stages.init.export_counts import FieldCounts, ProjectCounts

LESIONS = re.compile(
    r"melano|carcinom|n(?:a)?ev|keratos|lentig|ephel|freckle|melasma|h(?:a)?emangiom|dermatofibrom|vascular|wart|bowen"
    r"|\b(?:adm|bcc|scc|sk|ak|mm)\b"
)
MALIGNANT = re.compile(r"melanoma|carcinoma")
DENIED = re.compile(r"^(?:no|non|not)\b")
DIAGNOSIS = re.compile(r"diagnos|\bdx\b|\bclass\b|\blesion type\b")
CERTAINTY = re.compile(r"certain|confiden|\bsure\b")
YES_OR_NO = {"yes", "no", "true", "false", "unsure", "unknown", "unclear", "not sure", "maybe"}
PATIENT = re.compile(r"patient|\bpat\b|subject|\bcase (?:no|nr|number|id)\b|\b(?:mrn|pid)\b")
LESION = re.compile(r"lesion")
IDENTIFIER = re.compile(r"\b(?:id|no|nr|number|code|key|pseudonym|mrn|pid)\b")
OTHER_FACT = re.compile(r"\bage|\bsex|gender|birth|name|note|history|remark|comment|type|site|size|count|date")
FREE_TEXT = re.compile(r"name|note|remark|comment|birth|address|phone|mail")
FEW = 50
"""Different texts up to which a field is taken for a list of choices."""


@dataclass(frozen=True)
class QuestionGuess:
    """A question of the taken project; answers in words are counted, never shown."""

    question: str
    kind: str
    answers: dict[str, int]


@dataclass(frozen=True)
class MetadataGuess:
    """A metadata field; `distinct` ends at 2,000."""

    name: str
    kind: str | None
    rows: int
    distinct: int
    left_out: bool
    """Whether it may hold names or numbers of people."""


@dataclass(frozen=True)
class ClassGuess:
    """A class as the study file names it, and the spellings it was found under."""

    name: str
    answer: str
    malignant: bool
    spellings: dict[str, int]
    odd: str
    """Code points that are no Latin letters, digits or usual signs: a letter that only looks like another."""


def is_name(text: str) -> bool:
    """Tell whether a study file can hold this as a name."""
    return 0 < len(text) <= 120 and not any(ord(c) < 32 or ord(c) == 127 for c in text) and bool(fold(text))


def questions(project: ProjectCounts) -> list[QuestionGuess]:
    """Return a project's questions, the most answered first."""
    guesses = [
        QuestionGuess(name, kind, dict(answers.most_common())) for (name, kind), answers in project.answers.items()
    ]
    return sorted(guesses, key=lambda q: (-sum(q.answers.values()), q.question, q.kind))


def diagnosis(questions: list[QuestionGuess], boxes: Collection[str]) -> QuestionGuess | None:
    """Return the radio question with the most class-like answers; None where the boxes' names say more."""
    ranked = [
        (_class_like(question), question)
        for question in questions
        if question.kind == "radio" and is_name(question.question) and not set(map(fold, question.answers)) <= YES_OR_NO
    ]
    if not ranked:
        return None
    (known, called, distinct), question = max(ranked, key=lambda pair: pair[0])
    if known or called or (distinct > 1 and len(boxes) < 2):
        return question
    return None


def _class_like(question: QuestionGuess) -> tuple[int, bool, int]:
    known = sum(bool(LESIONS.search(fold(answer))) for answer in question.answers)
    return known, bool(DIAGNOSIS.search(fold(question.question))), len(set(map(fold, question.answers)))


def certainty(questions: list[QuestionGuess]) -> str | None:
    """Return the radio question that says how certain an annotator was."""
    radio = (q.question for q in questions if q.kind == "radio" and is_name(q.question))
    return next((name for name in radio if CERTAINTY.search(fold(name))), None)


def fields(counted: dict[str, FieldCounts]) -> list[MetadataGuess]:
    """Return the metadata fields, the fullest first."""
    guesses = [MetadataGuess(name, f.kind, f.rows, len(f.values), _is_left_out(name, f)) for name, f in counted.items()]
    return sorted(guesses, key=lambda f: (-f.rows, f.name))


def _is_left_out(name: str, counted: FieldCounts) -> bool:
    """Tell whether a field may hold names or numbers of people: its name says so, or its texts are many."""
    kind, folded = (counted.kind or "String").removeprefix("CustomMetadata"), fold(name)
    many = len(counted.values) > min(FEW, counted.rows / 2)
    of_patient = PATIENT.search(folded) and not OTHER_FACT.search(folded)
    return bool(FREE_TEXT.search(folded) or of_patient) or (kind == "String" and many) or not is_name(name)


def identifier(fields: list[MetadataGuess], what: re.Pattern[str]) -> str | None:
    """Return the field whose name says that it identifies: one that says "id" or "number" before one that does not."""
    named = [f for f in fields if what.search(fold(f.name)) and not OTHER_FACT.search(fold(f.name)) and is_name(f.name)]
    ranked = sorted(named, key=lambda f: (not IDENTIFIER.search(fold(f.name)), -f.rows, f.name))
    return ranked[0].name if ranked else None


def classes(counts: Counter[str] | dict[str, int]) -> list[ClassGuess]:
    """Return a class for each answer, spellings that differ by case or spaces taken together, by name."""
    spellings: dict[str, dict[str, int]] = {}
    for spelling, count in counts.items():
        if is_name(spelling) and is_name(fold(spelling)):
            spellings.setdefault(fold(spelling), {})[spelling] = count
    taken = set(spellings)
    guesses = []
    for folded, times in sorted(spellings.items()):
        name = _class_name(folded, taken - {folded})
        taken.add(fold(name))
        malignant = bool(MALIGNANT.search(folded)) and not DENIED.search(folded)
        guesses.append(ClassGuess(name, folded, malignant, times, _odd(folded)))
    return guesses


def _class_name(folded: str, taken: set[str]) -> str:
    """Return a class name of ASCII letters that no other class goes by."""
    plain = unicodedata.normalize("NFKD", folded).encode("ascii", "ignore").decode()
    base = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")[:70] or "class"
    number, name = 1, base
    while fold(name) in taken:
        number += 1
        name = f"{base}_{number}"
    return name


def _odd(text: str) -> str:
    """Name the letters that are not Latin."""
    letters = {c for c in text if ord(c) > 126 and not unicodedata.name(c, "").startswith("LATIN")}
    return " ".join(f"U+{ord(c):04X}" for c in sorted(letters))
