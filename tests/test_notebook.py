"""docs/notebook.md, run as it stands on the finished sample; what each call gives, held against the registry."""

import re
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

import toolkit
from toolkit.errors import ToolkitError
from toolkit.workspace import sql

PAGE = Path(__file__).parents[1] / "docs" / "notebook.md"


@pytest.fixture(scope="module")
def opened(finished):
    return toolkit.open(finished.workspace.folder)


def test_every_line_of_the_page_runs(finished, monkeypatch, capsys):
    monkeypatch.chdir(finished.workspace.folder.parent)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)

    assert len(blocks) >= 7
    assert (
        len(names["cases"])
        == names["by_class"].to_numpy().sum() + names["cases"][["part", "reference_diagnosis"]].isna().any(axis=1).sum()
    )
    assert "tets" in capsys.readouterr().out
    (accuracy,) = names["scores"].query("part == 'test' and metric == 'accuracy'")[["value", "low", "high"]].to_numpy()
    assert names["right"].mean() == pytest.approx(accuracy[0])
    assert tuple(names["interval"])[:2] == pytest.approx(tuple(accuracy[1:]))
    assert isinstance(names["table"], pa.Table)


@pytest.mark.soak
def test_everything_is_a_dataframe_unless_another_frame_is_asked_for(opened):
    for given in (opened.table("scores"), opened.ask("runs"), opened.sql("select 1 as a"), opened.questions_table()):
        assert isinstance(given, pd.DataFrame)
    assert isinstance(opened.ask("runs", frame="arrow"), pa.Table)
    assert isinstance(opened.sql("select 1 as a", frame="arrow"), pa.Table)


def test_a_frame_that_is_none_or_is_not_installed_is_said_so(opened):
    with pytest.raises(ToolkitError, match="no such frame"):
        opened.table("scores", frame="matrix")
    with pytest.raises(ToolkitError, match="Polars is not installed"):
        opened.table("scores", frame="polars")


def test_every_question_stands_under_one_topic(opened):
    listed = [name for names in sql.topics().values() for name in names]

    assert sorted(listed) == sorted(sql.questions())
    assert sorted(listed) == sorted(opened.questions_table()["name"])


def test_a_writer_never_waits_for_a_notebook(copied):
    opened = toolkit.open(copied.folder)
    opened.table("scores")
    with copied.writing() as connection:
        connection.execute("delete from findings")

    assert 0 == len(opened.table("findings"))
