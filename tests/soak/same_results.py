"""Runs one small study with this checkout and with an earlier commit, and says where results differ.

    python tests/soak/same_results.py COMMIT

Compared are: the bytes of `sample --cases 120 --seed 5` (the study file apart); split ID and cases.csv of the demo's
pinned split; and, of a whole run on the sample, the content hash, run and split IDs, cases.csv, predictions, and every
value in `scores`. A change that is only about code or words leaves all of them equal. Takes about three minutes.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb

ROOT = Path(__file__).parents[2]
SCORES = (
    "select run_id, part, metric, class_name, value, low, high, method, replicates, cases, patients, truth_id "
    "from scores order by all"
)


def main() -> None:
    """Compare, print one line for each kind of result, and exit with 1 where one differs."""
    commit = sys.argv[1]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        earlier = folder / "earlier"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(earlier)], check=True)
        subprocess.run(["git", "-C", str(earlier), "checkout", "--quiet", commit], check=True)
        before, after = results(earlier, folder / "study"), results(ROOT, folder / "study")
    differing = [kind for kind in sorted({*before, *after}) if before.get(kind) != after.get(kind)]
    for kind in sorted({*before, *after}):
        print(f"{'DIFFERS' if kind in differing else 'equal  '}  {kind}: {str(after.get(kind))[:60]}")
    sys.exit(1 if differing else 0)


def results(checkout: Path, folder: Path) -> dict[str, str]:
    """Run the study with a checkout, always in the same folder: paths stand in the registry."""
    shutil.rmtree(folder, ignore_errors=True)
    sample, workspace = folder / "sample", folder / "workspace"
    call(checkout, "sample", sample, "--cases", "120", "--seed", "5")
    study = sample / "study.toml"
    text = study.read_text().replace("epochs = 20", "epochs = 3").replace("replicates = 2000", "replicates = 200")
    study.write_text(text)
    where = ("--study", study, "--workspace", workspace)
    call(checkout, *where, "run", sample / "export.ndjson", "--images", sample / "images")
    files = [path for path in sorted(sample.rglob("*")) if path.is_file() and path != study]
    with duckdb.connect(str(workspace / "registry.duckdb"), read_only=True) as registry:
        return {
            "sample": digest("".join(f"{path.relative_to(sample)} {digest(path.read_bytes())}\n" for path in files)),
            "pinned split": pinned(checkout),
            "split": pinned(workspace, "splits/*"),
            "content hash": str(registry.execute("select content_hash from label_states").fetchone()),
            "runs": str(registry.execute("select run_id, split_id, truth_id from runs").fetchall()),
            "predictions": digest(str(registry.execute("select * from predictions order by all").fetchall())),
            "scores": digest(str(registry.execute(SCORES).fetchall())),
        }


def pinned(folder: Path, pattern: str = "manifests/demo.split") -> str:
    """Return a split's ID and the digest of its cases."""
    [split] = folder.glob(pattern)
    return f"{split.name} {digest((split / 'cases.csv').read_bytes())}"


def digest(content: bytes | str) -> str:
    """Return the first digits of a SHA-256."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()[:16]


def call(checkout: Path, *arguments: object) -> None:
    """Run a command of a checkout's toolkit in this Python."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "TOOLKIT_DEVICE": "cpu"}
    command = [sys.executable, "-m", "toolkit", "--quiet", *map(str, arguments)]
    subprocess.run(command, check=True, env=environment, cwd=checkout, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
