"""Every type of DuckDB in every form of an answer, held against DuckDB's own CSV and JSON."""

import csv
import io
import json
import re

import duckdb
import openpyxl
import pyarrow.parquet as pq
import pytest
from exports import label, row

from toolkit.console import rows as console_rows
from toolkit.console.answer_files import save_rows
from toolkit.csv_files import cell_text, read_csv

TYPES = {
    "tiny": "5::tinyint",
    "big": "(-9223372036854775807)::bigint",
    "unsigned": "18446744073709551615::ubigint",
    "huge": "(-170141183460469231731687303715884105727)::hugeint",
    "unsigned_huge": "340282366920938463463374607431768211455::uhugeint",
    "bignum": "'12345678901234567890123456789012345678901234567890'::bignum",
    "total": "(select sum(x) from range(4) t(x))",
    "decimal": "1.10",
    "negative": "(-0.50)::decimal(10, 2)",
    "long_decimal": "1234567890123456789012345678.1234567891::decimal(38, 10)",
    "float": "0.5::float",
    "double": "1 / 3.0::double",
    "large": "1e300::double",
    "small": "1e-7::double",
    "true": "true",
    "nothing": "null",
    "null_text": "null::text",
    "empty": "''",
    "text": "'a\"b, ü\n' || chr(8232) || chr(1)",
    "date": "date '2025-03-01'",
    "before_christ": "date '0044-03-15 (BC)'",
    "late": "date '29000-01-01'",
    "time": "time '10:00'",
    "time_us": "time '10:00:00.000001'",
    "time_ns": "'10:00:00.123456789'::time_ns",
    "time_zone": "'10:00:00+02'::timetz",
    "timestamp": "timestamp '2025-03-01 10:00:00'",
    "timestamp_us": "timestamp '2025-03-01 10:00:00.123456'",
    "timestamp_s": "'2025-03-01 10:00:00'::timestamp_s",
    "timestamp_ms": "'2025-03-01 10:00:00.123'::timestamp_ms",
    "timestamp_ns": "'2025-03-01 10:00:00.123456789'::timestamp_ns",
    "timestamp_far": "'290000-01-01'::timestamp",
    "endless": "'infinity'::timestamp",
    "zone": "timestamptz '2025-03-01 10:00:00+02'",
    "interval": "interval '1 year 2 months 3 days 4 hours 5.5 seconds'",
    "uuid": "'00000000-0000-0000-0000-00000000002a'::uuid",
    "blob": r"'\xAAb'::blob",
    "bit": "'10101'::bit",
    "enum": "'x'::enum('x', 'BIT')",
    "json": """'{"a": [1, 2.50]}'::json""",
    "json_null": "'null'::json",
    "list": "[1, 2, null]",
    "array": "[1.5, 2.5]::double[2]",
    "struct": "{'a': 1.5, 'b': 'x: y, z', 'c': date '2025-03-01'}",
    "map": "map(['k', ''], [1, 2])",
    "map_of_numbers": "map([1, 2], [0.5::double, null])",
    "union": "union_value(num := 2)",
    "nested": "[{'BIT': '101'::bit, 'wide': 7::uhugeint, 'at': '10:00:00+02'::timetz, 'l': [timestamp '2025-03-01']}]",
    "nested_json": """[{'a': '{"b": 1}'::json}]""",
    "formula": "'=1+1'",
    "blob_formula": "'=1+1'::blob",
    "before": "interval '-1 day'",
}
NESTED = ("list", "array", "struct", "map", "map_of_numbers", "union", "nested", "nested_json")
SQL = "select " + ", ".join(f'{value} as "{name}"' for name, value in TYPES.items())


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, study, key):
    import exports

    from toolkit.stages.parse import parse
    from toolkit.workspace.registry import Workspace

    folder = tmp_path_factory.mktemp("values")
    parse(
        made := Workspace(folder / "workspace"), study, key,
        [exports.write(folder / "export.ndjson", [row("i1", label("L1", "nevus"))])],
    )  # fmt: skip
    return made


@pytest.fixture
def written(workspace, capfdbinary):
    """Return what is written for an SQL statement in a form."""

    def write(text, form):
        console_rows.write_rows(workspace.sql(text), form)
        return capfdbinary.readouterr().out.decode()

    return write


def of_duckdb(form, path, text=SQL):
    """Return the answer as DuckDB writes it."""
    with duckdb.connect() as connection:
        connection.execute(f"copy ({text}) to '{path}' (format {form})")
    return path.read_text(encoding="utf-8")


def test_csv_says_of_every_type_what_duckdb_says(written, tmp_path):
    ours = next(csv.DictReader(io.StringIO(written(SQL, "csv"), newline="")))
    theirs = next(csv.DictReader(io.StringIO(of_duckdb("csv", tmp_path / "a.csv"), newline="")))
    nested = json.loads(of_duckdb("json", tmp_path / "a.json"))

    assert list(TYPES) == list(ours)
    for name in TYPES:
        if name in NESTED:
            assert nested[name] == json.loads(ours[name]), name
        else:
            assert theirs[name] == cell_text(ours[name]), name
    assert ("'=1+1", "'=1+1", "'-1 day") == (ours["formula"], ours["blob_formula"], ours["before"])
    assert "-170141183460469231731687303715884105727" == ours["huge"]
    assert '{"a": 1.5, "b": "x: y, z", "c": "2025-03-01"}' == ours["struct"]


