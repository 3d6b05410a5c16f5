"""Writes the reference pages of docs/ and the maps of modules in README.md and docs/architecture.md from the code,
and the licences of docs/security.md from what is installed.

`make docs` writes them; `make check` runs this with --check, which fails when one differs from what the code says.
"""

import ast
import html
import io
import json
import re
import sys
import textwrap
import tomllib
from pathlib import Path
from typing import Any

import licences
from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from rich.console import Console

from toolkit.cli import app
from toolkit.manifest import Study
from toolkit.stages.claims.claims_file import ClaimSection, PartSection, Predictions
from toolkit.workspace import sql

HERE = Path(__file__).parent
ROOT = HERE.parent
PACKAGE = ROOT / "toolkit"
MADE = "<!-- Made by `make docs` from the code: change that instead. -->\n"


def cli() -> str:
    """Return every command's own help."""
    pages = [MADE, "# Commands\n", _help([])]
    names = sorted((app[name].sort_key, name) for name in app if not name.startswith("-"))
    for _, name in names:
        pages.append(f"## toolkit {name}\n\n{_help([name])}")
        parts = [part for part in app[name] if not part.startswith("-")]
        pages += [f"### toolkit {name} {part}\n\n{_help([name, part])}" for part in parts]
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
        "for each parameter and, where you like, a line `-- $name among table.column, word` that says which values\n"
        "there are. Any other value is an error that names the nearest ones; the beginning of an ID is enough where\n"
        "no other ID begins so. An answer without rows is said in words. A file with the name of a question below is\n"
        "refused. Every question only reads, and\n"
        "is ended at 2 GB of memory or 60 s, which `--memory` and `--seconds` change.\n"
    )
    pages = [MADE, "# Questions\n", intro]
    for topic, asked in sql.by_topic(sql.questions().values()).items():
        pages.append(f"## {topic.capitalize()}\n")
        for question in asked:
            taken = [_parameter(p) for p in question.parameters]
            body = "\n".join(line for line in question.text.splitlines() if not line.startswith("--"))
            head = f"### {question.name}\n\n{question.question}\n"
            pages.append("\n".join([head, *taken, f"\n```sql\n{body.strip()}\n```\n"]))
    return "\n".join(pages)


def _parameter(parameter: sql.Parameter) -> str:
    needed = "must be given" if parameter.default is None else f"default `{parameter.default or ' '}`"
    known = f"; known: {', '.join(f'`{each}`' for each in parameter.among)}" if parameter.among else ""
    return f"- `{parameter.name}` ({needed}): {parameter.meaning}{known}"


def manifest() -> str:
    """Return every key of a study file."""
    intro = (
        "One TOML file says everything that defines a study's results. Paths in it are relative to it. An unknown\n"
        "key, a missing key and a wrong type are all reported at once, each with its key.\n"
    )
    pages = [MADE, "# The study file\n", intro]
    for name, section in Study.model_fields.items():
        model = next(m for m in _models(section.annotation))
        pages += _keys(f"[[{name}]]" if name == "classes" else f"[{name}]", model)
        for key, field in model.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                pages += _keys(f"[{name}.{key}]", field.annotation)
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
        "`manifests/claims/pigmented8.toml`. At its top stand `title` and, if you like, `reference`; a table\n"
        "`[total]` holds the cases of each class in the whole study, for claims about shares of it (`part_share`).\n\n"
        "Three things are found beyond single claims and sources: areas under curves that no classes can have at\n"
        "once (means, numbers of classes, ranks); a source whose figures of one set are those of another set, which\n"
        "is then held against the cases of that one too; sets whose shares do not add up.\n"
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
    for name, meaning, columns in sql.schema_tables():
        rows = [f"| `{column}` | {_type(kind)} | {words} |" for column, kind, words in columns]
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


def rooms() -> str:
    """Return README's map: one entry for each room in the order of imports, and for each stage."""
    entries = []
    for name in _order():
        room = _module(name)
        folder = room.name == "__init__.py"
        entries.append((f"{name}/" if folder else f"{name}.py", _first_sentence(room)))
        if name == "stages":
            entries += [(f"  {stage}", meaning) for stage, meaning in _stages().items()]
    width = max(len(name) for name, _ in entries) + 2
    lines = [
        textwrap.fill(
            meaning, 118, break_on_hyphens=False, initial_indent=name.ljust(width), subsequent_indent=" " * width
        )
        for name, meaning in entries
    ]
    return "```text\n" + "\n".join(lines) + "\n```\n"


