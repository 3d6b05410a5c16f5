"""Which column of a file of predictions is what: a class's probabilities, the predicted class, its probability.

The rest may be keys or anything else. Nothing is taken that could be meant in two ways.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from toolkit.errors import PredictionsError
from toolkit.prediction_files import numerals
from toolkit.prediction_files.faults import names
from toolkit.prediction_files.tables import PredictionTable

Meaning = Callable[[str], str | None]
"""Returns the class that a text names, None where it names none."""
MOSTLY = 0.5
"""Share of a column's cells that are numbers, or name classes, where the column is one of these."""
BETWEEN = re.compile(r"[\s_.:/-]+")
WRAPPED = re.compile(r"(?P<what>.*?)[(\[{](?P<inner>.+)[)\]}]")
PREDICTED = re.compile(
    r"(?P<of>.*?) ?(?:y )?(?:pred|preds|predicted|prediction|predictions|yhat|y hat|top ?1)"
    r"(?: (?:class|class name|label|name|diagnosis|dx|answer))?"
)
PROBABILITY = re.compile(
    r"(?P<of>.*?) ?(?:y )?(?:pred(?:icted)? )?"
    r"(?:p|prob|probs|proba|probability|score|conf|confidence|softmax|logit|certainty|percent|percentage|likelihood)"
    r"(?: (?:of )?(?:the )?predicted(?: class)?)?"
)
CLASS = {"class", "class name", "classname", "category", "label", "answer", "diagnosis", "dx"}
"""Columns that may hold the class a probability is of; `label` and `diagnosis` may also be the reference diagnosis."""


class Columns(NamedTuple):
    """What is read, as places in the table's columns; either `classes`, or `probability` with or without `named`."""

    classes: dict[int, str]
    """Class of each column that holds one class's probabilities."""
    foreign: list[int]
    """Columns of classes that the study does not have, beside them."""
    named: int | None
    """The column with the predicted class, or the class a row's probability is of."""
    probability: int | None

    @property
    def read(self) -> set[int]:
        """The places of all that is read."""
        alone = {place for place in (self.named, self.probability) if place is not None}
        return {*self.classes, *self.foreign, *alone}


def columns_of(table: PredictionTable, meaning: Meaning, *, model: str, two_classes: bool) -> Columns:
    """Tell what each column is; raise PredictionsError where that cannot be told, with what was found."""
    numbers = [_share_of_numbers(table.texts(place)) for place in range(len(table.columns))]
    numeric = [place for place, share in enumerate(numbers) if share > MOSTLY]
    sets = _sets_of_classes(table, meaning, [place for place, share in enumerate(numbers) if share > 0])
    several = {way: classes for way, classes in sets.items() if len(set(classes.values())) > 1}
    if several:
        way = _chosen(table, several, model)
        return Columns(several[way], _foreign(table, way, several[way], numeric), _predicted(table, meaning, way), None)
    one = [place for classes in sets.values() for place in classes]
    if two_classes and len(one) == 1:
        return Columns(next(iter(filter(None, sets.values()))), [], _predicted(table, meaning, model), None)
    return _listed(table, meaning, numeric, model)


def _share_of_numbers(texts: list[str]) -> float:
    return float((~np.isnan(numerals.parse([texts]).values)).mean()) if texts else 0.0


def _sets_of_classes(table: PredictionTable, meaning: Meaning, numeric: list[int]) -> dict[str, dict[int, str]]:
    """Return the columns named after classes, by what else stands in their names; one-hot truth is no prediction.

    A few numbers make such a column one of probabilities: the cells without a number are faults, then.
    """
    sets: dict[str, dict[int, str]] = {}
    for place in numeric:
        for way, name in _ways(table.columns[place], meaning):
            sets.setdefault(way, {})[place] = name
    if len(sets) > 1:
        soft = {way: classes for way, classes in sets.items() if not _is_one_hot(table, classes)}
        sets = soft or sets
    return sets


def _is_one_hot(table: PredictionTable, classes: dict[int, str]) -> bool:
    numbers = numerals.parse([table.texts(place) for place in classes]).values
    return bool(((numbers == 0) | (numbers == 1)).all())


def _ways(header: str, meaning: Meaning) -> list[tuple[str, str]]:
    """Return each class that a header may mean, with what stands before or behind it: "p_" of "p_mel"."""
    if whole := meaning(header):
        return [("", whole)]
    ways = []
    if (wrapped := WRAPPED.fullmatch(header)) and (name := meaning(wrapped["inner"])):
        ways.append((f"{wrapped['what']}()", name))
    for between in BETWEEN.finditer(header):
        before, behind = header[: between.start()], header[between.end() :]
        if before and behind and (name := meaning(behind)):
            ways.append((f"{before}_", name))
        if before and behind and (name := meaning(before)):
            ways.append((f"_{behind}", name))
    return ways


