"""What a person may ask of a registry: one SELECT, or the EXPLAIN of one, judged by its parsed tree before it runs.

The tree is DuckDB's own. What runs it, where nothing can be read or written either, is in `sql_process`.
"""

import json
import re
from collections.abc import Collection, Generator
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any, NamedTuple

import duckdb

from toolkit.errors import QuestionError

MOST_TEXT = 1_000_000
"""Bytes of a statement with its parameters, and of a question file."""
ONLY = "only one SELECT (also FROM, VALUES, PIVOT, DESCRIBE, SUMMARIZE, SHOW) or the EXPLAIN of one can be asked"
QUERY_NODES = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}
"""What a query is made of; the others insert, delete, update, copy, or run text."""
TABLE_FUNCTIONS = {
    *("range", "generate_series", "unnest", "repeat", "repeat_row", "summary", "histogram", "histogram_values"),
    *("json_each", "json_tree", "pragma_table_info", "pragma_show", "pragma_version"),
    *("duckdb_columns", "duckdb_constraints", "duckdb_dependencies", "duckdb_functions", "duckdb_indexes"),
    *("duckdb_keywords", "duckdb_schemas", "duckdb_sequences", "duckdb_tables", "duckdb_types", "duckdb_views"),
    *("pg_timezone_names", "icu_calendar_names"),
}
"""The functions that may stand as a table, beside the registry's own: they know nothing but the tables and numbers."""
REFUSED_FUNCTIONS = {
    *("getenv", "current_setting", "write_log", "parse_duckdb_log_message", "which_secret", "duckdb_secrets"),
    *("nextval", "setval", "currval", "query", "query_table", "glob", "sniff_csv", "json_execute_serialized_sql"),
}
REFUSED_BEGINNINGS = ("read_", "write_", "parquet_", "pandas_", "arrow_", "python_", "pragma_", "copy_")
"""Functions that read or write files, settings or the program's memory, or run text; some exist in no version yet."""
NAMES = re.compile(r"[\w $-]*")
"""A name of a table that cannot be a file's or an address."""


AFTER_COLUMNS = {")", ";", "using", "group", "order", "limit", "union", "except", "intersect"}
"""What stands behind the columns of a PIVOT."""


class Token(NamedTuple):
    """A piece of a statement: its text in lower case, and where it stands in the statement's bytes."""

    word: str
    start: int
    end: int


def judge(text: str, *, own: Collection[str] = ()) -> None:
    """Raise QuestionError for a text that is not one statement that only reads tables.

    `own` are the registry's own functions that stand as tables. DuckDB's errors of a text that it cannot read go on.
    """
    for node in _nodes(_tree(_readable(text))):
        kind = node.get("type")
        if isinstance(kind, str) and kind.endswith("_NODE") and kind not in QUERY_NODES:
            words = kind.removesuffix("_NODE").removesuffix("_QUERY").lower().replace("_", " ")
            raise QuestionError(f"a statement that only reads holds no {words}", remedy=ONLY)
        if kind == "TABLE_FUNCTION":
            _judge_table_function(node, own)
        elif kind in ("BASE_TABLE", "SHOW_REF"):
            _judge_table(node)
        elif isinstance(node.get("function_name"), str) and node["function_name"] not in TABLE_FUNCTIONS:
            _judge_function(node["function_name"])


def _readable(text: str) -> str:
    if "\0" in text:
        raise QuestionError("the SQL holds a character with the code 0", remedy="remove it")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise QuestionError("the SQL holds bytes that are no UTF-8 text", remedy="write it as UTF-8") from None
    if size > MOST_TEXT:
        raise QuestionError(f"the SQL is too long: {size:,} bytes", remedy=f"at most {MOST_TEXT:,} bytes are read")
    return text


def _judge_table_function(node: dict[str, Any], own: Collection[str]) -> None:
    name = str(node.get("function", {}).get("function_name", "")).lower()
    if name not in TABLE_FUNCTIONS and name not in own:
        remedy = "`show tables` lists what can be read; docs/tables.md describes it"
        raise QuestionError(f"the function {name or '(unnamed)'} cannot stand as a table here", remedy=remedy)


def _judge_table(node: dict[str, Any]) -> None:
    name = str(node.get("table_name", "")).strip('"')
    if not NAMES.fullmatch(name):
        problem = f"this is no name of a table: {name[:80]!r}; files and addresses cannot be read"
        raise QuestionError(problem, remedy="`show tables` lists what can be read")


def _judge_function(name: str) -> None:
    if (low := name.lower()) in REFUSED_FUNCTIONS or low.startswith(REFUSED_BEGINNINGS):
        raise QuestionError(
            f"the function {low} is not allowed here", remedy="ask only for what stands in the tables: docs/tables.md"
        )


