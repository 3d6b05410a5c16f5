"""How well a review's random share tells the error rate of all labels, in simulated studies. `make coverage`.

Patients have 1 to 20 cases of eight classes: mostly few (4 on average), or evenly many. A label is wrong with the error
rate, which differs between patients (ICC). Evidence scores wrong labels 1.5 standard deviations higher; a model gets
74 % of the true classes right, and a wrong label is the model's wrong answer in a quarter of the cases where there is
one. A review of so many cases gives a share of them to patients drawn at random, then takes whole patients by their
mean score. A line says, of 1,000 reviews, of the error rate and of the corrected accuracy: the mean error of the
estimate, how often its interval holds the true value, and its mean width; and the mean error of what one might do
instead: count the ranked patients as known and let those drawn at random stand for all others, although some of these
would have been ranked; or draw as many cases from those in which the model disagrees with the label, which is how
suspect labels are mostly looked for.
"""

import argparse
import itertools
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from toolkit.stats.error_rate import Population, ReviewedCases, corrected_accuracy, share_of_all

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
BEGIN, END = "<!-- impact: begin -->", "<!-- impact: end -->"
CLASSES, ACCURACY, EVIDENCE = 8, 0.7, 1.5
PATIENTS, RATES, CASES, SHARES = (300, 1000), (0.02, 0.05, 0.15), (60, 240), (0.15, 0.3)
KINDS = {"mostly few": 0.1, "evenly": 0.4}
"""How many cases patients have, and the ICC of their errors."""


class Design(NamedTuple):
    """A study and its review."""

    patients: int
    kind: str
    rate: float
    cases: int
    share: float


class Simulated(NamedTuple):
    """The cases of a study: patient, whether the label is wrong, whether the model is right by it and in truth."""

    patient: np.ndarray
    wrong: np.ndarray
    before: np.ndarray
    after: np.ndarray
    score: np.ndarray


class Queue(NamedTuple):
    """The patients of a queue, and which were drawn at random."""

    patients: np.ndarray
    random: np.ndarray


class Errors(NamedTuple):
    """What is wrong with an estimate in one review."""

    bias: float
    covered: float
    width: float
    as_stratum: float
    disagreements: float


def simulated(design: Design, rng: np.random.Generator) -> Simulated:
    """Return a study."""
    few = design.kind == "mostly few"
    sizes = np.minimum(rng.geometric(0.25, design.patients), 20) if few else rng.integers(1, 21, design.patients)
    patient, spread = np.repeat(np.arange(design.patients), sizes), 1 / KINDS[design.kind] - 1
    wrong = rng.random(len(patient)) < rng.beta(design.rate * spread, (1 - design.rate) * spread, len(sizes))[patient]
    truth = rng.integers(0, CLASSES, len(patient))
    predicted = np.where(rng.random(len(patient)) < ACCURACY, truth, rng.integers(0, CLASSES, len(patient)))
    as_predicted = (rng.random(len(patient)) < 0.25) & (predicted != truth)
    other = (truth + rng.integers(1, CLASSES, len(patient))) % CLASSES
    label = np.where(wrong, np.where(as_predicted, predicted, other), truth)
    score = rng.standard_normal(len(patient)) + EVIDENCE * wrong
    return Simulated(patient, wrong, predicted == label, predicted == truth, score)


def queue(study: Simulated, design: Design, rng: np.random.Generator) -> Queue:
    """Return a queue: patients drawn at random, then others by their mean score until the cases are used up."""
    size = np.bincount(study.patient)
    value = np.bincount(study.patient, weights=study.score) / size
    number = max(1, round(design.share * design.cases / size.mean()))
    order = rng.permutation(len(size))
    drawn, others = order[:number], order[number:]
    ranked = others[np.argsort(-value[others])]
    last = np.searchsorted(np.cumsum(size[ranked]), design.cases - size[drawn].sum(), side="right")
    chosen = np.r_[drawn, ranked[:last]]
    return Queue(chosen, np.arange(len(chosen)) < number)


