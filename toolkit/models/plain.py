"""Class probabilities from plain numbers: logistic regression and extra trees, averaged; out of fold by group.

Seconds for a thousand cases on one core; nothing of a neural network. scikit-learn is imported when it is needed.
"""

import warnings
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from toolkit.progress import Progress, silent

FOLDS = 5
REPEATS = 2
FEWEST = 30
"""Cases; with fewer, nothing is estimated."""
TREES = 100
PENALTY = 300.0
"""Of the logistic regression on standardised features: strong, for there are hundreds of features that go together."""
FARTHEST = 6.0
"""Standard deviations at which a standardised feature is cut off."""
LEAST = 1e-3
"""Added to a probability before logarithms are averaged: no single estimator can rule a class out."""
SETTINGS = {"folds": FOLDS, "repeats": REPEATS, "trees": TREES, "penalty": PENALTY, "least": LEAST}
"""What the probabilities depend on beside features, classes, groups and seed."""


class PlainModel(NamedTuple):
    """Fitted estimators, and the indices of the classes that they know; none where there is one class only."""

    mean: np.ndarray
    deviation: np.ndarray
    known: np.ndarray
    estimators: tuple[Any, ...]

    def probabilities(self, features: np.ndarray, *, classes: int) -> np.ndarray:
        """Return (N, classes): the normalised geometric mean of the estimators'; 0 for a class that is not known."""
        columns = _standardised(features, self.mean, self.deviation)
        logarithms = [np.log(estimator.predict_proba(columns) + LEAST) for estimator in self.estimators]
        together = np.exp(np.mean(logarithms, axis=0)) if logarithms else np.ones((len(features), 1))
        every = np.zeros((len(features), classes))
        every[:, self.known] = together / together.sum(axis=1, keepdims=True)
        return every


def fit(features: np.ndarray, truth: np.ndarray, *, seed: int, weights: np.ndarray | None = None) -> PlainModel:
    """Return the model of some cases: the same numbers and seed give the same model."""
    from sklearn.ensemble import ExtraTreesClassifier  # noqa: PLC0415 - a second, and only an audit needs it
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

    mean, deviation = features.mean(axis=0), features.std(axis=0)
    columns, present = _standardised(features, mean, deviation), np.unique(truth)
    if len(present) < 2:
        return PlainModel(mean, deviation, present, ())
    estimators = (
        LogisticRegression(C=1 / PENALTY, max_iter=500),
        ExtraTreesClassifier(TREES, min_samples_leaf=2, max_features="sqrt", random_state=seed, n_jobs=2),
    )
    # More threads would add the same numbers in another order.
    with threadpool_limits(1):
        for estimator in estimators:
            estimator.fit(columns, truth, sample_weight=weights)
    estimators[1].set_params(n_jobs=1)
    return PlainModel(mean, deviation, present, estimators)


def _standardised(features: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    return ((features - mean) / np.where(deviation > 1e-9, deviation, 1)).clip(-FARTHEST, FARTHEST)


def out_of_fold(
    features: np.ndarray,
    truth: np.ndarray,
    groups: np.ndarray,
    *,
    classes: int,
    seed: int,
    progress: Progress = silent,
) -> np.ndarray:
    """Return each case's probabilities (N, classes) by models that saw no case of its group; NaN where there are none.

    `groups` (N,) are numbers. Fewer than FEWEST cases get none. A case of a class that only one group has gets none:
    its models never saw the class.
    """
    from sklearn.model_selection import StratifiedGroupKFold  # noqa: PLC0415 - a second, and only an audit needs it

    total = np.zeros((len(truth), classes))
    folds = min(FOLDS, len(np.unique(groups)))
    groups_of = [len(np.unique(groups[truth == number])) for number in range(classes)]
    is_known = sum(count > 1 for count in groups_of) > 1
    if len(truth) < FEWEST or folds < 2 or not is_known:
        return np.full_like(total, np.nan)
    for repeat in range(REPEATS):
        cut = StratifiedGroupKFold(folds, shuffle=True, random_state=seed + repeat)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a class of fewer cases than folds
            pieces = list(cut.split(features, truth, groups))
        for number, (training, held_out) in enumerate(pieces):
            progress("comparing labels with photographs", repeat * folds + number, REPEATS * folds)
            if len(held_out) and len(np.unique(truth[training])) > 1:
                model = fit(features[training], truth[training], seed=seed + repeat)
                total[held_out] += np.log(model.probabilities(features[held_out], classes=classes) + LEAST)
            else:
                total[held_out] = np.nan
    progress("comparing labels with photographs", REPEATS * folds, REPEATS * folds)
    together = np.exp(total / REPEATS)
    together /= together.sum(axis=1, keepdims=True)
    together[np.array(groups_of)[truth] < 2] = np.nan
    return together
