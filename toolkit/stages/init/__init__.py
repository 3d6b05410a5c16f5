"""The stage `init`: a first study file, written from the projects, questions and metadata fields of an export."""

import shlex
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from toolkit.errors import ExportError, StudyError
from toolkit.files import OPEN, write_atomically
from toolkit.labelbox_json.reader import raw_rows
from toolkit.labelbox_json.rows import RowReader
from toolkit.manifest import Study
from toolkit.manifest.base import fold
from toolkit.privacy import PseudonymKey
from toolkit.progress import Progress, silent
from toolkit.stages.init import guess
from toolkit.stages.init.export_counts import ExportCounts, ProjectCounts, bare_study
from toolkit.stages.init.guess import ClassGuess, MetadataGuess, QuestionGuess
from toolkit.stages.init.study_text import study_text
from toolkit.workspace.landed import check

MOST_CLASSES = 60


@dataclass(frozen=True)
class Initialised:
    """The study file that was written and what the export holds; `project` to `lesion` are the names in the file."""

    study: str
    rows: int
    rows_unread: int
    projects: dict[str, int]
    questions: list[QuestionGuess]
    boxes: dict[str, int]
    outlines: dict[str, int]
    metadata: list[MetadataGuess]
    classes: list[ClassGuess]
    project: str
    taken: list[str]
    """The projects of the study: that one, and others that ask the same."""
    question: str | None
    roi: str | None
    certainty: str | None
    patient: str | None
    lesion: str | None
    external_ids: int
    global_keys: int
    decisions: dict[str, str]
    """What a person must decide, by what it is about: a key of the study file, or a name in the export."""
    next: str


def init(export: Path, *, to: Path, progress: Progress = silent) -> Initialised:
    """Write a study file from what an export holds; raise StudyError where the file exists already."""
    if to.exists():
        raise StudyError("there is a file already", place=str(to), remedy="give another --to FILE.toml")
    check(export)
    counts, study = ExportCounts(), bare_study()
    reader = RowReader(study, PseudonymKey(b"", published=True))
    for line in raw_rows(export, longest=study.ingest.longest_row):
        counts.add(reader.read(line))
        if counts.rows % 500 == 0:
            progress("reading", counts.rows, None)
    named = {_project_key(name, project): project for name, project in counts.projects.items()}
    named.pop("", None)
    if not named:
        raise ExportError(
            "no row of this file stands in a project that a study file can name",
            place=str(export),
            remedy="export the project from Labelbox (version 2, NDJSON)",
        )
    initialised = _initialised(counts, named, export, to)
    text = study_text(initialised)
    try:
        Study.model_validate(tomllib.loads(text))
    except ValidationError as error:
        raise ExportError(
            f"no study file can be made of the names in this export: {error.errors()[0]['msg']}",
            place=str(export),
            remedy="write one by hand: docs/manifest.md lists every key",
        ) from None
    write_atomically(to, text.encode(), mode=OPEN)
    return initialised


def _initialised(counts: ExportCounts, named: dict[str, ProjectCounts], export: Path, to: Path) -> Initialised:
    """Guess what the study file says from what was counted."""
    name, project = max(named.items(), key=lambda item: (item[1].labels, item[1].photographs, item[0]))
    by_size = {n: p.photographs for n, p in sorted(named.items(), key=lambda item: (-item[1].photographs, item[0]))}
    taken = [name, *(other for other in by_size if other != name and guess.asks_like(named[other], project))]
    whole = ProjectCounts(project.project_id)
    for each in taken:
        whole.add(named[each])
    questions, outlines = guess.questions(whole), whole.boxes or whole.outlines
    question = guess.diagnosis(questions, outlines)
    own = guess.class_questions(questions) if question is None or not guess.names_lesions(question) else []
    fields = guess.fields(counts.fields)
    roi = max(outlines, key=lambda box: (outlines[box], box), default=None)
    by_names = guess.classes(question.answers if question else outlines or whole.others)
    initialised = Initialised(
        study=str(to),
        rows=counts.rows,
        rows_unread=counts.unread,
        projects=by_size,
        questions=questions,
        boxes=dict(whole.boxes.most_common()),
        outlines=dict(whole.outlines.most_common()),
        metadata=fields,
        classes=_two_or_more(guess.classes_of_questions(own) if own else by_names),
        project=name,
        taken=taken,
        question=question.question if question and not own else None,
        roi=roi if (question or own) and roi and guess.is_name(roi) else None,
        certainty=guess.certainty(questions),
        patient=guess.identifier(fields, guess.PATIENT),
        lesion=guess.identifier(fields, guess.LESION),
        external_ids=counts.external_ids,
        global_keys=counts.global_keys,
        decisions={},
        next=f"toolkit --study {shlex.quote(str(to))} parse {shlex.quote(str(export))}",
    )
    return replace(initialised, decisions=_decisions(initialised))


def _decisions(found: Initialised) -> dict[str, str]:
    """Say what the file cannot tell and a person must decide."""
    decisions = {}
    if len(found.taken) > 1:
        decisions["projects"] = "do the labels of all these projects count? take out those that do not"
    if own := [each.question for each in found.classes if each.question]:
        decisions["yes"] = f"which answers to {len(own)} questions affirm their class?"
    elif found.question is None:
        decisions["question"] = "no question names classes: are the names of the outlines the classes?"
    if found.roi and len(found.boxes or found.outlines) > 1:
        decisions["roi"] = "is this what surrounds a lesion?"
    if found.patient is None:
        decisions["patient"] = "where do patients' identifiers stand?"
    if missing := next(
        (found.rows - f.rows for f in found.metadata if f.name == found.patient and f.rows < found.rows), 0
    ):
        decisions["patient"] = f"{missing} rows have none: is it this field?"
    about_classes = {f"class {each.name}": _about_class(each) for each in found.classes}
    return decisions | {name: words for name, words in about_classes.items() if words}


def _about_class(found: ClassGuess) -> str:
    """Say what a person must decide about a class; "" for nothing."""
    if found.odd:
        return f"holds {found.odd}" + (f', is it "{found.looks_like}"?' if found.looks_like else ": is it meant?")
    if not found.spellings and not found.question:
        return "a placeholder: the export holds one name only; what is the other class?"
    return "malignant, by its name: is it?" if found.malignant else ""


def _project_key(name: str, project: ProjectCounts) -> str:
    """Return a project's name, or its ID where a study file cannot hold the name; "" where it can hold neither."""
    return next((text for text in (name, project.project_id) if guess.is_name(text)), "")


def _two_or_more(guesses: list[ClassGuess]) -> list[ClassGuess]:
    """Return the most frequent classes, by name; a study needs two, so placeholders fill up."""
    kept = sorted(guesses, key=lambda c: (-sum(c.spellings.values()), c.name))[:MOST_CLASSES]
    taken = {fold(text) for c in kept for text in (c.name, c.answer)}
    spare = [name for name in ("other", "another", "third") if name not in taken][: max(0, 2 - len(kept))]
    kept += [ClassGuess(name, name, malignant=False, spellings={}, odd="") for name in spare]
    return sorted(kept, key=lambda c: c.name)
