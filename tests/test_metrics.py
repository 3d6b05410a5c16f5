import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from toolkit import metrics


@st.composite
def scored(draw):
    classes = draw(st.integers(2, 5))
    cases = draw(st.integers(2, 40))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    truth = generator.integers(0, classes, cases)
    likely = generator.integers(1, draw(st.sampled_from([3, 1000])), (cases, classes)).astype(float)
    return truth, likely / likely.sum(axis=1, keepdims=True)


@settings(max_examples=150, deadline=None)
@given(scored())
def test_metrics_agree_with_scikit_learn(case):
    truth, probabilities = case
    classes = list(range(probabilities.shape[1]))
    predicted = probabilities.argmax(axis=1)
    ours = metrics.per_class(truth, probabilities)
    theirs = sk.precision_recall_fscore_support(truth, predicted, labels=classes, zero_division=np.nan)

    np.testing.assert_allclose(ours["precision"][0], theirs[0])
    np.testing.assert_allclose(ours["recall"][0], theirs[1])
    np.testing.assert_allclose(ours["f1"][0], theirs[2])
    np.testing.assert_array_equal(
        metrics.confusion(truth, predicted, len(classes)), sk.confusion_matrix(truth, predicted, labels=classes)
    )
    for k in classes:
        positive = truth == k
        if 0 < positive.sum() < len(truth):
            assert sk.roc_auc_score(positive, probabilities[:, k]) == pytest.approx(ours["roc_auc"][0, k])
            assert sk.average_precision_score(positive, probabilities[:, k]) == pytest.approx(ours["pr_auc"][0, k])
        else:
            assert np.isnan(ours["roc_auc"][0, k])


@settings(max_examples=50, deadline=None)
@given(scored(), st.integers(0, 1000))
def test_a_weight_counts_a_case_as_often_as_it_says(case, seed):
    truth, probabilities = case
    weights = np.random.default_rng(seed).integers(0, 3, len(truth))
    repeated = np.repeat(np.arange(len(truth)), weights)
    if not len(repeated):
        return
    weighted = metrics.per_class(truth, probabilities, weights[None].astype(float))
    copied = metrics.per_class(truth[repeated], probabilities[repeated])

    for name in metrics.PER_CLASS:
        np.testing.assert_allclose(weighted[name], copied[name], err_msg=name)


@settings(max_examples=30, deadline=None)
@given(scored(), st.randoms(use_true_random=False))
def test_the_order_of_cases_changes_no_metric(case, random):
    truth, probabilities = case
    order = list(range(len(truth)))
    random.shuffle(order)

    np.testing.assert_equal(
        metrics.macro_metrics(truth[order], probabilities[order]),
        pytest.approx(metrics.macro_metrics(truth, probabilities), nan_ok=True),
    )


def test_undefined_is_nan_and_left_out_of_macro_averages():
    truth = np.array([0, 0, 1])
    probabilities = np.array([[0.9, 0.1, 0.0], [0.8, 0.2, 0.0], [0.7, 0.3, 0.0]])
    values = metrics.per_class(truth, probabilities)

    np.testing.assert_allclose(values["recall"][0], [1, 0, np.nan])
    np.testing.assert_allclose(values["precision"][0], [2 / 3, np.nan, np.nan])
    np.testing.assert_allclose(values["f1"][0], [0.8, 0.0, np.nan])
    np.testing.assert_allclose(values["npv"][0], [np.nan, 2 / 3, 1])
    assert 0.5 == metrics.over_classes(values)["macro_recall"][0]


def test_a_single_class_has_no_roc_auc():
    assert np.isnan(metrics.roc_auc(np.array([True, True]), np.array([0.1, 0.2]))[0])
    assert np.isnan(metrics.pr_auc(np.array([False, False]), np.array([0.1, 0.2]))[0])


def test_curves_have_the_areas_that_the_metrics_say():
    generator = np.random.default_rng(1)
    positive, score = generator.random(200) < 0.3, generator.integers(0, 20, 200) / 20
    roc, pr = metrics.roc_curve(positive, score), metrics.pr_curve(positive, score)

    assert metrics.roc_auc(positive, score)[0] == pytest.approx(np.trapezoid(roc.y, roc.x))
    assert metrics.pr_auc(positive, score)[0] == pytest.approx((np.diff(np.r_[0, pr.x]) * pr.y).sum())


def test_the_published_macro_example_is_met(shared):
    reference = json.loads((shared / "reference_values" / "sklearn_macro_micro.json").read_text())
    names = sorted(set(reference["data"]["y_true"]))
    truth = np.array([names.index(name) for name in reference["data"]["y_true"]])
    predicted = np.array([names.index(name) for name in reference["data"]["y_pred"]])
    values = metrics.one_against_rest(metrics.confusion(truth, predicted, 3))

    assert reference["expected"]["macro"] == pytest.approx(
        [values[name].mean() for name in ("precision", "recall", "f1")]
    )


def test_published_metrics_of_isic_2018_are_met(shared):
    folder = shared / "predictions" / "isic2018_task3"
    expected = json.loads((folder / "expected_isic-challenge-scoring_5.6.0.json").read_text())["per_category"]
    truth = np.loadtxt(folder / "ISIC2018_Task3_GroundTruth.csv", delimiter=",", skiprows=1, usecols=range(1, 8))
    said = np.loadtxt(
        folder / "ISIC2018_Task3_GroundTruth_prediction.csv", delimiter=",", skiprows=1, usecols=range(1, 8)
    )
    values = metrics.per_class(truth.argmax(axis=1), said)

    for k, name in enumerate(("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")):
        assert expected["auc"][name] == pytest.approx(values["roc_auc"][0, k], abs=1e-6)
        assert expected["ap"][name] == pytest.approx(values["pr_auc"][0, k], abs=1e-6)