def _nodes(tree: Any) -> Generator[dict[str, Any]]:
    """Return every object of a tree, those within strings of text not included."""
    waiting = [tree]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            if item.get("class") == "CONSTANT":
                continue
            yield item
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)


def _tree(text: str) -> Any:
    """Return the parsed tree of a statement that asks; raise QuestionError for any other statement."""
    kind = _kind(text)
    tokens = _tokens(text)
    if kind in ("EXPLAIN", "MULTI") and tokens and tokens[0].word == "explain":
        text = _explained(text, tokens[1:])
        kind = _kind(text)
    if kind == "MULTI":
        text = _with_values(text)
        kind = _kind(text)
        if kind == "MULTI":
            remedy = "write the values: PIVOT … ON column IN (value, …)"
            raise QuestionError("this PIVOT is written in a way that cannot be judged", remedy=remedy)
    if kind != "SELECT":
        raise QuestionError(f"this is no question but a statement of the kind {kind}", remedy=ONLY)
    with duckdb.connect(":memory:", config={"autoload_known_extensions": False, "threads": 1}) as connection:
        (answer,) = connection.execute("select json_serialize_sql($1::varchar)", [text]).fetchone() or ("{}",)
    try:
        tree = json.loads(answer)
    except RecursionError:
        raise QuestionError("the SQL is nested too deeply", remedy="write it in fewer levels") from None
    if tree.get("error") or len(tree.get("statements", ())) != 1:
        raise QuestionError("the SQL cannot be judged", remedy=ONLY)
    return tree["statements"]


def _kind(text: str) -> str:
    """Return which kind of statement the one statement in a text is."""
    statements = duckdb.extract_statements(text)
    if len(statements) != 1:
        raise QuestionError(f"give one statement, not {len(statements)}", remedy=ONLY)
    try:
        return statements[0].type.name
    except ValueError:  # kinds that DuckDB's Python package has no name for
        return "OTHER"


def _tokens(text: str) -> list[Token]:
    """Return the words, names, numbers and signs of a statement without its comments."""
    data = text.encode()
    starts = duckdb.tokenize(text)
    ends = [*(start for start, _ in starts[1:]), len(data)]
    return [
        Token(data[start:end].decode(errors="replace").strip().lower(), start, end)
        for (start, kind), end in zip(starts, ends, strict=True)
        if kind != duckdb.token_type.comment
    ]


def _explained(text: str, tokens: list[Token]) -> str:
    """Return what a statement explains: the text without EXPLAIN, ANALYZE and options in parentheses."""
    data = text.encode()
    if tokens and tokens[0].word == "analyze":
        tokens = tokens[1:]
    inner = data[tokens[0].start :].decode() if tokens else ""
    if not tokens or tokens[0].word != "(" or _parses(inner):
        return inner
    closing = next((at for at, token in enumerate(tokens[1:], start=1) if token.word == ")"), len(tokens) - 1)
    return data[tokens[closing].end :].decode()


def _parses(text: str) -> bool:
    try:
        return len(duckdb.extract_statements(text)) == 1
    except duckdb.Error:
        return False


def _with_values(text: str) -> str:
    """Return a statement in which every pivoted column has values.

    Without them DuckDB makes two statements of a PIVOT, the first of which looks for the values, and shows no tree.
    What is added cannot hide anything: it stands only behind columns, and all the rest stays.
    """
    data = text.encode()
    added: list[tuple[int, bytes]] = []
    pivots: list[_Pivot] = []
    depth, last = 0, 0
    for token in [*_tokens(text), Token(";", len(data), len(data))]:
        pivot = pivots[-1] if pivots and pivots[-1].depth == depth else None
        if pivot and token.word in AFTER_COLUMNS:
            added += pivot.values_until(last)
            pivots.pop()
        elif pivot and token.word == "," and pivot.column:
            added += pivot.values_until(last)
            pivot.column, pivot.has_values = token.end, False
        elif pivot and token.word == "on" and not pivot.column:
            pivot.column = token.end
        elif pivot and token.word == "in":
            pivot.has_values = True
        elif token.word in ("pivot", "pivot_wider"):
            pivots.append(_Pivot(depth))
        depth += {"(": 1, ")": -1}.get(token.word, 0)
        last = token.end
    edges = [0, *(place for place, _ in sorted(added)), len(data)]
    pieces = [data[start:end] for start, end in pairwise(edges)]
    return b"".join(chain(*zip(pieces, [*(piece for _, piece in sorted(added)), b""], strict=True))).decode()


@dataclass
class _Pivot:
    """A PIVOT that is being read: its depth in parentheses, where its present column begins, if that has values."""

    depth: int
    column: int = 0
    has_values: bool = False

    def values_until(self, end: int) -> list[tuple[int, bytes]]:
        """Return what to add, and where, so that the column that ends here has values."""
        return [(self.column, b" ("), (end, b") in (0) ")] if self.column and not self.has_values else []
