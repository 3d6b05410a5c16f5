"""Hostile and honest SQL and question files: what of them runs, and what a process that runs them can reach."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import exports
import pytest
from exports import label, row

from toolkit.cli import main
from toolkit.errors import QuestionError, ToolkitError
from toolkit.files import sha256_of_file
from toolkit.workspace import sql, sql_start, user_sql
from toolkit.workspace.registry import Workspace
from toolkit.workspace.sql_process import connected
from toolkit.workspace.sql_rules import judge
from toolkit.workspace.user_sql import Limits

SENTINEL = "SENTINEL-7f3a91"
"""What stands in files that no answer may show."""
OWN = {path.stem[3:] for path in sql.folder("views") if path.stem.endswith(("_at", "_from"))}
"""The registry's own functions that stand as tables."""

# R: the registry's path. S: a file to read. T: a path where no file is.
WRITERS = r"""
copy (select 42) to 'R' (format csv, use_tmp_file false)
copy (select 42) to 'R.wal' (format csv, use_tmp_file false)
copy (select 'x'::blob as b) to 'R.wal' (format blob)
copy (select 42) to 'T'
copy (select 42) to 'T' (format parquet)
copy (select 42) to 'T' (format json)
copy (select 42) to 'T.d' (format csv, partition_by (a))
copy cases to 'T'
copy cases from 'S'
COPY/**/(SELECT 42)/**/TO/**/'T'
CoPy (select 42) tO 'T'
/* select */ copy (select 42) to 'T'
-- select 1\ncopy (select 42) to 'T'
\u00a0copy (select 42) to 'T'
copy\u2003(select 42)\u2003to\u2003'T'
\ufeffcopy (select 42) to 'T'
copy (pivot cases on image_id using count(*)) to 'T'
copy (select 42) to '/dev/fd/3'
copy (select 42) to '/proc/self/fd/3'
copy (select 42) to '/dev/stdout'
explain analyze copy (select 42) to 'R'
explain analyze copy (select 42) to 'T'
explain (analyze) copy (select 42) to 'T'
explain (analyze, format json) copy (select 42) to 'T'
EXPLAIN /* */ ANALYZE -- x\n copy (select 42) to 'T'
explain\u00a0analyze copy (select 42) to 'T'
explain copy (select 42) to 'T'
explain analyze create table more as select 1
explain analyze insert into cases select * from cases
explain analyze delete from cases
explain analyze copy (pivot cases on image_id using count(*)) to 'T'
with x as (copy (select 42) to 'T') from x
with x as (copy cases to 'T') select 1
with x as (insert into cases from cases returning case_id) from x
with x as (delete from cases returning case_id) select * from x
with x as (update cases set image_id = 'x' returning case_id) from x
select (with x as (delete from cases returning case_id) select count(*) from x)
with a as (with b as (copy cases to 'T') from b) from a
pivot (with x as (delete from cases returning case_id) from x) on case_id
create table more as select 1
create or replace table cases as select 1
create temp table more as select 1
create table more as pivot cases on image_id using count(*)
create view more as select 1
create macro more() as 1
create schema more
create sequence more
create type more as enum ('a')
create index more on cases (image_id)
create secret more (type s3, key_id 'a', secret 'b')
create persistent secret more (type http, bearer_token 'b')
insert into cases select * from cases
insert into cases by name from cases
insert into cases pivot cases on image_id using count(*)
update cases set image_id = 'x'
delete from cases
truncate cases
merge into cases using cases as other on cases.case_id = other.case_id when matched then delete
drop table cases
drop view truth
alter table cases add column more int
alter table cases rename to more
comment on table cases is 'x'
export database 'T'
export database 'T' (format parquet)
import database 'T'
attach 'T' as other
attach 'R' as other
attach 'R' as other (read_write)
attach ':memory:' as other
detach registry
use memory
set enable_external_access = true
set memory_limit = '100GB'
set temp_directory = 'T'
set global allowed_directories = ['/']
set variable x = 1
set session authorization x
reset enable_external_access
reset all
pragma enable_profiling = 'json'
pragma profiling_output = 'T'
pragma enable_verification
pragma memory_limit = '100GB'
pragma database_list
pragma force_checkpoint
pragma table_info('cases')
pragma import_database('T')
pragma copy_database('registry', 'other')
copy from database registry to memory
call enable_logging(storage = 'file', storage_path = 'T')
call force_checkpoint('registry')
call range(3)
call read_text('S')
load httpfs
load 'T'
install httpfs
force install httpfs from 'http://127.0.0.1:9/'
update extensions
prepare p as select 1
prepare p as copy (select 42) to 'T'
execute p
deallocate p
vacuum
vacuum analyze cases
analyze
checkpoint
force checkpoint registry
begin
begin; drop table cases; commit
commit
rollback
select 1; select 2
select 1; copy (select 42) to 'T'
;select 1; drop table cases
select 1\u0000; drop table cases
select write_log('x')
select nextval('x')
""".strip().splitlines()
READERS = r"""
from read_blob('R')
from read_text('S')
from read_text(['S'])
FROM READ_TEXT('S')
from "read_text"('S')
from main.read_text('S')
from system.main.read_text('S')
from read_text/* */('S')
from read_csv('S', header = false)
from read_csv_auto('S')
from read_json('S')
from read_json_auto('S')
from read_json_objects('S')
from read_ndjson('S')
from read_ndjson_auto('S')
from read_ndjson_objects('S')
from read_parquet('S')
from read_duckdb('R')
from parquet_scan('S')
from parquet_metadata('S')
from parquet_schema('S')
from parquet_kv_metadata('S')
from parquet_file_metadata('S')
from sniff_csv('S')
from glob('S*')
from 'S'
from "S"
from 'file:S'
from 'https://127.0.0.1:9/x.parquet'
from 's3://bucket/x.parquet'
select * from cases, 'S'
select * from cases join 'S' as other on true
select (select content from read_text('S'))
select * from cases where exists (from read_text('S'))
with x as (from read_text('S')) from x
with x as materialized (from 'S') from x
from (from (from read_text('S')))
select 1 union all select content from read_text('S')
select * replace ((select content from read_text('S')) as case_id) from cases
from cases order by (select content from read_text('S'))
from cases limit (select size from read_text('S'))
from cases qualify row_number() over (order by (select content from read_text('S'))) = 1
select list_transform([1], lambda x: (select content from read_text('S')))
values ((select content from read_text('S')))
describe 'S'
describe select * from read_text('S')
summarize 'S'
summarize select * from read_text('S')
show 'S'
pivot 'S' on content
pivot (from read_text('S')) on content
pivot (from read_text('S')) on content in ('a')
pivot cases on (select content from read_text('S'))
pivot_wider read_text('S') on content
unpivot (from read_text('S')) on content
from cases pivot (count(*) for image_id in ((select content from read_text('S'))))
explain analyze select * from read_text('S')
explain select * from read_csv('S')
from query('from read_text(''S'')')
from query_table('S')
from query_table(['S'])
from json_execute_serialized_sql('{}')
from json_execute_serialized_sql(json_serialize_sql('from read_text(''S'')'))
select getenv('HOME')
select 'HOME'.getenv()
select current_setting('secret_directory')
select current_setting('allowed_paths')
from duckdb_secrets()
from duckdb_settings()
from duckdb_logs()
from duckdb_temporary_files()
from duckdb_external_file_cache()
from which_secret('S', 's3')
from arrow_scan(1, 2, 3)
from pandas_scan(140000000000000)
from python_map_function(1)
from seq_scan('cases')
from enable_logging()
from checkpoint()
from force_checkpoint()
from truncate_duckdb_logs()
from read_text('/dev/stdin')
from read_blob('/dev/fd/3')
from read_blob('/proc/self/fd/3')
from read_text('/proc/self/environ')
from read_text('/etc/passwd')
""".strip().splitlines()
BOMBS = [
    "select length(repeat('x', 3000000000))",
    "select len(range(2000000000))",
    "select length(lpad('x', 2000000000, 'y'))",
    "select length(format('{:>2000000000}', 1))",
    "select length(printf('%2000000000d', 1))",
    "select list_resize([1], 1000000000)",
    "select bitstring('1', 2000000000)",
    "select json_array(range(500000000))",
    "select map(range(200000000), range(200000000))",
    "select list(i) from range(1000000000) as t(i)",
    "select string_agg(i::varchar) from range(1000000000) as t(i)",
    "from range(10000000000)",
    "from range(100000000) order by random()",
    "select repeat('x', 100000000) from range(1000)",
    "from repeat('x', 10000000000)",
    "select count(*) from range(100000000000)",
    "select count(*) from range(1000000) as a, range(1000000) as b, range(1000000) as c",
    "with recursive x as (select 1 as n union all select n + 1 from x) select count(*) from x",
    "with recursive x as (select 1 as n union all from x union all from x) select count(*) from x",
    "select levenshtein(repeat('a', 1000000), repeat('b', 1000000))",
    "select sleep_ms(1000000)",
    "pivot (from range(90000) as t(a)) on a",
    f"select {'(' * 100_000}1{')' * 100_000}",
    f"select {'not ' * 100_000}true",
    f"select {'1+' * 200_000}1",
    f"select {'[' * 50_000}{']' * 50_000}",
    f"from {'(from ' * 20_000}cases{')' * 20_000}",
    f"explain {'(' * 50_000}select 1{')' * 50_000}",
    f"select 1 -- {'x' * 2_000_000}",
]
HONEST = r"""
from cases
from cases select case_id
table cases
values (1, 'a'), (2, 'b')
(select 1)
select 1;
-- a comment; with a semicolon\nselect ';' as a /* ; */
select * from registry.main.cases
describe cases
describe select case_id from cases
desc cases
summarize cases
show cases
show tables
show all tables
show databases
pivot readings on class_name using count(*)
PIVOT readings ON class_name IN ('nevus', 'melasma') USING count(*) GROUP BY annotator
pivot (select * from readings join cases using (case_id)) on class_name, annotator using count(*) group by image_id
with x as (pivot readings on class_name || '!' using count(*)) from x
select * from (pivot readings on class_name using count(*)) order by all limit 1
select * from (pivot (pivot readings on class_name) on annotator)
from readings pivot (count(*) for class_name in ('nevus'))
unpivot (select 1 as a, 2 as b) on a, b
explain select * from cases
explain analyze select * from cases
explain (format json) select * from cases
explain (select 1)
explain analyze pivot readings on class_name using count(*)
with recursive x as (select 1 as n union all select n + 1 from x where n < 5) from x
select case_id, row_number() over (partition by image_id order by case_id) as n from cases qualify n = 1
select list_transform([1, 2], lambda x: x + 1), [x * 2 for x in [1, 2]], {'a': 1}, map(['k'], [1])
select unnest(range(3)), i from generate_series(1, 3) as t(i)
from json_each('{"a": 1}')
select "case_id" as "a/b.csv" from cases
with "a b" as (select 1) from "a b"
select columns('.*_id') from cases using sample 10 rows
from duckdb_columns() where table_name = 'cases'
from duckdb_tables()
from information_schema.tables
from pragma_table_info('cases')
select count(*) filter (where class_name = 'nevus'), string_agg(annotator, ', ' order by annotator) from readings
select regexp_extract('a1', '\d'), strftime(now(), '%Y'), 'copy (select 1) to x; drop table cases'
from truth_at(9999)
from cases semi join readings using (case_id)
""".strip().splitlines()


