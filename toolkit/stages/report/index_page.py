"""How a workspace's reports are found again: one page that lists its runs and every page there is.

Refuses to link a page that is not there.
"""

import re
from typing import Any

from toolkit.files import write_atomically
from toolkit.manifest import Study
from toolkit.stages.report import layout
from toolkit.workspace import sql
from toolkit.workspace.registry import Workspace

PAIR = re.compile(r"([0-9a-f]{8})-to-([0-9a-f]{8})")


def write_index(workspace: Workspace, study: Study) -> None:
    """Write the page that lists the pages."""
    there = sorted(path.parent.name for path in workspace.reports.glob("[!.]*/index.html"))
    runs = workspace.rows(sql.statement("report/runs"))
    for run in runs:
        names = {run["run_id"]: "report", f"{run['run_id']}-shared": "for others"}
        run["pages"] = [(name, words) for name, words in names.items() if name in there]
    page = layout.render(
        "index.html.j2",
        study=study.study,
        runs=runs,
        part=next((run["part"] for run in runs if run["part"]), "test"),
        others=_others(there),
        counts=_counts(workspace),
    )
    write_atomically(workspace.reports / "index.html", page)


def _others(there: list[str]) -> list[tuple[str, str]]:
    pairs = [(name, f"Run {found[1]} and run {found[2]} compared") for name in there if (found := PAIR.fullmatch(name))]
    return [*([("audit", "Audit: copies, contradicting labels, cohort")] if "audit" in there else []), *pairs]


def _counts(workspace: Workspace) -> dict[str, Any]:
    facts = workspace.rows(sql.statement("parse/parsed"))[0]
    return {name: facts[name] for name in ("cases", "patients", "photographs", "exports", "truth_id")}
