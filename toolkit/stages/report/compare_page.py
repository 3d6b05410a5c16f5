"""How two runs on the same cases become a page: differences, and which cases were fixed and which broken.

Refuses to compare: what is shown is what `toolkit compare` recorded, and what both runs predicted.
"""

from dataclasses import dataclass
from typing import Any

from toolkit.files import csv_text
from toolkit.formatting import support
from toolkit.manifest import Study
from toolkit.progress import Progress, silent
from toolkit.stages.report import embedded_data, layout, put_beside
from toolkit.stages.report.asked import QueryReference, written_out
from toolkit.stages.report.bundle import renewed, write_all
from toolkit.stages.report.dictionary import with_dictionary
from toolkit.stages.report.facts import PARTS
from toolkit.stages.report.index_page import write_index
from toolkit.stages.report.thumbnails import thumbnails
from toolkit.workspace import sql
from toolkit.workspace.registry import Workspace

OUTCOMES = [("broken", "broken"), ("fixed", "fixed"), ("both_wrong", "both wrong"), ("both_right", "both right")]
SIDES = ("truth", "before", "after")
COLUMNS = (
    "case_id", "part", "patient_id", "truth", "outcome", "before", "confidence_before", "after", "confidence_after",
)  # fmt: skip


@dataclass(frozen=True)
class ComparePage:
    """Where the page of a comparison and its files stand."""

    page: str
    files: list[str]


def compare_page(
    workspace: Workspace, study: Study, run_id: str, other_run_id: str, *, progress: Progress = silent
) -> ComparePage:
    """Write the page of two runs that were compared, and its CSV files."""
    key = {"run_id": run_id, "other_run_id": other_run_id}
    differences = workspace.rows(sql.statement("report/differences"), key)
    cases = _cases(workspace, run_id, other_run_id)
    classes = [*study.class_names, *sorted({c[side] for c in cases for side in SIDES} - set(study.class_names))]
    parts = [part for part in PARTS if any(case["part"] == part for case in cases)]
    folder = workspace.reports / f"{run_id}-to-{other_run_id}"
    inlined = sum(case["outcome"] != "both_right" for case in cases) <= study.report.gallery
    with renewed(folder) as new:
        made = thumbnails(cases, margin=study.model.roi_margin, crops_only=False, progress=progress)
        taken = [shot if inlined else put_beside(new, shot) for shot in made]
        shown = embedded_data.EmbeddedContext(
            classes=classes,
            malignant={c.name for c in study.classes if c.malignant},
            parts=parts,
            outcomes=OUTCOMES,
            costs=study.report.costs,
            inline=inlined,
            name=f"{run_id}-to-{other_run_id}",
        )
        tables = {
            "comparison.csv": csv_text(list(differences[0]), (row.values() for row in differences)),
            "cases.csv": csv_text(COLUMNS, ([case[name] for name in COLUMNS] for case in cases)),
        }
        facts = {**key, "differences": differences, "parts": parts, "counts": _counts(cases, parts)}
        page = _render(study, facts, embedded_data.document(shown, cases, taken), inlined=inlined)
        contents = {"index.html": page, **with_dictionary(tables, classes)}
        write_all(new, contents)
    write_index(workspace, study)
    return ComparePage(str(folder / "index.html"), [str(folder / name) for name in contents])


def _cases(workspace: Workspace, run_id: str, other_run_id: str) -> list[dict[str, Any]]:
    """Return the cases that both runs predicted in the same part, broken ones first."""
    first = {
        (row["part"], row["case_id"]): row for row in workspace.rows(sql.statement("report/cases"), {"run_id": run_id})
    }
    found = []
    for row in workspace.rows(sql.statement("report/cases"), {"run_id": other_run_id}):
        if before := first.get((row["part"], row["case_id"])):
            pair = {"before": before["predicted"], "after": row["predicted"]}
            sure = {"confidence_before": before["confidence"], "confidence_after": row["confidence"]}
            outcome = _outcome(row["truth"], **pair)
            chances = {"probabilities": dict(row["probabilities"]), "groups": []}
            found.append({**row, **chances, **pair, **sure, "outcome": outcome})
    places = {name: place for place, (name, _) in enumerate(OUTCOMES)}
    return sorted(found, key=lambda case: places[case["outcome"]])


def _outcome(truth: str, *, before: str, after: str) -> str:
    if (before == truth) == (after == truth):
        return "both_right" if after == truth else "both_wrong"
    return "fixed" if after == truth else "broken"


def _counts(cases: list[dict[str, Any]], parts: list[str]) -> dict[tuple[str, str], str]:
    """Return how many cases of how many patients had each outcome, by part."""
    found = {}
    for part in parts:
        for outcome, _ in OUTCOMES:
            own = [case for case in cases if (case["part"], case["outcome"]) == (part, outcome)]
            found[part, outcome] = support(len(own), len({case["patient_id"] for case in own}))
    return found


def _render(study: Study, facts: dict[str, Any], text: str, *, inlined: bool) -> bytes:
    from markupsafe import Markup  # noqa: PLC0415 - needed only to render

    key = {name: facts[name] for name in ("run_id", "other_run_id")}
    query = QueryReference(
        f"toolkit query comparison --set run={key['run_id']} --set other={key['other_run_id']}",
        written_out(sql.statement("report/differences"), **key),
    )
    return layout.render(
        "compare.html.j2",
        scripts=("layout.js", "gallery.js"),
        beside=not inlined,
        study=study.study,
        costs=study.report.costs,
        outcomes=OUTCOMES,
        query=query,
        island=Markup(text),  # noqa: S704 - JSON in which no "<" stands
        **facts,
    )
