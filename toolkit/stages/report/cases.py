"""The scored cases of a run with what a page shows of each, and the harm of an error.

They are kept as columns: as objects, a hundred thousand cases would take a quarter of a gigabyte.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from toolkit.cases import Box
from toolkit.formatting import clean
from toolkit.manifest import Study
from toolkit.manifest.evaluation import Costs
from toolkit.workspace import sql
from toolkit.workspace.class_arrays import places
from toolkit.workspace.registry import Workspace
from toolkit.workspace.runs import SIDES

MOST_SHOWN = 20_000
"""Cases that a page holds: about 8 MB, in which a browser filters at once."""
AT_ONCE = 5_000
"""Cases made from columns at a time."""


class ReportCase(NamedTuple):
    """A scored case; where two runs are compared, the prediction is that of the second one."""

    part: str
    case_id: str
    image_id: str
    patient_id: str
    truth: str
    predicted: str
    confidence: float
    label_mass: float
    probabilities: dict[str, float]
    resolved_by: str
    agreeing: int
    readings: int
    findings: list[str]
    path: str | None
    sha256: str | None
    """Of the photograph that was parsed."""
    roi: Box | None
    """In pixels of the photograph; None where the whole photograph is the case."""
    groups: list[tuple[str, str]]
    """Metadata field and group."""
    before: str | None = None
    """What the first of two runs predicted."""
    confidence_before: float | None = None

    @property
    def outcome(self) -> str:
        """Whether the prediction is right, or what became of it from the first run to the second."""
        right = self.predicted == self.truth
        if self.before is None:
            return "right" if right else "wrong"
        if right == (self.before == self.truth):
            return "both_right" if right else "both_wrong"
        return "fixed" if right else "broken"


class CaseGroups(NamedTuple):
    """The groups of cases: those of case n are the ones of `groups` at `members[starts[n]:starts[n + 1]]`."""

    groups: list[tuple[str, str]]
    members: np.ndarray
    starts: np.ndarray

    def of(self, case: int) -> list[tuple[str, str]]:
        """Return the metadata field and group of one case."""
        return [self.groups[number] for number in self.members[self.starts[case] : self.starts[case + 1]]]


@dataclass(frozen=True)
class ScoredCases:
    """Every scored case of a run as columns: wrong ones first, test set first, the most confident first."""

    rows: pa.Table
    groups: CaseGroups

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.rows)

    def __iter__(self) -> Iterator[ReportCase]:
        """Yield each case, some thousand of them made at a time."""
        return self.at(np.arange(len(self.rows)))

    def at(self, numbers: np.ndarray) -> Iterator[ReportCase]:
        """Yield the cases of these numbers."""
        for start in range(0, len(numbers), AT_ONCE):
            some = numbers[start : start + AT_ONCE]
            for number, row in zip(some, self.rows.take(some).to_pylist(), strict=True):
                sides = [row.pop(side) for side in SIDES]
                row["probabilities"] = dict(row["probabilities"])
                roi = None if None in sides else Box(*sides)
                yield ReportCase(**row, roi=roi, groups=self.groups.of(number))

    def for_page(self) -> list[ReportCase]:
        """Return what a page can hold: of every cell of the confusion matrices the most confident cases."""
        cells = np.zeros(len(self.rows), dtype=int)
        for name in ("part", "truth", "predicted"):
            different = self.rows[name].unique().to_pylist()
            cells = cells * len(different) + places(self.rows[name], different)
        return list(self.at(first_of_each(cells)))


def first_of_each(cells: np.ndarray) -> np.ndarray:
    """Return the positions of at most MOST_SHOWN entries of (N,) cell numbers: as many of each cell, the first ones."""
    order = np.argsort(cells, kind="stable")
    starts = np.flatnonzero(np.r_[True, cells[order][1:] != cells[order][:-1]]) if len(cells) else order
    place = np.empty_like(order)
    place[order] = np.arange(len(order)) - np.repeat(starts, np.diff(np.r_[starts, len(order)]))
    return np.sort(np.argsort(place, kind="stable")[:MOST_SHOWN])


def read_cases(workspace: Workspace, run_id: str) -> ScoredCases:
    """Read every scored case of a run; none has groups yet."""
    rows = workspace.read(sql.statement("report/cases"), {"run_id": run_id})
    return ScoredCases(rows, CaseGroups([], np.empty(0, dtype=int), np.zeros(len(rows) + 1, dtype=int)))


def grouped_cases(workspace: Workspace, study: Study, run_id: str, parts: Sequence[str]) -> ScoredCases:
    """Read the scored cases of some parts of a run, each with the groups of the study that it belongs to."""
    rows = read_cases(workspace, run_id).rows.filter(pc.field("part").isin(parts))
    case_ids, fields = rows["case_id"].to_pylist(), study.evaluate.groups
    numbers: dict[tuple[str, str], int] = {}
    pairs = [np.empty((2, 0), dtype=int)]  # of case and group
    for part in parts if fields else []:
        values = workspace.read(sql.statement("evaluate/group_values"), {"run_id": run_id, "part": part})
        for field in fields:
            own = values.filter(pc.field("group_name") == field)
            different = own["group_value"].unique().to_pylist()
            groups = [(field, clean(study.evaluate.band_of(field, value))) for value in different]
            group_of = np.array([numbers.setdefault(group, len(numbers)) for group in groups], dtype=int)
            case = places(own["case_id"], case_ids)
            pairs.append(np.stack([case, group_of[places(own["group_value"], different)]]))
    ordered = sorted(numbers, key=lambda group: (fields.index(group[0]), group[1]))
    rank = np.argsort([numbers[group] for group in ordered])
    (case, member), many = np.concatenate(pairs, axis=1), max(len(ordered), 1)
    in_order = np.unique(case * many + rank[member])  # in the order of cases, then of groups
    starts = np.searchsorted(in_order, np.arange(len(case_ids) + 1) * many)
    return ScoredCases(rows, CaseGroups(ordered, in_order % many, starts))


def cost(truth: str, predicted: str, malignant: set[str], costs: Costs) -> float:
    """Return what it costs to take one class for another; nothing where it is right."""
    if truth == predicted:
        return 0.0
    if (truth in malignant) == (predicted in malignant):
        return costs.other
    return costs.malignant_called_benign if truth in malignant else costs.benign_called_malignant
