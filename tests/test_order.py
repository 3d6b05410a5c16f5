"""The order of the modules, and that a light command stays light."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ORDER = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["lesion-toolkit"]["order"]
STAGES = sorted(path.stem for path in (ROOT / "toolkit" / "stages").iterdir() if path.stem.strip("_") == path.stem)
HEAVY = ("torch", "transformers", "pandas", "sklearn", "matplotlib", "labelbox", "duckdb", "pyarrow")


def files() -> list[Path]:
    return sorted((ROOT / "toolkit").rglob("*.py"))


def module_of(path: Path) -> str:
    return path.relative_to(ROOT / "toolkit").parts[0].removesuffix(".py")


def imports_of(path: Path, *, also_for_types: bool = False) -> set[str]:
    tree = ast.parse(path.read_text())
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    names = set()
    for node in ast.walk(tree):
        if id(node) in typing_only and not also_for_types:
            continue
        if isinstance(node, ast.ImportFrom) and node.module == "toolkit":
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("toolkit."):
            names.add(node.module.split(".")[1])
    return names


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_what_stands_before_it(path):
    own = module_of(path)
    if own == "__init__":
        return
    place = ORDER.index(own)

    assert set() == {name for name in imports_of(path) - {own} if ORDER.index(name) >= place}


def test_stages_never_import_each_other():
    crossing = {
        (str(path.relative_to(ROOT)), stage)
        for path in files()
        if "stages" in path.parts
        for stage in stages_imported_by(path) - {path.parts[path.parts.index("stages") + 1].removesuffix(".py")}
    }

    assert set() == crossing


def stages_imported_by(path: Path) -> set[str]:
    modules = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    named = {node.module.split(".")[2] for node in modules if (node.module or "").startswith("toolkit.stages.")}
    return named | {alias.name for node in modules if node.module == "toolkit.stages" for alias in node.names}


def test_labelbox_is_imported_only_where_its_service_is():
    importing = {
        path
        for path in files()
        if re.search(r"^\s*(?:import|from) (?:labelbox|lbox)\b", path.read_text(), re.MULTILINE)
    }

    assert {"labelbox_service"} == {module_of(path) for path in importing}


def test_the_listing_of_the_stages_names_every_stage():
    listing = ast.get_docstring(ast.parse((ROOT / "toolkit" / "stages" / "__init__.py").read_text()))

    assert STAGES == sorted(re.findall(r"^    (\w+)  ", listing, re.MULTILINE))


def test_every_module_has_its_place_and_every_place_its_module():
    assert {*ORDER, "__init__"} == {module_of(path) for path in files()}


def test_no_module_is_called_utils():
    unwelcome = {"utils", "helpers", "common", "manager", "core"}

    assert set() == unwelcome & {path.stem for path in files()}


def test_a_module_says_in_one_plain_sentence_what_is_in_it():
    for path in files():
        first = (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]

        assert first.endswith("."), path
        assert not first.startswith(("Knows", "Refuses")), path


def test_help_imports_nothing_heavy():
    program = (
        "import sys\nfrom toolkit.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )

    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert "[]" == answer.stderr.strip()
    assert "sample" in answer.stdout
