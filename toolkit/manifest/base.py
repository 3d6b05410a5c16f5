"""The base class of all sections of a study file, and the types that several sections share."""

import unicodedata
from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

OF_CLASS_NAMES = frozenset(" _.+-")
"""Characters of class names besides letters, their marks, and digits of any script."""


def is_class_name(text: str) -> bool:
    """Tell whether a class may be called so: letters, digits, spaces and a few signs, with a letter or digit first.

    No control or invisible character and no quotation mark is among them: names stand in SQL, CSV, HTML and file names.

    >>> [is_class_name(name) for name in ("nevus", "Bösartiges Melanom", "悪性黒色腫", "a'b", "-x", "a\u202eb")]
    [True, True, True, False, False, False]
    """
    return text[:1].isalnum() and all(
        character in OF_CLASS_NAMES or unicodedata.category(character)[0] in "LMN" for character in text
    )


def _class_name(text: str) -> str:
    if not is_class_name(text):
        raise ValueError("a class name has letters, digits, spaces and _ . + - only, and begins with a letter or digit")
    return unicodedata.normalize("NFC", text)


Name = Annotated[str, Field(min_length=1, max_length=120, pattern=r"^[^\x00-\x1f\x7f]+$")]
Text = Annotated[str, Field(max_length=2_000, pattern=r"^[^\x00-\x09\x0b-\x1f\x7f]*$")]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
ClassName = Annotated[str, Field(min_length=1, max_length=80), AfterValidator(_class_name)]


class Section(BaseModel):
    """A table of the file: unknown keys and wrong types are faults."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


@lru_cache(maxsize=10_000)
def fold(spelling: str) -> str:
    """Return a spelling as it is compared: lower case, with single spaces; underscores and hyphens are spaces."""
    return " ".join(unicodedata.normalize("NFC", spelling).casefold().replace("_", " ").replace("-", " ").split())
