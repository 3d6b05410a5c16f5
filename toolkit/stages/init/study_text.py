"""The text of a new study file: `manifests/new_study.toml.j2`, with every name from the export escaped."""

from typing import TYPE_CHECKING, Any

from toolkit.manifest import NO_PATIENTS
from toolkit.manifest.base import fold
from toolkit.privacy import scrub
from toolkit.shipped import shipped
from toolkit.stages.init.guess import MetadataGuess

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


def study_text(export: "Initialised") -> str:
    """Return the study file."""
    base = "".join(c if c.isascii() and c.isalnum() else "_" for c in fold(export.project)).strip("_")[:60] or "study"
    fields = [field for field in export.metadata if field.name not in (export.patient, export.lesion)]
    return _template().render(
        export=export,
        base=base,
        patient=next((field for field in export.metadata if field.name == export.patient), None),
        kept=[field for field in fields if not field.left_out],
        left_out=[field for field in fields if field.left_out],
        prompt=_prompt_for([guess.answer for guess in export.classes]),
        no_patients=NO_PATIENTS,
        shown=SHOWN,
    )


def _template() -> Any:
    from jinja2 import Environment, StrictUndefined  # noqa: PLC0415 - needed only here

    text = (shipped("manifests") / "new_study.toml.j2").read_text(encoding="utf-8")
    environment = Environment(  # noqa: S701 - TOML is escaped by the filters, not as HTML
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters |= {"string": _string, "remark": _remark, "with_counts": _with_counts, "described": _described}
    return environment.from_string(text)


def _string(text: str) -> str:
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


def _described(field: MetadataGuess) -> str:
    kind = _remark((field.kind or "unknown kind").removeprefix("CustomMetadata"))
    return f"{_remark(field.name)}: {kind}, on {field.rows} rows, {field.distinct} different values"


def _prompt_for(answers: list[str]) -> str:
    """Return a question that holds none of the answers."""
    return next(p for p in PROMPTS if p == PROMPTS[-1] or not any(fold(answer) in fold(p) for answer in answers))
