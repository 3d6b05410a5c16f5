"""Full training in shards (FSDP) is that of one process, and what it saves is whole."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from toolkit.errors import ModelError
from toolkit.manifest.model import TrainSection
from toolkit.models import sharding
from toolkit.models.backend import Budget, Examples, TrainingJob
from toolkit.models.budget import GIB, check_budget
from toolkit.models.classifier import ImageClassifier
from toolkit.models.training import arguments

PROGRAM = Path(__file__).with_name("sharded.py")


@pytest.fixture(scope="module", params=["instructblip", "image-text-to-text"])
def tried(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sharded")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, PROGRAM, folder, request.param], env=environment, capture_output=True, text=True, check=False
    )
    assert 0 == done.returncode, done.stderr[-3000:]
    return folder / request.param, done.stderr


@pytest.mark.soak
def test_two_processes_with_half_the_weights_each_learn_what_one_learns_also_after_a_kill(tried):
    folder, said = tried
    codes, alone, together = (
        json.loads((folder / file).read_text()) for file in ("codes.json", "alone/result.json", "together/result.json")
    )

    assert [[0], [-9, -9], [0, 0]] == codes, said[-3000:]
    assert [True] == together["cut"]  # each process had its shard of the weights in every step
    assert [False] == alone["cut"]
    assert 2 == len(together["losses"])
    np.testing.assert_allclose(alone["losses"], together["losses"], rtol=1e-4)
    np.testing.assert_allclose(alone["likelihoods"], together["likelihoods"], rtol=1e-3)
    assert "Warning" not in said


@pytest.mark.soak
def test_what_is_saved_has_the_names_and_shapes_of_what_one_process_saves(tried):
    alone, together = (load_file(tried[0] / way / "checkpoint" / "model.safetensors") for way in ("alone", "together"))

    assert len(alone) > 20
    assert {key: (tensor.shape, tensor.dtype) for key, tensor in alone.items()} == {
        key: (tensor.shape, tensor.dtype) for key, tensor in together.items()
    }
    for key, tensor in alone.items():
        torch.testing.assert_close(tensor, together[key], rtol=1e-2, atol=1e-4)


def test_weights_that_sharding_ties_are_refused():
    model = nn.ModuleDict({"embedding": nn.Embedding(4, 3), "head": nn.Linear(3, 4, bias=False)})
    before = sharding.ties(model)
    sharding.make_whole(model, tied=before)  # nothing has changed
    model["head"].weight = model["embedding"].weight
    with pytest.raises(ModelError) as caught:
        sharding.make_whole(model, tied=before)

    assert set() == before
    assert "sharding has changed which weights are tied: embedding.weight, head.weight" in str(caught.value)


def test_weights_that_sharding_unties_are_refused():
    model = nn.ModuleDict({"embedding": nn.Embedding(4, 3), "head": nn.Linear(3, 4, bias=False)})
    model["head"].weight = model["embedding"].weight
    before = sharding.ties(model)
    model["head"].weight = nn.Parameter(model["embedding"].weight.detach().clone())
    with pytest.raises(ModelError):
        sharding.make_whole(model, tied=before)

    assert {frozenset({"embedding.weight", "head.weight"})} == before


def test_only_full_training_of_several_processes_is_sharded(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert 1 == sharding.shards_of("lora")  # one process has nothing to share
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert 8 == sharding.shards_of("full")
    with pytest.raises(ModelError) as caught:
        sharding.shards_of("lora")
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "false")

    assert "only full training is sharded, not mode = 'lora'" in str(caught.value)
    assert 1 == sharding.shards_of("full")


def test_an_image_classifier_is_not_sharded(monkeypatch, tmp_path):
    ImageClassifier.build_tiny(tmp_path / "tiny", [], seed=1)
    model = ImageClassifier.load(str(tmp_path / "tiny"), device="cpu")
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("WORLD_SIZE", "2")
    examples = Examples(np.zeros((2, 32, 32, 3), np.uint8), ["?"] * 2, np.array([0, 1]))
    with pytest.raises(ModelError) as caught:
        model.fit(TrainingJob(examples, examples, ["nevus", "melasma"], TrainSection(mode="full"), 1, tmp_path / "run"))

    assert "an image classifier fits on one GPU" in str(caught.value)
    assert "leave --use_fsdp out" in str(caught.value)


def test_shards_need_their_share_and_the_weights_once():
    weights = 4 * 10**9
    budgets = [Budget("full", weights, 0, weights * 16, weights * 16)]
    given = {"mode": "full", "dtype": "float32", "device": "cuda"}
    with pytest.raises(ModelError):
        check_budget(budgets, **given, memory=40 * GIB)
    check_budget(budgets, **given, memory=40 * GIB, shards=8)  # 7.5 GiB of 59.6, and 14.9 for the weights
    with pytest.raises(ModelError) as caught:
        check_budget(budgets, **given, memory=22 * GIB, shards=8)

    assert "22.4 GiB" in str(caught.value)


def test_a_launcher_does_not_change_the_precision_of_a_training(monkeypatch, tmp_path):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")  # as accelerate's own settings may have it
    args = arguments(TrainSection(), seed=1, folder=tmp_path, device="cpu")

    assert "no" == args.mixed_precision
    assert "no" == os.environ["ACCELERATE_MIXED_PRECISION"]  # where accelerate reads it
