"""The paragraphs of "Methods" from what a run and its scores recorded, never from today's study file."""

import re
from typing import Any, NamedTuple

from toolkit.formatting import unit
from toolkit.manifest import NO_PATIENTS
from toolkit.manifest.model import PromptSection
from toolkit.models import BUILT_IN
from toolkit.prompts.prompt import prompt_of
from toolkit.stages.report.facts import ReportFacts
from toolkit.stages.report.layout import text_environment
from toolkit.workspace.runs import RunRecord

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
    scores = [score for score in facts.scores.values() if score.has_interval]
    values = {
        "run": facts.run,
        "certificate": facts.certificate,
        "patients_known": facts.patients_known,
        "no_patients": NO_PATIENTS,
        "scored_part": facts.parts[0],
        "boxes": facts.boxes.get(facts.parts[0]),
        "used": sorted({(score.method, score.replicates) for score in scores}),
        "levels": sorted({score.confidence for score in scores}),
        "bootstrap_seed": facts.bootstrap_seed,
        "unsayable": facts.unsayable,
        "audience": facts.audience,
        **_labels(facts),
        **_training(facts.record),
        **_prompt(facts),
        **_answers(facts),
    }
    macros = text_environment(unit()).get_template("methods.txt.j2").make_module(values)
    return [
        Paragraph(heading, re.sub(r"[ \n]+", " ", getattr(macros, name)()).strip()) for heading, name in METHODS.items()
    ]


def _labels(facts: ReportFacts) -> dict[str, Any]:
    """Return how the reference diagnoses were made that the scores rest on: their ID names policy and revision."""
    policy, _, revision = scored_truth(facts).rpartition("-")
    return {"policy": policy, "label_revision": revision, "ingest": facts.ingest}


def _training(record: RunRecord) -> dict[str, Any]:
    """Return what a run recorded of its model and its training."""
    train = record.study.get("train", {})
    backend = record.model.backend
    built_in = backend in BUILT_IN
    batch, accumulate = train.get("batch_size"), train.get("accumulate")
    effective = batch * accumulate * record.processes if batch and accumulate and record.processes else None
    return {
        "record": record,
        "recorded": record.model,
        "study": record.study,
        "built_in": built_in,
        "mode": (record.model.model_extra or {}).get("mode", train.get("mode")) if built_in else None,
        "effective": effective,
        "stopped_early": bool(train.get("patience")) and len(record.epochs) < train.get("epochs", 0),
        "kept": next((epoch.epoch for epoch in record.epochs if epoch.kept), None),
    }


def _prompt(facts: ReportFacts) -> dict[str, Any]:
    """Return the prompt as a template, with the metadata fields in it; an ablation without metadata has none."""
    user = facts.record.study.get("prompt", {}).get("user")
    if not user:
        return {}
    section = PromptSection(user=user)
    if facts.record.control == "blank":
        return {"prompt_text": prompt_of(section)}
    return {"prompt_text": f"USER: {user} ASSISTANT:", "prompt_fields": section.fields, "made": facts.made}


def _answers(facts: ReportFacts) -> dict[str, Any]:
    """Return the answers that were scored; of earlier versions, which did not note them, those of the training."""
    study = facts.record.study
    pairs: list[tuple[str, str | None]] = [
        (answer, each["name"])
        for each in study.get("classes", [])
        for answer in dict.fromkeys((each["answer"], *each.get("answers", [])))
    ]
    views = study.get("predict", {}).get("views")
    if facts.made:
        pairs, views = facts.made.answers, facts.made.views
    by_class: dict[str, list[str]] = {}
    for text, class_name in pairs:
        if class_name is not None:
            by_class.setdefault(class_name, []).append(text)
    return {
        "answers": [text for text, _ in pairs],
        "several": {class_name: texts for class_name, texts in by_class.items() if len(texts) > 1},
        "foreign": [text for text, class_name in pairs if class_name is None],
        "views": views,
    }


def scored_truth(facts: ReportFacts) -> str:
    """Return the ID of the reference diagnoses that the scores rest on."""
    return ", ".join(sorted({score.truth_id for score in facts.scores.values()}))