@pytest.fixture(scope="module")
def asked(tmp_path_factory, study, key) -> Workspace:
    """A workspace with two cases, beside a file that nobody may read."""
    from toolkit.stages.parse import parse

    folder = tmp_path_factory.mktemp("door")
    (folder / "sentinel.csv").write_text(f"{SENTINEL},{SENTINEL}\n{SENTINEL},{SENTINEL}\n")
    rows = [row("i1", label("L1", "nevus")), row("i2", label("L2", "melasma"), patient="P-2")]
    workspace = Workspace(folder / "workspace")
    parse(workspace, study, key, [exports.write(folder / "export.ndjson", rows)])
    return workspace


@pytest.fixture
def untouched(asked):
    """Look at the folder before and after the test: not a byte, name or time may differ."""

    def seen():
        files = sorted(path for path in asked.folder.parent.rglob("*") if path.is_file())
        return [(str(path), sha256_of_file(path), path.stat().st_mtime_ns, path.stat().st_mode) for path in files]

    before = seen()
    yield
    assert before == seen()


def spelled(text, workspace):
    """Return a hostile text with its paths and escapes."""
    paths = {"'R": f"'{workspace.registry}", "S": str(workspace.folder.parent / "sentinel.csv"), "T": "target.csv"}
    text = re.sub(r"\\u([0-9a-f]{4})", lambda found: chr(int(found[1], 16)), text.replace("\\n", "\n"))
    text = text.replace("'R", paths["'R"])
    for mark in ("S", "T"):
        for quote in "'\"":
            path = paths[mark] if mark == "S" else str(workspace.folder / paths[mark])
            text = text.replace(f"{quote}{mark}", f"{quote}{path}")
    return text.replace("file:S", f"file:{paths['S']}")


