"""The twenty questions of docs/everyday.md, typed as they stand there."""

import json
import re
import shlex
from pathlib import Path

import openpyxl
import pytest

from toolkit.cli import main

PAGE = Path(__file__).parents[1] / "docs" / "everyday.md"
COMMANDS = re.findall(r"\| `toolkit (.*?)` \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
RIGHTLY_EMPTY = ("query leakage",)


def test_there_are_twenty_and_none_has_a_join():
    assert 20 == len(COMMANDS) == len(set(COMMANDS))
    assert not [each for each in COMMANDS if " join " in each.lower()]


@pytest.mark.soak_after(3)
@pytest.mark.parametrize(
    "command",
    # Named questions without parameters are asked of a finished run elsewhere, too: soak types them.
    [each if " --" in each else pytest.param(each, marks=pytest.mark.soak) for each in COMMANDS],
)
def test_each_is_answered_by_one_command(finished, monkeypatch, capsys, tmp_path, command):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main(["--workspace", str(finished.workspace.folder), "--json", *shlex.split(command)])
    out = capsys.readouterr().out

    assert 0 == (left.value.code or 0)
    if "--output" in command:
        assert finished.workspace.rows("select count(*) as n from cases")[0]["n"] == _rows(tmp_path / "cases.xlsx")
    else:
        assert bool(json.loads(out)) == (command not in RIGHTLY_EMPTY)


def _rows(workbook: Path) -> int:
    return openpyxl.load_workbook(workbook).active.max_row - 1
