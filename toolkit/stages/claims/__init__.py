"""How printed figures are held against the cases they rest on: a verdict for each, and for all together.

Refuses to accuse. A figure is feasible, with a confusion matrix that gives it; or no confusion matrix of the stated
cases gives it; or neither was shown. Why that is, only its authors can say.
"""

from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from toolkit.errors import ClaimsError
from toolkit.files import csv_text
from toolkit.progress import Progress, silent
from toolkit.stages.claims import matrix as search
from toolkit.stages.claims.given import (
    CONVENTIONS,
    Figures,
    KnownFigures,
    figures,
    figures_of,
    hard_range,
    holds,
    read_predictions,
    value_of,
)
from toolkit.stages.claims.printed import Rounding, share_reason
from toolkit.stages.claims.stated import ClaimSection, PartSection, read

__all__ = ["FEASIBLE", "NOT_REPRODUCIBLE", "UNDECIDED", "Claims", "JointVerdict", "Verdict", "claims"]

FEASIBLE = "feasible"
NOT_REPRODUCIBLE = "not reproducible from the stated n"
UNDECIDED = "undecided"
NOT_OF_A_MATRIX = "no confusion matrix says it: it takes the probabilities"
EVERY = "all sources"
SECONDS = 20.0
"""For the search for one matrix."""
MOST_NARROWED = 20
"""Claims among which a smaller group that contradicts itself is looked for."""


@dataclass(frozen=True)
class Verdict:
    """What is to be said of one claim."""

    number: int
    """Its place in the file, from 1."""
    part: str
    source: str
    claim: str
    verdict: str
    reason: str
    witness: float
    """The figure by the witness matrix, or by the predictions; NaN where there is none."""
    flag: str
    """What else is odd about it."""


@dataclass(frozen=True)
class JointVerdict:
    """What is to be said of all claims of a source about the same cases."""

    part: str
    source: str
    claims: list[int]
    verdict: str
    reason: str
    conflicts: list[list[int]]
    """Claims that cannot be true together; one that cannot be true at all stands alone."""
    others: str
    """Where some cannot be true at all: the verdict on the others."""
    rounding: str
    classes: list[str]
    matrix: list[list[int]] | None
    """A confusion matrix, truth in rows, for which the claims are true; without those that cannot be."""


@dataclass(frozen=True)
class Claims:
    """The verdicts on a file of claims."""

    title: str
    reference: str
    assumed: dict[str, str]
    """By part: why its cases are assumed."""
    verdicts: list[Verdict]
    joint: list[JointVerdict]

    def csv(self) -> str:
        """Return a row for each claim, and one for each source with its matrix."""
        columns = ["kind", "number", "part", "source", "claim", "verdict", "reason", "witness", "flag", "matrix"]
        rows = [["claim", *astuple(verdict), None] for verdict in self.verdicts]
        rows += [
            ["joint", None, j.part, j.source, j.claims, j.verdict, j.reason, None, j.rounding, j.matrix]
            for j in self.joint
        ]
        return csv_text(columns, rows)

    @property
    def contradicted(self) -> list[Verdict]:
        """Claims that no matrix of the stated cases gives."""
        return [verdict for verdict in self.verdicts if verdict.verdict == NOT_REPRODUCIBLE]


Numbered = dict[int, ClaimSection]
"""Claims by their place in the file."""


class _ClaimResult(NamedTuple):
    """An answer, and under which rounding and convention its matrix gives the claims."""

    answer: search.Solution
    rounding: str = ""
    figures: Figures | None = None


def claims(file: Path, *, seconds: float = SECONDS, progress: Progress = silent) -> Claims:
    """Judge a file of claims, or what a report printed; raise ClaimsError for a report that contradicts itself.

    `seconds` are for one search; there are about as many as groups, and more where a conflict is narrowed down.
    """
    stated = read(file)
    numbered = dict(enumerate(stated.claims, start=1))
    verdicts: dict[int, Verdict] = {}
    joint: list[JointVerdict] = []
    for part in stated.parts:
        own = {number: claim for number, claim in numbered.items() if claim.part == part.name}
        progress(f"checking {part.name}", 0, None)
        if part.predictions:
            verdicts |= _recomputed(own, read_predictions(part.predictions, file.parent))
        else:
            judged = _Part(part, own, seconds)
            joint += judged.joint()
            if file.is_dir():
                _refuse_contradictions(file, joint)
            verdicts |= judged.verdicts()
    assumed = {part.name: part.assumed for part in stated.parts if part.assumed}
    return Claims(stated.title, stated.reference, assumed, [verdicts[number] for number in sorted(verdicts)], joint)


