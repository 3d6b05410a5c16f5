"""How to say in words what was done: from what the run and its scores recorded, never from today's study file.

Refuses to know HTML: sentences come out.
"""

from typing import Any, NamedTuple

from toolkit.formatting import UNDEFINED, clean, count, counted, model_name, moment, percent, spoken, support
from toolkit.manifest import NO_PATIENTS
from toolkit.manifest.model import PromptSection
from toolkit.prompts.prompt import prompt_of
from toolkit.stages.report.facts import ReportFacts

POLICIES = {
    "majority": "the majority of the annotators' latest readings",
    "latest": "the annotators' latest reading",
    "reviewed": "the majority of the annotators' latest readings of reviewed photographs",
    "benchmark": "that of the benchmark label, where there is none the majority of the annotators' latest readings",
    "annotator": "the latest reading of one annotator, named in the study",
}


class Paragraph(NamedTuple):
    """A heading and what is said under it."""

    heading: str
    text: str


def methods(facts: ReportFacts) -> list[Paragraph]:
    """Return what was done, in the order in which it was done."""
    study = facts.record.study
    return [
        Paragraph("Cases and truth", _truth(facts, study)),
        Paragraph("Split", _split(facts)),
        Paragraph("Model", _model(facts)),
        Paragraph("Training", _training(facts, study.get("train", {}))),
        Paragraph("Photographs", _photographs(facts, study)),
        Paragraph("Prompt", _prompt(study)),
        Paragraph("Probabilities", _probabilities(study)),
        Paragraph("Metrics and intervals", _intervals(facts, study)),
    ]


def _truth(facts: ReportFacts, study: dict[str, Any]) -> str:
    policy = facts.label_state["policy"]
    iou = study.get("ingest", {}).get("box_iou")
    boxes = (
        f" Boxes of several annotators and revisions are one case where they overlap (IoU from {iou})." if iou else ""
    )
    rule = POLICIES.get(policy, f"what the policy {spoken(policy)} makes of the annotators' latest readings")
    if states := study.get("ingest", {}).get("workflow"):
        rule += f"; labels count in the workflow states {', '.join(states)} only"
    return (
        f"A case is one lesion on one photograph.{boxes} Its class is {rule}. A tie resolves nothing. "
        f"Label revision {facts.label_state['label_revision']}."
    )


def _split(facts: ReportFacts) -> str:
    seed = facts.certificate.get("seed")
    drawn = "" if seed is None else f", drawn with seed {seed}"
    bound = (
        "Patients, and patients who share a photograph, form groups"
        if facts.patients_known
        else f"There are {NO_PATIENTS}. Every photograph counts as a patient of its own; identical ones form groups"
    )
    strata = "".join(f", {clean(name)}" for name in facts.certificate.get("wish", {}).get("strata", {}))
    return (
        f"{bound}; a whole group stands in one part. Parts are "
        f"stratified by class{strata}{drawn}. The test part was not seen in training."
    )


def _model(facts: ReportFacts) -> str:
    model = facts.record.model
    total, trained = model.parameters, model.trainable_parameters
    if total is None or trained is None:
        size = ""
    elif total == trained:
        size = f" All of its {count(total)} parameters were trained."
    else:
        size = f" {count(trained)} of its {count(total)} parameters were trained."
    return f"{model_name(facts.run['model'])} ({clean(model.backend or UNDEFINED)} backend).{size}"


def _training(facts: ReportFacts, train: dict[str, Any]) -> str:
    rate, decay = train.get("learning_rate"), train.get("weight_decay")
    turned = (
        "Photographs were turned and mirrored at random (eight ways), anew for every epoch."
        if train.get("augment")
        else "Photographs were not augmented."
    )
    seed = facts.record.study.get("study", {}).get("seed", UNDEFINED)
    return (
        f"{counted(facts.run['epochs'], 'epoch')} on {support(facts.run['train_cases'], facts.run['train_patients'])}; "
        f"learning rate {_number(rate)}, {train.get('schedule', UNDEFINED)} schedule with "
        f"{counted(train.get('warmup_steps', 0), 'warm-up step')}, weight decay {_number(decay)}, "
        f"batch size {train.get('batch_size', UNDEFINED)}, seed {seed}. {turned} The last epoch is the run."
    )