def test_json_says_of_every_type_what_duckdb_says(written, tmp_path):
    [ours] = json.loads(written(SQL, "json"))
    theirs = json.loads(of_duckdb("json", tmp_path / "a.json"))

    assert list(TYPES) == list(ours)
    for name in TYPES:
        assert theirs[name] == ours[name], name
        assert type(theirs[name]) is type(ours[name]), name
    assert "1234567890123456789012345678.1234567891" in written(SQL, "json")


@pytest.mark.soak_after(1)
@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_what_json_cannot_write_is_null_there_and_itself_in_csv(written, value):
    text = f"select '{value}'::double as a, '{value}'::float as b, {{'NaN, Infinity': ['{value}'::double]}} as c"

    assert [{"a": None, "b": None, "c": {"NaN, Infinity": [None]}}] == json.loads(written(text, "json"))
    assert f'{value},{value},"{{""NaN, Infinity"": [null]}}"' == written(text, "csv").splitlines()[1]


def test_a_public_case_of_sums_dates_and_times(written):
    text = "select 288::hugeint as total, date '2025-03-01' as day, 1.10 as x, time '10:00' as t, {'a': 1.5} as n"

    assert 'total,day,x,t,n\n288,2025-03-01,1.10,10:00:00,"{""a"": 1.5}"\n' == written(text, "csv")
    assert [{"total": 288, "day": "2025-03-01", "x": 1.1, "t": "10:00:00", "n": {"a": 1.5}}] == json.loads(
        written(text, "json")
    )


NAMES = [
    ("select 1 as a, 2 as a", ["a", "a_1"]),
    ("select 1 as a, 2 as A, 3 as a_1, 4 as a", ["a", "A_1", "a_1_1", "a_2"]),
    ("select * from (values (1, 2)) x(i, j) inner join (values (1, 3)) y(i, j) on x.i = y.i", ["i", "j", "i_1", "j_1"]),
]


@pytest.mark.soak_after(1)
@pytest.mark.parametrize(("text", "names"), NAMES)
def test_every_column_has_a_name_and_every_row_all_values_in_every_form(workspace, written, tmp_path, text, names):
    answer = workspace.sql(text)
    values = [int(value) for value in written(text, "csv").splitlines()[1].split(",")]
    save_rows(answer, "xlsx", path=tmp_path / "a.xlsx")
    save_rows(answer, "parquet", path=tmp_path / "a.parquet")
    save_rows(answer, "csv", path=tmp_path / "a.csv")
    sheet = openpyxl.load_workbook(tmp_path / "a.xlsx").active

    assert names == answer.column_names == written(text, "csv").splitlines()[0].split(",")
    assert len(names) == len(values) == len(set(values)) or "join" in text
    assert [dict(zip(names, values, strict=True))] == json.loads(written(text, "json"))
    assert [*names, *map(str, values)] == written(text, "table").split()
    assert [tuple(names), tuple(values)] == list(sheet.iter_rows(values_only=True))
    assert names == pq.read_table(tmp_path / "a.parquet").column_names
    assert [{name: str(value) for name, value in zip(names, values, strict=True)}] == read_csv(tmp_path / "a.csv")


def test_the_names_are_those_that_duckdb_gives_in_a_subquery():
    text = NAMES[0][0]

    assert NAMES[0][1] == duckdb.sql(f"select * from ({text})").columns


def test_a_workbook_keeps_every_cell(workspace, tmp_path):
    text = (
        f"{SQL}, '1045408649593e03' as case_id, '007' as code, 'x' || chr(11) as odd, '_x000B_' as literal, "
        "9007199254740993 as long_number, 'nan'::double as undefined"
    )
    answer = workspace.sql(text)
    save_rows(answer, "xlsx", path=tmp_path / "a.xlsx")
    save_rows(answer, "csv", path=tmp_path / "a.csv")
    header, values = openpyxl.load_workbook(tmp_path / "a.xlsx").active.iter_rows()
    cells = {name.value: cell for name, cell in zip(header, values, strict=True)}
    [texts] = read_csv(tmp_path / "a.csv")

    for name, cell in cells.items():
        shown = "" if cell.value is None else str(cell.value).lower() if cell.data_type == "b" else str(cell.value)
        same = shown == texts[name] or (cell.data_type == "n" and float(texts[name] or "nan") == cell.value)
        assert same or (cell.value is None and not texts[name]) or name in ("text", "odd", "literal"), name
    assert {"n"} == {cells[name].data_type for name in ("tiny", "total", "decimal", "double", "large")}
    assert {"s"} == {cells[name].data_type for name in ("case_id", "code", "formula", "date", "long_number", "huge")}
    assert "=1+1" == cells["formula"].value
    assert cells["formula"].quotePrefix
    assert "nan" == cells["undefined"].value
    assert ("x_x000B_", "_x005F_x000B_") == (cells["odd"].value, cells["literal"].value)


def test_the_table_shows_every_type_on_one_line_each(written):
    out = written(SQL, "table")

    assert re.search(r"^total +6 *$", out, re.MULTILINE)
    assert re.search(r"^decimal +1\.10 *$", out, re.MULTILINE)
    assert re.search(r"^double +0\.3333 *$", out, re.MULTILINE)
    assert re.search(r"^date +2025-03-01 *$", out, re.MULTILINE)
