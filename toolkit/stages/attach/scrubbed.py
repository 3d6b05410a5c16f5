"""Identifiers of patients taken out of names and cells: of a row's own patient, and of every patient who is known."""

from functools import lru_cache
from typing import NamedTuple

from toolkit.labelbox_json.similar_ids import without_zeros
from toolkit.privacy import WORD, PseudonymKey, normalise, scrub
from toolkit.stages.attach.table import OwnTable
from toolkit.stages.attach.typed import is_bare_value

SHORTEST = 3
"""Characters of an identifier that is looked for; shorter ones stand everywhere by chance, as in `privacy.scrub`."""
SHORTEST_NUMBER = 5
"""Characters from which numbers that are identifiers of patients make a column of identifiers, and none of values."""
MOST_WORDS = 4
"""Words in a row that may be an identifier."""
REMOVED = "[identifier removed]"


class WithoutIdentifiers(NamedTuple):
    """Fields, the columns that were nothing but identifiers, and how many cells of the others changed."""

    fields: dict[str, list[str]]
    left_out: list[str]
    changed: dict[str, int]


class Identifiers:
    """Recognises identifiers of patients by their pseudonyms."""

    def __init__(self, key: PseudonymKey, pseudonyms: set[str]) -> None:
        self.key, self.pseudonyms = key, pseudonyms
        self.clean = lru_cache(maxsize=100_000)(self._clean)
        self.is_one = lru_cache(maxsize=100_000)(self._is_one)

    def _is_one(self, text: str) -> bool:
        """Tell whether a text is the identifier of a known patient."""
        normal = normalise(text)
        return len(normal) >= SHORTEST and self.key.pseudonym("p", normal) in self.pseudonyms

    def _clean(self, text: str) -> str:
        """Return a text without e-mail addresses, queries of addresses, and identifiers of known patients."""
        text = scrub(text)
        words = list(WORD.finditer(text))
        pieces, done, at = [], 0, 0
        while at < len(words):
            ends = range(min(len(words), at + MOST_WORDS) - 1, at - 1, -1)
            last = next((end for end in ends if self.is_one(text[words[at].start() : words[end].end()])), None)
            if last is not None:
                pieces += [text[done : words[at].start()], REMOVED]
                done, at = words[last].end(), last
            at += 1
        return "".join([*pieces, text[done:]])

    def removed(self, table: OwnTable, fields: dict[str, list[str]], places: list[int]) -> WithoutIdentifiers:
        """Return the fields without identifiers in the rows at `places`."""
        kept, left_out, changed = {}, [], {}
        for name, texts in fields.items():
            if self._repeats(table, texts, places):
                left_out.append(name)
                continue
            new = list(texts)
            for place in places:
                new[place] = self._cell(texts[place], table.patients[place], table.rows[place][table.patient])
            kept[name] = new
            changed |= {name: times} if (times := sum(new[at] != texts[at] for at in places)) else {}
        return WithoutIdentifiers(kept, left_out, changed)

    def _repeats(self, table: OwnTable, texts: list[str], places: list[int]) -> bool:
        """Tell whether most cells of a column are identifiers: of their rows, or long ones of any patient."""
        filled = [place for place in places if texts[place].strip()]
        own = sum(_same(texts[place], table.patients[place]) for place in filled)
        any_one = sum(len(texts[place].strip()) >= SHORTEST_NUMBER and self.is_one(texts[place]) for place in filled)
        return max(own, any_one) * 2 > len(filled)

    def _cell(self, text: str, identifier: str, written: str) -> str:
        """Return a cell without identifiers; a number or a date goes only where it is its own row's."""
        if is_bare_value(text):
            return "" if len(identifier) >= SHORTEST and _same(text, identifier) else text
        own = tuple({identifier, written.strip()} - {""})
        return self.clean(scrub(text, secrets_in_it=own))


def _same(text: str, identifier: str) -> bool:
    normal = normalise(text)
    return bool(identifier) and (normal == identifier or without_zeros(normal) == without_zeros(identifier))
