"""The section on image quality: what a run loses on degraded photographs, as rows and in sentences."""

from typing import Any, NamedTuple

from toolkit.formatting import interval, signed
from toolkit.photographs.degradation import KINDS
from toolkit.workspace.registry import Workspace
from toolkit.workspace.runs import predicted_parts

AVERAGE = "macro_recall"
"""The metric of the figure and of the sentences."""
MEASURED = ("photograph_sharpness", "photograph_brightness", "photograph_resolution")
"""Groups of cases by what the audit measured of their photographs."""


class ImageQuality(NamedTuple):
    """Rows of the question `image_quality`, and how near the run's own predictions came at level 0."""

    rows: list[dict[str, Any]]
    unchanged: float | None

    @property
    def averages(self) -> list[dict[str, Any]]:
        """The rows of macro recall."""
        return [row for row in self.rows if row["metric"] == AVERAGE]

    @property
    def by_class(self) -> list[dict[str, Any]]:
        """The rows of single classes."""
        return [row for row in self.rows if row["class_name"] is not None]

    @property
    def units(self) -> dict[str, str]:
        """What a level is, by kind."""
        return {name: kind.unit for name, kind in KINDS.items()}


def read_image_quality(workspace: Workspace, run_id: str, part: str) -> ImageQuality:
    """Read what is known of a run on degraded photographs of a part; empty where nobody asked."""
    rows = workspace.shipped_rows("image_quality", run=run_id, part=part)
    made = [predicted_parts(workspace, name).get(part) for name in {row["degraded_run_id"] for row in rows}]
    changes = [each.unchanged for each in made if each and each.unchanged is not None]
    return ImageQuality(rows, max(changes, default=None))


def sentences(quality: ImageQuality) -> list[str]:
    """Say for each kind, and each direction, from which level on macro recall is clearly lower, or that it is not."""
    texts = []
    for kind, rows in by_kind(quality).items():
        sides = ([row for row in rows if row["level"] < 0], [row for row in rows if row["level"] >= 0])
        said = "; ".join(_said(own) for own in sides if own)
        texts.append(f"{kind} ({KINDS[kind].unit}): macro recall is {said}.")
    return texts


def _said(rows: list[dict[str, Any]]) -> str:
    lower = [row for row in rows if row["high"] < 0]
    if not lower:
        most = max(rows, key=lambda row: abs(row["level"]))
        return f"not clearly lower at {_level(most)}, {_difference(most)}"
    first = min(lower, key=lambda row: abs(row["level"]))
    return f"clearly lower from {_level(first)} on, {_difference(first)}"


def _level(row: dict[str, Any]) -> str:
    return f"{row['level']:g}".replace("-", "\N{MINUS SIGN}")


def _difference(row: dict[str, Any]) -> str:
    return f"by {signed(row['difference'])} ({interval(row['low'], row['high'])})"


def by_kind(quality: ImageQuality) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of macro recall by kind of degradation."""
    kinds: dict[str, list[dict[str, Any]]] = {}
    for row in quality.averages:
        kinds.setdefault(row["kind"], []).append(row)
    return kinds
