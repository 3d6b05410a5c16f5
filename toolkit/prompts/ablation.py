"""What a control shows a model instead of the photographs, to see whether it looks at the lesion.

Refuses to score and to know truth.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import pyarrow as pa

from toolkit.errors import WorkspaceError
from toolkit.files import short_id, write_json
from toolkit.manifest import Study
from toolkit.models.backend import Backend
from toolkit.photographs.crops import GREY, Photographs, border_pixels
from toolkit.workspace.registry import Workspace, insert
from toolkit.workspace.runs import PartCase, crops_of, now, read_run

Control = Literal["blank", "shuffled", "border", "metadata"]
CONTROLS: tuple[Control, ...] = get_args(Control)
MEANING = {
    "blank": "a grey square for every photograph, nothing of it in the prompt",
    "shuffled": "photographs exchanged between patients",
    "border": "each lesion's box painted over",
    "metadata": "a grey square for every photograph, its metadata in the prompt",
}
BLIND = ("blank", "metadata")
"""Controls that show no photograph at all."""


class AblatedCase(NamedTuple):
    """A case, and the case whose photograph is shown for it."""

    case: PartCase
    source: PartCase


def check(control: str, study: Study) -> None:
    """Refuse a control that would show the same as the run, or nothing that can be told from another control."""
    if control == "metadata" and not study.prompt.fields:
        raise WorkspaceError(
            "the study's prompt has no metadata, so this control would be the blank one",
            place="[prompt] user",
            remedy="use --control blank; `{age}` in the prompt would be the metadata field age",
        )
    if control == "border" and not study.model.roi_margin:
        raise WorkspaceError(
            "nothing is shown around the lesion's box",
            place="[model] roi_margin = 0",
            remedy="use another control, or train with a margin",
        )


def ablated_cases(control: str | None, cases: Sequence[PartCase], *, seed: int) -> list[AblatedCase]:
    """Return what is shown for which case; cases of which a control can show nothing are left out."""
    if control == "shuffled":
        return _exchanged(cases, seed)
    return [AblatedCase(case, case) for case in cases if control != "border" or case.roi is not None]


def _exchanged(cases: Sequence[PartCase], seed: int) -> list[AblatedCase]:
    """Return a permutation of the photographs in which no patient keeps one of his own.

    Patients are put in an order drawn by the seed, with their cases side by side, and photographs are moved on by as
    many places as the patient with the most cases has cases: then none stays with its patient.
    """
    first: dict[str, str] = {}
    counts: dict[str, int] = {}
    for case in cases:
        first[case.patient_id] = min(case.case_id, first.get(case.patient_id, case.case_id))
        counts[case.patient_id] = counts.get(case.patient_id, 0) + 1
    most = max(counts.values())
    if 2 * most > len(cases):
        raise WorkspaceError(
            f"one patient has {most} of the {len(cases)} cases: photographs cannot all go to another patient",
            place="--control shuffled",
            remedy="use another control",
        )

    # Of the pseudonyms nothing may depend on but themselves: the order is that of the patients' first cases.
    def drawn(name: str) -> str:
        return hashlib.sha256(f"shuffled\0{seed}\0{name}".encode()).hexdigest()

    order = sorted(cases, key=lambda case: (drawn(first[case.patient_id]), drawn(case.case_id)))
    moved = {case.case_id: order[(place + most) % len(order)] for place, case in enumerate(order)}
    return [AblatedCase(case, moved[case.case_id]) for case in cases]


def record(workspace: Workspace, facts: dict[str, Any], control: str) -> str:
    """Record a run's control, once, beside the run and in the registry; return its ID."""
    own = {"run_id": short_id([facts["run_id"], control]), "control": control, "control_of": facts["run_id"]}
    path = workspace.run(own["run_id"]) / "run.json"
    if not path.exists():
        write_json(path, {**facts, **own, "shown": MEANING[control], "finished_at": now()})
    asked = {"run": facts["run_id"], "own": own["run_id"]}
    rows = {row["run_id"]: row for row in workspace.rows("select * from runs where run_id in ($run, $own)", asked)}
    if own["run_id"] not in rows:
        finished = datetime.fromisoformat(read_run(workspace, own["run_id"])["finished_at"])
        with workspace.writing() as connection:
            row = {**rows[facts["run_id"]], **own, "finished_at": finished}
            insert(connection, "runs", pa.Table.from_pylist([row]))
    return own["run_id"]


def photographs(control: str | None, sources: list[PartCase], *, margin: float, size: int) -> Photographs:
    """Return what the model sees of these cases."""
    if control in BLIND:
        return np.broadcast_to(np.uint8(GREY), (len(sources), size, size, 3))
    if control == "border":
        return crops_of(sources, margin=margin, size=size, read=border_pixels)
    return crops_of(sources, margin=margin, size=size)


class ImageBlindBackend:
    """A backend that is shown the same for every case: what it says depends on the prompt alone.

    Each prompt is scored once and by itself, so that equal cases are equal to the last bit, whatever their batch.
    """

    def __init__(self, learner: Backend) -> None:
        self.learner, self.input_size, self.answer_lengths = learner, learner.input_size, learner.answer_lengths
        self._said: dict[tuple[str, str], Any] = {}

    def log_likelihoods(self, photographs: np.ndarray, prompts: Sequence[str], answers: list[str]) -> np.ndarray:
        """Return (B, answers) float64."""
        for prompt in set(prompts) - {known for kind, known in self._said if kind == "scored"}:
            self._said["scored", prompt] = self.learner.log_likelihoods(photographs[:1], [prompt], answers)[0]
        return np.stack([self._said["scored", prompt] for prompt in prompts])

    def generate(self, photographs: np.ndarray, prompts: Sequence[str]) -> list[str]:
        """Return what the model says freely."""
        for prompt in set(prompts) - {known for kind, known in self._said if kind == "said"}:
            self._said["said", prompt] = self.learner.generate(photographs[:1], [prompt])[0]
        return [self._said["said", prompt] for prompt in prompts]