def _number(value: float | None) -> str:
    return UNDEFINED if value is None else f"{value:g}".replace("e-0", "e-").replace("-", "\N{MINUS SIGN}")


def _photographs(facts: ReportFacts, study: dict[str, Any]) -> str:
    margin = study.get("model", {}).get("roi_margin", 0)
    size = facts.record.model.input_size
    scaled = f", scaled to {size} \N{MULTIPLICATION SIGN} {size} pixels" if size else ""
    return (
        f"Turned upright, cropped to the ROI with {percent(margin)} of its size added on every side{scaled}. "
        "A case without ROI is the whole photograph."
    )


def _prompt(study: dict[str, Any]) -> str:
    user = study.get("prompt", {}).get("user")
    return "Not recorded." if user is None else f"“{clean(prompt_of(PromptSection(user=user)))}”"


def _probabilities(study: dict[str, Any]) -> str:
    answers = ", ".join(f"“{clean(c['answer'])}”" for c in study.get("classes", []))
    return (
        f"The model gives the likelihood of each class's whole answer ({answers}). A class's probability is its share "
        "of the answers' likelihoods (softmax of the log-likelihoods); the predicted class is the most probable one. "
        "Label mass is what the answers hold together of all that the model could have said: a low one means none of "
        "these."
    )


def _intervals(facts: ReportFacts, study: dict[str, Any]) -> str:
    rows = list(facts.scores.values())
    used = sorted({(row["method"], row["replicates"]) for row in rows})
    each = "; ".join(f"{method}, {counted(n, 'replicate')}" if n else method for method, n in used)
    level = sorted({row["confidence"] for row in rows})
    seed = study.get("study", {}).get("seed", UNDEFINED)
    return (
        f"One class against the rest from the most probable class. {', '.join(map(percent, level))} "
        f"intervals with the patient as the unit: {clean(each)}; bootstrap seed {seed}. A macro average is the plain "
        f"mean over the classes in which the metric is defined. Undefined is {UNDEFINED}, never 0 or 1."
    )


def provenance(facts: ReportFacts) -> list[Paragraph]:
    """Return what the report was made from."""
    model, run = facts.record.model, facts.run
    versions = {"lesion-toolkit": facts.record.toolkit, "torch": model.torch, "transformers": model.transformers}
    return [
        Paragraph(
            "Run", f"{run['run_id']}, finished {moment(run['finished_at'])}, {run['seconds']:.0f} s on {run['device']}"
        ),
        Paragraph("Split", run["split_id"]),
        Paragraph("Truth", f"{run['truth_id']} (trained on); {scored_truth(facts)} (scored against)"),
        Paragraph("Label revision", facts.label_state["label_revision"]),
        Paragraph("Pseudonym key", f"fingerprint {facts.label_state['key_fingerprint']}"),
        *(
            Paragraph(f"Export {e['export_id']}", f"{counted(e['rows'], 'row')}, SHA-256 {e['sha256']}")
            for e in facts.exports
        ),
        *(Paragraph(f"Scored {part}", _scored(facts, part)) for part in facts.parts),
        Paragraph("Versions", ", ".join(f"{name} {clean(v)}" for name, v in versions.items() if v)),
    ]


def scored_truth(facts: ReportFacts) -> str:
    """Return the truth the scores rest on."""
    return ", ".join(sorted({row["truth_id"] for row in facts.scores.values()}))


def _scored(facts: ReportFacts, part: str) -> str:
    row = facts.scorings.get(part)
    return UNDEFINED if row is None else f"{counted(row['times'], 'time')}, last {moment(row['last_scored_at'])}"
