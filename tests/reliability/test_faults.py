"""Two commands killed or starved at an operation each; all of it is in tests/soak/test_killed_and_starved.py."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from faults import Commands, Fault
from line import Line, clear

from toolkit.synthetic import sample


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    folder = tmp_path_factory.mktemp("line")
    drawn = sample(folder / "sample", cases=40, seed=5, photographs=False)
    with Commands(folder) as commands:
        yield Line(folder, commands, drawn.study), drawn


@pytest.mark.soak
def test_parse_and_rebuild_survive_a_kill_and_a_full_disk(line):
    there, drawn = line
    steps = [there.step("parse", drawn.export), there.step("rebuild")]
    for step, kind in zip(steps, ("kill", "ENOSPC"), strict=True):
        at = step.done.operations // 2
        done, wrong = there.disturbed(step, Fault(kind, at=at))

        assert [] == wrong, (step.name, kind, at, done.stderr)
        assert done.code != 0
        assert kind == "kill" or clear(done), done.stderr
