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
HOTTER = np.array([2.5, 3.0, 4.0, 6.0, 10.0, 30.0, 1e6])
"""Temperatures of a model that is not the only one: what two models say alike must not count twice."""
ALIKE = np.array([0.3, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 1e6])
"""How many cases of prior shares weigh as much as one other lesion: large = a patient's lesions are not alike."""
LEAST = 1e-4


class Weights(NamedTuple):
    """How evidence is weighed; fitted on samples of the seeds 1 to 5 by tests/benchmarks/suspects.py --fit."""

    error: float = 0.02
    """The share of wrong readings of an annotator of whom nothing is known."""
    readings: float = 20.0
    """How many readings that share weighs as much as."""
    lesion: float = 1.0
    """The weight of other photographs of the same lesion."""
    patient: float = 1.0
    """The weight of the patient's other lesions."""
    confusions: float = 20.0
    """How many wrong readings of a class equal chances of every other class weigh as much as."""


class Evidence(NamedTuple):
    """What is known of N cases and K classes, as numbers.

    `models` (M, N, K) are probabilities by models that did not see the case's group, NaN where there are none; `given`
    (N,) is the reference class; `lesion` and `patient` (N,) number who is the same. Of R readings: `case`, `annotator`,
    `said` (R,).
    """

    models: np.ndarray
    given: np.ndarray
    lesion: np.ndarray
    patient: np.ndarray
    case: np.ndarray
    annotator: np.ndarray
    said: np.ndarray


