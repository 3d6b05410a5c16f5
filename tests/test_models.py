import functools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plain_scoring import SCORERS
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from toolkit.errors import ModelError
from toolkit.manifest.model import TrainSection
from toolkit.models import backend
from toolkit.models.backend import Examples, TrainingJob, probabilities
from toolkit.models.batches import Cases
from toolkit.models.checkpoint import whole_folder
from toolkit.models.device import DEVICES, VARIABLE, pick_device
from toolkit.models.inputs import IGNORED, Inputs, Tensors
from toolkit.models.instructblip import LONGEST_TEXT, InstructBlip, TrainableInstructBlip
from toolkit.models.processes import Process, this_process
from toolkit.models.scoring import build_trie
from toolkit.models.tiny import build_tiny
from toolkit.models.training import collate
from toolkit.photographs.crops import dihedral
from toolkit.progress import Progress, silent

PROMPT = "What is the diagnosis?"
LONG_PROMPT = "Clinical photograph of a pigmented skin lesion. What is the diagnosis?"
ANSWERS = ["nevus", "nevus blue", "melasma", "basal cell carcinoma"]
TEXTS = [PROMPT, LONG_PROMPT, *ANSWERS]
SETTINGS = TrainSection(epochs=3, learning_rate=1e-3, batch_size=4, schedule="cosine", warmup_steps=2, threads=1)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    build_tiny(folder, TEXTS, seed=3)
    return folder


@pytest.fixture(scope="module")
def model(tiny: Path) -> InstructBlip:
    """Read only: a test that changes weights loads its own."""
    return InstructBlip.load(str(tiny), device="cpu")


