"""Training logs as the packages themselves write them, where one is installed: in the run's folder, without a path."""

import subprocess
import sys

import pytest

PROGRAM = """
import os, sys
from pathlib import Path
import numpy as np
from toolkit.manifest.model import TrainSection
from toolkit.models.backend import Examples, TrainingJob
from toolkit.models.instructblip import InstructBlip
from toolkit.models.tiny import build_tiny
os.umask(0o077)
base, answers = Path("patient-4711"), ["nevus", "melanoma"]
build_tiny(base / "tiny", ["What is it?", *answers], seed=3)
examples = Examples(np.zeros((4, 64, 64, 3), np.uint8), ["What is it?"] * 4, np.array([0, 1, 0, 1]))
settings = TrainSection(epochs=2, threads=1, learning_rate=1e-3, mode="lora", report_to=sys.argv[1])
for seed, run in enumerate(("first123", "second12")):
    (base / "runs" / run).mkdir(parents=True)
    model = InstructBlip.load(str((base / "tiny").resolve()), device="cpu", mode="lora")
    model.fit(TrainingJob(examples, examples, answers, settings, seed, (base / "runs" / run / "training").resolve()))
"""
LOCAL = (".log", "mlflow.db-journal")
"""Files that no package sends: wandb's own messages name the folder."""


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "wandb"])
def test_each_seed_has_its_logs_in_its_folder_without_a_path_of_the_machine(name, tmp_path):
    pytest.importorskip(name, reason=f"{name} is no dependency; install it beside the toolkit to run this")
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, name], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert 0 == ended.returncode, ended.stderr

    runs = tmp_path / "patient-4711" / "runs"
    for run in ("first123", "second12"):
        files = [path for path in (runs / run / "logs").rglob("*") if path.is_file()]
        sent = [path for path in files if not path.name.endswith(LOCAL)]
        assert sent
        assert not [path for path in files if path.stat().st_mode & 0o077]
        assert not [path for path in sent if b"patient-4711" in path.read_bytes()]
        assert [path for path in sent if b"macro_recall" in path.read_bytes()]
    assert {"patient-4711"} == {path.name for path in tmp_path.iterdir()}
    assert "" == ended.stdout
