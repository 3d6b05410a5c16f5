"""The sample study: synthetic photographs, their Labelbox export, a study file, and a sheet with the right answers.

It has three stages, as a study has: a first round of labels, a round of review, and a quarter more patients.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import msgspec
from numpy.random import default_rng

from toolkit.csv_files import csv_lines
from toolkit.errors import ToolkitError
from toolkit.files import OPEN, write_atomically, written_atomically
from toolkit.progress import Progress, silent
from toolkit.shipped import shipped
from toolkit.synthetic.annotators import read
from toolkit.synthetic.answer_sheet import AnswerSheet, LesionRecord, Planted, Skill
from toolkit.synthetic.cameras import take
from toolkit.synthetic.copies import copied
from toolkit.synthetic.plan import PlannedPhotograph, Stage, blocks, plan
from toolkit.synthetic.planting import plant
from toolkit.synthetic.rendering import render
from toolkit.synthetic.rows import Rows

PINNED = (7, 980, 1)
"""Seed, cases and stage of the sample whose split ships with the toolkit."""

__all__ = ["Sample", "sample"]


@dataclass(frozen=True)
class Sample:
    """Where a sample study stands, how large it is, and how often each kind of fault and change is planted in it."""

    folder: Path
    export: Path
    images: Path
    study: Path
    truth: Path
    photographs: int
    people: int
    seed: int
    stage: int
    planted: dict[str, int]


def sample(
    folder: Path,
    *,
    cases: int = 980,
    seed: int = 7,
    stage: Stage = 1,
    photographs: bool = True,
    progress: Progress = silent,
) -> Sample:
    """Make a sample study in `folder`: images/, export.ndjson, study.toml, truth/; the same seed gives the same bytes.

    `cases` counts the labelled lesions of the first stage. The export is the same without photographs, and memory does
    not grow with it. Raises ToolkitError where the folder holds anything already.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ToolkitError("the folder is not empty", place=str(folder), remedy="name a new folder for the sample")
    images, truth = folder / "images", folder / "truth"
    rows = Rows(seed, stage, cases=cases)
    sheet = AnswerSheet(rows)
    done, total = 0, sum(block.cases for block in blocks(cases, stage))
    activity = "generating cases" if photographs else "writing cases"
    with ExitStack() as files:
        export = _opened(files, folder / "export.ndjson")
        planted = _opened(files, truth / "planted.csv", Planted._fields)
        lesions = _opened(files, truth / "lesions.csv", LesionRecord._fields)
        for photograph in _planned(seed, cases, stage):
            progress(activity, done, total)
            if photographs:
                write_atomically(images / photograph.name, _jpeg(photograph, images, seed=seed), mode=OPEN)
            export.write(msgspec.json.encode(rows.row(photograph)).decode() + "\n")
            planted.write(csv_lines(sheet.planted(photograph)))
            lesions.write(csv_lines(sheet.lesions(photograph)))
            done += photograph.labelled if photograph.state == "labelled" else 0
        progress(activity, done, total)
        _opened(files, truth / "annotators.csv", Skill._fields).write(csv_lines(sheet.annotators()))
    _write_study(folder, pinned=(seed, cases, stage) == PINNED)
    return Sample(
        folder=folder,
        export=folder / "export.ndjson",
        images=images,
        study=folder / "study.toml",
        truth=truth,
        photographs=sheet.photographs,
        people=len(sheet.people),
        seed=seed,
        stage=stage,
        planted=dict(sorted(sheet.planted_by_kind.items())),
    )


def _write_study(folder: Path, *, pinned: bool) -> None:
    """Write the study file; the split that ships with it is that of one sample only."""
    lines = (shipped("manifests") / "demo.toml").read_text(encoding="utf-8").splitlines(keepends=True)
    text = "".join(line for line in lines if pinned or not line.startswith("pinned = "))
    write_atomically(folder / "study.toml", text.encode(), mode=OPEN)
    for path in sorted((shipped("manifests") / "demo.split").iterdir()) if pinned else ():
        write_atomically(folder / "demo.split" / path.name, path.read_bytes(), mode=OPEN)


def _opened(files: ExitStack, path: Path, columns: tuple[str, ...] = ()) -> TextIO:
    """Open a file that is renamed into its place when all are written; it begins with the names of its columns."""
    temporary = files.enter_context(written_atomically(path, mode=OPEN))
    file = files.enter_context(temporary.open("w", encoding="utf-8", newline="\n"))
    file.write(csv_lines([columns] if columns else []))
    return file


def _planned(seed: int, cases: int, stage: Stage) -> Iterator[PlannedPhotograph]:
    """Yield the photographs of every block up to a stage, with their readings and faults."""
    first = 0
    for block in blocks(cases, stage):
        photographs = plan(seed, block, first=first)
        rng = default_rng([seed, 5, block.number])
        read(rng, photographs)
        plant(rng, photographs, cases=block.cases)
        yield from photographs
        first += len(photographs)


def _jpeg(photograph: PlannedPhotograph, images: Path, *, seed: int) -> bytes:
    if photograph.other and photograph.copy:
        return copied((images / photograph.other.name).read_bytes(), photograph.copy)
    rng = default_rng([seed, 0, photograph.index])
    return take(rng, render(rng, photograph, seed=seed), photograph)
