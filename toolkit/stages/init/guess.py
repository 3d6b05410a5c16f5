"""Guesses of what the names in an export mean: the diagnosis question, the patient's field, malignant classes."""

import difflib
import re
import unicodedata
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace

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
NO = re.compile(
    r"\b(?:no|not|non|none|never|false|absent|negative|nein|nicht|unlikely|improbable|doubtful|excluded|rather not)\b"
)
YES = re.compile(
    r"\b(?:yes|true|definite(?:ly)?|(?:very |rather )?likely|probabl[ey]|certain(?:ly)?|present|positive|ja|oui|si)\b"
)
BETWEEN = re.compile(
    r"\b(?:unsure|uncertain|unknown|unclear|maybe|possibl[ey]|perhaps|equivocal|indeterminate|cannot|undecided)\b"
)
"""What grades say: yes, no, or neither."""
ASKED = re.compile(
    r"^(?:is|are|does|shows?|has) (?:it|this|there|the lesion)?\s*(?:show|have|an?|any|the)?\s*|\s*\?\s*$"
)
"""What is no name in a question such as "Is it a melanoma?"."""
PATIENT = re.compile(r"patient|\bpat\b|subject|\bcase (?:no|nr|number|id)\b|\b(?:mrn|pid)\b")
LESION = re.compile(r"lesion")
IDENTIFIER = re.compile(r"\b(?:id|no|nr|number|code|key|pseudonym|mrn|pid)\b")
OTHER_FACT = re.compile(r"\bage|\bsex|gender|birth|name|note|history|remark|comment|type|site|size|count|date")
FREE_TEXT = re.compile(r"name|note|remark|comment|birth|address|phone|mail")
CHOSEN = ("radio", "checklist")
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
    looks_like: str = ""
    """Another class that it looks like."""
    question: str | None = None
    """Its own question, where each class has one; `yes` are the answers that name it."""
    yes: tuple[str, ...] = ()


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
    """Return the question with the most class-like answers, radio first; None where the boxes' names say more."""
    ranked = [
        (_class_like(question), question)
        for question in questions
        if question.kind in CHOSEN and is_name(question.question) and not is_graded(question)
    ]
    if not ranked:
        return None
    (known, called, _, distinct), question = max(ranked, key=lambda pair: pair[0])
    if known or called or (distinct > 1 and len(boxes) < 2):
        return question
    return None


def _class_like(question: QuestionGuess) -> tuple[int, bool, bool, int]:
    known = sum(bool(LESIONS.search(fold(answer))) for answer in question.answers)
    called = bool(DIAGNOSIS.search(fold(question.question)))
    return known, called, question.kind == "radio", len(set(map(fold, question.answers)))


def names_lesions(question: QuestionGuess) -> bool:
    """Tell whether any answer to a question reads like a lesion."""
    return bool(_class_like(question)[0])


def asks_like(other: ProjectCounts, project: ProjectCounts) -> bool:
    """Tell whether another project asks what this one does: a question with a common class-like answer, or the same
    questions about one class each, or, where this one asks nothing, outlines of the same names.
    """
    asked = {(fold(name), kind): set(map(fold, answers)) for (name, kind), answers in other.answers.items()}
    if own := diagnosis(questions(project), project.boxes or project.outlines):
        return bool(asked.get((fold(own.question), own.kind), set()) & set(map(fold, own.answers)))
    if graded := class_questions(questions(project)):
        return any((fold(question.question), question.kind) in asked for question in graded)
    names = set(map(fold, project.boxes or project.outlines))
    return bool(names & set(map(fold, other.boxes or other.outlines)))


def says_yes(answer: str) -> bool:
    """Tell whether a grade affirms: "1 - Definitely" and "2 - Likely" do, "3 - Unlikely" does not."""
    return bool(YES.search(fold(answer))) and not NO.search(fold(answer))


def is_graded(question: QuestionGuess) -> bool:
    """Tell whether every answer says yes, no, or something between."""
    return bool(question.answers) and all(
        YES.search(folded) or NO.search(folded) or BETWEEN.search(folded) for folded in map(fold, question.answers)
    )


def class_questions(questions: list[QuestionGuess]) -> list[QuestionGuess]:
    """Return the questions that each ask for one class; none where there are fewer than two."""
    own = [
        question
        for question in questions
        if question.kind == "radio"
        and is_name(question.question)
        and is_graded(question)
        and LESIONS.search(fold(question.question))
        and not CERTAINTY.search(fold(question.question))
    ]
    return own if len(own) > 1 else []


def _asked_for(question: str) -> str:
    """Return the class that a question such as "Is it a melanoma?" asks for."""
    folded = fold(question)
    return fold(ASKED.sub("", folded)) or folded


def classes_of_questions(questions: list[QuestionGuess]) -> list[ClassGuess]:
    """Return a class for each question of its own, with the answers that affirm it."""
    affirmed = [answer for question in questions for answer in question.answers if says_yes(answer)]
    everywhere = tuple(dict.fromkeys(answer for answer in sorted(affirmed) if is_name(answer))) or ("yes",)
    names = {_asked_for(question.question): question for question in questions}
    guesses = []
    for guess in classes(Counter({name: sum(question.answers.values()) for name, question in names.items()})):
        question = names[guess.answer]
        said = {answer: times for answer, times in question.answers.items() if answer in everywhere}
        guesses.append(replace(guess, question=question.question, yes=everywhere, spellings=said))
    return guesses


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
    return [replace(guess, looks_like=_lookalike(guess, guesses)) for guess in guesses]


def _lookalike(guess: ClassGuess, others: list[ClassGuess]) -> str:
    """Return a class that is written nearly alike, where this one has letters that are not Latin."""
    near = difflib.get_close_matches(guess.answer, [o.answer for o in others if not o.odd], n=1, cutoff=0.6)
    return near[0] if guess.odd and near else ""


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
