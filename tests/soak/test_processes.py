"""Several processes under torchrun: they predict what one predicts, to the last bit, and train one model together."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit.synthetic import sample
from toolkit.workspace.registry import Workspace

# Shards of eight cases, so that a small sample has some for every process.
SMALL = (
    "import sys\nfrom toolkit.stages import predict\npredict.SHARD = 8\n"
    "from toolkit.cli import main\nmain(sys.argv[1:])\n"
)
LAUNCHER = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with a study, and a workspace up to a trained run."""
    folder = tmp_path_factory.mktemp("processes")
    drawn = sample(folder / "sample", cases=200, seed=3)
    text = drawn.study.read_text(encoding="utf-8").replace("epochs = 20", "epochs = 1")
    pinned = [line for line in text.splitlines() if line.startswith("pinned")]
    drawn.study.write_text(text.replace(pinned[0], "uneven = true") if pinned else text, encoding="utf-8")
    for words in (["parse", drawn.export, "--images", drawn.images], ["audit"], ["split"], ["train"]):
        assert 0 == toolkit(folder, "workspace", *words).returncode
    return folder


def toolkit(folder: Path, workspace: str, *words: object, processes: bool = False) -> subprocess.CompletedProcess:
    program = folder / "small.py"
    program.write_text(SMALL)
    flags = ["--study", folder / "sample" / "study.toml", "--workspace", folder / workspace, "--json", "--quiet"]
    command = [sys.executable, *(LAUNCHER if processes else []), program, *flags, *words]
    surroundings = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(list(map(str, command)), env=surroundings, capture_output=True, text=True, check=False)


def predictions(workspace: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in workspace.glob("runs/*/predictions/*.parquet")}


def test_two_processes_predict_what_one_predicts_and_a_rerun_does_what_is_missing(trained):
    for name in ("one", "two"):
        shutil.copytree(trained / "workspace", trained / name)
    assert 0 == toolkit(trained, "one", "predict").returncode

    together = toolkit(trained, "two", "predict", processes=True)

    expected = predictions(trained / "one")
    assert len(expected) > 4
    assert expected == predictions(trained / "two")
    told = json.loads(together.stdout)  # only the first speaks
    assert sum(told["cases"].values()) == told["scored_now"]
    next((trained / "two").glob("runs/*/predictions/test-00001-*.parquet")).unlink()
    assert 8 == json.loads(toolkit(trained, "two", "predict", processes=True).stdout)["scored_now"]
    assert expected == predictions(trained / "two")


def test_two_processes_train_one_model_on_batches_twice_as_large(trained):
    shutil.copytree(trained / "workspace", trained / "apart", ignore=shutil.ignore_patterns("runs"))
    again = (trained / "sample" / "study.toml").read_text(encoding="utf-8").replace("seed = ", "seed = 1", 1)
    (trained / "sample" / "study.toml").write_text(again, encoding="utf-8")

    for command in ("train", "predict"):
        done = toolkit(trained, "apart", command, processes=True)
        assert 0 == done.returncode, done.stderr

    facts = json.loads(next((trained / "apart").glob("runs/*/run.json")).read_text(encoding="utf-8"))
    assert 2 == facts["processes"]
    size = 2 * facts["study"]["train"]["batch_size"]
    assert -(-facts["train_cases"] // size) == facts["epochs"][0]["step"]
    # Each validation case was counted once, and the weights that were kept are those that were measured.
    text = """select avg((predicted = class_name)::int) as accuracy
        from predictions join truth using (case_id)
        where part = 'validation' and run_id = $run_id and class_name is not null"""
    found = Workspace(trained / "apart").rows(text, {"run_id": facts["run_id"]})[0]["accuracy"]
    assert facts["epochs"][0]["metrics"]["accuracy"] == pytest.approx(found)
