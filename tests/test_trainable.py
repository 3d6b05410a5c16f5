import json
import os
import shutil
import signal
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import InstructBlipConfig, TrainerCallback

from toolkit.errors import ModelError, StudyError
from toolkit.manifest import load_study
from toolkit.manifest.model import LoraSection, TrainSection
from toolkit.models import training
from toolkit.models.backend import Examples, TrainingJob
from toolkit.models.batches import Balanced, class_weights
from toolkit.models.budget import GIB, budgets, check_budget
from toolkit.models.instructblip import InstructBlip
from toolkit.models.tiny import build_tiny
from toolkit.models.trainable import check_trained, prepare, set_precision
from toolkit.models.training import LabelTrainer, arguments, summed_loss
from toolkit.models.transformers_compat import quiet
from toolkit.progress import Progress, silent

PROMPT = "What is the diagnosis?"
ANSWERS = ["nevus", "melasma", "basal cell carcinoma"]
SETTINGS = TrainSection(epochs=2, learning_rate=1e-2, batch_size=4, threads=1)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    build_tiny(folder, [PROMPT, *ANSWERS], seed=3)
    return folder


@pytest.fixture(scope="module")
def examples() -> Examples:
    photographs = np.random.default_rng(5).integers(0, 256, (8, 64, 64, 3), dtype=np.uint8)
    return Examples(photographs, [PROMPT] * 8, np.array([0, 0, 0, 0, 1, 1, 2, 2]))


def fit(
    source: Path | str,
    folder: Path,
    examples: Examples,
    *,
    features: Path | None = None,
    dtype: str = "float32",
    resume: bool = False,
    progress: Progress = silent,
    **settings: object,
):
    chosen = TrainSection.model_validate(SETTINGS.model_dump() | settings)
    model = InstructBlip.load(str(source), device="cpu", mode=chosen.mode, dtype=dtype)
    if features:
        model.keep_features(features, gigabytes=1)
    epochs = model.fit(TrainingJob(examples, examples, ANSWERS, chosen, 11, folder, resume, progress))
    return model, epochs


def scores(model: InstructBlip, examples: Examples) -> np.ndarray:
    return model.log_likelihoods(np.asarray(examples.photographs), examples.prompts, ANSWERS)


def parts_moved(before: InstructBlip, after: InstructBlip) -> set[str]:
    old, new = before.model.state_dict(), after.model.state_dict()
    return {name.partition(".")[0] for name in old if not torch.equal(old[name], new[name])}


# What each mode trains


@pytest.mark.soak_after(1)
@pytest.mark.parametrize(
    ("mode", "moved"),
    [("language_model", {"language_model"}), ("qformer", {"qformer", "query_tokens", "language_projection"})],
)
def test_a_mode_moves_its_own_weights_and_no_others(tiny, examples, tmp_path, mode, moved):
    model, _ = fit(tiny, tmp_path, examples, mode=mode)

    assert moved == parts_moved(InstructBlip.load(str(tiny), device="cpu"), model)


def test_lora_trains_adapters_of_the_language_model_only(tiny):
    model = InstructBlip.load(str(tiny), device="cpu", mode="lora")

    adapted = prepare(model.model, mode="lora", lora=LoraSection(rank=2))

    trained = [name for name, p in adapted.named_parameters() if p.requires_grad]
    # Encoder and decoder have two layers each, the decoder attends twice; q and v, two matrices each.
    assert (2 + 2 + 2) * 2 * 2 == len(trained)
    assert all("language_model." in name and ("q.lora" in name or "v.lora" in name) for name in trained)


def test_lora_elsewhere_is_refused(tiny):
    from peft import LoraConfig, get_peft_model

    model = InstructBlip.load(str(tiny), device="cpu", mode="lora")
    with quiet():
        astray = get_peft_model(model.model, LoraConfig(r=2, target_modules=["qkv"]))

    with pytest.raises(ModelError, match="not an adapter of the language model"):
        check_trained(astray, mode="lora")


