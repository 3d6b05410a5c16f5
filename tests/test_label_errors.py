"""The probability that a label is wrong, by cases small enough to reason about, and out of fold by group."""

import numpy as np
import pytest

from toolkit.models import plain
from toolkit.stats.label_errors import Evidence, Weights, label_errors


def evidence(model, given, *, lesion=None, patient=None, readings=None):
    """Return evidence of N cases, each read once by annotator 0 unless `readings` (case, annotator, said) says more."""
    given = np.array(given)
    own = np.arange(len(given))
    case, annotator, said = np.array(readings).T if readings else (own, 0 * own, given)
    return Evidence(
        np.array(model, dtype=float)[None] if np.ndim(model) == 2 else np.array(model, dtype=float),
        given,
        own if lesion is None else np.array(lesion),
        own if patient is None else np.array(patient),
        case,
        annotator,
        said,
    )


def many(*rows, times=10):
    """Return ordinary cases of two classes, on which model and label agree, before the rows of interest."""
    return [[0.9, 0.1], [0.1, 0.9]] * times + list(rows), [0, 1] * times


def test_the_label_that_the_model_contradicts_is_the_most_probable_error():
    model, given = many([0.05, 0.95], [0.6, 0.4])
    wrong = label_errors(evidence(model, [*given, 0, 0])).wrong(np.array([*given, 0, 0]))

    assert 20 == wrong.argmax()
    assert wrong[20] > 0.3 > wrong[21] > wrong[0]


def test_a_second_annotator_who_contradicts_makes_an_error_more_probable_and_one_who_agrees_less():
    model, given = many([0.4, 0.6], [0.4, 0.6], [0.4, 0.6])
    given = [*given, 0, 0, 0]
    once = [(n, 0, c) for n, c in enumerate(given)]
    wrong = label_errors(evidence(model, given, readings=[*once, (21, 1, 1), (22, 1, 0)])).wrong(np.array(given))

    assert wrong[21] > wrong[20] > wrong[22]


def test_another_photograph_of_the_lesion_with_another_class_makes_an_error_more_probable():
    model, given = many([0.4, 0.6], [0.4, 0.6], [0.3, 0.7])
    given = [*given, 0, 0, 1]
    alone = label_errors(evidence(model, given)).wrong(np.array(given))
    readings = [(n, n % 3, c) for n, c in enumerate(given)]
    lesion = [*range(21), 21, 21]
    together = label_errors(evidence(model, given, lesion=lesion, readings=readings)).wrong(np.array(given))

    assert together[21] > together[20]
    assert together[21] > alone[21]


def test_who_repeats_a_class_on_ten_photographs_of_one_lesion_has_said_it_once():
    model, given = many(*[[0.1, 0.9]] * 10)
    given = [*given, *[0] * 10]
    lesion = [*range(20), *[20] * 10]
    readings = [(n, 0, c) for n, c in enumerate(given)]
    wrong = label_errors(evidence(model, given, lesion=lesion, readings=readings)).wrong(np.array(given))

    assert wrong[20:].min() > 0.3
    assert wrong[:20].max() < wrong[20:].min()


def test_other_lesions_of_the_patient_count_only_where_somebody_else_read_them():
    model, given = many([0.5, 0.5], [0.1, 0.9], times=20)
    given = [*given, 0, 1]
    patient = [*np.repeat(np.arange(10), 4), 10, 10]
    # Patients' lesions are alike: four of each patient have one class.
    given[:40] = [c for n in range(10) for c in [n % 2] * 4]
    model[:40] = [[0.9, 0.1] if c == 0 else [0.1, 0.9] for c in given[:40]]

    def of_the_first(annotator):
        readings = [(n, n % 2, c) for n, c in enumerate(given[:40])] + [(40, 0, 0), (41, annotator, 1)]
        return label_errors(evidence(model, given, patient=patient, readings=readings)).wrong(np.array(given))[40]

    assert of_the_first(1) > of_the_first(0)


def test_an_annotator_who_is_often_contradicted_is_estimated_to_err_more_often():
    rng = np.random.default_rng(1)
    truth = rng.integers(2, size=200)
    model = np.where(np.arange(2) == truth[:, None], 0.95, 0.05)
    annotator = np.arange(200) % 2
    careless = (annotator == 1) & (rng.uniform(size=200) < 0.3)
    said = np.where(careless, 1 - truth, truth)
    readings = list(zip(range(200), annotator.tolist(), said.tolist(), strict=True))
    found = label_errors(evidence(model, said, readings=readings))

    assert found.error[0] < 0.03
    assert found.error[1] == pytest.approx(careless[annotator == 1].mean(), abs=0.06)


def test_scores_are_probabilities_that_add_up_to_the_number_of_errors():
    rng = np.random.default_rng(2)
    truth = rng.integers(3, size=600)
    seen = rng.normal(0, 1, (600, 3)) + 2.0 * np.eye(3)[truth]
    # The chances of the classes given what is seen: normal densities of equal spread.
    model = np.exp(2.0 * seen)
    model /= model.sum(axis=1, keepdims=True)
    is_wrong = rng.uniform(size=600) < 0.08
    said = np.where(is_wrong, (truth + rng.integers(1, 3, 600)) % 3, truth)
    wrong = label_errors(evidence(model, said)).wrong(said)

    assert wrong.sum() == pytest.approx(is_wrong.sum(), rel=0.35)
    assert is_wrong[np.argsort(-wrong)[:20]].mean() > 0.75


