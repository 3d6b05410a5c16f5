"""The text of a new study file: TOML with comments, every name from the export escaped."""

from toolkit.manifest.base import fold
from toolkit.privacy import scrub
from toolkit.stages.init.guess import ClassGuess, MetadataGuess, QuestionGuess

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


def quoted(text: str) -> str:
    """Return a text as a TOML string on one line, everything invisible escaped."""
    return f'"{visible(text)}"'


def visible(text: str) -> str:
    """Return a text in which nothing can end a string or a line, or look like something else."""
    return "".join(_escaped(c) for c in text)


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    return f"\\u{ord(character):04X}" if ord(character) < 0x10000 else f"\\U{ord(character):08X}"


def remark(text: str) -> str:
    """Return a free text for a comment: short, and without addresses."""
    clean = scrub(text)
    return visible(clean if len(clean) <= 80 else f"{clean[:79]}…")


def with_counts(counts: dict[str, int]) -> str:
    """Return names with their counts, for a comment."""
    shown = [f"{remark(name)} {count}" for name, count in list(counts.items())[:SHOWN]]
    return ", ".join(shown) + (f" … and {len(counts) - SHOWN} more" if len(counts) > SHOWN else "")


def question_line(question: QuestionGuess) -> str:
    """Return a comment about a question that was not taken."""
    shown = f"{sum(question.answers.values())} in words" if question.kind == "text" else with_counts(question.answers)
    return f"#   {remark(question.question)} ({question.kind}): {shown}\n"


def metadata_lines(fields: list[MetadataGuess], identifiers: set[str | None]) -> str:
    """Return the list of the fields to keep, and comments about those that are left out."""
    others = [f for f in fields if f.name not in identifiers]
    kept = [f for f in others if not f.left_out]
    left = [f for f in others if f.left_out]
    text = "# Metadata fields to keep; what may hold names or numbers of people is left out.\n"
    text += "".join(f"#   {_described(f)}\n" for f in kept[:SHOWN])
    text += "".join(f"#   left out, check: {_described(f)}\n" for f in left[:SHOWN])
    return text + f"metadata = [{', '.join(quoted(f.name) for f in kept)}]\n"


def _described(field: MetadataGuess) -> str:
    kind = remark((field.kind or "unknown kind").removeprefix("CustomMetadata"))
    return f"{remark(field.name)}: {kind}, on {field.rows} rows, {field.distinct} different values"


def class_text(guess: ClassGuess) -> str:
    """Return one class."""
    spelt = f"# found as: {with_counts(guess.spellings)}\n" if guess.spellings else "# check: a placeholder\n"
    odd = f"# check: holds {guess.odd}, which may only look like other letters\n" if guess.odd else ""
    why = "check: guessed from the name" if guess.malignant else "check"
    return (
        f"[[classes]]\n{spelt}{odd}name = {quoted(guess.name)}\nanswer = {quoted(guess.answer)}\n"
        f"malignant = {str(guess.malignant).lower()}  # {why}\n\n"
    )


def prompt_for(answers: list[str]) -> str:
    """Return a question that holds none of the answers."""
    return next(p for p in PROMPTS if p == PROMPTS[-1] or not any(fold(answer) in fold(p) for answer in answers))
