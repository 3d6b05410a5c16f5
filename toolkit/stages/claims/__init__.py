"""Printed figures checked against the cases they rest on: a verdict on each claim, and on all of a source together.

A figure is feasible, with a confusion matrix that gives it; or no confusion matrix of the stated cases gives it; or
neither was shown. Why a figure is not reproducible, only its authors can say.
"""

from collections.abc import Iterator
from dataclasses import astuple, dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np

from toolkit.csv_files import csv_text
from toolkit.errors import ClaimsError
from toolkit.progress import Progress, silent
from toolkit.stages.claims import areas, recompute, shares
from toolkit.stages.claims.claims_file import ClaimSection, ClaimsFile, PartSection, read
from toolkit.stages.claims.feasibility import NONE, Solution, possible, solve
from toolkit.stages.claims.misplaced import misplaced
from toolkit.stages.claims.rounding import Rounding, share_reason

__all__ = ["FEASIBLE", "NOT_REPRODUCIBLE", "UNDECIDED", "Claims", "JointVerdict", "Verdict", "claims"]

FEASIBLE = "feasible"
NOT_REPRODUCIBLE = "not reproducible from the stated n"
UNDECIDED = "undecided"
NEEDS_PROBABILITIES = "it depends on the probabilities, so no confusion matrix decides it"
EVERY = "all sources"
ALL_PARTS = "all sets"
MOST_NARROWED = 20
"""Claims among which a smaller contradicting group is looked for."""


@dataclass(frozen=True)
class Verdict:
    """The verdict on one claim."""

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
    """The verdict on all claims of a source about the same cases."""

    part: str
    source: str
    claims: list[int]
    verdict: str
    reason: str
    conflicts: list[list[int]]
    """Claims that contradict each other; an impossible one stands alone."""
    others: str
    """Where some are impossible: the verdict on the others."""
    rounding: str
    classes: list[str]
    matrix: list[list[int]] | None
    """A confusion matrix, truth in rows, for which the claims are true; without the impossible ones."""
    why: str = ""
    """Why claims about another set are held against these cases."""


@dataclass(frozen=True)
class Claims:
    """The verdicts on a file of claims."""

    title: str
    reference: str
    assumed: dict[str, str]
    """By part: why its cases are assumed."""
    verdicts: list[Verdict]
    joint: list[JointVerdict]
    notes: dict[str, list[str]] = field(default_factory=dict)
    """By part: how its file of predictions was read, where that is not the usual way."""

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


class _Searched(NamedTuple):
    """A solution, and under which rounding its matrix gives which figures."""

    solution: Solution
    rounding: str = ""
    figures: recompute.Figures | None = None


def claims(file: Path, *, effort: float = 1.0, progress: Progress = silent) -> Claims:
    """Check a file of claims, or the figures of a report; raise ClaimsError for a report that contradicts itself.

    `effort` is how long one search may be, in work and not in time, so that verdicts are the same on every machine.
    """
    content = read(file)
    numbered = dict(enumerate(content.claims, start=1))
    verdicts: dict[int, Verdict] = {}
    joint: list[JointVerdict] = []
    notes: dict[str, list[str]] = {}
    for part in content.parts:
        own = {number: claim for number, claim in numbered.items() if claim.part == part.name}
        progress(f"checking {part.name}", 0, None)
        if part.predictions:
            predictions = recompute.read_predictions(part.predictions, file.parent)
            verdicts |= _recomputed(own, predictions)
            notes |= {part.name: list(predictions.notes)} if predictions.notes else {}
        else:
            checks = _PartChecks(part, {n: c for n, c in own.items() if c.metric != "part_share"}, effort)
            joint += checks.joint()
            if file.is_dir():
                _refuse_contradictions(file, joint)
            verdicts |= checks.verdicts()
    joint += _elsewhere(content, numbered, effort)
    of_shares, together = _shares(content, numbered)
    verdicts |= of_shares
    joint += together
    assumed = {part.name: part.assumed for part in content.parts if part.assumed}
    ordered = [verdicts[number] for number in sorted(verdicts)]
    return Claims(content.title, content.reference, assumed, ordered, joint, notes)


def _elsewhere(content: ClaimsFile, numbered: Numbered, effort: float) -> list[JointVerdict]:
    """Hold each source whose figures are those of another set against that set's cases, with its own claims."""
    joint = []
    for one in misplaced(content, numbered):
        part = next(part for part in content.parts if part.name == one.other)
        group = {
            number: claim
            for number, claim in numbered.items()
            if claim.part == one.other or (claim.part, claim.source) == (one.part, one.source)
            if claim.metric != "part_share"
        }
        verdict = _PartChecks(part, group, effort).of_source(
            f"{one.source} of {one.part}, and all of {one.other}", group
        )
        joint += [replace(verdict, why=one.reason)] if verdict else []
    return joint


