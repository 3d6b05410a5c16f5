"""What a wheel carries, what is installed beside it, each by its hash, and under which licences."""

import ast
import importlib
import itertools
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from toolkit import console
from toolkit.cli import main
from toolkit.errors import StudyError

ROOT = Path(__file__).parents[1]


@pytest.mark.soak
def test_a_wheel_carries_sql_templates_and_studies(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
        wheel.extractall(tmp_path / "installed")
    program = """
from toolkit.workspace import sql
from toolkit.manifest import load_study
from toolkit.shipped import shipped
print(len(sql.questions()), load_study(shipped("manifests") / "demo.toml").study.name, shipped("sql"))
"""
    answer = subprocess.run(
        [sys.executable, "-P", "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "installed")},
        check=True,
        capture_output=True,
        text=True,
    )

    assert {
        "toolkit/py.typed",
        "toolkit/report_files/page.html.j2",
        "toolkit/sql_files/verify.sql",
        "toolkit/manifest_files/demo.toml",
        "toolkit/manifest_files/demo.split/cases.csv",
        "toolkit/manifest_files/models/tiny.toml",
        "toolkit/manifest_files/sample/classes.toml",
    } <= names
    assert "demo" == answer.stdout.split()[1]
    assert str(tmp_path) in answer.stdout
    assert {f"toolkit/docs_files/{page}" for page in pages_that_messages_name()} == {
        name for name in names if "/docs_files/" in name
    }


def pages_that_messages_name() -> set[str]:
    """Return the pages of docs/ in texts that are shown: not in docstrings."""
    pages = set()
    for path in (ROOT / "toolkit").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                texts = [inner.value for inner in ast.walk(node) if isinstance(inner, ast.Constant)]
                pages |= {page for text in texts for page in re.findall(r"docs/(\w+\.md)", str(text))}
            elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
                pages |= set(re.findall(r"docs/(\w+\.md)", str(node.value.value)))
    return pages


def test_where_there_is_no_checkout_a_message_names_its_page_by_the_whole_path(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(console, "shipped", lambda _: tmp_path / "docs_files")

    console.show_error(StudyError("it has faults", remedy="docs/manifest.md lists every key"))

    assert f"next:  {tmp_path}/docs_files/manifest.md lists every key" in capsys.readouterr().err


# The version, and how it is cited


def test_the_version_is_the_same_wherever_it_is_written():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    heading = re.search(r"^## (.+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    wheels = re.findall(r"lesion_toolkit-([\d.]+)-py3", (ROOT / "README.md").read_text(encoding="utf-8"))
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))

    assert project["version"] == cited["version"]
    assert f"{project['version']} ({cited['date-released']})" == heading[1]
    assert {project["version"]} == set(wheels)


def test_the_command_says_the_version_of_the_package(capsys):
    with pytest.raises(SystemExit) as left:
        main(["--version"])

    assert not left.value.code
    assert metadata.version("lesion-toolkit") == capsys.readouterr().out.strip()


def test_the_citation_file_follows_the_schema_of_cff_1_2_0():
    """The keys, patterns and choices of the schema that stand here; cffconvert said the same of it once."""
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    needed = {"cff-version", "message", "title", "authors"}
    allowed = needed | {"abstract", "date-released", "keywords", "license", "type", "version"}

    assert needed <= cited.keys() <= allowed
    assert ("1.2.0", "software", "Apache-2.0") == (cited["cff-version"], cited["type"], cited["license"])
    assert all(author.keys() == {"name"} and author["name"] for author in cited["authors"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", cited["date-released"])
    assert len(cited["keywords"]) == len(set(cited["keywords"])) > 0
    assert all(isinstance(cited[key], str) and cited[key] for key in ("message", "title", "abstract", "version"))


# The locks

LOCKS = [path.name for path in sorted((ROOT / "requirements").glob("*.lock"))]


def pins(name: str) -> dict[str, Requirement]:
    """Return the requirements of a file of requirements/ by their name."""
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    lines = [line.partition(" \\")[0] for line in text.splitlines() if line.strip() and line[0] not in " #"]
    return {canonicalize_name(requirement.name): requirement for requirement in map(Requirement, lines)}


def declared(*, group: str | None = None, extra: str | None = None) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    if group:
        lines = project["dependency-groups"][group]
    else:
        extras = project["project"]["optional-dependencies"]
        lines = extras[extra] if extra else project["project"]["dependencies"]
    return [Requirement(line) for line in lines]


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_of_a_lock_has_its_exact_version_and_its_hashes(name):
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    entries = re.split(r"\n(?=\S)", text.strip())

    assert len(entries) == len(pins(name)) > 10
    for entry in entries:
        requirement, *hashes = entry.split(" \\\n")
        assert re.fullmatch(r"[a-z0-9.-]+==[\w.]+( ; .+)?", requirement), requirement
        assert hashes, requirement
        assert all(re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}", line) for line in hashes), requirement


def test_the_one_package_without_a_hash_is_torch_in_a_file_of_its_own():
    assert ["core.lock", "dev.lock", "model.lock", "torch.txt"] == [
        path.name for path in sorted((ROOT / "requirements").iterdir())
    ]
    assert re.fullmatch(r"torch==[\d.]+", str(*pins("torch.txt").values()))
    for name in LOCKS:
        assert not {pin for pin in pins(name) if re.match(r"torch$|nvidia-|cuda-|triton$", pin)}, name


def test_the_locks_hold_what_the_project_asks_for_and_agree_with_each_other():
    core, dev, model = pins("core.lock"), pins("dev.lock"), pins("model.lock")
    model_and_torch = model | pins("torch.txt")
    asked = [
        (core, declared() + declared(group="build")),
        (dev, declared(group="dev")),
        (model_and_torch, declared() + declared(extra="model")),
    ]

    for lock, requirements in asked:
        for requirement in requirements:
            pin = lock[canonicalize_name(requirement.name)]
            assert requirement.specifier.contains(str(pin.specifier).removeprefix("==")), requirement
    for one, other in itertools.combinations((core, dev, model_and_torch), 2):
        assert {name: str(one[name]) for name in one.keys() & other} == {
            name: str(other[name]) for name in one.keys() & other
        }


@pytest.mark.parametrize("name", ["torch", "transformers", "peft", "accelerate"])
def test_what_a_model_library_needs_is_locked_but_for_cuda(name):
    """`make` installs without looking at dependencies: torch, which comes last, must find them all."""
    locked = pins("core.lock") | pins("model.lock") | pins("torch.txt")

    for requirement in map(Requirement, metadata.requires(name)):
        found = canonicalize_name(requirement.name)
        if not (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            assert found in locked or re.match(r"nvidia-|cuda-|triton$", found), requirement


def test_make_installs_the_locks_by_hash_and_torch_alone_without():
    lines = [
        line for line in (ROOT / "Makefile").read_text(encoding="utf-8").splitlines() if "-r requirements/" in line
    ]

    assert all("--require-hashes" in line for line in lines if "torch.txt" not in line)
    assert {"core.lock", "dev.lock", "model.lock", "torch.txt"} == {line.rpartition("/")[2] for line in lines}


# Licences

sys.path.insert(0, str(ROOT / "docs"))
licences = importlib.import_module("licences")


def test_every_package_that_is_installed_with_the_toolkit_has_a_licence_that_may_be_used():
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")

    assert pins("core.lock").keys() | pins("model.lock").keys() | {"torch"} == {p.name for p in licences.packages()}
    assert licences.table() in page


@pytest.mark.parametrize(
    ("licence", "why"),
    [
        ("MIT", None),
        ("LGPL-3.0-or-later", None),
        ("MPL-2.0 AND (MIT OR Apache-2.0)", None),
        ("GPL-3.0-only", "GPL"),
        ("GNU General Public License v3 (GPLv3)", "GPL"),
        ("MIT AND AGPL-3.0-or-later", "GPL"),
        ("GNU Affero General Public License v3", "GPL"),
        ("", "no licence that is known"),
        ("Proprietary", "no licence that is known"),
    ],
)
def test_gpl_and_unknown_licences_are_refused(licence, why):
    fault = licences.fault(licence)

    assert (why is None) == (fault is None)
    assert (why or "") in (fault or "")
