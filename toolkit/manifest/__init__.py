"""The study file (TOML), read and checked as a whole; its sections are in the modules beside this one."""

import os
import re
from collections import Counter
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from toolkit.errors import DamagedError, StudyError
from toolkit.files import read_toml, sha256_of
from toolkit.manifest.base import Section, fold
from toolkit.manifest.baseline import BaselineSection
from toolkit.manifest.cohort import (
    ClassSection,
    IngestSection,
    LabelboxSection,
    PrivacySection,
    PullSection,
    SplitSection,
    StudySection,
)
from toolkit.manifest.evaluation import EvaluateSection, OperatingPoint, PlanSection, ReportingSection, ReportSection
from toolkit.manifest.model import (
    ExternalSection,
    FeaturesSection,
    ModelSection,
    PredictSection,
    PromptSection,
    TrainSection,
)
from toolkit.manifest.queue import QueueSection
from toolkit.manifest.readers import ReadersSection
from toolkit.manifest.release import ReleaseSection

NEWER = {
    ("model", "roi_shape"): "squash",
    ("train", "max_grad_norm"): 1.0,
    ("train", "gradient_checkpointing"): False,
}
"""Keys that came after the first runs, by section and name, with the defaults that stand for what was done before."""
MOST_FAULTS = 100
LONGEST_SHOWN = 300
"""Characters of a key, a value or a reason in a message."""
NO_PATIENTS = "no patient identifiers: leakage by patient cannot be excluded"
"""What everything says that is made from a study with `patient_from = "none"`."""


class Study(Section):
    """A whole study file."""

    study: StudySection
    labelbox: LabelboxSection
    ingest: IngestSection = IngestSection()
    classes: Annotated[list[ClassSection], Field(min_length=2)]
    split: SplitSection = SplitSection()
    prompt: PromptSection
    model: ModelSection
    train: TrainSection = TrainSection()
    features: FeaturesSection = FeaturesSection()
    predict: PredictSection = PredictSection()
    baseline: BaselineSection = BaselineSection()
    external: ExternalSection = ExternalSection()
    evaluate: EvaluateSection = EvaluateSection()
    plan: PlanSection | None = None
    readers: ReadersSection | None = None
    queue: QueueSection = QueueSection()
    report: ReportSection = ReportSection()
    reporting: ReportingSection = ReportingSection()
    privacy: PrivacySection = PrivacySection()
    release: ReleaseSection | None = None
    pull: PullSection = PullSection()

    @model_validator(mode="after")
    def _classes_are_told_apart(self) -> "Study":
        spellings = Counter(s for c in self.classes for s in {fold(s) for s in c.spellings})
        if shared := sorted(s for s, count in spellings.items() if count > 1):
            raise ValueError(f"classes: two classes share the spelling {', '.join(shared)}")
        asked = Counter(fold(q) for q in (self.labelbox.question, *(c.question for c in self.classes)) if q)
        if shared := sorted(question for question, count in asked.items() if count > 1):
            raise ValueError(f"classes: a question of a class's own is asked for nothing else: {', '.join(shared)}")
        return self

    @model_validator(mode="after")
    def _classes_that_are_named_exist(self) -> "Study":
        for key, named in (
            ("split.targets", {name for classes in self.split.targets.values() for name in classes}),
            ("external.classes", set(self.external.classes)),
            ("evaluate.operating_points", {name for point in self.evaluate.operating_points for name in point.classes}),
            ("report.conditions", {c.class_name for c in self.report.conditions if c.class_name}),
            ("readers.positive", set(self.readers.positive) if self.readers else set()),
            ("plan.class_name", {self.plan.class_name} if self.plan and self.plan.class_name else set()),
        ):
            if unknown := sorted(named - set(self.class_names)):
                raise ValueError(f"{key}: no such class: {', '.join(unknown)}")
        if self.evaluate.ordered and sorted(self.evaluate.ordered) != sorted(self.class_names):
            raise ValueError("evaluate.ordered: it names every class of the study once, or is empty")
        return self

    @model_validator(mode="after")
    def _model_is_trained_and_asked_fairly(self) -> "Study":
        if self.model.dtype != "float32" and self.train.mode == "full":
            raise ValueError('model.dtype: with train.mode = "full" everything is trained, and that is float32')
        if self.model.dtype == "4bit" and self.train.mode != "lora":
            raise ValueError('model.dtype: 4-bit weights cannot be trained; use train.mode = "lora", or "bfloat16"')
        leaked = [a for c in self.classes for a in (c.answer, *c.answers) if fold(a) in fold(self.prompt.user)]
        if leaked:
            raise ValueError(f"prompt.user: the answer {leaked[0]!r} stands in the prompt; the model must not be told")
        kept, hidden = self.labelbox.metadata, {self.labelbox.patient, self.labelbox.lesion}
        for name in self.prompt.fields:
            if name in hidden:
                raise ValueError(
                    f"prompt.user: {{{name}}} identifies a patient or a lesion; the model must not be told"
                )
            if kept is not None and name not in kept:
                raise ValueError(f"prompt.user: {{{name}}} is none of labelbox.metadata: {', '.join(kept) or 'none'}")
        return self

    @model_validator(mode="after")
    def _no_identifier_is_released(self) -> "Study":
        fields = self.release.fields if self.release else {}
        if named := {self.labelbox.patient, self.labelbox.lesion} & set(fields):
            raise ValueError(f"release.fields: {min(named)} identifies a patient or a lesion")
        return self

    @model_validator(mode="after")
    def _plan_refers_to_what_there_is(self) -> "Study":
        if self.plan is None:
            return self
        points = [point.name for point in self.operating_points]
        for key, wanted, there in (
            ("operating_points", self.plan.operating_points, points),
            ("subgroups", self.plan.subgroups, self.evaluate.groups),
        ):
            if unknown := sorted(set(wanted) - set(there)):
                raise ValueError(
                    f"plan.{key}: none of evaluate's: {unknown[0]}; there are: {', '.join(there) or 'none'}"
                )
        return self

    @property
    def class_names(self) -> list[str]:
        """The classes' names, in the study's order."""
        return [c.name for c in self.classes]

    @property
    def answers(self) -> list[str]:
        """What the model says for each class, in the same order."""
        return [c.answer for c in self.classes]

    @property
    def operating_points(self) -> list[OperatingPoint]:
        """The operating points of the study; without any, its malignant classes together."""
        malignant = [c.name for c in self.classes if c.malignant]
        apart = 0 < len(malignant) < len(self.classes)
        assumed = [OperatingPoint(name="malignant", classes=malignant)] if apart else []
        return self.evaluate.operating_points or assumed

    def class_of(self, spelling: str) -> str | None:
        """Return the class an annotator's answer names, by name, answer or alias, upper and lower case alike."""
        return self._spellings.get(fold(spelling))

    def class_asked(self, question: str) -> ClassSection | None:
        """Return the class whose own question this is."""
        return self._questions.get(fold(question))

    @cached_property
    def _questions(self) -> dict[str, ClassSection]:
        return {fold(c.question): c for c in self.classes if c.question}

    @cached_property
    def _spellings(self) -> dict[str, str]:
        return {fold(s): c.name for c in self.classes for s in c.spellings}

    def names_a_class(self, text: str) -> bool:
        """Tell whether a spelling of a class stands in a text; one of up to four letters only as a word of its own."""
        folded = fold(text)
        return any(
            spelling in folded if len(spelling) > 4 else re.search(rf"(?<!\w){re.escape(spelling)}(?!\w)", folded)
            for spelling in self._spellings
        )

    def determining(self) -> dict[str, Any]:
        """Return the study as far as it determines splits and runs; see `determined`."""
        return determined(self.model_dump(mode="json"))

    def digest(self, *sections: str) -> str:
        """Return the SHA-256 of some sections: what a split or a run was determined by; see `determining`."""
        document = self.determining()
        return sha256_of({section: document[section] for section in sections})


