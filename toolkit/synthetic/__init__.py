"""Knows how to make a sample study: drawn photographs, their Labelbox export and a study file, all from one seed.

Knows nothing of what is done with them, and says nothing about real skin: the photographs are for trying and testing
the toolkit.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from numpy.random import default_rng

from toolkit.errors import ToolkitError
from toolkit.files import write_atomically, written_atomically
from toolkit.manifest import shipped
from toolkit.progress import Progress, silent
from toolkit.synthetic.drawing import photograph
from toolkit.synthetic.plan import Photograph, plan
from toolkit.synthetic.rows import Json, Rows

__all__ = ["Sample", "sample"]

# Streams of random numbers that must not touch each other: a change to the labels leaves every photograph as it was.
_PLAN, _LABELS = 1 << 32, 1 << 33


@dataclass(frozen=True)
class Sample:
    """Where a sample study stands and how large it is."""

    folder: Path
    export: Path
    images: Path
    study: Path
    photographs: int
    patients: int
    cases: int
    seed: int


def sample(folder: Path, *, cases: int = 980, seed: int = 7, progress: Progress = silent) -> Sample:
    """Draw a sample study into `folder`: images/, export.ndjson, study.toml; the same seed gives the same bytes.

    `cases` counts labelled lesions; about 3 % of the photographs show two, 2 % more are queued or were skipped. Raises
    ToolkitError where the folder holds anything already.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ToolkitError("the folder is not empty", place=str(folder), remedy="name a new folder for the sample")
    photographs = plan(default_rng([seed, _PLAN]), cases)
    made = Sample(
        folder=folder,
        export=folder / "export.ndjson",
        images=folder / "images",
        study=folder / "study.toml",
        photographs=len(photographs),
        patients=len({each.patient.patient_id for each in photographs}),
        cases=cases,
        seed=seed,
    )
    with written_atomically(made.export) as export, export.open("w", encoding="utf-8", newline="\n") as lines:
        for row in _drawn(photographs, made.images, seed=seed, progress=progress):
            lines.write(json.dumps(row, separators=(",", ":")) + "\n")
    write_atomically(made.study, (shipped("manifests") / "demo.toml").read_bytes())
    return made


def _drawn(photographs: Sequence[Photograph], images: Path, *, seed: int, progress: Progress) -> Iterator[Json]:
    """Draw the photographs one by one; yield the export row of each once its file is there."""
    rows = Rows(seed)
    for each in photographs:
        progress("drawing photographs", each.index, len(photographs))
        rng = default_rng([seed, each.index])
        picture = photograph(rng, each.class_names, fitzpatrick=each.patient.fitzpatrick)
        write_atomically(images / each.name, picture.jpeg)
        yield rows.row(default_rng([seed, _LABELS, each.index]), each, picture.boxes)
    progress("drawing photographs", len(photographs), len(photographs))
