"""Predictions from a table: a row a case with all classes, a row a case and class, or the predicted class alone."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from toolkit.errors import PredictionsError
from toolkit.prediction_files import numerals
from toolkit.prediction_files.columns import CLASS, Columns, Meaning
from toolkit.prediction_files.faults import Faults, names, plain_name, shown
from toolkit.prediction_files.numerals import Numbers, Scale, Understood
from toolkit.prediction_files.tables import PredictionTable

Knows = Literal["distribution", "scores", "predicted"]
"""What a file tells of a case: every class's probability, each class's score alone, or the predicted class's only."""
LEAST_SURE = 0.5
"""What the more probable of two classes has at least."""
UNNAMED = "the predicted class is none of the study's"
TWO_WAYS = "name the column after the class whose probability it holds, such as p_NAME"


class CasePrediction(NamedTuple):
    """What a file says of a case: the place of its first row, and the probabilities it gives."""

    place: int
    predicted: str
    probabilities: dict[str, float]


class FilePredictions(NamedTuple):
    """The predictions of a file, with how they were meant."""

    cases: list[CasePrediction]
    knows: Knows
    scale: Scale
    lacking: list[str]
    """Classes of the study that the file has no probabilities of."""
    notes: list[str]
    named: int | None
    """The column that the predicted class was read from."""


class Asked(NamedTuple):
    """How a file's texts and numbers are meant: the study's classes, and what the user said."""

    classes: Sequence[str]
    meaning: Meaning
    positive: str | None
    """Of two classes the one that a column `probability` is of."""
    stated: Scale | None


def wide(table: PredictionTable, columns: Columns, asked: Asked, faults: Faults) -> FilePredictions:
    """Return the predictions of a table with a column for each class."""
    places = [*columns.classes, *columns.foreign]
    found = understood(table, places, asked.stated, faults)
    values, notes = found.values, [found.note] if found.note else []
    own = [columns.classes[place] for place in columns.classes]
    if columns.foreign:
        values, note = _of_own_classes(table, columns, values, faults)
        notes.append(note)
    if len(own) == 1:
        told = _of_two(table, columns, own[0], values[:, 0], asked, faults)
        return told._replace(scale=found.scale, notes=[*notes, *told.notes])
    if found.scale == "scores" and len(set(own)) < len(own):
        raise PredictionsError(
            "two columns are of one class, and scores of each class by itself cannot be added",
            place=str(table.path),
            remedy="leave one column of each class in the file",
        )
    present = [name for name in asked.classes if name in own]
    of_classes = np.column_stack(
        [values[:, [n for n, each in enumerate(own) if each == name]].sum(axis=1) for name in present]
    )
    cases = _cases(table, columns.named, of_classes.clip(0, 1), present, asked, faults)
    lacking = [name for name in asked.classes if name not in present]
    knows: Knows = "scores" if found.scale == "scores" else "distribution"
    return FilePredictions(
        cases, knows, found.scale, lacking, [*notes, *_disagreeing(cases, columns.named)], columns.named
    )


def understood(table: PredictionTable, places: list[int], stated: Scale | None, faults: Faults) -> Understood:
    """Return the numbers of columns as probabilities or scores; note cells without a number and rows that are none."""
    numbers = numerals.parse([table.texts(place) for place in places])
    for row, column in np.argwhere(np.isnan(numbers.values)).tolist():
        _note_no_number(table, row, places[column], faults)
    return _told(table, numbers, table.numbers, stated, faults)


def _note_no_number(table: PredictionTable, row: int, column: int, faults: Faults) -> None:
    faults.add("no number", table.numbers[row], f"is {shown(table.rows[row][column])}", column=table.columns[column])


def _told(
    table: PredictionTable, numbers: Numbers, rows: Sequence[int], stated: Scale | None, faults: Faults
) -> Understood:
    """Return numbers (N, K) as they are meant; `rows` tells the row of each of the N."""
    of = numerals.one_probability if numbers.values.shape[1] == 1 else numerals.understood
    try:
        found = of(numbers, stated)
    except ValueError as error:
        raise PredictionsError(
            f"it cannot be told what the numbers are: {error}",
            place=str(table.path),
            remedy=f"say it with --numbers: {', '.join(numerals.SCALES)}",
        ) from None
    for place, fault in numerals.off(found).items():
        faults.add(fault.kind, rows[place], fault.detail)
    return found


