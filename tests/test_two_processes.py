"""Processes that work together, on one machine or on several: what they say where another one is gone."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from toolkit.errors import ToolkitError, WorkspaceError
from toolkit.models import watch
from toolkit.models.processes import Process, _check_restarts, gather
from toolkit.models.watch import Watch
from toolkit.stages import predict
from toolkit.workspace import locks, shared_disk
from toolkit.workspace.registry import Workspace

PROGRAM = Path(__file__).with_name("killed_processes.py")


class Tried(NamedTuple):
    """What one process predicted, what two did that were killed and started again, and what they said each time."""

    one: Path
    two: Path
    elsewhere: Path
    rounds: list[dict]


@pytest.fixture(scope="module")
def tried(finished, tmp_path_factory):
    """All at once: what two processes have to import is imported once."""
    folder = tmp_path_factory.mktemp("two")
    one, two, elsewhere = (folder / name for name in ("one", "two", "elsewhere"))
    shutil.copytree(finished.workspace.folder, one)
    forget_predictions(one)
    for copy in (two, elsewhere):
        shutil.copytree(one, copy)
    words = ["--study", finished.study_file.path, "predict", "--run", finished.results["Trained"].run_id]
    apart = [[str(one), str(elsewhere)], None, 0, 60]
    rounds = [*([[str(two)] * 2, *how] for how in ([1, 2, 60], [0, 2, 60], [0, 0, 2], [None, 0, 60])), apart]
    done = subprocess.run(
        [sys.executable, PROGRAM, json.dumps(rounds), folder, *words], capture_output=True, text=True, check=False
    )
    assert 0 == done.returncode, done.stderr[-2000:]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predict, "SHARD", 4)
        predict.predict(Workspace(one), finished.study_file.study, run=finished.results["Trained"].run_id)
    return Tried(one, two, elsewhere, json.loads(done.stdout))


def forget_predictions(folder: Path) -> None:
    for each in [*folder.glob("runs/*/predictions"), *folder.glob("runs/*/predictions.json")]:
        shutil.rmtree(each) if each.is_dir() else each.unlink()
    with Workspace(folder).writing() as connection:
        connection.execute("delete from predictions")


def made(folder: Path) -> tuple[dict[str, bytes], list[dict]]:
    """Return the bytes of all that a prediction writes, and the registry's rows."""
    files = [*folder.glob("runs/*/predictions/*"), *folder.glob("runs/*/predictions.json")]
    rows = Workspace(folder).rows("from predictions order by all")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}, rows


def test_one_of_two_processes_killed_and_both_started_again_give_the_bytes_of_one(tried):
    second_killed, first_killed, at_once, last, _ = tried.rounds

    assert [1, -9] == second_killed["codes"]
    assert "error: another process of this command has ended" in second_killed["said"][0]
    assert [-9, 1] == first_killed["codes"]
    assert "run the same command again on every machine" in first_killed["said"][1]
    assert [-9, 1] == at_once["codes"]
    assert "error: the processes have not come together" in at_once["said"][1]
    assert [0, 0] == last["codes"], last["said"]
    assert "" == last["said"][1]  # only the first speaks
    assert len(made(tried.one)[0]) > 10
    assert made(tried.one) == made(tried.two)
    assert [] == list(tried.two.rglob(".*"))


def test_a_process_that_sees_another_workspace_says_so(tried):
    done = tried.rounds[-1]

    assert [1, 1] == done["codes"]
    assert "error: another workspace than the first process has" in done["said"][1]
    assert f"where: {tried.elsewhere}" in done["said"][1]
    assert "Traceback" not in "".join(done["said"])


@pytest.fixture
def store():
    from torch.distributed import TCPStore

    return TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)


def test_processes_that_have_not_come_are_named(store):
    store.set("here/0", "a machine")
    with pytest.raises(ToolkitError) as caught:
        gather(store, Process(2, 4), timedelta(seconds=0.1))

    assert "2 of 4 processes have not come within 0 s: number 1, 3" in str(caught.value)


def watched(store, monkeypatch, *, silence: float):
    """Watch as the first of two processes; return what it says at its end, and the moment."""
    monkeypatch.setattr(watch, "BEAT", 0.02)
    monkeypatch.setattr(watch, "SILENCE", silence)
    said, began, heard = [], time.monotonic(), threading.Event()

    def ended(fault: ToolkitError) -> None:
        said.append(str(fault))
        heard.set()

    one = Watch(store, 0, 2, ended=ended)
    return one, said, heard, began


def test_a_process_that_nothing_is_heard_of_ends_the_others(store, monkeypatch):
    one, said, heard, began = watched(store, monkeypatch, silence=0.5)
    one.start()
    for beat in range(10):
        store.set("alive/1", str(beat))
        time.sleep(0.1)
    assert [] == said  # it lives for a second, which is longer than it may be silent

    assert heard.wait(10)
    assert time.monotonic() - began > 1.3
    assert said[0].startswith("nothing was heard for 0 s of 1 of the 2 processes: number 1")
    assert "alive" not in said[0]
    assert int(store.get("alive/0")) > 10


def test_a_process_whose_launcher_has_ended_ends(store, monkeypatch):
    one, said, heard, _ = watched(store, monkeypatch, silence=60)
    one.parent = os.getpid()  # anyone but the parent
    one.start()

    assert heard.wait(10)
    assert said[0].startswith("the launcher of this process has ended")


def test_watching_ends_with_the_process(store, monkeypatch):
    one, said, heard, _ = watched(store, monkeypatch, silence=60)
    one.start()
    one.stop()

    assert not one.thread.is_alive()
    assert not heard.is_set()
    assert [] == said


def test_a_launcher_that_would_give_old_addresses_to_new_processes_is_refused(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    _check_restarts()  # nothing is started again
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "3")
    with pytest.raises(ToolkitError) as caught:
        _check_restarts()
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "False")
    _check_restarts()

    assert "set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 on every machine" in str(caught.value)


def test_a_file_that_appears_late_is_waited_for_and_one_that_never_does_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(shared_disk, "PATIENCE", 5.0)
    late, never = tmp_path / "late.parquet", tmp_path / "missing" / "never.parquet"
    threading.Timer(0.3, late.touch).start()
    began = time.monotonic()
    shared_disk.wait_for_files([late])
    assert time.monotonic() - began > 0.2
    monkeypatch.setattr(shared_disk, "PATIENCE", 0.1)
    with pytest.raises(WorkspaceError) as caught:
        shared_disk.wait_for_files([late, never])

    assert "1 files that other processes have written cannot be seen here" in str(caught.value)
    assert str(never) in str(caught.value)


def test_a_disk_without_locks_is_named(tmp_path):
    (tmp_path / "file").touch()
    place = os.open(tmp_path / "file", os.O_PATH)  # which the system does not lock
    with os.fdopen(place, "rb", buffering=0) as file, pytest.raises(ToolkitError) as caught:
        locks._taken(file, locks.fcntl.LOCK_EX)

    assert "the disk of this workspace cannot lock a file" in str(caught.value)


def test_only_the_first_of_several_processes_sweeps(tmp_path, monkeypatch):
    left = tmp_path / ".registry-1234.duckdb"
    left.touch()
    monkeypatch.setenv("RANK", "1")
    with locks.beside_others(tmp_path, "run-1", "predict"):
        pass
    assert left.exists()  # on a disk whose locks do not reach other machines, the first one may be writing it
    monkeypatch.setenv("RANK", "0")
    with locks.beside_others(tmp_path, "run-1", "predict"):
        pass

    assert not left.exists()
