"""The section of a study file about releases: what a de-identified data set may hold, and under which licence."""

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from toolkit.manifest.base import Name, Positive, Section, Text

FieldType = Literal["age", "number", "category", "boolean", "date"]
Values = Annotated[list[Name], Field(min_length=1, max_length=60)]
AGE = re.compile(r"(?<![a-z])(?:age|alter|edad|âge|idade|età|leeftijd)(?![a-z])")
"""The word in the name of a field whose numbers are ages."""


class ReleaseSection(Section):
    """What `toolkit release` gives away; without this section nothing is released."""

    licence: Name
    """Licence of the data set, best by its SPDX identifier: `CC-BY-4.0`."""
    licence_file: Name | None = None
    """File with the licence's text, relative to the study file; it is copied."""
    attribution: Text = ""
    """How the data set is to be cited."""
    contact: Text = ""
    """Whom to ask about it, such as a group's address; it is printed as it stands."""
    version: Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+-]{0,30}$")] = "1.0"
    """Version of the data set."""
    key_file: Name | None = None
    """File of the release's own secret key, relative to the study file; made with mode 0600 if it is not there. With it
    a later release has the same IDs, and its holders can join release and registry. Without it the key is random and
    thrown away: nobody can."""
    fields: dict[Name, FieldType | Values] = {}
    """Metadata fields and attached columns to release, by name, each with its type, as `[release.fields]`: `"age"`
    (years; 90 stands for 90 and more), `"number"`, `"boolean"`, `"date"` (shifted by patient), `"category"` (at most 60
    plain values, each of at least five patients), or a list of the values that may be released. All others stay."""
    age_years: Annotated[int, Field(ge=1, le=30)] = 5
    """Years of the bands that ages are released in, by their beginning: 5 gives 40 for 40 to 44; 1 keeps each year."""
    quasi_identifiers: list[Name] = []
    """Fields, among `fields`, by which somebody who knows a patient might find them: age, sex, site. Patients who are
    alike in all of them form a group."""
    smallest_group: Positive = 5
    """Least number of patients (k of k-anonymity) that a group should have."""
    small_groups: Literal["refuse", "empty", "release"] = "refuse"
    """What becomes of smaller groups: nothing is released, their quasi-identifiers are left empty, or they are released
    as they are. The data sheet says what was done."""

    @model_validator(mode="after")
    def _fields_are_named_and_typed(self) -> "ReleaseSection":
        if unknown := [name for name in self.quasi_identifiers if name not in self.fields]:
            raise ValueError(f"quasi_identifiers: {unknown[0]} is none of release.fields")
        if dates := [name for name in self.quasi_identifiers if self.fields[name] == "date"]:
            raise ValueError(
                f"quasi_identifiers: {dates[0]} is a date, which is shifted and tells patients apart anyway"
            )
        if ages := [name for name, kind in self.fields.items() if kind == "number" and AGE.search(name.lower())]:
            raise ValueError(f'fields: {ages[0]} is an age: give it the type "age", which leaves out ages over 89')
        return self
