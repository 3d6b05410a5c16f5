"""Knows what a study file may say, and where the files that ship with the toolkit stand.

Refuses to know any single study: classes, prompts and seeds are rows of a TOML file, never of this module.
"""

import re
import tomllib
from collections import Counter
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from toolkit.errors import StudyError
from toolkit.files import sha256_of

Name = Annotated[str, Field(min_length=1, max_length=120, pattern=r"^[^\x00-\x1f\x7f]+$")]
Text = Annotated[str, Field(max_length=2_000, pattern=r"^[^\x00-\x09\x0b-\x1f\x7f]*$")]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
Address = Annotated[str, Field(pattern=r"^https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._/-]*)?$")]
Host = Annotated[str, Field(pattern=r"^(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")]
ClassName = Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[A-Za-z0-9][A-Za-z0-9 _.+-]*$")]
Part = Literal["train", "validation", "test"]
TrainMode = Literal["full", "language_model", "qformer", "lora"]
Relation = Literal["patient", "lesion", "identical_bytes", "identical_pixels", "near_duplicate"]
RELATIONS: tuple[Relation, ...] = get_args(Relation)

NO_PATIENTS = "no patient identifiers: leakage by patient cannot be excluded"
"""What everything says that is made from a study with `patient_from = "none"`."""
PATTERN_LIMIT = 300
"""Characters of a pattern for patient identifiers."""
PROMPT_FIELD = re.compile(r"\{([^{}\[\]]+)\}")
"""A metadata field in a prompt: {age}."""
PROMPT_PART = re.compile(r"\[([^\[\]]*)\]")
"""Words of a prompt that are said only where all fields in them are known: [The patient is {age} years old.]"""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


class StudySection(_Section):
    """What the study is called, and the seed of everything random in it."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,60}$")]
    """Short name."""
    title: Name
    """Title of the reports."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Seed of split, training and bootstrap."""
    notice: str = ""
    """Shown on top of every report."""


class LabelboxSection(_Section):
    """Which project, question, box and metadata fields mean what: names or slugs, as Labelbox shows them."""

    projects: Annotated[list[Name], Field(min_length=1)]
    """Names or IDs of the study's projects; rows of others are stored and counted."""
    question: Name = "diagnosis"
    """The question whose answer is the class, about the photograph or nested in a box."""
    roi: Name = "lesion_roi"
    """The bounding box around a lesion; a box named like a class is one too."""
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
    """Metadata fields to keep, by name; without this key all are kept, also free text that may hold names."""

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
        if bool(self.patient_pattern) != (self.patient_from in ("external_id", "global_key")):
            raise ValueError('patient_pattern belongs to patient_from = "external_id" or "global_key", and they to it')
        return self


class IngestSection(_Section):
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

    @model_validator(mode="after")
    def _an_annotator_is_named(self) -> "IngestSection":
        if (self.policy == "annotator") != (self.annotator is not None):
            raise ValueError('policy "annotator" and the key annotator belong together')
        return self


class ClassSection(_Section):
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
    yes: Name = "yes"
    """The answer to `question` that names this class."""

    @property
    def spellings(self) -> tuple[str, ...]:
        """Every text that means it."""
        return (self.name, self.answer, *self.answers, *self.aliases)


