"""The probability that a case's label is wrong: a model's probabilities, and all that annotators said, taken together.

A case's class is unknown; each reading gives it with its annotator's chance to be right, else another class. What is
said of other photographs of the same lesion counts as said of this one, with a weight; other lesions of the patient
tell as much as lesions of one patient are alike in this study. The chances to be right and the model's temperature are
estimated together (A. Dawid and A. Skene, 1979, with a classifier as one more reader).
"""

from typing import NamedTuple

import numpy as np

ROUNDS = 12
TEMPERATURES = np.array([0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.15, 1.3, 1.5, 1.75, 2.0])
ALIKE = np.array([0.3, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 1e6])
"""How many cases of prior shares weigh as much as one other lesion: large = a patient's lesions are not alike."""
LEAST = 1e-4


class Weights(NamedTuple):
    """How evidence is weighed; fitted on samples of the seeds 1 to 5 by tests/benchmarks/suspects.py --fit."""

    error: float = 0.05
    """The share of wrong readings of an annotator of whom nothing is known."""
    readings: float = 20.0
    """How many readings that share weighs as much as."""
    lesion: float = 1.0
    """The weight of other photographs of the same lesion."""
    confusions: float = 20.0
    """How many wrong readings of a class equal chances of every other class weigh as much as."""


class Evidence(NamedTuple):
    """What is known of N cases and K classes, as numbers.

    `probabilities` (N, K) are of models that did not see the case's group, NaN where there are none; `given` (N,) is
    the reference class; `lesion` and `patient` (N,) number who is the same. Of R readings: `case`, `annotator`, `said`
    (R,).
    """

    probabilities: np.ndarray
    given: np.ndarray
    lesion: np.ndarray
    patient: np.ndarray
    case: np.ndarray
    annotator: np.ndarray
    said: np.ndarray


class LabelErrors(NamedTuple):
    """`posterior` (N, K) is each class's probability; `error` each annotator's estimated share of wrong readings."""

    posterior: np.ndarray
    error: np.ndarray
    temperature: float

    def wrong(self, given: np.ndarray) -> np.ndarray:
        """Return the probability that each case's label is wrong, (N,)."""
        return 1 - self.posterior[np.arange(len(given)), given]


def label_errors(evidence: Evidence, weights: Weights | None = None) -> LabelErrors:
    """Return each case's probabilities of its classes given all evidence.

    >>> said = np.array([0, 0, 1])
    >>> model = np.array([[0.9, 0.1], [0.2, 0.8], [0.1, 0.9]])
    >>> one, of_each = np.zeros(3, int), np.arange(3)
    >>> found = label_errors(Evidence(model, said, of_each, of_each, of_each, one, said))
    >>> int(found.wrong(said).argmax())
    1
    """
    weights = weights or Weights()
    classes = evidence.probabilities.shape[1]
    if not len(evidence.given):
        return LabelErrors(np.zeros((0, classes)), np.zeros(0), 1.0)
    share = (np.bincount(evidence.given, minlength=classes) + 0.5) / (len(evidence.given) + 0.5 * classes)
    known = np.asarray(~np.isnan(evidence.probabilities).any(axis=1))
    logarithms = np.log(np.where(known[:, None], evidence.probabilities, share) + LEAST)
    error = np.full(int(evidence.annotator.max(initial=0)) + 1, weights.error)
    others = (1 - np.eye(classes)) / max(classes - 1, 1)
    alike, temperature = _of_the_patient(evidence, share), 1.0
    posterior = np.eye(classes)[evidence.given]
    for _ in range(ROUNDS):
        said = _said(evidence, error, others)
        pooled = alike + weights.lesion * _of_the_lesion(evidence, logarithms - np.log(share), said)
        temperature = _temperature(logarithms[known], (said + pooled)[known])
        posterior = _normalised(np.where(known[:, None], logarithms / temperature, logarithms) + said + pooled)
        wrong = 1 - posterior[evidence.case, evidence.said]
        error = (np.bincount(evidence.annotator, wrong, len(error)) + weights.error * weights.readings) / (
            np.bincount(evidence.annotator, minlength=len(error)) + weights.readings
        )
        others = _confusions(evidence, posterior, weights.confusions)
    return LabelErrors(posterior, error, temperature)


def _said(evidence: Evidence, error: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the logarithm of the chance of each case's readings by its class, (N, K)."""
    classes = len(others)
    wrong = error[evidence.annotator][:, None]
    is_said = np.arange(classes) == evidence.said[:, None]
    chance = np.where(is_said, 1 - wrong, wrong * others.T[evidence.said])
    total = np.zeros((len(evidence.given), classes))
    np.add.at(total, evidence.case, np.log(np.maximum(chance, 1e-12)))
    return total


def _of_the_lesion(evidence: Evidence, seen: np.ndarray, said: np.ndarray) -> np.ndarray:
    """Return what the other photographs of each case's lesion add, (N, K): their readings, and the models' view."""
    total = np.zeros((int(evidence.lesion.max(initial=0)) + 1, seen.shape[1]))
    np.add.at(total, evidence.lesion, seen + said)
    return total[evidence.lesion] - seen - said


def _of_the_patient(evidence: Evidence, share: np.ndarray) -> np.ndarray:
    """Return how the classes of a patient's other lesions change the chances of each class, as logarithms (N, K).

    A Pólya urn: each other lesion adds one to its class; what stands in the urn before is estimated.
    """
    first = np.unique(np.stack([evidence.lesion, evidence.given]), axis=1, return_index=True)[1]
    counts = np.zeros((int(evidence.patient.max(initial=0)) + 1, len(share)))
    np.add.at(counts, (evidence.patient[first], evidence.given[first]), 1)
    own = np.eye(len(share))[evidence.given]
    other = (counts[evidence.patient] - own).clip(0)
    candidates = [np.log((other + k * share) / (other.sum(axis=1, keepdims=True) + k) / share) for k in ALIKE]
    likely = [(candidate * own).sum() for candidate in candidates]
    return candidates[int(np.argmax(likely))]


def _temperature(logarithms: np.ndarray, rest: np.ndarray) -> float:
    """Return the temperature of the model at which all that was said is the most probable."""
    if not len(logarithms):
        return 1.0
    found = [np.log((_normalised(logarithms / t) * np.exp(rest)).sum(axis=1)).sum() for t in TEMPERATURES]
    return float(TEMPERATURES[int(np.argmax(found))])


def _normalised(logarithms: np.ndarray) -> np.ndarray:
    chances = np.exp(logarithms - logarithms.max(axis=1, keepdims=True))
    return chances / chances.sum(axis=1, keepdims=True)


def _confusions(evidence: Evidence, posterior: np.ndarray, strength: float) -> np.ndarray:
    """Return what is said of a class where it is not named, (K, K): estimated, and pulled towards equal chances."""
    classes = posterior.shape[1]
    counts = np.zeros((classes, classes))
    np.add.at(counts.T, evidence.said, posterior[evidence.case])
    apart = 1 - np.eye(classes)
    counts = counts * apart + strength * apart / max(classes - 1, 1)
    return counts / counts.sum(axis=1, keepdims=True).clip(1e-12)
