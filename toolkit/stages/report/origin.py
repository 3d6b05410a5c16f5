"""Where a run comes from that was not trained here as it stands: another workspace, an input ablation, a file."""

from typing import Any

from toolkit.formatting import UNDEFINED, clean, counted, model_name, moment, spoken, subset, support
from toolkit.stages.report.facts import ReportFacts
from toolkit.workspace.runs import PLAIN_CONTROL, RunRecord
from toolkit.workspace.sources import UNTOLD, PredictionSource

CLASS_UNKNOWN = "the run was not trained on this class"
UNDEFINED_WITHOUT = {
    "scores": "Brier score and log loss over all classes are undefined: the scores of a case do not add up to 1.",
    "predicted": "Areas, Brier score, log loss and the calibration of single classes are undefined: the file gives the "
    "probability of the predicted class only.",
}
"""What cannot be scored, by what a file tells of a case."""


def trained(facts: ReportFacts) -> str:
    """Say of what run this is the model, and when it was trained; nothing of a run that was trained here."""
    record, ended = facts.record, facts.record.training_ended
    if record.source:
        model = f"\N{LEFT DOUBLE QUOTATION MARK}{model_name(record.model.name)}\N{RIGHT DOUBLE QUOTATION MARK}"
        return f"These are the predictions of the model {model}, read from a file; {UNTOLD}."
    if not (record.external_of or record.control_of):
        return ""
    if ended is None:
        time = "the time of its training was not recorded"
    else:
        time = f"training ended {moment(ended.year if facts.audience == 'shared' else ended)}"
    what = f"The model \N{LEFT DOUBLE QUOTATION MARK}{model_name(record.model.name)}\N{RIGHT DOUBLE QUOTATION MARK} was"
    how = f"trained for {counted(len(record.epochs), 'epoch')} on {support(record.train_cases, record.train_patients)}"
    where = f" in another workspace, where it is run {record.external_of}" if record.external_of else ""
    text = f"{what} {how}{where} ({clean(record.model.device)}; {time})."
    if record.control == PLAIN_CONTROL:
        how = f"fitted in seconds on {support(record.train_cases, record.train_patients)} of the training set alone"
        return (
            f"This is a control of run {record.control_of} without a neural network: logistic regression and extra "
            f"trees on plain colour, texture and shape, {how}."
        )
    if record.control_of and record.was_trained:
        return f"This is run {record.control_of} trained on fewer patients, for its learning curve. {text}"
    if record.control_of:
        shown = clean(record.shown or spoken(record.control or ""))
        text = f"This is an input ablation of run {record.control_of}: the model gets {shown}. {text}"
    return text


def external(facts: ReportFacts) -> list[str]:
    """Return what to know of a run that comes from another workspace, or started there, a sentence each."""
    if facts.record.source:
        return [*_read(facts, facts.record.source), *_left_out(facts), *_averages(facts)]
    if leaks := facts.record.start_leaks:
        return [
            "The training started from a run of another workspace, directly or by way of runs of this one.",
            *_seen(facts, leaks, "That run"),
            "What was forgotten of the patients there cannot be measured here.",
        ]
    if not facts.record.external_of:
        return []
    return [*_seen(facts, facts.record.leaks, "It"), *_left_out(facts), *_meaning(facts), *_averages(facts)]


def external_title(record: RunRecord) -> str:
    """Return the heading over these sentences."""
    if record.source:
        return "Predictions of another model"
    return "Started in another workspace" if record.start_leaks else "External validation"


def _seen(facts: ReportFacts, leaks: dict[str, Any], run: str) -> list[str]:
    """Say whether a run can have seen a photograph or a patient of this workspace; `run` is the subject."""
    compared, cases = leaks.get("photographs_compared", 0), leaks.get("cases", 0)
    texts = [
        f"{run} was trained on none of the photographs of {counted(compared, 'case')} that were compared with its own."
    ]
    texts.append("Copies that were saved again or cropped are not recognised.")
    if compared < cases and facts.audience == "internal":
        texts.append(f"The photographs of {counted(cases - compared, 'case')} could not be compared.")
    if leaks.get("patients_compared"):
        texts.append(f"{run} was trained on no patient of this workspace.")
    else:
        texts.append(
            f"{run} may have seen patients of this workspace: they could not be compared, since the other workspace "
            "has another pseudonym key or did not note it."
        )
    if unknown := leaks.get("unknown_there"):
        number, run = counted(unknown, "case") if facts.audience == "internal" else "Some cases", run.lower()
        texts.append(f"{number} that {run} was trained on could not be compared: withdrawn there, or without a digest.")
    return texts


def _read(facts: ReportFacts, source: PredictionSource) -> list[str]:
    """Say what file the predictions were read from, how, and what nobody here can know."""
    name = f"\N{LEFT DOUBLE QUOTATION MARK}{clean(source.name)}\N{RIGHT DOUBLE QUOTATION MARK}, "
    where = name if facts.audience == "internal" else ""
    others = "patients" if facts.patients_known else "lesions"
    texts = [
        f"The model was {UNTOLD}. It may have been trained on these photographs, or on others of these {others}.",
        f"Its predictions were read from a file: {where}{counted(source.rows, 'row')}, SHA-256 {source.sha256}.",
    ]
    if facts.audience == "internal":
        texts.append(f"Rows were found by their key: {clean(source.key)}.")
        texts += [f"{clean(note[0].upper() + note[1:])}." for note in source.notes]
    if undefined := UNDEFINED_WITHOUT.get(source.knows):
        texts.append(undefined)
    return texts


def _left_out(facts: ReportFacts) -> list[str]:
    """Say which cases were left out because the run does not know their class."""
    texts = []
    for row in facts.not_predicted:
        known = row["class_name"] not in facts.unsayable
        lacking = "the file has no probability of this class" if facts.record.source else CLASS_UNKNOWN
        reason = "they were not predicted" if known else lacking
        texts.append(
            f"Left out: {support(row['cases'], row['patients'])} of {spoken(row['class_name'])}, since {reason}."
        )
    return texts or [f"No case of the {subset(facts.parts[0])} was left out."]


def _meaning(facts: ReportFacts) -> list[str]:
    """Say which of the run's answers stand for which class here."""
    if facts.made is None:
        return ["Which of its answers stand for which class here was not recorded."]
    by_class: dict[str, list[str]] = {}
    for text, class_name in facts.made.answers:
        quoted = f"\N{LEFT DOUBLE QUOTATION MARK}{clean(text)}\N{RIGHT DOUBLE QUOTATION MARK}"
        by_class.setdefault(class_name or "", []).append(quoted)
    none_here = by_class.pop("", [])
    meanings = [f"{spoken(name)} is its {' or '.join(texts)}" for name, texts in by_class.items()]
    texts = [f"Classes here by the run's answers: {'; '.join(meanings)}."]
    if none_here:
        texts.append(f"Its answers that are no class here: {', '.join(none_here)}.")
    return texts


def _averages(facts: ReportFacts) -> list[str]:
    if not facts.unsayable:
        return []
    known = len(facts.classes) - len(facts.unsayable)
    names = ", ".join(map(spoken, facts.unsayable)) or UNDEFINED
    return [f"Averages are over the {known} of {len(facts.classes)} classes that the run can say, without {names}."]
