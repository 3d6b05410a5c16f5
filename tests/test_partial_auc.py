import itertools
import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from published import example
from sklearn.metrics import roc_auc_score

from toolkit.stats.partial_auc import between_sensitivities, between_specificities, roc_auc_above


@pytest.mark.parametrize("name", ["isic_partial_auc_above_sensitivity", "isic_partial_auc_strict"])
def test_the_area_above_a_sensitivity_is_that_of_the_isic_scorer(shared, name):
    reference = json.loads((shared / "reference_values" / f"{name}.json").read_text())
    for case, expected in zip(reference["data"], reference["expected"], strict=True):
        found = roc_auc_above(np.array(case["t"]) == 1, np.array(case["p"]), sensitivity=case["s"])

        assert expected == pytest.approx(found, abs=reference["tolerance_abs"])


def test_what_lies_at_a_sensitivity_that_is_hit_exactly_counts():
    """Four of five positives outrank both negatives, the fifth neither: the curve is a plateau at 0.8."""
    positive, score = np.array([1, 1, 1, 1, 0, 0, 1]) == 1, np.array([7, 6, 5, 4, 3, 2, 1.0])

    assert 0.8 == pytest.approx(roc_auc_above(positive, score, sensitivity=0.8))


def slow(positive, score, sensitivity: Fraction) -> Fraction:
    """The same by exact fractions, step by step along the curve: what lies under each piece at that height or above."""
    points = [(Fraction(0), Fraction(0))]
    for threshold in sorted(set(score), reverse=True):
        flagged = [bool(p) for p, s in zip(positive, score, strict=True) if s >= threshold]
        negatives, positives = len(positive) - sum(positive), sum(positive)
        points.append((Fraction(flagged.count(False), int(negatives)), Fraction(flagged.count(True), int(positives))))
    area = Fraction(0)
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        if y1 < sensitivity:
            continue
        crossed = max(y0, sensitivity)
        start = x0 + (x1 - x0) * (crossed - y0) / (y1 - y0) if crossed > y0 else x0
        area += (x1 - start) * (crossed + y1) / 2
    return area


KINDS = {
    "perfect": [9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
    "worse than chance": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    "mixed": [9, 6, 5, 2, 0, 8, 7, 4, 3, 1],
    "all tied": [1] * 10,
    "some tied": [3, 3, 2, 2, 1, 3, 2, 1, 1, 0],
    "tied at the threshold": [9, 8, 7, 5, 5, 5, 5, 4, 3, 2],
    "plateau": [9, 8, 7, 6, 0, 5, 4, 3, 2, 1],
    "two plateaus": [9, 8, 5, 4, 1, 7, 6, 3, 2, 0],
    "one positive last": [9, 8, 7, 6, 1, 1, 1, 1, 1, 1],
}


@pytest.mark.parametrize("score", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("fifths", range(6))
@pytest.mark.parametrize("between", [Fraction(0), Fraction(1, 10)])
def test_each_kind_of_curve_gives_the_area_of_exact_fractions(score, fifths, between):
    positive, sensitivity = np.arange(10) < 5, min(Fraction(fifths, 5) + between, Fraction(1))
    found = roc_auc_above(positive, np.array(score, dtype=float), sensitivity=float(sensitivity))

    assert float(slow(positive, score, sensitivity)) == pytest.approx(found, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 9), st.integers(1, 9), st.integers(0, 12))
def test_any_curve_gives_the_area_of_exact_fractions(seed, positives, negatives, twelfths):
    score = np.random.default_rng(seed).integers(0, 6, positives + negatives).astype(float)
    positive, sensitivity = np.arange(positives + negatives) < positives, Fraction(twelfths, 12)
    found = roc_auc_above(positive, score, sensitivity=float(sensitivity))

    assert float(slow(positive, score, sensitivity)) == pytest.approx(found, abs=1e-12)


def test_partial_areas_of_both_kinds_meet_the_published_ones(shared):
    reference = json.loads((shared / "reference_values" / "partial_auc_asah_proc.json").read_text())
    tolerance, positive = reference["tolerance_abs"], np.array(reference["data"]["y"]) == 1
    measures = {"sensitivity": between_sensitivities, "specificity": between_specificities}
    for marker in ("wfns", "ndka"):
        score, expected = np.array(reference["data"][marker], dtype=float), reference["expected"][marker]
        for kind, measure in measures.items():
            for limits, area in expected[kind].items():
                found = measure(positive, score, *(float(limit) for limit in limits.split("-")))
                corrected = expected[f"{kind}_corrected"][limits]

                assert area == pytest.approx(found.area, abs=tolerance)
                assert (np.nan if corrected is None else corrected) == pytest.approx(
                    found.corrected, abs=tolerance, nan_ok=True
                )
        above = between_sensitivities(positive, score, 0.8).area
        assert reference["expected"]["above_80_sensitivity"][marker] == pytest.approx(above, abs=tolerance)


def test_the_area_above_80_sensitivity_is_scikit_learns_with_the_axes_changed():
    """ISIC 2024 turns truth and score round and takes scikit-learn's partial area up to a rate of 0.2, uncorrected."""
    data = example("asah")["data"]
    positive, score = np.array(data["poor_outcome"]) == 1, np.array(data["s100b"], dtype=float)
    scaled = roc_auc_score(~positive, -score, max_fpr=0.2)
    chance = 0.5 * 0.2**2
    theirs = chance + (0.2 - chance) * (2 * scaled - 1)

    assert theirs == pytest.approx(between_sensitivities(positive, score, 0.8).area, abs=1e-12)


def test_one_kind_of_case_has_no_partial_area():
    assert np.isnan(roc_auc_above(np.array([True, True]), np.array([0.1, 0.2]), sensitivity=0.5))
    assert np.isnan(between_sensitivities(np.array([False, False]), np.array([0.1, 0.2]), 0.8).area)
