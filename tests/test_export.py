"""What `export` writes for other tools: nothing lost, nothing that leads to a person, whole or not at all."""

import json
import stat
import subprocess
import sys

import duckdb
import pyarrow.parquet as pq
import pytest
from search_identifiers import planted, search

from toolkit.errors import ToolkitError
from toolkit.files import digests_of
from toolkit.stages.export import MANIFEST, export
from toolkit.workspace import sql
from toolkit.workspace.registry import table_names


@pytest.fixture
def written(finished, tmp_path):
    """Export the finished workspace; return the folder, its manifest and the result."""

    def write(kind, **options):
        folder = tmp_path / f"{kind}-{len(list(tmp_path.iterdir()))}"
        result = export(finished.workspace, finished.study_file.study, kind, folder, **options)
        return folder, json.loads((folder / MANIFEST).read_text()), result

    return write


@pytest.fixture
def over_files(written, monkeypatch):
    """A database whose tables are the Parquet files of an export."""
    folder, _, _ = written("parquet")
    monkeypatch.chdir(folder)
    with duckdb.connect() as connection:
        connection.execute((folder / "load.sql").read_text())
        yield connection


EMPTIED = {
    "images": {"global_key", "external_id", "path"},
    "exports": {"source"},
    "attachments": {"name", "value"},
    "misclassified": {"path"},
}
"""Columns that an export leaves empty, since an identifier may stand in them."""


@pytest.mark.parametrize("kind", ["parquet"])
def test_an_export_holds_nothing_that_leads_to_a_person(finished, written, kind):
    folder, _, result = written(kind)
    names = {row["external_id"] for row in finished.workspace.rows("select external_id from images")}

    assert [] == search([folder], planted(finished.export.parent) | names, {"result": repr(result)})


@pytest.mark.parametrize("kind", ["parquet"])
def test_an_export_is_for_nobody_else_to_read(written, kind):
    folder, _, _ = written(kind)
    paths = [folder, *folder.rglob("*")]

    assert {0o700} == {stat.S_IMODE(path.stat().st_mode) for path in paths if path.is_dir()}
    assert {0o600} == {stat.S_IMODE(path.stat().st_mode) for path in paths if path.is_file()}


@pytest.mark.parametrize("kind", ["parquet"])
def test_the_same_workspace_gives_the_same_bytes(written, kind):
    assert digests_of(written(kind)[0]) == digests_of(written(kind)[0])


@pytest.mark.parametrize("kind", ["parquet"])
def test_the_manifest_says_what_every_file_is(written, kind):
    folder, manifest, result = written(kind)
    there = digests_of(folder)

    assert kind == manifest["format"]
    assert {name: digest for name, digest in there.items() if name != MANIFEST} == manifest["files"]
    assert len(there) == result.files


def test_every_row_of_every_table_comes_back_from_parquet(finished, over_files):
    for name in table_names():
        with finished.workspace.reading() as registry:
            columns = [each for each in registry.table(name).columns if each not in EMPTIED.get(name, ())]
            text = f"select {', '.join(columns)} from {name} order by all"
            expected = registry.execute(text).fetchall()

        assert repr(expected) == repr(over_files.execute(text).fetchall()), name


def test_the_rows_of_the_main_views_are_written_too(finished, written):
    folder, manifest, _ = written("parquet")
    for name in ("case_table", "misclassified", "truth"):
        own = finished.workspace.table(name).drop(columns=list(EMPTIED.get(name, ())))
        read = pq.read_table(folder / "views" / name).to_pandas()[list(own.columns)]
        order = ["case_id", *(["run_id", "part"] if name == "misclassified" else [])]

        assert len(own) == manifest["rows"][name]
        assert str(own.sort_values(order).to_dict("list")) == str(read.sort_values(order).to_dict("list"))


