"""Predictions of another model, read from a file, as a run of their own: no checkpoint, no photograph, no torch.

What it was trained on nobody here can tell. The file itself is not kept, only its digest: what is stored of it is by
case, and leaves with the case's patient.
"""

import math
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from toolkit.errors import PredictionsError, WorkspaceError
from toolkit.files import short_id, write_parquet
from toolkit.manifest import Study
from toolkit.prediction_files import forms, numerals
from toolkit.prediction_files.columns import Columns, columns_of
from toolkit.prediction_files.faults import Faults
from toolkit.prediction_files.forms import Asked, CasePrediction, FilePredictions
from toolkit.prediction_files.numerals import Scale
from toolkit.prediction_files.tables import PredictionTable, read_table
from toolkit.privacy import scrub
from toolkit.progress import Progress, silent
from toolkit.stages.predict import keys
from toolkit.stages.predict.keys import Found
from toolkit.workspace import sql
from toolkit.workspace.locks import beside_others
from toolkit.workspace.registry import Workspace, insert, table_schema
from toolkit.workspace.runs import (
    PredictedPart,
    RecordedModel,
    RunRecord,
    find_split,
    now,
    record_predictions,
    record_run,
)
from toolkit.workspace.sources import FROM_FILE, UNTOLD, PredictionSource
from toolkit.workspace.verification import certified_split

PARTS = ("validation", "test", "external")
LONGEST_NAME = 120
YES, NO = ("1", "1.0", "true", "yes", "positive", "malignant"), ("0", "0.0", "false", "no", "negative", "benign")
"""How files name the malignant one of two classes, and the other."""
AGAIN = "put the file right, then run the same command again: nothing was stored"
ALONE = f"{AGAIN}; if each class has a score by itself, say --numbers scores"


@dataclass(frozen=True)
class PredictionsRead:
    """What a file of predictions was taken for, and what became of its rows."""

    run_id: str
    split_id: str
    model: str
    source: str
    sha256: str
    rows: int
    knows: str
    scale: str
    key: str
    columns: dict[str, str]
    """What each column that was read was taken for."""
    unread: list[str]
    """Columns that were not read."""
    cases: dict[str, int]
    """Predicted cases by part."""
    missing: dict[str, int]
    """Cases of these parts without a prediction."""
    not_covered: list[str]
    """Parts of the split of which the file holds no case."""
    elsewhere: dict[str, int]
    """Rows of cases in other parts, or in none: they are not stored."""
    unknown: int
    without_case: int
    lacking: list[str]
    """Classes that the file has no probabilities of."""
    unmapped: dict[str, int]
    """Cases left out since their reference diagnosis is such a class."""
    notes: list[str]
    leakage: str = UNTOLD
    stored_now: list[str] = field(default_factory=list)
    """Parts whose predictions are new or changed."""
    scores_are_older: bool = False


class _Read(NamedTuple):
    """What was read of a file: its cells, which column is what, the case of each row, the predictions."""

    table: PredictionTable
    columns: Columns
    found: Found
    told: FilePredictions


class _Sorted(NamedTuple):
    """The predictions of a file by part."""

    parts: dict[str, list[tuple[str, CasePrediction]]]
    missing: dict[str, int]
    not_covered: list[str]
    elsewhere: dict[str, int]
    unmapped: dict[str, Counter[str]]


def predict_from(  # noqa: PLR0913 - the stage's inputs
    workspace: Workspace,
    study: Study,
    file: Path,
    *,
    model_name: str,
    part: str | None = None,
    numbers: Scale | None = None,
    skip_unknown: bool = False,
    progress: Progress = silent,
) -> PredictionsRead:
    """Store a file's predictions as a run; raise PredictionsError with all its faults at once, and store nothing then.

    `part` is the subset to take, else validation, test and external as far as split and file have them. `numbers` says
    what the file's numbers are where that cannot be told; with `skip_unknown` rows that name nothing here are left out.
    """
    model, split_id = _checked_name(model_name), find_split(workspace)
    certified_split(workspace, split_id)
    progress("reading the predictions", 0, None)
    faults = Faults()
    table = read_table(file, faults)
    asked = _asked(study, numbers)
    columns = columns_of(table, asked.meaning, model=model, two_classes=len(study.classes) == 2)
    progress("finding the cases", 0, None)
    found = keys.find(workspace, table, columns.read, faults, skip_unknown=skip_unknown)
    read = _Read(table, columns, found, _predictions(table, columns, found, asked, faults))
    _note_doubles(read, faults)
    off = any(kind.startswith(numerals.OFF) for kind in faults.kinds)
    faults.check(file, rows=table.total, remedy=ALONE if off else AGAIN)
    ordered = _by_part(workspace, split_id, part, read)
    record = _record(workspace, study, split_id, model, read)
    with beside_others(workspace.folder, f"run-{record.run_id}", "predict", progress=progress):
        record_run(workspace, record)
        progress("storing the predictions", 0, None)
        stored = _store(workspace, study, record.run_id, read.told, ordered)
    return _summary(workspace, record, read, ordered, stored)