def test_weights_to_train_are_float32_and_the_rest_what_is_asked_for(tiny):
    model = InstructBlip.load(str(tiny), device="cpu", mode="qformer", dtype="bfloat16").model

    assert torch.float32 == model.qformer.dtype == model.query_tokens.dtype == model.language_projection.weight.dtype
    assert torch.bfloat16 == model.vision_model.dtype == model.language_model.shared.weight.dtype


def test_weights_to_train_in_bfloat16_are_refused(tiny):
    model = InstructBlip.load(str(tiny), device="cpu").model
    set_precision(model, mode="qformer", dtype="bfloat16")

    with pytest.raises(ModelError, match="not float32"):
        prepare(model, mode="language_model", lora=LoraSection())


@pytest.mark.soak
@pytest.mark.parametrize("mode", ["language_model", "qformer", "lora"])
def test_frozen_weights_may_be_coarse_and_training_still_learns(tiny, examples, tmp_path, mode):
    model, epochs = fit(tiny, tmp_path, examples, mode=mode, dtype="bfloat16", epochs=4)

    assert epochs[-1].train_loss < epochs[0].train_loss
    assert np.isfinite(scores(model, examples)).all()


def test_a_study_that_asks_for_float16_is_refused_with_its_reason(tmp_path):
    text = (Path(__file__).parents[1] / "manifests" / "pigmented8.toml").read_text(encoding="utf-8")
    (tmp_path / "study.toml").write_text(text.replace("[model]\n", '[model]\ndtype = "float16"\n'), encoding="utf-8")

    with pytest.raises(StudyError, match="overflows in float16"):
        load_study(tmp_path / "study.toml")


# Adapters on disk


