"""Moments of the label history: which export or time is meant, and the revision that the labels had then."""

import hashlib
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from toolkit.errors import WorkspaceError
from toolkit.workspace import sql
from toolkit.workspace.names import listed, shown
from toolkit.workspace.registry import Workspace


class Moment(NamedTuple):
    """An export or a review that stands for a moment: its place in time, and the latest time written in it (UTC)."""

    export_id: str
    moment: int
    latest_at: datetime | None


def find_moment(workspace: Workspace, asked: str) -> Moment:
    """Return the moment of an export, by its ID or the ID's beginning, or that of the last export up to a time (UTC).

    Raises WorkspaceError where there is none.
    """
    if rows := workspace.rows(sql.statement("parse/moment"), {"asked": asked}):
        return Moment(**rows[0])
    exports = workspace.rows("select export_id, latest_at from exports order by moment desc, export_id")
    begun = [row["export_id"] for row in exports if asked and row["export_id"].startswith(asked.lower())]
    if len(begun) == 1:
        return find_moment(workspace, begun[0])
    if begun:
        problem = f"{len(begun)} exports begin with {shown(asked)}: {listed(begun)}"
        raise WorkspaceError(problem, place=str(workspace.exports), remedy="type more of the ID")
    known = [f"{row['export_id']} ({row['latest_at'] or 'no time is written in it'})" for row in exports]
    raise WorkspaceError(
        f"no such export, and no time with one before it: {shown(asked)}",
        place=str(workspace.exports),
        remedy=f"the exports are: {listed(known)}; a time is written 2026-01-31 or 2026-01-31 12:00 (UTC)",
    )


def newest_moment(workspace: Workspace) -> Moment:
    """Return the moment of today's labels."""
    return Moment(**workspace.rows(sql.statement("parse/newest_moment"))[0])


def truth_id_at(workspace: Workspace, moment: int) -> str:
    """Return the ID of the reference diagnoses at a moment: the study's policy, and the label revision of then."""
    policy = workspace.rows("select policy from label_states")[0]["policy"]
    lines = workspace.read(sql.statement("parse/label_revision"), {"policy": policy, "moment": moment})["line"]
    return f"{policy}-{label_revision(lines.to_pylist())}"


def label_revision(lines: Iterable[str]) -> str:
    """Return the name of a state of the labels: a digest over every reading and every case without one."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()[:8]
