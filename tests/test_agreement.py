import numpy as np
import pytest
from published import published
from sklearn.metrics import cohen_kappa_score

from toolkit.stats import agreement


@pytest.mark.parametrize(("name", "linear"), [("simple", False), ("weighted_linear", True)])
def test_the_published_kappas_of_sas_are_met(name, linear):
    found = published("cohen_sas")
    weights = agreement.linear_weights(3) if linear else None
    kappa = agreement.cohen_with_error(np.array(found["data"]["table"]), confidence=0.95, weights=weights)
    expected = found["expected"][name]
    told = [expected[key] for key in ("kappa", "ase", "lo", "hi", "z")]

    assert told == pytest.approx([kappa.value, kappa.error, *kappa.interval, kappa.z], abs=found["tolerance_abs"])


def test_cohens_kappa_is_that_of_scikit_learn():
    found = published("scikit_learn")["data"]["ck"]
    names = sorted({*found["a"], *found["b"]})
    table = np.zeros((3, 3))
    for first, second in zip(found["a"], found["b"], strict=True):
        table[names.index(first), names.index(second)] += 1

    assert published("scikit_learn")["expected"]["cohen"] == pytest.approx(float(agreement.cohen(table)))
    generator = np.random.default_rng(2)
    for _ in range(20):
        first, second = generator.integers(0, 4, (2, 30))
        table = np.bincount(first * 4 + second, minlength=16).reshape(4, 4)
        for weights in (None, "linear"):
            ours = agreement.cohen(table, weights=agreement.linear_weights(4) if weights else None)
            theirs = cohen_kappa_score(first, second, labels=[0, 1, 2, 3], weights=weights)

            assert theirs == pytest.approx(float(ours), abs=1e-12)


def test_the_published_fleiss_kappa_is_met():
    found = published("fleiss_1971")
    codes = np.array(found["data"]["subjects_x_raters"]) - 1
    counts = (codes[:, :, None] == np.arange(5)).sum(axis=1)

    assert found["expected"]["kappa"] == pytest.approx(agreement.fleiss(counts), abs=found["tolerance_abs"])
    assert found["expected"]["z"] == pytest.approx(agreement.fleiss_z(counts), abs=1e-4)
    assert found["expected"]["categorywise_kappa_3dp"] == pytest.approx(agreement.fleiss_by_class(counts), abs=6e-4)


@pytest.mark.parametrize("name", ["a", "b"])
def test_the_published_free_marginal_kappas_are_met(name):
    found = published("randolph")
    counts, expected = np.array(found["data"][name]), found["expected"][name]

    assert expected["randolph"] == pytest.approx(agreement.randolph(counts), abs=found["tolerance_abs"])
    assert expected["fleiss"] == pytest.approx(agreement.fleiss(counts), abs=found["tolerance_abs"])


def test_the_published_alpha_with_missing_answers_is_met():
    found = published("krippendorff_2011")
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