def estimates(study: Simulated, of: Queue) -> dict[str, tuple[float, float, float]]:
    """Return the estimates from a review of a queue, each with its interval."""
    random, decided = (np.isin(study.patient, patients) for patients in (of.patients[of.random], of.patients))
    review, found = ReviewedCases(study.patient, random, decided), int((study.wrong & decided).sum())
    population = Population(int(study.patient.max()) + 1, len(study.patient), found, int(decided.sum()) - found)
    rate = share_of_all(review.drawn(study.wrong), population, confidence=0.95)
    accuracy = corrected_accuracy(study.before, study.after, review, confidence=0.95)
    return {"error rate": (rate.value, *rate.interval), "accuracy": (accuracy.value, *accuracy.interval)}


def as_stratum(study: Simulated, of: Queue) -> dict[str, float]:
    """Return the estimates in which the ranked patients are known and the random ones stand for all others."""
    ranked, drawn = (np.isin(study.patient, of.patients[which]) for which in (~of.random, of.random))

    def of_all(errors: np.ndarray) -> float:
        return float((errors[ranked].sum() + (~ranked).sum() * errors[drawn].mean()) / len(errors))

    change = study.after.astype(float) - study.before
    return {"error rate": of_all(study.wrong.astype(float)), "accuracy": study.before.mean() + of_all(change)}


def of_disagreements(study: Simulated, cases: int, rng: np.random.Generator) -> dict[str, float]:
    """Return what as many cases say that were drawn from those in which model and label disagree."""
    drawn = rng.permutation(np.flatnonzero(~study.before))[:cases]
    gained = study.after[drawn].mean() * (~study.before).mean()
    return {"error rate": study.wrong[drawn].mean(), "accuracy": study.before.mean() + gained}


def simulate(design: Design, times: int, seed: int) -> dict[str, Errors]:
    """Return the mean errors of the estimates of a design."""
    numbers = (design.patients, len(design.kind), design.rate, design.cases, design.share)
    rng = np.random.default_rng([seed, *(round(1000 * number) for number in numbers)])
    rows: dict[str, list[Errors]] = {"error rate": [], "accuracy": []}
    for _ in range(times):
        study = simulated(design, rng)
        of = queue(study, design, rng)
        ours, stratum = estimates(study, of), as_stratum(study, of)
        biased = of_disagreements(study, design.cases, rng)
        for name, true in (("error rate", study.wrong.mean()), ("accuracy", study.after.mean())):
            value, low, high = ours[name]
            others = (stratum[name] - true, biased[name] - true)
            rows[name].append(Errors(value - true, float(low <= true <= high), high - low, *others))
    return {name: Errors(*np.mean(values, axis=0).tolist()) for name, values in rows.items()}


def table(times: int, seed: int) -> str:
    """Return a line for each design."""
    of_each = ("bias", "coverage", "width", "bias, ranked as a stratum", "bias, disagreements only")
    columns = ("patients", "cases of a patient", "error rate", "cases reviewed", "random share")
    columns += (*(f"rate: {name}" for name in of_each), *(f"accuracy: {name}" for name in of_each))
    lines = [f"| {' | '.join(columns)} |", "| --- " * len(columns) + "|"]
    for numbers in itertools.product(PATIENTS, KINDS, RATES, CASES, SHARES):
        design = Design(*numbers)
        cells = [str(design.patients), design.kind, f"{design.rate:.0%}", str(design.cases), f"{design.share:.0%}"]
        for row in simulate(design, times, seed).values():
            cells += [f"{row.bias:+.3f}", f"{row.covered:.3f}", f"{row.width:.2f}"]
            cells += [f"{row.as_stratum:+.3f}", f"{row.disagreements:+.3f}"]
        lines.append(f"| {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the table; `--write` puts it into docs/benchmarks.md."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--times", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    started = time.perf_counter()
    lines = table(arguments.times, arguments.seed)
    print(f"{time.perf_counter() - started:.0f} s")
    if arguments.write:
        before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
        after = rest.split(END)[1]
        PAGE.write_text(f"{before}{BEGIN}\n\n{lines}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
