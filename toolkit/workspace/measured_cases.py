"""Plain features of every case and the quality of every photograph, measured once and kept."""

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from PIL import Image

from toolkit.cases import Box
from toolkit.errors import DamagedError, PhotographError
from toolkit.files import read_parquet, short_id, write_parquet
from toolkit.photographs import plain_features as plain
from toolkit.photographs import quality
from toolkit.photographs.opening import open_photograph, read_parsed
from toolkit.progress import Progress
from toolkit.workers import spread
from toolkit.workspace.registry import Workspace
from toolkit.workspace.runs import SIDES

BATCH = 64
"""Photographs measured in one go."""
SCHEMA = pa.schema({"key": pa.string(), "features": pa.list_(pa.float32()), "quality": pa.list_(pa.float64())})
"""What is kept, by a key of pixels, ROI and version."""
CONTRAST = -1
"""Where the contrast stands among the features."""
Row = dict[str, Any]


class MeasuredCases(NamedTuple):
    """Of N cases: features (N, columns), NaN where the photograph cannot be opened, and their photographs' quality."""

    features: np.ndarray
    quality: list[quality.PhotographQuality | None]
    contrast: list[float]
    """How much darker each lesion is than the skin around, as absorbance; NaN where it is not known."""


class _Values(NamedTuple):
    """What is kept of a case: arrays, since a hundred thousand cases as Python's numbers would take gigabytes."""

    features: np.ndarray
    quality: np.ndarray


def measure(workspace: Workspace, cases: list[Row], progress: Progress) -> MeasuredCases:
    """Measure cases (rows with ROI, path and digests); those of known pixels and ROI are taken from the last time."""
    keys = [_key(row) for row in cases]
    known = _kept(workspace)
    missing = [(key, row) for key, row in zip(keys, cases, strict=True) if key and key not in known]
    if missing:
        known |= dict(_measured(missing, progress))
        _keep(workspace, known)
    columns = max((len(known[key].features) for key in keys if key in known), default=1)
    none = _Values(np.full(columns, np.nan, np.float32), np.zeros(0))
    values = [known.get(key, none) for key in keys]
    return MeasuredCases(
        np.array([value.features for value in values], dtype=float).reshape(len(cases), columns),
        [quality.PhotographQuality(*value.quality.tolist()) if len(value.quality) else None for value in values],
        [float(value.features[CONTRAST]) for value in values],
    )


def roi_of(row: Row) -> Box | None:
    """Return a case's ROI; None where the whole photograph is the case."""
    sides = [row[side] for side in SIDES]
    return None if None in sides else Box(*sides)


def _key(row: Row) -> str:
    """Return what a case's values rest on, "" where its photograph was never opened."""
    if row["pixel_sha256"] is None or row["path"] is None:
        return ""
    return short_id([row["pixel_sha256"], roi_of(row), plain.VERSION, quality.VERSION]) + row["case_id"]


def _measured(missing: Iterable[tuple[str, Row]], progress: Progress) -> Iterator[tuple[str, _Values]]:
    """Yield the values of cases, a photograph opened once, on every core."""
    ordered = sorted(missing, key=lambda each: (each[1]["image_id"], each[0]))
    photographs = [list(own) for _, own in groupby(ordered, key=lambda each: each[1]["image_id"])]
    batches = [photographs[n : n + BATCH] for n in range(0, len(photographs), BATCH)]
    done = 0
    for batch, values in zip(batches, spread(_measuring, batches), strict=True):
        yield from values
        done += len(batch)
        progress("measuring photographs", done, len(photographs))


def _measuring() -> Callable[[list[list[tuple[str, Row]]]], list[tuple[str, _Values]]]:
    return lambda batch: [values for own in batch for values in _of_photograph(own)]


def _of_photograph(own: list[tuple[str, Row]]) -> list[tuple[str, _Values]]:
    row = own[0][1]
    try:
        content = read_parsed(Path(row["path"]), row["sha256"], name=f"photograph {row['image_id']}")
        image = open_photograph(content)
    except (PhotographError, DamagedError):
        return []
    of_all = np.array(quality.photograph_quality(image))
    return [(key, _Values(_features(image, row), of_all)) for key, row in own]


def _features(image: Image.Image, row: Row) -> np.ndarray:
    return np.array(list(plain.plain_features(image, roi_of(row)).values()), np.float32)


def _file(workspace: Workspace) -> Path:
    return workspace.features / "plain" / "cases.parquet"


def _kept(workspace: Workspace) -> dict[str, _Values]:
    path = _file(workspace)
    if not path.exists():
        return {}
    table = read_parquet(path, remedy="move the file away: toolkit audit makes it again")
    if table.schema != SCHEMA:
        return {}
    keys = table["key"].to_pylist()
    columns = [table[name].combine_chunks().flatten().to_numpy() for name in SCHEMA.names[1:]]
    values = (column.reshape(len(keys), -1) for column in columns)
    return {key: _Values(*own) for key, *own in zip(keys, *values, strict=True)} if keys else {}


def _keep(workspace: Workspace, known: dict[str, _Values]) -> None:
    keys = sorted(known)
    columns = [[known[key].features for key in keys], [known[key].quality for key in keys]]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, list(SCHEMA)[1:], strict=True)]
    write_parquet(_file(workspace), pa.Table.from_arrays([pa.array(keys), *arrays], schema=SCHEMA))
