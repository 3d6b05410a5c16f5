import functools
import json
import re
import shutil
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from plain_scoring import all_logits, one_forward_per_answer
from safetensors.torch import load_file, save_file
from tiny_families import FAMILIES, build_family

from toolkit.errors import ModelError
from toolkit.manifest.model import LoraSection, TrainSection
from toolkit.models import backend
from toolkit.models.backend import Examples, TrainingJob
from toolkit.models.batches import Cases
from toolkit.models.budget import GIB, budgets, skeleton
from toolkit.models.decoder.checkpoint import read_config
from toolkit.models.decoder.families import FAMILIES as RULES
from toolkit.models.decoder.image_text_to_text import LONGEST_TEXT, ImageTextToText, TrainableDecoder
from toolkit.models.decoder.inputs import pixels
from toolkit.models.decoder.scoring import by_level, by_trie, log_likelihoods
from toolkit.models.decoder.self_test import self_test
from toolkit.models.inputs import IGNORED
from toolkit.models.scoring import build_trie
from toolkit.models.tiny_chat import build_tiny_chat
from toolkit.models.trainable import prepare
from toolkit.models.training import collate, summed_loss
from toolkit.prompts.ablation import ImageBlindBackend
from toolkit.prompts.ablation import photographs as shown

PROMPT = "USER: What is the diagnosis? ASSISTANT:"
PROMPTS = [
    PROMPT,
    "USER: Clinical photograph. The patient is 61 years old. What is the diagnosis? ASSISTANT:",
    "USER: ? ASSISTANT:",
]
ANSWERS = ["nevus", "nevus of Ota", "melasma", "basal cell carcinoma"]
SETTINGS = {"epochs": 2, "learning_rate": 1e-3, "batch_size": 4, "schedule": "constant", "threads": 1, "augment": False}


def every(*chosen: object, among: Iterable[Any] = FAMILIES) -> list[Any]:
    """Return all parameters; `make test` runs the chosen ones, `make soak` the others of the same path too."""
    pairs = [(one, one if isinstance(one, tuple) else (one,)) for one in among]
    return [one if one in chosen else pytest.param(*values, marks=pytest.mark.soak) for one, values in pairs]


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """Return the folder of a family's checkpoint, built once."""
    folder = tmp_path_factory.mktemp("families")

    @functools.cache
    def build(family: str, **settings: int) -> Path:
        name = "-".join([family, *(f"{key}{value}" for key, value in settings.items())])
        return build_family(family, folder / name, [PROMPTS[1], *ANSWERS], seed=3, **settings)

    return build


@pytest.fixture(scope="session")
def loaded(built):
    """Return a family's model; read only, a test that changes weights loads its own."""

    @functools.cache
    def load(family: str, **settings: int) -> ImageTextToText:
        return ImageTextToText.load(str(built(family, **settings)), device="cpu")

    return load


@pytest.fixture(scope="module")
def examples() -> Examples:
    return Examples(photographs(8), [PROMPTS[n % 3] for n in range(8)], np.arange(8) % len(ANSWERS))