@pytest.fixture(scope="module")
def photographs() -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (10, 64, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def examples(photographs: np.ndarray) -> Examples:
    prompts = [PROMPT, LONG_PROMPT] * 5
    return Examples(photographs, prompts, np.arange(10) % len(ANSWERS))


@functools.cache
def prompt_inputs(model: InstructBlip, prompt: str) -> Tensors:
    """One photograph and one prompt, encoded once for all tests."""
    photograph = np.random.default_rng(7).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    return model.inputs(photograph, [prompt])


def scored(scorer: str, model: InstructBlip, inputs: Tensors, answers: list[list[int]]) -> torch.Tensor:
    return SCORERS[scorer](model.model, inputs, build_trie(answers, start=0))


@pytest.mark.parametrize("scorer", ["encode once, decode every label", "trie"])
def test_every_scorer_agrees_with_one_forward_per_label(model, photographs, scorer):
    inputs = model.inputs(photographs[:3], [PROMPT, LONG_PROMPT, PROMPT])
    answers = model.inputs.answer_tokens(ANSWERS)

    expected = scored("one forward per label", model, inputs, answers)

    np.testing.assert_allclose(scored(scorer, model, inputs, answers), expected, atol=1e-4)


def test_one_forward_per_label_is_the_loss_that_the_model_itself_gives(model, photographs):
    inputs = model.inputs(photographs[:1], [PROMPT])
    tokens = model.inputs.answer_tokens(ANSWERS)[3]

    with torch.no_grad():
        loss = model.model(**inputs, labels=torch.tensor([tokens])).loss.item()

    assert -loss * len(tokens) == pytest.approx(
        scored("one forward per label", model, inputs, [tokens]).item(), abs=1e-4
    )


# Few tokens and short answers: shared beginnings and answers that begin another come up in most draws.
SPELT = st.lists(st.integers(3, 6), max_size=5).map(lambda tokens: [*tokens, 1])
PROMPTS = st.sampled_from([PROMPT, LONG_PROMPT, "nevus " * 20, "?"])


@given(answers=st.lists(SPELT, min_size=1, max_size=6, unique_by=tuple), prompt=PROMPTS)
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_set_of_answers_is_scored_exactly_and_holds_at_most_all_there_is(model, answers, prompt):
    inputs = prompt_inputs(model, prompt)
    likelihoods = scored("trie", model, inputs, answers)

    np.testing.assert_allclose(likelihoods, scored("one forward per label", model, inputs, answers), atol=1e-4)
    assert likelihoods.exp().sum() <= 1 + 1e-6


def test_generating_tells_one_answer_or_none(model, photographs):
    inputs = model.inputs(photographs[:2], [PROMPT] * 2)
    with torch.no_grad():
        first = model.model.generate(**inputs, max_new_tokens=3, do_sample=False)[0, 1:4].tolist()

    said = scored("generate", model, inputs, [first, [3, 4, 1]])

    assert [0, -torch.inf] == said[0].tolist()
    assert [-torch.inf] == said[:, 1].unique().tolist()


def test_the_trie_agrees_under_plain_attention_too(model, tiny, photographs):
    eager = InstructBlip.load(str(tiny), device="cpu")
    eager.model.set_attn_implementation("eager")

    scores = eager.log_likelihoods(photographs[:2], [PROMPT] * 2, ANSWERS)

    assert "eager" == eager.model.language_model.decoder.config._attn_implementation
    np.testing.assert_allclose(scores, model.log_likelihoods(photographs[:2], [PROMPT] * 2, ANSWERS), atol=1e-4)


@pytest.mark.parametrize("answers", [["melasma"], ["nevus blue", "nevus"], ["an unheard-of answer", "nevus nevus"]])
def test_a_backend_scores_any_texts_exactly(model, photographs, answers):
    inputs = model.inputs(photographs[:1], [PROMPT])

    expected = scored("one forward per label", model, inputs, model.inputs.answer_tokens(answers))

    np.testing.assert_allclose(model.log_likelihoods(photographs[:1], [PROMPT], answers), expected, atol=1e-4)


def test_lengths_count_tokens_and_the_end(model):
    assert [2, 3, 2, 4] == model.answer_lengths(ANSWERS)


def test_what_is_said_freely_is_the_likeliest_word_at_every_step(model, photographs):
    said = model.generate(photographs[:2], [PROMPT, LONG_PROMPT])
    again = model.generate(photographs[1:2], [LONG_PROMPT])
    inputs, tokens = model.inputs(photographs[:1], [PROMPT]), [0]
    with torch.no_grad():
        while tokens[-1] != 1 and len(tokens) <= LONGEST_TEXT:
            logits = model.model(**inputs, decoder_input_ids=torch.tensor([tokens])).logits
            tokens.append(int(logits[0, -1].argmax()))

    assert 2 == len(said)
    assert again == said[1:]
    assert model.processor.tokenizer.decode(tokens, skip_special_tokens=True) == said[0]


def test_the_trie_shares_beginnings_and_sees_ancestors_only():
    trie = build_trie([[7, 1], [7, 8, 1], [9, 1]], start=0)

    assert [0, 7, 8, 9] == trie.tokens.tolist()
    assert [0, 1, 2, 1] == trie.depths.tolist()
    assert [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 0, 0, 1]] == trie.sees.int().tolist()
    assert [[0, 0, 7], [0, 1, 1], [1, 0, 7], [1, 1, 8], [1, 2, 1], [2, 0, 9], [2, 3, 1]] == trie.edges.tolist()


def test_padding_and_the_other_cases_of_a_batch_change_no_score(model, photographs):
    together = model.log_likelihoods(photographs[:2], [PROMPT, LONG_PROMPT], ANSWERS)

    alone = [model.log_likelihoods(photographs[i : i + 1], [[PROMPT, LONG_PROMPT][i]], ANSWERS)[0] for i in (0, 1)]

    np.testing.assert_allclose(together, alone, atol=1e-4)


def test_probabilities_add_up_to_one_and_label_mass_never_exceeds_it(model, examples):
    scores = model.log_likelihoods(examples.photographs, examples.prompts, ANSWERS)

    values, label_mass = probabilities(scores)

    np.testing.assert_allclose(values.sum(axis=1), 1)
    np.testing.assert_allclose(label_mass, np.exp(scores).sum(axis=1))
    assert (label_mass > 0).all()
    assert (label_mass <= 1 + 1e-6).all()


