"""The page of a study's progress: what was labelled when and by whom, what is left, agreement, outcomes of queues."""

from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np

from toolkit.formatting import counted_by
from toolkit.manifest import Study
from toolkit.progress import Progress, silent
from toolkit.stages.report import layout
from toolkit.stages.report import progress_charts as charts
from toolkit.stages.report.bundle import digest_of_page, kept_page, write_page
from toolkit.stages.report.figures import Drawing, inline
from toolkit.stages.report.table_queries import TableQuery, statement
from toolkit.stages.report.tables import csv_of
from toolkit.stats.intervals import TOO_FEW, Share, clustered_wilson
from toolkit.workspace import sql
from toolkit.workspace.locks import one_at_a_time
from toolkit.workspace.registry import Workspace

WEEKS, MONTHS = 53, 120
"""Up to so many weeks weeks are shown, and up to so many months months."""
MOST = 500
"""Rows of a table on the page; its CSV file has all."""
COLUMNS = {
    "labels": ("period", "annotator", "labels", "skipped", "verdicts", "photographs"),
    "left": ("state", "reason", "class_name", "cases", "patients"),
    "agreement": ("period", "agreement", "low", "high", "pairs", "cases", "patients", "too_few"),
    "queues": ("queue_id", "made_at", "cases", *charts.OUTCOMES),
}
FILES = {
    "labels": "labels.csv",
    "left": "still_to_do.csv",
    "agreement": "agreement.csv",
    "queues": "queues.csv",
}
TITLES = {
    "labels": "Labels by annotator over time",
    "left": "Cases that are still to do",
    "agreement": "Agreement of annotators over time",
    "queues": "What became of the cases of review queues",
}


@dataclass(frozen=True)
class ProgressPage:
    """Where the page of a study's progress and its files stand, and what it says first."""

    page: str
    files: list[str]
    labels: int
    cases: int
    without_class: int
    period: str
    """What labels are summed over: week, month or year."""


@one_at_a_time("audit")
def progress_page(workspace: Workspace, study: Study, *, progress: Progress = silent) -> ProgressPage:
    """Write the page of what is labelled and what is left, its CSV files and its charts."""
    progress("writing the progress page", 0, None)
    with workspace.reading():
        facts = _facts(workspace, study)
    with counted_by(patients_known=facts["patients_known"]):
        return _written(workspace, study, facts)


def _facts(workspace: Workspace, study: Study) -> dict[str, Any]:
    """Return the rows behind each chart, and what the page says of all of them."""
    span = _rows(workspace, "span")[0]
    period = period_of(span["first_at"], span["last_at"])
    agreement = _rows(workspace, "agreement", period=period)
    confidence = study.evaluate.confidence
    return {
        "span": span,
        "period": period,
        "confidence": confidence,
        "of_cases": _rows(workspace, "cases")[0],
        "patients_known": workspace.rows("select patient_from <> 'none' as known from label_states")[0]["known"],
        "exports": workspace.rows("select count(*) as exports from exports")[0]["exports"],
        "truth_id": workspace.rows("select truth_id from label_states")[0]["truth_id"],
        "over_all": _pooled(agreement, confidence),
        "rows": {
            "labels": _rows(workspace, "labels", period=period),
            "left": _rows(workspace, "left"),
            "agreement": [row | _agreement([row], confidence) for row in agreement],
            "queues": _rows(workspace, "queues"),
        },
    }


def _rows(workspace: Workspace, name: str, **parameters: str) -> list[dict[str, Any]]:
    return workspace.rows(sql.statement(f"report/progress_{name}"), parameters)


def period_of(first: date | None, last: date | None) -> str:
    """Return what is summed over: weeks, over more than a year months, over more than ten years years."""
    days = (last - first).days if first and last else 0
    if days <= 7 * WEEKS:
        return "week"
    return "month" if days <= MONTHS * 365.25 / 12 else "year"


def _pooled(rows: list[dict[str, Any]], confidence: float) -> dict[str, Any]:
    """Return the agreement over all periods, with its support."""
    return {
        **_agreement(rows, confidence),
        "pairs": sum(row["pairs"] for row in rows),
        "patients": len({patient for row in rows for patient in row["patient_ids"]}),
        "undefined": sum(not row["pairs"] for row in rows),
        "periods": len(rows),
    }


