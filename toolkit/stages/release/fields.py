"""Metadata fields as a release has them: only those that the study names, each value read by its type or left out."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from toolkit.formatting import SMALLEST
from toolkit.manifest.release import ReleaseSection
from toolkit.privacy import PseudonymKey, normalise, spans
from toolkit.stages.release.keys import ReleaseKey

OLDEST = 89
"""Years: ages above are one band, as HIPAA's safe harbor says (45 CFR 164.514(b)(2)(i)(C)), from OLDEST + 1."""
LONGEST_LIFE = 130
MOST_VALUES = 60
SHORTEST = 3
"""Characters of an identifier that is looked for; shorter ones stand everywhere by chance."""
SHORTEST_NUMBER = 5
"""Digits from which a number that is some patient's identifier is taken for it; of the own patient, SHORTEST. A whole
number of so many digits may be a part of one (770004 of MRN-770004), which no pseudonym shows."""
PLAIN = re.compile(r"[^\W_](?:[^\W_]|[ _.,+/()%&-]){0,59}")
"""A category's value: letters and digits first, no address, no quotation mark, nothing that a spreadsheet computes."""
WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
FIRST_DAY, LAST_DAY = date(1850, 1, 1), date(2150, 1, 1)
SEVERAL = "the photograph has several values"
IDENTIFIER = "it is, or holds, the identifier of a patient"
RARE = f"fewer than {SMALLEST} patients have the value"
TEXT = f"the field has more than {MOST_VALUES} different values: that is text"
CODE = f"it is a whole number of {SHORTEST_NUMBER} digits or more, as identifiers are"
UNLISTED = "the study does not list the value"
LONG = f"it lies more than {OLDEST} years before the patient's last date"
NO_VALUE = {
    "age": "it is no age in years",
    "number": "it is no number",
    "boolean": "it is neither true nor false",
    "date": "it is no date",
    "category": "it is no plain value",
}
Values = dict[str, Any]
"""By photograph."""


@dataclass(frozen=True)
class ReleasedField:
    """A field that is released: how many photographs have a value, and why others have none."""

    name: str
    kind: str
    photographs: int
    categories: list[str]
    """Its values, of a category."""
    left_out: dict[str, int]
    """Photographs whose value is left out, by reason."""


class KnownPatients:
    """Recognises identifiers of the study's patients in values, by their pseudonyms."""

    def __init__(self, key: PseudonymKey, pseudonyms: set[str]) -> None:
        self.key, self.pseudonyms = key, pseudonyms

    def stand_in(self, text: str, *, own: tuple[str, ...]) -> bool:
        """Tell whether a patient's identifier stands in a text; a short number must be that of the `own` patient."""
        return any(self._is_one(words, own) for words in spans(text) | {normalise(text)} if len(words) >= SHORTEST)

    def _is_one(self, words: str, own: tuple[str, ...]) -> bool:
        short = words.isdecimal() and len(words) < SHORTEST_NUMBER
        return self.key.pseudonym("p", words) in (own if short else self.pseudonyms)