def refusal(text):
    """Return why a text is refused before it runs, or None."""
    try:
        judge(text, own=OWN)
    except (QuestionError, duckdb.Error) as error:
        return str(error)
    return None


def test_there_are_as_many_hostile_texts_as_promised():
    texts = {*WRITERS, *READERS, *BOMBS}

    assert 200 <= len(texts)
    assert 14 <= len(BOMBS)


@pytest.mark.parametrize("text", [*WRITERS, *READERS])
def test_what_writes_or_reads_files_is_refused_before_it_runs(asked, text):
    assert refusal(spelled(text, asked))


ALONE = """
import json, os, sys
from pathlib import Path
from toolkit.workspace.sql_process import connected, limit
from toolkit.workspace.user_sql import snapshot
task = json.load(sys.stdin)
for first in range(0, len(task["texts"]), 15):
    copy = snapshot(Path(task["registry"]))
    if os.fork():
        os.wait()
        continue
    connection = connected(copy.fileno(), 0.5)
    limit(0.5)
    for text in task["texts"][first : first + 15]:
        try:
            answer = str(connection.execute(text).fetchall())
        except Exception as error:
            answer = f"{type(error).__name__}: {error}"
        print(json.dumps(answer), flush=True)
        for again in ("rollback", "use registry"):
            try:
                connection.execute(again)
            except Exception:
                pass
    os._exit(0)
"""