def _checked_name(name: str) -> str:
    """Return a model's name; refuse one that is empty, too long, or no text that a page can show."""
    text = unicodedata.normalize("NFC", name.strip())
    fault = ""
    if not text:
        fault = "is empty"
    elif len(text) > LONGEST_NAME:
        fault = f"has {len(text)} characters, and {LONGEST_NAME} are the most"
    elif any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text):
        fault = "holds control characters"
    if fault:
        raise PredictionsError(f"the model's name {fault}", place="--model-name", remedy="give it a short plain name")
    return text


def _asked(study: Study, numbers: Scale | None) -> Asked:
    """Return how texts are meant: the study's classes, its [external] classes, and yes or no where that is plain."""
    mapped = {name: [theirs] if isinstance(theirs, str) else theirs for name, theirs in study.external.classes.items()}
    own = {_plain(text): name for name, theirs in mapped.items() for text in theirs}
    malignant = [each.name for each in study.classes if each.malignant]
    positive = malignant[0] if len(study.classes) == 2 and len(malignant) == 1 else None
    if positive:
        negative = next(name for name in study.class_names if name != positive)
        own = {**dict.fromkeys(YES, positive), **dict.fromkeys(NO, negative), **own}

    def meaning(text: str) -> str | None:
        normal = unicodedata.normalize("NFC", text)
        return study.class_of(normal) or own.get(_plain(normal))

    return Asked(study.class_names, meaning, positive, numbers)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _predictions(
    table: PredictionTable, columns: Columns, found: Found, asked: Asked, faults: Faults
) -> FilePredictions:
    if columns.classes:
        return forms.wide(table, columns, asked, faults)
    return forms.listed(table, columns, found.cases, asked, faults)


def _note_doubles(read: _Read, faults: Faults) -> None:
    first: dict[str, int] = {}
    for case in read.told.cases:
        case_id = read.found.cases[case.place]
        if case_id is not None and first.setdefault(case_id, case.place) != case.place:
            says = f"as row {read.table.numbers[first[case_id]]}"
            faults.add("a case stands twice", read.table.numbers[case.place], says)


def _by_part(workspace: Workspace, split_id: str, part: str | None, read: _Read) -> _Sorted:
    """Sort the predictions by part; raise PredictionsError where the file holds no case that is asked for."""
    rows = workspace.rows(sql.statement("predict/split_cases"), {"split_id": split_id})
    part_of, truth = {row["case_id"]: row["part"] for row in rows}, {row["case_id"]: row["class_name"] for row in rows}
    there = [name for name in PARTS if name in part_of.values()]
    wanted = [name for name in there if part in (None, name)]
    if not wanted:
        raise WorkspaceError(
            f"the split has no part {part or 'validation, test or external'}",
            place=f"split {split_id}",
            remedy=f"its parts are: {', '.join(sorted(set(part_of.values())))}",
        )
    parts: dict[str, list[tuple[str, CasePrediction]]] = {name: [] for name in wanted}
    elsewhere: Counter[str] = Counter()
    unmapped: dict[str, Counter[str]] = {name: Counter() for name in wanted}
    for case in read.told.cases:
        case_id = read.found.cases[case.place]
        own = part_of.get(case_id or "", "no subset")
        if case_id is None:
            continue
        if own not in parts:
            elsewhere[own] += 1
        elif truth[case_id] in read.told.lacking:
            unmapped[own][truth[case_id]] += 1
        else:
            parts[own].append((case_id, case))
    covered = {name: sorted(cases) for name, cases in parts.items() if cases}
    if not covered:
        others = ", ".join(f"{name} {count}" for name, count in elsewhere.items()) or "none of this split"
        raise PredictionsError(
            f"the file holds no case of: {', '.join(wanted)}; its rows are of: {others}",
            place=str(read.table.path),
            remedy="give --part, or predictions of these cases",
        )
    of_part = Counter(part_of.values())
    missing = {name: of_part[name] - len(cases) - unmapped[name].total() for name, cases in covered.items()}
    not_covered = [name for name in wanted if name not in covered]
    return _Sorted(covered, missing, not_covered, dict(elsewhere), {name: unmapped[name] for name in covered})


def _record(workspace: Workspace, study: Study, split_id: str, model: str, read: _Read) -> RunRecord:
    """Return the record of the run; file, name, split, classes and the scale of the numbers determine its ID."""
    table, told = read.table, read.told
    state = workspace.rows("select truth_id, key_fingerprint from label_states")[0]
    classes = [study.digest("classes"), study.external.model_dump(mode="json")]
    source = PredictionSource(
        name=_source_name(table.path),
        sha256=table.sha256,
        rows=len(table.rows),
        knows=told.knows,
        scale=told.scale,
        notes=[*table.notes, *told.notes],
        key=keys.described(read.found),
    )
    return RunRecord(
        run_id=short_id([FROM_FILE, table.sha256, model, split_id, classes, told.scale]),
        split_id=split_id,
        truth_id=state["truth_id"],
        model=RecordedModel(name=model, device="elsewhere", backend=FROM_FILE),
        train_cases=0,
        train_patients=0,
        epochs=[],
        seconds=0.0,
        finished_at=now(),
        study=study.model_dump(mode="json", include={"study": True, "classes": True, "ingest": True})
        | {"ingest": study.ingest.model_dump(mode="json", exclude={"annotator"})},
        toolkit=version("lesion-toolkit"),
        split_seal=certified_split(workspace, split_id)["seal"],
        key_fingerprint=state["key_fingerprint"],
        source=source,
    )


