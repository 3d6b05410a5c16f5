import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from toolkit import pipeline
from toolkit.cli import app, main
from toolkit.console import bars
from toolkit.formatting import proportion, signed

ROOT = Path(__file__).parents[1]
COMMANDS = [name for name in app if not name.startswith("-")]


@pytest.fixture
def call(finished, capsys):
    """Run a command on the finished workspace; return exit code, stdout, stderr."""

    def run(*arguments, workspace=None):
        where = ["--study", str(finished.study_file.path), "--workspace", str(workspace or finished.workspace.folder)]
        with pytest.raises(SystemExit) as left:
            main([*where, *map(str, arguments)])
        streams = capsys.readouterr()
        return left.value.code or 0, streams.out, streams.err

    return run


def test_the_docs_list_every_command_and_no_other():
    listed = re.findall(r"^## toolkit (\S+)$", (ROOT / "docs" / "cli.md").read_text(), re.MULTILINE)

    assert sorted(COMMANDS) == sorted(listed)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_an_example_and_its_place_in_the_docs(call, command):
    code, out, _ = call(command, "--help")

    assert 0 == code
    assert f"Example: toolkit {command}" in re.sub(r"\s+", " ", out).replace("--study study.toml ", "")
    assert f"## toolkit {command}\n" in (ROOT / "docs" / "cli.md").read_text()
    assert f"`{command}`" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["parse", "no-such-file.ndjson"], 1, "no such export"),
        (["parse"], 0, ""),
        (["parse", "x.ndjson", "--images", "nowhere"], 1, "no such folder of photographs"),
        (["query", "no_such_question"], 1, "no such question"),
        (["query", "--sql", "select nonsense from nowhere"], 1, "nonsense"),
        (["query", "confusions", "--set", "part"], 1, "name=value"),
        (["query", "confusions", "--sql", "select 1"], 1, "not both"),
        (["report", "--run", "no_such_run"], 1, "no such run"),
        (["predict", "--part", "training"], 2, "training"),
        (["verify", "no-such-folder"], 1, "no readable certificate"),
        (["train", "--device", "tpu"], 2, "tpu"),
        (["sample"], 2, "folder"),
        (["--no-such-flag"], 2, "--no-such-flag"),
        (["nosuchcommand"], 2, "nosuchcommand"),
    ],
)
def test_errors_say_what_is_wrong_and_exit_with_their_code(call, arguments, code, message):
    exit_code, _, err = call(*arguments)

    assert code == exit_code
    assert message.lower() in re.sub(r"\s+", " ", err).lower()
    assert "Traceback" not in err


