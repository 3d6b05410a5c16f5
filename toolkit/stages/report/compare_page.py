"""The page of two runs that were compared: their differences, and which cases were fixed and which broken."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.csv_files import sheet_text
from toolkit.files import PRIVATE
from toolkit.formatting import counted_by, support
from toolkit.manifest import Study
from toolkit.privacy import PseudonymKey
from toolkit.progress import Progress, silent
from toolkit.stages.report import layout
from toolkit.stages.report.bundle import write_page
from toolkit.stages.report.case_details import read_details
from toolkit.stages.report.cases import ReportCase, first_of_each, read_cases
from toolkit.stages.report.embedded_data import EmbeddedContext, document
from toolkit.stages.report.layout import GALLERY
from toolkit.stages.report.table_queries import question, statement
from toolkit.stages.report.tables import csv_of
from toolkit.stages.report.thumbnails import Pictures, thumbnails
from toolkit.workspace import sql
from toolkit.workspace.locks import one_at_a_time
from toolkit.workspace.registry import Workspace
from toolkit.workspace.scores import PARTS, seed_differences

OUTCOMES = [("broken", "broken"), ("fixed", "fixed"), ("both_wrong", "both wrong"), ("both_right", "both right")]


@dataclass(frozen=True)
class ComparePage:
    """Where the page of a comparison and its files stand."""

    page: str
    files: list[str]


@one_at_a_time("compare")
def compare_page(
    workspace: Workspace,
    study: Study,
    run_id: str,
    other_run_id: str,
    *,
    key: PseudonymKey | None = None,
    progress: Progress = silent,
) -> ComparePage:
    """Write the page of two runs that were compared, and its CSV files; with the key it also names photographs."""
    known = workspace.rows("select patient_from <> 'none' as known from label_states")[0]["known"]
    with counted_by(patients_known=known):
        return _written(workspace, study, (run_id, other_run_id), key, progress)


def _written(
    workspace: Workspace, study: Study, runs: tuple[str, str], key: PseudonymKey | None, progress: Progress
) -> ComparePage:
    run_id, other_run_id = runs
    name = f"{run_id}-to-{other_run_id}"
    differences = workspace.rows(sql.statement("report/differences"), {"run_id": run_id, "other_run_id": other_run_id})
    seeds = seed_differences(workspace, run_id, other_run_id, dict.fromkeys(row["part"] for row in differences))
    cases = _cases(workspace, run_id, other_run_id)
    shown = _shown(cases)
    seen = {class_name for case in cases for class_name in (case.truth, case.before or "", case.predicted)}
    context = EmbeddedContext(
        classes=[*study.class_names, *sorted(seen - set(study.class_names))],
        malignant={c.name for c in study.classes if c.malignant},
        parts=[part for part in PARTS if any(case.part == part for case in cases)],
        outcomes=OUTCOMES,
        costs=study.report.costs,
        name=name,
        limited=len(shown) < len(cases),
    )
    tables = {"comparison.csv": csv_of(tuple(differences[0]), differences), "cases.csv": _cases_csv(cases)}
    if seeds:
        tables["seeds.csv"] = csv_of(tuple(seeds[0]), seeds)
    details = read_details(workspace, study, [case.case_id for case in shown], key)
    one_file = sum(case.outcome != "both_right" for case in shown) <= study.report.gallery

    def rendered(folder: Path) -> dict[str, bytes]:
        wanted = Pictures(study.model.roi_margin, beside=None if one_file else folder, enlarged=folder, mode=PRIVATE)
        pictures = thumbnails(shown, wanted, progress=progress)
        values = {
            "run_id": run_id,
            "other_run_id": other_run_id,
            "differences": differences,
            "seeds": seeds,
            "parts": context.parts,
            "counts": _counts(cases, context.parts),
            "embedded": document(context, shown, pictures, details),
            "limited": context.limited,
            "shown": len(shown),
            "cases": len(cases),
        }
        return {"index.html": _render(study, values)}

    files = write_page(workspace, study, name, tables, rendered, classes=context.classes)
    return ComparePage(files[0], files)


def _cases(workspace: Workspace, run_id: str, other_run_id: str) -> list[ReportCase]:
    """Return the cases that both runs predicted in the same part, broken ones first."""
    first = {(case.part, case.case_id): (case.predicted, case.confidence) for case in read_cases(workspace, run_id)}
    cases = [
        case._replace(before=before[0], confidence_before=before[1])
        for case in read_cases(workspace, other_run_id)
        if (before := first.get((case.part, case.case_id)))
    ]
    places = {name: place for place, (name, _) in enumerate(OUTCOMES)}
    return sorted(cases, key=lambda case: places[case.outcome])


def _shown(cases: list[ReportCase]) -> list[ReportCase]:
    """Return what a page can hold: as many of each outcome in each part."""
    numbers: dict[tuple[str, str], int] = {}
    cells = [numbers.setdefault((case.part, case.outcome), len(numbers)) for case in cases]
    return [cases[number] for number in first_of_each(np.array(cells, dtype=int))]


def _cases_csv(cases: list[ReportCase]) -> str:
    about = ("case_id", "part", "patient_id", "truth", "outcome", "before", "confidence_before")
    rows = ([*(getattr(case, name) for name in about), case.predicted, case.confidence] for case in cases)
    return sheet_text([*about, "after", "confidence_after"], rows)


def _counts(cases: list[ReportCase], parts: list[str]) -> dict[tuple[str, str], str]:
    """Return how many cases of how many patients had each outcome, by part."""
    counts = {}
    for key in ((part, outcome) for part in parts for outcome, _ in OUTCOMES):
        patients = [case.patient_id for case in cases if (case.part, case.outcome) == key]
        counts[key] = support(len(patients), len(set(patients)))
    return counts


def _render(study: Study, values: dict[str, Any]) -> bytes:
    key = {name: values[name] for name in ("run_id", "other_run_id")}
    command = f"toolkit query comparison --set run={key['run_id']} --set other={key['other_run_id']}"
    return layout.render(
        "compare.html.j2",
        scripts=GALLERY,
        beside=True,
        study=study.study,
        costs=study.report.costs,
        outcomes=OUTCOMES,
        query=statement("report/differences", command, **key),
        seed_queries=[
            question("seed_differences", run=key["run_id"], other=key["other_run_id"], part=part)
            for part in dict.fromkeys(row["part"] for row in values["seeds"])
        ],
        **values,
    )
