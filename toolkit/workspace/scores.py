"""The scores of a run as `evaluate` stored them, one record each."""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

from toolkit.errors import WorkspaceError
from toolkit.workspace import sql
from toolkit.workspace.registry import Workspace

PARTS = ("test", "validation", "external", "train")
"""In the order in which people are shown them."""

ScoreKey = tuple[str, str, str | None]
"""Part, metric and class (None = over all classes)."""


class Score(NamedTuple):
    """A metric on a part, with its interval, its support and the query that gives it again; NaN where undefined."""

    run_id: str
    part: str
    metric: str
    class_name: str | None
    value: float
    low: float
    high: float
    confidence: float
    method: str
    replicates: int
    cases: int
    patients: int
    too_few: bool
    classes: int | None
    truth_id: str
    query: str

    @property
    def is_defined(self) -> bool:
        """Whether there is a value."""
        return not math.isnan(self.value)

    @property
    def has_interval(self) -> bool:
        """Whether both bounds are known."""
        return not math.isnan(self.low) and not math.isnan(self.high)


def read_scores(workspace: Workspace, run_id: str) -> dict[ScoreKey, Score]:
    """Return every score of a run by part, metric and class; raise WorkspaceError where it was not scored."""
    columns = ", ".join(Score._fields)
    rows = workspace.rows(f"select {columns} from scores where run_id = $run_id", {"run_id": run_id})  # noqa: S608 - our own names
    if not rows:
        raise WorkspaceError(
            f"run {run_id} has no scores yet",
            place=str(workspace.run(run_id)),
            remedy=f"toolkit evaluate --run {run_id}",
        )
    return {(row["part"], row["metric"], row["class_name"]): Score(**row) for row in rows}


def unsayable(workspace: Workspace, run_id: str) -> list[str]:
    """Return the classes that a run of another workspace has no answer for: it cannot say them."""
    rows = workspace.rows(sql.statement("evaluate/unsayable"), {"run_id": run_id})
    return [row["class_name"] for row in rows]


def scored_parts(scores: dict[ScoreKey, Score]) -> list[str]:
    """Return the parts that were scored, the one that people are shown first (test, where it was scored) first."""
    return sorted({part for part, _, _ in scores}, key=PARTS.index)


def seed_differences(workspace: Workspace, run_id: str, other_id: str, parts: Iterable[str]) -> list[dict[str, Any]]:
    """Return by part and metric what differences over all classes owe to seeds, where both runs have several."""
    rows: list[dict[str, Any]] = [
        {"part": part, **row}
        for part in parts
        for row in workspace.shipped_rows("seed_differences", run=run_id, other=other_id, part=part)
    ]
    return [row for row in rows if row["class_name"] is None and row["seeds"] > 1]
