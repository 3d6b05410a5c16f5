import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from train_together import ANSWERS, PROMPT, WAYS, job, main

from toolkit.models.instructblip import InstructBlip
from toolkit.models.tiny import build_tiny

PROGRAM = Path(__file__).with_name("train_together.py")


def trained(source: Path, folder: Path, shapes: list[tuple[int, int]], *, processes: int) -> list[dict]:
    folder.mkdir()
    if processes == 1:
        main(source, folder, shapes)
    else:
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        command = [sys.executable, *launcher, PROGRAM, source, folder, json.dumps(shapes)]
        surroundings = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        done = subprocess.run(list(map(str, command)), env=surroundings, capture_output=True, text=True, check=False)
        assert 0 == done.returncode, done.stderr[-3000:]
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


@pytest.mark.soak
def test_two_processes_learn_what_one_learns_from_the_same_cases(tmp_path):
    build_tiny(tmp_path / "tiny", [PROMPT, *ANSWERS], seed=3)
    adapter = InstructBlip.load(str(tmp_path / "tiny"), device="cpu", mode="lora")
    adapter.fit(job(tmp_path / "training", mode="lora", batch_size=4, learning_rate=1e-2))
    adapter.save(tmp_path / "adapter")

    alone = trained(tmp_path, tmp_path / "alone", [(8, 1)], processes=1)
    together = trained(tmp_path, tmp_path / "together", [(2, 2)], processes=2)

    expected = {tuple(result["way"]): result for result in alone}
    assert set(WAYS) == set(expected)
    assert len(WAYS) == len(together)
    for result in together:
        one = expected[tuple(result["way"])]
        assert one["losses"] == pytest.approx(result["losses"], rel=1e-3), result["way"]
        assert one["grad_norm"] == pytest.approx(result["grad_norm"], rel=1e-3), result["way"]
        np.testing.assert_allclose(one["likelihoods"], result["likelihoods"], rtol=1e-2)
