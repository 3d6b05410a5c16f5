"""Temperature and thresholds of a run of another workspace, fixed by its own study: they are not chosen again here."""

import math
from pathlib import Path
from typing import Any

from toolkit.errors import DamagedError
from toolkit.files import read_parquet
from toolkit.stats.calibration import HOTTEST

CHOSEN_ON = "validation"
REMEDY = "ask for the run's folder as toolkit evaluate left it there, or evaluate it there again"


def frozen(folder: Path, mapped: dict[str, str]) -> dict[str, Any]:
    """Return what was fixed where the run was trained, with classes as here; `mapped` gives this study's class of each.

    Nothing where the run was not evaluated there. An operating point is left out where its probability cannot be had
    here: where a class of it is unknown here, or is one class with another that the point does not name.
    """
    return {
        "temperature": next(iter(_temperatures(folder)), None),
        "operating_points": [
            {**point, "classes": list(dict.fromkeys(mapped[name] for name in point["classes"]))}
            for point in _points(folder)
            if _can_be_had(set(point["classes"]), mapped)
        ],
    }


def _temperatures(folder: Path) -> list[dict[str, Any]]:
    rows = _rows(folder / "temperatures.parquet", ("temperature", "cases", "truth_id"))
    for row in rows:
        if not 1 / HOTTEST <= _number(row["temperature"]) <= HOTTEST:
            raise DamagedError("the temperature is none", place=str(folder / "temperatures.parquet"), remedy=REMEDY)
    return rows


def _points(folder: Path) -> list[dict[str, Any]]:
    """Return each operating point once, with the threshold that was chosen on validation."""
    path, points = folder / "operating_points.parquet", {}
    for row in _rows(path, ("part", "target", "classes", "rule", "required", "threshold")):
        if row["part"] != CHOSEN_ON:
            continue
        if not (0 <= _number(row["threshold"]) <= 1 and 0 < _number(row["required"]) < 1):
            raise DamagedError("a threshold or a sensitivity is no probability", place=str(path), remedy=REMEDY)
        points[row["target"]] = {
            "name": str(row["target"]),
            "classes": str(row["classes"]).split(","),
            "rule": "youden" if row["rule"] == "youden" else "sensitivity",
            "sensitivity": row["required"],
            "threshold": row["threshold"],
        }
    return list(points.values())


def _rows(path: Path, columns: tuple[str, ...]) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    table = read_parquet(path, remedy=REMEDY)
    if missing := [name for name in columns if name not in table.column_names]:
        raise DamagedError(f"the table lacks the column {missing[0]}", place=str(path), remedy=REMEDY)
    return table.select(columns).to_pylist()


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _can_be_had(classes: set[str], mapped: dict[str, str]) -> bool:
    here = {mapped.get(name) for name in classes}
    return None not in here and {name for name, own in mapped.items() if own in here} == classes
