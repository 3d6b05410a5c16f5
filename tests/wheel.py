"""Installs the wheel where the checkout cannot be seen, and runs the whole line with it: from sample to report.

`make wheel` builds dist/ and runs this. The packages that the wheel asks for, and no others, are linked into the new
environments from the one that runs this: that pip can fetch them is shown by `make demo`.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import venv
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
CASES = 120
SHORTER = {"epochs = 20": "epochs = 2", "replicates = 2000": "replicates = 100"}
"""Changes to the sample's study: what is shown is that everything runs, not how well the model learns."""


def main() -> None:
    """Hold the two files of dist/ against each other, then run the line without and with the model libraries."""
    dist, started = Path(sys.argv[1]).resolve(), time.monotonic()
    number = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    wheel = dist / f"lesion_toolkit-{number}-py3-none-any.whl"
    with tempfile.TemporaryDirectory(prefix="lesion-toolkit-wheel-") as name:
        folder = Path(name)
        check_sdist(dist / f"lesion_toolkit-{number}.tar.gz", wheel, folder / "sdist")
        toolkit = Installed(wheel, folder)
        toolkit.add_packages()
        toolkit.expect(f"{number}\n", "--version")
        run_without_model(toolkit)
        toolkit.add_packages(extra="model")
        run_with_model(toolkit)
    print(f"{wheel.name} and its sdist are whole: {time.monotonic() - started:.0f} s")


def check_sdist(sdist: Path, wheel: Path, folder: Path) -> None:
    """Build the wheel again from the sdist alone: the bytes are the same."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (unpacked,) = folder.iterdir()
    command = [sys.executable, "-P", "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist")]
    subprocess.run(command, cwd=unpacked, check=True, capture_output=True)
    if (folder / "dist" / wheel.name).read_bytes() != wheel.read_bytes():
        raise SystemExit("the sdist does not build the wheel that the checkout builds")


def run_without_model(toolkit: "Installed") -> None:
    """Run what works without the extra `model`, and read what `train` says then."""
    toolkit.run("sample", "demo", "--cases", CASES)
    shorten(toolkit.folder / "demo" / "study.toml")
    toolkit.run("init", "demo/export.ndjson", "--to", "mine.toml")
    toolkit.study = "demo/study.toml"
    toolkit.run("parse", "demo/export.ndjson", "--images", "demo/images")
    toolkit.run("audit")
    toolkit.run("split")
    toolkit.expect("PASS", "verify", *split_folder(toolkit))
    toolkit.expect("install lesion-toolkit[model]", "train", code=1)
    (toolkit.folder / "wrong.toml").write_text("[study]\n", encoding="utf-8")
    toolkit.study = "wrong.toml"
    named = toolkit.expect("manifest.md lists every key", "split", code=1)
    page = re.search(r"(\S+manifest\.md)", named.replace("\n", " "))
    if page is None or not Path(page[1]).is_file():
        raise SystemExit(f"a message names a page that is not installed:\n{named}")


def run_with_model(toolkit: "Installed") -> None:
    """Run the line to its report, and ask it; what is done already is not done twice."""
    toolkit.study = "demo/study.toml"
    toolkit.run("run", "demo/export.ndjson", "--images", "demo/images")
    toolkit.run("query", "runs")
    toolkit.run("query", "score", "--set", "metric=recall", "--set", "class_name=nevus")
    report = json.loads(toolkit.run("--json", "report", "--audience", "shared"))
    toolkit.expect("PASS", "verify", *split_folder(toolkit))
    toolkit.run("status")
    pages = {path.parent.name for path in (toolkit.folder / "workspace" / "reports").glob("*/index.html")}
    missing = {"audit", "queue", "progress", report["run_id"], f"{report['run_id']}-shared"} - pages
    if missing:
        raise SystemExit(f"there is no page of {', '.join(sorted(missing))}")


def shorten(study: Path) -> None:
    """Train and score for seconds."""
    text = study.read_text(encoding="utf-8")
    for long, short in SHORTER.items():
        if long not in text:
            raise SystemExit(f"the sample's study has no line {long!r} any more")
        text = text.replace(long, short)
    study.write_text(text, encoding="utf-8")


def split_folder(toolkit: "Installed") -> list[Path]:
    """Return the folders of the workspace's splits."""
    return sorted((toolkit.folder / "workspace" / "splits").iterdir())


