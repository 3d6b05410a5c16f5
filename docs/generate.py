"""Writes the reference pages from the code: claims.md, cli.md, queries.md, manifest.md, tables.md.

`make docs` writes them; `make check` runs this with --check, which fails when a page is not what the code says.
"""

import io
import json
import re
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from rich.console import Console

from toolkit.cli import app
from toolkit.manifest import Study
from toolkit.stages.claims.claims_file import ClaimSection, PartSection, Predictions
from toolkit.workspace import sql

HERE = Path(__file__).parent
MADE = "<!-- Made by `make docs` from the code: change that instead. -->\n"


def cli() -> str:
    """Return every command's own help."""
    pages = [MADE, "# Commands\n", _help([])]
    names = sorted((app[name].sort_key, name) for name in app if not name.startswith("-"))
    pages += [f"## toolkit {name}\n\n{_help([name])}" for _, name in names]
    return "\n".join(pages)


def _help(tokens: list[str]) -> str:
    buffer = io.StringIO()
    console = Console(file=buffer, width=96, force_terminal=False, color_system=None)
    app.meta.help_print(tokens, console=console) if not tokens else app.help_print(tokens, console=console)
    text = "\n".join(line.rstrip() for line in buffer.getvalue().strip().splitlines())
    return f"```text\n{text}\n```\n"


def queries() -> str:
    """Return every question with its parameters and SQL."""
    intro = (
        "Ask one with `toolkit query NAME --set parameter=value`. Your own questions are `.sql` files in the\n"
        "workspace's `queries/` folder: the question on the first line, then a line `-- $name = default: meaning`\n"
        "for each parameter.\n"
    )
    pages = [MADE, "# Questions\n", intro]
    for question in sql.questions().values():
        taken = [f"- `{p.name}` (default `{p.default or ' '}`): {p.meaning}" for p in question.parameters]
        body = "\n".join(line for line in question.text.splitlines() if not line.startswith("--"))
        pages.append(
            "\n".join([f"## {question.name}\n\n{question.question}\n", *taken, f"\n```sql\n{body.strip()}\n```\n"])
        )
    return "\n".join(pages)


def manifest() -> str:
    """Return every key of a study file."""
    intro = (
        "One TOML file says everything that defines a study's results. Paths in it are relative to it. An unknown\n"
        "key, a missing key and a wrong type are all told at once, each with its key.\n"
    )
    pages = [MADE, "# The study file\n", intro]
    for name, section in Study.model_fields.items():
        model = next(m for m in _models(section.annotation))
        pages += _keys(f"[[{name}]]" if name == "classes" else f"[{name}]", model)
        for key, field in model.model_fields.items():
            if isinstance(field.default, BaseModel):
                pages += _keys(f"[{name}.{key}]", type(field.default))
    return "\n".join(pages)


def _keys(title: str, model: type[BaseModel]) -> list[str]:
    rows = [
        f"| `{key}` | {_default(field)} | {_flat(field.description)} |" for key, field in model.model_fields.items()
    ]
    doc = _flat(model.__doc__)
    return ["\n".join([f"## {title}\n\n{doc}\n", "| key | default | meaning |", "| --- | --- | --- |", *rows, ""])]


def claims() -> str:
    """Return every key of a file of claims."""
    intro = (
        "A TOML file of printed figures and of the cases they rest on, for `toolkit claims FILE.toml`; see\n"
        "`manifests/claims/pigmented8.toml`. At its top stand `title` and, if you like, `reference`.\n"
    )
    pages = [MADE, "# A file of claims\n", intro]
    for title, model in (
        ("[[parts]]", PartSection),
        ("[parts.predictions]", Predictions),
        ("[[claims]]", ClaimSection),
    ):
        pages += _keys(title, model)
    return "\n".join(pages)


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in getattr(annotation, "__args__", ()) for model in _models(inner)]


def _flat(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


def _default(field: Any) -> str:
    if field.default is PydanticUndefined:
        return "required"
    if isinstance(field.default, BaseModel):
        return "its own"
    return f"`{'none' if field.default is None else json.dumps(field.default)}`"


def tables() -> str:
    """Return every table of the schema, by its comments or by newer words for them, and every view."""
    pages = [MADE, "# Tables and views\n", "Undefined numbers are NaN, never 0 or 1. Times are UTC. IDs are text.\n"]
    table = re.compile(r"^create table (\w+) \( -- (.+?)\n(.*?)^\);", re.MULTILINE | re.DOTALL)
    column = re.compile(r"^    (\w+) (.+?),? -- (.+)$", re.MULTILINE)
    comment = re.compile(r"^comment on \w+ (\S+) is '(.+)';$", re.MULTILINE)
    schema = "\n".join(path.read_text(encoding="utf-8") for path in sql.folder("schema"))
    newer = {name: words.replace("''", "'") for name, words in comment.findall(schema)}
    for name, first, body in table.findall(schema):
        rows = [
            f"| `{c}` | {_type(kind)} | {newer.get(f'{name}.{c}', words)} |" for c, kind, words in column.findall(body)
        ]
        meaning = newer.get(name, first)
        pages.append(
            "\n".join([f"## {name}\n\n{meaning}\n", "| column | type | meaning |", "| --- | --- | --- |", *rows, ""])
        )
    pages.append("# Views\n")
    for path in sql.folder("views"):
        text = path.read_text(encoding="utf-8")
        meaning = text.splitlines()[0].removeprefix("-- ")
        pages.append(
            f"## {path.stem.partition('_')[2]}\n\n{meaning}\n\n```sql\n{text.partition(chr(10))[2].strip()}\n```\n"
        )
    return "\n".join(pages)


def _type(declared: str) -> str:
    return declared.partition(" check")[0].partition(" references")[0].rstrip(",")


def main() -> None:
    """Write the pages, or with --check say which are out of date."""
    pages = {
        "claims.md": claims(),
        "cli.md": cli(),
        "queries.md": queries(),
        "manifest.md": manifest(),
        "tables.md": tables(),
    }
    stale = [name for name, text in pages.items() if not (HERE / name).is_file() or (HERE / name).read_text() != text]
    if "--check" in sys.argv:
        sys.exit(f"out of date: {', '.join(stale)}; run `make docs`" if stale else 0)
    for name in stale:
        (HERE / name).write_text(pages[name], encoding="utf-8")


if __name__ == "__main__":
    main()