def test_probabilities_of_very_unlikely_answers_stay_exact():
    values, label_mass = probabilities(np.array([[-2000.0, -2000.0 + np.log(3)]]))

    np.testing.assert_allclose(values, [[0.25, 0.75]])
    assert 0 == label_mass[0]


def test_the_answer_depends_on_the_photograph_and_on_the_prompt(model, photographs):
    dark, prompt = np.zeros((1, 64, 64, 3), np.uint8), [PROMPT]

    one = model.log_likelihoods(photographs[:1], prompt, ANSWERS)

    assert np.abs(one - model.log_likelihoods(dark, prompt, ANSWERS)).max() > 1e-3
    assert np.abs(one - model.log_likelihoods(photographs[:1], [LONG_PROMPT], ANSWERS)).max() > 1e-3


def test_a_crop_at_input_size_is_only_rescaled_and_normalised(model, photographs):
    processor = model.processor.image_processor

    expected = (photographs[:2] / 255 - processor.image_mean) / processor.image_std

    actual = model.inputs.pixel_values(photographs[:2]).numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_facts_name_what_a_run_records(model):
    facts = model.facts()

    assert ("cpu", "float32", 8, 64) == tuple(facts[k] for k in ("device", "dtype", "image_tokens", "input_size"))
    assert facts["parameters"] == facts["trainable_parameters"] > 100_000
    assert torch.__version__ == facts["torch"]
    json.dumps(facts)


# Sanity checks


@pytest.mark.parametrize("wrong", [0, 7])
def test_a_prompt_without_every_image_token_is_refused(tiny, wrong):
    model = InstructBlip.load(str(tiny), device="cpu")
    model.processor.num_query_tokens = wrong

    with pytest.raises(ModelError, match=f"holds {wrong} image tokens, the model needs 8"):
        model.inputs.prompt_tokens(PROMPT)


def test_a_prompt_that_brings_its_own_image_token_is_refused(model):
    with pytest.raises(ModelError, match="holds 9 image tokens"):
        model.inputs.prompt_tokens("What is on <image> ?")


def test_a_prompt_longer_than_the_qformer_reads_is_refused(model):
    with pytest.raises(ModelError, match="the model reads 512"):
        model.inputs.prompt_tokens("nevus " * 600)


def test_answers_that_are_the_same_tokens_are_refused(model):
    with pytest.raises(ModelError, match="cannot tell '皮' from '膚'"):
        model.inputs.answer_tokens(["皮", "膚"])


def changed(tiny: Path, folder: Path, change) -> str:
    """Return a copy of the checkpoint whose weights went through `change`."""
    with whole_folder(folder) as temporary:
        shutil.copytree(tiny, temporary, dirs_exist_ok=True)
        weights = load_file(tiny / "model.safetensors")
        change(weights)
        save_file(weights, temporary / "model.safetensors", metadata={"format": "pt"})
    return str(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("language_model.lm_head.weight"), "lm_head"),
        (lambda w: w.update({"language_model.lm_head.weight": w["language_model.shared.weight"].clone()}), "lm_head"),
        (lambda w: w["query_tokens"].zero_(), "query tokens are all zero"),
        (lambda w: w["vision_model.embeddings.patch_embedding.weight"].mul_(1e-9), "cannot see"),
        (lambda w: w.pop("language_projection.weight"), "lacks 1 weights, language_projection.weight"),
        (lambda w: w.update({"query_tokens": torch.ones(1, 9, 64)}), "cannot be read"),
    ],
    ids=["no head", "head is embedding", "no queries", "blind", "missing weight", "wrong shape"],
)
def test_weights_that_would_fail_in_silence_are_refused(tiny, tmp_path, change, message):
    source = changed(tiny, tmp_path / "changed", change)

    with pytest.raises(ModelError, match=message) as caught:
        InstructBlip.load(source, device="cpu")

    assert source in caught.value.place


