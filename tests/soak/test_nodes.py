"""Two machines that predict or train together, one of which is killed: the result is that of one process."""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors.numpy import load_file

sys.path.insert(0, str(Path(__file__).parents[1]))

from nodes import Nodes

from toolkit.synthetic import sample
from toolkit.workspace.registry import Workspace

KILLS = int(os.environ.get("SOAK_KILLS", "20"))
IN_SMALL_SHARDS = """
import sys
import toolkit.stages.predict
toolkit.stages.predict.SHARD = 4
from toolkit.cli import main
main(sys.argv[1:])
"""


class Place(NamedTuple):
    """A study, the workspace that each try starts from, and a program that is the toolkit with small shards."""

    folder: Path
    study: Path
    before: Path
    program: Path

    def words(self, workspace: Path, *command: str) -> list[str]:
        return ["--study", str(self.study), "--workspace", str(workspace), "--quiet", *command]

    def alone(self, workspace: Path, *command: str) -> None:
        call = [sys.executable, str(self.program), *self.words(workspace, *command)]
        done = subprocess.run(call, capture_output=True, text=True, check=False, env={**os.environ, **ALONE})
        assert 0 == done.returncode, done.stderr


ALONE = {"OMP_NUM_THREADS": "1", "TOOLKIT_DEVICE": "cpu"}


def place(folder: Path, *changes: tuple[str, str], cases: int) -> Place:
    drawn = sample(folder / "sample", cases=cases, seed=3)
    text = "".join(
        line for line in drawn.study.read_text().splitlines(keepends=True) if not line.startswith("pinned")
    ).replace("[split]\n", "[split]\nuneven = true\n")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    drawn.study.write_text(text)
    program = folder / "small.py"
    program.write_text(IN_SMALL_SHARDS)
    made = Place(folder, drawn.study, folder / "before", program)
    for command in (["parse", str(drawn.export), "--images", str(drawn.images)], ["audit"], ["split"]):
        made.alone(made.before, *command)
    return made


def files_of(workspace: Path) -> list[Path]:
    return list(workspace.glob("runs/*/predictions/[!.]*"))


def predicted(workspace: Path) -> tuple[dict[str, bytes], list[dict]]:
    """Return the bytes of all that a prediction writes, and the registry's rows."""
    files = [*files_of(workspace), *workspace.glob("runs/*/predictions.json")]
    rows = Workspace(workspace).rows("from predictions order by all")
    return {str(path.relative_to(workspace)): path.read_bytes() for path in files}, rows


def test_predictions_of_two_machines_killed_at_twenty_moments_are_those_of_one_process(tmp_path):
    made = place(tmp_path, ("epochs = 20", "epochs = 1"), ("batch_size = 32", "batch_size = 4"), cases=200)
    made.alone(made.before, "train")
    one = tmp_path / "one"
    shutil.copytree(made.before, one)
    made.alone(one, "predict")
    expected, moments, halfway, restarted = predicted(one), random.Random(9), 0, 0
    for number in range(KILLS):
        workspace = tmp_path / "two"
        shutil.copytree(made.before, workspace)
        (tmp_path / str(number)).mkdir()
        settings = {
            "launcher": moments.choice(["torchrun", "torchrun", "accelerate"]),
            "processes": moments.choice([1, 2]),
            "restarts": moments.choice([0, 3]),
        }
        nodes = Nodes(tmp_path / str(number), made.program, made.words(workspace, "predict"), **settings)
        victim, what = moments.choice([0, 1]), moments.choice(["node", "agent", "workers"])
        after, pause = moments.randrange(-8, len(files_of(one))), moments.uniform(0, 1)
        began = time.monotonic()
        for node in (0, 1):
            nodes.start(node)
        if after < 0:  # before anything is written
            time.sleep(-after * pause)
        while len(files_of(workspace)) < after and time.monotonic() - began < 300:
            time.sleep(0.01)
        time.sleep(pause / 10)
        written = len(files_of(workspace))
        halfway += 0 < written < len(files_of(one))
        nodes.kill(victim, what)
        if settings["restarts"] and victim == 1 and what != "workers":  # the other one waits for it
            nodes.start(1)
        codes = nodes.ended(420)  # an agent whose work is done waits 300 s for one that was killed
        restarted += [0, 0] == codes
        again = None
        if [0, 0] != codes:
            assert None not in codes, "\n".join(nodes.said(node)[-3000:] for node in (0, 1))
            nodes.meet_anew()
            for node in (0, 1):
                nodes.start(node)
            again = nodes.ended(420)
            assert [0, 0] == again, "\n".join(nodes.said(node)[-3000:] for node in (0, 1))
        seconds = time.monotonic() - began
        print(
            f"{number}: {settings}, {what} of {victim} at {written} files: {codes} {again}, {seconds:.0f} s", flush=True
        )

        assert expected == predicted(workspace)
        shutil.rmtree(workspace)
    print(f"{KILLS} kills, {halfway} with some of the files written, {restarted} put right by the launcher")

    assert halfway
    assert restarted or KILLS < 5


