"""The sentences of "Methods": each is true of what a run recorded, and none of what today's study file says."""

import shutil
from dataclasses import replace

import pytest
from registries import a_record

from toolkit.stages.evaluate import evaluate
from toolkit.stages.predict import predict
from toolkit.stages.report.facts import Boxes, gather
from toolkit.stages.report.methods import methods
from toolkit.stages.report.sharing import shared
from toolkit.workspace.runs import PredictedPart, RunRecord, predicted_parts


@pytest.fixture(scope="module")
def facts(finished):
    return gather(finished.workspace, finished.study_file.study, finished.run_id)


def text_of(facts, heading: str) -> str:
    return {paragraph.heading: paragraph.text for paragraph in methods(facts)}[heading]


def trained(facts, *, epochs=None, **keys):
    """Return the facts of a run that was trained with other settings."""
    record = facts.record
    study = {**record.study, "train": {**record.study["train"], **keys}}
    return replace(facts, record=record.model_copy(update={"study": study, "epochs": epochs or record.epochs}))


def modelled(facts, **keys):
    return replace(facts, record=facts.record.model_copy(update={"model": facts.record.model.model_copy(update=keys)}))


def test_nothing_is_left_unsaid_of_a_finished_run(facts):
    texts = [paragraph.text for paragraph in methods(facts)]

    assert not [text for text in texts if "–" in text.replace("shown as –", "") or "not recorded" in text]
    assert "  " not in "".join(texts)


def test_a_step_takes_batch_times_accumulation_times_processes(facts):
    many = replace(trained(facts, batch_size=4, accumulate=3), run=facts.run)
    many = replace(many, record=many.record.model_copy(update={"processes": 2}))
    unknown = replace(many, record=many.record.model_copy(update={"processes": None}))

    assert "batch size 8, 8 cases a step (8 × 1 batch × 1 process)" in text_of(facts, "Training")
    assert "batch size 4, 24 cases a step (4 × 3 batches × 2 processes)" in text_of(many, "Training")
    assert "batch size 4, 3 batches a step in each process" in text_of(unknown, "Training")


def test_the_epoch_that_was_kept_is_named_and_why_training_ended(facts):
    epochs = [e.model_copy(update={"kept": e.epoch == 2}) for e in facts.record.epochs[:4]]
    early = replace(trained(facts, epochs=epochs, best="macro_recall", patience=2), run={**facts.run, "epochs": 4})
    by_loss = trained(facts, epochs=epochs, best="validation_loss", patience=None)

    assert "The weights of the last epoch were kept." in text_of(facts, "Training")
    assert "4 epochs on" in text_of(early, "Training")
    assert ", of 5 at most: it stopped after 2 epochs without a better one;" in text_of(early, "Training")
    assert (
        "weights of epoch 2, the one with the best macro recall (sensitivity) on the validation set, were"
        in text_of(early, "Training")
    )
    assert "weights of epoch 2, the one with the lowest loss on the validation set, were" in text_of(
        by_loss, "Training"
    )
    assert "at most" not in text_of(by_loss, "Training")


@pytest.mark.parametrize(
    ("balance", "sentence"),
    [
        ("none", "not balanced"),
        ("sampling", "drawn equally often"),
        ("weights", "weighted against the size of its class"),
    ],
)
def test_optimiser_clipping_and_balance_are_said(facts, balance, sentence):
    text = text_of(trained(facts, balance=balance, max_grad_norm=0.5), "Training")

    assert sentence in text
    assert "AdamW, learning rate" in text
    assert "gradients clipped at norm 0.5" in text
    assert "gradients clipped at norm 1," in text_of(facts, "Training")


def test_nothing_is_said_of_an_optimiser_that_a_backend_of_ones_own_chose(facts):
    text = text_of(modelled(facts, backend="mine:Model"), "Training")

    assert "AdamW" not in text
    assert "clipped" not in text


@pytest.mark.parametrize(
    ("mode", "sentence"),
    [
        ("full", "of its 653"),
        ("language_model", "Its language model was trained: 9 of 653"),
        ("qformer", "Its Q-Former was trained, with its queries and projection: 9 of 653"),
        ("lora", "language model were trained, with rank 16, alpha 32 and dropout 0.0: 9 of 653"),
    ],
)
def test_what_was_trained_is_said_by_mode(facts, mode, sentence):
    of_mode = modelled(facts, mode=mode, trainable_parameters=9, parameters=653_000)

    assert sentence in text_of(of_mode, "Model")


def asked(facts, user: str, **predicted):
    study = {**facts.record.study, "prompt": {"user": user}}
    made = facts.made.model_copy(update=predicted)
    return replace(facts, record=facts.record.model_copy(update={"study": study}), made=made)


def test_a_prompt_is_said_with_its_metadata_fields(facts):
    with_age = asked(facts, "What is it? [The patient is {age} years old.]", values_left_out=3)
    blank = replace(with_age, record=with_age.record.model_copy(update={"control": "blank", "control_of": "a" * 8}))

    assert "“USER: What is it? [The patient is {age} years old.] ASSISTANT:”" in text_of(with_age, "Prompt")
    assert "metadata field (age)" in text_of(with_age, "Prompt")
    assert "3 values that name a class were left out" in text_of(with_age, "Prompt")
    assert "“USER: What is it? ASSISTANT:”" == text_of(blank, "Prompt")
    assert "metadata" not in text_of(facts, "Prompt")


