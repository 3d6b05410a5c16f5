"""The status of a workspace in a terminal: its stages, its runs, what was sent to Labelbox."""

from rich.console import Group, RenderableType
from rich.table import Table

from toolkit.console.text import line, next_step, table, unwrapped
from toolkit.formatting import count, counted, listed, spoken
from toolkit.stages.status import Row, StageState, Status

STYLES = {"up to date": "green", "out of date": "yellow", "interrupted": "yellow", "missing": "dim"}
MOST_RUNS = 12
"""Runs in the terminal, newest first; `toolkit query runs` has all."""


def status_of(result: Status) -> RenderableType:
    """Return what a person reads of a status: each stage with its state, then runs and pushes."""
    blocks: list[RenderableType] = [unwrapped(f"workspace: {result.workspace}")]
    blocks.append(unwrapped(f"study: {result.study or 'none yet'}"))
    if result.study_missing:
        blocks.append(line("the study file is not there any more: most commands need --study FILE.toml", "yellow"))
    blocks += ["", _stages(result)]
    if result.runs:
        blocks += ["", _runs(result.runs)]
    if result.pushes:
        blocks += ["", _pushes(result.pushes)]
    return Group(*blocks, "", next_step(result.next))


def _stages(result: Status) -> Table:
    stages = table("stage", "state", "what there is")
    details = _details(result)
    states = result.stages or [StageState("parse", "missing")]
    for each in states:
        known = [*([each.reason] if each.reason else []), *details.get(each.stage, [])]
        first, *others = known or [""]
        stages.add_row(each.stage, line(each.state, STYLES[each.state]), line(first))
        for other in others:
            style = "yellow" if other.startswith("! ") else ""
            stages.add_row("", "", line(other.removeprefix("! "), style))
    return stages


def _details(result: Status) -> dict[str, list[str]]:
    """Return by stage what it has made."""
    if not result.stages:
        return {"parse": [counted(result.exports, "export")]}
    photographs = counted(result.photographs, "photograph")
    of = f" of {counted(result.patients, 'patient')}" if result.patients_known else ""
    exports, rows = counted(result.exports, "export"), counted(result.rows, "row")
    parsed = [
        f"{exports}: {rows}, {count(result.rows_quarantined)} quarantined",
        f"{photographs}{of}; {counted(result.cases, 'case')}, {count(result.resolved)} with a reference diagnosis",
    ]
    if result.kept_out:
        parsed.append(f"! cases kept out: {listed({spoken(name): n for name, n in result.kept_out.items()})}")
    parsed += [f"! unknown key in {counted(n, 'row')}: {key}" for key, n in result.unknown_keys.items()]
    found = {spoken(kind): times for kind, times in result.findings.items()}
    split = [f"split {row['split_id']}: {counted(row['cases'], 'case')}" for row in result.splits[:1]]
    stored = f"{result.features_gigabytes:.2f} GB of features stored"
    return {
        "parse": parsed,
        "audit": [f"findings: {listed(found)}"] if found else [],
        "split": split,
        "train": [stored] if result.features_gigabytes >= 0.01 else [],
    }


def _runs(rows: list[Row]) -> Table:
    runs = table("run", "split", "model", ">predicted", ">evaluated", "report", "state")
    for row in rows[:MOST_RUNS]:
        state = "trained on other labels" if row["stale"] else "up to date"
        model = f"{row['control']} control of {row['control_of']}" if row["control"] else row["model"]
        counts = (count(row["predicted"]), count(row["scored"]), "yes" if row["reported"] else "no")
        runs.add_row(row["run_id"], row["split_id"], line(model), *counts, state)
    if len(rows) > MOST_RUNS:
        runs.caption = f"{count(len(rows) - MOST_RUNS)} more: toolkit query runs"
    return runs


def _pushes(rows: list[Row]) -> Table:
    pushes = table("sent to Labelbox", "of", ">sent", ">not needed", ">failed", ">unknown yet")
    for row in rows:
        counts = (count(row[state]) for state in ("sent", "skipped", "failed", "open"))
        pushes.add_row(line(row["kind"]), line(row["subject"]), *counts)
    return pushes
