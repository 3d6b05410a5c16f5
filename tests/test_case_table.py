"""Tables for the desk: one row per case, classes, annotators, progress; what they mean, within DuckDB."""

import duckdb
import numpy as np
import pandas as pd
import pytest
from exports import label, row

from toolkit.pipeline import rebuild
from toolkit.workspace import sql
from toolkit.workspace.registry import Workspace


@pytest.fixture(scope="module")
def table(finished) -> pd.DataFrame:
    return finished.workspace.table("case_table")


def test_every_case_has_one_row_with_its_facts(finished, table):
    workspace = finished.workspace
    truth = workspace.table("truth").set_index("case_id")["class_name"]
    part = workspace.table("splits").set_index("case_id")["part"]
    predicted = workspace.table("results").set_index("case_id")["predicted"]
    rows = table.set_index("case_id")

    assert sorted(workspace.table("cases")["case_id"]) == sorted(table["case_id"])
    assert table["case_id"].is_unique
    assert truth.dropna().to_dict() == rows["reference_diagnosis"].dropna().to_dict()
    assert part.to_dict() == rows["part"].dropna().to_dict()
    assert predicted.to_dict() == rows["predicted"].dropna().reindex(predicted.index).to_dict()
    right = rows.loc[predicted.index]
    assert (right["predicted"] == right["reference_diagnosis"]).to_list() == right["is_right"].to_list()


def test_votes_are_the_readings_that_count(finished, table):
    readings = finished.workspace.table("readings")
    counted = readings[readings["counts"]].groupby(["case_id", "class_name"]).size()
    votes = {
        (case, name): n for case, said in zip(table["case_id"], table["votes"], strict=True) for name, n in said or ()
    }

    assert counted.to_dict() == votes


def test_metadata_fields_are_columns_of_their_type(finished, table):
    fields = finished.workspace.table("metadata").merge(table[["case_id", "image_id"]], on="image_id")
    ages = fields[fields["name"] == "age"].set_index("case_id")["value"].astype(float)
    types = {name: kind for name, kind, *_ in _described(finished.workspace)}

    assert ages.to_dict() == table.set_index("case_id")["age"].dropna().to_dict()
    assert ("DOUBLE", "VARCHAR", "TIMESTAMP") == (types["age"], types["sex"], types["captured_at"])
    assert {"age", "sex", "anatomical_site", "capture_site", "fitzpatrick"} <= set(table.columns)


def _described(workspace: Workspace) -> list[tuple]:
    return [tuple(each.values()) for each in workspace.rows("describe case_table")]


def test_malignant_and_queue_and_findings_are_those_of_the_registry(finished, table):
    workspace, rows = finished.workspace, table.set_index("case_id")
    malignant = {each.name for each in finished.study_file.study.classes if each.malignant}
    queue = workspace.table("queue_items").set_index("case_id")["rank"]
    findings = workspace.table("findings")
    kinds = pd.concat([
        findings[["case_id", "kind"]],
        findings[["other_case_id", "kind"]].rename(columns={"other_case_id": "case_id"}),
    ]).dropna().drop_duplicates()  # fmt: skip

    known = rows.dropna(subset=["reference_diagnosis"])
    assert known["reference_diagnosis"].isin(malignant).to_list() == known["malignant"].to_list()
    assert queue.to_dict() == rows["queue_rank"].dropna().astype(int).to_dict()
    assert kinds.groupby("case_id").size().to_dict() == rows["findings"].map(len)[lambda n: n > 0].to_dict()


def test_no_column_holds_a_name_that_may_hold_a_patient(finished, table):
    images = finished.workspace.table("images")
    names = {*images["global_key"], *images["external_id"], *images["path"]} - {None}

    assert not names & {str(value) for column in table.columns for value in table[column]}


def test_classes_are_those_of_the_study(finished):
    stated = [(each.name, each.malignant, each.answer, each.aliases) for each in finished.study_file.study.classes]
    rows = finished.workspace.rows("from classes order by position")

    assert stated == [tuple(each[name] for name in ("class_name", "malignant", "answer", "aliases")) for each in rows]