def _source_name(path: Path) -> str:
    """Return a file's name as it may be stored: one line, no e-mail address, not too long."""
    text = "".join(one if one.isprintable() and unicodedata.category(one) != "Cs" else "?" for one in path.name)
    return scrub(text)[:LONGEST_NAME]


def _store(workspace: Workspace, study: Study, run_id: str, told: FilePredictions, ordered: _Sorted) -> list[str]:
    """Write the predictions of each part and mirror them in the registry; return the parts that changed."""
    answers = [(name, name) for name in study.class_names if name not in told.lacking]
    files, made, tables = {}, {}, {}
    for part, cases in ordered.parts.items():
        rows = [_row(run_id, part, case_id, case, told) for case_id, case in cases]
        path = workspace.run(run_id) / "predictions" / f"{part}-00000-{short_id(rows)}.parquet"
        files[part] = [path.name]
        made[part] = PredictedPart(views=1, generate=False, answers=answers, unmapped=dict(ordered.unmapped[part]))
        if not path.exists():
            tables[part] = pa.Table.from_pylist(rows, schema=table_schema("predictions"))
            write_parquet(path, tables[part])
    if not tables and _is_mirrored(workspace, run_id, ordered):
        return []
    record_predictions(workspace, run_id, files, made)
    for part, (name,) in files.items():
        for path in (workspace.run(run_id) / "predictions").glob(f"{part}-*.parquet"):
            if path.name != name:
                path.unlink()
    with workspace.writing() as connection:
        for part, cases in ordered.parts.items():
            rows = [_row(run_id, part, case_id, case, told) for case_id, case in cases]
            connection.execute("delete from predictions where run_id = ? and part = ?", [run_id, part])
            insert(connection, "predictions", pa.Table.from_pylist(rows, schema=table_schema("predictions")))
    return list(tables)


def _is_mirrored(workspace: Workspace, run_id: str, ordered: _Sorted) -> bool:
    rows = workspace.rows(
        "select part, count(*) as cases from predictions where run_id = $run_id group by part", {"run_id": run_id}
    )
    counts = {row["part"]: row["cases"] for row in rows}
    return all(counts.get(part) == len(cases) for part, cases in ordered.parts.items())


def _row(run_id: str, part: str, case_id: str, case: CasePrediction, told: FilePredictions) -> dict[str, Any]:
    """Return a row of `predictions`; a class of probability 0 can be said, one without probabilities cannot."""
    logarithms = [(name, math.log(max(value, 5e-324))) for name, value in case.probabilities.items()]
    return {
        "run_id": run_id,
        "part": part,
        "case_id": case_id,
        "predicted": case.predicted,
        "confidence": case.probabilities[case.predicted],
        "label_mass": 1.0,
        "probabilities": [*case.probabilities.items(), *((name, 0.0) for name in told.lacking)],
        "log_likelihoods": [*logarithms, *((name, -math.inf) for name in told.lacking)],
        **dict.fromkeys(("wordings", "normalised", "generated", "generated_class")),
    }


def _summary(
    workspace: Workspace, record: RunRecord, read: _Read, ordered: _Sorted, stored: list[str]
) -> PredictionsRead:
    table, columns, found, told = read
    taken = {table.columns[place]: f"probability of {name}" for place, name in columns.classes.items()}
    taken |= {table.columns[place]: "probability of a class that the study lacks" for place in columns.foreign}
    taken |= {table.columns[place]: "class" for place in [told.named] if place is not None}
    taken |= {table.columns[place]: "probability" for place in [columns.probability] if place is not None}
    source = record.source
    scored = workspace.rows("select 1 from scores where run_id = $run_id limit 1", {"run_id": record.run_id})
    return PredictionsRead(
        run_id=record.run_id,
        split_id=record.split_id,
        model=record.model.name,
        source=source.name if source else "",
        sha256=table.sha256,
        rows=len(table.rows),
        knows=told.knows,
        scale=told.scale,
        key=keys.described(found),
        columns=taken,
        unread=[name for name in table.columns if name not in taken and name != found.column],
        cases={part: len(cases) for part, cases in ordered.parts.items()},
        missing={part: count for part, count in ordered.missing.items() if count},
        not_covered=ordered.not_covered,
        elsewhere=ordered.elsewhere,
        unknown=found.unknown,
        without_case=found.without_case,
        lacking=told.lacking,
        unmapped=dict(sum(ordered.unmapped.values(), Counter())),
        notes=[*table.notes, *told.notes],
        stored_now=stored,
        scores_are_older=bool(stored and scored),
    )