@pytest.mark.usefixtures("untouched")
def test_the_process_alone_lets_nothing_through_either(asked):
    """Without any judgement, each hostile text runs in the process: nothing is written, no file's content comes out."""
    texts = [spelled(text, asked) for text in [*WRITERS, *READERS]]
    task = json.dumps({"texts": texts, "registry": str(asked.registry)})
    ran = subprocess.run(
        [sys.executable, "-c", ALONE], input=task, capture_output=True, text=True, check=True, timeout=120
    )
    answers = ran.stdout.splitlines()

    assert len(texts) == len(answers)
    assert SENTINEL not in ran.stdout + ran.stderr
    assert not list(asked.folder.rglob("target*"))


@pytest.mark.soak_after(2)
@pytest.mark.parametrize(
    "text",
    [
        "copy (select 42) to 'R' (format csv, use_tmp_file false)",
        "copy (select 'x'::blob as b) to 'R.wal' (format blob)",
        "explain analyze copy (select 42) to 'R' (format csv, use_tmp_file false)",
        "from read_blob('R')",
    ],
)
@pytest.mark.usefixtures("untouched")
def test_the_registry_cannot_be_reached_by_its_path(asked, text, capsys):
    with pytest.raises(SystemExit) as left:
        main(["--workspace", str(asked.folder), "query", "--sql", spelled(text, asked)])
    shown = capsys.readouterr()

    assert 1 == left.value.code
    assert shown.err.startswith("error: ")
    assert "where:" in shown.err
    assert "next:" in shown.err
    assert not shown.out


