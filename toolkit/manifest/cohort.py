"""Sections of a study file about labels, photographs, patients and how cases are split."""

from collections.abc import Iterable
from functools import cached_property
from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator, model_validator

from toolkit.manifest.base import ClassName, Fraction, Name, Positive, Section

Address = Annotated[str, Field(pattern=r"^https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._/-]*)?$")]
Host = Annotated[str, Field(pattern=r"^(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")]
Pseudonym = Annotated[str, Field(pattern=r"^p-[0-9a-f]{16}$")]
Part = Literal["train", "validation", "test"]
Relation = Literal["patient", "lesion", "identical_bytes", "identical_pixels", "near_duplicate"]
RELATIONS: tuple[Relation, ...] = get_args(Relation)

PATTERN_LIMIT = 300
"""Characters of a pattern for patient identifiers."""


class StudySection(Section):
    """What the study is called, and the seed of everything random in it."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,60}$")]
    """Short name."""
    title: Name
    """Title of the reports."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Seed of split, training and bootstrap."""
    notice: str = ""
    """Shown on top of every report."""


class PushSection(Section):
    """What `toolkit push` may send to Labelbox; it has no part in what a split or a run is determined by."""

    steps: list[Literal["priority", "issue", "rework"]] | None = None
    """What is done with the labels of a queue: `priority` (lower comes sooner; it orders photographs that still wait to
    be labeled), `issue` (the reason, at the label), `rework` (the photograph goes back to `task_queue`). Without this
    key priority and issue, and rework where a task queue is named."""
    task_queue: Name | None = None
    """Name or ID of the step of the workflow that photographs go back to. There is no default: to Labelbox, none means
    Done."""
    metadata: list[Literal["part", "patient_id"]] = []
    """Metadata fields that `push metadata` may write: `part` (subset of the newest split, as `toolkit_part`) and
    `patient_id` (pseudonym, as `toolkit_patient_id`). Empty = none."""


class LabelboxSection(Section):
    """Which project, question, box and metadata fields mean what: names or slugs, as Labelbox shows them."""

    projects: Annotated[list[Name], Field(min_length=1)]
    """Names or IDs of the study's projects; rows of others are stored and counted."""
    question: Name = "diagnosis"
    """The question whose answer is the class, about the photograph or nested in a box."""
    roi: Name = "lesion_roi"
    """The box, polygon or mask around a lesion, whose extent is the ROI; one named like a class is one too."""
    patient: Name = "patient_id"
    """Metadata field with the patient's identifier."""
    lesion: Name = "lesion_id"
    """Metadata field with the lesion's identifier, unique within a patient."""
    patient_from: Literal["metadata", "external_id", "global_key", "none"] = "metadata"
    """Where the patient's identifier stands: in the metadata field, within the external ID or the global key (see
    `patient_pattern`; a metadata field that names another patient keeps the photograph's cases out), or nowhere: then
    every photograph counts as a patient of its own, and everything made says that leakage cannot be excluded."""
    patient_pattern: Annotated[str, Field(max_length=PATTERN_LIMIT)] = ""
    """Regular expression (RE2) that finds the identifier in the external ID or the global key: named groups
    `(?P<patient>…)` and, where it stands there too, `(?P<lesion>…)`; other groups are written `(?:…)`."""
    certainty: Name | None = None
    """Question that says how certain an answer is, nested in the answer or beside it; kept in `answers.certainty`."""
    metadata: list[Name] | None = None
    """Metadata fields to keep, by name, and columns of `toolkit attach` that the prompt names; without this key all are
    kept, also free text that may hold names."""
    push: PushSection = PushSection()

    @field_validator("patient_pattern")
    @classmethod
    def _is_a_pattern(cls, pattern: str) -> str:
        if pattern:
            groups = pattern_groups(pattern)
            if "patient" not in groups or groups - {"patient", "lesion"}:
                raise ValueError("its named groups are (?P<patient>…) and, if needed, (?P<lesion>…)")
        return pattern

    @model_validator(mode="after")
    def _pattern_has_its_text(self) -> "LabelboxSection":
        if written := {self.patient, self.lesion} & {"toolkit_part", "toolkit_patient_id"}:
            raise ValueError(
                f"{written.pop()} is a field that `toolkit push metadata` writes: identifiers stand elsewhere"
            )
        if bool(self.patient_pattern) != (self.patient_from in ("external_id", "global_key")):
            raise ValueError('patient_pattern belongs to patient_from = "external_id" or "global_key", and they to it')
        return self


