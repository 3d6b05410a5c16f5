"""How many of each noun a row holds: by walking all of it, and by its types, which are what is stored."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from toolkit.labelbox_json import shapes

VALUES_OF_OTHERS = ("data_row", "media_attributes", "metadata_fields", "attachments", "embeddings")
"""Keys of a row under which anything may stand, and no annotation does."""


class Counts(msgspec.Struct):
    """How many of each noun a row holds."""

    row: int = 1
    project: int = 0
    label: int = 0
    answer: int = 0
    object: int = 0
    relationship: int = 0
    prediction: int = 0

    def beyond(self, other: "Counts") -> dict[str, int]:
        """Return what this holds more than another, by noun."""
        more = {name: getattr(self, name) - getattr(other, name) for name in self.__struct_fields__}
        return {name: times for name, times in more.items() if times > 0}


def count(raw: Any) -> Counts:
    """Count nouns in undecoded JSON wherever they stand, trusting no type: what stored + quarantined is held against.

    An object is what stands among `objects`, in a list or, as in the frames of a video, by its ID; so are labels,
    predictions and relationships. An answer is known by the key that it stands under.
    """
    row = shapes.as_dict(raw)
    counts = Counts(project=len(shapes.dict_values(row.get("projects"))))
    for value in dicts_within([value for name, value in row.items() if name not in VALUES_OF_OTHERS]):
        _count_here(value, counts)
    return counts


def dicts_within(values: list[Any]) -> Iterator[dict]:
    """Yield every JSON object among some values and within them, however deep."""
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _count_here(value: dict, counts: Counts) -> None:
    """Count what stands right in a JSON object."""
    counts.label += len(shapes.dicts(value.get("labels")))
    counts.prediction += len(shapes.dicts(value.get("predictions")))
    things, links = _members(value.get("objects")), _members(value.get("relationships"))
    related = [thing for thing in things if thing.get("unidirectional_relationship") is not None]
    counts.object += len(things) - len(related)
    counts.relationship += len(related) + len(list(not_repeated(map(ends_of, links), map(ends_of, related))))
    counts.answer += isinstance(value.get("radio_answer"), dict) + isinstance(value.get("text_answer"), dict)
    counts.answer += len(shapes.dicts(value.get("checklist_answers")))


def _members(value: Any) -> list[dict]:
    return shapes.dicts(value) or shapes.dict_values(value)


Ends = tuple[str | None, str | None, str | None, str | None]
"""Feature ID, name, source and target of a relationship."""


def ends_of(link: dict) -> Ends:
    """Return what tells an undecoded relationship from others: its feature ID; else its name and its ends."""
    ends = shapes.as_dict(link.get("unidirectional_relationship"))
    return _text(link.get("feature_id")), _text(link.get("name")), _text(ends.get("source")), _text(ends.get("target"))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def not_repeated(links: Iterable[Ends], related: Iterable[Ends]) -> Iterator[int]:
    """Yield the positions of the relationships in a list of their own that do not stand among the objects as well."""
    known = list(related)
    ids, ends = Counter(each[0] for each in known if each[0]), Counter(each[1:] for each in known)
    for position, link in enumerate(links):
        if link[0] and ids[link[0]]:
            ids[link[0]] -= 1
            ends[link[1:]] -= 1
        elif ends[link[1:]] > 0:
            ends[link[1:]] -= 1
        else:
            yield position


def count_decoded(row: shapes.Row) -> Counts:
    """Count the nouns of a row that its types name and its tables hold."""
    counts = Counts(project=len(row.projects))
    for project in row.projects.values():
        counts.label += _count_labels(project.labels, counts)
    for _, _, run in row.runs() if row.experiments else ():
        counts.label += _count_labels(run.labels, counts)
        counts.prediction += _count_labels(run.predictions, counts)
    return counts


def _links(annotations: shapes.Annotations) -> list[shapes.Object]:
    return [thing for thing in annotations.objects or () if thing.unidirectional_relationship is not None]


def _count_labels(labels: list[shapes.Label] | None, counts: Counts) -> int:
    for label in labels or ():
        annotations = label.annotations
        counts.relationship += len(list(relationships_of(annotations))) if annotations.relationships else 0
        for thing in annotations.objects or ():
            if thing.unidirectional_relationship is not None:
                counts.relationship += 1
                continue
            counts.object += 1
            if thing.classifications:
                counts.answer += _count_answers(thing.classifications)
        if annotations.classifications:
            counts.answer += _count_answers(annotations.classifications)
    return len(labels or ())


def relationships_of(annotations: shapes.Annotations) -> Iterator[shapes.RelationshipRow]:
    """Yield the relationships of a label that do not stand among its objects as well."""
    rows = annotations.relationships or []
    for position in not_repeated(map(_ends, rows), map(_ends, _links(annotations))):
        yield rows[position]


def _ends(link: shapes.RelationshipRow | shapes.Object) -> Ends:
    ends = link.unidirectional_relationship or shapes.Relationship()
    return _text(link.feature_id), link.name, ends.source, ends.target


def _count_answers(questions: list[shapes.Classification]) -> int:
    """Count answers and those nested in them."""
    answers = 0
    for question in questions:
        answers += question.text_answer is not None
        for option in (question.radio_answer, *(question.checklist_answers or ())):
            if option is not None:
                answers += 1
                if option.classifications:
                    answers += _count_answers(option.classifications)
    return answers