@pytest.mark.usefixtures("untouched")
def test_a_question_file_cannot_do_more(asked, tmp_path, monkeypatch):
    monkeypatch.setattr(Workspace, "queries", tmp_path)
    for number, text in enumerate(WRITERS[:2]):
        file = tmp_path / f"mine{number}.sql"
        file.write_text(f"-- Which?\n{spelled(text, asked)}\n")

        with pytest.raises(QuestionError) as caught:
            asked.ask(file.stem)
        assert str(file) == caught.value.place


BOMB_PROGRAM = """
import json, resource, sys, time
from concurrent.futures import ThreadPoolExecutor
from toolkit.errors import QuestionError
from toolkit.workspace.registry import Workspace
from toolkit.workspace.user_sql import Limits
from pathlib import Path
task = json.load(sys.stdin)
workspace = Workspace(Path(task["workspace"]))
def ask(text):
    started = time.monotonic()
    try:
        answer = f"{workspace.sql(text, limits=Limits(**task['limits'])).nbytes} bytes"
    except QuestionError as error:
        answer = error.problem
    return answer, time.monotonic() - started
with ThreadPoolExecutor(4) as pool:
    answers = list(pool.map(ask, task["texts"]))
print(json.dumps([answers, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024]))
"""


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(("bombs", "too_much"), [(BOMBS[::4], 4), pytest.param(BOMBS, 20, marks=pytest.mark.soak)])
def test_bombs_end_at_the_limits(asked, bombs, too_much):
    limits = {"memory": 0.2, "seconds": 1}
    task = json.dumps({"workspace": str(asked.folder), "texts": bombs, "limits": limits})
    ran = subprocess.run(
        [sys.executable, "-c", BOMB_PROGRAM], input=task, capture_output=True, text=True, check=True, timeout=120
    )
    answers, most_memory = json.loads(ran.stdout)
    problems = dict(zip(bombs, answers, strict=True))

    assert not {text[:60]: answer for text, (answer, _) in problems.items() if answer.endswith(" bytes")}
    assert not {text[:60]: seconds for text, (_, seconds) in problems.items() if seconds > 10}
    assert 0.6e9 > most_memory
    assert sum("more than" in answer for answer, _ in answers) >= too_much


def test_the_limits_are_named_with_the_option_that_changes_them(asked):
    with pytest.raises(QuestionError, match=r"more than 0\.5 s") as too_long:
        asked.sql("select sleep_ms(100000)", limits=Limits(seconds=0.5))
    with pytest.raises(QuestionError, match=r"more than 0\.2 GB") as too_large:
        asked.sql("select len(range(2000000000))", limits=Limits(memory=0.2))

    assert "--seconds" in too_long.value.remedy
    assert "--memory" in too_large.value.remedy


@pytest.mark.parametrize(
    "limits", [{"memory": 0}, {"seconds": -1}, {"seconds": float("nan")}, {"memory": float("inf")}]
)
def test_a_limit_is_a_number_above_zero(limits):
    with pytest.raises(QuestionError, match="above 0"):
        Limits(**limits)


def test_the_answer_counts_as_memory_so_that_rows_without_end_do_not_fill_the_parent(asked):
    started = time.monotonic()
    with pytest.raises(QuestionError, match=r"more than 0\.2 GB"):
        asked.sql("from range(100000000000)", limits=Limits(memory=0.2))

    assert 30 > time.monotonic() - started


