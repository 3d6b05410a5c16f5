import numpy as np
import pytest
from published import example
from scipy import stats

from toolkit.stats import delong


def wald(auc, variance) -> tuple[float, float]:
    """Return the interval that is published with DeLong's variance."""
    half = stats.norm.ppf(0.975) * np.sqrt(variance)
    return max(auc - half, 0.0), min(auc + half, 1.0)


def test_the_published_interval_is_met():
    found = example("asah")
    positive, score = np.array(found["data"]["poor_outcome"]) == 1, np.array([found["data"]["ndka"]])
    placed = delong.placements(positive, score)
    low, high = wald(placed.auc[0], delong.covariance(placed)[0, 0])
    expected = found["expected"]["ndka"]

    assert [expected["auc_lo"], expected["auc"], expected["auc_hi"]] == pytest.approx(
        [low, placed.auc[0], high], abs=found["tolerance_abs"]
    )


def test_the_ovarian_cancer_example_of_1988_is_met():
    found = example("delong_1988")
    data, expected, tolerance = found["data"], found["expected"], found["tolerance_abs"]
    positive = np.array(data["popind"]) == 1
    names = {"albumin": "alb", "kg_score": "totscore", "total_protein": "tp"}
    # the published areas say "lower is more abnormal": scores are turned round where the area would be below a half
    scores = np.array([data[name] for name in names.values()], dtype=float)
    placed = delong.placements(positive, scores)
    error = np.sqrt(np.diag(delong.covariance(placed)))

    for k, name in enumerate(names):
        low, high = wald(placed.auc[k], error[k] ** 2)

        assert [expected[name][part] for part in ("auc_lo", "auc", "auc_hi")] == pytest.approx(
            [low, placed.auc[k], high], abs=tolerance
        )
        assert expected["se"][name] == pytest.approx(error[k], abs=tolerance)
    for test, rows in (("test_alb_vs_kg", [0, 1]), ("test_tp_vs_kg", [2, 1])):
        paired = delong.difference(positive, scores[rows], confidence=0.95)

        assert expected[test]["stat"] == pytest.approx(paired.z, abs=tolerance)
        assert expected[test]["p"] == pytest.approx(paired.p, abs=tolerance)
        assert expected[test]["ci"] == pytest.approx(list(paired.interval), abs=tolerance)


def test_the_published_paired_test_is_met():
    found = example("asah")
    data, expected = found["data"], found["expected"]["wfns_and_s100b"]
    scores = np.array([data["wfns"], data["s100b"]], dtype=float)
    paired = delong.difference(np.array(data["poor_outcome"]) == 1, scores, confidence=0.95)

    assert expected["z"] == pytest.approx(paired.z, abs=found["tolerance_abs"])
    assert expected["p"] == pytest.approx(paired.p, abs=found["tolerance_abs"])
    assert expected["diff_ci"] == pytest.approx(list(paired.interval), abs=found["tolerance_abs"])


def slow_covariance(positive, scores):
    """DeLong's formulas, pair by pair."""
    high, low = scores[:, positive], scores[:, ~positive]
    wins = (high[:, :, None] > low[:, None, :]) + (high[:, :, None] == low[:, None, :]) / 2
    over, under = wins.mean(axis=2), wins.mean(axis=1)
    auc = wins.mean(axis=(1, 2))
    ten = (over - auc[:, None]) @ (over - auc[:, None]).T / (high.shape[1] - 1)
    one = (under - auc[:, None]) @ (under - auc[:, None]).T / (low.shape[1] - 1)
    return auc, ten / high.shape[1] + one / low.shape[1]


@pytest.mark.parametrize("seed", range(20))
def test_areas_and_covariances_are_those_of_the_slow_formula(seed):
    generator = np.random.default_rng(seed)
    positive = np.r_[True, True, False, False, generator.random(generator.integers(0, 40)) < 0.4]
    scores = generator.integers(0, generator.choice([3, 1000]), (3, len(positive))).astype(float)
    found = delong.placements(positive, scores)
    auc, covariance = slow_covariance(positive, scores)

    np.testing.assert_allclose(found.auc, auc, atol=1e-12)
    np.testing.assert_allclose(delong.covariance(found), covariance, atol=1e-12)


def test_each_case_a_patient_gives_nearly_the_variance_of_delong():
    generator = np.random.default_rng(3)
    positive, score = generator.random(400) < 0.5, generator.random(400)
    moved = delong.influence(positive, score[None], np.arange(400))[0]
    alone = delong.covariance(delong.placements(positive, score[None]))[0, 0]

    assert alone == pytest.approx(np.square(moved).sum(), rel=0.02)


def test_a_perfect_area_has_an_interval_too():
    low, high = delong.newcombe(1.0, 5, 20, confidence=0.95)
    mirrored = delong.newcombe(0.0, 5, 20, confidence=0.95)

    assert 1.0 == high
    assert 0.7 < low < 0.8
    assert (1 - high, 1 - low) == pytest.approx(tuple(mirrored), abs=1e-9)


def test_repeating_patients_cases_widens_the_interval_of_an_area():
    generator = np.random.default_rng(5)
    positive = np.r_[np.ones(20, bool), np.zeros(40, bool)]
    score = generator.random(60) + positive * 0.4
    alone = delong.clustered_interval(positive, score, np.arange(60), confidence=0.95)
    twice = delong.clustered_interval(
        np.repeat(positive, 2), np.repeat(score, 2), np.repeat(np.arange(60), 2), confidence=0.95
    )

    assert twice.high - twice.low > 0.95 * (alone.high - alone.low)


def test_one_kind_of_case_has_no_area():
    found = delong.clustered_interval(np.array([True, True]), np.array([0.1, 0.2]), np.arange(2), confidence=0.95)

    assert np.isnan(found.low)
