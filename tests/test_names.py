"""Runs, splits, queues, classes, metrics and groups as a person types them, in commands and in --set."""

import json

import pytest
from exports import label, row

from toolkit.cli import main
from toolkit.errors import QuestionError, WorkspaceError
from toolkit.workspace import sql
from toolkit.workspace.moments import find_moment
from toolkit.workspace.names import chosen_id
from toolkit.workspace.note import remember_study
from toolkit.workspace.queues import find_queue
from toolkit.workspace.runs import find_run, find_split

KNOWN = ["1a2b3c4d", "1a2b9999", "201b45be"]
WHERE = {"kind": "run", "place": "here", "remedy": "toolkit train"}


@pytest.fixture
def query(finished, capsys):
    """Ask the finished workspace; return exit code, stdout and stderr."""

    def ask(*arguments):
        with pytest.raises(SystemExit) as left:
            main(["--workspace", str(finished.workspace.folder), "query", *map(str, arguments)])
        return left.value.code or 0, *capsys.readouterr()

    return ask


@pytest.mark.parametrize("asked", ["201b45be", "201b", "2", "201B"])
def test_the_beginning_of_an_id_is_enough(asked):
    assert "201b45be" == chosen_id(asked, KNOWN, **WHERE)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("1a2b", "2 runs begin with 1a2b: 1a2b3c4d, 1a2b9999"),
        ("201b45bf", "no such run: 201b45bf\n.*\n.*did you mean 201b45be[?] the runs are: 1a2b3c4d"),
        ("", "no such run: \n"),
        ("x" * 5000, "no such run: x{80}…\n"),
    ],
)
def test_another_id_is_an_error_that_lists_what_there_is(asked, message):
    with pytest.raises(WorkspaceError, match=message):
        chosen_id(asked, KNOWN, **WHERE)


def test_where_there_is_none_yet_the_next_step_is_told():
    with pytest.raises(WorkspaceError, match=r"no such run: 1a\n.*\n.*toolkit train"):
        chosen_id("1a", [], **WHERE)


def test_commands_take_the_beginning_of_an_id(finished):
    workspace, split_id = finished.workspace, finished.results["Split"].split_id
    (queue_id,) = workspace.table("queues")["queue_id"]
    (export_id,) = workspace.table("exports")["export_id"]
    runs = sorted(workspace.table("runs")["run_id"])
    alone = next(n for n in range(1, 9) if sum(each.startswith(finished.run_id[:n]) for each in runs) == 1)

    assert finished.run_id == find_run(workspace, finished.run_id[:alone])
    assert split_id == find_split(workspace, split_id[:3])
    assert queue_id == find_queue(workspace, queue_id[:3])
    assert export_id == find_moment(workspace, export_id[:5]).export_id


QUESTIONS = [
    ("confusions", "run", "no such run"),
    ("confusions", "part", "no such subset"),
    ("score", "metric", "no such metric"),
    ("score", "class_name", "no such class"),
    ("groups", "group_name", "no such group"),
    ("impact", "queue", "no such queue"),
    ("changes", "before", "no such export"),
    ("findings", "kind", "no such kind"),
    ("pushes", "state", "no such state"),
    ("readers", "inference", "no such inference"),
    ("label_versions", "label_id", "no such label"),
]


@pytest.mark.soak_after(4)
@pytest.mark.parametrize(("name", "parameter", "message"), QUESTIONS)
def test_an_unknown_value_is_an_error_and_never_an_empty_answer(query, name, parameter, message):
    code, out, err = query(name, "--set", f"{parameter}=zzzz", "--format", "csv")

    assert (1, "") == (code, out)
    assert f"{message}: zzzz" in err


@pytest.mark.parametrize(
    ("name", "given", "near"),
    [
        ("score", "metric=macro_recal", "did you mean macro_recall"),
        ("score", "class_name=Melanom", "did you mean malignant_melanoma"),
        ("confusions", "part=tests", "did you mean test?"),
        ("findings", "kind=suspect_labels", "did you mean suspect_label"),
    ],
)
def test_the_nearest_names_are_told(query, name, given, near):
    assert near in query(name, "--set", given)[2]


def test_every_parameter_that_names_something_of_the_registry_says_what_there_is():
    free = {"limit", "below", "time"}
    for question in sql.questions().values():
        assert [] == [p.name for p in question.parameters if not p.among and p.name not in free], question.name


def test_the_beginning_of_a_run_is_enough_in_a_question(query, finished):
    runs = sorted(finished.workspace.table("runs")["run_id"])
    alone = next(n for n in range(1, 9) if sum(each.startswith(finished.run_id[:n]) for each in runs) == 1)
    whole, short = (
        query("confusions", "--set", f"run={run}", "--format", "csv")
        for run in (finished.run_id, finished.run_id[:alone])
    )

    assert whole == short
    assert 0 == whole[0]
    assert 1 < len(whole[1].splitlines())


def test_an_answer_without_rows_is_said_in_words(query):
    table, as_json = query("leakage"), query("leakage", "--format", "json")

    assert "no row answers this question\n" == table[1]
    assert [] == json.loads(as_json[1])
    assert "no row answers this question" in as_json[2]


def test_an_unknown_question_names_the_nearest(query):
    code, _, err = query("confusion")

    assert 1 == code
    assert "did you mean confusions" in err


def test_a_question_of_ones_own_may_say_which_values_there_are(parsed):
    workspace = parsed(row("i1", label("L1", "nevus")))
    workspace.queries.mkdir()
    (workspace.queries / "mine.sql").write_text(
        "-- Which?\n-- $name = : a class\n-- $name among readings.class_name, any one\n"
        "-- $other = x: free\n-- $gone = : of a table that is not there\n-- $gone among no_table.gone\n"
        "select $name as name, $other as other, $gone as gone\n"
    )

    assert "nevus" == workspace.ask("mine", name="nevus", other="anything", gone="y")["name"][0].as_py()
    assert "any one" == workspace.ask("mine", name="any one")["name"][0].as_py()
    with pytest.raises(QuestionError, match="no such name: melanoma"):
        workspace.ask("mine", name="melanoma")


@pytest.mark.parametrize(
    "line", ["-- $name among", "-- $other among readings.class_name", '-- $name among "a"."b"', "-- $name among a;b"]
)
def test_a_line_of_values_that_cannot_be_read_is_named(tmp_path, line):
    path = tmp_path / "mine.sql"
    path.write_text(f"-- Which?\n-- $name = : a class\n{line}\nselect 1\n")

    with pytest.raises(QuestionError, match="cannot be read"):
        sql.read_question(path)


def test_a_study_file_that_is_gone_is_told_by_status(copied, tmp_path, capsys):
    with pytest.raises(SystemExit) as left:
        main(["--study", str(tmp_path / "no.toml"), "--workspace", str(copied.folder), "status"])

    assert 1 == left.value.code
    assert "no such study file" in capsys.readouterr().err

    remember_study(copied, tmp_path / "gone.toml")
    with pytest.raises(SystemExit) as left:
        main(["--workspace", str(copied.folder), "status"])
    table = capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["--workspace", str(copied.folder), "--json", "status"])

    assert 0 == (left.value.code or 0)
    assert "the study file is not there any more" in table
    assert json.loads(capsys.readouterr().out)["study_missing"]
