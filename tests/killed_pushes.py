"""A queue to be pushed, and pushes in a process of their own that is killed, at a moment that the stand-in chooses."""

import contextlib
import os
import queue
import random
import shutil
import subprocess
import sys
import time
from datetime import datetime

import pyarrow as pa

from toolkit.workspace.registry import insert

QUEUE = "0a1b2c3d"
TIME = datetime(2026, 1, 2, 3, 4, 5)  # noqa: DTZ001 - the registry keeps UTC without a zone
PATIENTS = {"P-1": ("i1", "i2"), "P-2": ("i3",), "P-3": ("i4", "i5")}
IMAGES = [image for images in PATIENTS.values() for image in images]
RUNNER = """
import os, sys
from pathlib import Path
from toolkit.manifest import load_study
from toolkit.shipped import shipped
from toolkit.manifest.cohort import PushSection
from toolkit.labelbox_service import sending  # what it imports, the children need not
from toolkit.labelbox_service.patience import Patience
from toolkit.stages.push import push_metadata, push_predictions, push_queue
from toolkit.workspace.registry import Workspace
push_kind = {"queue": push_queue, "metadata": push_metadata, "predictions": push_predictions}[sys.argv[2]]
study = load_study(shipped("manifests") / "demo.toml")
push = PushSection(task_queue="Rework", metadata=["part", "patient_id"])
study = study.model_copy(update={"labelbox": study.labelbox.model_copy(update={"push": push})})
patience = Patience(first=0.01, poll=0.01, settle=5.0)
push_kind(Workspace(Path(sys.argv[1])), study)
print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        push_kind(Workspace(Path(line.strip())), study, apply=True, patience=patience)
        os._exit(0)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


CHANGING = ("Add", "create", "Create", "Upsert")
"""Beginnings of the names of calls that change something."""


def fill_queue(workspace, queue_id=QUEUE, *, reasons="an annotator disagrees", made_at=TIME):
    """Put all cases into a queue, patient by patient."""
    cases = workspace.rows("select case_id, patient_id from cases order by patient_id, case_id")
    queue_row = {
        "queue_id": queue_id,
        "made_at": made_at,
        "truth_id": "majority-x",
        "minutes": 60.0,
        "sources": "audit",
    }
    queue_row |= {"seconds_per_case": 20.0, "random_share": 0.1, "seed": 1, "patients": 3, "cases": len(cases)}
    fixed = {"queue_id": queue_id, "random": False, "class_name": "nevus", "score": 0.5, "reasons": reasons}
    items = [{**fixed, **case, "rank": n} for n, case in enumerate(cases, start=1)]
    with workspace.writing() as connection:
        insert(connection, "queues", pa.Table.from_pylist([queue_row]))
        insert(connection, "queue_items", pa.Table.from_pylist(items))


def split_photographs(workspace):
    """Let the third photograph train, and the others be tested."""
    part = {"i3": "train"}
    rows = [
        {
            "split_id": "51151151",
            "case_id": c["case_id"],
            "part": part.get(c["image_id"], "test"),
            "class_name": "nevus",
        }
        for c in workspace.rows("select case_id, image_id from cases")
    ]
    with workspace.writing() as connection:
        insert(connection, "splits", pa.Table.from_pylist([{**row, "created_at": TIME} for row in rows]))


def fill_predictions(workspace):
    """Put predictions of the tested photographs into the registry; i5 is answered in a box."""
    run = {"run_id": "ab12cd34", "split_id": "51151151", "truth_id": "t", "model": "/data/models/secret"}
    run |= {"finished_at": TIME, "device": "cpu", "epochs": 1, "train_cases": 1, "train_patients": 1, "seconds": 1.0}
    cases = workspace.rows("select case_id, image_id from cases where image_id <> 'i3' order by image_id")
    shares = [("nevus", 0.75), ("melasma", 0.25)]
    fixed = {"run_id": "ab12cd34", "part": "test", "predicted": "nevus", "confidence": 0.75, "label_mass": 0.9}
    kind = pa.map_(pa.string(), pa.float64())
    columns = {name: pa.array([value] * len(cases)) for name, value in fixed.items()}
    columns |= {"case_id": pa.array([case["case_id"] for case in cases])}
    columns |= {name: pa.array([shares] * len(cases), kind) for name in ("probabilities", "log_likelihoods")}
    with workspace.writing() as connection:
        insert(connection, "runs", pa.Table.from_pylist([run]))
        insert(connection, "predictions", pa.table(columns))
        connection.execute("update readings set object_id = 'f1' where label_id = 'L-i5'")
        connection.execute("update cases set roi_left=1, roi_top=2, roi_width=3, roi_height=4 where image_id = 'i5'")


def done_of(labelbox, operation):
    return sorted(each[1:] for each in labelbox.done if each[0] == operation)


def nothing_twice_nothing_missing(labelbox, images=IMAGES):
    images = sorted(images)
    assert [(image, "queue-rework") for image in images] == done_of(labelbox, "rework")
    assert images == [each[0] for each in done_of(labelbox, "priority")]
    assert [f"L-{image}" for image in images] == sorted(each[1] for each in done_of(labelbox, "issue"))
    assert len(images) == len({each[2] for each in done_of(labelbox, "issue")}) == len(labelbox.issues)


def metadata_as_it_is(labelbox, images=IMAGES):
    """Each field was made once, and each photograph has both values."""
    values = {each[1:3] for each in labelbox.done if each[0] == "metadata"}
    assert 2 == len(labelbox.fields) == len(done_of(labelbox, "metadata_field"))
    assert {(image, field) for image in images for field in labelbox.fields.values()} == values


def predictions_once(labelbox, images=IMAGES):
    """One model, one run, and each tested photograph's prediction once."""
    sent = done_of(labelbox, "prediction")
    assert (1, 1) == (len(labelbox.models), len(labelbox.runs))
    assert len(images) - 1 == len(sent) == len(set(sent))