@pytest.mark.parametrize("text", HONEST)
def test_honest_questions_are_answered(asked, text):
    text = text.replace("\\n", "\n")
    with user_sql.snapshot(asked.registry) as copy:
        connection = connected(copy.fileno(), 0.5)

    assert refusal(text) is None
    assert connection.execute(text).fetchall()


@pytest.mark.parametrize("question", sql.questions().values(), ids=lambda question: question.name)
def test_every_shipped_question_may_be_asked(question):
    assert refusal(question.text) is None


def test_answers_come_through_the_process_as_they_are(asked):
    told = asked.sql(
        "select $a as a, $b + 1 as b, [1.5, null] as c, map(['k'], [1]) as d", {"a": "x' or '1'='1", "b": 2}
    )
    asked_shipped = asked.ask("exports").to_pylist()

    assert {"a": "x' or '1'='1", "b": 3, "c": [1.5, None], "d": [("k", 1)]} == told.to_pylist()[0]
    assert asked_shipped == asked.shipped_rows("exports")
    assert ["melasma", "nevus"] == sorted(asked.table("readings")["class_name"])
    assert 0 == asked.sql("from cases where false").num_rows
    assert 200_000 == asked.sql("from range(200000)").num_rows


def test_an_error_within_the_rows_is_told_and_no_half_answer_given(asked):
    with pytest.raises(QuestionError, match="Could not convert"):
        asked.sql("select case when i = 150000 then 'x' else '1' end::int from range(200000) as t(i)")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"time": "\udcff"}, "UTF-8"),
        ({"time": b"x"}, "neither a text nor a number"),
        ({"time": {1, 2}}, "neither a text nor a number"),
        ({"time": "x" * 5_000_000}, "too long"),
        ({"other": "x"}, "takes no parameter other"),
        ({"name": "x"}, "takes no parameter name"),
        ({"self": "x"}, "takes no parameter self"),
        ({"limits": "x"}, "takes no parameter limits"),
        ({"part; drop table cases": "x"}, "takes no parameter"),
    ],
)
@pytest.mark.usefixtures("untouched")
def test_hostile_parameters_are_refused(asked, given, told):
    with pytest.raises(QuestionError, match=told):
        asked.answer("truth_as_of", given)


@pytest.mark.soak_after(2)
@pytest.mark.parametrize(
    "value", ["'; copy (select 42) to 'x'; --", "$part", "test' union all from read_text('/etc/passwd') --", "\0", "{}"]
)
@pytest.mark.usefixtures("untouched")
def test_a_parameter_is_a_value_whatever_it_says(asked, value):
    assert [{"value": value}] == asked.sql("select $value as value", {"value": value}).to_pylist()


@pytest.mark.soak_after(2)
@pytest.mark.parametrize(
    "text", ["", ";", "-- only a comment", "select 1 as a\udcff", "select '\0'", "selec 1", "\x1b[31m"]
)
def test_what_is_no_sql_is_one_clear_message(asked, text):
    with pytest.raises(QuestionError) as caught:
        asked.sql(text)

    assert caught.value.remedy


def link(path):
    path.symlink_to("/etc/passwd")


def large(path):
    with path.open("wb") as file:
        file.truncate(2_000_000_000)