def _shares(content: ClaimsFile, numbered: Numbered) -> tuple[dict[int, Verdict], list[JointVerdict]]:
    """Check claims about shares of the whole study, each by itself and all together."""
    own = {number: claim for number, claim in numbered.items() if claim.metric == "part_share"}
    reasons = {number: shares.impossible(content, claim) for number, claim in own.items()}
    verdicts = {
        number: Verdict(
            number, claim.part, claim.source, claim.text, NOT_REPRODUCIBLE if reasons[number] else FEASIBLE,
            reasons[number], float("nan"), "",
        )
        for number, claim in own.items()
    }  # fmt: skip
    conflict, reason = shares.contradiction(content, own)
    if not conflict:
        return verdicts, []
    joint = JointVerdict(
        ALL_PARTS, EVERY, list(own), NOT_REPRODUCIBLE, reason, [conflict],
        others="", rounding="", classes=[], matrix=None,
    )  # fmt: skip
    return verdicts, [joint]


def _refuse_contradictions(folder: Path, joint: list[JointVerdict]) -> None:
    """Raise ClaimsError where a report's figures are impossible: our own mistake, or somebody changed a file."""
    for one in joint:
        if one.verdict == NOT_REPRODUCIBLE:
            raise ClaimsError(
                f"the report contradicts its own counts: {one.part}: {one.reason}",
                place=str(folder),
                remedy="make the report again; if the error stays, its numbers are wrong: please tell us",
            )


class _PartChecks:
    """The checks of all claims about one part whose counts are stated."""

    def __init__(self, part: PartSection, own: Numbered, effort: float) -> None:
        self.part, self.own, self.effort = part, own, effort
        self.classes = list(part.cases)
        self.impossible = {n: reason for n, claim in own.items() if (reason := self._impossible(claim))}
        self.witnesses: dict[int, float] = {}
        """By claim: its figure in a matrix that was found for it."""

    def _impossible(self, claim: ClaimSection) -> str:
        """Say why no counts of the class give a number; nothing where some do, or it is about all classes."""
        if not claim.decidable:
            return areas.impossible(self.part.cases, claim)
        everyone = sum(self.part.cases.values())
        if claim.metric == "accuracy" and claim.printed and claim.comparison == "=":
            correct = np.arange(everyone + 1)
            fits = claim.printed.range("any").has(correct, np.full_like(correct, everyone)).any()
            return "" if fits else share_reason(claim.printed, everyone)
        if claim.class_name is None or claim.printed is None:
            return ""
        states = possible(self.part.cases, [claim], "any")
        if states is None or (states.class_index == self.classes.index(claim.class_name)).any():
            return ""
        own = self.part.cases[claim.class_name]
        rests_on = {"recall": own, "specificity": everyone - own}.get(claim.rate)
        if rests_on and claim.comparison == "=":
            return share_reason(claim.printed, rests_on)
        return f"no true and false positives of {own} cases among {everyone} give it"

    def joint(self) -> list[JointVerdict]:
        """Check each source, and all of them together."""
        sources: dict[str, Numbered] = {}
        for number, claim in self.own.items():
            sources.setdefault(claim.source, {})[number] = claim
        groups = sources | ({EVERY: self.own} if len(sources) > 1 else {})
        return [verdict for source, group in groups.items() if (verdict := self.of_source(source, group))]

    def of_source(self, source: str, group: Numbered) -> JointVerdict | None:
        """Check some claims together; None where nothing can be said of them, since all are areas that may be true."""
        impossible = [[number] for number in group if number in self.impossible]
        possible_areas = {n: c for n, c in group.items() if not c.decidable and n not in self.impossible}
        of_areas = list(areas.contradicting(self.part.cases, possible_areas))
        decidable = {number: claim for number, claim in group.items() if claim.decidable}
        if not (decidable or impossible or of_areas):
            return None
        rest = {number: claim for number, claim in decidable.items() if number not in self.impossible}
        conflicts = list(_contradicting(rest))
        if conflicts:
            searched = _Searched(NONE)
        elif rest:
            searched = self._search(rest)
        else:
            searched = _Searched(Solution(None, known=False))
        solution = searched.solution
        if solution.known and solution.matrix is None and not conflicts and len(rest) <= MOST_NARROWED:
            conflicts = [self._narrowed(rest)]
        if searched.figures:
            self.witnesses |= {n: recompute.value_of(claim, searched.figures) for n, claim in rest.items()}
        verdict, reason = _verdict(solution)
        conflicts += of_areas
        return JointVerdict(
            part=self.part.name,
            source=source,
            claims=sorted({*decidable, *(number for conflict in impossible + conflicts for number in conflict)}),
            verdict=NOT_REPRODUCIBLE if impossible or of_areas else verdict,
            reason="; ".join(map(_in_words, impossible + conflicts)) or reason,
            conflicts=impossible + conflicts,
            others=verdict if (impossible or of_areas) and rest else "",
            rounding=searched.rounding,
            classes=self.classes,
            matrix=None if solution.matrix is None else solution.matrix.tolist(),
        )

    def _search(self, group: Numbered) -> _Searched:
        """Search for a matrix with figures rounded in any way, and then for one with all rounded to the nearest."""
        searched = self._rounded(group, "any")
        if searched.solution.matrix is None or searched.rounding == "nearest":
            return searched
        nearest = self._rounded(group, "nearest")
        return searched if nearest.solution.matrix is None else nearest

    def _rounded(self, group: Numbered, rounding: Rounding) -> _Searched:
        solution = solve(self.part.cases, list(group.values()), rounding, effort=self.effort)
        if solution.matrix is None:
            return _Searched(solution)
        for way in ("nearest", rounding):
            for convention in recompute.CONVENTIONS:
                values = recompute.figures(solution.matrix, self.classes, undefined=convention)
                facts = values, solution.matrix, self.classes, way
                if all(recompute.holds(claim, *facts) for claim in group.values()):
                    return _Searched(solution, "nearest" if way == "nearest" else "some truncated", values)
        return _Searched(Solution(None, known=False, reason="a figure lies on the border of its rounding"))

    def _narrowed(self, group: Numbered) -> list[int]:
        """Leave out claims, many at a time and then fewer, as long as the others contradict each other without them."""
        left = list(group)
        size = len(left) // 2
        while size:
            for start in range(len(left) - 1, -1, -size):
                without = left[: max(start - size + 1, 0)] + left[start + 1 :]
                solution = solve(self.part.cases, [group[n] for n in without], "any", effort=self.effort / 4)
                if solution.known and solution.matrix is None:
                    left = without
            size //= 2
        return left

    def verdicts(self) -> dict[int, Verdict]:
        """Check each claim by itself: by a matrix found for its source, else by one of its own."""
        return {number: self._single(number, claim) for number, claim in self.own.items()}

    def _single(self, number: int, claim: ClaimSection) -> Verdict:
        witness = self.witnesses.get(number, float("nan"))
        if number in self.impossible:
            verdict, reason = NOT_REPRODUCIBLE, self.impossible[number]
        elif not claim.decidable:
            verdict, reason = UNDECIDED, NEEDS_PROBABILITIES
        elif number in self.witnesses or (claim.class_name and claim.printed and not claim.rank):
            verdict, reason = FEASIBLE, ""
        else:
            searched = self._search({number: claim})
            verdict, reason = _verdict(searched.solution)
            witness = recompute.value_of(claim, searched.figures) if searched.figures else witness
        flag = recompute.printed_flag(claim, list(self.own.values()))
        return Verdict(number, claim.part, claim.source, claim.text, verdict, reason, witness, flag)


