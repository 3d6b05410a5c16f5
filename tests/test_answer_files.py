import json
import stat

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from exports import label, row

from toolkit.cli import main
from toolkit.csv_files import MARK, csv_text, read_csv

SQL = "select '1045408649593e03' as case_id, '=1+1' as note, sum(x) as total, 1 / 3.0 as third from range(4) t(x)"
ROW = {"case_id": "1045408649593e03", "note": "=1+1", "total": "6", "third": repr(1 / 3)}


@pytest.fixture
def query(parsed, capfd):
    """Ask a parsed workspace; return exit code, stdout and stderr."""
    workspace = parsed(row("i1", label("L1", "nevus"), patient="P-1"))

    def query(*arguments):
        with pytest.raises(SystemExit) as left:
            main(["--workspace", str(workspace.folder), "query", *map(str, arguments)])
        return left.value.code or 0, *capfd.readouterr()

    query.workspace = workspace
    return query


@pytest.mark.soak
def test_a_csv_file_is_for_spreadsheets_and_stdout_is_for_programs(query, tmp_path):
    code, out, err = query("--sql", SQL, "--output", tmp_path / "answer.csv")
    data = (tmp_path / "answer.csv").read_bytes()

    assert (0, "") == (code, out)
    assert f"1 row: {tmp_path / 'answer.csv'}" in err
    assert f"{MARK}case_id,note,total,third\n'1045408649593e03,'=1+1,6,{1 / 3!r}\n".encode() == data
    assert [ROW] == read_csv(tmp_path / "answer.csv")
    assert 0o600 == stat.S_IMODE((tmp_path / "answer.csv").stat().st_mode)
    assert csv_text(ROW, [["1045408649593e03", "=1+1", 6, 1 / 3]]) == query("--sql", SQL, "--format", "csv")[1]


@pytest.mark.soak
def test_the_form_is_that_of_the_name_or_of_format(query, tmp_path):
    codes = [
        query("--sql", SQL, "--output", tmp_path / "a.json")[0],
        query("--sql", SQL, "--output", tmp_path / "a.PARQUET")[0],
        query("--sql", SQL, "--output", tmp_path / "a.txt", "--format", "csv")[0],
        query("--sql", SQL, "--output", tmp_path / "new" / "a.csv", "--format", "json")[0],
    ]

    assert [0] * 4 == codes
    assert "=1+1" == json.loads((tmp_path / "a.json").read_text())[0]["note"]
    assert (tmp_path / "a.json").read_text() == (tmp_path / "new" / "a.csv").read_text()
    assert "1045408649593e03" == pq.read_table(tmp_path / "a.PARQUET").to_pylist()[0]["case_id"]
    assert [ROW] == read_csv(tmp_path / "a.txt")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("there.csv", "there is a file already"),
        ("link.csv", "there is a file already"),
        ("answer", "name it .csv, .json, .parquet or .xlsx"),
        ("workspace/registry.duckdb.wal.csv", "elsewhere"),
        ("other/../workspace/queries/new.json", "elsewhere"),
    ],
)
def test_nothing_is_written_over_and_nothing_into_the_workspace(query, tmp_path, name, message):
    (tmp_path / "there.csv").write_text("mine")
    (tmp_path / "link.csv").symlink_to(tmp_path / "nowhere")
    (tmp_path / "other").mkdir()
    before = sorted(tmp_path.rglob("*"))
    code, out, err = query("--sql", SQL, "--output", tmp_path / name)

    assert (1, "") == (code, out)
    assert message in err
    assert "mine" == (tmp_path / "there.csv").read_text()
    assert before == sorted(tmp_path.rglob("*"))


def test_what_fails_leaves_no_file(query, tmp_path):
    assert 1 == query("--sql", "select no_such_column from cases", "--output", tmp_path / "a.csv")[0]
    assert 1 == query("--output", tmp_path / "a.csv")[0]
    assert [] == list(tmp_path.glob("*.csv"))


def test_many_rows_are_written_in_pieces(query, tmp_path):
    query("--sql", "select i, 'MAR' || i as gene from range(25000) t(i)", "--output", tmp_path / "a.csv")
    rows = read_csv(tmp_path / "a.csv")

    assert 25_000 == len(rows)
    assert {"i": "24999", "gene": "MAR24999"} == rows[-1]


def test_no_row_is_a_file_with_a_header(query, tmp_path):
    query("--sql", "select case_id from cases where false", "--output", tmp_path / "a.csv")

    assert f"{MARK}case_id\n" == (tmp_path / "a.csv").read_text()
    assert pa.table({}).num_rows == len(read_csv(tmp_path / "a.csv"))