def _of_own_classes(
    table: PredictionTable, columns: Columns, values: np.ndarray, faults: Faults
) -> tuple[np.ndarray, str]:
    """Return the probabilities of the study's classes alone, divided by their sum."""
    own = values[:, : len(columns.classes)]
    total = own.sum(axis=1, keepdims=True)
    for place in np.flatnonzero(total[:, 0] <= 0).tolist():
        faults.add("the study's classes have no probability", table.numbers[place])
    named = names(table.columns[place] for place in columns.foreign)
    note = f"no class of the study: {named}; the probabilities are of the others alone, divided by their sum"
    return np.divide(own, total, out=np.zeros_like(own), where=total > 0), note


def _cases(
    table: PredictionTable, named: int | None, values: np.ndarray, classes: list[str], asked: Asked, faults: Faults
) -> list[CasePrediction]:
    """Return each row's prediction; the predicted class is the most probable one where no column says it."""
    cases = []
    for place, row in enumerate(values.tolist()):
        best = classes[int(np.argmax(row))]
        if named is not None:
            text = table.rows[place][named]
            best = asked.meaning(text) or ""
            if best not in classes:
                faults.add(UNNAMED, table.numbers[place], f"is {shown(text)}", column=table.columns[named])
        cases.append(CasePrediction(place, best, dict(zip(classes, row, strict=True))))
    return cases


def _disagreeing(cases: list[CasePrediction], named: int | None) -> list[str]:
    """Say how often the predicted class is not the most probable one."""
    if named is None:
        return []
    other = sum(case.probabilities.get(case.predicted, 1) < max(case.probabilities.values()) for case in cases)
    return [f"in {other} rows the predicted class is not the most probable one; it stays as the file says"] * bool(
        other
    )


def listed(
    table: PredictionTable, columns: Columns, keys: Sequence[str | None], asked: Asked, faults: Faults
) -> FilePredictions:
    """Return the predictions of a table with one probability a row; `keys` tells which rows are of one case."""
    probability = columns.probability
    if probability is None:
        raise ValueError("the table has no column of probabilities")
    if columns.named is not None and _is_long(table, columns.named, keys, asked):
        return _long(table, columns.named, probability, keys, asked, faults)
    found = understood(table, [probability], asked.stated, faults)
    if len(asked.classes) == 2:
        told = _of_two(table, columns, None, found.values[:, 0], asked, faults)
        return told._replace(scale=found.scale, notes=[*filter(None, [found.note]), *told.notes])
    if columns.named is None:
        raise PredictionsError(
            "there is a column of probabilities and none of predicted classes",
            place=str(table.path),
            remedy="add a column predicted, or one of probabilities for each class",
        )
    if found.scale == "logits":
        raise PredictionsError(
            "of more than two classes, the logit of the predicted one alone gives no probability",
            place=str(table.path),
            remedy="give the logits of all classes, a column each",
        )
    cases = []
    for place, value in enumerate(found.values[:, 0].clip(0, 1).tolist()):
        name = _named(table, columns.named, place, asked, faults)
        cases.append(CasePrediction(place, name, {name: value}))
    note = "only the predicted class's probability is known: what rests on the others' is undefined"
    return FilePredictions(cases, "predicted", found.scale, [], [*filter(None, [found.note]), note], columns.named)


def _named(table: PredictionTable, column: int, place: int, asked: Asked, faults: Faults) -> str:
    text = table.rows[place][column]
    name = asked.meaning(text) or ""
    if name not in asked.classes:
        faults.add(UNNAMED, table.numbers[place], f"is {shown(text)}", column=table.columns[column])
    return name


def _is_long(table: PredictionTable, named: int, keys: Sequence[str | None], asked: Asked) -> bool:
    """Tell whether most cases have rows of several classes."""
    classes: dict[str, set[str | None]] = {}
    for key, row in zip(keys, table.rows, strict=True):
        if key is not None:
            classes.setdefault(key, set()).add(asked.meaning(row[named]))
    return sum(len(own) > 1 for own in classes.values()) > len(classes) / 2


