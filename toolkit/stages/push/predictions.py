"""Predictions on their way to Labelbox: one line for each case, with the probability of every class."""

import math
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

from toolkit.errors import WorkspaceError
from toolkit.files import sha256_of
from toolkit.manifest import Study
from toolkit.stages.push.planned import Items, PlannedCall
from toolkit.workspace import sql
from toolkit.workspace.pushes import PushItem
from toolkit.workspace.registry import Workspace

NAMESPACE = uuid.UUID("8a1f0c52-3a55-5d1c-9d5e-6f2f3c0f7b11")
"""A line's ID is the UUIDv5, within this, of run, data row, question and, in a box, case: the same line replaces it."""
SPLITS = {"train": "TRAINING", "validation": "VALIDATION", "test": "TEST", "external": "TEST"}
"""Photographs that nobody has labelled are in none."""
MOST = 1_000
"""Rows or lines in a call."""


@dataclass(frozen=True)
class RunPlan:
    """What is to be sent of a run; `lines` by case."""

    run_id: str
    model: str
    project_id: str
    rows: Items
    splits: Items
    predictions: Items
    lines: dict[str, dict[str, Any]]

    def calls(self) -> Iterator[PlannedCall]:
        """Yield the calls in the order in which they are made."""
        about = {"model": self.model, "model_run": self.run_id}
        model = {"method": "create_model", "model": self.model, "ontology_of_project": self.project_id}
        yield PlannedCall("model", self.run_id, [PushItem(self.model)], lambda _: model)
        yield PlannedCall(
            "run", self.run_id, [PushItem(self.run_id)], lambda _: {"method": "create_model_run", **about}
        )
        for batch in batches(self.rows):
            yield PlannedCall("rows", self.run_id, batch, partial(self.payload, "rows"))
        for _, group in groupby(self.splits, key=lambda item: item.value):
            for batch in batches(list(group)):
                yield PlannedCall("split", self.run_id, batch, partial(self.payload, "split"))
        for batch in batches(self.predictions):
            yield PlannedCall("prediction", self.run_id, batch, partial(self.payload, "prediction"))

    def payload(self, operation: str, items: Items) -> dict[str, Any]:
        """Return what a call sends."""
        about = {"model_run": self.run_id}
        ids = [item.image_id for item in items]
        if operation == "rows":
            return {"method": "upsert_data_rows", **about, "data_row_ids": ids}
        if operation == "split":
            return {"method": "assign_data_rows_to_split", **about, "split": items[0].value, "data_row_ids": ids}
        lines = [self.lines[item.item] for item in items]
        return {"method": "add_predictions", **about, "name": import_name(self.run_id, lines), "predictions": lines}


def batches(items: Items) -> list[Items]:
    """Return items by call."""
    return [items[start : start + MOST] for start in range(0, len(items), MOST)]


def import_name(run_id: str, lines: list[dict[str, Any]]) -> str:
    """Return the name of an import: that of the same lines is the same, so that it is found again."""
    return f"{run_id}-{sha256_of(lines)[:12]}"


def plan_of(workspace: Workspace, study: Study, run_id: str) -> tuple[RunPlan, dict[str, int]]:
    """Return what is to be sent of a run, and why predictions are left out.

    Raises WorkspaceError for a run without predictions, a probability that is none, a workspace without a project.
    """
    found = workspace.rows(sql.statement("push/predictions"), {"run_id": run_id})
    if not found:
        place, remedy = str(workspace.run(run_id)), f"toolkit predict --run {run_id}"
        raise WorkspaceError("this run has no predictions", place=place, remedy=remedy)
    options = _options(workspace, study)
    lines = {row["case_id"]: _line(row, study, run_id, options) for row in found}
    left_out = Counter("a box is needed, and the case has none" for line in lines.values() if line is None)
    sent = [row for row in found if lines[row["case_id"]]]
    parts = {row["image_id"]: row["part"] for row in workspace.rows(sql.statement("push/run_rows"), {"run_id": run_id})}
    parts |= {row["image_id"]: row["part"] for row in found}
    ordered = sorted(parts.items(), key=lambda pair: (SPLITS.get(pair[1], ""), pair[0]))
    plan = RunPlan(
        run_id=run_id,
        model=f"lesion-toolkit {study.study.name}",
        project_id=_project(workspace),
        rows=[PushItem(image_id, image_id) for image_id, _ in ordered],
        splits=[PushItem(image_id, image_id, value=SPLITS[part]) for image_id, part in ordered if part in SPLITS],
        predictions=[
            PushItem(row["case_id"], row["image_id"], case_id=row["case_id"], value=row["predicted"]) for row in sent
        ],
        lines={case_id: line for case_id, line in lines.items() if line},
    )
    return plan, dict(left_out)


def _line(row: dict[str, Any], study: Study, run_id: str, options: dict[str, str]) -> dict[str, Any] | None:
    """Return a case's prediction as Labelbox reads it; None where it needs a box and has none."""
    question = study.labelbox.question
    shares = dict(zip(row["classes"], row["probabilities"], strict=True))
    for value in (row["confidence"], *shares.values()):
        if value is None or not math.isfinite(value) or not 0 <= value <= 1:
            problem = f"case {row['case_id']} has a probability that is none: {value}"
            raise WorkspaceError(problem, place=f"run {run_id}", remedy="predictions are sent as probabilities, 0 to 1")
    metrics = [{"name": name, "value": float(value)} for name, value in sorted(shares.items())]
    answer = {"name": options[row["predicted"]], "confidence": float(row["confidence"]), "customMetrics": metrics}
    own = (run_id, row["image_id"], question, *((row["case_id"],) if row["in_a_box"] else ()))
    line = {"uuid": str(uuid.uuid5(NAMESPACE, "\0".join(own))), "dataRow": {"id": row["image_id"]}}
    if not row["in_a_box"]:
        return {**line, "name": question, "answer": answer}
    if row["roi_width"] is None:
        return None
    box = {side: row[f"roi_{side}"] for side in ("left", "top", "width", "height")}
    nested = [{"name": question, "answer": answer}]
    confidence = answer["confidence"]
    return {**line, "name": study.labelbox.roi, "bbox": box, "confidence": confidence, "classifications": nested}


def _options(workspace: Workspace, study: Study) -> dict[str, str]:
    """Return how each class is called at Labelbox: as annotators' answers have it most often, else its name."""
    said = workspace.rows("select answer, count(*) as times from answers group by answer order by times, answer desc")
    named = {class_name: row["answer"] for row in said if (class_name := study.class_of(row["answer"]))}
    return {name: named.get(name, name) for name in study.class_names}


def _project(workspace: Workspace) -> str:
    """Return the project of the study that holds most photographs: its ontology is the model's."""
    rows = workspace.rows(
        "select project_id from projects where in_study group by project_id order by count(*) desc, project_id limit 1"
    )
    if not rows:
        raise WorkspaceError("no photograph is in a project of the study", remedy="look at [labelbox] projects")
    return rows[0]["project_id"]
