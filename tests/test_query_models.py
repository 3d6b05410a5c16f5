"""BLIP-2 and InstructBLIP with other language models than InstructBLIP's Flan-T5: OPT, Llama (Vicuna) and T5."""

import functools
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from plain_scoring import one_forward_per_answer, one_forward_per_label
from tiny_queries import KINDS, build_queries

from toolkit.errors import ModelError
from toolkit.manifest.model import LoraSection, TrainSection
from toolkit.models.backend import Examples, TrainingJob
from toolkit.models.batches import Cases
from toolkit.models.budget import budgets, skeleton
from toolkit.models.checkpoint import read_config
from toolkit.models.decoder.image_text_to_text import ImageTextToText, TrainableDecoder
from toolkit.models.decoder.scoring import by_level, by_trie, log_likelihoods
from toolkit.models.decoder.self_test import self_test
from toolkit.models.inputs import IGNORED
from toolkit.models.instructblip import InstructBlip, TrainableInstructBlip
from toolkit.models.scoring import build_trie
from toolkit.models.self_test import self_test as encoder_self_test
from toolkit.models.trainable import prepare
from toolkit.models.training import collate, summed_loss
from toolkit.prompts.ablation import ImageBlindBackend
from toolkit.prompts.ablation import photographs as shown

PROMPT = "USER: What is the diagnosis? ASSISTANT:"
LONG_PROMPT = "USER: Clinical photograph. The patient is 61 years old. What is the diagnosis? ASSISTANT:"
PROMPTS = [PROMPT, LONG_PROMPT, "USER: ? ASSISTANT:"]
ANSWERS = ["nevus", "nevus of Ota", "melasma", "basal cell carcinoma"]
SETTINGS = {"epochs": 2, "learning_rate": 1e-3, "batch_size": 4, "schedule": "constant", "threads": 1, "augment": False}
DECODERS = ("opt", "llama")


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """Return the folder of a checkpoint by the kind of its language model, built once."""
    folder = tmp_path_factory.mktemp("queries")
    return functools.cache(lambda text: build_queries(text, folder / text, [LONG_PROMPT, *ANSWERS], seed=3))


def load(source: Path, text: str, **settings: Any) -> Any:
    return (InstructBlip if text == "t5" else ImageTextToText).load(str(source), device="cpu", **settings)


@pytest.fixture(scope="session")
def loaded(built):
    """Return a model; read only, a test that changes weights loads its own."""
    return functools.cache(lambda text: load(built(text), text))


def photographs(count: int, seed: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def examples() -> Examples:
    return Examples(photographs(8), [PROMPTS[n % 3] for n in range(8)], np.arange(8) % len(ANSWERS))


def reference(model: Any, images: np.ndarray, prompts: list[str], answers: list[list[int]]) -> torch.Tensor:
    """Return (B, answers) by one forward of the library's model each, unpadded, from inputs made one by one."""
    rows = []
    for image, prompt in zip(images, prompts, strict=True):
        given = model.inputs(image[None], [prompt])
        ids = given.pop("input_ids")[0].tolist()
        del given["attention_mask"], given["position_ids"]
        rows.append(one_forward_per_answer(model.model, [ids], given, answers))
    return torch.cat(rows)


def drawn_answers(rng: np.random.Generator, end: int) -> list[list[int]]:
    """Return a few answers of few tokens, the end last: shared beginnings, and one that begins another."""
    drawn = {tuple(rng.choice(range(300, 304), size=rng.integers(1, 6)).tolist()) for _ in range(rng.integers(2, 6))}
    longest = max(drawn, key=len)
    return [[*tokens, end] for tokens in sorted(drawn | {(*longest, 300), longest[:1]})]


@pytest.mark.parametrize("text", DECODERS)
def test_any_answers_are_scored_as_by_one_forward_each_in_batches_with_ragged_prompts(loaded, text):
    model, rng = loaded(text), np.random.default_rng(11)
    for count in (1, 2, 3, 5):
        images, prompts = photographs(count, seed=count), [PROMPTS[n] for n in rng.integers(0, 3, count)]
        answers = drawn_answers(rng, model.processor.tokenizer.eos_token_id)
        trie, inputs = build_trie(answers, start=0), model.inputs(images, prompts)

        expected = reference(model, images, prompts, answers)

        for way in (by_trie, by_level) if count == 3 else (by_trie,):
            actual = log_likelihoods(model.model, inputs, trie, model.family, way=way)
            np.testing.assert_allclose(actual, expected, atol=1e-4, err_msg=f"{way.__name__}, batch of {count}")
        assert (actual.exp().sum(dim=1) <= 1 + 1e-6).all()


def test_a_blip_2_with_t5_is_scored_as_by_one_forward_for_each_answer(loaded):
    model = loaded("t5")
    trie = build_trie(model.inputs.answer_tokens(ANSWERS), start=0)
    for count in (1, 2, 5):
        prompts = [PROMPTS[n % 3] for n in range(count)]
        inputs = model.inputs(photographs(count), prompts)

        expected = one_forward_per_label(model.model, inputs, trie)

        np.testing.assert_allclose(model.log_likelihoods(photographs(count), prompts, ANSWERS), expected, atol=1e-4)
        assert {"pixel_values", "input_ids", "attention_mask"} == set(inputs)


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("opt", "Question: What is the diagnosis? Answer:"),
        ("t5", "Question: What is the diagnosis? Answer:"),
        ("llama", PROMPT),
    ],
)
def test_inputs_are_those_of_the_librarys_own_processor(built, loaded, text, question):
    name = {"blip-2": "Blip2Processor", "instructblip": "InstructBlipProcessor"}[KINDS[text]]
    processor = getattr(transformers, name).from_pretrained(built(text))
    expected = processor(images=[photographs(1)[0]], text=[question], return_tensors="pt")

    actual = loaded(text).inputs(photographs(1), [PROMPT])
    assert set(expected) == set(actual) - {"position_ids"}
    for key in expected:
        torch.testing.assert_close(actual[key], expected[key], msg=key)


