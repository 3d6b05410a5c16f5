"""The SQL files: named questions with their parameters, statements of the stages, metrics as queries."""

import re
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from toolkit.errors import QuestionError, ToolkitError
from toolkit.files import read_bytes
from toolkit.shipped import shipped
from toolkit.workspace.sql_rules import MOST_TEXT

PARAMETER = re.compile(r"^-- \$(?P<name>\w+)(?: = (?P<default>[^:]*?))?: (?P<meaning>.+)$")
AMONG = re.compile(r"^-- \$(?P<name>\w+) among (?P<among>[\w -]+(?:\.\w+)?(?:, [\w -]+(?:\.\w+)?)*)$")
"""Which values a parameter has."""
COUNTED = re.compile(r"^-- counted by (?P<column>\w+)$")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
NAME = re.compile(r"\w[\w-]*")
OWN = "of this workspace"
"""The topic of questions that stand in the workspace's own files."""
TABLE = re.compile(r"^create table (\w+) \( -- (.+?)\n(.*?)^\);", re.MULTILINE | re.DOTALL)
COLUMN = re.compile(r"^    (\w+) (.+?),? -- (.+)$", re.MULTILINE)
ADDED = re.compile(r"^alter table (\w+) add column (\w+) (.+?);(?: -- (.+))?$", re.MULTILINE)
COMMENT = re.compile(r"^comment on \w+ (\S+) is '(.+)';$", re.MULTILINE)


class Parameter(NamedTuple):
    """A value a question takes; `default` is None where it must be given.

    `among` says which values there are: words, and columns of tables as `table.column`; empty = any value.
    """

    name: str
    default: str | None
    meaning: str
    among: tuple[str, ...] = ()


class SchemaTable(NamedTuple):
    """A table of the schema and its columns, each with its declared type, and what they mean."""

    name: str
    meaning: str
    columns: list[tuple[str, str, str]]


class Question(NamedTuple):
    """A named question: a `.sql` file whose comments say what it asks.

    `fault` says why it cannot be asked: the file cannot be used, or its name is that of a shipped question.
    """

    name: str
    question: str
    parameters: tuple[Parameter, ...]
    text: str
    path: Path
    fault: ToolkitError | None = None
    counted_by: str | None = None
    """A column by which people are told first how many rows there are of each kind."""


def read_question(path: Path) -> Question:
    """Read a question file: the question on the first line, then one line per parameter, then the SQL.

    Raises QuestionError or DamagedError for what is no ordinary, readable file of this form.
    """
    remedy = "make it a text file in UTF-8 with the question on its first line, or remove it"
    if path.is_symlink():
        raise QuestionError("a question file is not a link", place=str(path), remedy="copy the file itself here")
    statement_read = read_statement(path, remedy=remedy)
    lines = statement_read.text.split("\n")
    if not lines[0].startswith("-- ") or not lines[0].removeprefix("-- ").strip():
        raise QuestionError(
            "a question file starts with its question", place=str(path), remedy="write `-- What …?` on its first line"
        )
    counted = next((found["column"] for line in lines if (found := COUNTED.match(line))), None)
    return statement_read._replace(question=lines[0].removeprefix("-- ").strip(), counted_by=counted)


def read_statement(path: Path, *, remedy: str = "give a text file in UTF-8 that holds one SQL statement") -> Question:
    """Read a file of SQL with a line for each of its parameters, as in a question file.

    Raises QuestionError or DamagedError for what is no ordinary, readable file of text.
    """
    data = read_bytes(path, remedy=remedy, most=MOST_TEXT)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise QuestionError(f"a question file is UTF-8 text: {error}", place=str(path), remedy=remedy) from None
    text = text.replace("\r\n", "\n")
    if control := CONTROL.search(text):
        # What a reader sees on one line, DuckDB might see on two.
        problem = f"a question file holds no control characters: U+{ord(control[0]):04X}"
        raise QuestionError(problem, place=str(path), remedy="remove it")
    parameters = _parameters([line for line in text.split("\n") if line.startswith("-- $")], place=str(path))
    return Question(path.stem, "", parameters, text, path)


def _parameters(lines: list[str], *, place: str) -> tuple[Parameter, ...]:
    """Return the parameters that lines describe; raise QuestionError for a line that cannot be read."""
    among = {found["name"]: tuple(found["among"].split(", ")) for line in lines if (found := AMONG.match(line))}
    matches = [PARAMETER.match(line) for line in lines if not AMONG.match(line)]
    names = [found["name"] for found in matches if found]
    if not all(matches) or set(among) - set(names):
        remedy = "write `-- $name = default: meaning`, and `-- $name among table.column` where you like"
        raise QuestionError("a parameter line cannot be read", place=place, remedy=remedy)
    if len(set(names)) < len(names):
        raise QuestionError("a parameter is described twice", place=place, remedy="leave one line of each name")
    return tuple(Parameter(m["name"], m["default"], m["meaning"], among.get(m["name"], ())) for m in matches if m)


@cache
def topics() -> dict[str, tuple[str, ...]]:
    """Return the names of the shipped questions by topic, in the order in which they are listed."""
    content = tomllib.loads((shipped("sql") / "topics.toml").read_text(encoding="utf-8"))
    return {topic: tuple(names) for topic, names in content.items()}


