import csv
import json

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from published import example
from sklearn import metrics as sk

from toolkit.stats import metrics


@st.composite
def scored(draw):
    classes = draw(st.integers(2, 5))
    cases = draw(st.integers(2, 40))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    truth = generator.integers(0, classes, cases)
    likely = generator.integers(1, draw(st.sampled_from([3, 1000])), (cases, classes)).astype(float)
    return truth, likely / likely.sum(axis=1, keepdims=True)


@settings(max_examples=60, deadline=None)
@given(scored())
def test_metrics_agree_with_scikit_learn(case):
    truth, probabilities = case
    classes = list(range(probabilities.shape[1]))
    predicted = probabilities.argmax(axis=1)
    decided = metrics.WeightedMetrics(truth, probabilities)
    ours = decided.per_class()
    theirs = sk.precision_recall_fscore_support(truth, predicted, labels=classes, zero_division=np.nan)

    for place, name in enumerate(("precision", "recall", "f1")):
        np.testing.assert_allclose(ours[name][0], theirs[place], atol=1e-12, rtol=0)
    np.testing.assert_array_equal(
        metrics.confusion(truth, predicted, len(classes)), sk.confusion_matrix(truth, predicted, labels=classes)
    )
    for k in classes:
        positive = truth == k
        if 0 < positive.sum() < len(truth):
            assert sk.roc_auc_score(positive, probabilities[:, k]) == pytest.approx(ours["roc_auc"][0, k], abs=1e-12)
            area = sk.average_precision_score(positive, probabilities[:, k])
            assert area == pytest.approx(ours["pr_auc"][0, k], abs=1e-12)
        else:
            assert np.isnan(ours["roc_auc"][0, k])


@settings(max_examples=50, deadline=None)
@given(scored(), st.integers(0, 1000))
def test_a_weight_counts_a_case_as_often_as_it_says(case, seed):
    truth, probabilities = case
    weights = np.random.default_rng(seed).integers(0, 3, len(truth))
    repeated = np.repeat(np.arange(len(truth)), weights)
    assume(len(repeated))
    once, copies = (
        metrics.WeightedMetrics(truth, probabilities),
        metrics.WeightedMetrics(truth[repeated], probabilities[repeated]),
    )
    of_cases = weights[None].astype(float)
    weighted, copied = once.per_class(of_cases), copies.per_class()
    weighted |= once.averages(weighted, of_cases)
    copied |= copies.averages(copied)

    assert set(weighted) == set(copied)
    for name, value in weighted.items():
        np.testing.assert_allclose(value, copied[name], err_msg=name, atol=1e-12, rtol=0)


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
    values = metrics.WeightedMetrics(truth, probabilities).per_class()

    np.testing.assert_allclose(values["recall"][0], [1, 0, np.nan])
    np.testing.assert_allclose(values["precision"][0], [2 / 3, np.nan, np.nan])
    np.testing.assert_allclose(values["f1"][0], [0.8, 0.0, np.nan])
    np.testing.assert_allclose(values["npv"][0], [np.nan, 2 / 3, 1])
    assert 0.5 == metrics.macro(values)["recall"][0]


def test_a_single_class_has_no_roc_auc():
    assert np.isnan(area_of([True, True], [0.1, 0.2]).roc[0])
    assert np.isnan(area_of([False, False], [0.1, 0.2]).pr[0])


def area_of(positive, score) -> metrics.Areas:
    return metrics.areas(metrics.rank(np.array(positive), np.array(score)))


def test_curves_have_the_areas_that_the_metrics_say():
    generator = np.random.default_rng(1)
    positive, score = generator.random(200) < 0.3, generator.integers(0, 20, 200) / 20
    roc, pr = metrics.roc_curve(positive, score), metrics.pr_curve(positive, score)

    assert area_of(positive, score).roc[0] == pytest.approx(np.trapezoid(roc.y, roc.x))
    assert area_of(positive, score).pr[0] == pytest.approx((np.diff(np.r_[0, pr.x]) * pr.y).sum())