def files() -> str:
    """Return the map of docs/architecture.md: every file of every room, in the order of imports."""
    return "\n".join(line for name in _order() for line in _entries(_module(name))) + "\n"


def _entries(module: Path, depth: int = 0) -> list[str]:
    """Return a list item for a module and, where it is a folder, for what is in it."""
    indent, sentence = "  " * depth, _first_sentence(module)
    if module.name != "__init__.py":
        return [f"{indent}- `{module.name}`: {sentence}"]
    places = list(_stages()) if module.parent.name == "stages" else []
    inside = [path for path in module.parent.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()]
    inside.sort(key=lambda path: (places.index(path.stem) if path.stem in places else 0, path.stem))
    modules = [path if path.suffix == ".py" else path / "__init__.py" for path in inside if path != module]
    below = [line for path in modules for line in _entries(path, depth + 1)]
    return [f"{indent}- **`{module.parent.name}/`**: {sentence}", *below]


def _order() -> list[str]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["lesion-toolkit"]["order"]


def _module(name: str) -> Path:
    """Return a room's file: its own, or its folder's __init__.py."""
    folder = PACKAGE / name / "__init__.py"
    return folder if folder.is_file() else PACKAGE / f"{name}.py"


def _docstring(module: Path) -> str:
    return ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""


def _first_sentence(module: Path) -> str:
    return " ".join(re.split(r"(?<=\.)\s", _docstring(module), maxsplit=1)[0].split())


def _stages() -> dict[str, str]:
    """Return what each stage does, as the listing in the docstring of toolkit/stages says."""
    return dict(re.findall(r"^    (\w+) +(.+)$", _docstring(PACKAGE / "stages" / "__init__.py"), re.MULTILINE))


def with_part(path: Path, text: str, *, name: str) -> str:
    """Return a file with the text between its two markers of this name replaced; exit where a marker is missing."""
    opening, closing = f"<!-- {name} -->\n", f"<!-- /{name} -->\n"
    before, start, rest = path.read_text(encoding="utf-8").partition(opening) if path.is_file() else ("", "", "")
    _, end, after = rest.partition(closing)
    if not start or not end:
        sys.exit(f"{path} lacks the lines {opening.strip()} and {closing.strip()}: what is made stands between them")
    return f"{before}{opening}{text}{closing}{after}"


def glossary() -> str:
    """Return docs/glossary.md as the part of a page, for the copy that stands beside every report."""
    lines = []
    for line in (HERE / "glossary.md").read_text(encoding="utf-8").splitlines():
        if entry := re.fullmatch(r'- <a id="([\w-]+)"></a>\*\*(.+?)\*\*: (.+)', line):
            term, words, meaning = entry.groups()
            lines.append(f'<dt id="{term}">{_inline(words)}</dt><dd>{_inline(meaning)}</dd>')
        elif line.startswith("## "):
            close = "</dl></section>\n" if lines else ""
            title = line[3:]
            name = title.lower().replace(" ", "-")
            lines.append(f'{close}<section aria-labelledby="{name}"><h2 id="{name}">{title}</h2><dl>')
    comment = "{#- Made by `make docs` from docs/glossary.md: change that instead. -#}"
    return "\n".join([comment, *lines, "</dl></section>", ""])


def _inline(text: str) -> str:
    """Return a line of Markdown with code, emphasis and links as HTML; links to other pages keep their words only."""
    escaped = html.escape(text, quote=False)
    escaped = re.sub(r"`([^`]+)`", r"<code>\1</code>", escaped)
    escaped = re.sub(r"\*([^*]+)\*", r"<em>\1</em>", escaped)
    return re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", escaped)


def main() -> None:
    """Write the pages, or with --check say which are out of date."""
    pages = {
        HERE / "claims.md": claims(),
        HERE / "cli.md": cli(),
        HERE / "queries.md": queries(),
        HERE / "manifest.md": manifest(),
        HERE / "tables.md": tables(),
        ROOT / "reports" / "template" / "terms.html.j2": glossary(),
        ROOT / "README.md": with_part(ROOT / "README.md", rooms(), name="rooms"),
        HERE / "architecture.md": with_part(HERE / "architecture.md", files(), name="rooms"),
        HERE / "security.md": with_part(HERE / "security.md", licences.table(), name="licences"),
    }
    stale = [path for path, text in pages.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    if "--check" in sys.argv:
        names = ", ".join(str(path.relative_to(ROOT)) for path in stale)
        sys.exit(f"out of date: {names}; run `make docs`" if stale else 0)
    for path in stale:
        path.write_text(pages[path], encoding="utf-8")


if __name__ == "__main__":
    main()