def test_the_order_of_cases_changes_nothing():
    rng = np.random.default_rng(3)
    model = rng.dirichlet(np.ones(3), 40)
    given, order = rng.integers(3, size=40), rng.permutation(40)
    one = label_errors(evidence(model, given)).wrong(given)
    other = label_errors(evidence(model[order], given[order])).wrong(given[order])

    assert np.allclose(one[order], other)


def test_no_case_and_one_class_are_no_error():
    assert (0,) == label_errors(evidence(np.zeros((0, 2)), np.zeros(0, int))).wrong(np.zeros(0, int)).shape
    assert [0.0] * 3 == label_errors(evidence([[1.0]] * 3, [0] * 3), Weights()).wrong(np.zeros(3, int)).tolist()


def cohort(patients=40, classes=4):
    """Return simulated features, labels, patients, and which labels are wrong: on all photographs of three patients.

    Half of the features say which class it is, half who it is, as skin and camera do.
    """
    rng = np.random.default_rng(1)
    patient = np.repeat(np.arange(patients), rng.integers(5, 21, patients))
    truth = rng.integers(classes, size=patients)
    looks, own = rng.normal(0, 1.2, (classes, 8)), rng.normal(0, 1.0, (patients, 16))
    of_class = looks[truth[patient]] + rng.normal(0, 0.7, (len(patient), 8))
    features = np.hstack([of_class, own[patient] + rng.normal(0, 0.3, (len(patient), 16))])
    is_wrong = np.zeros(patients, dtype=bool)
    is_wrong[rng.choice(patients, 3, replace=False)] = True
    said = np.where(is_wrong, (truth + rng.integers(1, classes, patients)) % classes, truth)
    return features, said[patient], patient, is_wrong[patient]


@pytest.mark.soak
def test_out_of_fold_by_group_finds_wrong_labels_that_out_of_fold_by_case_learns_by_heart():
    features, said, patient, wrong = cohort()
    found = {}
    for name, groups in (("group", patient), ("case", np.arange(len(said)))):
        chances = plain.out_of_fold(features, said, groups, classes=4, seed=1)
        first = np.argsort(chances[np.arange(len(said)), said], kind="stable")[: wrong.sum()]
        found[name] = int(wrong[first].sum())

    assert found["group"] >= 0.6 * wrong.sum()
    assert found["case"] <= 0.8 * found["group"]


@pytest.mark.soak
def test_probabilities_are_the_same_twice():
    features, said, patient, _ = cohort()
    one, other = (plain.out_of_fold(features, said, patient, classes=4, seed=1) for _ in range(2))

    assert np.array_equal(one, other)


def test_few_cases_one_group_and_one_class_get_no_probabilities():
    features, said, patient, _ = cohort()

    assert np.isnan(plain.out_of_fold(features[:20], said[:20], patient[:20], classes=4, seed=1)).all()
    assert np.isnan(plain.out_of_fold(features, said, 0 * patient, classes=4, seed=1)).all()
    assert np.isnan(plain.out_of_fold(features, 0 * said, patient, classes=4, seed=1)).all()


def test_a_second_model_counts_by_what_it_knows_beyond_the_first():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 400)
    given = np.where(rng.random(400) < 0.08, 1 - truth, truth)

    def model(strength, noise):
        right = strength + rng.normal(0, noise, 400)
        chance = 1 / (1 + np.exp(-right))
        return np.stack([np.where(truth == 0, chance, 1 - chance), np.where(truth == 1, chance, 1 - chance)], axis=1)

    def found(*models):
        errors = label_errors(evidence(np.stack(models), given))
        first = np.argsort(-errors.wrong(given), kind="stable")[:40]
        return int((given != truth)[first].sum()), errors

    one, other, useless = model(1.5, 1.5), model(1.5, 1.5), rng.dirichlet([1, 1], 400)
    alone, _ = found(one)
    both, _ = found(one, other)
    with_useless, errors = found(one, useless)
    twice, same = found(one, one)

    assert both > alone
    assert with_useless >= alone - 1
    assert errors.temperatures[1] > 4 * errors.temperatures[0]
    assert abs(twice - alone) <= 1
    # The same model twice says no more than once.
    once = label_errors(evidence(one, given)).wrong(given)
    np.testing.assert_allclose(once, same.wrong(given), atol=0.1)


def test_a_case_that_only_one_model_knows_is_judged_by_that_one():
    model, given = many([0.05, 0.95], [0.05, 0.95])
    second = np.full((22, 2), np.nan)
    given = [*given, 0, 1]
    wrong = label_errors(evidence(np.stack([np.array(model), second]), given)).wrong(np.array(given))

    np.testing.assert_allclose(label_errors(evidence(model, given)).wrong(np.array(given)), wrong, atol=0.05)