def _verdict(solution: Solution) -> tuple[str, str]:
    if solution.matrix is not None:
        return FEASIBLE, ""
    if solution.known:
        return NOT_REPRODUCIBLE, "no confusion matrix of these cases gives it"
    return UNDECIDED, solution.reason


def _in_words(conflict: list[int]) -> str:
    if len(conflict) == 1:
        return f"claim {conflict[0]} is impossible"
    return f"claims {', '.join(map(str, conflict[:-1]))} and {conflict[-1]} contradict each other"


def _contradicting(group: Numbered) -> Iterator[list[int]]:
    """Yield pairs of claims that give different values of the same figure."""
    ranges = [
        (number, (claim.rate, claim.class_name, claim.averaged), claim.printed.range("any"))
        for number, claim in group.items()
        if claim.printed and not claim.classes
    ]
    for (number, figure, one), (other_number, other_figure, other) in combinations(ranges, 2):
        if figure == other_figure and (one.high < other.low or other.high < one.low):
            yield [number, other_number]


def _recomputed(own: Numbered, part: recompute.PartPredictions) -> dict[int, Verdict]:
    """Check claims by the predictions themselves."""
    values = recompute.figures_of(part)
    verdicts = {}
    for number, claim in own.items():
        if claim.class_name and claim.class_name not in part.classes:
            raise ClaimsError(
                f"the predictions hold no class {claim.class_name}",
                place=f"claims.{number}",
                remedy=f"they hold: {', '.join(part.classes)}",
            )
        value = recompute.value_of(claim, values)
        verdict, reason = FEASIBLE, ""
        if np.isnan(value) and not (claim.pairs or claim.classes):
            verdict, reason = UNDECIDED, f"undefined: {recompute.undefined(claim, part)}"
        elif not recompute.holds(claim, values, part.matrix, part.classes, "any"):
            verdict, reason = NOT_REPRODUCIBLE, f"the predictions give {value:.4f}"
        flag = recompute.predictions_flag(claim, values)
        verdicts[number] = Verdict(number, claim.part, claim.source, claim.text, verdict, reason, value, flag)
    return verdicts