@settings(max_examples=60, deadline=None)
@given(scored())
def test_averages_agree_with_scikit_learn(case):
    truth, probabilities = case
    classes = list(range(probabilities.shape[1]))
    predicted = probabilities.argmax(axis=1)
    weighted = metrics.WeightedMetrics(truth, probabilities)
    ours = weighted.averages(weighted.per_class())
    of_classes = sk.precision_recall_fscore_support(truth, predicted, labels=classes, zero_division=np.nan)

    for average in ("macro", "weighted", "micro"):
        theirs = sk.precision_recall_fscore_support(
            truth, predicted, labels=classes, average=average, zero_division=np.nan
        )
        for place, name in enumerate(("precision", "recall", "f1")):
            # where no class with cases has a precision, scikit-learn averages those without cases
            undefined = average == "weighted" and np.isnan(of_classes[place][of_classes[3] > 0]).all()
            expected = np.nan if undefined else theirs[place]
            assert expected == pytest.approx(ours[f"{average}_{name}"][0], abs=1e-12, nan_ok=True)
    one_hot = truth[:, None] == np.arange(len(classes))
    assert sk.roc_auc_score(one_hot.ravel(), probabilities.ravel()) == pytest.approx(
        ours["micro_roc_auc"][0], abs=1e-12
    )
    assert sk.average_precision_score(one_hot, probabilities, average="micro") == pytest.approx(
        ours["micro_pr_auc"][0], abs=1e-12
    )


def test_losses_agree_with_scikit_learn():
    generator = np.random.default_rng(2)
    truth, probabilities = generator.integers(0, 3, 60), generator.dirichlet([1, 1, 1], 60)
    found = metrics.losses(truth, probabilities)

    assert sk.log_loss(truth, probabilities) == pytest.approx(found["log_loss"].mean(), abs=1e-12)
    assert sk.brier_score_loss(truth, probabilities, scale_by_half=False, labels=[0, 1, 2]) == pytest.approx(
        found["brier"].mean(), abs=1e-12
    )


def test_the_published_macro_example_is_met():
    reference = example("scikit_learn")
    names = sorted(set(reference["data"]["y_true"]))
    truth = np.array([names.index(name) for name in reference["data"]["y_true"]])
    predicted = np.array([names.index(name) for name in reference["data"]["y_pred"]])
    decided = metrics.WeightedMetrics(truth, np.eye(3)[predicted])
    found = decided.averages(decided.per_class())
    two = {side: np.array(reference["data"]["bal"][side]) for side in ("y", "p")}
    balanced = metrics.macro(metrics.WeightedMetrics(two["y"], np.eye(2)[two["p"]]).per_class())["recall"][0]

    for average in ("macro", "micro", "weighted"):
        assert reference["expected"][average] == pytest.approx(
            [found[f"{average}_{name}"][0] for name in ("precision", "recall", "f1")],
            abs=reference["tolerance_abs"],
        )
    assert reference["expected"]["balanced_accuracy"] == balanced


NAMES = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")


@pytest.fixture
def isic(shared):
    folder = shared / "predictions" / "isic2018_task3"
    truth, scores = (
        np.loadtxt(folder / f"ISIC2018_Task3_{name}.csv", delimiter=",", skiprows=1, usecols=range(1, 8))
        for name in ("GroundTruth", "GroundTruth_prediction")
    )
    expected = json.loads((folder / "expected_isic-challenge-scoring_5.6.0.json").read_text())
    return truth.argmax(axis=1), scores, expected


def test_areas_and_balanced_accuracy_are_those_of_the_isic_2018_scorer(isic):
    truth, scores, expected = isic
    values = metrics.WeightedMetrics(truth, scores).per_class()

    for k, name in enumerate(NAMES):
        assert expected["per_category"]["auc"][name] == pytest.approx(values["roc_auc"][0, k], abs=1e-6)
        assert expected["per_category"]["ap"][name] == pytest.approx(values["pr_auc"][0, k], abs=1e-6)
    macro = metrics.macro(values)
    assert expected["macro_average"]["auc"] == pytest.approx(macro["roc_auc"][0], abs=1e-6)
    assert expected["macro_average"]["ap"] == pytest.approx(macro["pr_auc"][0], abs=1e-6)
    assert expected["aggregate"]["balanced_accuracy"] == pytest.approx(macro["recall"][0], abs=1e-12)