def test_predictions_have_a_file_for_each_run(finished, written):
    folder, _, _ = written("parquet")
    counts = finished.workspace.rows("select run_id, count(*) as cases from predictions group by run_id")
    paths = (folder / "tables/predictions").iterdir()

    assert {row["run_id"]: row["cases"] for row in counts} == {p.stem: pq.read_metadata(p).num_rows for p in paths}


def test_a_run_id_of_digits_alone_stays_a_text_in_parquet(copied, finished, tmp_path):
    with copied.writing() as connection:
        for table in ("runs", "predictions"):
            text = f"insert into {table} select * replace ('00123456' as run_id) from {table} where run_id = $1"
            connection.execute(text, [finished.run_id])
    export(copied, finished.study_file.study, "parquet", tmp_path / "out")
    by_pandas = pq.read_table(tmp_path / "out" / "tables" / "predictions").to_pandas()["run_id"]
    with duckdb.connect() as connection:
        pattern = str(tmp_path / "out" / "tables" / "predictions" / "*.parquet")
        by_duckdb = connection.execute("select run_id from read_parquet($1)", [pattern]).fetchall()

    assert (by_pandas == "00123456").sum() == by_duckdb.count(("00123456",)) > 0


UNLIKE = {"global_key", "external_id", "path", "source", "example"}
"""Columns that are empty over an export; `example` is that of any row."""


def rounded(value):
    """Return rows with numbers as far as they do not depend on the order of addition; NaN is NaN."""
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(each) for each in value]
    return f"{value:.9g}" if isinstance(value, float) else value


def test_every_question_has_the_same_answer_over_parquet(finished, over_files):
    asked = 0
    for question in sql.questions().values():
        if any(parameter.default is None for parameter in question.parameters):
            continue
        values = sql.bind(question, {})
        own = finished.workspace.read(question.text, values)
        hidden = [name for name in own.column_names if name in UNLIKE]
        read = over_files.sql(question.text, params=values).to_arrow_table()
        asked += 1

        assert rounded(own.drop(hidden).to_pylist()) == rounded(read.drop(hidden).to_pylist()), question.name
    assert asked > 30


def test_an_empty_registry_is_exported_too(workspace, study, tmp_path, monkeypatch):
    with workspace.writing():
        pass
    export(workspace, study, "parquet", tmp_path / "out")
    monkeypatch.chdir(tmp_path / "out")
    with duckdb.connect() as connection:
        connection.execute((tmp_path / "out" / "load.sql").read_text())

        assert (
            [] == connection.execute("select * from predictions union all by name select * from case_table").fetchall()
        )


def test_what_stands_at_the_target_is_never_touched(finished, tmp_path):
    (tmp_path / "mine").mkdir()
    for place in (tmp_path / "mine", finished.workspace.folder / "out"):
        with pytest.raises(ToolkitError, match=r"something stands here|inside the workspace"):
            export(finished.workspace, finished.study_file.study, "parquet", place)

    assert [tmp_path / "mine"] == list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["parquet"])
def test_a_full_disk_leaves_nothing_and_says_so(finished, tmp_path, kind):
    program = (
        "import resource, signal, sys\n"
        "from toolkit.cli import main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "main(sys.argv[1:])"
    )
    where = ["--study", finished.study_file.path, "--workspace", finished.workspace.folder]
    command = [sys.executable, "-c", program, *where, "export", kind, tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (1, True) == (done.returncode, "free some disk space" in done.stderr)
    assert "Traceback" not in done.stderr
    assert [] == list(tmp_path.iterdir())


def test_a_registry_of_an_earlier_version_says_what_to_do(copied, finished, tmp_path):
    with duckdb.connect(str(copied.registry)) as connection:
        connection.execute("delete from schema_history where file = (select max(file) from schema_history)")
    with pytest.raises(ToolkitError, match="an earlier version wrote this registry") as refused:
        export(copied, finished.study_file.study, "parquet", tmp_path / "out")

    assert "toolkit parse" in refused.value.remedy
    assert [] == [path for path in tmp_path.iterdir() if path.name != "workspace"]
