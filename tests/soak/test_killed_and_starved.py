"""Every command killed at many moments and starved at every operation: run again, it gives what it always gives.

A sample of 120 cases through parse, audit, split, train, predict, evaluate, report, rebuild and withdraw, and a pull of
ten photographs from a stand-in server. Takes an hour on two cores; SOAK_MOST=8 tries eight operations of each command.
"""

import json
import os
import random
import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "reliability"))

from exports import label, row
from fakes.labelbox_server import Server
from faults import Commands, Fault
from line import LINE, Line, Step, clear, faults_of
from state import differences, state_of
from test_pull import picture, text_of

from toolkit.shipped import shipped
from toolkit.synthetic import sample

KILLS_AT, KILLS_AFTER = 20, 5
"""Kills of each command: before an operation, and after a time, which also meets native code."""
SIZES = (1_000, 20_000, 100_000, 400_000)
MOST = int(os.environ.get("SOAK_MOST", "100000"))
TWO_KINDS = ("ENOSPC", "EIO")


@pytest.fixture(scope="module")
def steps(tmp_path_factory):
    """The whole line, undisturbed, and the commands that follow it."""
    folder = tmp_path_factory.mktemp("line")
    drawn = sample(folder / "sample", cases=120, seed=5)
    text = drawn.study.read_text().replace("epochs = 20", "epochs = 3").replace("replicates = 2000", "replicates = 200")
    drawn.study.write_text(text)
    given = {"parse": [drawn.export, "--images", drawn.images], "train": ["--resume"]}
    with Commands(folder) as commands:
        line = Line(folder, commands, drawn.study)
        made = [line.step(name, *given.get(name, ())) for name in LINE]
        made += [line.step("rebuild"), line.step("withdraw", a_patient(drawn.export), "--apply")]
        yield line, {step.name: step for step in made}


@pytest.fixture(scope="module")
def pulled(tmp_path_factory):
    """A pull of ten photographs."""
    folder = tmp_path_factory.mktemp("pull")
    rows = [row(f"i{n}", label(f"L{n}", "nevus"), patient=f"P-{n}") for n in range(10)]
    with Server(b"") as server:
        for number, each in enumerate(rows):
            each["data_row"]["row_data"] = f"{server.url}/photographs/{number}.jpg?Signature=SECRET"
            server.files[f"/photographs/{number}.jpg"] = ("image/jpeg", picture(number))
        server.export = text_of(rows)
        study = "".join(
            each
            for each in (shipped("manifests") / "demo.toml").read_text().splitlines(keepends=True)
            if not each.startswith("pinned")
        )
        (folder / "study.toml").write_text(study + '\n[pull]\nhosts = ["127.0.0.1"]\nallow_private = true\n')
        with Commands(folder, server.environment) as commands:
            line = Line(folder, commands, folder / "study.toml")
            yield line, line.step("pull")


def a_patient(export: Path) -> str:
    """Return the identifier of the patient with the most photographs."""
    rows = [json.loads(each) for each in export.read_text().splitlines() if each.startswith("{")]
    fields = [field for each in rows for field in each.get("metadata_fields", ())]
    patients = [str(field["value"]) for field in fields if field["schema_name"] == "patient_id"]
    return Counter(patient for patient in patients if len(patient) > 3).most_common(1)[0][0]


def tried(line: Line, step: Step, faults: list[Fault]) -> list[str]:
    """Disturb a command in every way that is given, print how often it was met, and return what went wrong."""
    wrong, met = [], 0
    for fault in faults:
        done, differing = line.disturbed(step, fault)
        met += done.code != 0
        if differing or (fault.kind != "kill" and not clear(done)):
            wrong.append(f"{step.name} {fault}: code {done.code}, {differing} {done.stderr[-600:]}")
    kinds = ", ".join(sorted({fault.kind for fault in faults}))
    print(f"{step.name}: {len(faults)} times {kinds}, {met} of them met the command at work, {len(wrong)} wrong")
    return wrong


def kills(step: Step) -> list[Fault]:
    moments = random.Random(step.name)
    after = [Fault("kill", seconds=moments.uniform(0.05, 1) * step.done.seconds) for _ in range(KILLS_AFTER)]
    return [*faults_of(step, "kill", min(KILLS_AT, MOST)), *after]


def starvings(step: Step) -> list[Fault]:
    """Each operation fails once, in turn by a full disk and by one that is broken; then files that may not grow."""
    faults = [Fault(TWO_KINDS[fault.at % 2], at=fault.at) for fault in faults_of(step, "EIO", MOST) if fault.at]
    return [*faults, *(Fault("EFBIG", size=size) for size in SIZES)]


@pytest.mark.parametrize("name", [*LINE, "rebuild", "withdraw"])
def test_a_killed_command_run_again_gives_the_same(steps, name):
    line, made = steps

    assert [] == tried(line, made[name], kills(made[name]))


@pytest.mark.parametrize("name", [*LINE, "rebuild", "withdraw"])
def test_a_starved_command_says_so_and_run_again_gives_the_same(steps, name):
    line, made = steps

    assert [] == tried(line, made[name], starvings(made[name]))


def test_a_killed_or_starved_pull_run_again_gives_the_same(pulled):
    line, step = pulled

    assert [] == tried(line, step, [*kills(step), *starvings(step)])


def test_the_line_twice_is_equal_in_all_but_its_times(steps):
    line, made = steps
    shutil.rmtree(line.workspace)
    for name in LINE:
        assert 0 == line.run(made[name].arguments).code

    found = differences(made["report"].after, state_of(line.workspace))

    # Pages tell when a run was trained and how often, and when, the test set was scored.
    assert [] == [name for name in found if not name.startswith("reports/")]
    print(f"the same line twice: differing are {found or 'no files'}")