def determined(study: dict[str, Any]) -> dict[str, Any]:
    """Return the sections of a study, read today or recorded by a run, as far as they determine splits and runs.

    Further wordings of answers are left out, since no training knows them, and so is the number of seeds, since each is
    a run of its own, what training starts from, which a run notes whole, where training logs go, and what may be sent
    to Labelbox; newer keys are left out at their defaults, so that what was made before them keeps its ID.
    """
    sections = {name: dict(content) if isinstance(content, dict) else content for name, content in study.items()}
    for (section, key), default in NEWER.items():
        if sections[section].get(key) == default:
            sections[section].pop(key, None)
    sections["train"].pop("seeds", None)
    sections["train"].pop("start_from", None)
    sections["train"].pop("report_to", None)
    sections["labelbox"].pop("push", None)
    classes = [{key: value for key, value in each.items() if key != "answers"} for each in study["classes"]]
    return {**sections, "classes": classes}


def load_study(path: Path) -> Study:
    """Read a study file; raise StudyError with every fault at once, each with its key."""
    if not os.path.lexists(path):
        raise StudyError(
            "no such study file",
            place=str(path),
            remedy="give --study FILE.toml; `toolkit sample DIR` makes one to try",
        )
    try:
        return Study.model_validate(read_toml(path))
    except ValidationError as error:
        raise StudyError(
            "the study file has faults:\n" + "\n".join(f"  - {fault}" for fault in faults(error)),
            place=str(path),
            remedy="docs/manifest.md lists every key",
        ) from None
    except (DamagedError, ValueError) as error:
        reason = error.problem if isinstance(error, DamagedError) else str(error)[:300]
        raise StudyError(
            f"the study file cannot be read: {reason}", place=str(path), remedy="a study file is UTF-8 TOML"
        ) from None


def faults(error: ValidationError) -> list[str]:
    """Return one line per fault: key path, what is wrong, what was given; of very many faults the first ones."""
    faults = []
    for fault in islice(error.errors(include_url=False, include_context=False), MOST_FAULTS):
        key = shorten(".".join(str(step + 1) if isinstance(step, int) else step for step in fault["loc"]))
        message = shorten(fault["msg"].removeprefix("Value error, "))
        if key and fault["type"] != "missing" and not isinstance(fault["input"], dict | list):
            message += f" (given: {_given(fault['input'])})"
        faults.append(f"{key}: {message}" if key else message)
    more = error.error_count() - len(faults)
    return [*faults, f"and {more} more"] if more else faults


def _given(value: Any) -> str:
    try:
        return shorten(repr(value))
    except ValueError:  # Python does not write a number of very many digits
        return "a number of very many digits"


def shorten(text: str) -> str:
    """Return the beginning of a text that is too long for a message."""
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]} …"
