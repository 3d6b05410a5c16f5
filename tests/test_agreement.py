import numpy as np
import pytest
from published import example
from sklearn.metrics import cohen_kappa_score

from toolkit.stats import agreement


@pytest.mark.parametrize(("name", "linear"), [("simple", False), ("weighted_linear", True)])
def test_the_published_kappas_of_sas_are_met(name, linear):
    published = example("cohen_sas")
    weights = agreement.linear_weights(3) if linear else None
    kappa = agreement.cohen(np.array(published["data"]["table"]), weights=weights)

    assert published["expected"][name]["kappa"] == pytest.approx(float(kappa), abs=published["tolerance_abs"])


def test_cohens_kappa_is_that_of_scikit_learn():
    found = example("scikit_learn")["data"]["ck"]
    names = sorted({*found["a"], *found["b"]})
    table = np.zeros((3, 3))
    for first, second in zip(found["a"], found["b"], strict=True):
        table[names.index(first), names.index(second)] += 1

    assert example("scikit_learn")["expected"]["cohen"] == pytest.approx(float(agreement.cohen(table)))
    generator = np.random.default_rng(2)
    for _ in range(20):
        first, second = generator.integers(0, 4, (2, 30))
        table = np.bincount(first * 4 + second, minlength=16).reshape(4, 4)
        for weights in (None, "linear"):
            ours = agreement.cohen(table, weights=agreement.linear_weights(4) if weights else None)
            theirs = cohen_kappa_score(first, second, labels=[0, 1, 2, 3], weights=weights)

            assert theirs == pytest.approx(float(ours), abs=1e-12)


def test_the_published_fleiss_kappas_are_cohens_of_the_coincidences():
    published = example("fleiss_1971")
    codes = np.array(published["data"]["subjects_x_raters"]) - 1
    table = agreement.coincidences((codes[:, :, None] == np.arange(5)).sum(axis=1)).sum(axis=0)
    by_class = [agreement.cohen(one_against_the_rest(table, k)) for k in range(5)]

    expected, tolerance = published["expected"], published["tolerance_abs"]
    assert expected["kappa"] == pytest.approx(float(agreement.cohen(table)), abs=tolerance)
    assert expected["categorywise_kappa_3dp"] == pytest.approx([float(kappa) for kappa in by_class], abs=6e-4)
    for name in "ab":
        published = example("randolph")
        table = agreement.coincidences(np.array(published["data"][name])).sum(axis=0)

        assert published["expected"][name]["fleiss"] == pytest.approx(float(agreement.cohen(table)), abs=tolerance)


def one_against_the_rest(table, k):
    both, first, second = table[k, k], table[k].sum(), table[:, k].sum()
    return np.array([[both, first - both], [second - both, table.sum() - first - second + both]])


def test_the_published_alpha_with_missing_answers_is_met():
    found = example("krippendorff_2011")
    readers = found["data"]["raters_x_units"]
    counts = np.array([[sum(r[unit] == code for r in readers) for code in range(1, 6)] for unit in range(12)])
    alpha = agreement.krippendorff(agreement.coincidences(counts).sum(axis=0))

    assert found["expected"]["nominal"] == pytest.approx(float(alpha), abs=found["tolerance_abs"])


def test_ordered_answers_that_are_near_agree_more_than_distant_ones():
    near, far = np.zeros((2, 40, 4))
    near[:20, 0] = near[:20, 1] = near[20:, 2] = near[20:, 3] = 1
    far[:20, 0] = far[:20, 3] = far[20:, 1] = far[20:, 2] = 1
    alpha = [
        float(agreement.krippendorff(agreement.coincidences(counts).sum(axis=0), level="ordinal"))
        for counts in (near, far)
    ]

    assert alpha[0] > 0.5
    assert alpha[1] < 0


def test_agreement_without_any_variety_is_undefined():
    assert np.isnan(agreement.cohen(np.diag([5.0, 0.0])))
    assert np.isnan(agreement.krippendorff(np.diag([5.0, 0.0])))
