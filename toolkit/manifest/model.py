"""Sections of a study file about the model: its prompt, its training and its predictions."""

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from toolkit.manifest.base import ClassName, Name, Positive, Section

TrainMode = Literal["full", "language_model", "qformer", "lora"]
RoiShape = Literal["squash", "pad"]
PROMPT_FIELD = re.compile(r"\{([^{}\[\]]+)\}")
"""A metadata field in a prompt: {age}."""
PROMPT_PART = re.compile(r"\[([^\[\]]*)\]")
"""Words of a prompt that are said only where all fields in them are known: [The patient is {age} years old.]"""


class PromptSection(Section):
    """What the model is asked about every photograph."""

    user: Annotated[str, Field(min_length=1, max_length=2_000)]
    """The words between "USER:" and "ASSISTANT:", for a decoder-only model in its own chat template; no class may
    stand in them. `{age}` is the photograph's value of
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


class ModelSection(Section):
    """Which model, and what it sees."""

    name: Name
    """"tiny" (built into the workspace, trained from nothing), a folder relative to the study file, or a hub name."""
    backend: Name = "instructblip"
    """"instructblip", InstructBLIP or BLIP-2 with a Flan-T5; "image-text-to-text", a decoder-only model of transformers
    (Gemma 3 and MedGemma, PaliGemma, Qwen2.5-VL, Qwen3-VL, Idefics3, SmolVLM, LLaVA, BLIP-2 with OPT, InstructBLIP with
    Vicuna); "image-classification", any classifier of transformers, as the
    baseline; or package.module:Class of a backend of your own."""
    dtype: Literal["float32", "bfloat16", "4bit"] = "float32"
    """Precision of the weights that are not trained; what is trained is float32 always, or small steps would be lost.
    There is no float16: T5 overflows in it. "4bit" is for mode = "lora" on an NVIDIA GPU, with lesion-toolkit[4bit]:
    the language model's layers in 4 bits, the rest in bfloat16."""
    roi_margin: Annotated[float, Field(ge=0, le=2)] = 0.15
    """Share of the ROI's size that is added on every side of the crop."""
    roi_shape: RoiShape = "squash"
    """How a crop becomes the square that the model takes: squashed, as in the published study, so that a long lesion
    looks round; or padded with what surrounds the ROI, so that shapes are kept. Beyond the photograph, padding has the
    crop's mean colour."""

    @field_validator("dtype", mode="before")
    @classmethod
    def _no_float16(cls, dtype: object) -> object:
        if dtype in ("float16", "fp16", "half"):
            raise ValueError("T5 overflows in float16 and answers NaN; use float32 or bfloat16")
        return dtype


class LoraSection(Section):
    """Low-rank adapters of the language model's queries and values, for mode = "lora"."""

    rank: Annotated[int, Field(ge=1, le=512)] = 16
    """Rank of an adapter."""
    alpha: Annotated[int, Field(ge=1, le=4096)] = 32
    """Scale: an adapter's output is multiplied by alpha / rank."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout before an adapter, while training."""


TrainingLogs = Literal["none", "tensorboard", "mlflow", "wandb"]


class TrainSection(Section):
    """How the model is trained."""

    mode: TrainMode = "full"
    """What is trained: everything; the language model; the Q-Former with its queries and projection (InstructBLIP); or
    low-rank adapters of the language model. `toolkit train --plan` shows what each takes."""
    epochs: Positive = 3
    """Passes over the training cases."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-6
    """Peak learning rate of AdamW."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Weight decay of AdamW."""
    batch_size: Positive = 1
    """Cases at a time."""
    accumulate: Positive = 1
    """Batches whose gradients are added up before a step; the loss is one mean over the tokens of them all."""
    gradient_checkpointing: bool = False
    """Whether activations are computed again in the backward pass instead of being kept: a step takes about a third
    longer and far less memory."""
    max_grad_norm: Annotated[float, Field(ge=0)] = 1.0
    """Longest gradient: a step whose gradient has a larger norm is made with it scaled down to this; 0 never does."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """How the learning rate goes down."""
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    """Steps over which the learning rate goes up first."""
    augment: bool = True
    """Random flips and quarter turns of the training photographs."""
    balance: Literal["none", "sampling", "weights"] = "none"
    """Against uneven classes: cases of every class are drawn equally often, or the loss of each case is weighted by
    cases / (classes * cases of its class), which is 1 on average over the training cases."""
    best: Literal["last", "validation_loss", "macro_recall", "macro_f1", "macro_roc_auc", "macro_pr_auc"] = "last"
    """Which epoch is kept: the last, or the one best on validation by a loss or a metric."""
    patience: Annotated[int, Field(ge=1)] | None = None
    """Epochs without a better one after which training stops early; needs `best`."""
    seeds: Annotated[int, Field(ge=1, le=100)] = 1
    """Trainings, each with a seed of its own: [study] seed, the next number, and so on. Each is a run; the first is
    reported, the others say how much its scores owe to chance (`toolkit query seeds`)."""
    start_from: Annotated[str, Field(pattern=r"^([0-9a-f]{4,8})?$")] = ""
    """ID of a run whose weights training starts from, for other classes or another site; empty = from `[model] name`.
    A run of mode = "lora" is trained on in that mode, with its rank and alpha. Refused where that run has seen patients
    of today's test set, or was trained on some of validation; one of another workspace, which `toolkit predict --run
    FOLDER` has recorded, where it has seen any case of the split. `toolkit compare` tells what was forgotten."""
    report_to: TrainingLogs = "none"
    """Where training logs go besides loss.csv: losses, metrics and settings by transformers' own callbacks, into the
    run's folder logs/. The package has to be installed; privacy.md says what it would send, and when. It makes no other
    run: a run that is complete is not trained again."""
    lora: LoraSection = LoraSection()
    """Table `[train.lora]` with `rank`, `alpha` and `dropout`, for mode = "lora"."""
    threads: Annotated[int, Field(ge=0)] = 0
    """CPU threads; 0 leaves the choice to torch. The tiny model is fastest on 1."""

    @model_validator(mode="after")
    def _patience_has_its_measure(self) -> "TrainSection":
        if self.patience is not None and self.best == "last":
            raise ValueError("patience: say with `best` by what an epoch is better")
        return self


class FeaturesSection(Section):
    """What is kept of the work of a vision part that training leaves as it is (every mode but "full")."""

    gigabytes: Annotated[float, Field(ge=0)] = 20.0
    """Disk it may take below the workspace's features/; 0 keeps nothing."""


class PredictSection(Section):
    """How predictions are computed."""

    batch_size: Positive = 32
    """Photographs at a time."""
    views: Literal[1, 8] = 1
    """8: each photograph is shown in all eight ways a square can lie, and the probabilities are averaged."""
    generate: bool = False
    """Whether the model also answers freely; what names no class is counted as an error (`toolkit query generated`)."""


class ExternalSection(Section):
    """How the classes of a run that comes from another workspace are called in this study."""

    classes: dict[ClassName, ClassName | list[ClassName]] = {}
    """This study's class = the run's class, or a list of its classes; classes that share a spelling need no line. Cases
    of a class that the run does not know are left out and counted."""
