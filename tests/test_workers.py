"""Work on several cores: the same results in the same order, errors as they are, and nothing left running."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from toolkit.errors import ToolkitError
from toolkit.workers import spread


class Power:
    def __init__(self, exponent):
        self.exponent = exponent

    def __call__(self, batch):
        print("what is printed is no result")
        return os.getpid(), [number**self.exponent for number in batch]


class Failing:
    def __call__(self, batch):
        if batch == 3:
            raise ToolkitError("no number three", remedy="take four")
        return batch


def ending():
    return lambda _: os.kill(os.getpid(), signal.SIGKILL)


class Unwritable:
    def __call__(self, batch):
        raise type("Local", (Exception,), {})(f"{batch} cannot be written")


def slowly():
    def work(batch):
        time.sleep(0.2 * (batch % 2))
        return batch

    return work


def test_results_come_in_order_whichever_is_ready_first():
    assert list(range(7)) == list(spread(slowly, range(7), processes=3))


def test_other_processes_work_and_one_batch_or_one_core_needs_none():
    batches = [[1, 2], [3], [4, 5]]

    several = list(spread(partial(Power, 3), batches, processes=2))
    one = list(spread(partial(Power, 3), batches, processes=1))
    single = list(spread(partial(Power, 3), batches[:1], processes=2))

    assert [[1, 8], [27], [64, 125]] == [numbers for _, numbers in several] == [numbers for _, numbers in one]
    assert os.getpid() not in {process for process, _ in several}
    assert {os.getpid()} == {process for process, _ in [*one, *single]}
    assert [] == list(spread(partial(Power, 3), [], processes=2))


def test_batches_are_taken_as_they_are_needed():
    taken = []

    def batches():
        for number in range(100):
            taken.append(number)
            yield number

    results = spread(slowly, batches(), processes=2)
    next(results)

    assert len(taken) < 10
    results.close()


def test_an_error_is_raised_as_it_is():
    with pytest.raises(ToolkitError, match="no number three") as raised:
        list(spread(Failing, range(6), processes=2))

    assert "take four" == raised.value.remedy


def test_an_error_that_cannot_be_sent_is_told_in_words():
    with pytest.raises(RuntimeError, match="Local: 0 cannot be written"):
        list(spread(Unwritable, range(3), processes=2))


def test_a_process_that_was_ended_is_told():
    with pytest.raises(ToolkitError, match="has ended"):
        list(spread(ending, range(3), processes=2))


def test_processes_end_with_a_command_that_is_killed(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import os, pathlib, time\n"
        "from toolkit.workers import spread\n"
        "import test_workers\n"
        "for number, _ in spread(test_workers.Slow, range(4), processes=2): print(number, flush=True)\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])}
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True, env=environment) as command:
        worker = int(command.stdout.readline())
        command.kill()

    for _ in range(100):
        if not runs(worker):
            break
        time.sleep(0.1)
    assert not runs(worker)


class Slow:
    def __call__(self, batch):
        time.sleep(0.5)
        return os.getpid(), batch


def runs(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{process}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"