def _refuse_contradictions(folder: Path, joint: list[JointVerdict]) -> None:
    """Raise ClaimsError where a report's figures cannot be so: our own mistake, or somebody changed a file."""
    for one in joint:
        if one.verdict == NOT_REPRODUCIBLE:
            raise ClaimsError(
                f"the report contradicts its own counts: {one.part}: {one.reason}",
                place=str(folder),
                remedy="make the report anew; if it says so again, its numbers are wrong: tell us",
            )


class _Part:
    """The claims about one part whose counts are stated."""

    def __init__(self, part: PartSection, own: Numbered, seconds: float) -> None:
        self.part = part
        self.own = own
        self.seconds = seconds
        self.decidable = {number: claim for number, claim in own.items() if claim.decidable}
        self.impossible = {n: reason for n, claim in self.decidable.items() if (reason := self._impossible(claim))}
        self.seen: dict[int, float] = {}
        """By claim: its figure in a matrix that was found for it."""

    def _impossible(self, claim: ClaimSection) -> str:
        """Say why no share of the class's cases gives a number; nothing where one does, or it is about all classes."""
        everyone = sum(self.part.cases.values())
        if claim.metric == "accuracy" and claim.printed and claim.comparison == "=":
            hits = np.arange(everyone + 1)
            given = claim.printed.range("any").has(hits, np.full_like(hits, everyone)).any()
            return "" if given else share_reason(claim.printed, everyone)
        if claim.class_name is None or claim.printed is None:
            return ""
        states = search.possible(self.part.cases, [claim], "any")
        if states is None or (states.of == list(self.part.cases).index(claim.class_name)).any():
            return ""
        own = self.part.cases[claim.class_name]
        rests_on = {"recall": own, "specificity": everyone - own}.get(claim.rate)
        if rests_on and claim.comparison == "=":
            return share_reason(claim.printed, rests_on)
        return f"no hits and false alarms of {own} cases among {everyone} give it"

    def joint(self) -> list[JointVerdict]:
        """Judge each source, and all of them together."""
        sources: dict[str, Numbered] = {}
        for number, claim in self.decidable.items():
            sources.setdefault(claim.source, {})[number] = claim
        groups = sources | ({EVERY: self.decidable} if len(sources) > 1 else {})
        return [self._judge(source, group) for source, group in groups.items()]

    def _judge(self, source: str, group: Numbered) -> JointVerdict:
        alone = [[number] for number in group if number in self.impossible]
        rest = {number: claim for number, claim in group.items() if number not in self.impossible}
        conflicts = alone + list(_contradicting(rest))
        found = _ClaimResult(search.NONE) if len(conflicts) > len(alone) else self._search(rest) if rest else None
        answer = found.answer if found else search.Solution(None, known=False)
        if answer.known and answer.matrix is None and len(conflicts) == len(alone) and len(rest) <= MOST_NARROWED:
            conflicts.append(self._narrowed(rest))
        if found and found.figures:
            self.seen |= {number: value_of(claim, found.figures) for number, claim in rest.items()}
        verdict, reason = _verdict(answer)
        told = [f"{' and '.join(map(str, one))} cannot be so{' together' * (len(one) > 1)}" for one in conflicts]
        return JointVerdict(
            part=self.part.name,
            source=source,
            claims=list(group),
            verdict=NOT_REPRODUCIBLE if alone else verdict,
            reason="; ".join(told) or reason,
            conflicts=conflicts,
            others=verdict if alone and rest else "",
            rounding=found.rounding if found else "",
            classes=list(self.part.cases),
            matrix=None if answer.matrix is None else answer.matrix.tolist(),
        )

    def _search(self, group: Numbered) -> _ClaimResult:
        """Look for a matrix with figures rounded in any way, and then for one with all rounded to the nearest."""
        found = self._rounded(group, "any")
        if found.answer.matrix is None or found.rounding == "nearest":
            return found
        nearest = self._rounded(group, "nearest")
        return found if nearest.answer.matrix is None else nearest

    def _rounded(self, group: Numbered, rounding: Rounding) -> _ClaimResult:
        answer = search.solve(self.part.cases, list(group.values()), rounding, seconds=self.seconds)
        if answer.matrix is None:
            return _ClaimResult(answer)
        for way in ("nearest", rounding):
            for convention in CONVENTIONS:
                found = figures(answer.matrix, list(self.part.cases), undefined=convention)
                checked = (holds(c, found, answer.matrix, list(self.part.cases), way) for c in group.values())
                if all(checked):
                    return _ClaimResult(answer, "nearest" if way == "nearest" else "some cut off", found)
        return _ClaimResult(search.Solution(None, known=False, reason="a figure lies on the border of its rounding"))

    def _narrowed(self, group: Numbered) -> list[int]:
        """Leave out claims, many at a time and then fewer, as long as the others contradict each other without them."""
        left = list(group)
        size = len(left) // 2
        while size:
            for start in range(len(left) - 1, -1, -size):
                without = left[: max(start - size + 1, 0)] + left[start + 1 :]
                answer = search.solve(self.part.cases, [group[n] for n in without], "any", seconds=self.seconds / 4)
                if answer.known and answer.matrix is None:
                    left = without
            size //= 2
        return left

    def verdicts(self) -> dict[int, Verdict]:
        """Judge each claim by itself: by a matrix found for its source, else by one of its own."""
        return {number: self._single(number, claim) for number, claim in self.own.items()}

    def _single(self, number: int, claim: ClaimSection) -> Verdict:
        witness = self.seen.get(number, float("nan"))
        if not claim.decidable:
            verdict, reason = UNDECIDED, NOT_OF_A_MATRIX
        elif number in self.impossible:
            verdict, reason = NOT_REPRODUCIBLE, self.impossible[number]
        elif number in self.seen or (claim.class_name and claim.printed and not claim.rank):
            verdict, reason = FEASIBLE, ""
        else:
            found = self._search({number: claim})
            verdict, reason = _verdict(found.answer)
            witness = value_of(claim, found.figures) if found.figures else witness
        return Verdict(
            number,
            claim.part,
            claim.source,
            claim.text,
            verdict,
            reason,
            witness,
            _hard_flag(claim, list(self.own.values())),
        )