class SplitSection(_Section):
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
    """Cases wished of a class in a part, as `[split.targets.test]`, instead of the fraction; the rest of the class is
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


class PromptSection(_Section):
    """What the model is asked about every photograph."""

    user: Annotated[str, Field(min_length=1, max_length=2_000)]
    """The words between "USER:" and "ASSISTANT:"; no class may stand in them. `{age}` is the photograph's value of
    the metadata field "age"; words in square brackets are said only where every field in them has a value:
    `[The patient is {age} years old.]`"""

    @field_validator("user")
    @classmethod
    def _is_a_template(cls, user: str) -> str:
        if empty := [part for part in PROMPT_PART.findall(user) if not PROMPT_FIELD.search(part)]:
            raise ValueError(f"[{empty[0]}] holds no field: square brackets are for words that need one, as {{age}}")
        if re.search(r"[\[\]{}]", PROMPT_FIELD.sub("", PROMPT_PART.sub(r"\1", user))):
            raise ValueError("brackets and braces are for fields alone: [The patient is {age} years old.]")
        return user

    @property
    def fields(self) -> list[str]:
        """The metadata fields that stand in it."""
        return list(dict.fromkeys(PROMPT_FIELD.findall(self.user)))

    @property
    def words(self) -> str:
        """What of it is the same for every photograph, the words of optional parts included."""
        return PROMPT_FIELD.sub(" ", PROMPT_PART.sub(r"\1", self.user)) if self.fields else self.user


class ModelSection(_Section):
    """Which model, and what it sees."""

    name: Name
    """"tiny" (built into the workspace, trained from nothing), a folder relative to the study file, or a hub name."""
    backend: Name = "instructblip"
    """"instructblip"; "image-classification", any classifier of transformers, as the baseline; or package.module:Class
    of a backend of your own."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of the weights that are not trained; what is trained is float32 always, or small steps would be lost.
    There is no float16: T5 overflows in it."""
    roi_margin: Annotated[float, Field(ge=0, le=2)] = 0.15
    """Share of the ROI's size that is added on every side of the crop."""

    @field_validator("dtype", mode="before")
    @classmethod
    def _no_float16(cls, dtype: object) -> object:
        if dtype in ("float16", "fp16", "half"):
            raise ValueError("T5 overflows in float16 and answers NaN; use float32 or bfloat16")
        return dtype


class LoraSection(_Section):
    """Low-rank adapters of the language model's queries and values, for mode = "lora"."""

    rank: Annotated[int, Field(ge=1, le=512)] = 16
    """Rank of an adapter."""
    alpha: Annotated[int, Field(ge=1, le=4096)] = 32
    """Scale: an adapter's output is multiplied by alpha / rank."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout before an adapter, while training."""


class TrainSection(_Section):
    """How the model is trained."""

    mode: TrainMode = "full"
    """What is trained: everything; the language model; the Q-Former with its queries and projection; or low-rank
    adapters of the language model. `toolkit train --plan` shows what each takes."""
    epochs: Positive = 3
    """Passes over the training cases."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-6
    """Peak learning rate of AdamW."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Weight decay of AdamW."""
    batch_size: Positive = 1
    """Cases at a time."""
    accumulate: Positive = 1
    """Batches whose gradients are added up before a step."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """How the learning rate goes down."""
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    """Steps over which the learning rate goes up first."""
    augment: bool = True
    """Random flips and quarter turns of the training photographs."""
    balance: Literal["none", "sampling", "weights"] = "none"
    """Against uneven classes: cases of every class are drawn equally often, or the loss of each counts equally much."""
    best: Literal["last", "validation_loss", "macro_recall", "macro_f1", "macro_roc_auc", "macro_pr_auc"] = "last"
    """Which epoch is kept: the last, or the one best on validation by a loss or a metric."""
    patience: Annotated[int, Field(ge=1)] | None = None
    """Epochs without a better one after which training stops early; needs `best`."""
    lora: LoraSection = LoraSection()
    """Table `[train.lora]` with `rank`, `alpha` and `dropout`, for mode = "lora"."""
    threads: Annotated[int, Field(ge=0)] = 0
    """CPU threads; 0 leaves the choice to torch. The tiny model is fastest on 1."""

    @model_validator(mode="after")
    def _patience_has_its_measure(self) -> "TrainSection":
        if self.patience is not None and self.best == "last":
            raise ValueError("patience: say with `best` by what an epoch is better")
        return self


class FeaturesSection(_Section):
    """What is kept of the work of a vision part that training leaves as it is (every mode but "full")."""

    gigabytes: Annotated[float, Field(ge=0)] = 20.0
    """Disk it may take below the workspace's features/; 0 keeps nothing."""


class PredictSection(_Section):
    """How predictions are computed."""

    batch_size: Positive = 32
    """Photographs at a time."""
    views: Literal[1, 8] = 1
    """8: each photograph is shown in all eight ways a square can lie, and the probabilities are averaged."""
    generate: bool = False
    """Whether the model also answers freely; what names no class is counted as an error (`toolkit query generated`)."""


class ExternalSection(_Section):
    """How the classes of a run that comes from another workspace are called in this study."""

    classes: dict[ClassName, ClassName | list[ClassName]] = {}
    """This study's class = the run's class, or a list of its classes; classes that share a spelling need no line. Cases
    of a class that the run does not know are left out and counted."""