class Runner:
    """Pushes in a process of its own, which can be killed; labelbox is imported once for all of them."""

    def __init__(self, folder, kind="queue"):
        command = [sys.executable, "-c", RUNNER, str(folder), kind]
        self.process = subprocess.Popen(command, stdin=-1, stdout=-1, text=True)
        self.child = queue.Queue(1)
        self.process.stdout.readline()

    def push(self, folder):
        self.process.stdin.write(f"{folder}\n")
        self.process.stdin.flush()
        self.child.put(int(self.process.stdout.readline()))
        code = int(self.process.stdout.readline())
        if not self.child.empty():
            self.child.get()
        return code

    def kill(self):
        """Kill the push; one that has ended meanwhile is left alone."""
        with contextlib.suppress(queue.Empty):
            os.kill(self.child.get_nowait(), 9)

    def end(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


def begin_again(labelbox, images):
    """Let the stand-in forget what was sent."""
    labelbox.let_time_pass()
    for kept in (
        labelbox.tasks,
        labelbox.issues,
        labelbox.rows,
        labelbox.models,
        labelbox.runs,
        labelbox.imports,
        labelbox.fields,
    ):
        kept.clear()
    for listed in (labelbox.done, labelbox.waiting, labelbox.asked):
        listed.clear()
    labelbox.add_rows(*images)


def killed_and_sent_again(
    labelbox, runner, folder, scratch, *, kills, seed, images=IMAGES, check=nothing_twice_nothing_missing
):
    """Kill pushes at moments drawn at random, send each again until it ends; return how many were killed."""
    chance, labelbox.lag = random.Random(seed), 0.02
    moments: list = []
    labelbox.on_moment = lambda *moment: moments.append(moment)
    begin_again(labelbox, images)
    shutil.copytree(folder, scratch / "undisturbed")
    assert 0 == runner.push(scratch / "undisturbed")
    labelbox.rest()
    check(labelbox, images)
    changing = [n for n, (name, _) in enumerate(moments) if name.startswith(CHANGING)]
    killed = 0
    for number in range(2 * kills):  # a push that looks less often than the first may end before its moment
        last = chance.choice(changing if number % 2 else range(len(moments)))
        passed, delay = iter(range(len(moments))), chance.choice([0, 0, chance.uniform(0, 0.02)])

        def kill(*_, passed=passed, last=last, delay=delay):
            if next(passed, None) == last:
                time.sleep(delay)
                runner.kill()

        begin_again(labelbox, images)
        copy = scratch / f"killed-{number}"
        shutil.copytree(folder, copy)
        labelbox.on_moment = kill
        killed += -9 == runner.push(copy)
        labelbox.on_moment = None
        labelbox.rest()
        assert 0 == runner.push(copy)
        labelbox.rest()
        check(labelbox, images)
        assert [] == [path.name for path in copy.glob("**/.*")]
        if killed == kills:
            break
    return killed