class FieldReader:
    """Reads the values of one field."""

    def __init__(self, name: str, section: ReleaseSection, *, patients: dict[str, str]) -> None:
        stated = section.fields[name]
        self.name, self.patients, self.years = name, patients, section.age_years
        self.kind = stated if isinstance(stated, str) else "category"
        self.listed = None if isinstance(stated, str) else set(stated)
        self.left_out: Counter[str] = Counter()

    def read(self, texts: dict[str, list[str]], is_identifier: Callable[[str, str], bool]) -> Values:
        """Return the value of each photograph that has one to release."""
        values = {}
        for image_id, several in texts.items():
            if len(several) > 1:
                self.left_out[SEVERAL] += 1
            elif is_identifier(several[0], self.patients[image_id]):
                self.left_out[IDENTIFIER] += 1
            elif (value := self._value(several[0].strip())) is None:
                self.left_out[NO_VALUE[self.kind]] += 1
            elif self.kind == "number" and abs(value) >= 10 ** (SHORTEST_NUMBER - 1) and value.is_integer():
                self.left_out[CODE] += 1
            else:
                values[image_id] = value
        return self._without_rare(values) if self.kind == "category" else values

    def _value(self, text: str) -> Any:
        if self.kind == "age":
            return _age(text, self.years)
        if self.kind == "number":
            return _number(text)
        if self.kind == "boolean":
            return WORDS.get(text.casefold())
        if self.kind == "date":
            return _day(text)
        return text if PLAIN.fullmatch(text) else None

    def _without_rare(self, values: Values) -> Values:
        """Return the values that the study lists; where it lists none, those of enough patients."""
        patients = defaultdict(set)
        for image_id, value in values.items():
            patients[value].add(self.patients[image_id])
        if self.listed is not None:
            kept, reason = self.listed, UNLISTED
        elif len(patients) > MOST_VALUES:
            kept, reason = set(), TEXT
        else:
            kept, reason = {value for value, persons in patients.items() if len(persons) >= SMALLEST}, RARE
        self.left_out[reason] += sum(value not in kept for value in values.values())
        return {image_id: value for image_id, value in values.items() if value in kept}

    def released(self, values: Values) -> ReleasedField:
        """Return what is said of the field."""
        shown = sorted(set(values.values())) if self.kind == "category" else []
        reasons = {reason: self.left_out[reason] for reason in sorted(self.left_out) if self.left_out[reason]}
        return ReleasedField(self.name, self.kind, len(values), shown, reasons)


def read_fields(
    rows: Iterable[dict[str, Any]], section: ReleaseSection, known: KnownPatients, one_person: Callable
) -> tuple[dict[str, Values], dict[str, FieldReader], list[str]]:
    """Return the values of each field by photograph, their readers, and the fields that are not released."""
    texts: dict[str, dict[str, list[str]]] = {name: {} for name in section.fields}
    patients, others = {}, set()
    for row in rows:
        patients[row["image_id"]] = row["patient_id"]
        if row["name"] in texts:
            texts[row["name"]].setdefault(row["image_id"], []).append(row["value"])
        else:
            others.add(row["name"])

    def is_identifier(text: str, patient: str) -> bool:
        return known.stand_in(text, own=one_person(patient))

    readers = {name: FieldReader(name, section, patients=patients) for name in texts}
    return {name: readers[name].read(texts[name], is_identifier) for name in texts}, readers, sorted(others)


def shift_dates(values: dict[str, Values], readers: dict[str, FieldReader], key: ReleaseKey) -> None:
    """Move every date by its patient's shift; one that would tell an age over OLDEST is left out."""
    dates = [name for name, reader in readers.items() if reader.kind == "date"]
    last: dict[str, date] = {}
    for name in dates:
        for image_id, day in values[name].items():
            patient = readers[name].patients[image_id]
            last[patient] = max(day, last.get(patient, day))
    for name in dates:
        patients = readers[name].patients
        kept = {i: day for i, day in values[name].items() if not _is_long_before(day, last[patients[i]])}
        readers[name].left_out[LONG] += len(values[name]) - len(kept)
        values[name] = {image_id: key.shifted(day, patients[image_id]) for image_id, day in kept.items()}


def _is_long_before(day: date, last: date) -> bool:
    return last - day > timedelta(days=OLDEST * 365.25)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in text else None


def _age(text: str, years: int) -> int | None:
    age = _number(text)
    if age is None or not 0 <= age <= LONGEST_LIFE:
        return None
    return OLDEST + 1 if age > OLDEST else int(age) // years * years


def _day(text: str) -> date | None:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    day = (time.astimezone(UTC) if time.tzinfo else time).date()
    return day if FIRST_DAY <= day <= LAST_DAY else None