@pytest.fixture(scope="module")
def adapted(tiny, examples, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lora")
    model, epochs = fit(tiny, folder / "training", examples, mode="lora", lora={"rank": 4, "dropout": 0.1})
    model.save(folder / "checkpoint")
    return model, epochs, folder


def test_of_lora_only_the_adapter_is_saved_and_it_gives_the_same_scores(adapted, tiny, examples):
    model, _, folder = adapted

    again = InstructBlip.load(str(folder / "checkpoint"), device="cpu", mode="lora")

    expected = scores(model, examples)
    np.testing.assert_array_equal(expected, scores(again, examples))
    assert np.abs(expected - scores(InstructBlip.load(str(tiny), device="cpu"), examples)).max() > 1e-4
    weights = load_file(folder / "checkpoint" / "adapter_model.safetensors")
    assert weights
    assert all("lora_" in name for name in weights)
    assert not (folder / "checkpoint" / "model.safetensors").exists()
    assert str(tiny.parent) not in (folder / "checkpoint" / "adapter_config.json").read_text(encoding="utf-8")


def test_an_adapter_does_not_go_onto_other_weights(adapted, tmp_path):
    folder = adapted[2] / "checkpoint"
    note = json.loads((folder / "base.json").read_text(encoding="utf-8"))
    copy = tmp_path / "checkpoint"
    shutil.copytree(folder, copy)
    build_tiny(tmp_path / "other", [PROMPT, *ANSWERS], seed=4)
    (copy / "base.json").write_text(json.dumps({**note, "name": "../other"}), encoding="utf-8")

    with pytest.raises(ModelError, match="are not those that this adapter was trained on"):
        InstructBlip.load(str(copy), device="cpu", mode="lora")


@pytest.mark.soak
def test_a_resumed_lora_ends_like_one_that_was_never_interrupted(adapted, tiny, examples, tmp_path):
    def interrupt(_: str, step: int, __: int | None) -> None:
        if step == 3:
            raise KeyboardInterrupt

    chosen = {"mode": "lora", "lora": {"rank": 4, "dropout": 0.1}}
    with pytest.raises(KeyboardInterrupt):
        fit(tiny, tmp_path, examples, progress=interrupt, **chosen)
    model, epochs = fit(tiny, tmp_path, examples, resume=True, **chosen)

    assert adapted[1] == epochs
    np.testing.assert_array_equal(scores(adapted[0], examples), scores(model, examples))


# What is kept of the vision part


@pytest.mark.soak
def test_training_with_kept_features_is_training_without(tiny, examples, tmp_path):
    plain, epochs = fit(tiny, tmp_path / "plain", examples, mode="qformer")
    first, told = fit(tiny, tmp_path / "first", examples, mode="qformer", features=tmp_path / "features")
    again, retold = fit(tiny, tmp_path / "again", examples, mode="qformer", features=tmp_path / "features")

    assert told == retold
    np.testing.assert_allclose([e.train_loss for e in epochs], [e.train_loss for e in told], rtol=1e-4)
    np.testing.assert_array_equal(scores(first, examples), scores(again, examples))
    np.testing.assert_allclose(scores(plain, examples), scores(first, examples), atol=1e-3)


def test_kept_features_are_read_again_and_their_room_is_limited(tiny, examples, tmp_path):
    model = InstructBlip.load(str(tiny), device="cpu", mode="lora")
    expected = scores(model, examples)
    model.keep_features(tmp_path, gigabytes=1)
    made = scores(model, examples)
    kept = sorted(tmp_path.rglob("*.safetensors"))
    size = kept[0].stat().st_size

    small = InstructBlip.load(str(tiny), device="cpu", mode="lora")
    small.keep_features(tmp_path / "small", gigabytes=3.5 * size / 1e9)

    np.testing.assert_array_equal(made, scores(small, examples))
    assert 3 == len(list((tmp_path / "small").rglob("*.safetensors")))
    assert len(examples.prompts) == len(kept)
    np.testing.assert_array_equal(made, scores(model, examples))
    np.testing.assert_allclose(expected, made, atol=1e-4)


def test_what_is_kept_is_used_and_what_was_changed_is_computed_again(tiny, examples, tmp_path):
    model = InstructBlip.load(str(tiny), device="cpu", mode="lora")
    model.keep_features(tmp_path, gigabytes=1)
    made = scores(model, examples)
    kept = sorted(tmp_path.rglob("*.safetensors"))
    good = {path: path.read_bytes() for path in kept}
    computed = count_computed(model)

    np.testing.assert_array_equal(made, scores(model, examples))
    assert [] == computed
    kept[0].write_bytes(good[kept[0]][:40])
    kept[1].write_bytes(good[kept[2]])
    save_file({"features": load_file(kept[2])["features"]}, kept[2])  # as earlier versions wrote it
    for place, path in zip((0, 12, -1, -5), kept[3:7], strict=True):
        data = bytearray(good[path])
        data[place] ^= 1
        path.write_bytes(data)

    np.testing.assert_array_equal(made, scores(model, examples))
    assert 7 == len(computed)
    assert good == {path: path.read_bytes() for path in kept}
    assert {0o600} == {path.stat().st_mode & 0o777 for path in kept}


def count_computed(model: InstructBlip) -> list[int]:
    """Return a list that grows with each photograph whose features are computed."""
    computed: list[int] = []
    model.model.vision_model.encoder.register_forward_hook(lambda *_: computed.append(1))
    return computed


def test_a_vision_part_that_is_trained_keeps_nothing(tiny, examples, tmp_path):
    fit(tiny, tmp_path / "training", examples, mode="full", features=tmp_path / "features")

    assert not (tmp_path / "features").exists()


# Dropout


PARTS = ("vision_model", "qformer", "language_projection", "language_model")


@pytest.mark.soak_after(1)
@pytest.mark.parametrize(
    ("mode", "trained"),
    [
        ("full", set(PARTS)),
        ("language_model", {"language_model"}),
        ("qformer", {"qformer", "language_projection"}),
        ("lora", {"language_model"}),
    ],
)
def test_only_parts_that_are_trained_are_in_training_and_none_is_where_epochs_are_measured(
    tiny, examples, tmp_path, mode, trained
):
    forwards, seen = [], {}
    model = InstructBlip.load(str(tiny), device="cpu", mode=mode)
    for name in PARTS:
        part = model.model.get_submodule(name)
        for module in part.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.3
        part.register_forward_pre_hook(
            lambda part, *_, name=name: (
                seen.setdefault(torch.is_grad_enabled(), {}).setdefault(name, set()).add(part.training)
            )
        )
    # Scoring calls encoder and decoder, not the language model as a whole.
    model.model.language_model.decoder.register_forward_pre_hook(
        lambda part, *_: forwards.append((torch.is_grad_enabled(), part.training))
    )
    settings = TrainSection.model_validate(SETTINGS.model_dump() | {"mode": mode, "lora": {"dropout": 0.3}})
    epochs = model.fit(TrainingJob(examples, examples, ANSWERS, settings, 11, tmp_path))

    assert {name: {name in trained} for name in PARTS} == seen[True]
    assert all({False} == states for states in seen[False].values())
    assert {(True, "language_model" in trained), (False, False)} == set(forwards)
    # What was measured is what the model says afterwards: no dropout is left in it.
    tokens = np.array(model.answer_lengths(ANSWERS))[examples.classes]
    own = scores(model, examples)[np.arange(8), examples.classes]
    assert epochs[-1].validation_loss == pytest.approx(-own.sum() / tokens.sum(), abs=1e-6)


@pytest.mark.soak
@pytest.mark.parametrize(("where", "changed"), [("qformer", False), ("language_model", True)])
def test_dropout_of_a_frozen_part_changes_no_loss_and_that_of_a_trained_one_does(
    tiny, examples, tmp_path, where, changed
):
    losses = []
    for share in (0.0, 0.5):
        model = InstructBlip.load(str(tiny), device="cpu", mode="language_model")
        for module in model.model.get_submodule(where).modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = share
        settings = TrainSection(mode="language_model", batch_size=8, epochs=1, threads=1)
        losses.append(model.fit(TrainingJob(examples, examples, ANSWERS, settings, 11, tmp_path / f"{share}"))[0])

    assert changed is (losses[0].train_loss != losses[1].train_loss)


# Balance, the best epoch, interruption


def test_class_weights_are_one_on_average_and_even_out_classes():
    weights = class_weights(np.array([0, 0, 0, 2]), count=4)

    np.testing.assert_allclose([4 / 6, 0, 2, 0], weights)


def test_balanced_sampling_draws_classes_evenly_and_anew_for_each_epoch():
    sampler = Balanced(np.array([0] * 900 + [1] * 100), seed=1)
    first = list(sampler)
    sampler.epoch = 1

    assert 500 == pytest.approx(sum(index >= 900 for index in first), abs=60)
    assert 1000 == len(first)
    assert first != list(sampler)
    sampler.epoch = 0
    assert first == list(sampler)


@pytest.mark.parametrize("weight", [1.0, 3.0])
def test_the_loss_of_a_batch_is_a_weighted_sum_over_tokens(weight):
    logits = torch.log(torch.tensor([[[0.5, 0.5], [0.25, 0.75]], [[0.125, 0.875], [0.5, 0.5]]]))
    labels = torch.tensor([[0, 0], [0, -100]])

    loss = summed_loss(logits, labels, None if weight == 1 else torch.tensor([1.0, weight]))

    assert np.log(2) + np.log(4) + weight * np.log(8) == pytest.approx(loss.item())


def first_step(folder: Path) -> dict[str, float]:
    """Return loss and gradient norm of a training of one step, as its checkpoint has logged them."""
    log = json.loads((folder / "checkpoint-1" / "trainer_state.json").read_text(encoding="utf-8"))["log_history"]
    return {name: log[0][name] for name in ("loss", "grad_norm")}


def expected_loss(tiny: Path, examples: Examples, *, balance: str) -> float:
    """Return the mean over all tokens before training, from the exact likelihoods of the answers."""
    model = InstructBlip.load(str(tiny), device="cpu")
    tokens = np.array(model.answer_lengths(ANSWERS))[examples.classes]
    own = scores(model, examples)[np.arange(8), examples.classes]
    counts = np.bincount(examples.classes)
    weights = (8 / (3 * counts))[examples.classes] if balance == "weights" else np.ones(8)
    return float(-(own * weights).sum() / tokens.sum())


@pytest.mark.soak
@pytest.mark.parametrize(
    ("mode", "balance"),
    [
        ("full", "weights"),
        ("lora", "none"),
        pytest.param("full", "none", marks=pytest.mark.soak),
        pytest.param("lora", "weights", marks=pytest.mark.soak),
    ],
)
def test_a_step_is_the_same_in_however_many_batches_its_cases_come(tiny, examples, tmp_path, mode, balance):
    shapes = [(8, 1), (2, 4), (1, 8)]
    chosen = {"mode": mode, "balance": balance, "epochs": 1, "learning_rate": 1e-3, "augment": False}
    steps, learned = [], []
    for size, accumulate in shapes:
        folder = tmp_path / f"{size}x{accumulate}"
        model, epochs = fit(tiny, folder, examples, batch_size=size, accumulate=accumulate, **chosen)
        steps.append(first_step(folder))
        learned.append(scores(model, examples))
        assert epochs[0].train_loss == pytest.approx(steps[-1]["loss"], rel=1e-5)

    expected = expected_loss(tiny, examples, balance=balance)
    for step, likelihoods in zip(steps, learned, strict=True):
        assert expected == pytest.approx(step["loss"], rel=1e-4)
        assert steps[0]["grad_norm"] == pytest.approx(step["grad_norm"], rel=1e-3)
        np.testing.assert_allclose(learned[0], likelihoods, rtol=1e-3)


@pytest.mark.soak
@pytest.mark.parametrize("longest", [0.0, 1.0])
def test_class_weights_count_in_batches_of_one_case_whether_gradients_are_clipped_or_not(
    tiny, examples, tmp_path, longest
):
    chosen = {"batch_size": 1, "learning_rate": 1e-3, "epochs": 1, "augment": False, "max_grad_norm": longest}
    plain, _ = fit(tiny, tmp_path / "plain", examples, **chosen)
    weighted, _ = fit(tiny, tmp_path / "weighted", examples, balance="weights", **chosen)

    assert np.abs(scores(plain, examples) - scores(weighted, examples)).max() > 1e-3


@pytest.mark.soak_after(1)
@pytest.mark.parametrize(("longest", "moved"), [(1e-3, 1e-3), (1.0, 1.0), (0.0, None)])
def test_the_gradient_of_a_step_is_scaled_down_to_the_longest_that_the_study_allows(
    tiny, examples, tmp_path, monkeypatch, longest, moved
):
    norms = []

    class Watch(TrainerCallback):
        def on_pre_optimizer_step(self, *_: object, model: torch.nn.Module, **__: object) -> None:
            gradients = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
            norms.append(torch.cat(gradients).norm().item())

    class WatchedTrainer(LabelTrainer):
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, **kwargs)
            self.add_callback(Watch())

    monkeypatch.setattr(training, "LabelTrainer", WatchedTrainer)
    fit(tiny, tmp_path, examples, batch_size=8, epochs=1, max_grad_norm=longest)

    whole = first_step(tmp_path)["grad_norm"]
    assert whole > 1
    assert [whole if moved is None else moved] == pytest.approx(norms, rel=1e-3)