class OperatingPoint(_Section):
    """A class, or a group of classes, to be found with a required sensitivity."""

    name: Name
    """What it is called: "melanoma", "malignant"."""
    classes: Annotated[list[ClassName], Field(min_length=1)]
    """Its classes; their probabilities are added."""
    rule: Literal["sensitivity", "youden"] = "sensitivity"
    """How the threshold is chosen on validation: the highest with the required sensitivity, or Youden's."""
    sensitivity: Annotated[float, Field(gt=0, lt=1)] = 0.95
    """Required sensitivity."""


class EvaluateSection(_Section):
    """How sure the numbers are said to be, at which thresholds decisions are looked at, and for which groups."""

    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Confidence of every interval."""
    replicates: Annotated[int, Field(ge=100, le=100_000)] = 2_000
    """Replicates of the patient bootstrap."""
    bins: Annotated[int, Field(ge=2, le=50)] = 10
    """Bins of equal width of calibration error and reliability diagram."""
    operating_points: list[OperatingPoint] = []
    """Tables `[[evaluate.operating_points]]` with `name`, `classes`, `sensitivity` (default 0.95) and `rule`
    ("sensitivity" or "youden"); without any, the malignant classes together."""
    groups: list[Name] = []
    """Metadata fields by whose values cases are grouped and scored; `annotator` groups by who read the case."""
    bands: dict[Name, list[float]] = {}
    """Where the values of a numeric field in `groups` are cut: `bands = {age = [40, 60]}`."""
    smallest_group: Positive = 10
    """Cases; groups with fewer, or with under 5 patients, are counted, not scored."""
    ordered: list[ClassName] = []
    """All classes in their order, where they have one; then agreement is also weighted by how far answers lie apart."""

    def band_of(self, field: str, value: str) -> str:
        """Return the group that a field's value falls into: its band where the field has bands, else the value."""
        cuts = sorted(self.bands.get(field, []))
        try:
            number = float(value)
        except ValueError:
            return value
        if not cuts:
            return value
        place = sum(number >= cut for cut in cuts)
        if place == 0:
            return f"under {cuts[0]:g}"
        return f"{cuts[-1]:g} and over" if place == len(cuts) else f"{cuts[place - 1]:g} to under {cuts[place]:g}"


class PlanSection(_Section):
    """What is to be looked at, said before it is: the analysis plan.

    `split` locks it into the certificate; `evaluate` and `compare` record what departs from it. Without this section
    everything says that no analysis plan was locked.
    """

    metric: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
    """The primary metric, one of `scores`: recall, macro_recall, macro_roc_auc."""
    class_name: ClassName | None = None
    """Its class, where it is a class's metric."""
    part: Literal["test", "validation", "external"] = "test"
    """The part it is judged on, to be scored once."""
    comparison: Name | None = None
    """What the run is compared with: the name of a control ("blank"), or a baseline's `[model]` name or backend."""
    operating_points: list[Name] = []
    """The threshold rules: names of `[[evaluate.operating_points]]`, or "malignant" where there are none."""
    subgroups: list[Name] = []
    """Fields of `evaluate.groups`; every other group that is scored is exploratory."""


class Condition(_Section):
    """What a score must reach for its badge on the first screen to be good."""

    metric: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
    """A metric of `scores`: recall, macro_recall, ece."""
    class_name: ClassName | None = None
    """The class, where it is a class's metric."""
    at_least: float | None = None
    """The value that must be reached."""
    at_most: float | None = None
    """The value that must not be exceeded."""

    @model_validator(mode="after")
    def _one_bound(self) -> "Condition":
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("give at_least or at_most")
        return self


class Costs(_Section):
    """What an error costs, by which the gallery can be sorted; only their proportions matter."""

    malignant_called_benign: Annotated[float, Field(ge=0)] = 10
    """A malignant class taken for a benign one."""
    benign_called_malignant: Annotated[float, Field(ge=0)] = 2
    """A benign class taken for a malignant one."""
    other: Annotated[float, Field(ge=0)] = 1
    """Two classes of the same kind taken for each other."""


