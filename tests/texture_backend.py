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

FINE = "nevus"
"""The answer for a photograph with fine texture; `melasma` is the other."""


class TextureBackend:
    """A backend as a study may have one of its own: no weights but a threshold."""

    input_size = 48

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold

    @classmethod
    def load(cls, source, *, device, mode="full", dtype="float32"):
        return cls(json.loads((Path(source) / "threshold.json").read_text())["threshold"])

    @staticmethod
    def build_tiny(folder, texts, *, seed):
        TextureBackend(0.0).save(folder)

    @staticmethod
    def budgets(source, *, lora):
        return [Budget("full", 1, 0, 8, 8)]

    def keep_features(self, folder, *, gigabytes):
        pass

    def fit(self, job):
        energy = self._energy(np.stack([job.training.photographs[n] for n in range(len(job.training.photographs))]))
        fine = job.training.classes == job.answers.index(FINE)
        self.threshold = float((energy[fine].mean() + energy[~fine].mean()) / 2)
        return [Epoch(1, 1, 0.5, 0.5, {"macro_recall": 1.0}, kept=True)]

    def log_likelihoods(self, photographs, prompts, answers):
        scores = np.full((len(photographs), len(answers)), -20.0)
        odds = np.log(self._energy(photographs) / self.threshold)
        scores[:, answers.index(FINE)] = -np.logaddexp(0, -4 * odds)
        scores[:, answers.index("melasma")] = -np.logaddexp(0, 4 * odds)
        return scores

    def answer_lengths(self, answers):
        return [1] * len(answers)

    def generate(self, photographs, prompts):
        return [""] * len(photographs)

    def save(self, folder):
        Path(folder).mkdir(parents=True)
        (Path(folder) / "threshold.json").write_text(json.dumps({"threshold": self.threshold}))

    def facts(self):
        return {"device": "cpu"}

    @staticmethod
    def _energy(photographs):
        grey = np.asarray(photographs, float).mean(axis=3)
        return np.array([np.abs(laplace(each)).mean() + 1e-9 for each in grey])


class Textured(NamedTuple):
    """A workspace with a scored run of the model."""

    workspace: Workspace
    study: Study
    folder: Path
    run_id: str


def textured_workspace(folder: Path, study: Study, key, *, patients: int = 48, unlabelled: int = 0) -> Textured:
    """Train on photographs of fine and of coarse texture, two of each patient; some photographs have no label."""
    (folder / "images").mkdir()
    rows, rng = [], np.random.default_rng(5)
    for n in range(2 * patients + unlabelled):
        grid = 1 if n % 2 == 0 else 24
        pixels = rng.integers(0, 256, (96 // grid, 96 // grid, 3), dtype=np.uint8).repeat(grid, axis=0)
        Image.fromarray(pixels.repeat(grid, axis=1)).save(folder / "images" / f"i{n}.jpg", format="PNG")
        answer = "nevus" if grid == 1 else "melasma"
        labels = [exports.label(f"L{n}", answer)] if n < 2 * patients else []
        rows.append(exports.row(f"i{n}", *labels, patient=f"P-{n // 2}", size=(96, 96)))
    section = study.split.model_copy(update={"binds": ["patient"]})
    model = study.model.model_copy(update={"backend": "texture_backend:TextureBackend"})
    evaluation = study.evaluate.model_copy(update={"operating_points": [], "groups": [], "replicates": 100})
    update = {"model": model, "evaluate": evaluation, "split": section}
    own = Study.model_validate(study.model_copy(update=update).model_dump())
    workspace = Workspace(folder / "workspace")
    parse(workspace, own, key, [exports.write(folder / "export.ndjson", rows)], images=folder / "images")
    split(workspace, own)
    run_id = train(workspace, own, study_folder=folder).run_id
    predict(workspace, own)
    evaluate(workspace, own)
    return Textured(workspace, own, folder, run_id)