@pytest.mark.soak
def test_accumulated_batches_learn_what_large_ones_learn_over_several_epochs_and_a_resume(tiny, examples, tmp_path):
    def press(_: str, step: int, __: int | None) -> None:
        if step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    small = {"batch_size": 1, "accumulate": 3, "balance": "weights", "learning_rate": 1e-3}
    expected, epochs = fit(tiny, tmp_path / "large", examples, **small | {"batch_size": 3, "accumulate": 1})
    whole, told = fit(tiny, tmp_path / "small", examples, **small)
    with pytest.raises(ModelError, match="after step 3 of 6"):
        fit(tiny, tmp_path / "broken", examples, progress=press, **small)
    resumed, retold = fit(tiny, tmp_path / "broken", examples, resume=True, **small)

    assert told == retold
    np.testing.assert_array_equal(scores(whole, examples), scores(resumed, examples))
    np.testing.assert_allclose([e.train_loss for e in epochs], [e.train_loss for e in told], rtol=1e-3)
    np.testing.assert_allclose(scores(expected, examples), scores(whole, examples), rtol=1e-2)


@pytest.mark.soak
@pytest.mark.parametrize("balance", ["sampling", "weights"])
def test_balance_changes_what_is_learned(tiny, examples, tmp_path, balance):
    plain, _ = fit(tiny, tmp_path / "plain", examples)
    balanced, _ = fit(tiny, tmp_path / "balanced", examples, balance=balance)

    assert np.abs(scores(plain, examples) - scores(balanced, examples)).max() > 1e-3