class ReportSection(_Section):
    """What the page holds."""

    gallery: Annotated[int, Field(ge=0, le=300)] = 300
    """Errors up to which the page holds its photographs itself and is one file; with more they stand beside it."""
    conditions: list[Condition] = []
    """Tables `[[report.conditions]]` with `metric`, `class_name` (of a class's metric) and `at_least` or `at_most`:
    a badge each, judged on test by value and interval."""
    costs: Costs = Costs()
    """What errors cost, for sorting: `costs = {malignant_called_benign = 10, benign_called_malignant = 2}`."""
    share_crops: bool = False
    """Whether a report for others (`--audience shared`) shows crops of misclassified lesions, without identifiers."""


class ReportingSection(_Section):
    """What authors say on items of reporting guidelines that no run can know; printed as written, also for others."""

    acquisition: Text = ""
    """How, with which cameras and by whom photographs were taken."""
    annotators: Text = ""
    """Who annotated: number, training, experience."""
    blinding: Text = ""
    """What annotators knew when they judged."""
    characteristics: Text = ""
    """Who the patients are, and how far they stand for those the model is meant for."""
    code_availability: Text = ""
    """Where the code and the model can be had."""
    comparators: Text = ""
    """What the model is compared with, and why."""
    conflicts: Text = ""
    """Conflicts of interest."""
    data_availability: Text = ""
    """Where, and under which conditions, the data can be had."""
    data_source: Text = ""
    """Where the photographs come from, and why they were taken."""
    deidentification: Text = ""
    """How data were de-identified before they came to Labelbox."""
    design: Text = ""
    """Prospective or retrospective, and the study's goal."""
    eligibility: Text = ""
    """Who and what was included and excluded."""
    ethics: Text = ""
    """Ethical approval and consent, or why none was needed."""
    fairness: Text = ""
    """What was done for fairness, and what was found."""
    funding: Text = ""
    """Who paid, and what part they had."""
    intended_use: Text = ""
    """What the model is for, and who is to use it."""
    involvement: Text = ""
    """How patients and public were involved."""
    limitations: Text = ""
    """Limitations of the study."""
    model_choice: Text = ""
    """Why this model."""
    prompt_development: Text = ""
    """How the prompt was found, and on which data."""
    protocol: Text = ""
    """Where the protocol stands."""
    reference_standard: Text = ""
    """What the diagnosis rests on (histopathology, follow-up, opinion), and why."""
    registration: Text = ""
    """Registry and number."""
    robustness: Text = ""
    """Which analyses of robustness were made, and what they mean."""
    sample_size: Text = ""
    """How the sample size came about."""
    setting: Text = ""
    """Centres, places and kind of care."""
    test_independence: Text = ""
    """Whether the model's makers, or those who wrote the prompt, may have seen the test photographs."""
    training_cutoff: Text = ""
    """Up to when the pretrained model's own data reach."""


class PrivacySection(_Section):
    """Where the pseudonym key comes from; without this section one is made in the user's configuration folder."""

    published_key: str | None = None
    """A key for synthetic or public studies only: anyone can redo their pseudonyms."""
    key_file: str | None = None
    """File of the secret key, relative to the study file; made with mode 0600 if it is not there."""

    @model_validator(mode="after")
    def _one_key(self) -> "PrivacySection":
        if self.published_key is not None and self.key_file is not None:
            raise ValueError("give published_key or key_file, not both")
        return self


class PullSection(_Section):
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


