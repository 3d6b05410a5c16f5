"""The paragraphs of "Methods" from what a run and its scores recorded, never from today's study file."""

import re
from typing import NamedTuple

from toolkit.manifest import NO_PATIENTS
from toolkit.manifest.model import PromptSection
from toolkit.prompts.prompt import prompt_of
from toolkit.stages.report.facts import ReportFacts
from toolkit.stages.report.layout import text_environment

METHODS = {
    "Cases and reference diagnosis": "reference_diagnosis",
    "Split": "split",
    "Model": "model",
    "Training": "training",
    "Photographs": "photographs",
    "Prompt": "prompt",
    "Probabilities": "probabilities",
    "Metrics and intervals": "metrics",
}
"""Each heading with its macro in methods.txt.j2, in the order in which things were done."""


class Paragraph(NamedTuple):
    """A heading and the text under it."""

    heading: str
    text: str


def methods(facts: ReportFacts) -> list[Paragraph]:
    """Return what was done, in the order in which it was done."""
    study = facts.record.study
    user = study.get("prompt", {}).get("user")
    scores = facts.scores.values()
    values = {
        "study": study,
        "recorded": facts.record.model,
        "run": facts.run,
        "label_state": facts.label_state,
        "certificate": facts.certificate,
        "patients_known": facts.patients_known,
        "no_patients": NO_PATIENTS,
        "prompt_text": user and prompt_of(PromptSection(user=user)),
        "used": sorted({(score.method, score.replicates) for score in scores}),
        "levels": sorted({score.confidence for score in scores}),
    }
    macros = text_environment().get_template("methods.txt.j2").make_module(values)
    return [
        Paragraph(heading, re.sub(r"[ \n]+", " ", getattr(macros, name)()).strip()) for heading, name in METHODS.items()
    ]


def scored_truth(facts: ReportFacts) -> str:
    """Return the ID of the reference diagnoses that the scores rest on."""
    return ", ".join(sorted({score.truth_id for score in facts.scores.values()}))