def test_an_answer_ends_where_the_model_stops(loaded):
    opt, llama = (loaded(text) for text in DECODERS)

    assert ["nevus\n"] == [opt.processor.tokenizer.decode(opt.inputs.chat.answer_tokens(["nevus"])[0]).strip(" ")]
    assert llama.processor.tokenizer.eos_token_id == llama.inputs.chat.answer_tokens(["nevus"])[0][-1]


def trainable_of(model: Any) -> Any:
    if isinstance(model, InstructBlip):
        return TrainableInstructBlip(model.model, model.inputs, ANSWERS)
    return TrainableDecoder(model.model, model.inputs, ANSWERS, way=by_trie)


@pytest.mark.parametrize("text", KINDS)
def test_the_loss_of_a_batch_is_the_librarys_own_and_its_scores_never_see_the_answers(loaded, text, examples):
    model = loaded(text)
    trainable, cases = trainable_of(model), Cases(examples)
    batch = collate(trainable, [cases[n] for n in range(5)])
    classes = batch.pop("classes")
    whole = batch["labels"]
    if text != "t5":
        whole = torch.nn.functional.pad(whole, (batch["input_ids"].shape[1] - whole.shape[1], 0), value=IGNORED)

    with torch.no_grad():
        own = summed_loss(trainable.logits(model.model, batch), batch["labels"]) / (batch["labels"] != IGNORED).sum()
        library = model.model(**{**batch, "labels": whole}).loss

    assert library.item() == pytest.approx(own.item(), abs=1e-5)
    scores = trainable.scores(model.model, batch)
    alone = model.log_likelihoods(examples.photographs[:5], examples.prompts[:5], ANSWERS)
    np.testing.assert_allclose(scores, alone, atol=1e-5)
    of_truth = scores[torch.arange(5), classes].sum() / trainable.lengths[classes].sum()
    assert -of_truth.item() == pytest.approx(own.item(), abs=1e-5)


def fit(source: Path, text: str, folder: Path, examples: Examples, **options: Any) -> Any:
    resume, progress = options.pop("resume", False), options.pop("progress", lambda *_: None)
    features = options.pop("features", None)
    chosen = TrainSection.model_validate(SETTINGS | options)
    model = load(source, text, mode=chosen.mode)
    if features:
        model.keep_features(features, gigabytes=1)
    return model, model.fit(TrainingJob(examples, examples, ANSWERS, chosen, 11, folder, resume, progress))


def scores(model: Any, examples: Examples) -> np.ndarray:
    return model.log_likelihoods(np.asarray(examples.photographs), examples.prompts, ANSWERS)


@pytest.mark.soak_after(1)
@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("llama", "full"),
        ("opt", "lora"),
        ("t5", "lora"),
        ("opt", "full"),
        ("llama", "lora"),
        ("t5", "full"),
    ],
)
def test_a_resumed_training_ends_like_one_that_was_never_interrupted_and_so_does_what_is_saved(
    built, examples, tmp_path, text, mode
):
    def interrupt(_: str, step: int, __: int | None) -> None:
        if step == 3:
            raise KeyboardInterrupt

    chosen = {"mode": mode, "lora": {"rank": 2, "dropout": 0.1}, "best": "validation_loss"}
    whole, epochs = fit(built(text), text, tmp_path / "whole", examples, **chosen)
    with pytest.raises(KeyboardInterrupt):
        fit(built(text), text, tmp_path / "broken", examples, progress=interrupt, **chosen)
    resumed, again = fit(built(text), text, tmp_path / "broken", examples, resume=True, **chosen)
    resumed.save(tmp_path / "checkpoint")
    read = load(tmp_path / "checkpoint", text, mode=mode)

    assert epochs == again
    assert epochs[-1].train_loss < epochs[0].train_loss
    np.testing.assert_array_equal(scores(whole, examples), scores(resumed, examples))
    np.testing.assert_array_equal(scores(whole, examples), scores(read, examples))
    assert (mode == "lora") is (tmp_path / "checkpoint" / "adapter_model.safetensors").exists()


