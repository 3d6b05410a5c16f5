"""A model that rests on fine texture alone, and a study for it: photographs that differ in nothing else."""

# ruff: noqa: ARG002, ARG003, ARG004 - the arguments are those of the protocol `Backend`
import json
from pathlib import Path
from typing import NamedTuple

import exports
import numpy as np
from PIL import Image
from scipy.ndimage import laplace

from toolkit.manifest import Study
from toolkit.models.backend import Budget, Epoch
from toolkit.stages.evaluate import evaluate
from toolkit.stages.parse import parse
from toolkit.stages.predict import predict
from toolkit.stages.split import split
from toolkit.stages.train import train
from toolkit.workspace.registry import Workspace

GRIDS = {"nevus": 1, "melasma": 24, "ephelis": 4}
"""Pixels of a grain of texture, by class."""


class TextureBackend:
    """A backend as a study may have one of its own: no weights but the mean log energy of each answer."""

    input_size = 48

    def __init__(self, means: dict[str, float]) -> None:
        self.means = means

    @classmethod
    def load(cls, source, *, device, mode="full", dtype="float32"):
        return cls(json.loads((Path(source) / "means.json").read_text()))

    @staticmethod
    def build_tiny(folder, texts, *, seed):
        TextureBackend({}).save(folder)

    @staticmethod
    def budgets(source, *, lora):
        return [Budget("full", 1, 0, 8, 8)]

    def keep_features(self, folder, *, gigabytes):
        pass

    def fit(self, job):
        """Move each answer's mean half-way to that of the training cases."""
        energy = self._energy(np.stack([job.training.photographs[n] for n in range(len(job.training.photographs))]))
        for number in np.unique(job.training.classes).tolist():
            answer, new = job.answers[number], float(energy[job.training.classes == number].mean())
            self.means[answer] = (self.means.get(answer, new) + new) / 2
        return [Epoch(1, 1, 0.5, 0.5, {"macro_recall": 1.0}, kept=True)]

    def log_likelihoods(self, photographs, prompts, answers):
        energy = self._energy(photographs)
        scores = np.full((len(photographs), len(answers)), -20.0)
        for number, answer in enumerate(answers):
            if answer in self.means:
                scores[:, number] = -4 * np.square(energy - self.means[answer])
        return scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)

    def answer_lengths(self, answers):
        return [1] * len(answers)

    def generate(self, photographs, prompts):
        return [""] * len(photographs)

    def save(self, folder):
        Path(folder).mkdir(parents=True)
        (Path(folder) / "means.json").write_text(json.dumps(self.means))

    def facts(self):
        return {"device": "cpu"}

    @staticmethod
    def _energy(photographs):
        grey = np.asarray(photographs, float).mean(axis=3)
        return np.log([np.abs(laplace(each)).mean() + 1e-9 for each in grey])


class Textured(NamedTuple):
    """A workspace with a scored run of the model."""

    workspace: Workspace
    study: Study
    folder: Path
    run_id: str


def textured_study(study: Study) -> Study:
    """Return the study with this backend, without what such a small cohort cannot have."""
    section = study.split.model_copy(update={"binds": ["patient"]})
    model = study.model.model_copy(update={"backend": "texture_backend:TextureBackend"})
    evaluation = study.evaluate.model_copy(update={"operating_points": [], "groups": [], "replicates": 100})
    update = {"model": model, "evaluate": evaluation, "split": section}
    return Study.model_validate(study.model_copy(update=update).model_dump())


def textured_rows(folder: Path, answers: list[str | None], *, first: int = 0) -> list[dict]:
    """Draw a photograph for each answer, two of each patient; one without an answer is unlabelled."""
    folder.mkdir(exist_ok=True)
    rows, rng = [], np.random.default_rng(5 + first)
    for n, answer in enumerate(answers, start=first):
        grid = GRIDS[answer or ("nevus", "melasma")[n % 2]]
        pixels = rng.integers(0, 256, (96 // grid, 96 // grid, 3), dtype=np.uint8).repeat(grid, axis=0)
        Image.fromarray(pixels.repeat(grid, axis=1)).save(folder / f"i{n}.jpg", format="PNG")
        labels = [exports.label(f"L{n}", answer)] if answer else []
        rows.append(exports.row(f"i{n}", *labels, patient=f"P-{n // 2}", size=(96, 96)))
    return rows


def textured_workspace(folder: Path, study: Study, key, *, patients: int = 48, unlabelled: int = 0) -> Textured:
    """Train on photographs of fine and of coarse texture; some photographs have no label."""
    own, workspace = textured_study(study), Workspace(folder / "workspace")
    rows = textured_rows(folder / "images", ["nevus", "melasma"] * patients + [None] * unlabelled)
    parse(workspace, own, key, [exports.write(folder / "export.ndjson", rows)], images=folder / "images")
    split(workspace, own)
    run_id = train(workspace, own, study_folder=folder).run_id
    predict(workspace, own)
    evaluate(workspace, own)
    return Textured(workspace, own, folder, run_id)