def test_the_best_epoch_is_kept_and_patience_ends_the_training(tiny, examples, tmp_path):
    chosen = {"learning_rate": 0.5, "epochs": 9, "best": "validation_loss", "patience": 2, "schedule": "constant"}
    model, epochs = fit(tiny, tmp_path, examples, **chosen)

    kept = int(np.argmin([epoch.validation_loss for epoch in epochs]))
    assert [kept] == [number for number, epoch in enumerate(epochs) if epoch.kept]
    assert kept + 3 == len(epochs) < 9
    likelihoods = scores(model, examples)
    lengths = np.array([len(t) for t in model.inputs.answer_tokens(ANSWERS)])[examples.classes]
    loss = -likelihoods[np.arange(8), examples.classes].sum() / lengths.sum()
    assert epochs[kept].validation_loss == pytest.approx(loss, abs=1e-6)


@pytest.mark.soak
def test_ctrl_c_saves_within_an_epoch_and_a_resume_gives_the_same(tiny, examples, tmp_path):
    def press(_: str, step: int, __: int | None) -> None:
        if step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    chosen = {"batch_size": 2, "balance": "sampling", "best": "validation_loss"}
    expected, told = fit(tiny, tmp_path / "whole", examples, **chosen)
    with pytest.raises(ModelError, match="after step 3 of 8") as raised:
        fit(tiny, tmp_path / "broken", examples, progress=press, **chosen)
    resumed, retold = fit(tiny, tmp_path / "broken", examples, resume=True, **chosen)

    assert "--resume" in str(raised.value)
    np.testing.assert_array_equal(scores(expected, examples), scores(resumed, examples))
    assert told == retold
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# Devices and memory


