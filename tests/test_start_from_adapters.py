"""Training that goes on with the adapters of a run: what it starts from, what it changes, and what is refused."""

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_families import build_family
from tiny_queries import build_queries

from toolkit.errors import ModelError
from toolkit.files import read_json
from toolkit.manifest import Study
from toolkit.manifest.model import LoraSection, TrainSection
from toolkit.models.backend import Examples, TrainingJob
from toolkit.models.decoder.image_text_to_text import ImageTextToText
from toolkit.models.instructblip import InstructBlip
from toolkit.models.tiny import build_tiny
from toolkit.models.trainable import prepare
from toolkit.stages.predict import predict
from toolkit.stages.predict.external import check_base, check_checkpoint_of_others
from toolkit.stages.train import plan_training, train
from toolkit.workspace.registry import Workspace
from toolkit.workspace.runs import read_run

PROMPT = "USER: What is the diagnosis? ASSISTANT:"
OLD, NEW = ["nevus", "melasma"], ["nevus", "melasma", "blue nevus of Jadassohn"]
SETTINGS = {"mode": "lora", "epochs": 2, "learning_rate": 1e-2, "batch_size": 4, "threads": 1, "augment": False}
LORA = {"rank": 2, "dropout": 0.1}
FAMILIES = ("instructblip", "gemma3", "opt", "qwen2_5_vl", "idefics3")


class Started(NamedTuple):
    """A family, its base, and the checkpoint of adapters that were trained on it."""

    family: str
    base: Path
    adapter: Path


def load(family: str, source: Path, *, mode: Any = "lora", dtype: str = "float32") -> Any:
    backend = InstructBlip if family == "instructblip" else ImageTextToText
    return backend.load(str(source), device="cpu", mode=mode, dtype=dtype)


def job(
    model: Any, folder: Path, answers: list[str], *, resume: bool = False, progress: Any = None, **settings: object
):
    size = (model.input_size, model.input_size, 3)
    photographs = np.random.default_rng(5).integers(0, 256, (8, *size), dtype=np.uint8)
    examples = Examples(photographs, [PROMPT] * 8, np.arange(8) % len(answers))
    chosen = TrainSection.model_validate(SETTINGS | {"lora": LORA} | settings)
    more = {"progress": progress} if progress else {}
    return TrainingJob(examples, examples, answers, chosen, 11, folder / "training", resume, **more)


def scores(model: Any) -> np.ndarray:
    size = (model.input_size, model.input_size, 3)
    photographs = np.random.default_rng(6).integers(0, 256, (3, *size), dtype=np.uint8)
    return model.log_likelihoods(photographs, [PROMPT] * 3, NEW)


def others_than_adapters(model: Any) -> dict[str, torch.Tensor]:
    state = model.model.state_dict()
    return {name.replace(".base_layer", ""): tensor for name, tensor in state.items() if "lora_" not in name}


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """Return the base and the adapters of a family, trained once."""
    known: dict[str, Started] = {}

    def start(family: str) -> Started:
        if family not in known:
            folder = tmp_path_factory.mktemp(family)
            if family == "instructblip":
                build_tiny(folder / "base", [PROMPT, *NEW], seed=3)
            else:
                (build_queries if family == "opt" else build_family)(family, folder / "base", [PROMPT, *OLD], seed=3)
            model = load(family, folder / "base")
            model.fit(job(model, folder, OLD))
            model.save(folder / "first")
            known[family] = Started(family, folder / "base", folder / "first")
        return known[family]

    return start


one_family = pytest.mark.parametrize(
    "family", [FAMILIES[0], *(pytest.param(f, marks=pytest.mark.soak) for f in FAMILIES[1:])]
)