HONEST_FILE = b"-- Which?\nselect 1 as one\n"
QUESTION_FILES = {
    "score.sql": HONEST_FILE,
    "Score.sql": HONEST_FILE,
    "\uff53core.sql": HONEST_FILE,
    "a b.sql": HONEST_FILE,
    "-x.sql": HONEST_FILE,
    "a\x1b[31m.sql": HONEST_FILE,
    "a\udcff.sql": HONEST_FILE,
    "..x.y.sql": None,
    "pipe.sql": os.mkfifo,
    "linked.sql": link,
    "folder.sql": Path.mkdir,
    "large.sql": large,
    "empty.sql": b"",
    "latin.sql": "-- Which lésion?\nselect 1\n".encode("latin-1"),
    "utf16.sql": "-- Which?\nselect 1\n".encode("utf-16"),
    "surrogate.sql": b"-- Which?\nselect '\xed\xa0\x80'\n",
    "zero.sql": b"-- Which?\nselect 1\0; drop table cases\n",
    "return.sql": b"-- Which?\rcopy (select 42) to 'x'\n",
    "separator.sql": "-- Which?\u2028copy (select 42) to 'x'\n".encode(),
    "escape.sql": b"-- Which \x1b]0;title\x07?\nselect 1\n",
    "unasked.sql": b"select 1\n",
    "blank.sql": b"--   \nselect 1\n",
    "unclear.sql": b"-- Which?\n-- $part a part\nselect 1\n",
    "twice.sql": b"-- Which?\n-- $part = a: a part\n-- $part = b: a part\nselect $part\n",
    "quoted.sql": b"-- Which?\n-- $a'; drop table cases; -- = x: a part\nselect 1\n",
    "binary.sql": bytes(range(256)),
}


@pytest.mark.parametrize("name", [name for name, content in QUESTION_FILES.items() if content])
def test_a_question_file_that_cannot_be_asked_is_named_and_harms_no_other(asked, monkeypatch, tmp_path, name):
    folder = tmp_path / "queries"
    folder.mkdir()
    monkeypatch.setattr(Workspace, "queries", folder)
    (folder / "honest.sql").write_bytes(b"\xef\xbb\xbf-- Which?\r\n-- $a = 1: a number\r\nselect $a as one\r\n")
    content = QUESTION_FILES[name]
    if callable(content):
        content(folder / name)
    else:
        (folder / name).write_bytes(content)
    questions = {question.name: question for question in asked.questions()}
    stem = name.removesuffix(".sql")
    with pytest.raises(ToolkitError) as caught:
        asked.ask(stem)

    assert [stem] == [question.name for question in questions.values() if question.fault]
    assert str(folder / name) == caught.value.place
    assert caught.value.remedy
    assert questions["honest"].fault is None
    assert "Which?" == questions["honest"].question
    assert questions["confusions"].fault is None


