"""What a shell completes, asked as its script asks: commands, runs, splits, questions and their parameters."""

import os
import shutil
import subprocess
import sys

import pytest

from toolkit.completion import queues, runs, splits


def offered(workspace, *words: str) -> set[str]:
    """Return what `toolkit __complete` offers for the last of the words."""
    command = [sys.executable, "-m", "toolkit", "__complete", *words]
    environment = {**os.environ, "TOOLKIT_WORKSPACE": str(workspace.folder)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return {line.partition("\t")[0] for line in done.stdout.splitlines() if line and not line.startswith("\x1f")}


@pytest.mark.parametrize(
    ("words", "table"),
    [(("report", "--run", ""), "runs"), (("train", "--split", ""), "splits"), (("predict", "--run", ""), "runs")],
)
def test_runs_and_splits_are_those_of_the_workspace(finished, words, table):
    column = {"runs": "run_id", "splits": "split_id"}[table]
    ids = {row[column] for row in finished.workspace.rows(f"select distinct {column} from {table}")}

    assert {"latest", *ids} == offered(finished.workspace, *words)


def test_questions_and_what_they_take(finished):
    run_id = finished.results["Report"].run_id
    taken = offered(finished.workspace, "query", "confusions", "--set", "")

    assert {"confusions", "score", "queue"} <= offered(finished.workspace, "query", "")
    assert {"part=test", "part=validation", "run=latest", f"run={run_id}"} <= taken


def test_where_there_is_no_workspace_nothing_but_the_word_latest_is_offered(tmp_path, monkeypatch):
    monkeypatch.setenv("TOOLKIT_WORKSPACE", str(tmp_path / "none"))

    assert [["latest"]] * 3 == [runs(), splits(), queues()]


def test_the_workspace_is_the_one_on_the_command_line(finished, monkeypatch):
    for words in (["--workspace", str(finished.workspace.folder)], [f"--workspace={finished.workspace.folder}"]):
        monkeypatch.setattr(sys, "argv", ["toolkit", "__complete", *words, "report", "--run", ""])

        assert finished.results["Report"].run_id in runs()


@pytest.mark.soak_after(1)
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_is_one(shell):
    done = subprocess.run(
        [sys.executable, "-m", "toolkit", "completion", shell], capture_output=True, text=True, check=True
    )

    assert "__complete" in done.stdout
    if found := shutil.which(shell):
        subprocess.run([found, "-n"], input=done.stdout, text=True, check=True)
