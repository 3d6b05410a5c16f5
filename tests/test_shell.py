"""`toolkit shell`: a program on the PATH gets a private copy of the registry, which is gone afterwards."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from toolkit import cli
from toolkit.console.shell import open_shell
from toolkit.errors import ToolkitError
from toolkit.workspace.locks import sweep

PROGRAM = """#!/bin/sh
if [ "$1" = --version ]; then echo "{version} (fake)"; exit 0; fi
for last; do :; done
cp "$last" {seen}
stat -c %a "$last" > {seen}.mode
echo "$@" > {seen}.words
env > {seen}.env
exit {code}
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Put a program into the place of a shell: it keeps a copy of what it was given."""

    def install(name: str, *, code: int = 0, version: str = f"v{duckdb.__version__}") -> Path:
        seen, file = tmp_path / "seen", tmp_path / "bin" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(PROGRAM.format(seen=seen, code=code, version=version), encoding="utf-8")
        file.chmod(0o755)
        monkeypatch.setenv("PATH", f"{file.parent}:/usr/bin:/bin")
        return seen

    return install


def in_a_terminal(folder: Path) -> int:
    """Run `toolkit shell` in a pseudoterminal, and return its code."""
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "toolkit", "--workspace", str(folder), "shell"]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        code = process.wait()
    os.close(ours)
    return code


@pytest.mark.soak_after(1)
@pytest.mark.parametrize(("name", "flag"), [("harlequin", "--read-only"), ("duckdb", "-readonly")])
def test_a_shell_gets_a_private_copy_read_only_and_no_key(finished, program, monkeypatch, name, flag):
    monkeypatch.setenv("LABELBOX_API_KEY", "secret")
    seen = program(name)

    assert 0 == in_a_terminal(finished.workspace.folder)

    words = seen.with_suffix(".words").read_text().split()
    with duckdb.connect(seen, read_only=True) as connection:
        cases = connection.sql("select count(*) from cases").fetchall()

    assert flag == words[0]
    assert "600" == seen.with_suffix(".mode").read_text().strip()
    assert finished.workspace.folder == Path(words[-1]).parent
    assert [] == list(finished.workspace.folder.glob(".shell-*"))
    assert "secret" not in seen.with_suffix(".env").read_text()
    assert [(len(finished.workspace.table("cases")),)] == cases


@pytest.mark.parametrize(
    ("name", "version", "told"),
    [
        ("nothing", "", "harlequin is not on the PATH; duckdb is not on the PATH"),
        ("harlequin", "", "harlequin needs a terminal"),
        ("duckdb", "v1.5.6", "duckdb v1.5.6 cannot read a registry of DuckDB"),
        ("duckdb", "nonsense", "duckdb nonsense cannot read"),
    ],
)
def test_where_no_shell_can_be_used_the_error_says_why(finished, program, name, version, told):
    program(name, version=version)
    with pytest.raises(ToolkitError, match=told) as error:
        open_shell(finished.workspace)

    assert "pipx install harlequin, or install DuckDB" in error.value.remedy
    assert [] == list(finished.workspace.folder.glob(".shell-*"))


def test_a_shell_that_fails_is_told(finished, program):
    program("duckdb", code=3)
    with pytest.raises(ToolkitError, match="duckdb ended with code 3"):
        open_shell(finished.workspace)


def test_a_copy_that_a_killed_shell_left_is_swept_away(copied):
    left = copied.folder / ".shell-00000000.duckdb"
    copied.copy_registry(left)
    sweep(copied.folder)

    assert not left.exists()


def test_without_a_registry_nothing_is_opened(tmp_path, program, capsys):
    program("duckdb")
    with pytest.raises(SystemExit) as left:
        cli.main(["--workspace", str(tmp_path / "none"), "shell"])

    assert left.value.code == 1
    assert "next:" in capsys.readouterr().err


def test_the_copy_stays_as_it_was_while_a_command_writes(copied, tmp_path):
    copy = tmp_path / "copy.duckdb"
    copied.copy_registry(copy)
    with copied.writing() as connection:
        connection.execute("delete from findings")
    with duckdb.connect(copy, read_only=True) as connection:
        ((kept,),) = connection.sql("select count(*) from findings").fetchall()

    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert kept > 0