@one_family
def test_a_training_goes_on_with_the_adapters_and_leaves_what_they_stand_on(started, tmp_path, family):
    first = started(family)
    model, published = load(family, first.adapter), load(family, first.base)
    before, base = scores(model), others_than_adapters(published)
    prepared = prepare(model.adapted, mode="lora", lora=LoraSection(rank=2, dropout=0.3))
    at_step_0, trained = scores(model), [name for name, p in prepared.named_parameters() if p.requires_grad]

    model = load(family, first.adapter)
    model.fit(job(model, tmp_path, NEW, lora={"rank": 2, "dropout": 0.3}))
    model.save(tmp_path / "second")
    again, after = load(family, tmp_path / "second"), others_than_adapters(model)
    weights = [load_file(folder / "adapter_model.safetensors") for folder in (first.adapter, tmp_path / "second")]
    bases = [read_json(folder / "base.json") for folder in (first.adapter, tmp_path / "second")]

    np.testing.assert_array_equal(before, at_step_0)
    assert np.abs(before - scores(published)).max() > 1e-3
    assert len(weights[0]) == len(trained)
    assert all("lora_" in name for name in trained)
    assert set(weights[0]) == set(weights[1])
    assert not any(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert set(base) == set(after)
    assert all(torch.equal(base[name], after[name]) for name in base)
    assert (scores(model) - before)[:, 2].min() > 0.1  # the new class
    np.testing.assert_array_equal(scores(model), scores(again))
    assert bases[0]["weights_sha256"] == bases[1]["weights_sha256"]
    assert first.base == (tmp_path / "second" / bases[1]["name"]).resolve()
    assert 0.3 == read_json(tmp_path / "second" / "adapter_config.json")["lora_dropout"]


@pytest.mark.soak  # of a run of InstructBLIP see below
@pytest.mark.parametrize("family", FAMILIES)
def test_a_resumed_training_ends_like_one_that_was_never_interrupted(started, tmp_path, family):
    def interrupt(_: str, step: int, __: int | None) -> None:
        if step == 3:
            raise KeyboardInterrupt

    adapter = started(family).adapter
    whole, broken, resumed = (load(family, adapter) for _ in range(3))
    expected = whole.fit(job(whole, tmp_path / "whole", NEW))
    with pytest.raises(KeyboardInterrupt):
        broken.fit(job(broken, tmp_path / "broken", NEW, progress=interrupt))
    found = resumed.fit(job(resumed, tmp_path / "broken", NEW, resume=True))

    assert expected == found
    np.testing.assert_array_equal(scores(whole), scores(resumed))


@one_family
def test_features_of_photographs_are_those_of_the_base(started, tmp_path, family):
    first = started(family)
    for source in (first.base, first.adapter):
        model = load(family, source)
        model.keep_features(tmp_path / "features", gigabytes=1)
        scores(model)

    assert 3 == len(list((tmp_path / "features").rglob("*.safetensors")))


@one_family
def test_frozen_weights_may_be_coarse_where_they_were_not(started, tmp_path, family):
    model = load(family, started(family).adapter, dtype="bfloat16")
    epochs = model.fit(job(model, tmp_path, NEW))

    assert "bfloat16" == model.facts()["dtype"]
    assert epochs[-1].validation_loss < epochs[0].validation_loss


@pytest.mark.parametrize(
    ("mode", "lora"), [("full", {"rank": 2}), ("lora", {"rank": 4}), ("lora", {"rank": 2, "alpha": 8})]
)
def test_adapters_are_trained_on_as_they_are_or_not_at_all(started, mode, lora):
    model = load("instructblip", started("instructblip").adapter)
    prepared = prepare(model.adapted, mode="lora", lora=LoraSection(rank=2))

    with pytest.raises(ModelError, match="an adapter of rank 2 and alpha 32 is trained on as it is"):
        prepare(prepared, mode=mode, lora=LoraSection.model_validate(lora))


def test_of_adapters_only_their_own_mode_has_a_budget(started):
    first, lora = started("instructblip"), LoraSection(rank=2)
    whole = {budget.mode: budget for budget in InstructBlip.budgets(str(first.base), lora=lora)}

    assert [whole["lora"]] == InstructBlip.budgets(str(first.adapter), lora=lora)


# Runs


def of(study: Study, **settings: object) -> Study:
    """Return the study with adapters of rank 2 after one epoch, and other settings of its training."""
    chosen = {"mode": "lora", "epochs": 1, "lora": {"rank": 2}} | settings
    return Study.model_validate(study.model_dump() | {"train": study.train.model_dump() | chosen})


@pytest.fixture(scope="module")
def adapters_run(finished, tmp_path_factory):
    """A run of adapters on the tiny model, and one that went on with them."""
    workspace = Workspace(tmp_path_factory.mktemp("adapters") / "workspace")
    shutil.copytree(finished.workspace.folder, workspace.folder)
    study, folder = finished.study_file.study, finished.study_file.folder
    first = train(workspace, of(study), study_folder=folder)
    second = of(study, start_from=first.run_id, lora={"rank": 2, "dropout": 0.1})
    return workspace, study, folder, first, second, train(workspace, second, study_folder=folder)


def test_a_run_goes_on_with_the_adapters_of_another_and_says_on_what_they_stand(adapters_run):
    workspace, _, folder, first, study, second = adapters_run
    records = [read_run(workspace, each.run_id) for each in (first, second)]
    checkpoints = [workspace.run(each.run_id) / "checkpoint" for each in (first, second)]
    bases = [(path / read_json(path / "base.json")["name"]).resolve() for path in checkpoints]
    plan = plan_training(workspace, study, study_folder=folder)
    predicted = predict(workspace, study, run=second.run_id, parts=("test",))

    assert first.run_id == second.started_from == records[1].started_from
    assert 1 == len({record.model.model_dump()["base_weights_sha256"] for record in records})
    assert bases[0] == bases[1]
    assert workspace.folder / "models" == bases[0].parent
    assert ["lora"] == [mode.mode for mode in plan.modes]
    assert records[1].model.model_dump()["trainable_parameters"] == plan.modes[0].trained
    assert predicted.scored_now
    check_checkpoint_of_others(checkpoints[1], records[1])
    check_base(study, checkpoints[1])


def test_a_run_that_was_interrupted_ends_with_the_same_bytes(adapters_run, tmp_path):
    workspace, _, folder, _, second, result = adapters_run
    copy = Workspace(tmp_path / "workspace")
    shutil.copytree(workspace.folder, copy.folder)
    shutil.rmtree(copy.run(result.run_id))

    def interrupt(activity: str, step: int, __: int | None) -> None:
        if activity == "training" and step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(copy, second, study_folder=folder, progress=interrupt)
    again = train(copy, second, study_folder=folder, resume=True)

    assert result.run_id == again.run_id
    assert read_run(workspace, result.run_id).checkpoint_files == read_run(copy, again.run_id).checkpoint_files


@pytest.mark.parametrize(
    ("settings", "place", "problem", "remedy"),
    [
        ({"mode": "full"}, "[train] start_from", "holds adapters, and no weights of its own", 'set mode = "lora"'),
        ({"lora": {"rank": 4}}, "[train.lora] rank", "have rank 2 and alpha 32", "set rank = 2 and alpha = 32"),
        ({"lora": {"rank": 2, "alpha": 4}}, "[train.lora] rank", "have rank 2 and alpha 32", "set rank = 2"),
    ],
)
@pytest.mark.parametrize("command", [train, plan_training])
def test_a_study_that_could_not_go_on_with_them_is_told_what_to_write(
    adapters_run, command, settings, place, problem, remedy
):
    workspace, study, folder, first, _, _ = adapters_run

    with pytest.raises(ModelError, match=problem) as refused:
        command(workspace, of(study, start_from=first.run_id, **settings), study_folder=folder)
    assert place == refused.value.place
    assert remedy in str(refused.value.remedy)


def test_another_checkpoint_in_the_study_is_refused(adapters_run):
    workspace, study, folder, first, _, _ = adapters_run
    other = study.model_copy(update={"model": study.model.model_copy(update={"name": "Salesforce/blip2"})})

    with pytest.raises(ModelError, match=r"are of \[model\] name = 'tiny'"):
        train(workspace, of(other, start_from=first.run_id), study_folder=folder)