class IngestSection(Section):
    """How readings become cases and truth."""

    policy: Literal["majority", "latest", "reviewed", "benchmark", "annotator"] = "majority"
    """How readings become truth, as docs/method.md says; a tie resolves nothing."""
    annotator: Annotated[str, Field(min_length=3, max_length=320)] | None = None
    """E-mail address of the annotator of policy "annotator"; compared by pseudonym, never stored."""
    workflow: list[Literal["TO_LABEL", "IN_REVIEW", "IN_REWORK", "DONE"]] = []
    """Workflow states whose labels count; empty = all, also labels without a state."""
    empty_label: Literal["unread", "keep_out"] = "unread"
    """What a label without box and answer means: nothing is read from it, or its photograph is kept out."""
    skipped_label: Literal["unread", "keep_out"] = "unread"
    """What a skipped label means: nothing is read from it, or its photograph is kept out."""
    box_over_edge: Literal["clip", "keep_out"] = "clip"
    """What becomes of a case whose box reaches over the photograph's edge: its box is clipped, or it is kept out."""
    box_iou: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Overlap (intersection over union) from which two annotators' boxes mean the same lesion."""
    longest_row: Annotated[int, Field(ge=1_000)] = 2_000_000
    """Bytes; a longer row of an export is quarantined."""
    same_patient: list[Annotated[list[Pseudonym], Field(min_length=2)]] = []
    """Pseudonyms that are one person, such as `[["p-0123456789abcdef", "p-fedcba9876543210"]]`: all become the first in
    alphabetical order. `toolkit query similar_patients` lists what may be one; pseudonyms belong to the study's key."""

    @model_validator(mode="after")
    def _an_annotator_is_named(self) -> "IngestSection":
        if (self.policy == "annotator") != (self.annotator is not None):
            raise ValueError('policy "annotator" and the key annotator belong together')
        listed = [pseudonym for group in self.same_patient for pseudonym in group]
        if len(set(listed)) < len(listed):
            raise ValueError("same_patient: it lists a pseudonym more than once; put all of one person into one list")
        return self

    def one_person(self, pseudonym: str) -> tuple[str, ...]:
        """Return all pseudonyms of a person in order; the first is what the registry calls the patient."""
        return self._persons.get(pseudonym, (pseudonym,))

    def every_pseudonym(self, patients: Iterable[str]) -> set[str]:
        """Return all pseudonyms of the registry's patients, of each person all."""
        return {pseudonym for patient in patients for pseudonym in self.one_person(patient)}

    @cached_property
    def _persons(self) -> dict[str, tuple[str, ...]]:
        groups = [tuple(sorted(group)) for group in self.same_patient]
        return {pseudonym: group for group in groups for pseudonym in group}


class ClassSection(Section):
    """One class: its name everywhere, what the model answers for it, and what annotators may call it."""

    name: ClassName
    """Name in tables and reports."""
    answer: Name
    """What the model is trained to say for it."""
    answers: list[Name] = []
    """Further wordings that mean it: `predict` adds their probabilities to that of `answer`."""
    malignant: bool
    """Whether it is malignant."""
    aliases: list[Name] = []
    """Other spellings of it in exports."""
    question: Name | None = None
    """A question of this class's own, such as "Is it a melanoma?"; answered with `yes`, it names this class."""
    yes: Name | Annotated[list[Name], Field(min_length=1)] = "yes"
    """The answer to `question` that names this class, or the answers: `["1 - Definitely", "2 - Likely"]`."""

    @property
    def affirmative(self) -> tuple[str, ...]:
        """The answers to its own question that name it."""
        return (self.yes,) if isinstance(self.yes, str) else tuple(self.yes)

    @property
    def spellings(self) -> tuple[str, ...]:
        """Every text that means it."""
        return (self.name, self.answer, *self.answers, *self.aliases)