def test_a_head_tied_after_loading_is_not_saved(tiny, tmp_path):
    model = InstructBlip.load(str(tiny), device="cpu")
    model.model.tie_weights()
    model.model.language_model.lm_head.weight = model.model.language_model.shared.weight

    with pytest.raises(ModelError, match="lm_head"):
        model.save(tmp_path / "saved")

    assert not (tmp_path / "saved").exists()


def test_scores_that_are_no_numbers_are_refused(tiny, photographs):
    model = InstructBlip.load(str(tiny), device="cpu")
    with torch.no_grad():
        model.model.language_projection.bias[0] = torch.nan

    with pytest.raises(ModelError, match="not a finite number"):
        model.log_likelihoods(photographs[:1], [PROMPT], ANSWERS)


def _truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: _truncate(folder / "model.safetensors"),
        lambda folder: (folder / "model.safetensors").unlink(),
        lambda folder: (folder / "config.json").unlink(),
        lambda folder: (folder / "config.json").write_text("{"),
        lambda folder: (folder / "config.json").write_text('{"model_type": "bert"}'),
        lambda folder: (folder / "processor_config.json").unlink(),
        lambda folder: (folder / "tokenizer.json").write_text("{}"),
    ],
    ids=["cut weights", "no weights", "no config", "no JSON", "other model", "no processor", "no tokenizer"],
)
def test_a_damaged_checkpoint_gives_one_clear_error(tiny, tmp_path, damage, capfd):
    source = changed(tiny, tmp_path / "damaged", lambda _: None)
    damage(Path(source))

    with pytest.raises(ModelError) as caught:
        InstructBlip.load(source, device="cpu")

    assert source in str(caught.value)
    assert "hub name" in str(caught.value)
    assert ("", "") == capfd.readouterr()


LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 16000000000\n"


def _set(folder: Path, **keys: object) -> None:
    config = folder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | keys))


def _add_tokens(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([f"new{number}" for number in range(9)])
    tokenizer.save_pretrained(folder)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: shutil.rmtree(folder / "qformer_tokenizer"), r"no Q-Former tokenizer \(qformer_tokenizer/\)"),
        (
            lambda folder: shutil.copytree(folder / "qformer_tokenizer", folder, dirs_exist_ok=True),
            "Q-Former|tokenizer",
        ),
        (lambda folder: (folder / "model.safetensors").write_text(LFS), "model.safetensors is a Git LFS pointer"),
        (lambda folder: _set(folder, image_token_index=None), "names no image token"),
        (lambda folder: _set(folder, quantization_config={"quant_method": "gptq", "bits": 4}), "quantised"),
        (_add_tokens, r"the tokenizer has tokens up to number \d+, the embedding has \d+ rows"),
        (lambda folder: _add_tokens(folder / "qformer_tokenizer"), "the Q-Former's tokenizer has tokens up to"),
    ],
    ids=["no Q-Former tokenizer", "BERT for both", "pointer", "old", "quantised", "tokenizer", "Q-Former's"],
)
def test_files_that_belong_to_another_checkpoint_are_named(tiny, tmp_path, damage, message):
    source = changed(tiny, tmp_path / "changed", lambda _: None)
    damage(Path(source))

    with pytest.raises(ModelError, match=message):
        InstructBlip.load(source, device="cpu")


@pytest.mark.parametrize("source", ["", "no-such-folder", "/no/such/folder", "a/b/c", "../tiny"])
def test_a_folder_that_is_not_there_is_named(source):
    with pytest.raises(ModelError, match="no such checkpoint folder"):
        InstructBlip.load(source, device="cpu")