def test_the_list_of_questions_says_which_cannot_be_asked(asked, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(Workspace, "queries", tmp_path)
    (tmp_path / "score.sql").write_bytes(HONEST_FILE)
    (tmp_path / "mine.sql").write_bytes(HONEST_FILE)
    streams = []
    for options in ([], ["--json"]):
        with pytest.raises(SystemExit):
            main(["--workspace", str(asked.folder), *options, "query"])
        streams.append(capsys.readouterr())
    facts = {question["name"]: question for question in json.loads(streams[1].out)}

    assert f"where: {tmp_path / 'score.sql'}" in streams[0].err
    assert "mine" in streams[0].out
    assert "has its name" in facts["score"]["fault"]
    assert "fault" not in facts["mine"]


def test_what_the_toolkit_itself_asks_never_comes_from_the_workspace(asked, monkeypatch, tmp_path):
    monkeypatch.setattr(Workspace, "queries", tmp_path)
    (tmp_path / "exports.sql").write_bytes(b"-- Which?\nselect 'forged' as export_id\n")

    assert "forged" not in str(asked.shipped_rows("exports"))
    with pytest.raises(QuestionError, match="has its name"):
        asked.ask("exports")


def test_the_process_gets_no_key_and_no_module_of_the_current_folder(asked, monkeypatch, tmp_path):
    monkeypatch.setenv("LABELBOX_API_KEY", SENTINEL)
    (tmp_path / "duckdb.py").write_text(f"raise SystemExit('{SENTINEL}')\n")
    monkeypatch.chdir(tmp_path)
    with user_sql.snapshot(asked.registry) as copy:
        process = sql_start.process_of(copy)
        until = time.monotonic() + 30
        while not (environment := Path(f"/proc/{process.pid}/environ").read_bytes()) and time.monotonic() < until:
            time.sleep(0.01)  # the system fills it in while the program starts
        process.kill()
        process.communicate()

    assert SENTINEL.encode() not in environment
    assert b"PYTHONPATH" in environment
    assert 2 == asked.sql("from cases").num_rows


@pytest.mark.usefixtures("untouched")
def test_the_copy_has_no_name(asked):
    with user_sql.snapshot(asked.registry) as copy:
        assert 0 == os.fstat(copy.fileno()).st_nlink
        assert asked.registry.read_bytes() == copy.read()


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_an_interrupt_ends_the_process_too_and_a_long_question_keeps_no_writer_waiting(asked):
    text = "select count(*) from range(1000000000000)"
    command = [sys.executable, "-m", "toolkit", "--workspace", str(asked.folder), "query", "--sql", text]
    asking = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 30
    while not children(asking.pid) and time.monotonic() < until:
        time.sleep(0.05)
    (child,) = children(asking.pid)
    started = time.monotonic()
    with asked.writing() as connection:
        connection.execute("select 1")
    waited = time.monotonic() - started
    asking.send_signal(signal.SIGINT)
    _, messages = asking.communicate(timeout=20)
    until = time.monotonic() + 5
    while is_alive(child) and time.monotonic() < until:
        time.sleep(0.05)

    assert 5 > waited
    assert 130 == asking.returncode
    assert "Traceback" not in messages
    assert not is_alive(child)


def test_the_process_ends_by_itself_where_its_parent_was_killed(asked):
    with user_sql.snapshot(asked.registry) as copy:
        process = sql_start.process_of(copy)
        task = user_sql._task(copy, "select sleep_ms(1000000)", {}, Limits(seconds=0.5), judged=True)
        process.communicate(task, timeout=30)

    assert -signal.SIGALRM == process.returncode


def test_python_variables_are_out_of_reach(asked):
    import pyarrow as pa

    hidden = pa.table({"a": [SENTINEL]})

    assert hidden.num_rows
    with pytest.raises(QuestionError, match="hidden"):
        asked.sql("from hidden")


@pytest.mark.parametrize("form", ["csv", "json"])
def test_a_large_answer_is_written_in_pieces_of_the_same_text(form, capsys, monkeypatch):
    import pyarrow as pa

    from toolkit.console.rows import write_rows
    from toolkit.workspace import answer_values

    table = pa.table({"a": [1, 2, None], "b": ["x\ny\u2028z", "=1+1", "é"], "c": [[1.5, float("nan")], [], None]})
    write_rows(table, form)
    whole = capsys.readouterr().out
    monkeypatch.setattr(answer_values, "BATCH", 2)
    write_rows(table, form)

    assert whole == capsys.readouterr().out
    if form == "json":
        first = {"a": 1, "b": "x\ny\u2028z", "c": [1.5, None]}
        assert [first, {"a": 2, "b": "=1+1", "c": []}, {"a": None, "b": "é", "c": None}] == json.loads(whole)
    else:
        assert 'a,b,c\n1,"x\ny\u2028z","[1.5, null]"\n2,\'=1+1,[]\n,é,\n' == whole


@pytest.mark.parametrize(("form", "expected"), [("csv", "a\n"), ("json", "[]\n")])
def test_an_answer_without_rows_is_written_whole(form, expected, capsys):
    import pyarrow as pa

    from toolkit.console.rows import write_rows

    write_rows(pa.table({"a": pa.array([], pa.int64())}), form)

    assert expected == capsys.readouterr().out


def test_a_value_that_python_cannot_hold_is_written_as_duckdb_does(asked, capsys):
    from toolkit.console.rows import write_rows

    write_rows(asked.sql("select '290000-01-01'::timestamp as a"), "csv")

    assert "a\n290000-01-01 00:00:00\n" == capsys.readouterr().out


def test_many_questions_at_once_are_answered_each(asked):
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda n: asked.sql(f"select {n} as n")["n"].to_pylist(), range(4)))

    assert [[0], [1], [2], [3]] == answers