@pytest.mark.parametrize(("device", "pinned"), [("cpu", False), ("mps", False), ("cuda", True)])
def test_memory_is_pinned_for_cuda_only_and_nothing_is_trained_in_half_precision(tmp_path, device, pinned):
    told = arguments(SETTINGS, seed=1, folder=tmp_path, device=device)

    assert pinned is told.dataloader_pin_memory
    assert not told.fp16
    assert not told.bf16


@pytest.fixture(scope="module")
def real_size() -> InstructBlipConfig:
    sizes = (Path(__file__).parent / "data" / "instructblip_flan_t5_xl.toml").read_text(encoding="utf-8")
    return InstructBlipConfig(**tomllib.loads(sizes))


@pytest.mark.soak
def test_the_real_size_has_the_weights_and_the_budgets_that_are_known_of_it(real_size):
    found = {budget.mode: budget for budget in budgets(real_size, LoraSection())}

    assert {"full": 4023, "language_model": 2850, "qformer": 187, "lora": 9} == {
        mode: int(budget.trained / 1e6 + 0.5) for mode, budget in found.items()
    }
    in_gib = {mode: (b.bytes_float32 / GIB, b.bytes_bfloat16 / GIB) for mode, b in found.items()}
    expected = {"full": (59.9, 59.9), "language_model": (46.8, 44.6), "qformer": (17.1, 9.9), "lora": (15.1, 7.6)}
    for mode, sizes in expected.items():
        assert sizes == pytest.approx(in_gib[mode], abs=0.06), mode


def test_a_mode_that_does_not_fit_is_refused_and_those_that_do_are_named(real_size):
    found = budgets(real_size, LoraSection())

    with pytest.raises(ModelError, match=r"needs 46\.8 GiB .*\(cuda\) has 24\.0") as raised:
        check_budget(found, mode="language_model", dtype="float32", device="cuda", memory=24 * GIB)

    assert 'mode = "qformer" or mode = "lora"' in str(raised.value)
    with pytest.raises(ModelError, match='"lora" with dtype = "bfloat16"'):
        check_budget(found, mode="full", dtype="float32", device="cuda", memory=8 * GIB)
    check_budget(found, mode="lora", dtype="bfloat16", device="cuda", memory=8 * GIB)