def test_rates_are_those_of_the_isic_2018_scorer_where_its_convention_is_chosen(isic):
    """The scorer flags every class from a score of 0.5 on, each by itself; ours is the most probable class."""
    truth, scores, expected = isic
    theirs = {"recall": "sensitivity", "specificity": "specificity", "precision": "ppv", "npv": "npv", "f1": "dice"}
    chosen, ours = {name: [] for name in theirs}, metrics.WeightedMetrics(truth, scores).per_class()
    for k, name in enumerate(NAMES):
        counts = metrics.pooled(metrics.outcomes(truth == k, scores[:, k] >= 0.5))
        for metric, value in metrics.rates(counts).items():
            assert expected["per_category"][theirs[metric]][name] == pytest.approx(float(value), abs=1e-12)
            chosen[metric].append(float(value))
    for metric, values in chosen.items():
        assert expected["macro_average"][theirs[metric]] == pytest.approx(np.mean(values), abs=1e-12)
        assert np.abs(np.array(values) - ours[metric][0]).max() > 1e-3


PAD = [
    ("orca", "baseline", "rf_baseline_model"),
    ("orca", "baseline", "lr_baseline_model"),
    ("orca", "extended", "lr"),
    ("orca", "extended", "svc"),
    ("orca", "extended", "mlp"),
]