def test_a_classifier_gets_no_prompt_and_gives_no_answers(facts):
    classifier = modelled(facts, backend="image-classification", mode="full")

    assert "The model is an image classifier and gets no prompt." == text_of(classifier, "Prompt")
    assert "likelihood of each class's whole answer" not in text_of(classifier, "Probabilities")
    assert "preferred other answers" not in text_of(classifier, "Probabilities")


def test_further_answers_and_views_are_those_of_the_prediction(facts):
    answers = [("nevus", "nevus"), ("mole", "nevus"), ("melanoma", "malignant_melanoma"), ("wart", None)]
    made = PredictedPart(views=8, generate=False, answers=answers)
    text = text_of(replace(facts, made=made), "Probabilities")

    assert "(“nevus”, “mole”, “melanoma”, “wart”)" in text
    assert "several answers of a class are added: nevus is “nevus” or “mole”." in text
    assert "none of the classes here: “wart”." in text
    assert "eight orientations of a square" in text
    assert "orientations" not in text_of(facts, "Probabilities")


@pytest.mark.soak
def test_how_a_part_was_predicted_is_noted_and_a_later_change_of_the_study_is_told(finished, copied):
    """A study's views may change after training: the run's record says how it was trained, not how it was predicted."""
    study = finished.study_file.study
    eight = study.model_copy(update={"predict": study.predict.model_copy(update={"views": 8})})
    shutil.rmtree(copied.run(finished.run_id) / "predictions")
    predict(copied, eight, parts=("test",))
    evaluate(copied, study)
    noted = predicted_parts(copied, finished.run_id)

    assert {"test": 8, "validation": 1} == {part: made.views for part, made in noted.items()}
    assert study.answers == [text for text, _ in noted["test"].answers]
    assert "eight orientations" in text_of(gather(copied, study, finished.run_id), "Probabilities")


def test_the_roi_is_the_annotators_box_in_the_test_set_too(finished, facts):
    row = finished.workspace.rows(
        "select count(*) as n, count(roi_width) as drawn from scored join cases using (case_id) "
        f"where part = 'test' and run_id = '{finished.run_id}'"
    )[0]
    text = text_of(facts, "Photographs")

    assert "the box that annotators drew, in the test set too" in text
    assert "conditional on a person having located the lesion" in text
    assert f"{row['drawn']} cases of {row['n']} have a ROI" in text
    few = replace(facts, boxes={"test": Boxes(40, 38, (30, 2))})
    assert "have a ROI" not in text_of(shared(few), "Photographs")


@pytest.mark.soak
def test_the_seed_of_the_bootstrap_is_that_of_the_scoring(finished, copied):
    study = finished.study_file.study
    other = study.model_copy(update={"study": study.study.model_copy(update={"seed": 99})})
    evaluate(copied, other)
    facts = gather(copied, study, finished.run_id)

    assert "permutations have the seed 99." in text_of(facts, "Metrics and intervals")
    assert "not recorded" in text_of(replace(facts, bootstrap_seed=None), "Metrics and intervals")


def test_folds_and_kept_splits_are_said(facts):
    stated = {**facts.certificate, "fold": {"fold": 2, "of": 5}, "frozen": {"split_id": "abcd0001"}}
    text = text_of(replace(facts, certificate=stated), "Split")

    assert "fold 2 of 5 of a cross-validation" in text
    assert "earlier split abcd0001 stayed" in text
    assert "60%, 20% and 20% of the cases" in text_of(facts, "Split")


def test_a_bare_record_gives_sentences_without_inventing(facts):
    bare = replace(facts, record=RunRecord.model_validate(a_record()), certificate={}, made=None, ingest={}, boxes={})
    texts = {paragraph.heading: paragraph.text for paragraph in methods(bare)}

    assert "The prompt was not recorded." == texts["Prompt"]
    assert "AdamW" not in texts["Training"]
    assert "stopped" not in texts["Training"]


def test_without_patients_the_photograph_is_the_unit(facts):
    without = replace(facts, label_state={**facts.label_state, "patient_from": "none"})

    assert "take the photograph as the unit" in text_of(without, "Metrics and intervals")


def test_keys_that_came_later_have_their_sentence(facts):
    padded = {**facts.record.study, "model": {**facts.record.study["model"], "roi_shape": "pad"}}
    update = {"study": padded, "seed": 8, "replicate_of": "abcd0001"}
    again = replace(facts, record=facts.record.model_copy(update=update))

    assert "gradients not clipped" in text_of(trained(facts, max_grad_norm=0), "Training")
    assert "pixels, whatever its shape." in text_of(facts, "Photographs")
    assert "extended to a square by what surrounds it, scaled to" in text_of(again, "Photographs")
    assert "seed 8. It repeats run abcd0001 with another seed." in text_of(again, "Training")
