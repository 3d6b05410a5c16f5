"""The values of an answer as texts, by DuckDB's own rules for each type: for CSV, JSON and tables."""

import re
from collections.abc import Generator, Iterable
from typing import NamedTuple

import duckdb
import pyarrow as pa

BATCH = 10_000
"""Rows that are turned into texts at a time."""
SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "autoload_known_extensions": False,
    "autoinstall_known_extensions": False,
    "python_enable_replacements": False,
    "enable_external_access": False,
    "threads": 1,
}
JSON_PIECE = re.compile(r'("(?:[^"\\]|\\.)*+")|NaN|-?Infinity|[,:]')
"""A text, a number that JSON does not know, or a sign behind which a space is easier to read."""


class ColumnKind(NamedTuple):
    """What the values of a column are: `is_text` where a spreadsheet may take them for something else."""

    is_text: bool = True
    is_nested: bool = False
    is_float: bool = False
    is_decimal: bool = False
    is_time: bool = False

    @property
    def is_number(self) -> bool:
        """Whether it is a number, true or false."""
        return not (self.is_text or self.is_time)


def kind_of(column: pa.DataType) -> ColumnKind:
    """Return what the values of a column are."""
    if isinstance(column, pa.BaseExtensionType):
        return ColumnKind()
    if pa.types.is_nested(column):
        return ColumnKind(is_nested=True)
    if pa.types.is_floating(column):
        return ColumnKind(is_text=False, is_float=True)
    if pa.types.is_decimal(column):
        return ColumnKind(is_text=False, is_decimal=True)
    if pa.types.is_date(column) or pa.types.is_time(column) or pa.types.is_timestamp(column):
        return ColumnKind(is_text=False, is_time=True)
    return ColumnKind(
        is_text=not (pa.types.is_integer(column) or pa.types.is_boolean(column) or pa.types.is_null(column))
    )


def distinct_names(names: Iterable[str]) -> list[str]:
    """Return the names of columns, the repeated ones numbered, as DuckDB does in a subquery.

    >>> distinct_names(["a", "b", "A", "a"])
    ['a', 'b', 'A_1', 'a_2']
    """
    distinct: list[str] = []
    taken: set[str] = set()
    times: dict[str, int] = {}
    for name in names:
        new = name
        while new.casefold() in taken:
            times[name.casefold()] = times.get(name.casefold(), 0) + 1
            new = f"{name}_{times[name.casefold()]}"
        taken.add(new.casefold())
        distinct.append(new)
    return distinct


def csv_texts(rows: pa.Table) -> Generator[list[list[str | None]]]:
    """Yield some rows at a time: values as DuckDB writes them into CSV, nested ones as JSON; None = no value."""
    kinds = [kind_of(column) for column in rows.schema.types]
    return _asked(rows, ["to_json({})::text" if kind.is_nested else "{}::text" for kind in kinds], kinds)


def json_texts(rows: pa.Table) -> Generator[list[list[str | None]]]:
    """Yield some rows at a time, each value as JSON; None = no value, or a number that JSON cannot write."""
    kinds = [kind_of(column) for column in rows.schema.types]
    return _asked(rows, [_as_json(kind) for kind in kinds], kinds)


def _as_json(kind: ColumnKind) -> str:
    """Return the expression that gives a column's values as JSON."""
    if kind.is_decimal:  # to_json goes through a double
        return "{}::text"
    return "if(isfinite({0}), to_json({0})::text, null)" if kind.is_float else "to_json({})::text"


def _asked(rows: pa.Table, expressions: list[str], kinds: list[ColumnKind]) -> Generator[list[list[str | None]]]:
    """Yield what expressions give for the columns of some rows; `{}` in one stands for its column."""
    columns = [f"c{place}" for place in range(rows.num_columns)]
    selected = ", ".join(each.format(name) for each, name in zip(expressions, columns, strict=True))
    nested = [place for place, kind in enumerate(kinds) if kind.is_nested]
    with duckdb.connect(":memory:", config=SETTINGS) as connection:
        connection.register("answer", rows.rename_columns(columns))
        answer = connection.execute(f"select {selected} from answer")  # noqa: S608 - of our own words
        while records := answer.fetchmany(BATCH):
            yield [_spaced(record, nested) for record in records]


def _spaced(record: tuple, nested: list[int]) -> list[str | None]:
    """Return a record whose nested values are JSON that people can read, with null for NaN and the infinities."""
    values = list(record)
    for place in nested:
        if values[place] is not None:
            values[place] = JSON_PIECE.sub(_piece, values[place])
    return values


def _piece(found: re.Match[str]) -> str:
    if found[1] is not None:
        return found[1]
    return f"{found[0]} " if found[0] in ",:" else "null"