def by_topic(asked: Iterable[Question]) -> dict[str, list[Question]]:
    """Return questions by topic, those of the workspace's own files last."""
    named = {question.name: question for question in asked}
    grouped = {topic: [named.pop(name) for name in names if name in named] for topic, names in topics().items()}
    return {topic: found for topic, found in {**grouped, OWN: list(named.values())}.items() if found}


def questions(own: Path | None = None) -> dict[str, Question]:
    """Return every question by name: the shipped ones, then those of the workspace's `queries/` folder.

    A file there that cannot be used, or that has the name of a shipped question, is returned with its fault and makes
    no other question unusable. So nobody who asks gets another question's answer.
    """
    shipped_ones = {path.stem: read_question(path) for path in sorted((shipped("sql") / "queries").glob("*.sql"))}
    paths = sorted(own.glob("[!.]*.sql")) if own and own.is_dir() else []
    taken = {_compared(name): question for name, question in shipped_ones.items()}
    return shipped_ones | {path.stem: _own_question(path, taken.get(_compared(path.stem))) for path in paths}


def _own_question(path: Path, shipped_one: Question | None) -> Question:
    """Return the question of a file of the workspace, with its fault where it cannot be asked."""
    try:
        if shipped_one:
            problem = f"{shipped_one.name} is a question of the toolkit, and a file of the workspace has its name"
            raise QuestionError(problem, place=str(path), remedy="give the file another name")
        if not NAME.fullmatch(path.stem):
            problem = "the name of a question is made of letters, digits, _ and -"
            raise QuestionError(problem, place=str(path), remedy="give the file another name")
        return read_question(path)
    except ToolkitError as fault:
        return Question(path.stem, "", (), "", path, fault)


def _compared(name: str) -> str:
    """Return a name as a reader, or a disk that ignores upper case, sees it."""
    return unicodedata.normalize("NFKC", name).casefold()


def bind(question: Question, values: Mapping[str, str]) -> dict[str, str]:
    """Return the value of each parameter; raise QuestionError for one that is unknown or missing."""
    names = [p.name for p in question.parameters]
    if unknown := sorted(set(values) - set(names)):
        raise QuestionError(
            f"{question.name} takes no parameter {unknown[0]}",
            remedy=f"it takes: {', '.join(names) or 'none'}",
        )
    bound = {p.name: values.get(p.name, p.default) for p in question.parameters}
    if missing := [name for name, value in bound.items() if value is None]:
        raise QuestionError(f"{question.name} needs {missing[0]}", remedy=f"add --set {missing[0]}=VALUE")
    return {name: value for name, value in bound.items() if value is not None}


def statement(name: str) -> str:
    """Return the text of a statement that a stage runs."""
    return (shipped("sql") / "stages" / f"{name}.sql").read_text(encoding="utf-8")


def metric_query(name: str, *, source: str = "scored", **literals: str) -> str:
    """Return the SQL that gives a metric again, its parameters written out as literals, ready to be pasted.

    `source` is the view of predictions that it reads.
    """
    text = (shipped("sql") / "metrics" / f"{name}.sql").read_text(encoding="utf-8")
    return written_out(text, **literals).replace("from scored\n", f"from {source}\n")


def query_as_of(query: str, export_id: str, truth_id: str) -> str:
    """Return a metric's query, asked of the reference diagnoses as they stood when an export was the newest one."""
    export = quoted(export_id)
    sources = {
        "scored": f"from scored_at((select moment from exports where export_id = {export}))",  # noqa: S608 - quoted
        "scores": f"from scores_as_of where export_id = {export} and truth_id = {quoted(truth_id)}",
    }
    read = [name for name in sources if f"from {name}\n" in query]
    if not read:
        return query
    asked = "".join(f"    {line}\n" for line in query.splitlines())
    return f"with {read[0]} as (\n    {sources[read[0]]}\n)\nselect value\nfrom (\n{asked})"


def written_out(text: str, **literals: str) -> str:
    """Return a statement without its comments, its parameters written as literals."""
    bare = "\n".join(line for line in text.splitlines() if not line.startswith("--")).strip()
    return re.sub(r"\$(\w+)", lambda parameter: quoted(literals[parameter[1]]), bare)


def quoted(text: str) -> str:
    """Return a text as a SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def folder(name: str) -> list[Path]:
    """Return the files of `sql/schema` or `sql/views`, in order."""
    return sorted((shipped("sql") / name).glob("*.sql"))


def schema_tables() -> list[SchemaTable]:
    """Return the tables of `sql/schema` in order, by their comments and by newer words for them.

    One that a later file makes anew stands where it was first.
    """
    schema = "\n".join(path.read_text(encoding="utf-8") for path in folder("schema"))
    added: dict[str, list[tuple[str, str, str]]] = {}
    for table, column, kind, words in ADDED.findall(schema):
        added.setdefault(table, []).append((column, kind, words))
    newer = {name: words.replace("''", "'") for name, words in COMMENT.findall(schema)}
    tables = {
        name: SchemaTable(
            name,
            newer.get(name, meaning),
            [
                (column, kind, newer.get(f"{name}.{column}", words))
                for column, kind, words in [*COLUMN.findall(body), *added.get(name, ())]
            ],
        )
        for name, meaning, body in TABLE.findall(schema)
    }
    return list(tables.values())
