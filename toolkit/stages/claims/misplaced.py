"""Figures that were printed for one set of cases and are those of another."""

from collections.abc import Iterator
from typing import NamedTuple

from toolkit.stages.claims.claims_file import ClaimSection, ClaimsFile

Numbered = dict[int, ClaimSection]
FEWEST = 2
"""Figures that must agree with another set before a source is held against its cases."""


class Misplaced(NamedTuple):
    """A source about one set of cases whose figures agree with those of another set."""

    source: str
    part: str
    other: str
    agreeing: list[list[int]]
    """Pairs of claims that give the same figure of both sets."""
    contradicting: list[list[int]]
    """Pairs of claims that give different figures of the first set."""

    @property
    def reason(self) -> str:
        """What is strange about it."""
        pairs = ", ".join(f"{one} and {other}" for one, other in self.contradicting)
        alike = ", ".join(f"{one} and {other}" for one, other in self.agreeing)
        return (
            f"{self.source} gives other figures of {self.part} than the rest (claims {pairs}), and the figures of "
            f"{self.other} (claims {alike})"
        )


def misplaced(content: ClaimsFile, numbered: Numbered) -> Iterator[Misplaced]:
    """Yield each source that contradicts the others about its set, and agrees with figures of another set."""
    stated = [part.name for part in content.parts if part.cases]
    classes = {part.name: set(part.cases) for part in content.parts}
    for part in stated:
        about = {n: claim for n, claim in numbered.items() if claim.part == part}
        for source in dict.fromkeys(claim.source for claim in about.values()):
            own = {n: claim for n, claim in about.items() if claim.source == source}
            others = {n: claim for n, claim in about.items() if claim.source != source}
            against = _pairs(own, others, same=False)
            for other in stated:
                elsewhere = {n: claim for n, claim in numbered.items() if claim.part == other}
                alike = _pairs(own, elsewhere, same=True)
                if other != part and classes[other] == classes[part] and against and len(alike) >= FEWEST:
                    yield Misplaced(source, part, other, alike, against)


def _pairs(own: Numbered, others: Numbered, *, same: bool) -> list[list[int]]:
    """Return pairs of claims about one figure that give the same value of it, or different ones."""
    pairs = []
    for number, claim in own.items():
        for other_number, other in others.items():
            if claim.printed is None or other.printed is None or claim.classes or other.classes:
                continue
            if (claim.rate, claim.class_name, claim.averaged) != (other.rate, other.class_name, other.averaged):
                continue
            if claim.comparison != "=" or other.comparison != "=":
                continue
            one, two = claim.printed.range("any"), other.printed.range("any")
            overlap = max(one.low, two.low) <= min(one.high, two.high)
            if overlap == same:
                pairs.append([number, other_number])
    return pairs
