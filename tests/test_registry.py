import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest
from exports import label, row

import toolkit
from toolkit.errors import QuestionError, WorkspaceError
from toolkit.workspace import sql
from toolkit.workspace.registry import Workspace, insert, table_schema

ROOT = Path(__file__).parents[1]


def test_an_empty_workspace_says_what_to_do(workspace):
    with pytest.raises(WorkspaceError, match="toolkit --workspace DIR parse"):
        workspace.rows("from cases")


def test_a_block_that_fails_changes_nothing(parsed):
    workspace = parsed(row("i1", label("L1", "nevus")))
    with pytest.raises(ZeroDivisionError), workspace.writing() as connection:
        connection.execute("delete from cases")
        raise ZeroDivisionError

    assert 1 == len(workspace.rows("from cases"))


def test_a_changed_schema_file_is_refused(parsed):
    workspace = parsed(row("i1", label("L1", "nevus")))
    with workspace.writing() as connection:
        connection.execute("update schema_history set sha256 = 'other'")

    with pytest.raises(WorkspaceError, match="another version of the schema"), workspace.writing():
        pass


@pytest.mark.soak_after(2)
@pytest.mark.parametrize(
    "text",
    [
        "delete from cases",
        "drop view truth",
        "from read_csv('/etc/passwd')",
        "copy cases to 'cases.csv'",
        "attach 'other.duckdb'",
        "install httpfs",
        "set enable_external_access = true",
        "select 1; select 2",
        "select nonsense from nowhere",
        "",
    ],
)
def test_only_reading_the_registry_is_possible(parsed, text):
    workspace = parsed(row("i1", label("L1", "nevus")))

    with pytest.raises(QuestionError):
        workspace.sql(text)
    assert 1 == len(workspace.rows("from cases"))


def test_python_variables_are_out_of_reach(parsed):
    workspace = parsed(row("i1", label("L1", "nevus")))
    hidden = pa.table({"a": [1]})

    with pytest.raises(QuestionError):
        workspace.sql("from hidden")
    assert 1 == hidden.num_rows


def test_nan_stays_nan(parsed):
    workspace = parsed(row("i1", label("L1", "nevus")))
    with workspace.writing() as connection:
        connection.execute(
            "insert into runs values ('r', 's', 't', 'm', 1, 1, 1, 1, 'cpu', now(), null, null, null, null, null)"
        )
        insert(connection, "epochs", pa.table({"run_id": ["r"], "epoch": [1], "metric": ["x"], "value": [math.nan]}))

    assert math.isnan(workspace.rows("select value from epochs")[0]["value"])


def test_python_users_get_data_frames(parsed):
    workspace = toolkit.open(parsed(row("i1", label("L1", "nevus"))).folder)

    assert ["nevus"] == list(workspace.table("readings")["class_name"])
    assert isinstance(workspace, Workspace)


MAY_HAVE_NONE = (
    "pushes",
    "releases",
    *("impact", "label_versions", "leakage", "length_flips", "low_label_mass", "readers", "similar_patients"),
    *("missed_malignant", "unknown_keys"),
    *("image_quality", "unlabelled"),  # asked by their own tests
)
OF_TWO_RUNS = ("adaptation", "comparison", "fixed_and_broken", "seed_differences")  # asked by their tests


def test_every_question_file_is_a_question():
    files = {path.stem for path in (ROOT / "sql" / "queries").glob("*.sql")}

    assert 29 <= len(files)
    assert files == set(sql.questions())


@pytest.mark.soak
@pytest.mark.parametrize("question", sql.questions().values(), ids=lambda question: question.name)
def test_every_question_has_an_answer_on_a_finished_run(finished, question):
    given = dict.fromkeys(("run", "other"), finished.run_id) if question.name in OF_TWO_RUNS else {}
    answer = finished.workspace.read(question.text, sql.bind(question, given))

    assert question.question.endswith((".", "?"))
    assert answer.num_columns > 1
    assert 0 < answer.num_rows or question.name in (*OF_TWO_RUNS, *MAY_HAVE_NONE)


def test_a_workspace_may_bring_its_own_questions(parsed):
    workspace = parsed(row("i1", label("L1", "nevus")))
    workspace.queries.mkdir()
    (workspace.queries / "mine.sql").write_text(
        "-- Which cases?\n-- $part = x: a part\nselect case_id, $part as part from cases\n"
    )

    assert ["test"] == workspace.ask("mine", part="test")["part"].to_pylist()
    assert "x" == workspace.ask("mine")["part"].to_pylist()[0]


@pytest.mark.parametrize(("given", "told"), [({"nonsense": "1"}, "takes no parameter nonsense"), ({}, "needs part")])
def test_wrong_parameters_are_named(parsed, given, told):
    workspace = parsed(row("i1", label("L1", "nevus")))
    workspace.queries.mkdir()
    (workspace.queries / "mine.sql").write_text("-- Which?\n-- $part: a part\nselect $part as part, 1 as one\n")

    with pytest.raises(QuestionError, match=told):
        workspace.ask("mine", **given)


def test_a_parameter_is_bound_never_pasted(finished):
    text = "select count(*) as runs from run_names where name = $run"

    assert 0 == finished.workspace.sql(text, {"run": "latest' or '1'='1"})["runs"][0].as_py()


@pytest.mark.parametrize("text", ["select 1\n", "-- Which?\n-- $part a part\nselect 1\n"])
def test_a_question_file_that_cannot_be_read_is_named(tmp_path, text):
    (tmp_path / "mine.sql").write_text(text)

    with pytest.raises(QuestionError) as caught:
        sql.read_question(tmp_path / "mine.sql")

    assert str(tmp_path / "mine.sql") == caught.value.place


def test_literals_are_quoted():
    assert "'o''clock'" == sql.quoted("o'clock")


def test_the_arrow_schema_of_a_table_is_that_of_the_sql():
    texts = pa.map_(pa.string(), pa.float64())

    assert ["run_id", "part", "kind", "detail"] == table_schema("departures").names
    assert pa.timestamp("us") == table_schema("runs").field("finished_at").type
    assert texts == table_schema("predictions").field("probabilities").type


def test_what_is_read_in_one_block_comes_from_one_state(copied):
    with copied.reading():
        before = copied.rows("select count(*) as n from findings")
        other = Workspace(copied.folder)
        with ThreadPoolExecutor(1) as pool:  # another process, as far as the registry is concerned
            pool.submit(forget_findings, other).result()

        assert before == copied.rows("select count(*) as n from findings")
    assert [{"n": 0}] == copied.rows("select count(*) as n from findings")


def forget_findings(workspace):
    with workspace.writing() as connection:
        connection.execute("delete from findings")


def test_nothing_is_written_in_a_block_that_reads(copied):
    """DuckDB would go on giving this process what it has open."""
    with copied.reading(), pytest.raises(RuntimeError, match="what is read in this block"):
        forget_findings(copied)


def test_an_answer_that_was_not_fetched_whole_does_not_hinder_the_next(copied):
    with copied.reading() as opened:
        opened.execute("from findings")

        assert copied.rows("select count(*) as n from findings")[0]["n"] > 1
