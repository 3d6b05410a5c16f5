"""Commands on one workspace at the same time: who waits, for whom, and what a killed one leaves."""

import subprocess
import sys
import threading
import time

import pytest

from toolkit.errors import ToolkitError
from toolkit.workspace import locks
from toolkit.workspace.locks import EVERYTHING, LABELS, beside_others, held

HOLD = """
import sys, time
from pathlib import Path
from toolkit.workspace.locks import beside_others, held
hold = {"alone": held, "beside": beside_others}[sys.argv[1]]
with hold(Path(sys.argv[2]), sys.argv[3], sys.argv[4]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path):
    """Start processes that hold locks of a workspace until they are told to stop."""
    started = []

    def hold(how: str, lane: str, command: str) -> subprocess.Popen:
        arguments = [sys.executable, "-c", HOLD, how, str(tmp_path), lane, command]
        process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert "held" == process.stdout.readline().strip()
        return process

    yield hold
    for process in started:
        process.kill()
        process.communicate()


def refused(folder, lane, monkeypatch, hold=beside_others):
    monkeypatch.setattr(locks, "WAIT", 0.2)
    with pytest.raises(ToolkitError) as caught, hold(folder, lane, "evaluate"):
        pass
    return str(caught.value)


def test_a_command_that_waits_too_long_says_for_whom_and_advises_no_deletion(other, tmp_path, monkeypatch):
    process = other("beside", LABELS, "parse")
    told = refused(tmp_path, LABELS, monkeypatch)

    assert f"toolkit parse (process {process.pid}, since 20" in told
    assert "wait until it has ended" in told
    assert not {"delete", "remove"} & set(told.split())


def test_a_command_goes_on_as_soon_as_the_other_has_ended(other, tmp_path):
    process, told = other("beside", LABELS, "parse"), []
    threading.Timer(1.5, process.kill).start()
    began = time.monotonic()
    with beside_others(tmp_path, LABELS, "audit", progress=lambda text, *_: told.append(text)):
        waited = time.monotonic() - began

    assert 1 < waited < 20
    assert 1 == len(told)
    assert told[0].startswith(f"waiting for toolkit parse (process {process.pid}, since 20")


def test_training_and_labels_go_on_side_by_side_and_a_withdrawal_waits_for_both(other, tmp_path, monkeypatch):
    other("beside", "run-1a2b3c4d", "train")
    with beside_others(tmp_path, LABELS, "parse"):
        pass
    told = refused(tmp_path, EVERYTHING, monkeypatch, hold=held)

    assert "toolkit train" in told
    other("beside", LABELS, "audit")
    assert "toolkit audit" in refused(tmp_path, EVERYTHING, monkeypatch, hold=held)


def test_nobody_works_beside_a_withdrawal(other, tmp_path, monkeypatch):
    other("alone", EVERYTHING, "withdraw")

    assert "toolkit withdraw" in refused(tmp_path, "run-1a2b3c4d", monkeypatch)


def test_a_killed_command_leaves_no_lock_and_the_next_one_sweeps_up(other, tmp_path):
    process = other("beside", LABELS, "parse")
    for name in (
        ".parse-abc/x.parquet",
        "exports/.1234.ndjson.ab12",
        "runs/1a2b3c4d/.run.json.12",
        "exports/.pull-7/part",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("half")
    with beside_others(tmp_path, "run-1a2b3c4d", "train"):  # the other one is at work: nothing of its is touched
        assert (tmp_path / ".parse-abc" / "x.parquet").exists()
    process.kill()
    process.wait()
    with beside_others(tmp_path, LABELS, "audit"):
        left = sorted(path.name for path in tmp_path.rglob("*") if path.is_file() and ".lock" not in path.name)

    assert ["part"] == left  # of an unfinished pull, which the next one continues
    assert [] == list(tmp_path.glob(".lock-*"))


def test_the_lock_of_a_killed_command_goes_though_the_next_one_needs_another(other, tmp_path):
    for lane in ("registry", "ledger"):
        killed = other("alone", lane, "split")
        killed.kill()
        killed.wait()
    held_still = other("alone", "run-1234", "train")

    with beside_others(tmp_path, LABELS, "audit"):
        assert {".lock-run-1234", ".lock-tables", ".lock-workspace"} == {each.name for each in tmp_path.glob(".lock-*")}
    assert [".lock-run-1234"] == [each.name for each in tmp_path.glob(".lock-*")]
    held_still.kill()


def test_two_hundred_turns_of_three_processes_never_overlap(tmp_path):
    text = """
import sys, os
from pathlib import Path
from toolkit.workspace.locks import held
folder = Path(sys.argv[1])
for _ in range(70):
    with held(folder, "tables", "audit"):
        handle = os.open(folder / "turn", os.O_CREAT | os.O_EXCL)
        os.close(handle)
        os.unlink(folder / "turn")
"""
    turns = [subprocess.Popen([sys.executable, "-c", text, str(tmp_path)], stderr=subprocess.PIPE) for _ in range(3)]
    errors = [process.communicate()[1] for process in turns]

    assert [b"", b"", b""] == errors
    assert [] == list(tmp_path.iterdir())


def test_a_reader_never_waits_for_a_writer_nor_a_writer_for_a_reader(parsed):
    from exports import label, row

    workspace = parsed(row("i1", label("L1", "nevus")), row("i2", label("L2", "melanoma")))
    slowest, done = 0.0, threading.Event()

    def read() -> None:
        nonlocal slowest
        while not done.is_set():
            began = time.monotonic()
            workspace.rows("select count(*) from cases")
            slowest = max(slowest, time.monotonic() - began)

    def write() -> None:
        for _ in range(10):
            with workspace.writing() as connection:
                connection.execute("update label_states set study = study || 'x'")

    with workspace.reading() as open_for_long:
        reader = threading.Thread(target=read)
        reader.start()
        writer = threading.Thread(target=write)
        writer.start()
        writer.join()
        done.set()
        reader.join()
        seen = open_for_long.execute("select study from label_states").fetchone()[0]

    assert not seen.endswith("x")  # what a reader has opened stays as it was
    assert workspace.rows("select study from label_states")[0]["study"].endswith("x" * 10)
    assert slowest < 5


def test_changes_beside_the_registry_are_refused(parsed):
    from exports import label, row

    workspace = parsed(row("i1", label("L1", "nevus")))
    workspace.registry.with_name("registry.duckdb.wal").write_bytes(b"anything")

    with pytest.raises(ToolkitError, match="toolkit rebuild"):
        workspace.rows("from cases")
