import math

import numpy as np
import pytest

from toolkit.prompts.answers import Answers, predicted

TWO = Answers(["nevus", "melanoma"], ["nevus", "mole", "malignant melanoma"], [0, 0, 1])


def logs(*views: list[float]) -> np.ndarray:
    """One case: the likelihoods of the three wordings in each view."""
    return np.log(np.array(views))[:, None, :]


def test_the_wordings_of_a_class_are_added():
    said = predicted(logs([0.1, 0.2, 0.1]), TWO, [2, 2, 3])[0]

    assert {"nevus": 0.75, "melanoma": 0.25} == pytest.approx(dict(said["probabilities"]))
    assert {"nevus": math.log(0.3), "melanoma": math.log(0.1)} == pytest.approx(dict(said["log_likelihoods"]))
    assert 0.4 == pytest.approx(said["label_mass"])
    assert {"nevus": 0.1, "mole": 0.2, "malignant melanoma": 0.1} == pytest.approx(
        {text: math.exp(value) for text, value in said["wordings"]}
    )


def test_views_average_probabilities_and_likelihoods():
    said = predicted(logs([0.1, 0.2, 0.1], [0.0001, 0.0001, 0.0002]), TWO, [2, 2, 3])[0]

    assert {"nevus": (0.75 + 0.5) / 2, "melanoma": (0.25 + 0.5) / 2} == pytest.approx(dict(said["probabilities"]))
    assert (0.4 + 0.0004) / 2 == pytest.approx(said["label_mass"])


def test_the_mean_over_tokens_may_call_another_class():
    said = predicted(logs([0.25, 1e-9, 0.2]), TWO, [1, 1, 4])[0]

    assert ("nevus", "melanoma") == (said["predicted"], said["normalised"])


def test_a_class_without_a_wording_is_never_said():
    lacking = Answers(["nevus", "other", "melanoma"], ["nevus", "lentigo", "melanoma"], [0, -1, 2])
    said = predicted(np.log([[[0.2, 0.5, 0.3]]]), lacking, [1, 1, 1])[0]

    assert {"nevus": 0.4, "other": 0.0, "melanoma": 0.6} == pytest.approx(dict(said["probabilities"]))
    assert 0.5 == pytest.approx(said["label_mass"])
    assert -math.inf == dict(said["log_likelihoods"])["other"]
