"""Which wordings mean which class, and what their likelihoods say of a case.

Refuses to know any model: log-likelihoods come in, columns of `predictions` go out.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import logsumexp

from toolkit.manifest import Study
from toolkit.manifest.cohort import ClassSection
from toolkit.models.backend import probabilities


class Answers(NamedTuple):
    """Every text that is scored, and its class as an index; -1 = none of the study's."""

    classes: list[str]
    texts: list[str]
    class_of: list[int]


def answers_of(study: Study) -> Answers:
    """Return each class's answer and further wordings."""
    return mapped_answers(study.class_names, study.classes, {c.name: c.name for c in study.classes})


def mapped_answers(classes: list[str], said: Sequence[ClassSection], meaning: dict[str, str]) -> Answers:
    """Return the wordings of what a model `said`, each under the class that `meaning` gives for its own."""
    pairs = [
        (text, classes.index(meaning[c.name]) if c.name in meaning else -1)
        for c in said
        for text in dict.fromkeys((c.answer, *c.answers))
    ]
    return Answers(classes, [text for text, _ in pairs], [place for _, place in pairs])


def predicted(views: np.ndarray, wordings: Answers, lengths: Sequence[int]) -> list[dict[str, Any]]:
    """Return the columns of each case from (views, B, wordings) log-likelihoods, as docs/method.md says."""
    by_class = np.stack([_of_classes(view, wordings) for view in views])
    chances = np.mean([probabilities(view).values for view in by_class], axis=0)
    together, texts = _mean(by_class), _mean(views)
    mass = np.exp(logsumexp(together, axis=1))
    normalised = _best(texts / np.array(lengths), wordings).argmax(axis=1)
    names = wordings.classes
    return [
        {
            "predicted": names[best],
            "confidence": float(chances[n, best]),
            "label_mass": float(mass[n]),
            "probabilities": list(zip(names, chances[n].tolist(), strict=True)),
            "log_likelihoods": list(zip(names, together[n].tolist(), strict=True)),
            "wordings": list(zip(wordings.texts, texts[n].tolist(), strict=True)),
            "normalised": names[normalised[n]],
        }
        for n, best in enumerate(chances.argmax(axis=1).tolist())
    ]


def _mean(views: np.ndarray) -> np.ndarray:
    """Return the logarithm of the mean over the views."""
    return views[0] if len(views) == 1 else logsumexp(views, axis=0) - np.log(len(views))


def _of_classes(likelihoods: np.ndarray, wordings: Answers) -> np.ndarray:
    """Return (B, C) log-likelihoods of the classes: of all their wordings together, −∞ for one without."""
    found = np.full((len(likelihoods), len(wordings.classes)), -np.inf)
    for number in range(len(wordings.classes)):
        own = [place for place, of in enumerate(wordings.class_of) if of == number]
        if own:
            found[:, number] = likelihoods[:, own[0]] if len(own) == 1 else logsumexp(likelihoods[:, own], axis=1)
    return found


def _best(means: np.ndarray, wordings: Answers) -> np.ndarray:
    """Return (B, C): the best wording's mean of each class."""
    found = np.full((len(means), len(wordings.classes)), -np.inf)
    for place, number in enumerate(wordings.class_of):
        if number >= 0:
            found[:, number] = np.maximum(found[:, number], means[:, place])
    return found
