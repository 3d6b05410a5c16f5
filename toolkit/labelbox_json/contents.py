"""The records of the objects, answers and relationships that one label holds."""

from typing import Any, NamedTuple

import msgspec

from toolkit.labelbox_json import shapes, staging_tables
from toolkit.labelbox_json.counting import relationships_of
from toolkit.labelbox_json.outlines import Outline, is_outline, outline_of
from toolkit.labelbox_json.terms import Terms
from toolkit.photographs.masks import Size
from toolkit.privacy import scrub

NO_BOX = (None, None, None, None)
NOTHING = Outline()[1:]
NO_GEOMETRY = "an object without geometry"
IN_WORDS = "a text answer"
UNKNOWN_SHAPE = "an answer of a shape that is not known"

encode = msgspec.json.Encoder(order="deterministic").encode

Tables = dict[str, list]
"""Staged records by table."""


class Canvas(NamedTuple):
    """What labels are drawn on: a photograph of this size, and whether y counts from its bottom."""

    size: Size
    from_below: bool = False
    new_answers: bool = False
    """Whether some question of the row has a key that Labelbox did not have: its answer may stand there."""


class LabelContents:
    """Adds the objects, answers and relationships of one label."""

    def __init__(
        self,
        terms: Terms,
        tables: Tables,
        label: staging_tables.Label,
        secrets: tuple[str, ...],
        canvas: Canvas,
    ) -> None:
        self.terms, self.tables, self.secrets, self.canvas = terms, tables, secrets, canvas
        self.key = (label.label_id, label.content_sha256)
        self.label = label
        self.object_count = self.answer_count = self.relationship_count = 0
        self.elsewhere: set[str] = set()
        self.outlined: set[str] = set()

    def fill(self, annotations: shapes.Annotations) -> None:
        """Add everything that a label's annotations hold."""
        if self.canvas.from_below:  # masks of 2018 are the same outlines once more, as pixels
            self.outlined = {thing.name for thing in annotations.objects or () if thing.polygon is not None}
        for thing in annotations.objects or ():
            if thing.unidirectional_relationship is not None:
                self.relationship(thing.name, thing.unidirectional_relationship)
            else:
                self.object(thing)
        for row in relationships_of(annotations):
            self.relationship(row.name, row.unidirectional_relationship or shapes.Relationship())
        if annotations.classifications:
            self.answers(annotations.classifications, None, None)
        if self.elsewhere:
            self.label.elsewhere = "; ".join(sorted(self.elsewhere))

    def object(self, thing: shapes.Object) -> None:
        """Add an object, and the answers on it."""
        position, box = self.object_count, thing.bounding_box
        self.object_count += 1
        class_name = self.terms.class_marked(thing.name, thing.value)
        named = class_name is not None or self.terms.is_roi(thing.name, thing.value)
        again = thing.mask is not None and thing.name in self.outlined
        outline = (
            outline_of(thing, self.canvas.size, from_below=self.canvas.from_below)
            if named and is_outline(thing) and not again
            else None
        )
        place = None if outline or again else thing.annotation_kind or NO_GEOMETRY
        if place and class_name:
            self.elsewhere.add(place)
        object_id = thing.feature_id or f"{self.key[0]}/{position}"
        sides = NO_BOX if box is None else (box.left, box.top, box.width, box.height)
        self.tables["objects"].append(
            staging_tables.Object(
                *self.key,
                position,
                object_id,
                thing.name,
                thing.value,
                thing.annotation_kind,
                _geometry(thing),
                *sides,
                outline is not None,
                class_name,
                *(outline.extent if outline else NO_BOX),
                *(outline[1:] if outline else NOTHING),
            )
        )
        if thing.classifications:
            self.answers(thing.classifications, position, None, place)

    def answers(
        self,
        questions: list[shapes.Classification],
        object_position: int | None,
        parent: int | None,
        place: str | None = None,
    ) -> None:
        """Add every answer to these questions and, below each, the answers nested in it.

        `place` is the kind of object they stand in where it outlines no lesion: what they say is not read.
        """
        beside = self.terms.certainty(questions)
        for question in questions:
            nested_in = (parent, object_position, question.name, question.value)
            options = (question.radio_answer, *(question.checklist_answers or ()))
            kind = "radio" if question.radio_answer else "checklist"
            for option in options:
                if option is None:
                    continue
                below = option.classifications or []
                diagnosis = self.terms.diagnosis(question.name, question.value, option.name, option.value)
                certainty = (self.terms.certainty(below) or beside) if diagnosis else None
                position = self.answer(nested_in, kind, option.name, option.value, diagnosis, certainty)
                if diagnosis and place:
                    self.elsewhere.add(place)
                if below:
                    self.answers(below, object_position, position, place)
            if question.text_answer:
                text = scrub(question.text_answer.content, secrets_in_it=self.secrets)
                self.answer(nested_in, "text", text, None, None, None)
            self.look_elsewhere(question)

    def look_elsewhere(self, question: shapes.Classification) -> None:
        """Note an answer that no rule reads: in words, or under a key that no type knows."""
        if question.radio_answer or question.checklist_answers is not None:
            return
        if self.terms.asks_class(question.name, question.value):
            if question.text_answer is None and self.canvas.new_answers:
                self.elsewhere.add(UNKNOWN_SHAPE)
            elif question.text_answer is not None and question.text_answer.content.strip():
                self.elsewhere.add(IN_WORDS)

    def answer(self, nested_in: tuple, *values: str | None) -> int:
        """Add an answer; return its position in the label."""
        position = self.answer_count
        self.tables["answers"].append(staging_tables.Answer(*self.key, position, *nested_in, *values))
        self.answer_count += 1
        return position

    def relationship(self, name: str, ends: shapes.Relationship) -> None:
        """Add a relationship."""
        record = staging_tables.Relationship(*self.key, self.relationship_count, name, ends.source, ends.target)
        self.tables["relationships"].append(record)
        self.relationship_count += 1


def _geometry(thing: shapes.Object) -> str | None:
    """Return an object's geometry as JSON, under its key of the export."""
    box = thing.bounding_box
    others = thing.polygon or thing.line or thing.point or thing.mask or thing.composite_mask
    if others is None:
        return as_json({"bounding_box": box}) if box else None
    names = ("bounding_box", "polygon", "line", "point", "mask", "composite_mask")
    return as_json({name: getattr(thing, name) for name in names if getattr(thing, name) is not None})


def as_json(value: Any) -> str:
    """Return JSON in which no URL has a query."""
    return scrub(encode(value).decode())