def test_progress_sums_to_all_labels_and_cases(finished):
    weeks = finished.workspace.table("progress")
    readings = finished.workspace.table("readings")
    labels = finished.workspace.table("labels")
    own = labels[labels["latest"] & labels["deleted_by"].isna() & (labels["kind"] == "label") & labels["in_study"]]
    by_week = own["created_at"].dt.to_period("W").value_counts().sort_index()

    assert weeks["week"].is_monotonic_increasing
    assert by_week.to_list() == weeks["labels"][weeks["labels"] > 0].to_list()
    assert len(own) == weeks["labels"].sum() == weeks["labels_so_far"].iloc[-1]
    assert readings["case_id"].nunique() == weeks["cases"].sum() == weeks["cases_so_far"].iloc[-1]


def test_annotators_agree_as_the_question_says(finished):
    view = finished.workspace.table("annotators").set_index("annotator")
    question = finished.workspace.ask("annotators").to_pandas().set_index("annotator")

    assert question["readings"].to_dict() == view["readings"].to_dict()
    assert np.allclose(question["agreement"], view.loc[question.index, "agreement"], equal_nan=True)


def comments(workspace: Workspace) -> dict[tuple[str, str | None], str | None]:
    with duckdb.connect(str(workspace.registry), read_only=True) as connection:
        rows = connection.execute(
            "select table_name, null, comment from duckdb_tables() union all"
            " select view_name, null, comment from duckdb_views() where not internal union all"
            " select table_name, column_name, comment from duckdb_columns() where not internal"
        ).fetchall()
    return {(table, column): words for table, column, words in rows}


def test_every_table_and_column_says_in_duckdb_what_it_means(finished):
    known = comments(finished.workspace)
    of_metadata = set(finished.workspace.table("metadata")["name"])
    without = {key for key, words in known.items() if not words and key[0] != "schema_history"}
    described = {("case_table", name) for name in of_metadata}
    views = {path.stem.partition("_")[2] for path in sql.folder("views")}

    assert set() == {key for key in without - described if key[0] not in views}
    assert set() == {key for key in without - described if key[0] in ("case_table", "annotators", "progress")}
    assert "One lesion on one photograph." == known["cases", None]
    assert known["classes", "malignant"] == "Whether it is malignant."
    assert known["scores", "too_few"].startswith("Fewer patients than the interval needs")


@pytest.mark.soak
def test_what_a_later_write_makes_anew_keeps_its_words_and_columns(copied, finished):
    before = comments(copied)
    with copied.writing() as connection:
        connection.execute("select 1")
    assert before == comments(copied)
    rebuild(copied, finished.study_file)

    assert before == comments(copied)
    assert "age" in copied.table("case_table").columns


@pytest.mark.soak_after(1)
@pytest.mark.parametrize("changed", ["drop view errors", "create or replace view truth as select 1 as case_id"])
def test_a_view_that_is_another_is_made_again_by_the_next_write(copied, changed):
    def views():
        return copied.rows("select view_name, sql from duckdb_views() where not internal order by all")

    before, said = views(), comments(copied)
    with duckdb.connect(str(copied.registry)) as connection:
        connection.execute(changed)
    assert before != views()
    with copied.writing():
        pass

    assert before == views()
    assert said == comments(copied)


def test_a_field_with_a_hostile_or_a_taken_name_is_a_column_too(parsed):
    fields = {'a"; drop table cases; --': "x", "part": "left arm", "case_id": "7", "it's": "y"}
    workspace = parsed(row("i1", label("L1", "nevus"), patient="P-1"), row("i2", label("L2", "nevus"), patient="P-2"))
    with workspace.writing() as connection:
        rows = [("i1", name, "CustomMetadataString", value) for name, value in fields.items()]
        rows += [("i1", "n", "CustomMetadataNumber", "7"), ("i2", "n", "CustomMetadataString", "x")]
        connection.executemany("insert into metadata values (?, ?, ?, ?)", rows)
    rows = workspace.table("case_table").set_index("image_id")

    assert ("x", "left arm", "y") == tuple(
        rows.loc["i1", name] for name in ('a"; drop table cases; --', "part_1", "it's")
    )
    assert ["7", "x"] == rows.loc[["i1", "i2"], "n"].to_list()  # numbers for some only stay text
    assert 2 == len(rows)


