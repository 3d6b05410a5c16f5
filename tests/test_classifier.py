from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

from toolkit.errors import ModelError
from toolkit.manifest.model import TrainSection
from toolkit.models import backend
from toolkit.models.backend import Examples, TrainingJob
from toolkit.models.budget import check_budget
from toolkit.models.checkpoint import Checkpoint, write_checkpoint
from toolkit.models.classifier import ImageClassifier

ANSWERS = ["nevus", "melasma"]
SETTINGS = TrainSection(epochs=6, learning_rate=1e-2, batch_size=8, threads=1)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    ImageClassifier.build_tiny(folder, [], seed=3)
    return folder


@pytest.fixture(scope="module")
def examples() -> Examples:
    """Dark photographs of one class, light ones of the other."""
    generator = np.random.default_rng(5)
    classes = np.arange(32) % 2
    photographs = generator.integers(0, 100, (32, 64, 64, 3)) + 120 * classes[:, None, None, None]
    return Examples(photographs.astype(np.uint8), ["?"] * 32, classes)


@pytest.fixture(scope="module")
def trained(tiny, examples, tmp_path_factory):
    model = ImageClassifier.load(str(tiny), device="cpu")
    folder = tmp_path_factory.mktemp("training")
    epochs = model.fit(TrainingJob(examples, examples, ANSWERS, SETTINGS, 1, folder))
    return model, epochs


def test_a_classifier_learns_and_is_read_again_as_it_was(trained, examples, tmp_path):
    model, epochs = trained
    model.save(tmp_path / "checkpoint")

    again = ImageClassifier.load(str(tmp_path / "checkpoint"), device="cpu")

    expected = model.log_likelihoods(np.asarray(examples.photographs), examples.prompts, ANSWERS)
    np.testing.assert_array_equal(
        expected, again.log_likelihoods(np.asarray(examples.photographs), examples.prompts, ANSWERS)
    )
    np.testing.assert_array_equal(examples.classes, expected.argmax(axis=1))
    assert 1.0 == epochs[-1].metrics["macro_roc_auc"]
    assert 64 == again.input_size


def test_probabilities_of_the_labels_add_up_to_one_and_a_strange_answer_has_none(trained, examples):
    model, _ = trained
    photographs = np.asarray(examples.photographs[:3])

    found = np.exp(model.log_likelihoods(photographs, ["?"] * 3, [*ANSWERS, "a stranger"]))

    np.testing.assert_allclose(found[:, :2].sum(axis=1), 1)
    assert not found[:, 2].any()
    assert ["nevus", "melasma", "nevus"] == model.generate(photographs, ["?"] * 3)
    assert [1, 1] == model.answer_lengths(ANSWERS)


def test_the_same_seed_trains_the_same_classifier(tiny, trained, examples, tmp_path):
    again = ImageClassifier.load(str(tiny), device="cpu")
    again.fit(TrainingJob(examples, examples, ANSWERS, SETTINGS, 1, tmp_path))

    pairs = zip(trained[0].model.state_dict().values(), again.model.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_it_is_found_by_its_name_and_trained_whole_only(tiny):
    found = ImageClassifier.budgets(str(tiny), lora=SETTINGS.lora)

    assert ImageClassifier is backend("image-classification")
    assert ["full"] == [budget.mode for budget in found]
    with pytest.raises(ModelError, match="its modes are: full"):
        check_budget(found, mode="lora", dtype="float32", device="cpu", memory=10**12)
    with pytest.raises(ModelError, match="trained whole"):
        ImageClassifier.load(str(tiny), device="cpu", mode="lora")


def test_what_is_no_classifier_is_named(tmp_path):
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")

    with pytest.raises(ModelError, match="cannot be read"):
        ImageClassifier.load(str(tmp_path), device="cpu")
    with pytest.raises(ModelError, match="no such checkpoint folder"):
        ImageClassifier.load("not a name", device="cpu")


@pytest.mark.soak
@pytest.mark.parametrize("balance", ["none", "weights"])
def test_a_step_is_the_same_in_however_many_batches_its_cases_come(examples, tmp_path, balance):
    # Without batch normalisation, which takes its means within a batch.
    config = ViTConfig(image_size=64, patch_size=16, hidden_size=32, num_hidden_layers=2, intermediate_size=64)
    config.num_attention_heads, config.num_labels = 2, 2
    torch.manual_seed(4)
    processor = ViTImageProcessorPil(size={"height": 64, "width": 64})
    write_checkpoint(tmp_path / "vit", Checkpoint(ViTForImageClassification(config), processor))
    uneven = Examples(np.asarray(examples.photographs)[:9], ["?"] * 9, np.array([0, 1, 0, 0, 0, 1, 0, 0, 0]))
    scores, losses = [], []
    for size, accumulate in [(9, 1), (2, 5), (1, 9)]:
        model = ImageClassifier.load(str(tmp_path / "vit"), device="cpu")
        settings = TrainSection(
            epochs=2, learning_rate=1e-3, batch_size=size, accumulate=accumulate, balance=balance, threads=1
        )
        epochs = model.fit(TrainingJob(uneven, uneven, ANSWERS, settings, 1, tmp_path / f"{size}"))
        losses.append([epoch.train_loss for epoch in epochs])
        scores.append(model.log_likelihoods(np.asarray(uneven.photographs), uneven.prompts, ANSWERS))

    for other in (1, 2):
        assert losses[0] == pytest.approx(losses[other], rel=1e-3)
        np.testing.assert_allclose(scores[0], scores[other], rtol=1e-2)
