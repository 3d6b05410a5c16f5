"""The order of a review queue: whole patients, those first where a minute of review avoids the most harm.

Pure computing: no file and no table is touched.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from toolkit.manifest.evaluation import Costs
from toolkit.workspace.queues import LEAST_SCORE

DRAWN = {
    "all": "drawn at random, so that the share of wrong labels can be estimated without bias",
    "test": "drawn at random from the test set, as many as are proposed there because a model alone disagrees",
}
BESIDE = "of a patient whose other labels are looked at"
CHOSEN = "chosen by a person"
MODEL_ALONE = "a model alone disagrees with the label"


@dataclass(frozen=True)
class Candidate:
    """A case with a reference diagnosis, and the evidence against it; NaN and None where there is none."""

    case_id: str
    patient_id: str
    class_name: str
    part: str | None
    score: float
    suggested_class: str | None
    probability: float
    reasons: str
    others_say_so: bool
    is_reviewed: bool
    harm: float

    @property
    def asks_to_be_seen(self) -> bool:
        """Whether there is a reason to look at this case."""
        return not self.is_reviewed and self.score >= LEAST_SCORE

    @property
    def is_model_alone(self) -> bool:
        """Whether it would be proposed only because a model disagrees with a label of the test set."""
        return self.part == "test" and self.asks_to_be_seen and not self.others_say_so


class QueuedCase(NamedTuple):
    """A case's place in a queue."""

    candidate: Candidate
    drawn_from: str | None
    """The patients its patient was drawn from at random: all, or the test set's; None where it was not drawn."""
    reasons: str


def harm(given: str, suggested: str | None, score: float, costs: Costs, malignant: set[str]) -> float:
    """Return what an error costs, times its probability; NaN without evidence.

    `given` is the label; the error is that the lesion is `suggested`.
    """
    if suggested is None or math.isnan(score):
        return math.nan
    if given not in malignant and suggested in malignant:
        return score * costs.malignant_called_benign
    if given in malignant and suggested not in malignant:
        return score * costs.benign_called_malignant
    return score * costs.other


def queue(
    candidates: list[Candidate], *, minutes: float, seconds_per_case: float, random_share: float, seed: int
) -> list[QueuedCase]:
    """Return the cases to look at, patient by patient, as many as the time allows.

    Patients are drawn at random first, from all; how many follows from the share and the mean number of cases, not from
    whom the draw hits. The others come by expected harm avoided per minute. For each case of the test set that is
    there because a model alone disagrees, a case of the test set that was drawn at random is there too.
    """
    patients = _patients(candidates)
    affordable = minutes * 60 / seconds_per_case
    rng = np.random.default_rng(seed)
    drawn = _drawn(patients, share=random_share, affordable=affordable, rng=rng)
    others = [cases for name, cases in patients.items() if name not in drawn]
    ranked = sorted(
        (cases for cases in others if any(case.asks_to_be_seen for case in cases)),
        key=lambda cases: (-_per_case(cases), cases[0].case_id),
    )
    of_test = _of_test(patients, drawn, rng)
    chosen, paired = _filled(ranked, of_test, affordable - sum(map(len, drawn.values())))
    return [
        _place(case, drawn_from)
        for drawn_from, cases in _mixed({None: chosen, "all": list(drawn.values()), "test": paired})
        for case in cases
    ]


def of_cases(candidates: list[Candidate], case_ids: list[str], *, seed: int) -> list[QueuedCase]:
    """Return the cases that a person chose, patient by patient in their order.

    Beside those of the test set against which only a model speaks, as many of the test set are drawn at random.
    """
    patients = _patients(candidates)
    by_id = {candidate.case_id: candidate for candidate in candidates}
    chosen: dict[str, list[Candidate]] = {}
    for case_id in dict.fromkeys(case_ids):
        chosen.setdefault(by_id[case_id].patient_id, []).append(by_id[case_id])
    owed = sum(case.part == "test" and not case.others_say_so for cases in chosen.values() for case in cases)
    of_test = _of_test(patients, chosen, np.random.default_rng(seed))
    groups = {None: list(chosen.values()), "test": _beside(of_test, set(chosen), owed)}
    return [
        QueuedCase(case, drawn_from, DRAWN[drawn_from] if drawn_from else case.reasons or CHOSEN)
        for drawn_from, cases in _mixed(groups)
        for case in cases
    ]


