"""Printed shares of the whole study, such as "80 % for training", held against the cases of each set."""

from fractions import Fraction

from toolkit.stages.claims.claims_file import ClaimSection, ClaimsFile

Numbered = dict[int, ClaimSection]


def impossible(content: ClaimsFile, claim: ClaimSection) -> str:
    """Say why a set of cases is not the share of all cases that was printed; nothing where it is, or is not stated."""
    own = _stated(content, claim.part)
    if own is None or claim.printed is None:
        return ""
    total = sum(content.total.values())
    wanted = claim.printed.range("any")
    share = Fraction(own, total)
    below = share <= wanted.low if wanted.low_open else share < wanted.low
    above = share >= wanted.high if wanted.high_open else share > wanted.high
    return f"it holds {own} of {total} cases, {float(100 * share):.1f} %" if below or above else ""


def _stated(content: ClaimsFile, name: str) -> int | None:
    part = next(part for part in content.parts if part.name == name)
    return sum(part.cases.values()) if part.cases and not part.assumed else None


def contradiction(content: ClaimsFile, claims: Numbered) -> tuple[list[int], str]:
    """Return claims whose sets would hold more than all cases together, or fewer where each set has its share; and why.

    Sets are taken to be apart, and those whose cases are stated hold these.
    """
    if not claims:
        return [], ""
    total = sum(content.total.values())
    low: dict[str, Fraction] = {}
    high: dict[str, Fraction] = {}
    for part in content.parts:
        if (own := _stated(content, part.name)) is not None:
            low[part.name] = high[part.name] = Fraction(own, total)
    for claim in claims.values():
        if claim.printed is not None and _stated(content, claim.part) is None:
            wanted = claim.printed.range("any")
            low[claim.part] = max(low.get(claim.part, Fraction(0)), wanted.low)
            high[claim.part] = min(high.get(claim.part, Fraction(1)), wanted.high)
    told = " and ".join(f"{name} {float(100 * share):.1f} %" for name, share in low.items())  # what each holds at least
    if sum(low.values()) > 1:
        return list(claims), f"the sets would hold more than all {total} cases: at least {told}"
    everything = set(low) == {part.name for part in content.parts}
    if everything and sum(high.values()) < 1:
        return list(claims), f"the sets would hold fewer than all {total} cases: at most " + " and ".join(
            f"{name} {float(100 * share):.1f} %" for name, share in high.items()
        )
    return [], ""
