"""The base class of all sections of a study file, and the types that several sections share."""

from functools import lru_cache
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(min_length=1, max_length=120, pattern=r"^[^\x00-\x1f\x7f]+$")]
Text = Annotated[str, Field(max_length=2_000, pattern=r"^[^\x00-\x09\x0b-\x1f\x7f]*$")]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
ClassName = Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[A-Za-z0-9][A-Za-z0-9 _.+-]*$")]


class Section(BaseModel):
    """A table of the file: unknown keys and wrong types are faults."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


@lru_cache(maxsize=10_000)
def fold(spelling: str) -> str:
    """Return a spelling as it is compared: lower case, with single spaces; underscores and hyphens are spaces."""
    return " ".join(spelling.casefold().replace("_", " ").replace("-", " ").split())
