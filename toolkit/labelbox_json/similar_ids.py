"""Patient IDs that stand for no patient, and what tells that two IDs may be slips for one: keys, no identifiers."""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from toolkit.privacy import PseudonymKey

NOBODY = frozenset(
    (
        *(
            "nan",
            "na",
            "n/a",
            "n.a.",
            "n.a",
            "n a",
            "#n/a",
            "<na>",
            "nat",
            "null",
            "none",
            "nil",
            "empty",
            "blank",
            "(blank)",
        ),
        *("unknown", "unk", "not known", "not available", "not applicable", "undefined", "missing", "anonymous", "tbd"),
        *("#ref!", "#value!", "#name?", "#num!", "#div/0!", "#null!", "unbekannt", "k.a.", "keine angabe", "inconnu"),
        *("desconocido", "sconosciuto", "onbekend"),
    )
)
"""What people and programs write where they have no identifier, normalised."""
SIGNS = re.compile(r"[\W_]*")
SCIENTIFIC = re.compile(r"[+-]?\d(?:[.,]\d+)?e\+\d+")
"""A long number as a spreadsheet shows it: its last digits are lost, so that many patients look like one."""
ZEROS, SWAPPED = "leading zeros or .0", "two neighbouring characters in the other order"
"""In what two IDs differ."""
LONGEST = 64
"""Characters of an ID in which swapped neighbours are looked for."""


class IdKey(NamedTuple):
    """What two similar IDs have in common, by `how`; `possible` IDs could be written with as many characters."""

    how: str
    key: str
    possible: float


def nobody(identifier: str) -> str | None:
    """Return what a normalised text is that stands where an ID should and names nobody; None for an ID.

    The text itself is returned where it is a word for that, so that it can be counted; it is no identifier.
    """
    if identifier in NOBODY:
        return identifier
    if SIGNS.fullmatch(identifier):
        return "signs only" if identifier else ""
    return "a number in scientific notation" if SCIENTIFIC.fullmatch(identifier) else None


def id_keys(identifier: str, key: PseudonymKey) -> Iterator[IdKey]:
    """Yield the keys of a normalised ID: two patients who share one have similar IDs."""
    digits, letters = sum(map(str.isdigit, identifier)), sum(map(str.isalpha, identifier))
    possible = 10.0 ** min(digits, LONGEST) if digits else 26.0 ** min(letters, LONGEST)
    yield IdKey(ZEROS, key.pseudonym("z", without_zeros(identifier)), possible)
    for one in swaps(identifier[:LONGEST]):
        yield IdKey(SWAPPED, key.pseudonym("t", one + identifier[LONGEST:]), possible)


def without_zeros(identifier: str) -> str:
    """Return an ID as it would be without leading zeros of its numbers, and without a decimal part that is none."""
    return re.sub(r"(?<!\d)0+(?=\d)", "", re.sub(r"(?<=\d)[.,]0+$", "", identifier))


def swaps(identifier: str) -> Iterator[str]:
    """Yield, for every two different neighbours, their place and the lesser of the ID and the ID with them swapped."""
    for at, (one, other) in enumerate(pairwise(identifier)):
        if one != other and one.isalnum() and other.isalnum():
            yield f"{at} {min(identifier, identifier[:at] + other + one + identifier[at + 2 :])}"