ANSWERS = ("cases", "duplicates", "metadata", "missed_malignant", "patients", "progress", "queue")


@pytest.mark.soak_after(1)
@pytest.mark.parametrize("name", ANSWERS)
def test_new_questions_answer_after_one_run_without_parameters(finished, name):
    answer = finished.workspace.ask(name)

    assert 0 < answer.num_rows or name == "missed_malignant"
    assert len(set(answer.column_names)) == answer.num_columns


@pytest.mark.soak
def test_the_questions_for_the_desk_say_what_pandas_says(finished, table):
    workspace = finished.workspace
    malignant = {each.name for each in finished.study_file.study.classes if each.malignant}
    errors = workspace.table("errors")
    missed = errors[errors["truth"].isin(malignant) & ~errors["predicted"].isin(malignant) & (errors["part"] == "test")]
    sexes = workspace.ask("metadata", field="sex").to_pandas().set_index("value")["cases"]
    most = workspace.ask("patients", limit="1").to_pylist()[0]
    pairs = workspace.ask("duplicates").to_pandas()

    assert sorted(missed["case_id"]) == sorted(workspace.ask("missed_malignant")["case_id"].to_pylist())
    assert table["sex"].value_counts().to_dict() == sexes.to_dict()
    assert table["patient_id"].value_counts().max() == most["cases"]
    assert (table[table["part"] == "test"]["case_id"].count()) == workspace.ask("cases", part="test").num_rows
    assert (pairs["patient_id"] == pairs["other_patient_id"]).to_list() == pairs["same_patient"].to_list()
    assert list(range(1, len(workspace.table("queue_items")) + 1)) == workspace.ask("queue")["rank"].to_pylist()


@pytest.mark.soak
def test_questions_that_read_less_than_case_table_say_the_same(finished, table):
    workspace = finished.workspace
    named = {"patients": {"limit": "1000"}, "duplicates": {}, "metadata": {"field": "sex"}}
    patients, duplicates, sexes = (workspace.ask(name, **values).to_pandas() for name, values in named.items())
    by_patient = table.groupby("patient_id")
    one = table.set_index("case_id")["reference_diagnosis"]
    pairs = [one[duplicates[column]].to_list() for column in ("case_id", "other_case_id")]

    assert by_patient.size().to_dict() == patients.set_index("patient_id")["cases"].to_dict()
    errors = table[table["is_right"] == False].groupby("patient_id").size()  # noqa: E712 - NULL is neither
    assert errors.to_dict() == patients[patients["errors"] > 0].set_index("patient_id")["errors"].to_dict()
    found = table[table["findings"].str.len() > 0].groupby("patient_id").size()
    assert found.to_dict() == patients.set_index("patient_id")["cases_with_findings"].loc[lambda n: n > 0].to_dict()
    same = [a == b or (pd.isna(a) and pd.isna(b)) for a, b in zip(*pairs, strict=True)]
    assert same == duplicates["same_diagnosis"].to_list()
    assert table.groupby("sex").size().to_dict() == sexes.set_index("value")["cases"].to_dict()


def test_fixed_and_broken_says_what_pandas_says(finished):
    scored = finished.workspace.table("scored")
    control = finished.workspace.rows("select run_id from runs where control is not null")[0]["run_id"]
    test = scored[scored["part"] == "test"]
    said, truth = test.pivot_table("predicted", "case_id", "run_id", "first"), test.groupby("case_id")["truth"].first()
    right, other_right = said[control] == truth, said[finished.run_id] == truth

    rows = finished.workspace.ask("fixed_and_broken", run=control).to_pandas().set_index("case_id")["change"]

    assert set(truth.index[~right & other_right]) == set(rows.index[rows == "fixed"])
    assert set(truth.index[right & ~other_right]) == set(rows.index[rows == "broken"])
    assert len(rows) > 0


def test_there_are_as_many_questions_as_promised():
    assert 45 <= len(sql.questions())
