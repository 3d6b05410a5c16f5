"""The annotators: how often each is right, which photographs two or three of them read, and what they answer."""

from numpy.random import Generator

from toolkit.synthetic.plan import CLASSES, PlannedPhotograph, PlannedReading

SKILL = {
    "lead@example.org": 0.99,
    "reader1@example.org": 0.98,
    "reader2@example.org": 0.97,
    "reader3@example.org": 0.96,
    "reader4@example.org": 0.94,
}
"""The chance of each annotator to give the true class."""
_ANNOTATORS = tuple(SKILL)
_LOOK_ALIKE = 0.75
_TWO, _THREE = 0.20, 0.13


def read(rng: Generator, photographs: list[PlannedPhotograph]) -> None:
    """Let annotators read every photograph that is not skipped or left empty: a third of them by two or three."""
    for photograph in photographs:
        if photograph.state in ("skipped", "empty"):
            photograph.readings = (PlannedReading(_ANNOTATORS[int(rng.integers(1, len(_ANNOTATORS)))], ()),)
            continue
        chance = rng.uniform()
        times = 3 if chance < _THREE else 2 if chance < _TWO + _THREE else 1
        chosen = rng.permutation(len(_ANNOTATORS))[:times]
        photograph.readings = tuple(
            PlannedReading(
                _ANNOTATORS[who],
                tuple(answer(rng, name, SKILL[_ANNOTATORS[who]]) for name in photograph.class_names),
            )
            for who in chosen
        )


def answer(rng: Generator, class_name: str, skill: float) -> str:
    """Return what an annotator takes a lesion for: the true class, mostly; else its look-alike, mostly."""
    if rng.uniform() < skill:
        return class_name
    if rng.uniform() < _LOOK_ALIKE:
        return CLASSES[class_name].look_alike
    others = [name for name in CLASSES if name not in (class_name, CLASSES[class_name].look_alike)]
    return others[int(rng.integers(len(others)))]
