"""The backend for image classifiers of transformers, the baseline for a vision-language model.

A classifier gets no prompt. Its labels are all it can answer, so its label mass is 1.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForImageClassification,
    ConvNextImageProcessorPil,
    ResNetConfig,
)

from toolkit.errors import ModelError
from toolkit.manifest.model import LoraSection, TrainMode
from toolkit.models.backend import Budget, Epoch, TrainingJob
from toolkit.models.budget import ADAMW
from toolkit.models.checkpoint import Checkpoint, reading, refuse_adapter, write_checkpoint
from toolkit.models.features import weights_digest
from toolkit.models.inputs import Tensors
from toolkit.models.sanity_checks import check_finite
from toolkit.models.sharding import refuse_shards
from toolkit.models.training import train
from toolkit.models.transformers_compat import Model, Processor, model_facts, quiet
from toolkit.photographs.undecoded import Batch

TINY_SIZE = 64
REMEDY = (
    "give the folder of an image classifier of transformers (config.json, *.safetensors, preprocessor) or a hub name"
)


class TrainableClassifier:
    """A classifier in training: its label is the class itself."""

    def __init__(self, classifier: "ImageClassifier", answers: list[str]) -> None:
        self.model = classifier.model
        self.classifier = classifier
        self.places = classifier.places(answers)
        self.lengths = np.ones(len(answers), dtype=int)

    def batch(self, photographs: Batch, prompts: Sequence[str], classes: Sequence[int]) -> Tensors:  # noqa: ARG002 - the interface of a trainable model
        """Return pixels and `labels`."""
        return {"pixel_values": self.classifier.pixels(photographs), "labels": torch.tensor(self.places)[list(classes)]}

    def logits(self, model: Model, inputs: Tensors) -> torch.Tensor:
        """Return the model's own."""
        return model(**inputs).logits

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
    """Any `AutoModelForImageClassification`; training gives it a new head for the classes of the study."""

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
        with reading(source, remedy=REMEDY) as is_folder:
            refuse_adapter(source, is_folder=is_folder)
            # Without trust_remote_code=False the library asks whether to run the checkpoint's code, and takes "y".
            options: dict[str, Any] = {"local_files_only": is_folder, "trust_remote_code": False}
            model = AutoModelForImageClassification.from_pretrained(
                source, dtype=torch.float32, use_safetensors=True, **options
            )
            processor = AutoImageProcessor.from_pretrained(source, backend="pil", **options)
        return cls(model.to(device).eval(), processor, source=source)

    @staticmethod
    def budgets(source: str, *, lora: LoraSection) -> list[Budget]:  # noqa: ARG004 - the interface of a backend
        """Return the memory that training needs, from the configuration alone."""
        with reading(source, remedy=REMEDY) as is_folder, torch.device("meta"):
            config = AutoConfig.from_pretrained(source, local_files_only=is_folder, trust_remote_code=False)
            model = AutoModelForImageClassification.from_config(config, trust_remote_code=False)
        weights = sum(p.numel() for p in model.parameters())
        return [Budget("full", weights, 0, weights * ADAMW, weights * ADAMW)]

    @staticmethod
    def build_tiny(folder: Path, texts: list[str], *, seed: int) -> None:  # noqa: ARG004 - it reads no text
        """Write a tiny residual network with random weights: it can be trained on synthetic photographs."""
        config = ResNetConfig(embedding_size=16, hidden_sizes=[16, 32, 64], depths=[1, 1, 1], layer_type="basic")
        processor = ConvNextImageProcessorPil(size={"shortest_edge": TINY_SIZE}, crop_pct=1.0)
        with torch.random.fork_rng(devices=[]), quiet():
            torch.manual_seed(seed)
            model = AutoModelForImageClassification.from_config(config, trust_remote_code=False)
        write_checkpoint(folder, Checkpoint(model, processor))

    def keep_features(self, folder: Path, *, gigabytes: float) -> None:
        """Cache nothing: every part of a classifier is trained."""

    @property
    def input_size(self) -> int:
        """The side of the square photographs that the model takes, in pixels."""
        size = dict(self.processor.size)
        return int(size.get("height") or size["shortest_edge"])

    def fit(self, job: TrainingJob) -> list[Epoch]:
        """Train with a new head; refuse to cut a model that fits on any GPU into shards."""
        refuse_shards("an image classifier fits on one GPU, and is not cut into shards")
        self.model = self._with_head(job.answers, job.seed)
        return train(TrainableClassifier(self, job.answers), job)

    def log_likelihoods(self, photographs: np.ndarray, prompts: Sequence[str], answers: list[str]) -> np.ndarray:  # noqa: ARG002 - a classifier reads no prompt
        """Return (B, C) float64: the logarithm of the probability of each answer, −∞ for one that is no label."""
        self.model.eval()
        known = scores(self.model, self.pixels(photographs)).numpy()
        unknown = np.full((len(known), 1), -np.inf)
        label = {name: place for place, name in self.model.config.id2label.items()}
        return np.hstack([known, unknown])[:, [label.get(answer, known.shape[1]) for answer in answers]]

    def answer_lengths(self, answers: list[str]) -> list[int]:
        """Return 1 for every answer: a classifier has no tokens."""
        return [1] * len(answers)

    def generate(self, photographs: np.ndarray, prompts: Sequence[str]) -> list[str]:  # noqa: ARG002 - a classifier reads no prompt
        """Return the most probable label."""
        best = scores(self.model, self.pixels(photographs)).argmax(dim=1).tolist()
        return [self.model.config.id2label[place] for place in best]

    def save(self, folder: Path) -> None:
        """Write a checkpoint that `load` reads, complete or not at all."""
        write_checkpoint(folder, Checkpoint(self.model, self.processor))

    def facts(self) -> dict[str, str | int]:
        """Return what a run records of its model."""
        return model_facts(self.model) | {
            "dtype": "float32",
            "mode": "full",
            "architecture": type(self.model).__name__,
            "base_weights_sha256": self.base_weights,
            "input_size": self.input_size,
        }

    def pixels(self, photographs: Batch) -> torch.Tensor:
        """Return (B, 3, S, S) float32: photographs come cropped and resized, so they are only normalised."""
        images = [np.ascontiguousarray(photograph) for photograph in photographs]
        options: dict[str, Any] = {"do_resize": False, "do_center_crop": False, "return_tensors": "pt"}
        return self.processor(images, **options)["pixel_values"]

    def places(self, answers: list[str]) -> list[int]:
        """Return the number of each answer's label; raise ModelError for an answer that is no label."""
        labels = {name: place for place, name in self.model.config.id2label.items()}
        if unknown := [answer for answer in answers if answer not in labels]:
            raise ModelError(
                f"the classifier has no label {unknown[0]!r}",
                place=self.source,
                remedy="train it on this study's classes",
            )
        return [labels[answer] for answer in answers]

    def _with_head(self, answers: list[str], seed: int) -> Model:
        torch.manual_seed(seed)
        with quiet():
            return AutoModelForImageClassification.from_pretrained(
                self.source,
                dtype=torch.float32,
                trust_remote_code=False,
                use_safetensors=True,
                id2label=dict(enumerate(answers)),
                label2id={answer: place for place, answer in enumerate(answers)},
                ignore_mismatched_sizes=True,
            ).to(self.model.device)