class Study(_Section):
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
    external: ExternalSection = ExternalSection()
    evaluate: EvaluateSection = EvaluateSection()
    plan: PlanSection | None = None
    report: ReportSection = ReportSection()
    reporting: ReportingSection = ReportingSection()
    privacy: PrivacySection = PrivacySection()
    pull: PullSection = PullSection()

    @model_validator(mode="after")
    def _classes_are_told_apart(self) -> "Study":
        spellings = Counter(s for c in self.classes for s in {fold(s) for s in c.spellings})
        if shared := sorted(s for s, count in spellings.items() if count > 1):
            raise ValueError(f"classes: two classes share the spelling {', '.join(shared)}")
        asked = Counter(fold(q) for q in (self.labelbox.question, *(c.question for c in self.classes)) if q)
        if shared := sorted(question for question, count in asked.items() if count > 1):
            raise ValueError(f"classes: a question of a class's own is asked for nothing else: {', '.join(shared)}")
        aimed = {name for classes in self.split.targets.values() for name in classes}
        if unknown := sorted(aimed - set(self.class_names)):
            raise ValueError(f"split.targets: no such class: {', '.join(unknown)}")
        wanted = {name for point in self.evaluate.operating_points for name in point.classes}
        if unknown := sorted(wanted - {c.name for c in self.classes}):
            raise ValueError(f"evaluate.operating_points: no such class: {unknown[0]}")
        if self.evaluate.ordered and sorted(self.evaluate.ordered) != sorted(self.class_names):
            raise ValueError("evaluate.ordered: it names every class of the study once, or is empty")
        if self.model.dtype != "float32" and self.train.mode == "full":
            raise ValueError('model.dtype: with train.mode = "full" everything is trained, and that is float32')
        if unknown := sorted(set(self.external.classes) - set(self.class_names)):
            raise ValueError(f"external.classes: no such class in this study: {unknown[0]}")
        leaked = [a for c in self.classes for a in (c.answer, *c.answers) if fold(a) in fold(self.prompt.user)]
        judged = {c.class_name for c in self.report.conditions if c.class_name}
        if unknown := sorted(judged - {c.name for c in self.classes}):
            raise ValueError(f"report.conditions: no such class: {unknown[0]}")
        if leaked:
            raise ValueError(f"prompt.user: the answer {leaked[0]!r} stands in the prompt; the model must not be told")
        return self

    @model_validator(mode="after")
    def _prompt_asks_for_metadata_that_is_kept(self) -> "Study":
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
    def _plan_refers_to_what_there_is(self) -> "Study":
        if self.plan is None:
            return self
        if self.plan.class_name is not None and self.plan.class_name not in self.class_names:
            raise ValueError(f"plan.class_name: no such class: {self.plan.class_name}")
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
        """Return the study without further wordings of answers: no training knows them."""
        return self.model_dump(mode="json", exclude={"classes": {"__all__": {"answers"}}})

    def digest(self, *sections: str) -> str:
        """Return the SHA-256 of some sections: what a split or a run was determined by; see `determining`."""
        document = self.determining()
        return sha256_of({section: document[section] for section in sections})


@lru_cache(maxsize=10_000)
def fold(spelling: str) -> str:
    """Return a spelling as it is compared: lower case, with single spaces; underscores and hyphens are spaces."""
    return " ".join(spelling.casefold().replace("_", " ").replace("-", " ").split())


def pattern_groups(pattern: str) -> set[str]:
    """Return the named groups of a regular expression; raise ValueError for one that RE2 does not take.

    RE2, since its time grows with the text only: no pattern can make a parse hang.
    """
    import pyarrow as pa  # noqa: PLC0415 - needed only by a study with a pattern
    import pyarrow.compute as pc  # noqa: PLC0415 - needed only by a study with a pattern

    try:
        found = pc.call_function("extract_regex", [pa.array([""])], pc.ExtractRegexOptions(pattern))
    except pa.ArrowInvalid as error:
        raise ValueError(str(error).removeprefix("Invalid regular expression: ")) from None
    return {field.name for field in found.type}


def load_study(path: Path) -> Study:
    """Read a study file; raise StudyError with every fault at once, each with its key."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StudyError(
            "no such study file",
            place=str(path),
            remedy="give --study FILE.toml; `toolkit sample DIR` makes one to try",
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise StudyError(
            f"the study file cannot be read: {error}", place=str(path), remedy="a study file is UTF-8 TOML"
        ) from None
    try:
        return Study.model_validate(document)
    except ValidationError as error:
        raise StudyError(
            "the study file has faults:\n" + "\n".join(f"  - {fault}" for fault in faults(error)),
            place=str(path),
            remedy="docs/manifest.md lists every key",
        ) from None


def faults(error: ValidationError) -> list[str]:
    """Return one line per fault: key path, what is wrong, what was given."""
    faults = []
    for fault in error.errors():
        key = ".".join(str(step + 1) if isinstance(step, int) else step for step in fault["loc"])
        message = fault["msg"].removeprefix("Value error, ")
        given = (
            ""
            if isinstance(fault["input"], dict | list) or fault["type"] == "missing"
            else f" (given: {fault['input']!r})"
        )
        faults.append(f"{key}: {message}{given}" if key else message)
    return faults


def shipped(folder: Literal["sql", "reports/template", "manifests"]) -> Path:
    """Return where a shipped folder stands: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).parent
    inside = package / {"sql": "sql_files", "reports/template": "report_files", "manifests": "manifest_files"}[folder]
    return inside if inside.is_dir() else package.parent / folder