class Installed:
    """A virtual environment with the wheel, and an empty folder to work in."""

    def __init__(self, wheel: Path, folder: Path) -> None:
        self.folder = folder / "work"
        self.folder.mkdir()
        self.study: str | None = None
        self.bin = folder / "venv" / "bin"
        venv.create(folder / "venv", symlinks=True)
        (self.packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
        self.pip("install", "--quiet", "--no-index", "--no-deps", "--no-compile", str(wheel))

    def pip(self, *arguments: str) -> None:
        """Let pip work on this environment; the environment itself has none."""
        pip = [sys.executable, "-m", "pip", "--python", str(self.bin / "python")]
        subprocess.run([*pip, *arguments], check=True, stdout=subprocess.DEVNULL)

    def add_packages(self, extra: str = "") -> None:
        """Link what the wheel asks for, with the packages of an extra, and look where the toolkit is imported from."""
        (metadata,) = self.packages.glob("lesion_toolkit-*.dist-info")
        for each in needed([Requirement(line) for line in Distribution.at(metadata).requires or ()], extra):
            link(each, self.packages)
        self.pip("check")
        program = [self.bin / "python", "-c", "import toolkit; print(toolkit.__file__)"]
        imported = subprocess.check_output(program, cwd=self.folder, env=self.env, text=True)
        if not Path(imported).is_relative_to(self.packages):
            raise SystemExit(f"not the wheel is imported, but {imported}")

    @property
    def env(self) -> dict[str, str]:
        """Nothing of the surroundings but where programs of the system are."""
        return {
            "PATH": f"{self.bin}:/usr/bin:/bin",
            "HOME": str(self.folder),
            "OMP_NUM_THREADS": "1",
            "LC_ALL": "C.UTF-8",
        }

    def run(self, *arguments: object) -> str:
        """Run a command that has to succeed, and return what it prints."""
        return self.expect("", *arguments)

    def expect(self, text: str, *arguments: object, code: int = 0) -> str:
        """Run a command; a text has to stand in what it says, and it ends with this code."""
        study = ["--study", self.study] if self.study else []
        command = [self.bin / "toolkit", "--quiet", *study, *map(str, arguments)]
        ended = subprocess.run(command, cwd=self.folder, env=self.env, capture_output=True, text=True, check=False)
        if ended.returncode != code or text not in ended.stdout + ended.stderr:
            raise SystemExit(f"{' '.join(map(str, command))}: {ended.returncode}\n{ended.stdout}\n{ended.stderr}")
        return ended.stdout + ended.stderr * (code > 0)


def needed(asked: list[Requirement], extra: str) -> list[Distribution]:
    """Return the packages that pip would install: what is asked for, what that asks for, and so on."""
    waiting = [(requirement, extra) for requirement in asked]
    chosen: dict[tuple[str, str], Distribution] = {}
    while waiting:
        requirement, of = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": of}):
            continue
        for wanted in ("", *requirement.extras):
            key = (canonicalize_name(requirement.name), wanted)
            if key not in chosen:
                chosen[key] = distribution(requirement.name)
                waiting += [(Requirement(line), wanted) for line in chosen[key].requires or ()]
    return list(chosen.values())


def link(package: Distribution, packages: Path) -> None:
    """Link the folders and files of an installed package into another folder of packages."""
    top = {file.parts[0] for file in package.files or ()} - {"..", "__pycache__"}
    for name in top:
        with contextlib.suppress(FileExistsError):  # two packages may share a folder
            (packages / name).symlink_to(os.path.realpath(package.locate_file(name)))


if __name__ == "__main__":
    main()
