"""The tutorial's commands, typed in a shell as they stand there, in the folders that it names."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import openpyxl
import pytest

from toolkit.synthetic import sample

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"
SECTIONS = re.split(r"^## ", TUTORIAL.read_text(encoding="utf-8"), flags=re.MULTILINE)
ALIAS = "shopt -s expand_aliases; alias tk='.venv/bin/toolkit --workspace build/demo/workspace'\n"


def blocks(heading: str) -> list[str]:
    """Return the shell commands of a section, block by block."""
    (section,) = [each for each in SECTIONS if heading in each.partition("\n")[0]]
    return re.findall(r"```sh\n(.*?)```", section, re.DOTALL)


@pytest.fixture
def folder(finished, tmp_path) -> Path:
    """The folder in which a user types: the checkout with its demo, and an export with its photographs."""
    (tmp_path / ".venv").symlink_to(Path(sys.prefix))
    shutil.copytree(finished.workspace.folder, tmp_path / "build" / "demo" / "workspace")
    shutil.copy(finished.export, tmp_path / "export.ndjson")
    (tmp_path / "photographs").symlink_to(finished.images)
    return tmp_path


def type_in(folder: Path, commands: str) -> str:
    """Type commands in bash, where `toolkit` is on the PATH; each must succeed."""
    path = f"{Path(sys.prefix) / 'bin'}:/usr/bin:/bin"
    environment = {"PATH": path, "HOME": str(folder)}
    done = subprocess.run(
        ["bash", "-e", "-c", ALIAS + commands], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )

    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


def test_questions_and_controls(folder, finished):
    for commands in blocks("Ask"):
        type_in(folder, re.sub(r"run=\w{4}\b", f"run={finished.run_id[:4]}", commands))

    assert (folder / "build" / "demo" / "cases.xlsx").is_file()


def test_a_study_of_ones_own_until_its_labels_are_put_right(folder):
    sample(folder / "second", cases=200, seed=3, stage=2, photographs=False)
    patient = re.search(r'"patient_id".{0,80}?"value": ?"([^"]+)"', (folder / "export.ndjson").read_text())[1]
    (folder / "clinical.csv").write_text(f"patient_id,smoker\n{patient},yes\n")
    start, similar, attached, changes = blocks("Your own study")
    for commands in (start, similar, attached, "toolkit --workspace work parse second/export.ndjson", changes):
        type_in(folder, commands)
    type_in(folder, "toolkit --workspace work audit")
    queue, review, became, *_ = blocks("Put labels right")[0].strip().split("\n")
    type_in(folder, queue)
    workbook = folder / "work" / "reports" / "queue" / "queue.xlsx"
    book = openpyxl.load_workbook(workbook)
    heads = [cell.value for cell in book.active[1]]
    book.active.cell(2, heads.index("verdict") + 1).value = "confirm"
    book.save(workbook)
    type_in(folder, review)

    assert "confirmed" in type_in(folder, became)