# The tiny checkpoint


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_the_same_texts_and_seed_build_the_same_bytes(tiny, tmp_path):
    build_tiny(tmp_path / "again", list(reversed(TEXTS)), seed=3)
    build_tiny(tmp_path / "other", TEXTS, seed=4)

    files = contents(tiny)
    assert files == contents(tmp_path / "again")
    assert files["model.safetensors"] != (tmp_path / "other" / "model.safetensors").read_bytes()
    assert ["again", "other"] == sorted(file.name for file in tmp_path.iterdir())


def test_building_leaves_the_random_numbers_of_others_alone(tmp_path):
    torch.manual_seed(1)
    before = torch.get_rng_state()

    build_tiny(tmp_path / "tiny", TEXTS, seed=9)

    assert torch.equal(before, torch.get_rng_state())


def test_known_words_are_one_token_and_any_other_text_is_spelled_out(model):
    assert [2, 3, 2, 4] == [len(tokens) for tokens in model.inputs.answer_tokens(ANSWERS)]
    assert "Is it 0.7 mm?" == model.processor.tokenizer.decode(
        model.processor.tokenizer("Is it 0.7 mm?")["input_ids"], skip_special_tokens=True
    )
    assert model.inputs.prompt_tokens("皮膚 Ünïcode\n").language


def test_a_folder_is_written_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "folder"
    with whole_folder(folder) as temporary:
        (temporary / "file").write_text("first")

    with pytest.raises(FileNotFoundError), whole_folder(folder) as temporary:
        (temporary / "no such folder" / "file").write_text("second")

    assert "first" == (folder / "file").read_text()
    assert ["folder"] == [path.name for path in tmp_path.iterdir()]


