"""The metadata columns of `case_table`, and what every table and column means, within the registry."""

import hashlib
import re
from collections.abc import Generator
from functools import cache
from typing import NamedTuple

import duckdb

from toolkit.workspace import sql
from toolkit.workspace.answer_values import distinct_names

CASE_TABLE = "11_case_table"
LAST = "    described.metadata, -- Metadata fields of the photograph as text.\n"
"""Behind this line of the view a column stands for each metadata field."""
MOST_FIELDS = 200
VIEWS = "views"
"""Beside the files of the schema, the history says which views there are."""
TYPES = {
    "CustomMetadataNumber": "try_cast({} as double)",
    "CustomMetadataDateTime": "try_cast({} as timestamptz) at time zone 'UTC'",
    "attached number": "try_cast({} as double)",
    "attached date": "try_cast({} as date)",
    "attached time": "try_cast({} as timestamp)",
    "attached boolean": "try_cast({} as boolean)",
}
"""How the values of a field are read, by its kind in Labelbox or in an attached file; all others stay text."""
SELECTED = re.compile(r"^ +(?:\S.*?[ .])?(\w+), -- (.+)$", re.MULTILINE)
"""A column of a view, and what it means."""


class Meaning(NamedTuple):
    """What a table, a view or a column means: `kind` as COMMENT ON names it."""

    kind: str
    name: str
    column: str | None
    words: str


def make_views(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the views of `sql/views` where those that are there are others: reading them takes DuckDB 50 ms."""
    if _state_of_views(connection) != _known_state(connection):
        for path in sql.folder("views"):
            connection.execute(path.read_text(encoding="utf-8"))


def describe(connection: duckdb.DuckDBPyConnection) -> None:
    """Give `case_table` its metadata columns, and every table, view and column the comment that says what it means."""
    if _state_of_views(connection) != _known_state(connection):
        connection.execute(case_table_sql(connection))
        state = _state_of_views(connection)
        connection.execute("insert or replace into schema_history values (?, ?)", [VIEWS, state])
    known = _comments(connection)
    for each in _meanings():
        key = (each.name, each.column)
        if key in known and known[key] != each.words:
            column = f".{_quoted(each.column)}" if each.column else ""
            connection.execute(f"comment on {each.kind} {_quoted(each.name)}{column} is {sql.quoted(each.words)}")


def case_table_sql(connection: duckdb.DuckDBPyConnection) -> str:
    """Return the SQL of `case_table` with a column for each metadata field, numbered where another has its name."""
    fields = _metadata_fields(connection)
    text, taken = _view(CASE_TABLE), own_columns()
    names = distinct_names([*taken, *(name for name, _ in fields)])[len(taken) :]
    columns = (
        f"    {TYPES.get(kind, '{}').format(f'described.metadata[{sql.quoted(field)}]')} as {_quoted(name)},\n"
        for name, (field, kind) in zip(names, fields, strict=True)
    )
    return text.replace(LAST, LAST + "".join(columns))


def own_columns() -> list[str]:
    """Return the columns of `case_table` that are no metadata fields."""
    return [name for name, _ in SELECTED.findall(_view(CASE_TABLE))]


def _state_of_views(connection: duckdb.DuckDBPyConnection) -> str:
    """Return what is another as soon as the views are: those that are there, and what they are made of."""
    there = connection.execute("select view_name, sql from duckdb_views() where not internal order by all").fetchall()
    return hashlib.sha256(repr((there, _files(), _metadata_fields(connection))).encode()).hexdigest()


@cache
def _files() -> list[str]:
    return [path.read_text(encoding="utf-8") for kind in ("schema", "views") for path in sql.folder(kind)]


def _known_state(connection: duckdb.DuckDBPyConnection) -> str | None:
    known = connection.execute("select sha256 from schema_history where file = ?", [VIEWS]).fetchall()
    return known[0][0] if known else None


def _metadata_fields(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str | None]]:
    return connection.execute(sql.statement("parse/metadata_fields"), {"most": MOST_FIELDS}).fetchall()


@cache
def _meanings() -> list[Meaning]:
    """Return what everything means; the files of an installed version do not change while it runs."""
    return list(_read_meanings())


def _read_meanings() -> Generator[Meaning]:
    of_column = {}
    for table in sql.schema_tables():
        yield Meaning("table", table.name, None, table.meaning)
        for column, _, words in table.columns:
            if column.endswith("_id") or table.name == "predictions":  # elsewhere the same name may mean something else
                of_column.setdefault(column, words)
            yield Meaning("column", table.name, column, words)
    for path in sql.folder("views"):
        text = path.read_text(encoding="utf-8")
        if "create or replace view" not in text:
            continue
        name = path.stem.partition("_")[2]
        yield Meaning("view", name, None, text.partition("\n")[0].removeprefix("-- "))
        for column, words in (of_column | dict(SELECTED.findall(text))).items():
            yield Meaning("column", name, column, words)


def _comments(connection: duckdb.DuckDBPyConnection) -> dict[tuple[str, str | None], str | None]:
    """Return the comment of every table, view and column that there is."""
    rows = connection.execute(sql.statement("parse/comments")).fetchall()
    return {(table, column): comment for table, column, comment in rows}


def _view(stem: str) -> str:
    return next(path.read_text(encoding="utf-8") for path in sql.folder("views") if path.stem == stem)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
