"""`toolkit shell`: a program on the PATH gets a private copy of the registry, which is gone afterwards."""

import stat
from pathlib import Path

import duckdb
import pytest

from toolkit import cli
from toolkit.console.shell import open_shell
from toolkit.errors import ToolkitError

PROGRAM = """#!/bin/sh
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

    def install(name: str, *, code: int = 0) -> Path:
        seen, file = tmp_path / "seen", tmp_path / "bin" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(PROGRAM.format(seen=seen, code=code), encoding="utf-8")
        file.chmod(0o755)
        monkeypatch.setenv("PATH", f"{file.parent}:/usr/bin:/bin")
        return seen

    return install


@pytest.mark.parametrize(("name", "flag"), [("harlequin", "--read-only"), ("duckdb", "-readonly")])
def test_a_shell_gets_a_private_copy_read_only_and_no_key(finished, program, monkeypatch, name, flag):
    monkeypatch.setenv("LABELBOX_API_KEY", "secret")
    seen = program(name)
    open_shell(finished.workspace)
    words = seen.with_suffix(".words").read_text().split()
    with duckdb.connect(seen, read_only=True) as connection:
        cases = connection.sql("select count(*) from cases").fetchall()

    assert flag == words[0]
    assert "600" == seen.with_suffix(".mode").read_text().strip()
    assert not Path(words[-1]).exists()
    assert not Path(words[-1]).parent.exists()
    assert "secret" not in seen.with_suffix(".env").read_text()
    assert [(len(finished.workspace.table("cases")),)] == cases


def test_without_a_shell_the_error_says_what_to_install(finished, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolkitError, match="neither harlequin nor duckdb") as error:
        open_shell(finished.workspace)

    assert "harlequin" in error.value.remedy


def test_a_shell_that_fails_is_told(finished, program):
    program("duckdb", code=3)
    with pytest.raises(ToolkitError, match="duckdb ended with code 3"):
        open_shell(finished.workspace)


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
