"""The text of a new study file: TOML with comments, every name from the export escaped."""

from typing import TYPE_CHECKING

from toolkit.manifest import NO_PATIENTS
from toolkit.manifest.base import fold
from toolkit.privacy import scrub
from toolkit.stages.init.guess import ClassGuess, MetadataGuess, QuestionGuess

if TYPE_CHECKING:
    from toolkit.stages.init import Initialised

SHOWN = 30
"""Names of one kind that are listed."""
PROMPTS = (
    "Clinical photograph of a skin lesion. What is the diagnosis?",
    "What does the photograph show?",
    "Which kind is it?",
    "Name it.",
    "?",
)
HEAD = """# Made by `toolkit init` from an export. Read it through: what is marked "check" is a guess.
# Every key is explained in docs/manifest.md.
"""
TAIL = """[split]
train = 0.6
validation = 0.2
test = 0.2

[prompt]
user = {prompt}

# "tiny" is a toy that is trained from nothing and shows that the line runs. For results, name a checkpoint: a local
# folder, or a hub name such as "Salesforce/instructblip-flan-t5-xl"; then leave [train] out, or set it for that model.
[model]
name = "tiny"

[train]
epochs = 20
learning_rate = 1e-3
weight_decay = 0.05
batch_size = 8
schedule = "cosine"
warmup_steps = 50
threads = 1

# On first use a secret key for the patients' pseudonyms is made in your configuration folder, outside the workspace:
# back it up. To keep it elsewhere:
# [privacy]
# key_file = "../keys/study.key"
"""
NO_FIELD = """\
# ! CHECK: no metadata field looks like a patient's identifier. As it stands, every photograph counts as a patient of
# ! its own, and every result will say: {no_patients}.
# ! A metadata field under another name: patient_from = "metadata" and patient = "its name".
# ! Within the file names (external ID: {external}, global key: {keys}):
# patient_from = "external_id"
# patient_pattern = '(?P<patient>PAT_\\d+)_(?P<lesion>\\d+)'
patient_from = "none"
"""


def study_text(export: "Initialised") -> str:
    """Return the study file."""
    base = "".join(c if c.isascii() and c.isalnum() else "_" for c in fold(export.project)).strip("_")[:60] or "study"
    title = _quoted(export.project[:120])
    head = f"{HEAD}\n[study]\nname = {_quoted(base)}\ntitle = {title}\nseed = 1\n\n"
    prompt = _prompt_for([c.answer for c in export.classes])
    classes = "".join(map(_class_text, export.classes))
    return head + _labelbox(export) + "\n" + classes + TAIL.replace("{prompt}", _quoted(prompt))


def _labelbox(export: "Initialised") -> str:
    """Return the section about what means what in Labelbox."""
    text = f"[labelbox]\n# Projects, by photographs: {_with_counts(export.projects)}\n"
    text += f"projects = [{_quoted(export.project)}]\n"
    others = [q for q in export.questions if q.question != export.question]
    if export.question is None:
        text += "# ! No question names classes: they are the names of the boxes. Check.\n"
    else:
        text += (
            f"# The radio question with the most class-like answers; check.\nquestion = {_quoted(export.question)}\n"
        )
    if others:
        text += '# Other questions (one with yes and no, about one class: [[classes]] question = "…", yes = "yes"):\n'
        text += "".join(map(_question_line, others[:30]))
    if export.boxes:
        text += f"# Boxes: {_with_counts(export.boxes)}\n"
    if export.roi:
        text += f"roi = {_quoted(export.roi)}\n"
    if export.certainty:
        text += f"certainty = {_quoted(export.certainty)}\n"
    return text + _identifiers(export) + _metadata_lines(export.metadata, {export.patient, export.lesion})


def _identifiers(export: "Initialised") -> str:
    """Return where patient and lesion stand."""
    lesion = f"lesion = {_quoted(export.lesion)}\n" if export.lesion else ""
    if export.patient is None:
        text = NO_FIELD.replace("{no_patients}", NO_PATIENTS).replace("{external}", f"on {export.external_ids} rows")
        return text.replace("{keys}", f"on {export.global_keys} rows") + lesion
    field = next(f for f in export.metadata if f.name == export.patient)
    where = f"on {field.rows} of {export.rows} rows, {field.distinct} different values"
    comment = f"# Patient's identifier: {_remark(export.patient)}, {where}; check.\n"
    return f"{comment}patient = {_quoted(export.patient)}\n{lesion}"


def _quoted(text: str) -> str:
    """Return a text as a TOML string on one line, everything invisible escaped."""
    return f'"{_visible(text)}"'


def _visible(text: str) -> str:
    """Return a text in which nothing can end a string or a line, or look like something else."""
    return "".join(_escaped(c) for c in text)


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    return f"\\u{ord(character):04X}" if ord(character) < 0x10000 else f"\\U{ord(character):08X}"


def _remark(text: str) -> str:
    """Return a free text for a comment: short, and without addresses."""
    clean = scrub(text)
    return _visible(clean if len(clean) <= 80 else f"{clean[:79]}…")


def _with_counts(counts: dict[str, int]) -> str:
    """Return names with their counts, for a comment."""
    shown = [f"{_remark(name)} {count}" for name, count in list(counts.items())[:SHOWN]]
    return ", ".join(shown) + (f" … and {len(counts) - SHOWN} more" if len(counts) > SHOWN else "")


def _question_line(question: QuestionGuess) -> str:
    """Return a comment about a question that was not taken."""
    shown = f"{sum(question.answers.values())} in words" if question.kind == "text" else _with_counts(question.answers)
    return f"#   {_remark(question.question)} ({question.kind}): {shown}\n"


def _metadata_lines(fields: list[MetadataGuess], identifiers: set[str | None]) -> str:
    """Return the list of the fields to keep, and comments about those that are left out."""
    others = [f for f in fields if f.name not in identifiers]
    kept = [f for f in others if not f.left_out]
    left = [f for f in others if f.left_out]
    text = "# Metadata fields to keep; what may hold names or numbers of people is left out.\n"
    text += "".join(f"#   {_described(f)}\n" for f in kept[:SHOWN])
    text += "".join(f"#   left out, check: {_described(f)}\n" for f in left[:SHOWN])
    return text + f"metadata = [{', '.join(_quoted(f.name) for f in kept)}]\n"


def _described(field: MetadataGuess) -> str:
    kind = _remark((field.kind or "unknown kind").removeprefix("CustomMetadata"))
    return f"{_remark(field.name)}: {kind}, on {field.rows} rows, {field.distinct} different values"


def _class_text(guess: ClassGuess) -> str:
    """Return one class."""
    spelt = f"# found as: {_with_counts(guess.spellings)}\n" if guess.spellings else "# check: a placeholder\n"
    odd = f"# check: holds {guess.odd}, which may only look like other letters\n" if guess.odd else ""
    why = "check: guessed from the name" if guess.malignant else "check"
    return (
        f"[[classes]]\n{spelt}{odd}name = {_quoted(guess.name)}\nanswer = {_quoted(guess.answer)}\n"
        f"malignant = {str(guess.malignant).lower()}  # {why}\n\n"
    )


def _prompt_for(answers: list[str]) -> str:
    """Return a question that holds none of the answers."""
    return next(p for p in PROMPTS if p == PROMPTS[-1] or not any(fold(answer) in fold(p) for answer in answers))