def _mixed(groups: dict[str | None, list[list[Candidate]]]) -> list[tuple[str | None, list[Candidate]]]:
    """Return the patients of all groups, each group spread evenly: whoever stops half-way has seen half of each."""
    spread = [
        ((number + 0.5) / len(group), order, drawn_from, cases)
        for order, (drawn_from, group) in enumerate(groups.items())
        for number, cases in enumerate(group)
    ]
    return [(drawn_from, cases) for _, _, drawn_from, cases in sorted(spread, key=lambda each: each[:2])]


def _patients(candidates: list[Candidate]) -> dict[str, list[Candidate]]:
    """Return each patient's cases, patients in an order that no pseudonym decides."""
    patients: dict[str, list[Candidate]] = {}
    for candidate in sorted(candidates, key=lambda c: c.case_id):
        patients.setdefault(candidate.patient_id, []).append(candidate)
    return patients


def _drawn(
    patients: dict[str, list[Candidate]], *, share: float, affordable: float, rng: np.random.Generator
) -> dict[str, list[Candidate]]:
    if not share or not patients:
        return {}
    mean = sum(map(len, patients.values())) / len(patients)
    number = min(len(patients), max(1, round(share * affordable / mean)))
    names = list(patients)
    return {names[k]: patients[names[k]] for k in rng.permutation(len(names))[:number]}


def _of_test(
    patients: dict[str, list[Candidate]], drawn: dict[str, list[Candidate]], rng: np.random.Generator
) -> list[list[Candidate]]:
    """Return the patients of the test set in the order in which they are drawn, to stand beside what is proposed."""
    there = [cases for patient, cases in patients.items() if cases[0].part == "test" and patient not in drawn]
    return [there[k] for k in rng.permutation(len(there))]


def _per_case(cases: list[Candidate]) -> float:
    """Return the expected harm avoided by looking at a patient's cases, per case."""
    return sum(c.harm for c in cases if c.asks_to_be_seen and not math.isnan(c.harm)) / len(cases)


def _filled(
    ranked: list[list[Candidate]], of_test: list[list[Candidate]], left: float
) -> tuple[list[list[Candidate]], list[list[Candidate]]]:
    """Return the ranked patients that fit into `left` cases, and those of the test set that are drawn beside them."""
    chosen: list[list[Candidate]] = []
    paired: list[list[Candidate]] = []
    owed = 0
    taken: set[str] = set()
    for cases in ranked:
        if cases[0].patient_id in taken:  # it was drawn beside an earlier one
            continue
        alone = sum(c.is_model_alone for c in cases)
        beside = _beside(of_test, taken | {cases[0].patient_id}, owed + alone)
        cost = len(cases) + sum(map(len, beside))
        if cost > left or sum(map(len, beside)) < owed + alone:
            continue
        owed += alone - sum(map(len, beside))
        chosen.append(cases)
        paired += beside
        taken |= {each[0].patient_id for each in (cases, *beside)}
        left -= cost
    return chosen, paired


def _beside(of_test: list[list[Candidate]], taken: set[str], owed: int) -> list[list[Candidate]]:
    found: list[list[Candidate]] = []
    for cases in of_test:
        if sum(map(len, found)) >= owed:
            break
        if cases[0].patient_id not in taken:
            found.append(cases)
    return found


def _place(case: Candidate, drawn_from: str | None) -> QueuedCase:
    if drawn_from:
        return QueuedCase(case, drawn_from, DRAWN[drawn_from])
    return QueuedCase(case, None, (case.reasons or MODEL_ALONE) if case.asks_to_be_seen else BESIDE)