def trained(workspace: Path) -> tuple[list[list[float]], dict]:
    """Return the losses of each epoch, and the weights that were kept."""
    record = next(workspace.glob("runs/*/run.json"))
    epochs = json.loads(record.read_text())["epochs"]
    weights = load_file(record.parent / "checkpoint" / "model.safetensors")
    return [[epoch["train_loss"], epoch["validation_loss"]] for epoch in epochs], weights


def check_same(one: tuple, other: tuple) -> None:
    np.testing.assert_allclose(one[0], other[0], rtol=1e-3)
    for name, weights in one[1].items():
        np.testing.assert_allclose(weights, other[1][name], rtol=0.05, atol=2e-3)


def test_two_machines_train_what_one_process_trains_also_where_one_is_killed(tmp_path):
    changes = [
        ("epochs = 20", "epochs = 4"),
        ("batch_size = 8", "batch_size = 2"),
        ("augment = true", "augment = false"),
    ]
    made = place(tmp_path, *changes, cases=120)
    training = Workspace(made.before).rows("select count(*) as n from splits where part = 'train'")[0]["n"]
    made.study.write_text(made.study.read_text().replace("warmup_steps = 50", "warmup_steps = 5"))
    assert 0 == training % 2  # a last step that is not full would take cases twice
    shutil.copytree(made.before, tmp_path / "one")
    made.alone(tmp_path / "one", "train")
    made.study.write_text(made.study.read_text().replace("batch_size = 2", "batch_size = 1", 1))
    outcomes = {}
    for name, launcher, kill in (
        ("torchrun", "torchrun", None),
        ("accelerate", "accelerate", None),
        ("restarted by torchrun", "torchrun", (1, "workers", 3)),
        ("typed again", "torchrun", (0, "node", 0)),
    ):
        workspace = tmp_path / name
        shutil.copytree(made.before, workspace)
        settings = {"launcher": launcher, "restarts": kill[2] if kill else 0}
        (tmp_path / f"{name} logs").mkdir()
        nodes = Nodes(tmp_path / f"{name} logs", made.program, made.words(workspace, "train", "--resume"), **settings)
        for node in (0, 1):
            nodes.start(node)
        if kill:
            began = time.monotonic()
            while not list(workspace.glob("runs/*/training/checkpoint-*/trainer_state.json")):
                assert time.monotonic() - began < 300, nodes.said(0) + nodes.said(1)
                time.sleep(0.01)
            nodes.kill(*kill[:2])
        codes = nodes.ended(400)
        if kill and kill[2] == 0:
            assert 0 not in codes
            nodes.meet_anew()
            for node in (0, 1):
                nodes.start(node)
            codes = nodes.ended(400)
        print(f"{name}: {codes}", flush=True)
        assert [0, 0] == codes, "\n".join(nodes.said(node)[-3000:] for node in (0, 1))
        outcomes[name] = trained(workspace)
        assert not list(workspace.glob("runs/*/training"))

    expected = trained(tmp_path / "one")
    assert 4 == len(expected[0])
    for outcome in outcomes.values():
        check_same(expected, outcome)
    assert outcomes["torchrun"][0] == outcomes["typed again"][0] == outcomes["restarted by torchrun"][0]


def test_accelerate_launch_use_fsdp_trains_what_one_process_trains(tmp_path):
    changes = [
        ("epochs = 20", "epochs = 2"),
        ("batch_size = 8", "batch_size = 2"),
        ("augment = true", "augment = false"),
    ]
    made = place(tmp_path, *changes, cases=120)
    shutil.copytree(made.before, tmp_path / "one")
    shutil.copytree(made.before, tmp_path / "two")
    made.alone(tmp_path / "one", "train")
    made.study.write_text(made.study.read_text().replace("batch_size = 2", "batch_size = 1", 1))
    launch = ["-m", "accelerate.commands.launch", "--use_fsdp", "--num_processes=2", "--num_machines=1"]
    launch += ["--mixed_precision=no", "--dynamo_backend=no", "--main_process_port=0", "-m", "toolkit"]
    call = [sys.executable, *launch, *made.words(tmp_path / "two", "train")]
    done = subprocess.run(call, capture_output=True, text=True, check=False, env={**os.environ, **ALONE})

    assert 0 == done.returncode, done.stderr[-3000:]
    check_same(trained(tmp_path / "one"), trained(tmp_path / "two"))
    # One process reads what was saved, and refuses a head that is tied.
    made.alone(tmp_path / "two", "predict")
    assert 2 == json.loads(next((tmp_path / "two").glob("runs/*/run.json")).read_text())["processes"]
