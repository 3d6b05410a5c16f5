"""A small registry with a queue nobody has reviewed yet, and verdicts on it, for tests of a review's impact."""

from datetime import timedelta

import pyarrow as pa
from registries import IDS, TIME, a_registry, a_study

from toolkit.workspace.registry import insert, table_schema

QUEUE = "dddd0001"
HOSTILE = "[bold]x[/bold]\x1b[31m"
# case, patient drawn at random, suggested class, probability
ITEMS = [
    ("0007", "p-5", False, "nevus", 0.9),
    ("0006", "p-5", False, "nevus", 0.8),
    ("0000", "p-0", True, None, float("nan")),
    ("0001", "p-1", True, "malignant_melanoma", 0.3),
    ("0008", "p-6", False, "nevus", 0.4),
    ("0010", "p-8", True, None, float("nan")),
]
NAMES = ["nevus", "malignant_melanoma", "keratosis"]


def rows_of(table: str, rows: list[dict]):
    return pa.Table.from_pylist(rows, schema=table_schema(table))


def a_queue(workspace, items=ITEMS, queue_id=QUEUE, made_at=TIME):
    labels = {row["case_id"]: row["truth"] for row in workspace.rows("select case_id, class_name as truth from truth")}
    made = {
        "queue_id": queue_id,
        "made_at": made_at,
        "truth_id": IDS["truth_id"],
        "minutes": 5.0,
        "seconds_per_case": 40.0,
    }
    made |= {"random_share": 0.4, "seed": 0, "sources": "audit", "patients": 12, "cases": 14}
    rows = []
    for rank, (case_id, patient, random, suggested, probability) in enumerate(items, start=1):
        row = {"queue_id": queue_id, "rank": rank, "patient_id": patient, "case_id": case_id, "random": random}
        row |= {"class_name": labels[case_id], "suggested_class": suggested, "probability": probability}
        rows.append({**row, "score": probability, "harm": probability, "reasons": HOSTILE})
    with workspace.writing() as connection:
        insert(connection, "queues", rows_of("queues", [made]))
        insert(connection, "queue_items", rows_of("queue_items", rows))


def reviewed(workspace, *verdicts, review_id="eeee00000001", days=1):
    """Insert verdicts: case, reviewer, class (None = cannot tell)."""
    rows = []
    for case_id, reviewer, name in verdicts:
        row = {"review_id": review_id, "case_id": case_id, "image_id": f"image-{int(case_id)}", "queue_id": QUEUE}
        row |= {"reviewer": reviewer, "class_name": name, "reviewed_at": TIME + timedelta(days=days)}
        rows.append({**row, "verdict": "cannot_tell" if name is None else "changed"})
    with workspace.writing() as connection:
        insert(connection, "verdicts", rows_of("verdicts", rows))


def a_queued_registry(folder):
    """Return a small registry with scores of test and validation and a queue nobody has reviewed, and its study."""
    study = a_study()
    workspace = a_registry(folder, study)
    scores = [
        {**IDS, "part": part, "metric": "accuracy", "value": 0.5, "low": 0.1, "high": 0.9, "confidence": 0.95}
        | {"method": "x", "replicates": 0, "cases": 9, "patients": 7, "too_few": True, "query": "select 1"}
        for part in ("test", "validation")
    ]
    known = set(table_schema("scores").names)
    with workspace.writing() as connection:
        connection.execute("delete from scores")
        rows = [{name: value for name, value in row.items() if name in known} for row in scores]
        insert(connection, "scores", rows_of("scores", rows))
    a_queue(workspace)
    return workspace, study