def photographs(count: int, seed: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def reference(model: ImageTextToText, images: np.ndarray, prompts: list[str], answers: list[list[int]]) -> torch.Tensor:
    given = pixels(images, model.processor.image_processor, model.family)
    rows = [model.inputs.chat.prompt_tokens(prompt) for prompt in prompts]
    return one_forward_per_answer(model.model, rows, given, answers, **types_of(model))


def types_of(model: ImageTextToText) -> dict[str, int]:
    rules = model.family
    return {"image": rules.image_type, "answer": rules.answer_type} if rules.types else {}


def drawn_answers(rng: np.random.Generator, model: ImageTextToText) -> list[list[int]]:
    """Return a few answers of few tokens, the end last: shared beginnings, and one that begins another."""
    end, words = model.processor.tokenizer.eos_token_id, range(300, 304)
    drawn = {tuple(rng.choice(words, size=rng.integers(1, 6)).tolist()) for _ in range(rng.integers(2, 6))}
    longest = max(drawn, key=len)
    drawn |= {(*longest, 300), longest[:1]}
    return [[*tokens, end] for tokens in sorted(drawn)]


@pytest.mark.soak_after(3)
@pytest.mark.parametrize("family", FAMILIES)
def test_any_answers_are_scored_as_by_one_forward_each_in_batches_with_ragged_prompts(loaded, family):
    model, rng = loaded(family), np.random.default_rng(11)
    for count in (1, 2, 3, 5):
        images, prompts = photographs(count, seed=count), [PROMPTS[n] for n in rng.integers(0, 3, count)]
        answers = drawn_answers(rng, model)
        inputs, trie = model.inputs(images, prompts), build_trie(answers, start=0)

        expected = reference(model, images, prompts, answers)

        for way in (by_trie, by_level) if count == 3 else (by_trie,):
            actual = log_likelihoods(model.model, inputs, trie, model.family, way=way)
            np.testing.assert_allclose(actual, expected, atol=1e-4, err_msg=f"{way.__name__}, batch of {count}")
        assert (actual.exp().sum(dim=1) <= 1 + 1e-6).all()


@pytest.mark.parametrize(
    ("family", "attention", "settings"),
    [
        ("gemma3", "sdpa", {"sliding_window": 24}),
        pytest.param("gemma3", "eager", {"sliding_window": 8}, marks=pytest.mark.soak),
        ("paligemma", "eager", {"model_type": "gemma2", "sliding_window": 4096}),
        *(pytest.param(family, "eager", {}, marks=pytest.mark.soak) for family in FAMILIES),
    ],
)
def test_sliding_windows_and_plain_attention_are_exact_too(built, family, attention, settings):
    model = ImageTextToText.load(str(built(family, **settings)), device="cpu")
    model.model.set_attn_implementation(attention)
    images, prompts = photographs(3), PROMPTS
    tokens = model.inputs.chat.answer_tokens(ANSWERS)

    expected = reference(model, images, prompts, tokens)

    np.testing.assert_allclose(model.log_likelihoods(images, prompts, ANSWERS), expected, atol=1e-4)


MODES = ("full", "language_model", "lora")
LIBRARYS = {
    "gemma3": lambda *parts: transformers.Gemma3Processor(*parts, image_seq_length=4),
    "paligemma": transformers.PaliGemmaProcessor,
    "idefics3": lambda *parts: transformers.Idefics3Processor(*parts, image_seq_len=4),
    "smolvlm": lambda *parts: transformers.Idefics3Processor(*parts, image_seq_len=4),
    "llava": lambda *parts: transformers.LlavaProcessor(*parts, 8, "default", num_additional_image_tokens=1),
}
"""Those of Qwen and SmolVLM need torchvision; SmolVLM's single photograph has the form of Idefics3's."""


@pytest.mark.parametrize("family", LIBRARYS)
def test_inputs_are_those_of_the_librarys_own_processor(built, loaded, family):
    model, image, words = loaded(family), photographs(1), "What is the diagnosis?"
    named = {"gemma3": {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"}}.get(family, {})
    image_token = "<image_soft_token>" if family == "gemma3" else "<image>"
    tokenizer = transformers.AutoTokenizer.from_pretrained(
        built(family), extra_special_tokens={"image_token": image_token, **named}
    )
    image_processor = transformers.AutoImageProcessor.from_pretrained(built(family), backend="pil")
    image_processor.image_seq_length = model.image_tokens
    processor, text, options = LIBRARYS[family](image_processor, tokenizer), f"<image>{words}", {}
    if family != "paligemma":
        message = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": words}]}
        text = tokenizer.apply_chat_template([message], tokenize=False, add_generation_prompt=True)
        options = {"add_special_tokens": not text.startswith(tokenizer.bos_token)}
    if family in ("idefics3", "smolvlm"):
        options["do_image_splitting"] = False

    expected = processor(images=[[image[0]]], text=[text], **options)

    actual = model.inputs(image, [PROMPT])
    assert set(expected) - {"labels", "mm_token_type_ids"} <= set(actual) | {"mm_token_type_ids"}
    for name in set(actual) - {"position_ids"}:
        torch.testing.assert_close(actual[name].float(), torch.as_tensor(np.asarray(expected[name])).float(), msg=name)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_loss_of_a_batch_is_the_librarys_own_and_its_scores_never_see_the_answers(loaded, family, examples):
    model = loaded(family)
    trainable = TrainableDecoder(model.model, model.inputs, ANSWERS, way=by_trie)
    cases = Cases(examples)
    batch = collate(trainable, [cases[n] for n in range(5)])
    classes = batch.pop("classes")
    prompt = batch["input_ids"].shape[1] - batch["labels"].shape[1]
    whole = torch.nn.functional.pad(batch["labels"], (prompt, 0), value=IGNORED)

    with torch.no_grad():
        own = summed_loss(trainable.logits(model.model, batch), batch["labels"]) / (batch["labels"] != IGNORED).sum()
        model.model.train()
        library = model.model(**{**batch, "labels": whole}).loss
        model.model.eval()

    assert library.item() == pytest.approx(own.item(), abs=1e-5)
    scores = trainable.scores(model.model, batch)
    alone = model.log_likelihoods(examples.photographs[:5], examples.prompts[:5], ANSWERS)
    np.testing.assert_allclose(scores, alone, atol=1e-5)
    of_truth = scores[torch.arange(5), classes].sum() / trainable.lengths[classes].sum()
    assert -of_truth.item() == pytest.approx(own.item(), abs=1e-5)


def fit(source: Path, folder: Path, examples: Examples, *, resume=False, progress=None, features=None, **settings):
    chosen = TrainSection.model_validate(SETTINGS | settings)
    model = ImageTextToText.load(str(source), device="cpu", mode=chosen.mode)
    if features:
        model.keep_features(features, gigabytes=1)
    job = TrainingJob(examples, examples, ANSWERS, chosen, 11, folder, resume, progress or (lambda *_: None))
    return model, model.fit(job)


def scores(model: ImageTextToText, examples: Examples) -> np.ndarray:
    return model.log_likelihoods(np.asarray(examples.photographs), examples.prompts, ANSWERS)


@pytest.mark.soak
@pytest.mark.parametrize(
    ("family", "mode"),
    every(("gemma3", "full"), ("qwen2_5_vl", "lora"), among=[(f, mode) for f in FAMILIES for mode in ("full", "lora")]),
)
def test_a_resumed_training_ends_like_one_that_was_never_interrupted_and_so_does_what_is_saved(
    built, examples, tmp_path, family, mode
):
    def interrupt(_: str, step: int, __: int | None) -> None:
        if step == 3:
            raise KeyboardInterrupt

    chosen = {"mode": mode, "lora": {"rank": 2, "dropout": 0.1}, "best": "validation_loss"}
    whole, epochs = fit(built(family), tmp_path / "whole", examples, **chosen)
    with pytest.raises(KeyboardInterrupt):
        fit(built(family), tmp_path / "broken", examples, progress=interrupt, **chosen)
    resumed, again = fit(built(family), tmp_path / "broken", examples, resume=True, **chosen)
    resumed.save(tmp_path / "checkpoint")
    read = ImageTextToText.load(str(tmp_path / "checkpoint"), device="cpu", mode=mode)

    expected = scores(whole, examples)
    assert epochs == again
    assert epochs[-1].train_loss < epochs[0].train_loss
    np.testing.assert_array_equal(expected, scores(resumed, examples))
    np.testing.assert_array_equal(expected, scores(read, examples))
    tokens = whole.inputs.chat.answer_tokens(ANSWERS)
    np.testing.assert_allclose(
        reference(read, examples.photographs, list(examples.prompts), tokens), expected, atol=1e-4
    )
    assert (mode == "lora") is (tmp_path / "checkpoint" / "adapter_model.safetensors").exists()


@pytest.mark.parametrize(
    ("family", "balance"),
    every(("qwen2_5_vl", "weights"), among=[(f, balance) for f in FAMILIES for balance in ("none", "weights")]),
)
def test_a_step_is_the_same_in_however_many_batches_its_cases_come(built, examples, tmp_path, family, balance):
    steps = []
    for size, accumulate in [(8, 1), (2, 4)]:
        folder = tmp_path / f"{size}"
        fit(built(family), folder, examples, batch_size=size, accumulate=accumulate, epochs=1, balance=balance)
        log = json.loads((folder / "checkpoint-1" / "trainer_state.json").read_text())["log_history"][0]
        steps.append([log["loss"], log["grad_norm"]])

    assert steps[0] == pytest.approx(steps[1], rel=1e-4)


@pytest.mark.parametrize(("family", "mode"), every(among=[(f, m) for f in FAMILIES for m in MODES]))
def test_gradient_checkpointing_reads_the_layers_twice_and_learns_the_same(built, examples, tmp_path, family, mode):
    learned, reads = [], []
    for kept in (False, True):
        settings = TrainSection.model_validate(SETTINGS | {"mode": mode, "gradient_checkpointing": kept, "epochs": 1})
        model = ImageTextToText.load(str(built(family)), device="cpu", mode=mode)
        layer, count = getattr(model.model.model, RULES[family].language).layers[0].mlp, []
        layer.register_forward_pre_hook(lambda *_, count=count: count.append(1) if torch.is_grad_enabled() else None)
        model.fit(TrainingJob(examples, examples, ANSWERS, settings, 11, tmp_path / f"{kept}"))
        learned.append(scores(model, examples))
        reads.append(len(count))

    assert [2, 4] == reads
    np.testing.assert_allclose(*learned, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_lora_goes_into_queries_and_values_of_the_language_model_and_nowhere_else(built, family):
    adapted = prepare(skeleton(read_config(str(built(family)))), mode="lora", lora=LoraSection(rank=2))

    trained = {name.partition(".lora_")[0] for name, p in adapted.named_parameters() if p.requires_grad}
    assert 4 * 2 == len(trained)
    assert all(
        f"model.{RULES[family].language}.layers." in name and name[-6:] in ("q_proj", "v_proj") for name in trained
    )


@pytest.mark.soak
@pytest.mark.parametrize("family", every("qwen3_vl"))
def test_a_mode_leaves_vision_as_it_is_and_its_features_are_kept(built, examples, tmp_path, family):
    before = ImageTextToText.load(str(built(family)), device="cpu").model.state_dict()
    plain, epochs = fit(built(family), tmp_path / "plain", examples, mode="language_model")
    first, told = fit(built(family), tmp_path / "first", examples, mode="language_model", features=tmp_path / "kept")
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").rglob("*.safetensors")}
    own = scores(first, examples)

    after = plain.model.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all(RULES[family].language in name or name.startswith("lm_head") for name in moved)
    assert 8 == len(files)
    assert files == {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").rglob("*.safetensors")}
    np.testing.assert_allclose([e.train_loss for e in epochs], [e.train_loss for e in told], rtol=1e-4)
    np.testing.assert_array_equal(own, scores(first, examples))
    np.testing.assert_allclose(scores(plain, examples), own, atol=1e-3)
    assert plain.generate(examples.photographs[:1], [PROMPT]) == first.generate(examples.photographs[:1], [PROMPT])


@pytest.mark.parametrize("family", every("gemma3", "qwen2_5_vl"))
def test_what_is_said_freely_is_the_likeliest_token_at_every_step(loaded, family):
    model, images = loaded(family), photographs(2)
    given = pixels(images[1:], model.processor.image_processor, model.family)
    row, tokens = model.inputs.chat.prompt_tokens(PROMPTS[1]), []
    while len(tokens) < LONGEST_TEXT and tokens[-1:] != [model.processor.tokenizer.eos_token_id]:
        logits = all_logits(model.model, row, tokens, given, **types_of(model))[-1]
        tokens.append(int(logits.argmax()))

    said = model.generate(images, PROMPTS[:2])

    assert model.processor.tokenizer.decode(tokens, skip_special_tokens=True).strip() == said[1]


@pytest.mark.parametrize("family", every("gemma3"))
def test_controls_show_what_they_say(loaded, family, examples):
    model, images = loaded(family), np.asarray(examples.photographs)
    prompts = [PROMPT] * 8
    own = model.log_likelihoods(images, prompts, ANSWERS)
    grey = shown("blank", [None] * 8, None, size=model.input_size, seed=7)
    blank = ImageBlindBackend(model).log_likelihoods(grey, prompts, ANSWERS)
    shuffled = model.log_likelihoods(images[::-1], prompts, ANSWERS)

    assert 1 == len(np.unique(blank, axis=0))
    assert np.abs(own - blank).max(axis=1).min() > 1e-3
    np.testing.assert_allclose(own[::-1], shuffled, atol=1e-4)


# What is refused


def test_the_backend_is_known_by_its_name():
    assert ImageTextToText is backend("image-text-to-text")


@pytest.fixture
def copy(built, tmp_path):
    """Copy a family's checkpoint, to be changed."""

    def copied(family: str) -> Path:
        return Path(shutil.copytree(built(family), tmp_path / family))

    return copied


def change(path: Path, **keys: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


def refused(folder: Path, match: str) -> ModelError:
    with pytest.raises(ModelError, match=match) as caught:
        ImageTextToText.load(str(folder), device="cpu")
    return caught.value


@pytest.mark.parametrize("kind", ["llava_next", "mllama", "florence2", "gemma3n"])
def test_a_family_without_rules_is_refused_with_those_that_have_some(copy, kind):
    folder = copy("llava")
    (folder / "config.json").write_text(json.dumps({"model_type": kind}))

    error = refused(folder, "no family of decoder-only models that can be scored exactly")

    assert "gemma3, paligemma, qwen2_5_vl" in error.remedy


def test_a_checkpoint_without_chat_template_is_refused(copy):
    folder = copy("gemma3")
    (folder / "chat_template.jinja").unlink()

    assert "-it or -Instruct" in refused(folder, "no chat template").remedy


def test_a_template_in_the_form_of_older_checkpoints_is_read(copy, loaded):
    folder = copy("qwen2_5_vl")
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": template}))

    tokens = ImageTextToText.load(str(folder), device="cpu").inputs.chat.prompt_tokens(PROMPT)

    assert loaded("qwen2_5_vl").inputs.chat.prompt_tokens(PROMPT) == tokens


@pytest.mark.parametrize(
    ("family", "old", "new", "problem"),
    [
        ("gemma3", "{{ bos_token }}", "{{ bos_token }}{{ bos_token }}", "begin twice"),
        ("qwen2_5_vl", "<|im_start|>assistant\n{%", "<|im_start|>assistant\n<think>\n{%", "reasoning block"),
        ("idefics3", "Assistant:{%", "Answer:{%", "does not follow its prompt directly"),
        ("llava", "<image>", "<picture>", "holds 0 image tokens"),
    ],
)
def test_a_template_by_which_answers_could_not_be_scored_is_refused(copy, family, old, new, problem):
    folder = copy(family)
    template = (folder / "chat_template.jinja").read_text()
    assert old in template
    (folder / "chat_template.jinja").write_text(template.replace(old, new))

    refused(folder, problem)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_git_lfs_pointer_is_named(copy, name):
    folder = copy("gemma3")
    (folder / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4\n")

    assert "git lfs pull" in refused(folder, f"{name} is a Git LFS pointer").remedy


@pytest.mark.parametrize("number", [None, 99_999])
def test_a_configuration_without_an_image_token_is_refused(copy, number):
    folder = copy("qwen2_5_vl")
    change(folder / "config.json", image_token_id=number)

    refused(folder, "names no image token|cannot be read")


def test_a_tokenizer_larger_than_the_embedding_is_refused(copy):
    folder = copy("qwen2_5_vl")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["one", "two"])
    tokenizer.save_pretrained(folder)

    refused(folder, "the tokenizer has tokens up to number .* the embedding has")


def test_quantised_weights_are_refused(copy):
    folder = copy("gemma3")
    change(folder / "config.json", quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True})

    refused(folder, "quantised")


def test_an_end_at_which_the_model_does_not_stop_is_refused(copy):
    folder = copy("llava")
    change(folder / "generation_config.json", eos_token_id=5)

    refused(folder, "no end token at which the model stops")


def test_a_prompt_longer_than_the_model_reads_is_refused(loaded):
    with pytest.raises(ModelError, match="the model reads 1024"):
        loaded("gemma3").log_likelihoods(photographs(1), [f"USER: {'nevus ' * 1024} ASSISTANT:"], ANSWERS)


def test_a_prompt_beyond_a_window_that_has_no_mask_of_its_own_is_refused(built):
    refused(built("paligemma", model_type="gemma2", sliding_window=40), "the model reads 40")


def test_answers_count_to_what_the_model_reads_also_where_none_is_in_the_batch(loaded):
    model = loaded("paligemma")
    used = len(model.inputs.chat.prompt_tokens(f"USER: {'nevus ' * 900} ASSISTANT:"))
    prompt = f"USER: {'nevus ' * (900 + 1023 - used)} ASSISTANT:"

    assert 1023 == len(model.inputs.chat.prompt_tokens(prompt))
    with pytest.raises(ModelError, match="have 1025 tokens, the model reads 1024"):
        model.log_likelihoods(photographs(1), [prompt], ["nevus nevus"])


def test_the_qformer_mode_is_not_known_to_a_model_without_one(built):
    with pytest.raises(ModelError, match="its modes are: full, language_model, lora"):
        ImageTextToText.load(str(built("llava")), device="cpu", mode="qformer")


# The self-test


def test_a_blind_model_is_refused(copy):
    folder = copy("gemma3")
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if "mm_input_projection_weight" in name)
    save_file(weights | {name: weights[name] * 0}, folder / "model.safetensors", metadata={"format": "pt"})

    assert "gemma3 checkpoint, sdpa attention" == refused(folder, "it is blind").place


CONVOLUTION = {"model_type": "lfm2", "layer_types": ["conv", "full_attention"] * 2, "conv_L_cache": 3}
LINEAR = {"model_type": "qwen3_5_text", "layer_types": ["linear_attention", "full_attention"] * 2}


@pytest.mark.parametrize("settings", [CONVOLUTION, pytest.param(LINEAR, marks=pytest.mark.soak)])
def test_layers_that_keep_a_state_instead_of_keys_are_scored_level_by_level(tmp_path, capfd, settings):
    folder = build_family("llava", tmp_path / "hybrid", [PROMPTS[1], *ANSWERS], seed=3, **settings)
    capfd.readouterr()

    model = ImageTextToText.load(str(folder), device="cpu")

    assert ("", "") == capfd.readouterr()
    assert by_level is model.passed.way
    tokens = model.inputs.chat.answer_tokens(ANSWERS)
    expected = reference(model, photographs(3), PROMPTS, tokens)
    np.testing.assert_allclose(model.log_likelihoods(photographs(3), PROMPTS, ANSWERS), expected, atol=1e-4)


def test_a_model_that_no_way_scores_exactly_is_refused_with_the_differences(loaded, monkeypatch):
    model = loaded("llava")
    read = type(model.inputs).text
    monkeypatch.setattr(
        type(model.inputs),
        "text",
        lambda self, rows, answers: {
            name: tensor.flip(0) if name == "input_ids" and len(rows) > 1 else tensor
            for name, tensor in read(self, rows, answers).items()
        },
    )

    with pytest.raises(ModelError, match=r"largest differences .* the trie \d.*, level by level \d"):
        self_test(model.model, model.inputs, model.family, side=model.input_size)


@pytest.mark.parametrize("family", every("gemma3"))
def test_frozen_weights_in_bfloat16_pass_the_test_and_are_scored(built, family):
    model = ImageTextToText.load(str(built(family)), device="cpu", mode="lora", dtype="bfloat16")

    assert "bfloat16" == model.facts()["dtype"]
    assert model.passed.difference < 1e-3


# The tiny checkpoint and budgets


def test_the_same_texts_and_seed_build_the_same_bytes(tmp_path):
    for name, seed in (("one", 3), ("same", 3), ("other", 4)):
        build_tiny_chat(tmp_path / name, [PROMPT, *ANSWERS], seed=seed)
    files = {name: {p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in ("one", "same", "other")}

    assert files["one"] == files["same"]
    assert files["one"]["model.safetensors"] != files["other"]["model.safetensors"]


def test_every_mode_has_a_budget_and_tied_weights_count_once(built, loaded):
    model = loaded("gemma3")
    found = {budget.mode: budget for budget in budgets(read_config(str(built("gemma3"))), LoraSection())}

    language = sum(p.numel() for p in model.model.model.language_model.parameters())
    assert {"full", "language_model", "lora"} == set(found)
    assert model.facts()["parameters"] == found["full"].trained
    assert language == found["language_model"].trained


@pytest.mark.parametrize(
    ("size", "manifest", "weights", "stated"),
    [
        (
            "gemma3_4b",
            "medgemma",
            4_300_079_472,
            {"lora": (16.1, 8.1), "language_model": (59.4, 58.6), "full": (64.1,)},
        ),
        ("qwen3_vl_4b", "qwen", 4_437_815_808, {"lora": (16.6, 8.4), "language_model": (61.5, 60.7), "full": (66.1,)}),
    ],
)
def test_the_real_sizes_have_the_weights_and_budgets_that_their_study_files_state(size, manifest, weights, stated):
    folder = Path(__file__).parent
    config = transformers.AutoConfig.for_model(**tomllib.loads((folder / "data" / f"{size}.toml").read_text()))
    found = {budget.mode: budget for budget in budgets(config, LoraSection())}
    text = (folder.parent / "manifests" / f"pigmented8-{manifest}.toml").read_text().replace("\n#", "")

    assert weights == found["full"].trained == found["lora"].frozen
    for mode, sizes in stated.items():
        computed = (found[mode].bytes_float32 / GIB, found[mode].bytes_bfloat16 / GIB)[: len(sizes)]
        assert sizes == pytest.approx(computed, abs=0.06)
        assert all(re.search(rf"{size}( and [\d.]+)? GiB", text) for size in sizes)
