"""The paragraphs "Methods" and "Provenance" from what a run and its scores recorded, never from today's study file."""

import re
from typing import NamedTuple

from toolkit.formatting import UNDEFINED, clean, counted, moment, subset
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


def provenance(facts: ReportFacts) -> list[Paragraph]:
    """Return what the report was made from."""
    model, run = facts.record.model, facts.run
    versions = {"lesion-toolkit": facts.record.toolkit, "torch": model.torch, "transformers": model.transformers}
    return [
        Paragraph(
            "Run", f"{run['run_id']}, finished {moment(run['finished_at'])}, {run['seconds']:.0f} s on {run['device']}"
        ),
        Paragraph("Split", run["split_id"]),
        Paragraph("Reference diagnoses", f"{run['truth_id']} (training); {scored_truth(facts)} (evaluation)"),
        Paragraph("Label revision", facts.label_state["label_revision"]),
        Paragraph("Pseudonym key", f"fingerprint {facts.label_state['key_fingerprint']}"),
        *(
            Paragraph(f"Export {e['export_id']}", f"{counted(e['rows'], 'row')}, SHA-256 {e['sha256']}")
            for e in facts.exports
        ),
        *(Paragraph(f"Evaluations of the {subset(part)}", _scored(facts, part)) for part in facts.parts),
        Paragraph("Versions", ", ".join(f"{name} {clean(v)}" for name, v in versions.items() if v)),
    ]


def scored_truth(facts: ReportFacts) -> str:
    """Return the ID of the reference diagnoses that the scores rest on."""
    return ", ".join(sorted({score.truth_id for score in facts.scores.values()}))


def _scored(facts: ReportFacts, part: str) -> str:
    row = facts.scorings.get(part)
    return UNDEFINED if row is None else f"{counted(row['times'], 'time')}, last {moment(row['last_scored_at'])}"
