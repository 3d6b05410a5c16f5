"""The order of the modules, and that a light command stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STAGES = ("pull", "parse", "audit", "split", "train", "predict", "evaluate", "compare", "report", "claims")
ORDER = (
    "errors",
    "progress",
    "files",
    "cases",
    "manifest",
    "sql",
    "registry",
    "privacy",
    "images",
    "hashes",
    "alignment",
    "duplicates",
    "prompts",
    "runs",
    "plan",
    "synthetic",
    "landing",
    "lines",
    "metrics",
    "intervals",
    "allotment",
    "delong",
    "calibration",
    "thresholds",
    "comparing",
    "agreement",
    "models",
    "wordings",
    "controls",
    "triples",
    "external",
    *STAGES,
    "init",
    "withdraw",
    "line",
    "console",
    "cli",
    "__main__",
)
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
    found = set()
    for node in ast.walk(tree):
        if id(node) in typing_only and not also_for_types:
            continue
        if isinstance(node, ast.ImportFrom) and node.module == "toolkit":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("toolkit."):
            found.add(node.module.split(".")[1])
    return found


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_what_stands_before_it(path):
    own = module_of(path)
    if own == "__init__":
        return
    place = ORDER.index(own)

    assert set() == {name for name in imports_of(path) - {own} if ORDER.index(name) >= place}


@pytest.mark.parametrize("stage", STAGES)
def test_stages_never_import_each_other(stage):
    own = [path for path in files() if module_of(path) == stage]

    assert set() == {name for path in own for name in imports_of(path)} & (set(STAGES) - {stage})


def test_every_module_has_its_place_and_every_place_its_module():
    assert {*ORDER, "__init__"} == {module_of(path) for path in files()}


def test_no_module_is_called_utils():
    unwelcome = {"utils", "helpers", "common", "manager", "core"}

    assert set() == unwelcome & {path.stem for path in files()}


def test_a_module_says_what_it_knows_and_what_it_refuses_to_know():
    for path in files():
        doc = ast.get_docstring(ast.parse(path.read_text())) or ""

        assert doc.startswith("Knows ") or path.name in ("errors.py", "__main__.py"), path


def test_help_imports_nothing_heavy():
    program = (
        "import sys\nfrom toolkit.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )

    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert "[]" == answer.stderr.strip()
    assert "sample" in answer.stdout
