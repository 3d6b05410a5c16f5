"""A model that rests on fine texture alone: a threshold on the energy of the finest detail, chosen in training."""

# ruff: noqa: ARG002, ARG003, ARG004 - the arguments are those of the protocol `Backend`
import json
from pathlib import Path

import numpy as np
from scipy.ndimage import laplace

from toolkit.models.backend import Budget, Epoch

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
