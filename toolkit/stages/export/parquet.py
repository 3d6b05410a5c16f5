"""The whole registry as Parquet: a folder for each table, and a file of SQL that makes the views over them again."""

from pathlib import Path

import duckdb

from toolkit.errors import WorkspaceError
from toolkit.files import write_atomically
from toolkit.photographs.opening import file_name
from toolkit.stages.export.written import Order, Written
from toolkit.workspace import described, sql
from toolkit.workspace.registry import scratch, table_names, table_schema

VIEWS = ("case_table", "misclassified", "truth")
"""Views whose rows are written too, for who reads Parquet without SQL."""
PARTITIONED = {"predictions": "run_id"}
"""Tables with a file for each value of a column, named by it.

The column stands in the files too: from folders named `run_id=…` an ID of digits alone comes back as a number, and over
such folders DuckDB 2.0.0 gave `case_table` the predictions of another run.
"""
EMPTIED = {
    "images": ("global_key", "external_id", "path"),
    "misclassified": ("path",),
    "exports": ("source",),
    "attachments": ("name", "value"),
}
"""Columns that hold names of files or addresses as they came: an identifier may stand in them."""
IS_PATH = r"regexp_matches(model, '^([/\\~.]|.:[\\/])')"
LAST_NAME = rf"case when {IS_PATH} then regexp_extract(rtrim(model, '/\'), '[^/\\]+$') else model end"
SHORTENED = {"runs": {"model": LAST_NAME}}
"""Columns that may hold the path of a folder of this machine: the last name stays, as in `formatting.model_name`."""
LOAD = "load.sql"


def write_parquet_tables(order: Order) -> Written:
    """Write every table and some views below `folder`, ordered by all columns: the same registry gives the same bytes.

    Columns of `EMPTIED` are there and hold NULL, so that every question can still be asked.
    """
    workspace, folder = order.workspace, order.folder
    if workspace.is_older():
        problem = "an earlier version wrote this registry, and it lacks tables"
        raise WorkspaceError(problem, place=str(workspace.folder), remedy="toolkit parse brings it up to date")
    names = [*((name, "tables") for name in table_names()), *((name, "views") for name in VIEWS)]
    rows = {}
    with workspace.reading() as registry, scratch(folder) as files:
        files.execute("set threads = 1")
        files.execute("set preserve_insertion_order = true")
        for number, (name, kind) in enumerate(names, start=1):
            rows[name] = _write(registry, files, name, folder / kind / name)
            order.progress("writing Parquet", number, len(names))
        views = [described.case_table_sql(registry) if each.stem == described.CASE_TABLE else each.read_text("utf-8")
                 for each in sql.folder("views")]  # fmt: skip
    tables = [_view_of_files(name) for name in table_names()]
    write_atomically(folder / LOAD, "\n".join([HEAD, *tables, *views]).encode())
    emptied = sorted(f"{table}.{column}" for table, columns in EMPTIED.items() for column in columns)
    shortened = [f"{table}.{column}" for table, columns in SHORTENED.items() for column in columns]
    facts = {"rows": rows, "emptied_columns": emptied, "columns_without_folders": shortened}
    return Written(cases=rows["cases"], facts=facts)


HEAD = """\
-- The tables and views of the registry over the Parquet files beside this file.
-- Run it with this folder as current directory: duckdb -init load.sql
"""


def _write(registry: duckdb.DuckDBPyConnection, files: duckdb.DuckDBPyConnection, name: str, folder: Path) -> int:
    """Write the rows of a table or view, and return how many there are."""
    folder.mkdir(parents=True)
    others = dict.fromkeys(EMPTIED.get(name, ()), "null::text") | SHORTENED.get(name, {})
    replaced = ", ".join(f"{text} as {column}" for column, text in others.items())
    text = f"select * {f'replace ({replaced})' if replaced else ''} from {name}"  # noqa: S608 - names of our own schema
    for file, condition in _files(registry, name):
        rows = registry.sql(f"{text} where {condition} order by all")
        files.register("new_rows", rows.to_arrow_reader())
        target = sql.quoted(str(folder / f"{file}.parquet"))
        files.execute(f"copy (from new_rows) to {target} (format parquet, compression zstd)")
        files.unregister("new_rows")
    [(count,)] = registry.execute(f"select count(*) from {name}").fetchall()  # noqa: S608
    return count


def _files(registry: duckdb.DuckDBPyConnection, name: str) -> list[tuple[str, str]]:
    """Return the name of each file of a table or view, and which rows it holds."""
    column = PARTITIONED.get(name)
    if column is None:
        return [("data", "true")]
    values = registry.execute(f"select distinct {column} from {name} order by all").fetchall()  # noqa: S608
    return [(file_name(value), f"{column} = {sql.quoted(value)}") for (value,) in values] or [("data", "true")]


def _view_of_files(name: str) -> str:
    """Return the SQL of a view that reads a table's files, its columns in the order of the schema."""
    columns = ", ".join(f'"{each}"' for each in table_schema(name).names)
    return f"create or replace view {name} as select {columns} from read_parquet('tables/{name}/*.parquet');"  # noqa: S608