def test_a_missing_study_is_an_error(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main(["split"])

    assert 1 == left.value.code
    assert "no study file was given" in capsys.readouterr().err


def test_an_empty_workspace_has_a_status_and_a_next_step(call, tmp_path):
    code, out, _ = call("--json", "status", workspace=tmp_path / "new")

    assert 0 == code
    assert "toolkit parse EXPORT --images DIR" == json.loads(out)["next"]


@pytest.mark.soak_after(1)
@pytest.mark.parametrize("command", ["status", "audit", "split", "train", "predict", "evaluate", "report", "query"])
def test_json_says_the_same_facts(call, command):
    code, out, _ = call("--json", command)

    assert 0 == code
    assert json.loads(out)


def test_the_study_of_a_workspace_is_remembered(finished, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main(["--workspace", str(finished.workspace.folder), "--json", "split"])

    assert 0 == (left.value.code or 0)
    assert finished.results["Split"].split_id == json.loads(capsys.readouterr().out)["split_id"]


def test_csv_and_json_answers_are_not_rounded(call, finished):
    text = "select value from scores where metric = 'macro_recall' and part = 'test' order by run_id limit 1"
    exact = finished.workspace.rows(text)[0]["value"]

    assert f"value\n{exact!r}\n" == call("query", "--sql", text, "--format", "csv")[1]
    assert [{"value": exact}] == json.loads(call("query", "--sql", text, "--format", "json")[1])


def test_probabilities_are_an_object_in_csv(call):
    out = call("query", "--sql", "select probabilities from predictions limit 1", "--format", "csv")[1]

    assert '""nevus"": ' in out


def test_markup_and_control_characters_are_shown_not_obeyed(call):
    out = call("query", "--sql", "select '[red]x[/red]' as a, chr(27) || ']0;owned' as b")[1]

    assert "[red]x[/red]" in out
    assert "\x1b]" not in out


@pytest.mark.parametrize("value", [0.0, -0.0, -0.0004])
def test_what_rounds_to_0_has_no_minus(value):
    assert ("0.000", "+0.000") == (proportion(value), signed(value))
    assert ("\N{MINUS SIGN}0.001", "\N{MINUS SIGN}0.001") == (proportion(-0.0006), signed(-0.0006))


PATHS = re.compile(r"(workspace|study|next): ")
"""Lines with a path, which is never broken."""


def test_output_is_plain_when_piped(finished):
    arguments = ["--workspace", str(finished.workspace.folder), "status"]
    answer = subprocess.run([sys.executable, "-m", "toolkit", *arguments], capture_output=True, check=True)

    assert b"\x1b" not in answer.stdout
    assert [] == [line for line in answer.stdout.decode().splitlines() if len(line) > 80 and not PATHS.match(line)]


def test_a_result_never_stands_on_the_line_of_a_bar(monkeypatch):
    terminal = Console(file=io.StringIO(), force_terminal=True)
    monkeypatch.setattr(bars, "stderr", terminal)
    with bars.drawn_progress(quiet=False) as progress:
        progress("training", 1, 2)
        bars.hide_progress(progress)
        terminal.file.write("run 1a2b3c4d")

    assert terminal.file.getvalue().partition("run 1a2b3c4d")[0].endswith("\x1b[2K")


@pytest.mark.soak
def test_a_run_tells_its_story_within_a_screen_and_in_json_it_has_every_stage(call, finished, monkeypatch):
    results = []

    def recorded(*arguments, **options):
        for result in pipeline_run(*arguments, **options):
            results.append(result)
            yield result

    pipeline_run = pipeline.run
    monkeypatch.setattr(pipeline, "run", recorded)
    code, out, err = call("run", finished.export, "--images", finished.images)
    lines = [line.rstrip() for line in out.splitlines()]

    assert 0 == code, err[-1500:]
    wraps = finished.results["Trained"].seconds >= 100  # a slow machine's number of seconds is one digit longer
    assert 68 + wraps >= len(lines)
    assert 80 >= max(len(line) for line in lines if str(finished.workspace.folder) not in line)
    assert re.match(r"next: \S*toolkit .*review .*queue.xlsx", lines[-1])
    assert f"page: {finished.results['Report'].page}" in lines

    monkeypatch.setattr(pipeline, "run", lambda *_, **__: iter(results))
    code, out, _ = call("--json", "run", finished.export, "--images", finished.images)

    assert 0 == code
    stages = ["parsed", "audit", "split", "trained", "predicted", "evaluated", "comparedwithcontrol"]
    stages += ["report", "queue", "queuepage"]
    assert stages == list(json.loads(out))
    assert json.loads(out)["trained"]["already_there"]


def test_a_command_that_works_in_one_process_is_refused_in_several(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")

    with pytest.raises(SystemExit) as left:
        main(["--workspace", str(tmp_path), "status"])

    assert 1 == left.value.code
    assert "this command works in one process" in capsys.readouterr().err


def test_no_command_takes_a_secret_as_an_option():
    """Every user of a machine can read the arguments of its processes."""
    options = set(re.findall(r"--[a-z][a-z-]*", (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")))

    assert len(options) > 20
    of_attach = {"--patient"}  # the name of a column, no identifier
    assert of_attach == {option for option in options if re.search("key|token|password|secret|patient", option)}
