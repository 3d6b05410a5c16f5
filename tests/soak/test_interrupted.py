"""Parsing, training and predicting killed, parsing without disk: a rerun gives what an undisturbed run gives."""

import json
import random
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from toolkit.manifest import load_study
from toolkit.pipeline import run
from toolkit.study_file import StudyFile
from toolkit.synthetic import sample
from toolkit.workspace.registry import Workspace

KILLS = 10
KILLS_OF_PREDICT = 20
KILLS_OF_TRAIN = 20
LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
from toolkit.cli import main
main(sys.argv[2:])
"""
IN_SMALL_SHARDS = """
import sys
import toolkit.stages.predict
toolkit.stages.predict.SHARD = 4
from toolkit.cli import main
main(sys.argv[1:])
"""


def _parse(drawn, workspace, *, limit=resource.RLIM_INFINITY, seconds=None) -> subprocess.CompletedProcess:
    """Run `toolkit parse`; no file it writes may grow over `limit` bytes, and it is killed after `seconds`."""
    where = ["--quiet", "--study", drawn.study, "--workspace", workspace]
    command = [sys.executable, "-c", LIMITED, limit, *where, "parse", drawn.export]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=seconds, check=False)


def _content(workspace: Path) -> str:
    command = [sys.executable, "-m", "toolkit", "--json", "--workspace", str(workspace), "status"]
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["content_hash"]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return sample(tmp_path_factory.mktemp("drawn") / "sample", cases=150, photographs=False)


@pytest.fixture(scope="module")
def clean(drawn, tmp_path_factory):
    """The content hash and the time of a run that nothing disturbs."""
    workspace, began = tmp_path_factory.mktemp("clean") / "workspace", time.monotonic()
    assert 0 == _parse(drawn, workspace).returncode
    return _content(workspace), time.monotonic() - began


def test_parsing_killed_at_random_moments_and_run_again_gives_the_same(drawn, clean, tmp_path):
    expected, seconds = clean
    moments, killed = random.Random(4), 0
    for number in range(KILLS):
        workspace = tmp_path / "workspace"
        try:
            _parse(drawn, workspace, seconds=seconds * moments.uniform(0.1, 0.8))
        except subprocess.TimeoutExpired:
            killed += 1
        if number % 3 == 0:
            assert 0 == _parse(drawn, workspace).returncode
            assert expected == _content(workspace)
            shutil.rmtree(workspace)

    assert killed >= KILLS // 2


@pytest.mark.parametrize("limit", [100, 20_000, 60_000, 300_000, 800_000])
def test_a_disk_that_is_full_ends_in_one_clear_message_and_a_rerun_goes_on(drawn, clean, tmp_path, limit):
    stopped = _parse(drawn, tmp_path / "workspace", limit=limit)

    assert 1 == stopped.returncode
    assert "Traceback" not in stopped.stderr
    assert stopped.stderr.startswith("error: ")
    assert 0 == _parse(drawn, tmp_path / "workspace").returncode
    assert clean[0] == _content(tmp_path / "workspace")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A study whose predicting takes some seconds, and its workspace."""
    folder = tmp_path_factory.mktemp("trained")
    drawn = sample(folder / "sample", cases=200, seed=3)
    text = drawn.study.read_text(encoding="utf-8").replace("epochs = 20", "epochs = 1")
    drawn.study.write_text(text.replace("[predict]\nbatch_size = 32", "[predict]\nbatch_size = 4\nviews = 8"))
    study_file = StudyFile(load_study(drawn.study), drawn.study)
    list(run(Workspace(folder / "workspace"), study_file, [drawn.export], images=drawn.images))
    return drawn, folder / "workspace"


def _predict(drawn, workspace, *, seconds=None) -> bool:
    """Run `toolkit predict`; tell whether it ended before it was killed, with SIGKILL."""
    where = ["--quiet", "--study", drawn.study, "--workspace", workspace, "predict"]
    command = [sys.executable, "-c", IN_SMALL_SHARDS, *where]
    try:
        subprocess.run(list(map(str, command)), capture_output=True, check=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def test_predicting_killed_at_random_moments_and_run_again_gives_the_same_to_the_last_bit(trained):
    drawn, folder = trained
    workspace, moments = Workspace(folder), random.Random(5)
    shutil.rmtree(next(folder.glob("runs/*/predictions")))
    began = time.monotonic()
    assert _predict(drawn, folder)
    seconds, expected = time.monotonic() - began, workspace.rows("from predictions order by case_id")
    killed, halfway = 0, 0
    while killed < KILLS_OF_PREDICT:
        shutil.rmtree(next(folder.glob("runs/*/predictions")))
        with workspace.writing() as connection:
            connection.execute("delete from predictions")
        while not _predict(drawn, folder, seconds=seconds * moments.uniform(0.4, 1.0)):
            killed += 1
            halfway += 0 < len(list(folder.glob("runs/*/predictions/[!.]*"))) < len(expected) // 4

        assert expected == workspace.rows("from predictions order by case_id")
    print(f"killed {killed} times, {halfway} times with some of the shards written")

    assert halfway


def _train(drawn, workspace, *, seconds=None) -> bool:
    """Run `toolkit train --resume`; tell whether it ended before it was killed, with SIGKILL."""
    command = [sys.executable, "-m", "toolkit", "--quiet", "--study", drawn.study, "--workspace", workspace, "train"]
    try:
        subprocess.run([*map(str, command), "--resume"], capture_output=True, check=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _outcome(workspace: Path) -> tuple[bytes, dict]:
    folder = next(workspace.glob("runs/*/run.json")).parent
    return (folder / "loss.csv").read_bytes(), json.loads((folder / "run.json").read_bytes())["checkpoint_files"]


def test_training_killed_at_random_moments_and_gone_on_with_gives_the_same_to_the_last_bit(tmp_path):
    drawn, folder = sample(tmp_path / "sample", cases=120, seed=4), tmp_path / "workspace"
    text = drawn.study.read_text(encoding="utf-8").replace("epochs = 20", "epochs = 12")
    drawn.study.write_text(text.replace("[train]\n", '[train]\nbest = "macro_roc_auc"\nbalance = "sampling"\n'))
    where = ["--quiet", "--study", str(drawn.study), "--workspace", str(folder)]
    for stage in (["parse", str(drawn.export), "--images", str(drawn.images)], ["audit"], ["split"]):
        subprocess.run([sys.executable, "-m", "toolkit", *where, *stage], check=True, capture_output=True)
    shutil.copytree(folder, tmp_path / "before")
    began = time.monotonic()
    assert _train(drawn, folder)
    seconds, expected = time.monotonic() - began, _outcome(folder)
    moments, killed, halfway = random.Random(6), 0, 0
    while killed < KILLS_OF_TRAIN:
        shutil.rmtree(folder)
        shutil.copytree(tmp_path / "before", folder)
        while not _train(drawn, folder, seconds=seconds * moments.uniform(0.3, 1.0)):
            killed += 1
            halfway += any(folder.glob("runs/*/training/checkpoint-*"))

        assert expected == _outcome(folder)
    print(f"killed {killed} times, {halfway} times with an epoch or more kept")

    assert halfway
