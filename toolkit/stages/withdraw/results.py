"""A patient's cases removed from the files of splits and runs, and their certificates sealed again."""

import shutil
from collections import Counter
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from toolkit.errors import LeakError
from toolkit.files import read_parquet, write_parquet
from toolkit.workspace.certificate import (
    Certified,
    counted,
    read_certificate,
    read_rows,
    shares_of,
    split_folders,
    write_sealed,
)
from toolkit.workspace.patient_links import PatientLink, reasons
from toolkit.workspace.registry import Workspace
from toolkit.workspace.restore import note_split, split_time
from toolkit.workspace.results import AS_OF, OPEN
from toolkit.workspace.runs import PLAIN_CONTROL, RunRecord, comparison_file, forget_missing_predictions, records
from toolkit.workspace.verification import verify

NEW = ".new-"
"""Starts the name of a split's folder while it is written anew."""


def split_cases(workspace: Workspace) -> dict[str, list[Certified]]:
    """Return the cases of every split, from its file."""
    return {folder.name: read_rows(folder) for folder in split_folders(workspace)}


def check_splits(workspace: Workspace) -> None:
    """Finish what an interruption left, and refuse a certificate that does not hold: it must not be sealed again."""
    for new in sorted((workspace.folder / "splits").glob(f"{NEW}*")):
        try:
            verify(new)
        except LeakError:
            shutil.rmtree(new)
        else:
            split_id = new.name.removeprefix(NEW)
            note_split(workspace, split_id, split_time(workspace, split_id), folder=new)
            _put(new)
    for folder in split_folders(workspace):
        verify(folder)


def clean_splits(workspace: Workspace, persons: Container[str], cases: set[str], *, date: str) -> None:
    """Remove a patient's cases from every split, count anew and seal again; a split left without cases is deleted."""
    for folder in split_folders(workspace):
        rows = read_rows(folder)
        kept = [row for row in rows if row.patient_id not in persons and row.case_id not in cases]
        if not kept:
            shutil.rmtree(folder)
        elif len(kept) < len(rows):
            new = folder.with_name(f"{NEW}{folder.name}")
            made = split_time(workspace, folder.name)
            _write(folder, new, kept, withdrawn={"cases": len(rows) - len(kept), "date": date})
            note_split(workspace, folder.name, made, folder=new)  # first: a rerun puts it into place
            _put(new)


def _put(new: Path) -> None:
    """Put a split's new folder in the place of the old one."""
    old = new.with_name(new.name.removeprefix(NEW))
    shutil.rmtree(old, ignore_errors=True)
    new.rename(old)


def _write(old: Path, new: Path, kept: list[Certified], *, withdrawn: dict[str, Any]) -> None:
    """Write a split's new folder; a group is named after the first of its cases that stay."""
    first: dict[str, str] = {}
    for row in kept:
        first[row.group_id] = min(row.case_id, first.get(row.group_id, row.case_id))
    rows = [row._replace(group_id=first[row.group_id]) for row in kept]
    stated = read_certificate(old)
    classes = list(next(iter(stated["counts"].values())))
    stated |= counted(rows, shares_of(stated["strata"]), classes, minimum=stated["minimum"])
    stated |= _links_of(stated, {row.patient_id for row in rows})
    stated["withdrawn"] = [*stated.get("withdrawn", []), withdrawn]
    write_sealed(new, stated, rows)


def _links_of(stated: dict[str, Any], patients: set[str]) -> dict[str, Any]:
    """Return the certificate's links and incidents in which no other patient than those who stay takes part."""
    links = [PatientLink(**link) for link in stated["links"]]
    kept = [link for link in links if {link.patient_id, link.other_patient_id} <= patients]
    remaining = {"links": [link._asdict() for link in kept], "reasons": reasons(kept, patients)}
    if "frozen" in stated:
        incidents = [each for each in stated["frozen"]["incidents"] if set(each["patients"]) <= patients]
        remaining["frozen"] = {**stated["frozen"], "incidents": incidents, "gone": []}
    return remaining


def shards(workspace: Workspace) -> Iterator[tuple[str, Path]]:
    """Yield every file of predictions with its run."""
    for path in sorted((workspace.folder / "runs").glob("*/predictions/*.parquet")):
        if not path.name.startswith("."):
            yield path.parent.parent.name, path


def predictions_of(workspace: Workspace, cases: set[str]) -> dict[str, int]:
    """Return how many predictions of these cases each run holds; runs without any are left out."""
    counts: Counter[str] = Counter()
    for run_id, path in shards(workspace):
        counts[run_id] += sum(case_id in cases for case_id in predicted_cases(path))
    return dict(+counts)


def predicted_cases(path: Path) -> list[str]:
    """Return the cases that a file of predictions is about."""
    return read_parquet(path)["case_id"].to_pylist()


def runs_on(workspace: Workspace, splits: set[str]) -> list[str]:
    """Return the runs that were trained on, or watched, cases of these splits, and those that started from them.

    An input ablation was not trained, and a run of another workspace not here.
    """
    records = _records(workspace)
    own = {
        run_id
        for run_id, record in records.items()
        if record.split_id in splits
        and (record.was_trained or record.control == PLAIN_CONTROL)
        and not record.external_of
    }
    while later := {run_id for run_id, record in records.items() if record.started_from in own} - own:
        own |= later
    return sorted(own)


def _records(workspace: Workspace) -> dict[str, RunRecord]:
    return {record.run_id: record for record in records(workspace)}


def clean_runs(workspace: Workspace, cases: set[str]) -> None:
    """Remove cases from the predictions; scores that rest on them go first, so that none can outlive them.

    Where the photographs were shuffled, the prediction of another case may rest on theirs: all predictions go.
    """
    concerned = set(predictions_of(workspace, cases))
    for run_id in concerned:
        beside = (workspace.folder / "runs").glob(f"*/{comparison_file(workspace, '*', run_id).name}")
        for path in [*workspace.run(run_id).glob("*.parquet"), workspace.run(run_id) / OPEN, *beside]:
            path.unlink(missing_ok=True)
        shutil.rmtree(workspace.run(run_id) / AS_OF, ignore_errors=True)
    shuffled = {run_id for run_id, record in _records(workspace).items() if record.control == "shuffled"}
    for run_id, path in shards(workspace):
        table = read_parquet(path)
        kept = table.filter(pa.array([case_id not in cases for case_id in table["case_id"].to_pylist()]))
        if not kept.num_rows or run_id in shuffled & concerned:
            path.unlink()
        elif kept.num_rows < table.num_rows:
            write_parquet(path, kept)
    for run_id in concerned:
        forget_missing_predictions(workspace, run_id)