@pytest.mark.parametrize(("project", "file", "model"), PAD)
def test_published_pad_figures_are_met_and_their_roc_auc_is_that_of_hard_labels(shared, project, file, model):
    folder = shared / "predictions" / "pad_binary"
    expected = json.loads((folder / f"{project}_results_{file}.json").read_text())[model]
    with (folder / f"{project}_probabilities_{file}.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    truth = np.array([row["y_true"] == "True" for row in rows])
    predicted = np.array([row[f"{model}_y_pred"] == "True" for row in rows])
    probability = np.array([float(row[f"{model}_y_proba"]) for row in rows])
    rates = metrics.rates(metrics.pooled(metrics.outcomes(truth, predicted)))
    hard, ours = area_of(truth, predicted.astype(float)).roc[0], area_of(truth, probability).roc[0]

    for metric in ("precision", "recall", "f1"):
        assert expected[metric] == pytest.approx(float(rates[metric]), abs=1e-12)
    assert expected["accuracy"] == pytest.approx((truth == predicted).mean(), abs=1e-12)
    assert expected["roc_auc"] == pytest.approx(hard, abs=1e-12)
    assert ours > hard + 0.01


@pytest.mark.parametrize("file", ["baseline", "extended", "open"])
def test_the_penguins_areas_are_those_of_scikit_learn(shared, file):
    """Nothing was published beside these files; "open" holds the same predictions as "baseline"."""
    with (shared / "predictions" / "pad_binary" / f"penguins_result_{file}.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    truth = np.array([row["label"] == "1" for row in rows])
    probability = np.array([float(row["probability"]) for row in rows])
    areas = area_of(truth, probability)

    assert (390, 223) == (len(rows), len({row["patient_id"] for row in rows}))
    assert sk.roc_auc_score(truth, probability) == pytest.approx(areas.roc[0], abs=1e-12)
    assert sk.average_precision_score(truth, probability) == pytest.approx(areas.pr[0], abs=1e-12)


@pytest.mark.parametrize("inside", [None, np.arange(40) % 3 > 0, np.zeros(40, dtype=bool)])
def test_matrices_sum_the_weights_of_their_cases(inside):
    rng = np.random.default_rng(4)
    truth, predicted = rng.integers(0, 3, (2, 40))
    weights = rng.integers(0, 4, (5, 40)).astype(float)
    own = slice(None) if inside is None else inside
    matrices = metrics.Matrices(truth, predicted, 4, inside)(weights)

    assert (5, 4, 4) == matrices.shape
    for weight, matrix in zip(weights, matrices, strict=True):
        theirs = np.zeros((4, 4))
        np.add.at(theirs, (truth[own], predicted[own]), weight[own])
        assert np.array_equal(theirs, matrix)


def reference_value(shared, name):
    return json.loads((shared / "reference_values" / f"{name}.json").read_text())


def test_average_precision_meets_the_printed_examples(shared):
    reference = reference_value(shared, "average_precision_docs")
    data, expected, tolerance = reference["data"], reference["expected"], reference["tolerance_abs"]
    for name in ("binary_sklearn", "binary_torchmetrics"):
        area = area_of(np.array(data[name]["y"]) == 1, np.array(data[name]["p"], dtype=float)).pr[0]
        assert expected[name] == pytest.approx(area, abs=tolerance)
    several = data["multiclass_sklearn"]
    values = metrics.WeightedMetrics(np.array(several["y"]), np.array(several["p"])).per_class()
    assert expected["multiclass_sklearn_macro"] == pytest.approx(metrics.macro(values)["pr_auc"][0], abs=tolerance)
    absent = data["multiclass_torchmetrics"]
    values = metrics.WeightedMetrics(np.array(absent["y"]), np.array(absent["p"])).per_class()
    theirs = [np.nan if area is None else area for area in expected["multiclass_torchmetrics"]["per_class"]]
    assert theirs == pytest.approx(values["pr_auc"][0], abs=tolerance, nan_ok=True)
    assert expected["multiclass_torchmetrics"]["macro"] == pytest.approx(metrics.macro(values)["pr_auc"][0])
    labels = data["multilabel_torchmetrics"]
    truth, score = np.array(labels["y"]) == 1, np.array(labels["p"])
    each = [area_of(truth[:, k], score[:, k]).pr[0] for k in range(3)]
    assert expected["multilabel_torchmetrics"]["per_label"] == pytest.approx(each, abs=tolerance)


def test_pr_auc_of_many_cases_meets_the_published_values(shared):
    two, four = (reference_value(shared, f"pr_auc_{name}") for name in ("two_class_example", "hpc_cv"))
    rows = np.loadtxt(shared / "reference_values" / two["data_file"], delimiter=",", skiprows=1)
    curve = metrics.pr_curve(rows[:, 0] == 1, rows[:, 1])
    areas = area_of(rows[:, 0] == 1, rows[:, 1])
    trapezoid = np.trapezoid(np.r_[1, curve.y], np.r_[0, curve.x])
    assert two["expected"]["average_precision"] == pytest.approx(areas.pr[0], abs=two["tolerance_abs"])
    assert two["recomputed"]["roc_auc"] == pytest.approx(areas.roc[0], abs=1e-12)
    assert two["expected"]["pr_auc_trapezoid"] == pytest.approx(trapezoid, abs=two["tolerance_abs"])

    names = four["data"]["classes"]
    with (shared / "reference_values" / four["data_file"]).open() as lines:
        cases = list(csv.DictReader(lines))
    truth = np.array([names.index(case["truth"]) for case in cases])
    decided = metrics.WeightedMetrics(truth, np.array([[float(case[name]) for name in names] for case in cases]))
    values = decided.per_class()
    averages = decided.averages(values)
    each = [four["recomputed"]["per_class"][name] for name in names]

    assert each == pytest.approx(values["pr_auc"][0], abs=1e-12)
    for average in ("macro", "weighted"):
        assert four["expected"][average] == pytest.approx(averages[f"{average}_pr_auc"][0], abs=four["tolerance_abs"])


def test_brier_scores_meet_the_published_ones(shared):
    murphy, rain = (reference_value(shared, f"brier_{name}") for name in ("murphy_two_values", "corp_niamey"))
    probability, occurred = (np.array(murphy["data"][side], dtype=float) for side in ("p", "y"))
    with (shared / "reference_values" / rain["data_file"]).open() as lines:
        days = list(csv.DictReader(lines))
    rained = np.array([int(day["obs"]) for day in days])

    assert murphy["expected"]["brier"] == pytest.approx(brier(probability, occurred.astype(int)), abs=1e-12)
    for method, parts in rain["recomputed"].items():
        score = brier(np.array([float(day[method]) for day in days]), rained)
        assert parts["score"] == pytest.approx(score, abs=1e-12)
    assert rain["expected"]["EMOS"]["score"] == pytest.approx(rain["recomputed"]["EMOS"]["score"], abs=5e-4)


def brier(probability, occurred) -> float:
    """Of one of two classes: half of the sum over both."""
    return float(metrics.losses(occurred, np.stack([1 - probability, probability], axis=1))["brier"].mean() / 2)