class SplitSection(Section):
    """Which cases train, which validate, which test: fractions add up to 1, class is always a stratum."""

    train: Fraction = 0.6
    """Fraction to train on."""
    validation: Fraction = 0.2
    """Fraction to watch while training."""
    test: Fraction = 0.2
    """Fraction to be scored at the end."""
    folds: Annotated[int, Field(ge=2, le=20)] | None = None
    """Cross-validation: what is not test is cut into so many folds, and each validates in a split of its own; `train`
    and `validation` are then not looked at."""
    held_out_first: bool = False
    """Whether test is drawn first and from all cases, so that it does not depend on how the rest is divided."""
    targets: dict[Part, dict[ClassName, Annotated[int, Field(ge=0)]]] = {}
    """Cases wanted of a class in a part, as `[split.targets.test]`, instead of the fraction; the rest of the class is
    shared out among the other parts by their fractions."""
    strata: dict[Name, Annotated[float, Field(gt=0, le=100)]] = {}
    """Metadata fields to stratify by besides class, by their names in the export, each with its weight; where one is
    missing, that is a value of its own."""
    minimum: Annotated[int, Field(ge=0)] = 0
    """Least number of cases of every class in every part; a split that cannot have them is refused."""
    uneven: bool = False
    """Whether a class of which one group holds more than any part is to have is taken as near as can be."""
    binds: Annotated[list[Relation], Field(min_length=1)] = [*RELATIONS]
    """What keeps photographs in one part; patient is always among it. Near duplicates are those that `audit` found."""
    pinned: Name | None = None
    """Folder of a split's three files, relative to the study file: parts are taken from there."""
    external: bool = False
    """Whether every case is put into the part external: a cohort that nothing is trained on, for
    `toolkit predict --run FOLDER --part external` with a run of another workspace."""
    incidents: Literal["drop", "move"] = "drop"
    """What `split --frozen` does with a group that stood in two parts before it was known to be one: it is left out of
    every part, or moved to the one of its parts that comes first among train, validation, test."""

    @model_validator(mode="after")
    def _add_up(self) -> "SplitSection":
        if abs(self.train + self.validation + self.test - 1) > 1e-9:
            raise ValueError("train, validation and test must add up to 1")
        if min(self.train, self.validation, self.test) <= 0:
            raise ValueError("every part needs a fraction above 0")
        return self

    @model_validator(mode="after")
    def _patients_bind(self) -> "SplitSection":
        if "patient" not in self.binds:
            raise ValueError("binds: patient must be in it; a split that divides patients proves nothing")
        if reserved := sorted({"class", "all cases", "patients"} & set(self.strata)):
            raise ValueError(f"strata: {reserved[0]} is a stratum anyway")
        if self.folds and set(self.targets) - {"test"}:
            raise ValueError("targets: with folds only test has targets")
        if self.external and (self.folds or self.targets or self.pinned or self.held_out_first):
            raise ValueError("external: there is one part, so no folds, targets, pinned split or test to draw first")
        return self


class PrivacySection(Section):
    """Where the pseudonym key comes from; without this section one is made in the user's configuration folder."""

    published_key: str | None = None
    """A key for synthetic or public studies only: anyone can redo their pseudonyms."""
    key_file: str | None = None
    """File of the secret key, relative to the study file; made with mode 0600 if it is not there."""
    join_group: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,60}$")] | None = None
    """Studies of one group and one key give a patient the same pseudonym, so that they can be compared; else the
    study's name. It cannot change once a workspace is made."""

    @model_validator(mode="after")
    def _one_key(self) -> "PrivacySection":
        if self.published_key is not None and self.key_file is not None:
            raise ValueError("give published_key or key_file, not both")
        if self.published_key is not None and self.join_group is not None:
            raise ValueError("join_group: whoever has published_key can join everything; give key_file, or neither")
        return self


class PullSection(Section):
    """How `toolkit pull` talks to Labelbox, and where photographs may be fetched from.

    The API key never stands here: it comes from LABELBOX_API_KEY or the system's keyring.
    """

    endpoint: Address | None = None
    """Address of the GraphQL interface, for Labelbox on premises; LABELBOX_ENDPOINT goes before it."""
    rest_endpoint: Address | None = None
    """Address of the REST interface; else on the endpoint's host. LABELBOX_REST_ENDPOINT goes before it."""
    timeout: Positive = 30
    """Minutes to wait until Labelbox has made an export."""
    connections: Annotated[int, Field(ge=1, le=64)] = 8
    """Photographs fetched at the same time."""
    largest_photograph: Annotated[int, Field(ge=1_000)] = 50_000_000
    """Bytes; a larger photograph is not fetched."""
    hosts: list[Host] = []
    """Hosts that photographs may come from besides Labelbox's own: a name, or `*.name` for all below it."""
    allow_private: bool = False
    """Whether these hosts may be within the hospital's network: private addresses, plain http, any port."""


def pattern_groups(pattern: str) -> set[str]:
    """Return the named groups of a regular expression; raise ValueError for one that RE2 does not take.

    RE2, since its time grows with the text only: no pattern can make a parse hang.
    """
    import pyarrow as pa  # noqa: PLC0415 - needed only by a study with a pattern
    import pyarrow.compute as pc  # noqa: PLC0415 - needed only by a study with a pattern

    try:
        groups = pc.call_function("extract_regex", [pa.array([""])], pc.ExtractRegexOptions(pattern))
    except pa.ArrowInvalid as error:
        raise ValueError(str(error).removeprefix("Invalid regular expression: ")) from None
    return {field.name for field in groups.type}
