"""Input ablations: what a model gets instead of the photographs, to test whether it looks at the lesion."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from toolkit.errors import WorkspaceError
from toolkit.files import short_id
from toolkit.manifest import Study
from toolkit.manifest.model import ModelSection
from toolkit.models.backend import Backend
from toolkit.photographs import degradation
from toolkit.photographs.crops import GREY, Photographs, border_pixels, case_pixels
from toolkit.workspace.registry import Workspace
from toolkit.workspace.runs import PartCase, RunRecord, crops_of, now, record_run

MEANING = {
    "blank": "a grey square for every photograph, nothing of it in the prompt",
    "shuffled": "photographs exchanged between patients",
    "border": "each lesion's box painted over",
    "metadata": "a grey square for every photograph, its metadata in the prompt",
    "plain": "colour, texture and shape alone, without a neural network",
}
"""What the model gets, by the name of the control: the values of `--control`.

The column `control` also has degraded photographs, by kind and level, such as blur:2.
"""
BLIND = ("blank", "metadata")
"""Ablations without any photograph."""


def meaning(control: str) -> str:
    """Return what the model gets, in words."""
    degraded = degradation.named(control)
    return degraded.meaning if degraded else MEANING.get(control, control)


class AblatedCase(NamedTuple):
    """A case, and the case whose photograph the model gets for it."""

    case: PartCase
    source: PartCase


def check(control: str, study: Study) -> None:
    """Refuse an ablation that gives the model the same as the run itself, or the same as another ablation."""
    if control == "metadata" and not study.prompt.fields:
        raise WorkspaceError(
            "the study's prompt has no metadata, so this input ablation would be the same as blank",
            place="[prompt] user",
            remedy="use --control blank; `{age}` in the prompt would be the metadata field age",
        )
    if control == "border" and not study.model.roi_margin and study.model.roi_shape == "squash":
        raise WorkspaceError(
            "the crop ends at the lesion's box, so nothing around the lesion is left to show",
            place="[model] roi_margin = 0",
            remedy="use another input ablation, or train with a margin",
        )


def ablated_cases(control: str | None, cases: Sequence[PartCase], *, seed: int) -> list[AblatedCase]:
    """Return the cases, each with the source of its photograph; what needs a ROI leaves out cases without one."""
    if control == "shuffled":
        return _shuffled(cases, seed)
    return [AblatedCase(case, case) for case in cases if case.roi is not None or not needs_roi(control)]


def needs_roi(control: str | None) -> bool:
    """Tell whether a control changes what is in or around the ROI alone."""
    degraded = degradation.named(control)
    return control == "border" or (degraded is not None and degraded.kind in degradation.OF_THE_BOX)


def _shuffled(cases: Sequence[PartCase], seed: int) -> list[AblatedCase]:
    """Return a permutation of the photographs in which no patient keeps one of their own.

    Patients are put in a random order, the cases of a patient side by side, and photographs are moved on by as many
    places as the patient with the most cases has cases: then no photograph stays with its patient.
    """
    first: dict[str, str] = {}
    for case in cases:
        first[case.patient_id] = min(case.case_id, first.get(case.patient_id, case.case_id))
    most = max(Counter(case.patient_id for case in cases).values())
    if 2 * most > len(cases):
        raise WorkspaceError(
            f"one patient has {most} of the {len(cases)} cases: photographs cannot all go to another patient",
            place="--control shuffled",
            remedy="use another input ablation",
        )

    # The order must not depend on pseudonyms, so a patient is represented by their first case.
    def random_key(name: str) -> str:
        return hashlib.sha256(f"shuffled\0{seed}\0{name}".encode()).hexdigest()

    order = sorted(cases, key=lambda case: (random_key(first[case.patient_id]), random_key(case.case_id)))
    moved = {case.case_id: order[(place + most) % len(order)] for place, case in enumerate(order)}
    return [AblatedCase(case, moved[case.case_id]) for case in cases]


def record(workspace: Workspace, of: RunRecord, control: str) -> str:
    """Record the ablated run beside the run it belongs to; return its ID."""
    own = {"run_id": short_id([of.run_id, control]), "control": control, "control_of": of.run_id}
    noted = {"shown": meaning(control), "trained_at": of.training_ended, "finished_at": now()}
    return record_run(workspace, of.model_copy(update={**own, **noted})).run_id


def photographs(
    control: str | None, sources: list[PartCase], model: ModelSection, *, size: int, seed: int
) -> Photographs:
    """Return the input of the model in the place of these cases' photographs."""
    if control in BLIND:
        return np.broadcast_to(np.uint8(GREY), (len(sources), size, size, 3))
    if degraded := degradation.named(control):
        read = partial(degradation.degraded_pixels, degradation=degraded, seed=seed)
        return crops_of(sources, model, size=size, read=read)
    return crops_of(sources, model, size=size, read=border_pixels if control == "border" else case_pixels)


class ImageBlindBackend:
    """A backend that gets the same image for every case: its answers depend on the prompt alone.

    Each distinct prompt is scored once and alone, so that equal cases are equal to the last bit in every batch.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend, self.input_size, self.answer_lengths = backend, backend.input_size, backend.answer_lengths
        self._scores: dict[str, np.ndarray] = {}
        self._texts: dict[str, str] = {}

    def log_likelihoods(self, photographs: np.ndarray, prompts: Sequence[str], answers: list[str]) -> np.ndarray:
        """Return (B, answers) float64."""
        for prompt in set(prompts) - set(self._scores):
            self._scores[prompt] = self.backend.log_likelihoods(photographs[:1], [prompt], answers)[0]
        return np.stack([self._scores[prompt] for prompt in prompts])

    def generate(self, photographs: np.ndarray, prompts: Sequence[str]) -> list[str]:
        """Return the model's own text for each prompt."""
        for prompt in set(prompts) - set(self._texts):
            self._texts[prompt] = self.backend.generate(photographs[:1], [prompt])[0]
        return [self._texts[prompt] for prompt in prompts]
