"""Sections of a study file about metrics, the analysis plan and reports."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from toolkit.manifest.base import ClassName, Name, Positive, Section, Text


class OperatingPoint(Section):
    """A class, or a group of classes, to be found with a required sensitivity."""

    name: Name
    """What it is called: "melanoma", "malignant"."""
    classes: Annotated[list[ClassName], Field(min_length=1)]
    """Its classes; their probabilities are added."""
    rule: Literal["sensitivity", "youden"] = "sensitivity"
    """How the threshold is chosen on validation: the highest with the required sensitivity, or Youden's."""
    sensitivity: Annotated[float, Field(gt=0, lt=1)] = 0.95
    """Required sensitivity."""


class EvaluateSection(Section):
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
    prevalences: list[Annotated[float, Field(gt=0, lt=1)]] = []
    """Shares of positives at which PPV and NPV of each operating point are given, beside those of the subset:
    `prevalences = [0.01, 0.05]`."""
    groups: list[Name] = []
    """Metadata fields by whose values cases are grouped and scored. `annotator` groups by who read the case;
    `photograph_sharpness`, `photograph_brightness` and `photograph_resolution` by thirds of what `audit` measured."""
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


class PlanSection(Section):
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


class Condition(Section):
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


class Costs(Section):
    """What an error costs, by which the gallery can be sorted and review queues are; only their proportions matter."""

    malignant_called_benign: Annotated[float, Field(ge=0)] = 10
    """A malignant class taken for a benign one."""
    benign_called_malignant: Annotated[float, Field(ge=0)] = 2
    """A benign class taken for a malignant one."""
    other: Annotated[float, Field(ge=0)] = 1
    """Two classes of the same kind taken for each other."""


class ReportSection(Section):
    """What the page holds."""

    gallery: Annotated[int, Field(ge=0, le=300)] = 300
    """Errors up to which the page holds its photographs itself and is one file; with more they stand beside it."""
    conditions: list[Condition] = []
    """Tables `[[report.conditions]]` with `metric`, `class_name` (of a class's metric) and `at_least` or `at_most`:
    a check each, judged on test by value and interval."""
    costs: Costs = Costs()
    """What errors cost, for sorting: `costs = {malignant_called_benign = 10, benign_called_malignant = 2}`."""
    share_crops: bool = False
    """Whether a report for others (`--audience shared`) shows crops of misclassified lesions, without identifiers."""


class ReportingSection(Section):
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