@pytest.mark.soak
@pytest.mark.parametrize("text", KINDS)
def test_features_of_the_vision_part_are_kept_while_the_qformer_is_trained(built, examples, tmp_path, text):
    plain, epochs = fit(built(text), text, tmp_path / "plain", examples, mode="qformer")
    first, kept = fit(built(text), text, tmp_path / "kept", examples, mode="qformer", features=tmp_path / "features")
    before, after = load(built(text), text).model.state_dict(), plain.model.state_dict()
    moved = {name.partition(".")[0] for name in before if not torch.equal(before[name], after[name])}

    assert {"qformer", "query_tokens", "language_projection"} == moved
    assert 8 == len(list((tmp_path / "features").rglob("*.safetensors")))
    np.testing.assert_allclose([e.train_loss for e in epochs], [e.train_loss for e in kept], rtol=1e-4)
    np.testing.assert_allclose(scores(plain, examples), scores(first, examples), atol=1e-3)
    assert len(ANSWERS) == len(first.generate(photographs(4), [PROMPT] * 4))


@pytest.mark.parametrize("text", KINDS)
def test_lora_goes_into_queries_and_values_of_the_language_model_and_nowhere_else(built, text):
    config = read_config(str(built(text)))
    adapted = prepare(skeleton(config), mode="lora", lora=LoraSection(rank=2))
    names = {name.partition(".lora_")[0] for name, p in adapted.named_parameters() if p.requires_grad}
    found = {budget.mode: budget for budget in budgets(config, LoraSection(rank=2))}

    attentions = {"opt": 4, "llama": 4, "t5": 2 + 2 + 2}[text]
    assert 2 * attentions == len(names)
    assert all("language_model." in name and name.split(".")[-1] in ("q", "v", "q_proj", "v_proj") for name in names)
    assert {"full", "language_model", "qformer", "lora"} == set(found)


@pytest.mark.parametrize("text", KINDS)
def test_controls_show_what_they_say(loaded, text, examples):
    model, images, prompts = loaded(text), np.asarray(examples.photographs), [PROMPT] * 8
    own = model.log_likelihoods(images, prompts, ANSWERS)
    grey = shown("blank", [None] * 8, None, size=model.input_size, seed=7)
    blank = ImageBlindBackend(model).log_likelihoods(grey, prompts, ANSWERS)

    assert 1 == len(np.unique(blank, axis=0))
    assert np.abs(own - blank).max(axis=1).min() > 1e-3
    np.testing.assert_allclose(own[::-1], model.log_likelihoods(images[::-1], prompts, ANSWERS), atol=1e-4)


@pytest.mark.parametrize("text", KINDS)
def test_frozen_weights_in_bfloat16_pass_the_test_and_are_scored(built, text):
    model = load(built(text), text, mode="lora", dtype="bfloat16")

    assert "bfloat16" == model.facts()["dtype"]
    assert model.facts()["self_test"].startswith("this checkpoint scores exactly")


# What is refused


@pytest.fixture
def copy(built, tmp_path):
    """Copy a checkpoint, to be changed."""
    return lambda text: Path(shutil.copytree(built(text), tmp_path / text))


def refused(folder: Path, backend: Any, match: str) -> ModelError:
    with pytest.raises(ModelError, match=match) as caught:
        backend.load(str(folder), device="cpu")
    return caught.value


def test_each_backend_names_the_other_for_a_language_model_that_is_not_its_own(built):
    for text in DECODERS:
        error = refused(built(text), InstructBlip, "has a decoder-only language model")
        assert 'backend = "image-text-to-text"' in error.remedy
    error = refused(built("t5"), ImageTextToText, "a blip-2 with the language model 't5'")
    assert 'use backend = "instructblip"' == error.remedy


def test_another_language_model_is_refused_with_those_that_are_known(copy):
    folder = copy("opt")
    config = json.loads((folder / "config.json").read_text())
    config["text_config"] = {"model_type": "gpt2", "vocab_size": 600}
    (folder / "config.json").write_text(json.dumps(config))

    assert "use one with opt, or with a Flan-T5" == refused(folder, ImageTextToText, "language model 'gpt2'").remedy


def test_an_instructblip_without_the_tokenizer_of_its_qformer_is_refused(copy):
    folder = copy("llama")
    shutil.rmtree(folder / "qformer_tokenizer")

    refused(folder, ImageTextToText, "no Q-Former tokenizer")


@pytest.mark.parametrize("text", KINDS)
def test_a_blind_model_fails_the_self_test(built, text):
    model = load(built(text), text)
    with torch.no_grad():
        model.model.language_projection.weight.zero_()

    with pytest.raises(ModelError, match="it is blind"):
        if text == "t5":
            encoder_self_test(model.model, model.inputs, side=model.input_size)
        else:
            self_test(model.model, model.inputs, model.family, side=model.input_size)
