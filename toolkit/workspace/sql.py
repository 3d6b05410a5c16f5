"""The SQL files: named questions with their parameters, statements of the stages, metrics as queries."""

import re
from pathlib import Path
from typing import NamedTuple

from toolkit.errors import QuestionError
from toolkit.manifest import shipped

PARAMETER = re.compile(r"^-- \$(?P<name>\w+)(?: = (?P<default>[^:]*?))?: (?P<meaning>.+)$")
TABLE = re.compile(r"^create table (\w+) \( -- (.+?)\n(.*?)^\);", re.MULTILINE | re.DOTALL)
COLUMN = re.compile(r"^    (\w+) (.+?),? -- (.+)$", re.MULTILINE)
COMMENT = re.compile(r"^comment on \w+ (\S+) is '(.+)';$", re.MULTILINE)


class Parameter(NamedTuple):
    """A value a question takes; `default` is None where it must be given."""

    name: str
    default: str | None
    meaning: str


class SchemaTable(NamedTuple):
    """A table of the schema and its columns, each with its declared type, and what they mean."""

    name: str
    meaning: str
    columns: list[tuple[str, str, str]]


class Question(NamedTuple):
    """A named question: a `.sql` file whose comments say what it asks."""

    name: str
    question: str
    parameters: tuple[Parameter, ...]
    text: str


def read_question(path: Path) -> Question:
    """Read a question file: the question on the first line, then one line per parameter, then the SQL."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    if not lines or not lines[0].startswith("-- "):
        raise QuestionError(
            "a question file starts with its question", place=str(path), remedy="write `-- What …?` on its first line"
        )
    matches = [PARAMETER.match(line) for line in lines[1:] if line.startswith("-- $")]
    if not all(matches):
        raise QuestionError(
            "a parameter line cannot be read", place=str(path), remedy="write `-- $name = default: meaning`"
        )
    parameters = tuple(Parameter(m["name"], m["default"], m["meaning"]) for m in matches if m)
    return Question(path.stem, lines[0].removeprefix("-- ").strip(), parameters, text)


def questions(own: Path | None = None) -> dict[str, Question]:
    """Return every question by name: the shipped ones, then those of the workspace's `queries/` folder."""
    folders = [shipped("sql") / "queries", *([own] if own and own.is_dir() else [])]
    return {path.stem: read_question(path) for folder in folders for path in sorted(folder.glob("*.sql"))}


def bind(question: Question, values: dict[str, str]) -> dict[str, str]:
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
    """Return the tables of `sql/schema` in order, by their comments and by newer words for them."""
    schema = "\n".join(path.read_text(encoding="utf-8") for path in folder("schema"))
    newer = {name: words.replace("''", "'") for name, words in COMMENT.findall(schema)}
    return [
        SchemaTable(
            name,
            newer.get(name, meaning),
            [(column, kind, newer.get(f"{name}.{column}", words)) for column, kind, words in COLUMN.findall(body)],
        )
        for name, meaning, body in TABLE.findall(schema)
    ]