def _long(
    table: PredictionTable, named: int, probability: int, keys: Sequence[str | None], asked: Asked, faults: Faults
) -> FilePredictions:
    """Return the predictions of a table with a row for each case and class."""
    rows = _rows_by_case(table, named, keys, asked, faults)
    numbers = numerals.parse([table.texts(probability)])
    present = [name for name in asked.classes if any(name in own for own in rows.values())]
    if len(present) < 2:
        raise _untold_classes(table)
    grid = np.zeros((len(rows), len(present)))
    for n, own in enumerate(rows.values()):
        for name, place in own.items():
            grid[n, present.index(name)] = numbers.values[place, 0]
            if np.isnan(numbers.values[place, 0]):
                _note_no_number(table, place, probability, faults)
    first = [min(own.values()) for own in rows.values()]
    found = _told(table, numbers._replace(values=grid), [table.numbers[place] for place in first], asked.stated, faults)
    incomplete = [own for own in rows.values() if len(own) < len(present)]
    if found.scale in ("logits", "scores"):
        for own in incomplete:
            faults.add("a case lacks the row of a class", table.numbers[min(own.values())])
    cases = [
        CasePrediction(place, present[int(np.argmax(row))], dict(zip(present, row, strict=True)))
        for place, row in zip(first, found.values.clip(0, 1).tolist(), strict=True)
    ]
    notes = [found.note] if found.note else []
    if incomplete and found.scale not in ("logits", "scores"):
        notes.append(f"{len(incomplete)} cases lack the row of a class: its probability is 0 there")
    knows: Knows = "scores" if found.scale == "scores" else "distribution"
    lacking = [name for name in asked.classes if name not in present]
    return FilePredictions(cases, knows, found.scale, lacking, notes, named)


def _rows_by_case(
    table: PredictionTable, named: int, keys: Sequence[str | None], asked: Asked, faults: Faults
) -> dict[str, dict[str, int]]:
    """Return the place of each case's row of each class."""
    rows: dict[str, dict[str, int]] = {}
    for place, key in enumerate(keys):
        name = _named(table, named, place, asked, faults)
        if key is not None and name:
            own = rows.setdefault(key, {})
            if name in own:
                says = f"as row {table.numbers[own[name]]}, {name}"
                faults.add("a case stands twice with the same class", table.numbers[place], says)
            own.setdefault(name, place)
    return rows


def _untold_classes(table: PredictionTable) -> PredictionsError:
    problem = "the rows name fewer than two classes of the study"
    return PredictionsError(problem, place=str(table.path), remedy="add aliases to [[classes]] of the study file")


def _of_two(
    table: PredictionTable, columns: Columns, of: str | None, values: np.ndarray, asked: Asked, faults: Faults
) -> FilePredictions:
    """Return the predictions of two classes from one probability: that of `of`, or of the class that the data tell."""
    named, notes = columns.named, []
    told = [] if named is None else [asked.meaning(text) or "" for text in table.texts(named)]
    if named is not None and of is None and _is_reference(table, named, told, values, asked):
        notes.append(f"not read, since these probabilities do not give it: {plain_name(table.columns[named])}")
        named, told = None, []
    if of is None and told and not (values < LEAST_SURE).any():
        owners = told
        notes.append("the probability is taken as that of the predicted class")
    else:
        owners = [of or _whose(table, told, values, asked)] * len(values)
        notes += [] if of else [f"the probability is taken as that of {owners[0]}"] if owners else []
    cases = []
    for place, (owner, value) in enumerate(zip(owners, values.clip(0, 1).tolist(), strict=True)):
        row = {name: value if name == owner else 1 - value for name in asked.classes}
        best = max(row, key=lambda name: row[name])
        predicted = best if named is None else _named(table, named, place, asked, faults)
        cases.append(CasePrediction(place, predicted, row))
    return FilePredictions(cases, "distribution", "probabilities", [], [*notes, *_disagreeing(cases, named)], named)


def _is_reference(table: PredictionTable, named: int, told: list[str], values: np.ndarray, asked: Asked) -> bool:
    """Tell whether a column that does not say what it is, such as `label`, is no prediction by this probability."""
    if " ".join(table.columns[named].casefold().replace("_", " ").split()) not in CLASS:
        return False
    sure = values >= LEAST_SURE
    fits = any(all((name == own) == s for name, s in zip(told, sure, strict=True)) for own in asked.classes)
    return not (fits or sure.all())


def _whose(table: PredictionTable, told: list[str], values: np.ndarray, asked: Asked) -> str:
    """Return the class whose probability a column holds: higher where that class is predicted, else the positive."""
    means = {}
    if len({*told} & {*asked.classes}) == 2:
        predicted = np.array(told)
        means = {own: float(np.nanmean(values[predicted == own])) for own in asked.classes}
    own = max(means, key=lambda name: means[name]) if means else asked.positive
    if own is None:
        counts = Counter(told)
        problem = f"it cannot be told which class's probability the file holds ({len(counts)} predicted classes)"
        raise PredictionsError(problem, place=str(table.path), remedy=TWO_WAYS)
    return own