def test_a_folder_that_cannot_be_written_is_named(model, tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(ModelError, match="cannot be written") as caught:
        model.save(tmp_path / "file" / "checkpoint")

    assert str(tmp_path / "file" / "checkpoint") == caught.value.place


def test_saving_and_loading_changes_no_score(model, photographs, tmp_path):
    model.save(tmp_path / "saved")
    model.save(tmp_path / "saved")

    again = InstructBlip.load(str(tmp_path / "saved"), device="cpu")

    expected = model.log_likelihoods(photographs[:2], [PROMPT] * 2, ANSWERS)
    np.testing.assert_array_equal(again.log_likelihoods(photographs[:2], [PROMPT] * 2, ANSWERS), expected)
    assert ["saved"] == [path.name for path in tmp_path.iterdir()]


# Training


def test_labels_are_padded_with_what_the_loss_passes_over(model, examples):
    answer_tokens = model.inputs.answer_tokens(ANSWERS)
    cases = Cases(examples)

    batch = collate(TrainableInstructBlip(model.model, model.inputs, ANSWERS), [cases[i] for i in range(4)])

    expected = [tokens + [IGNORED] * (4 - len(tokens)) for tokens in answer_tokens]
    assert expected == batch["labels"].tolist()
    assert (4, 3, 64, 64) == tuple(batch["pixel_values"].shape)
    assert {4} == {len(tensor) for tensor in batch.values()}


def test_the_eight_variants_are_the_symmetries_of_the_square(photographs):
    variants = [dihedral(photographs[0], variant) for variant in range(8)]

    assert 8 == len({variant.tobytes() for variant in variants})
    np.testing.assert_array_equal(variants[0], photographs[0])
    for variant in variants:
        turned = {np.rot90(variant, k).tobytes() for k in range(4)} | {variant[:, ::-1].tobytes()}
        assert turned <= {v.tobytes() for v in variants}


def test_augmentation_depends_on_seed_and_epoch_only(examples):
    def drawn(seed: int, epoch: int) -> list[int]:
        cases = Cases(examples, augment_seed=seed)
        cases.draw_variants(epoch)
        return cases.variants.tolist()

    assert drawn(1, 2) == drawn(1, 2)
    assert drawn(1, 2) != drawn(1, 3) != drawn(2, 3)
    assert set(range(8)) >= set(drawn(1, 2))
    plain = Cases(examples)
    plain.draw_variants(2)
    np.testing.assert_array_equal(plain[3].photograph, examples.photographs[3])


def with_dropout(source: Path) -> InstructBlip:
    """Load the tiny checkpoint as the real one is: with dropout, so that random numbers matter in training."""
    model = InstructBlip.load(str(source), device="cpu")
    for module in model.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.1
    return model


def trained(source: Path, folder: Path, examples: Examples, *, resume: bool = False, progress: Progress = silent):
    model = with_dropout(source)
    epochs = model.fit(TrainingJob(examples, examples, ANSWERS, SETTINGS, 11, folder, resume, progress))
    return model, epochs


@pytest.fixture(scope="module")
def uninterrupted(tiny, examples, tmp_path_factory):
    return trained(tiny, tmp_path_factory.mktemp("uninterrupted"), examples)


def same_weights(one: InstructBlip, other: InstructBlip) -> bool:
    pairs = zip(one.model.state_dict().items(), other.model.state_dict().items(), strict=True)
    return all(a[0] == b[0] and torch.equal(a[1], b[1]) for a, b in pairs)


def test_training_moves_every_kind_of_weight_and_keeps_the_head_apart(model, uninterrupted):
    before, after = model.model.state_dict(), uninterrupted[0].model.state_dict()

    # The Q-Former's feed-forward after the last layer's text tokens leads nowhere: only the queries go on.
    still = {name for name in before if torch.equal(before[name], after[name])}
    assert all("qformer.encoder.layer.1." in name or "embed" in name for name in still), still
    assert not torch.equal(after["language_model.lm_head.weight"], after["language_model.shared.weight"])


def test_every_epoch_is_told_with_its_losses_and_metrics(uninterrupted):
    _, epochs = uninterrupted

    assert [(1, 3), (2, 6), (3, 9)] == [(epoch.epoch, epoch.step) for epoch in epochs]
    assert epochs[-1].train_loss < epochs[0].train_loss
    assert {"accuracy", "macro_recall", "macro_roc_auc"} <= set(epochs[0].metrics)
    assert all(0 <= value <= 1 for epoch in epochs for value in epoch.metrics.values())


def test_the_validation_loss_is_the_mean_over_the_tokens_of_the_true_answers(uninterrupted, examples):
    model, epochs = uninterrupted
    answer_tokens = model.inputs.answer_tokens(ANSWERS)
    labels = model.inputs.labels([answer_tokens[index] for index in examples.classes])

    with torch.no_grad():
        loss = model.model(**model.inputs(examples.photographs, examples.prompts), labels=labels).loss.item()

    assert loss == pytest.approx(epochs[-1].validation_loss, abs=1e-4)


@pytest.mark.soak
def test_the_same_seed_trains_the_same_weights(tiny, examples, uninterrupted, tmp_path):
    again, epochs = trained(tiny, tmp_path, examples)

    assert same_weights(uninterrupted[0], again)
    assert uninterrupted[1] == epochs


def test_a_resumed_training_ends_like_one_that_was_never_interrupted(tiny, examples, uninterrupted, tmp_path):
    def interrupt(_: str, step: int, __: int | None) -> None:
        if step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(tiny, tmp_path, examples, progress=interrupt)
    (tmp_path / "checkpoint-99").mkdir()
    steps: list[int] = []

    resumed, epochs = trained(tiny, tmp_path, examples, resume=True, progress=lambda _, step, __: steps.append(step))

    assert [4, 5, 6, 7, 8, 9] == steps
    assert uninterrupted[1] == epochs
    assert same_weights(uninterrupted[0], resumed)
    assert ["checkpoint-9"] == [path.name for path in tmp_path.iterdir()]


@pytest.mark.soak
def test_resuming_what_is_finished_trains_no_further(tiny, examples, uninterrupted, tmp_path):
    trained(tiny, tmp_path, examples)
    steps: list[int] = []

    again, epochs = trained(tiny, tmp_path, examples, resume=True, progress=lambda _, step, __: steps.append(step))

    assert [] == steps
    assert uninterrupted[1] == epochs
    assert same_weights(uninterrupted[0], again)


@pytest.mark.soak
def test_training_anew_forgets_an_earlier_training(tiny, examples, uninterrupted, tmp_path):
    trained(tiny, tmp_path, examples)

    again, _ = trained(tiny, tmp_path, examples, resume=False)

    assert same_weights(uninterrupted[0], again)


def test_a_training_that_diverges_stops_with_a_reason(tiny, examples, tmp_path):
    settings = SETTINGS.model_copy(update={"learning_rate": 1e30, "warmup_steps": 0})

    with pytest.raises(ModelError, match="not a finite number"):
        InstructBlip.load(str(tiny), device="cpu").fit(TrainingJob(examples, examples, ANSWERS, settings, 1, tmp_path))

    assert [] == list(tmp_path.glob("checkpoint-*"))


def test_loading_and_training_print_nothing_and_report_every_step(tiny, examples, tmp_path, capfd):
    told: list[tuple[str, int, int | None]] = []
    threads = torch.get_num_threads()

    trained(tiny, tmp_path, examples, progress=lambda *step: told.append(step))

    assert [("training", step, 9) for step in range(1, 10)] == told
    assert ("", "") == capfd.readouterr()
    assert threads == torch.get_num_threads()


# Choosing backend and device


def test_a_backend_is_found_by_name_or_by_its_module():
    assert InstructBlip is backend("instructblip")
    assert Inputs is backend("toolkit.models.inputs:Inputs")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet", "no such model backend: 'resnet'"),
        ("no.such.module:Model", "tried to import no.such.module:Model"),
        ("toolkit.models.device:Model", "has no class Model"),
    ],
)
def test_a_backend_that_is_not_there_is_named(name, message):
    with pytest.raises(ModelError, match=message):
        backend(name)


