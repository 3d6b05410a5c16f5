"""The answers (label words) of each class, and the columns of `predictions` computed from their log-likelihoods."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy

from toolkit.manifest import Study
from toolkit.manifest.cohort import ClassSection
from toolkit.models.backend import probabilities


class Answers(NamedTuple):
    """Every answer that is scored, and its class as an index; -1 = none of the study's."""

    classes: list[str]
    texts: list[str]
    class_of: list[int]


def answers_of(study: Study) -> Answers:
    """Return each class's answer and its further answers."""
    return mapped_answers(study.class_names, study.classes, {c.name: c.name for c in study.classes})


def mapped_answers(classes: list[str], trained: Sequence[ClassSection], meaning: dict[str, str]) -> Answers:
    """Return the answers of the `trained` classes of a model, each under the one of `classes` that `meaning` gives."""
    pairs = [
        (text, classes.index(meaning[c.name]) if c.name in meaning else -1)
        for c in trained
        for text in dict.fromkeys((c.answer, *c.answers))
    ]
    return Answers(classes, [text for text, _ in pairs], [number for _, number in pairs])


def predicted(log_likelihoods: np.ndarray, answers: Answers, lengths: Sequence[int]) -> list[dict[str, Any]]:
    """Return the columns of each case from (variants, B, answers) log-likelihoods, as docs/method.md says.

    The variants are those of test-time augmentation; without it there is one.
    """
    by_class = np.stack([_by_class(variant, answers, _log_sum) for variant in log_likelihoods])
    shares = np.mean([probabilities(variant).values for variant in by_class], axis=0)
    of_classes, of_answers = _log_mean(by_class), _log_mean(log_likelihoods)
    mass = np.exp(scipy.special.logsumexp(of_classes, axis=1))
    normalised = _by_class(of_answers / np.array(lengths), answers, np.max).argmax(axis=1)
    names = answers.classes
    return [
        {
            "predicted": names[best],
            "confidence": float(shares[n, best]),
            "label_mass": float(mass[n]),
            "probabilities": list(zip(names, shares[n].tolist(), strict=True)),
            "log_likelihoods": list(zip(names, of_classes[n].tolist(), strict=True)),
            "wordings": list(zip(answers.texts, of_answers[n].tolist(), strict=True)),
            "normalised": names[normalised[n]],
        }
        for n, best in enumerate(shares.argmax(axis=1).tolist())
    ]


def _by_class(of_answers: np.ndarray, answers: Answers, reduce: Callable[..., np.ndarray]) -> np.ndarray:
    """Return (B, C): the values of each class's answers reduced to one, −∞ for a class without an answer."""
    of_classes = np.full((len(of_answers), len(answers.classes)), -np.inf)
    for number in set(answers.class_of) - {-1}:
        own = [place for place, class_number in enumerate(answers.class_of) if class_number == number]
        of_classes[:, number] = reduce(of_answers[:, own], axis=1)
    return of_classes


def _log_sum(logarithms: np.ndarray, *, axis: int) -> np.ndarray:
    """Return the logarithm of the sum; a single logarithm keeps its last bit."""
    return logarithms.squeeze(axis) if logarithms.shape[axis] == 1 else scipy.special.logsumexp(logarithms, axis=axis)


def _log_mean(logarithms: np.ndarray) -> np.ndarray:
    """Return the logarithm of the mean over the first axis."""
    return (
        logarithms[0] if len(logarithms) == 1 else scipy.special.logsumexp(logarithms, axis=0) - np.log(len(logarithms))
    )