class LabelErrors(NamedTuple):
    """`posterior` (N, K) is each class's probability; `error` each annotator's estimated share of wrong readings.

    What a model says counts the less, the higher its temperature is, (M,).
    """

    posterior: np.ndarray
    error: np.ndarray
    temperatures: np.ndarray

    def wrong(self, given: np.ndarray) -> np.ndarray:
        """Return the probability that each case's label is wrong, (N,)."""
        return 1 - self.posterior[np.arange(len(given)), given]

    def suggested(self, given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return each case's most probable other class, and its probability, (N,) each."""
        if not len(given):
            return given, np.zeros(0)
        own = np.eye(self.posterior.shape[1], dtype=bool)[given]
        other = np.where(own, -1, self.posterior).argmax(axis=1)
        return other, self.posterior[np.arange(len(given)), other]


def label_errors(evidence: Evidence, weights: Weights | None = None) -> LabelErrors:
    """Return each case's probabilities of its classes given all evidence.

    >>> said = np.array([0, 0, 1])
    >>> model = np.array([[0.9, 0.1], [0.2, 0.8], [0.1, 0.9]])
    >>> one, of_each = np.zeros(3, int), np.arange(3)
    >>> found = label_errors(Evidence(model[None], said, of_each, of_each, of_each, one, said))
    >>> int(found.wrong(said).argmax())
    1
    """
    weights = weights or Weights()
    temperatures, classes = np.ones(len(evidence.models)), evidence.models.shape[2]
    if not len(evidence.given):
        return LabelErrors(np.zeros((0, classes)), np.zeros(0), temperatures)
    share = (np.bincount(evidence.given, minlength=classes) + 0.5) / (len(evidence.given) + 0.5 * classes)
    known = np.asarray(~np.isnan(evidence.models).any(axis=2))
    logarithms = np.log(np.where(known[..., None], evidence.models, share) + LEAST)
    is_seen = np.any(known, axis=0)
    prior = np.where(is_seen[:, None], 0, np.log(share + LEAST))
    error = np.full(int(evidence.annotator.max(initial=0)) + 1, weights.error)
    others = (1 - np.eye(classes)) / max(classes - 1, 1)
    alike = weights.patient * _of_the_patient(evidence, share)
    others_said = _others_of_the_lesion(evidence)
    posterior = np.eye(classes)[evidence.given]
    for _ in range(ROUNDS):
        chances = _chances(evidence, error, others)
        said = _summed(chances, evidence.case, len(evidence.given))
        elsewhere = _summed(chances[others_said.reading], others_said.case, len(evidence.given))
        seen = ((logarithms - np.log(share)) / temperatures[:, None, None]).sum(axis=0)
        pooled = alike + weights.lesion * (elsewhere + _seen_elsewhere(evidence, seen))
        temperatures = _temperatures(logarithms, known, said + pooled, temperatures)
        posterior = _normalised(_together(logarithms, known, temperatures) + prior + said + pooled)
        wrong = 1 - posterior[evidence.case, evidence.said]
        error = (np.bincount(evidence.annotator, wrong, len(error)) + weights.error * weights.readings) / (
            np.bincount(evidence.annotator, minlength=len(error)) + weights.readings
        )
        others = _confusions(evidence, posterior, weights.confusions)
    return LabelErrors(posterior, error, temperatures)


def _chances(evidence: Evidence, error: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the logarithm of the chance of each reading by the class of its case, (R, K)."""
    wrong = error[evidence.annotator][:, None]
    is_said = np.arange(len(others)) == evidence.said[:, None]
    return np.log(np.maximum(np.where(is_said, 1 - wrong, wrong * others.T[evidence.said]), 1e-12))


def _summed(rows: np.ndarray, place: np.ndarray, count: int) -> np.ndarray:
    total = np.zeros((count, rows.shape[1]))
    np.add.at(total, place, rows)
    return total


class _Elsewhere(NamedTuple):
    """Readings that also say something of another case, of the same lesion: (P,) numbers of both."""

    case: np.ndarray
    reading: np.ndarray


def _others_of_the_lesion(evidence: Evidence) -> _Elsewhere:
    """Return the readings of other photographs of each case's lesion.

    Who says the same of several photographs of a lesion has said it once: they are seldom labelled independently.
    """
    cases, readings = _by_lesion(evidence)
    pairs = []
    for lesion, own in readings.items():
        for case in cases[lesion] if len(cases[lesion]) > 1 else ():
            here = [n for n in own if evidence.case[n] == case]
            known = {(int(evidence.annotator[n]), int(evidence.said[n])) for n in here}
            for n in own:
                what = int(evidence.annotator[n]), int(evidence.said[n])
                if evidence.case[n] != case and what not in known:
                    known.add(what)
                    pairs.append((case, n))
    numbers = np.array(pairs, dtype=int).reshape(-1, 2)
    return _Elsewhere(numbers[:, 0], numbers[:, 1])


def _by_lesion(evidence: Evidence) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
    """Return the cases and the readings of each lesion."""
    cases: dict[int, list[int]] = {}
    readings: dict[int, list[int]] = {}
    for case, lesion in enumerate(evidence.lesion.tolist()):
        cases.setdefault(lesion, []).append(case)
    for reading, lesion in enumerate(evidence.lesion[evidence.case].tolist()):
        readings.setdefault(lesion, []).append(reading)
    return cases, readings


def _seen_elsewhere(evidence: Evidence, seen: np.ndarray) -> np.ndarray:
    """Return the mean of what the model sees on the other photographs of each case's lesion, (N, K); 0 without any."""
    lesions = int(evidence.lesion.max(initial=0)) + 1
    total = _summed(seen, evidence.lesion, lesions)[evidence.lesion] - seen
    others = np.bincount(evidence.lesion, minlength=lesions)[evidence.lesion] - 1
    return total / np.maximum(others, 1)[:, None] * (others > 0)[:, None]


def _of_the_patient(evidence: Evidence, share: np.ndarray) -> np.ndarray:
    """Return how the classes of a patient's other lesions change the chances of each class, as logarithms (N, K).

    A Pólya urn: each other lesion adds one to its class; what stands in the urn before is estimated.
    """
    own, other = np.eye(len(share))[evidence.given], _other_lesions(evidence, len(share))
    candidates = [np.log((other + k * share) / (other.sum(axis=1, keepdims=True) + k) / share) for k in ALIKE]
    likely = [(candidate * own).sum() for candidate in candidates]
    return candidates[int(np.argmax(likely))]


def _other_lesions(evidence: Evidence, classes: int) -> np.ndarray:
    """Return how many other lesions of each case's patient have each class, (N, K), if somebody else read them.

    Whoever labels all lesions of a patient may repeat an error: what they say of another one confirms nothing.
    """
    readers: list[set[int]] = [set() for _ in evidence.given]
    for case, annotator in zip(evidence.case.tolist(), evidence.annotator.tolist(), strict=True):
        readers[case].add(annotator)
    lesions: dict[int, dict[tuple[int, int], set[int]]] = {}
    who = list(zip(evidence.patient.tolist(), evidence.lesion.tolist(), evidence.given.tolist(), strict=True))
    for case, (patient, lesion, given) in enumerate(who):
        lesions.setdefault(patient, {}).setdefault((lesion, given), set()).update(readers[case])
    counts = np.zeros((len(who), classes))
    for case, (patient, lesion, _) in enumerate(who):
        for (other, given), by in lesions[patient].items():
            if other != lesion and by - readers[case]:
                counts[case, given] += 1
    return counts


def _together(logarithms: np.ndarray, known: np.ndarray, temperatures: np.ndarray) -> np.ndarray:
    """Return what the models that know a case say of it together, (N, K)."""
    return np.where(known[..., None], logarithms / temperatures[:, None, None], 0).sum(axis=0)


def _temperatures(logarithms: np.ndarray, known: np.ndarray, rest: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Return the temperatures at which all that was said is the most probable, one model after the other."""
    candidates = TEMPERATURES if len(before) == 1 else np.append(TEMPERATURES, HOTTER)
    temperatures = before.copy()
    for model, of_model in enumerate(known):
        if not of_model.any():
            continue
        others = np.delete(np.arange(len(known)), model)
        beside = _together(logarithms[others], known[others], temperatures[others])[of_model]
        own, said = logarithms[model, of_model], np.exp(rest[of_model])
        likely = [np.log((_normalised(own / t + beside) * said).sum(axis=1)).sum() for t in candidates]
        temperatures[model] = candidates[int(np.argmax(likely))]
    return temperatures


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