@pytest.mark.parametrize("missing", ["torch", "transformers"])
def test_without_the_model_libraries_the_extra_to_install_is_named(missing, monkeypatch):
    imported = [name for name in sys.modules if name.startswith("toolkit.models.") and not name.endswith(".backend")]
    for name in imported:  # they are imported anew, as in a new process; afterwards the first ones are back
        monkeypatch.setattr(name, sys.modules[name])
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)

    with pytest.raises(ModelError) as caught:
        backend("instructblip")

    assert f"{missing} is not installed" in str(caught.value)
    assert "install lesion-toolkit[model]" in str(caught.value)


def test_naming_a_backend_needs_neither_torch_nor_transformers():
    code = "import sys, toolkit.models.backend; print('torch' in sys.modules, 'transformers' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "False False" == done.stdout.strip()


def test_a_device_is_picked_by_flag_then_environment_then_what_is_there(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    there = [device for device in DEVICES if device == "cpu" or getattr(torch, device).is_available()]
    assert there[0] == pick_device()

    monkeypatch.setenv(VARIABLE, "cpu")
    assert "cpu" == pick_device()

    monkeypatch.setenv(VARIABLE, "abacus")
    assert "cpu" == pick_device("cpu")
    with pytest.raises(ModelError, match="no such device: 'abacus'"):
        pick_device()


def test_each_of_several_processes_has_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("LOCAL_RANK", "3")

    assert "cuda:3" == pick_device("cuda")
    assert "cpu" == pick_device("cpu")


def test_every_item_is_the_share_of_one_process(monkeypatch):
    shares = [Process(rank, 3).share(range(8)) for rank in range(3)]

    assert [[0, 3, 6], [1, 4, 7], [2, 5]] == shares
    assert Process(0, 1) == this_process()
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert Process(2, 3) == this_process()
    assert not this_process().is_first


def test_a_device_that_is_not_there_is_refused():
    absent = next(d for d in DEVICES if d != "cpu" and not getattr(torch, d).is_available())

    with pytest.raises(ModelError, match=f"no {absent} device"):
        pick_device(absent)
