"""What the docs promise with a test beside it has that test."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def test_every_test_that_a_page_names_exists():
    named = {
        (page.name, *found)
        for page in (ROOT / "docs").glob("*.md")
        for found in TEST.findall(page.read_text(encoding="utf-8"))
    }
    missing = {name for name in named if not (ROOT / name[1]).is_file() or name[2] not in functions(ROOT / name[1])}

    assert len([name for name in named if name[0] == "security.md"]) > 50
    assert set() == missing


def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_line_of_the_security_page_names_its_test():
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    promises = re.findall(r"^\| from \| promise \| shown by \|\n\| --- .*\n((?:\|.*\n)+)", page, re.MULTILINE)
    lines = [line for table in promises for line in table.splitlines()]

    assert len(lines) > 15
    assert [] == [line for line in lines if not TEST.search(line.rsplit(" | ", 1)[1])]
