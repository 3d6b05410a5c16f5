"""The meaning of an export's words in a study: its projects, its ROI boxes, its questions and classes."""

import difflib
from functools import lru_cache

from toolkit.labelbox_json import shapes
from toolkit.manifest import Study
from toolkit.manifest.base import fold
from toolkit.privacy import scrub

REMEMBERED = 10_000


class Terms:
    """A study's vocabulary."""

    def __init__(self, study: Study) -> None:
        self.study = study
        labelbox = study.labelbox
        self.projects = {fold(name) for name in labelbox.projects}
        self.roi, self.question = fold(labelbox.roi), fold(labelbox.question)
        self.certain = fold(labelbox.certainty) if labelbox.certainty else None
        own = {fold(labelbox.patient), fold(labelbox.lesion)}
        kept = None if labelbox.metadata is None else set(map(fold, labelbox.metadata)) - own
        remembered = lru_cache(maxsize=REMEMBERED)
        self.in_study = remembered(lambda *names: not self.projects.isdisjoint(map(fold, names)))
        self.keeps = remembered(lambda name: fold(name) not in own if kept is None else fold(name) in kept)
        self.is_roi = remembered(lambda *names: self.roi in {fold(name) for name in names if name})
        self.class_marked = remembered(self._class_marked)
        self.diagnosis = remembered(self._diagnosis)
        self.asks_class = remembered(self._asks_class)
        self.asks_certainty = remembered(lambda *names: self.certain in {fold(name) for name in names if name})

    def _class_marked(self, *names: str | None) -> str | None:
        """Return the class that an object's name or slug is."""
        return next((c for c in map(self.study.class_of, filter(None, names)) if c), None)

    def _diagnosis(self, question: str, slug: str | None, answer: str, answer_slug: str | None) -> str | None:
        """Return the class an answer means, or its spelling where it is none; None where it does not name a class."""
        asked = [name for name in (question, slug) if name]
        if own := next((c for c in map(self.study.class_asked, asked) if c), None):
            return own.name if fold(answer) in map(fold, own.affirmative) else None
        if self.question not in map(fold, asked):
            return None
        known, other = self.study.class_of(answer), self.study.class_of(answer_slug) if answer_slug else None
        if known and other not in (known, None):  # its name decides, and its slug must not contradict
            return f"{answer} / {answer_slug}"
        return known or answer

    def _asks_class(self, *names: str | None) -> bool:
        """Tell whether a question's name or slug is one whose answer names a class."""
        asked = [name for name in names if name]
        return self.question in map(fold, asked) or any(map(self.study.class_asked, asked))

    def certainty(self, questions: list[shapes.Classification]) -> str | None:
        """Return the answer to the question of certainty among these."""
        for question in questions if self.certain else ():
            if question.radio_answer and self.asks_certainty(question.name, question.value):
                return question.radio_answer.name
        return None


def nearest_class(spelling: str, study: Study) -> str:
    """Return what to say about an answer that is no class: its unusual code points and the nearest class."""
    odd = " ".join(f"U+{ord(c):04X}" for c in spelling if ord(c) > 126)
    spellings = [s for c in study.classes for s in (c.name, c.answer, *c.aliases)]
    near = difflib.get_close_matches(spelling, spellings, n=1, cutoff=0.5)
    return f"{scrub(spelling)[:120]!r}{f' (holds {odd})' if odd else ''}; nearest: {near[0] if near else 'none'}"
