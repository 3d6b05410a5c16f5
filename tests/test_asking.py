"""`toolkit query` from a file, again and again, and in the workspace that the environment names."""

import os
import signal
import stat
import subprocess
import sys
import time

import openpyxl
import pytest
from exports import label, row

from toolkit.cli import main
from toolkit.workspace.registry import Workspace


@pytest.fixture
def workspace(parsed) -> Workspace:
    return parsed(row("i1", label("L1", "nevus"), patient="P-1"))


@pytest.fixture
def query(workspace, capfd):
    """Ask a parsed workspace; return exit code, stdout and stderr."""

    def ask(*arguments):
        with pytest.raises(SystemExit) as left:
            main(["--workspace", str(workspace.folder), "query", *map(str, arguments)])
        return left.value.code or 0, *capfd.readouterr()

    return ask


def test_a_file_of_sql_is_asked_with_its_parameters(query, tmp_path):
    file = tmp_path / "mine.sql"
    file.write_text(
        "-- Which readings?\n-- $class_name = nevus: a class\n-- $class_name among readings.class_name\n"
        "select case_id, class_name from readings where class_name = $class_name\n"
    )
    plain = tmp_path / "plain.sql"
    plain.write_text("\ufeffselect count(*) as n\r\nfrom cases;\r\n", newline="")

    assert 2 == len(query("--file", file, "--format", "csv")[1].splitlines())
    assert "no such class: melanoma" in query("--file", file, "--set", "class_name=melanoma")[2]
    assert (0, "n\n1\n") == query("--file", plain, "--format", "csv")[:2]
    assert "takes no parameter other" in query("--file", plain, "--set", "other=1")[2]


@pytest.mark.soak_after(3)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        (b"\xff", "UTF-8"),
        (b"select 1; select 2", "one statement"),
        (b"drop table cases", "no question"),
        (b"copy cases to 'x.csv'", "no question"),
        (b"-- $a b\nselect 1", "parameter line"),
        (b"select '\x1b'", "control characters"),
    ],
)
def test_a_file_that_is_no_question_is_refused(query, tmp_path, content, message):
    if content is not None:
        (tmp_path / "mine.sql").write_bytes(content)
    code, out, err = query("--file", tmp_path / "mine.sql")

    assert (1, "") == (code, out)
    assert message in err
    assert str(tmp_path / "mine.sql") in err


@pytest.mark.parametrize(
    "arguments",
    [
        ("runs", "--file", "x.sql"),
        ("--sql", "select 1", "--file", "x.sql"),
        ("--sql", "select $a", "--set", "a=1"),
        ("runs", "--watch", "5", "--output", "x.csv"),
        ("runs", "--watch", "5", "--format", "parquet"),
        ("--watch", "5"),
    ],
)
def test_what_does_not_go_together_is_said(query, arguments):
    code, out, err = query(*arguments)

    assert (1, "") == (code, out)
    assert "next:" in err


@pytest.mark.parametrize("every", ["0", "0.5", "-1", "nan", "x"])
def test_an_answer_is_asked_again_after_a_second_or_more(query, every):
    assert 2 == query("runs", "--watch", every)[0]


def test_a_watch_sees_what_is_written_meanwhile_stops_no_writer_and_ends_with_ctrl_c(workspace):
    command = [sys.executable, "-m", "toolkit", "--workspace", str(workspace.folder), "query", "--watch", "1"]
    watching = subprocess.Popen(
        [*command, "--format", "csv", "--sql", "select count(*) as n from readings"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert ["n\n", "1\n"] == [watching.stdout.readline(), watching.stdout.readline()]
    started = time.monotonic()
    with workspace.writing() as connection:
        connection.execute("delete from readings")
    waited = time.monotonic() - started
    seen = {line for _ in range(6) if (line := watching.stdout.readline()) != "n\n"}
    watching.send_signal(signal.SIGINT)
    _, messages = watching.communicate(timeout=20)

    assert 5 > waited
    assert "0\n" in seen
    assert 0 == watching.returncode
    assert "Traceback" not in messages
    assert "UTC" in messages


def test_parquet_is_not_poured_on_a_terminal(workspace, monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with pytest.raises(SystemExit) as left:
        main(["--workspace", str(workspace.folder), "query", "exports", "--format", "parquet"])

    assert 1 == left.value.code
    assert "--output FILE.parquet" in capsys.readouterr().err


def test_a_workbook_is_written_whole_and_private_and_nothing_is_overwritten(query, tmp_path):
    path = tmp_path / "new" / "a.xlsx"
    asked = ("--sql", "select '1045408649593e03' as case_id, 2 as n", "--output", path)
    first, again = query(*asked), query(*asked)

    assert (0, "") == first[:2]
    assert [("case_id", "n"), ("1045408649593e03", 2)] == list(openpyxl.load_workbook(path).active.values)
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    assert 1 == again[0]
    assert "there is a file already" in again[2]


@pytest.mark.soak_after(1)
@pytest.mark.parametrize("text", ["select repeat('x', 40000) as a", "select range as i from range(1048576)"])
def test_what_a_workbook_cannot_hold_is_said_and_leaves_no_file(query, tmp_path, text):
    code, _, err = query("--sql", text, "--output", tmp_path / "a.xlsx")

    assert 1 == code
    assert "a workbook holds" in err or "a cell of a workbook holds" in err
    assert [] == list(tmp_path.glob("*a.xlsx*"))


def test_the_environment_may_name_the_workspace(workspace, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("TOOLKIT_WORKSPACE", str(workspace.folder))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main(["query", "--format", "csv", "--sql", "select count(*) as n from cases"])
    by_environment = capsys.readouterr().out
    with pytest.raises(SystemExit) as other:
        main(["--workspace", str(tmp_path / "other"), "query", "exports"])
    told = capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--help"])

    assert (0, "n\n1\n") == (left.value.code or 0, by_environment)
    assert 1 == other.value.code
    assert str(tmp_path / "other") in told
    assert "TOOLKIT_WORKSPACE" in capsys.readouterr().out


def test_an_empty_name_in_the_environment_is_none(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("TOOLKIT_WORKSPACE", "")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["query", "exports"])

    assert "where: workspace\n" in capsys.readouterr().err