def _agreement(rows: list[dict[str, Any]], confidence: float) -> dict[str, Any]:
    """Return the share of pairs that agree and its interval, with the patient as the unit; NaN without pairs."""
    patients = sorted({patient for row in rows for patient in row["patient_ids"]})
    equal, pairs = np.zeros(len(patients)), np.zeros(len(patients))
    for row in rows:
        place = np.searchsorted(patients, row["patient_ids"]) if patients else []
        equal[place] += row["equal_pairs_of_patients"]
        pairs[place] += row["pairs_of_patients"]
    if not patients:
        return {"agreement": float("nan"), "low": float("nan"), "high": float("nan"), "too_few": True}
    share = Share(equal, pairs)
    low, high = clustered_wilson(share, confidence=confidence)
    return {
        "agreement": float(share.value),
        "low": float(low),
        "high": float(high),
        "too_few": len(patients) < TOO_FEW,
    }


def _written(workspace: Workspace, study: Study, facts: dict[str, Any]) -> ProgressPage:
    rows, period = facts["rows"], facts["period"]
    known = facts["patients_known"]
    digest = digest_of_page(study, facts)
    files = kept_page(workspace, study, "progress", digest)
    if files is None:
        tables = {
            FILES[name]: csv_of([each for each in columns if known or each != "patients"], rows[name])
            for name, columns in COLUMNS.items()
        }
        drawings = {name: drawing for name, drawing in _drawings(rows, period).items() if drawing}
        contents = {"index.html": _render(study, facts, drawings)}
        for name, drawing in drawings.items():
            contents |= {f"figures/{name}.svg": drawing.svg, f"figures/{name}.png": drawing.png}
        files = write_page(
            workspace, study, "progress", tables, lambda _: contents, classes=study.class_names, made_from=digest
        )
    of_cases = facts["of_cases"]
    return ProgressPage(
        page=files[0],
        files=files,
        labels=facts["span"]["labels"],
        cases=of_cases["cases"],
        without_class=of_cases["cases"] - of_cases["with_class"],
        period=period,
    )


def _drawings(rows: dict[str, list[dict[str, Any]]], period: str) -> dict[str, Drawing | None]:
    return {
        "labels": charts.labels_chart(rows["labels"], period),
        "left": charts.left_chart(rows["left"]),
        "agreement": charts.agreement_chart(rows["agreement"], period),
        "queues": charts.queues_chart(rows["queues"]),
    }


def _render(study: Study, facts: dict[str, Any], drawings: dict[str, Drawing]) -> bytes:
    rows = facts["rows"]
    return layout.render(
        "progress.html.j2",
        study=study.study,
        **facts,
        busiest=_busiest(rows["labels"]),
        left=_left(rows["left"]),
        outcomes=_outcomes(rows["queues"]),
        seen=[name for name in charts.OUTCOMES if any(row[name] for row in rows["queues"])],
        drawings={name: inline(each.svg, prefix=name, title=TITLES[name]) for name, each in drawings.items()},
        titles=TITLES,
        files=FILES,
        most=MOST,
        most_queues=charts.MOST_QUEUES,
        queries=_queries(facts["period"]),
    )


def _busiest(rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the period with most labels, the first of several, and how many periods have any."""
    labels: dict[date, int] = {}
    for row in rows:
        if row["period"]:
            labels[row["period"]] = labels.get(row["period"], 0) + row["labels"]
    if not labels:
        return None
    most = min(labels, key=lambda each: (-labels[each], each))
    return {"period": most, "labels": labels[most], "periods": len(labels)}


def _left(rows: list[dict[str, Any]]) -> dict[str, int]:
    """Return the cases that are still to do, by state."""
    cases: dict[str, int] = {}
    for row in rows:
        cases[row["state"]] = cases.get(row["state"], 0) + row["cases"]
    return cases


def _outcomes(rows: list[dict[str, Any]]) -> dict[str, int]:
    """Return how many cases of all queues have each outcome; a case of two queues counts twice."""
    return {name: sum(row[name] for row in rows) for name in ("cases", *charts.OUTCOMES)}


def _queries(period: str) -> dict[str, TableQuery]:
    return {name: statement(f"report/progress_{name}", period=period) for name in COLUMNS}