def _verdict(answer: search.Solution) -> tuple[str, str]:
    if answer.matrix is not None:
        return FEASIBLE, ""
    return (
        (NOT_REPRODUCIBLE, "no confusion matrix of these cases gives it")
        if answer.known
        else (UNDECIDED, answer.reason)
    )


def _contradicting(group: Numbered) -> Iterator[list[int]]:
    """Give pairs of claims that say different things of the same figure."""
    said: dict[tuple, list[tuple[int, ClaimSection]]] = {}
    for number, claim in group.items():
        if claim.printed and not claim.classes:
            said.setdefault((claim.rate, claim.class_name, claim.averaged), []).append((number, claim))
    for same in said.values():
        ranges = [(number, claim.printed.range("any")) for number, claim in same if claim.printed]
        for place, (number, one) in enumerate(ranges):
            for other_number, other in ranges[place + 1 :]:
                if one.high < other.low or other.high < one.low:
                    yield [number, other_number]


def _hard_flag(claim: ClaimSection, group: list[ClaimSection]) -> str:
    """Say that a ROC AUC equals the one that recall and specificity make; a perfect one may."""
    if claim.metric != "roc_auc" or claim.comparison != "=" or claim.printed is None:
        return ""
    hard, said = hard_range(claim, group), claim.printed.range("nearest")
    if hard is None or hard.high >= 1 or hard.high < said.low or said.high < hard.low:
        return ""
    middle = float(hard.low + hard.high) / 2
    return f"equals the value from hard labels: (recall + specificity)/2 = {middle:.4f}"


def _recomputed(own: Numbered, known: KnownFigures) -> dict[int, Verdict]:
    """Judge claims by the predictions themselves."""
    found = figures_of(known)
    verdicts = {}
    for number, claim in own.items():
        if claim.class_name and claim.class_name not in known.classes:
            raise ClaimsError(
                f"the predictions hold no class {claim.class_name}",
                place=f"claims.{number}",
                remedy=f"they hold: {', '.join(known.classes)}",
            )
        true = holds(claim, found, known.matrix, known.classes, "any")
        value = value_of(claim, found)
        reason = "" if true else f"the predictions give {value:.4f}"
        verdict = FEASIBLE if true else NOT_REPRODUCIBLE
        flag = _hard_of(claim, found)
        verdicts[number] = Verdict(number, claim.part, claim.source, claim.text, verdict, reason, value, flag)
    return verdicts


def _hard_of(claim: ClaimSection, found: Figures) -> str:
    """Say that a ROC AUC is that of hard labels and not that of the probabilities."""
    if claim.metric != "roc_auc" or claim.printed is None or claim.comparison != "=":
        return ""
    name = "hard_roc_auc" if claim.class_name else f"{claim.average}_hard_roc_auc"
    hard, true = found.get((name, claim.class_name), np.nan), value_of(claim, found)
    said = claim.printed.range("any")
    if not said.has_near(hard) or said.has_near(true):
        return ""
    return f"equals the value from hard labels, {hard:.4f}; the probabilities give {true:.4f}"
