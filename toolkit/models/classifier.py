"""Image classifiers of transformers as a backend: the baseline that a language model has to beat.

Refuses to know prompts: a classifier sees the photograph only. It says one of its labels and nothing else, so its label
mass is 1.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import transformers
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageClassification, ConvNextImageProcessorPil
from transformers import ResNetConfig as Tiny

from toolkit.errors import ModelError
from toolkit.manifest.model import LoraSection, TrainMode
from toolkit.models.backend import Budget, Epoch, TrainingJob
from toolkit.models.budget import ADAMW
from toolkit.models.checkpoint import HUB_NAME, readable, whole_folder
from toolkit.models.features import weights_digest
from toolkit.models.inputs import Tensors
from toolkit.models.sanity_checks import check_finite
from toolkit.models.training import train
from toolkit.models.transformers_compat import Model, Processor, quiet

TINY_SIZE = 64
REMEDY = (
    "give the folder of an image classifier of transformers (config.json, *.safetensors, preprocessor) or a hub name"
)


class TrainableClassifier:
    """A classifier as the trainer sees it: the label is the class itself."""

    def __init__(self, classifier: "ImageClassifier", answers: list[str]) -> None:
        self.model = classifier.model
        self.classifier = classifier
        self.places = classifier.places(answers)
        self.lengths = np.ones(len(answers), dtype=int)

    def batch(self, photographs: Sequence[np.ndarray], prompts: Sequence[str], classes: Sequence[int]) -> Tensors:  # noqa: ARG002 - the interface of a learner
        """Return pixels and `labels`."""
        return {"pixel_values": self.classifier.pixels(photographs), "labels": torch.tensor(self.places)[list(classes)]}

    def scores(self, model: Model, inputs: Tensors) -> torch.Tensor:
        """Return (B, C) log-probabilities."""
        return scores(model, inputs["pixel_values"])[:, self.places]


@torch.inference_mode()
def scores(model: Model, pixels: torch.Tensor) -> torch.Tensor:
    """Return (B, labels) float64 log-probabilities; raise ModelError if one is not finite."""
    logits = model(pixel_values=pixels.to(model.device)).logits.cpu().double()
    check_finite(logits, what="the likelihood of a class")
    return torch.log_softmax(logits, dim=-1)


class ImageClassifier:
    """Any `AutoModelForImageClassification`; its head is drawn anew for the classes of the study."""

    def __init__(self, model: Model, processor: Processor, *, source: str) -> None:
        self.model, self.processor, self.source = model, processor, source
        self.base_weights = weights_digest(model)

    @classmethod
    def load(cls, source: str, *, device: str, mode: TrainMode = "full", dtype: str = "float32") -> Self:
        """Read a checkpoint from a folder or by its hub name; all of it is trained, in float32."""
        if mode != "full" or dtype != "float32":
            raise ModelError(
                "an image classifier is trained whole, in float32",
                place="[train] mode",
                remedy='leave out mode and dtype, or use backend = "instructblip"',
            )
        is_folder = _found(source)
        with quiet(), readable(source, is_folder=is_folder, remedy=REMEDY):
            model = AutoModelForImageClassification.from_pretrained(
                source, dtype=torch.float32, local_files_only=is_folder, use_safetensors=True
            )
            processor = AutoImageProcessor.from_pretrained(source, local_files_only=is_folder, backend="pil")
        return cls(model.to(device).eval(), processor, source=source)

    @staticmethod
    def budgets(source: str, *, lora: LoraSection) -> list[Budget]:  # noqa: ARG004 - the interface of a backend
        """Return what training takes, from the configuration alone."""
        is_folder = _found(source)
        with quiet(), readable(source, is_folder=is_folder, remedy=REMEDY), torch.device("meta"):
            config = AutoConfig.from_pretrained(source, local_files_only=is_folder)
            model = AutoModelForImageClassification.from_config(config)
        weights = sum(p.numel() for p in model.parameters())
        return [Budget("full", weights, 0, weights * ADAMW, weights * ADAMW)]

    @staticmethod
    def build_tiny(folder: Path, texts: list[str], *, seed: int) -> None:  # noqa: ARG004 - it reads no text
        """Write a tiny residual network, drawn at random: it can be trained on drawn photographs."""
        config = Tiny(embedding_size=16, hidden_sizes=[16, 32, 64], depths=[1, 1, 1], layer_type="basic")
        with torch.random.fork_rng(devices=[]), quiet(), whole_folder(folder) as temporary:
            torch.manual_seed(seed)
            AutoModelForImageClassification.from_config(config).save_pretrained(temporary)
            ConvNextImageProcessorPil(size={"shortest_edge": TINY_SIZE}, crop_pct=1.0).save_pretrained(temporary)

    def keep_features(self, folder: Path, *, gigabytes: float) -> None:
        """Keep nothing: every part of a classifier is trained."""

    @property
    def input_size(self) -> int:
        """The side of the square photographs that the model takes, in pixels."""
        size = dict(self.processor.size)
        return int(size.get("height") or size["shortest_edge"])

    def fit(self, lesson: TrainingJob) -> list[Epoch]:
        """Train with a new head; after an interruption `resume` goes on from what is kept in `folder`."""
        self.model = self._with_head(lesson.answers, lesson.seed)
        epochs = train(TrainableClassifier(self, lesson.answers), lesson)
        self.model.eval()
        return epochs

    def log_likelihoods(self, photographs: np.ndarray, prompts: Sequence[str], answers: list[str]) -> np.ndarray:  # noqa: ARG002 - a classifier reads no prompt
        """Return (B, C) float64: the logarithm of the probability of each answer, −∞ for one it does not know."""
        self.model.eval()
        known = scores(self.model, self.pixels(photographs)).numpy()
        unknown = np.full((len(known), 1), -np.inf)
        label = {name: place for place, name in self.model.config.id2label.items()}
        return np.hstack([known, unknown])[:, [label.get(answer, known.shape[1]) for answer in answers]]

    def answer_lengths(self, answers: list[str]) -> list[int]:
        """Return 1 for every answer: a classifier has no tokens."""
        return [1] * len(answers)

    def generate(self, photographs: np.ndarray, prompts: Sequence[str]) -> list[str]:  # noqa: ARG002 - a classifier reads no prompt
        """Return the likeliest label: a classifier says nothing else."""
        found = scores(self.model, self.pixels(photographs)).argmax(dim=1).tolist()
        return [self.model.config.id2label[place] for place in found]

    def save(self, folder: Path) -> None:
        """Write a checkpoint that `load` reads, whole or not at all."""
        with whole_folder(folder) as temporary, quiet():
            self.model.save_pretrained(temporary)
            self.processor.save_pretrained(temporary)

    def facts(self) -> dict[str, str | int]:
        """Return what a run records of its model."""
        weights = sum(p.numel() for p in self.model.parameters())
        return {
            "device": self.model.device.type,
            "dtype": "float32",
            "mode": "full",
            "architecture": type(self.model).__name__,
            "base_weights_sha256": self.base_weights,
            "parameters": weights,
            "trainable_parameters": weights,
            "input_size": self.input_size,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        }

    def pixels(self, photographs: Sequence[np.ndarray] | np.ndarray) -> torch.Tensor:
        """Return (B, 3, S, S) float32: photographs arrive cropped and resized, so they are only normalised."""
        images = [np.ascontiguousarray(photograph) for photograph in photographs]
        told: dict[str, Any] = {"do_resize": False, "do_center_crop": False, "return_tensors": "pt"}
        return self.processor(images, **told)["pixel_values"]

    def places(self, answers: list[str]) -> list[int]:
        """Return where each answer stands among the labels; raise ModelError for one that is not there."""
        label = {name: place for place, name in self.model.config.id2label.items()}
        if unknown := [answer for answer in answers if answer not in label]:
            raise ModelError(
                f"the classifier knows no {unknown[0]!r}", place=self.source, remedy="train it on this study's classes"
            )
        return [label[answer] for answer in answers]

    def _with_head(self, answers: list[str], seed: int) -> Model:
        torch.manual_seed(seed)
        with quiet():
            return AutoModelForImageClassification.from_pretrained(
                self.source,
                dtype=torch.float32,
                use_safetensors=True,
                id2label=dict(enumerate(answers)),
                label2id={answer: place for place, answer in enumerate(answers)},
                ignore_mismatched_sizes=True,
            ).to(self.model.device)


def _found(source: str) -> bool:
    is_folder = bool(source) and Path(source).is_dir()
    if not is_folder and not HUB_NAME.fullmatch(source):
        raise ModelError("no such checkpoint folder", place=source, remedy=REMEDY)
    return is_folder
