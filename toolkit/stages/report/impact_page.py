"""The page of a review's impact: what it found, what it changes in a run's scores, and what it says of all labels.

Which patients were drawn at random is told neither on the page nor beside it: reviews of them may go on.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.formatting import counted_by
from toolkit.manifest import Study
from toolkit.progress import Progress, silent
from toolkit.stages.report import layout
from toolkit.stages.report.bundle import write_page
from toolkit.stages.report.table_queries import TableQuery, question, statement
from toolkit.stages.report.tables import csv_of
from toolkit.stats.intervals import TOO_FEW
from toolkit.workspace.locks import one_at_a_time
from toolkit.workspace.registry import Workspace

PREFIX = "impact-"
"""Starts the name of the page's folder; the queue's ID follows."""
DECIDED = ("confirmed", "changed", "rejected", "unresolved", "cannot_tell")
OTHERS = {
    "rejected": "no longer there",
    "unresolved": "without a class, since reviewers differ",
    "cannot_tell": "undecided, since reviewers could not tell",
}
"""Rarer outcomes, in words."""
PER = 50
"""Reviews that the harm found is told for."""
MOST = 50
"""Candidates on the page; candidates.csv has all."""
GROUPS = ("cases", "number", "reviewed", *DECIDED, "untouched", "harm_per_50")
SCORES = ("metric", "class_name", "before", "reviewed", "suggested")
BOUNDS = ("metric", "low", "high", "least", "most", "exact")
ESTIMATES = (
    *("estimate", "run_id", "part", "value", "low", "high", "confidence", "method", "patients", "cases"),
    *("of_patients", "of_cases", "too_few"),
)
CANDIDATES = (
    *("case_id", "patient_id", "rank", "outcome", "class_name", "changed_to", "predicted", "probability"),
    *("contribution", "expected"),
)


@dataclass(frozen=True)
class ImpactPage:
    """Where the page of a queue's impact and its files stand."""

    queue_id: str
    page: str
    files: list[str]


@one_at_a_time("impact")
def impact_page(
    workspace: Workspace, study: Study, review: dict[str, Any], impact: dict[str, Any], *, progress: Progress = silent
) -> ImpactPage:
    """Write the page of a queue's impact and its CSV files, of what `--json` shows of `queue ID` and of `impact`."""
    progress("writing the page", 0, None)
    known = review["patients_known"]
    changes = _changes(review["rows"])
    tables = _tables(review, impact, changes, known=known)
    with counted_by(patients_known=known):
        page = _render(workspace, study, review, impact, changes=changes, tables=list(tables))
        name, classes = f"{PREFIX}{impact['queue_id']}", study.class_names
        files = write_page(workspace, study, name, tables, lambda _: {"index.html": page}, classes=classes)
    return ImpactPage(impact["queue_id"], files[0], files)


def _changes(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    counts = Counter((row["class_name"], row["class_reviewed"]) for row in rows if row["outcome"] == "changed")
    return [{"class_name": before, "changed_to": now, "cases": n} for (before, now), n in counts.most_common()]


def _tables(
    review: dict[str, Any], impact: dict[str, Any], changes: list[dict[str, Any]], *, known: bool
) -> dict[str, str]:
    """Return the CSV files, those that have rows."""
    of_run = impact["of_run"]
    candidates = [name for name in CANDIDATES if known or name != "patient_id"]
    rows: dict[str, tuple[Sequence[str], list[dict[str, Any]]]] = {
        "outcomes.csv": (GROUPS, review["groups"]),
        "changes.csv": (("class_name", "changed_to", "cases"), changes),
        "reviewers.csv": (("reviewer", *DECIDED), review["reviewers"]),
        "estimates.csv": (ESTIMATES, [{"run_id": None, "part": None, **row} for row in impact["estimates"]]),
    }
    if of_run:
        rows |= {
            "scores.csv": (SCORES, of_run["scores"]),
            "bounds.csv": (BOUNDS, [of_run["bounds"]]),
            "candidates.csv": (candidates, of_run["candidates"]),
        }
    return {name: csv_of(columns, own) for name, (columns, own) in rows.items() if own}


def _render(
    workspace: Workspace,
    study: Study,
    review: dict[str, Any],
    impact: dict[str, Any],
    *,
    changes: list[dict[str, Any]],
    tables: list[str],
) -> bytes:
    of_run, groups = impact["of_run"], review["groups"]
    scores = of_run["scores"] if of_run else []
    seen = [name for name in (*DECIDED, "untouched") if any(row[name] for row in groups)]
    return layout.render(
        "impact.html.j2",
        study=study.study,
        costs=study.report.costs,
        impact=impact,
        of_run=of_run,
        rate=impact["estimates"][0],
        corrected=impact["estimates"][1] if of_run else None,
        enough=TOO_FEW,
        groups=groups,
        seen=seen,
        decided=[name for name in seen if name != "untouched"],
        others=list(OTHERS.items()),
        changes=changes,
        reviewers=review["reviewers"],
        patients_known=review["patients_known"],
        f1=next((row for row in scores if row["metric"] == "macro_f1"), None),
        overall=[row for row in scores if not row["class_name"]],
        of_classes=[row for row in scores if row["class_name"]],
        per=PER,
        most=MOST,
        run_page=bool(of_run) and (workspace.reports / of_run["run_id"] / "index.html").is_file(),
        tables=tables,
        queries=_queries(study, impact),
    )


def _queries(study: Study, impact: dict[str, Any]) -> dict[str, TableQuery]:
    """Return the SQL of each table."""
    queue, of_run, costs = impact["queue_id"], impact["of_run"], study.report.costs
    prices = {name: str(value) for name, value in costs.model_dump().items()}
    malignant = ",".join(each.name for each in study.classes if each.malignant)
    queries = {
        "groups": statement("report/queue_groups", queue=queue, malignant=malignant, **prices),
        "changes": statement("report/queue_changes", queue=queue),
        "reviewers": statement("report/queue_reviewers", queue=queue),
        "estimates": question("random_share", queue=queue, **({} if of_run is None else _key(of_run))),
    }
    if of_run:
        key = _key(of_run)
        queries["scores"] = question("impact", queue=queue, **key)
        queries["candidates"] = statement("report/impact_candidates", queue=queue, **key)
    return queries


def _key(of_run: dict[str, Any]) -> dict[str, str]:
    return {"run": of_run["run_id"], "part": of_run["part"]}
