"""The paragraphs "Methods" and "Provenance": sentences from what a run and its scores recorded."""

from typing import Any, NamedTuple

from toolkit.formatting import (
    UNDEFINED,
    clean,
    count,
    counted,
    field_name,
    metric_name,
    model_name,
    moment,
    percent,
    spoken,
    subset,
    support,
)
from toolkit.manifest import NO_PATIENTS
from toolkit.manifest.model import PromptSection
from toolkit.prompts.prompt import prompt_of
from toolkit.stages.report.facts import ReportFacts

POLICIES = {
    "majority": "the majority of the annotators' latest readings",
    "latest": "the annotators' latest reading",
    "reviewed": "the majority of the annotators' latest readings of reviewed photographs",
    "benchmark": "that of the benchmark label; where there is none, the majority of the annotators' latest readings",
    "annotator": "the latest reading of one annotator, named in the study",
}


class Paragraph(NamedTuple):
    """A heading and the text under it."""

    heading: str
    text: str


def methods(facts: ReportFacts) -> list[Paragraph]:
    """Return what was done, in the order in which it was done."""
    study = facts.record.get("study", {})
    return [
        Paragraph("Cases and reference diagnosis", _reference_diagnosis(facts, study)),
        Paragraph("Split", _split(facts)),
        Paragraph("Model", _model(facts)),
        Paragraph("Training", _training(facts, study.get("train", {}))),
        Paragraph("Photographs", _photographs(facts, study)),
        Paragraph("Prompt", _prompt(study)),
        Paragraph("Probabilities", _probabilities(study)),
        Paragraph("Metrics and intervals", _intervals(facts, study)),
    ]


def _reference_diagnosis(facts: ReportFacts, study: dict[str, Any]) -> str:
    policy = facts.label_state["policy"]
    iou = study.get("ingest", {}).get("box_iou")
    boxes = f" Boxes of several annotators and revisions are one case if their IoU is at least {iou}." if iou else ""
    rule = POLICIES.get(policy, f"what the policy {spoken(policy)} makes of the annotators' latest readings")
    if states := study.get("ingest", {}).get("workflow"):
        rule += f"; labels count in the workflow states {', '.join(states)} only"
    return (
        f"A case is one lesion on one photograph.{boxes} Its reference diagnosis is {rule}. A case whose readings tie "
        f"has none. The label revision is {facts.label_state['label_revision']}."
    )


def _split(facts: ReportFacts) -> str:
    seed = facts.certificate.get("seed")
    seeded = "" if seed is None else f", with seed {seed}"
    bound = (
        "A group is a patient with all who share a photograph with them"
        if facts.patients_known
        else f"There are {NO_PATIENTS}. Every photograph counts as a patient; a group is a set of identical photographs"
    )
    strata = "".join(f", {clean(field_name(name))}" for name in facts.certificate.get("wish", {}).get("strata", {}))
    return (
        f"{bound}; every group is in one subset as a whole (stratified group split). Subsets are stratified by "
        f"class{strata}{seeded}. The test set was not used in training."
    )


def _model(facts: ReportFacts) -> str:
    model = facts.record.get("model", {})
    total, trained = model.get("parameters"), model.get("trainable_parameters")
    if total is None or trained is None:
        size = ""
    elif total == trained:
        size = f" All of its {count(total)} parameters were trained."
    else:
        size = f" {count(trained)} of its {count(total)} parameters were trained."
    return f"{model_name(facts.run['model'])} ({clean(str(model.get('backend', UNDEFINED)))} backend).{size}"


def _training(facts: ReportFacts, train: dict[str, Any]) -> str:
    rate, decay, best = train.get("learning_rate"), train.get("weight_decay"), train.get("best", "last")
    augmentation = (
        "Photographs were rotated and mirrored at random (eight ways) in every epoch."
        if train.get("augment")
        else "Photographs were not augmented."
    )
    seed = facts.record.get("study", {}).get("study", {}).get("seed", UNDEFINED)
    kept = "last epoch" if best == "last" else f"epoch with the best {metric_name(best)} on the validation set"
    return (
        f"The model was trained for {counted(facts.run['epochs'], 'epoch')} on "
        f"{support(facts.run['train_cases'], facts.run['train_patients'])}; learning rate {_number(rate)}, "
        f"{train.get('schedule', UNDEFINED)} schedule with {counted(train.get('warmup_steps', 0), 'warm-up step')}, "
        f"weight decay {_number(decay)}, batch size {train.get('batch_size', UNDEFINED)}, seed {seed}. {augmentation} "
        f"The weights of the {kept} were kept."
    )


def _number(value: float | None) -> str:
    return UNDEFINED if value is None else f"{value:g}".replace("e-0", "e-").replace("-", "\N{MINUS SIGN}")


def _photographs(facts: ReportFacts, study: dict[str, Any]) -> str:
    margin = study.get("model", {}).get("roi_margin", 0)
    size = facts.record.get("model", {}).get("input_size")
    scaled = f", scaled to {size} \N{MULTIPLICATION SIGN} {size} pixels" if size else ""
    return (
        f"Photographs were turned upright and cropped to the ROI with {percent(margin)} of its size added on every "
        f"side{scaled}. A case without ROI is the whole photograph."
    )


def _prompt(study: dict[str, Any]) -> str:
    user = study.get("prompt", {}).get("user")
    return "The prompt was not recorded." if user is None else f"“{clean(prompt_of(PromptSection(user=user)))}”"


def _probabilities(study: dict[str, Any]) -> str:
    answers = ", ".join(f"“{clean(c['answer'])}”" for c in study.get("classes", []))
    return (
        f"The model gives the likelihood of each class's whole answer ({answers}). A class's probability is its share "
        "of the answers' likelihoods (softmax of the log-likelihoods); the predicted class is the most probable one. "
        "The probability on the study's answers is the sum of their likelihoods: where it is low, the model "
        "preferred other answers."
    )


def _intervals(facts: ReportFacts, study: dict[str, Any]) -> str:
    rows = list(facts.scores.values())
    used = sorted({(row.method, row.replicates) for row in rows})
    each = "; ".join(f"{method}, {counted(n, 'replicate')}" if n else method for method, n in used)
    level = sorted({row.confidence for row in rows})
    seed = study.get("study", {}).get("seed", UNDEFINED)
    return (
        "Metrics of a class compare it with all other classes; the predicted class is the most probable one. "
        f"Intervals ({', '.join(map(percent, level))}) take the patient as the unit: {clean(each)}; bootstrap seed "
        f"{seed}. A macro average is the plain mean over the classes in which the metric is defined. An undefined "
        f"value is shown as {UNDEFINED}, never as 0 or 1."
    )


def provenance(facts: ReportFacts) -> list[Paragraph]:
    """Return what the report was made from."""
    model, run = facts.record.get("model", {}), facts.run
    versions = {"lesion-toolkit": facts.record.get("toolkit"), "torch": model.get("torch")}
    versions["transformers"] = model.get("transformers")
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
        Paragraph("Versions", ", ".join(f"{name} {clean(str(v))}" for name, v in versions.items() if v)),
    ]


def scored_truth(facts: ReportFacts) -> str:
    """Return the ID of the reference diagnoses that the scores rest on."""
    return ", ".join(sorted({score.truth_id for score in facts.scores.values()}))


def _scored(facts: ReportFacts, part: str) -> str:
    row = facts.scorings.get(part)
    return UNDEFINED if row is None else f"{counted(row['times'], 'time')}, last {moment(row['last_scored_at'])}"