def _chosen(table: PredictionTable, sets: dict[str, dict[int, str]], model: str) -> str:
    """Return the one set of columns, or that of the model by its name."""
    named = [way for way in sets if way and _plain(way) and _plain(way) in _plain(model)]
    if len(sets) == 1 or len(named) == 1:
        return (named or list(sets))[0] if len(sets) > 1 else next(iter(sets))
    found = "; ".join(names(table.columns[place] for place in classes) for classes in sets.values())
    raise PredictionsError(
        f"the file holds {len(sets)} sets of columns named after classes: {found}",
        place=str(table.path),
        remedy="give the name of one as --model-name, where it stands in its columns, or leave one set in the file",
    )


def _plain(text: str) -> str:
    return " ".join(re.findall(r"[^\W_]+", text.casefold()))


def _foreign(table: PredictionTable, way: str, classes: dict[int, str], numeric: list[int]) -> list[int]:
    """Return columns of further classes: named alike, and such that only with them most rows add up."""
    alike = _alike(way)
    others = [
        place
        for place in numeric
        if place not in classes
        and (alike.fullmatch(table.columns[place]) if alike else not _is_known(table.columns[place]))
    ]
    own, together = (_add_up(table, places) for places in ([*classes], [*classes, *others]))
    return others if others and together and not own else []


def _alike(way: str) -> re.Pattern[str] | None:
    """Return the pattern of names with the same before or behind; None where nothing is."""
    between = BETWEEN.pattern
    if way.endswith("()"):
        return re.compile(rf"{re.escape(way[:-2])}[(\[{{].+[)\]}}]")
    if way.endswith("_"):
        return re.compile(rf"{re.escape(way[:-1])}{between}.+")
    return re.compile(rf".+{between}{re.escape(way[1:])}") if way else None


def _is_known(header: str) -> bool:
    folded = _plain(header)
    return bool(PREDICTED.fullmatch(folded) or PROBABILITY.fullmatch(folded))


def _add_up(table: PredictionTable, places: list[int]) -> bool:
    numbers = numerals.parse([table.texts(place) for place in places])
    sums = numbers.values.sum(axis=1)
    near = [abs(sums - total) <= total * numerals.WIDEST for total in (1, 100)]
    return bool(len(sums)) and max(float(each.mean()) for each in near) > 1 - numerals.MANY


def _predicted(table: PredictionTable, meaning: Meaning, model: str) -> int | None:
    """Return the column of the predicted class beside the probabilities, where there is just one."""
    found = _of_pattern(table, PREDICTED, lambda place: _names_a_class(table.texts(place), meaning))
    if len(found) > 1:
        found = {of: places for of, places in found.items() if of and of in _plain(model)}
    places = [place for own in found.values() for place in own]
    return places[0] if len(places) == 1 else None


def _of_pattern(
    table: PredictionTable, pattern: re.Pattern[str], is_one: Callable[[int], bool]
) -> dict[str, list[int]]:
    """Return the columns whose names fit, by the name of a model that stands before."""
    found: dict[str, list[int]] = {}
    for place, header in enumerate(table.columns):
        fits = pattern.fullmatch(_plain(header))
        if fits and is_one(place):
            found.setdefault(fits["of"].strip(), []).append(place)
    return found


def _names_classes(texts: list[str], meaning: Meaning) -> bool:
    return bool(texts) and sum(meaning(text) is not None for text in texts) > MOSTLY * len(texts)


def _names_a_class(texts: list[str], meaning: Meaning) -> bool:
    return any(meaning(text) is not None for text in texts)


def _listed(table: PredictionTable, meaning: Meaning, numeric: list[int], model: str) -> Columns:
    """Return a column of classes and one of probabilities."""
    scores = _of_pattern(table, PROBABILITY, lambda place: place in numeric)
    classes = _of_pattern(table, PREDICTED, lambda place: _names_a_class(table.texts(place), meaning))
    if len(scores) > 1:
        own = {of: places for of, places in scores.items() if of and (of in _plain(model) or _plain(model) in of)}
        if len(own) != 1:
            found = names(table.columns[place] for places in scores.values() for place in places)
            raise PredictionsError(
                f"the file holds the probabilities of {len(scores)} models: {found}",
                place=str(table.path),
                remedy=f"give one of these as --model-name: {names(sorted(scores))}",
            )
        scores, classes = own, {of: places for of, places in classes.items() if of in own}
    places = [place for own in scores.values() for place in own]
    named = [place for own in classes.values() for place in own] or _class_columns(table, meaning)
    if len(places) != 1 or len(named) > 1:
        raise _untold(table, numeric)
    return Columns({}, [], named[0] if named else None, places[0])


def _class_columns(table: PredictionTable, meaning: Meaning) -> list[int]:
    return [
        place
        for place, header in enumerate(table.columns)
        if _plain(header) in CLASS and _names_classes(table.texts(place), meaning)
    ]


def _untold(table: PredictionTable, numeric: list[int]) -> PredictionsError:
    numbers = f"; columns of numbers: {names(table.columns[place] for place in numeric)}" if numeric else ""
    return PredictionsError(
        f"no column is named after a class of the study, and there is not one column of probabilities beside one with "
        f"the predicted class{numbers}",
        place=str(table.path),
        remedy="name columns by the study's classes, their answers or aliases (also p_NAME), or give the columns "
        f"predicted and probability; the file has {names(map(str, table.columns))}",
    )
