"""How often the intervals of `evaluate` and `compare` hold the true value, in simulated studies. `make coverage`.

A case is of its patient's own class with probability 0.7, else of any; the logits are the class's signal, plus noise of
which the share ICC belongs to the patient. The other run of a comparison shares 0.6 of the noise and has 1.3 times the
signal. The true value is that of a study of 120,000 patients. A line says, for each number of patients, the share of
intervals that hold it and their median width: of the studies in which the row is marked as resting on few patients
(then with a sign) where those are most, else of the others. `--write` puts the tables into docs/benchmarks.md.
"""

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from toolkit.manifest import Study, load_study
from toolkit.stages.compare import RunPair, differences
from toolkit.stages.evaluate.scoring import EvaluationKey, Scorer
from toolkit.stats.metrics import AVERAGED
from toolkit.workspace.class_arrays import ClassArrays

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- coverage: begin -->", "<!-- coverage: end -->"
PATIENTS = (25, 60, 150, 1000)
FEW = "†"
BETTER = 1.3
OVER_ALL = ("accuracy", "balanced_accuracy", "brier", "log_loss", "calibration_slope", "calibration_intercept")
OF_A_CLASS = (*AVERAGED, "brier", "calibration_slope", "calibration_intercept")
COMPARED = ("accuracy", "brier", "log_loss", *(f"macro_{name}" for name in AVERAGED))
COMPARED_OF_A_CLASS = ("recall", "precision", "roc_auc", "pr_auc")
Key = tuple[str, str]


class Design(NamedTuple):
    """A kind of study; `frequent` patients are of the second class, where there are two."""

    words: str
    classes: int
    sizes: str
    icc: float
    signal: float
    frequent: float = 0.0


DESIGNS = (
    Design("one case per patient, 2 classes, 30 % of the first, ROC AUC 0.97", 2, "one", 0.0, 1.9, 0.7),
    Design("one case per patient, 8 classes", 8, "one", 0.0, 2.6),
    Design("1 to 8 cases per patient, 2 classes, 30 % of the first, ICC 0.6", 2, "1-8", 0.6, 1.8, 0.7),
    Design("1 to 3 cases per patient, 8 classes, ICC 0.6", 8, "1-3", 0.6, 2.6),
    Design(
        "a quarter of the patients harder and with 4 to 8 cases, else 1; 3 classes, ICC 0.6", 3, "informative", 0.6, 2.2
    ),
)


class Drawn(NamedTuple):
    """The cases of a study, and how many times the signal each has."""

    truth: np.ndarray
    patient: np.ndarray
    strength: np.ndarray


def draw_cases(design: Design, patients: int, generator: np.random.Generator) -> Drawn:
    """Draw patients and their cases."""
    hard = generator.random(patients) < (0.25 if design.sizes == "informative" else 0)
    least, most = {"one": (1, 1), "1-3": (1, 3), "1-8": (1, 8), "informative": (1, 1)}[design.sizes]
    sizes = np.where(hard, generator.integers(4, 9, patients), generator.integers(least, most + 1, patients))
    patient = np.repeat(np.arange(patients), sizes)
    shares = (
        np.full(design.classes, 1 / design.classes) if not design.frequent else [1 - design.frequent, design.frequent]
    )
    own, other = (generator.choice(design.classes, size, p=shares) for size in (patients, len(patient)))
    truth = np.where(generator.random(len(patient)) < 0.7, own[patient], other)
    return Drawn(truth, patient, np.where(hard, 0.6, 1.0)[patient])


def draw(design: Design, patients: int, generator: np.random.Generator) -> RunPair:
    """Draw a study of two runs."""
    cases = draw_cases(design, patients, generator)

    def noise() -> np.ndarray:
        shared = generator.standard_normal((patients, design.classes))[cases.patient]
        own = generator.standard_normal((len(cases.truth), design.classes))
        return np.sqrt(design.icc) * shared + np.sqrt(1 - design.icc) * own

    def run(times: float) -> ClassArrays:
        logits = np.sqrt(0.6) * common + np.sqrt(0.4) * noise()
        logits += times * design.signal * cases.strength[:, None] * np.eye(design.classes)[cases.truth]
        probabilities = np.exp(logits)
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        return ClassArrays(cases.truth, probabilities.argmax(axis=1), probabilities, cases.patient)

    common = noise()
    return RunPair(run(1), run(BETTER))


def rows_of(study: Study, pair: RunPair) -> dict[Key, dict[str, Any]]:
    """Return the rows that `evaluate` gives of the first run and `compare` of both, of the first class and over all."""
    first = study.class_names[0]
    scores = Scorer(study, pair.first, EvaluationKey("run", "test", "truth")).rows()
    rows = {("one class", row["metric"]): row for row in scores if row["class_name"] == first}
    rows |= {("all classes", row["metric"]): row for row in scores if row["class_name"] is None}
    compared = differences(study, pair, cause="model")
    rows |= {("difference", row["metric"]): row for row in compared if row["class_name"] is None}
    return rows | {("difference, one class", row["metric"]): row for row in compared if row["class_name"] == first}


def shown() -> list[Key]:
    """Return what the tables have a row for."""
    averages = [f"{kind}_{name}" for kind in ("macro", "weighted", "micro") for name in AVERAGED]
    return [
        *(("one class", name) for name in OF_A_CLASS),
        *(("all classes", name) for name in (*OVER_ALL, *averages)),
        *(("difference", name) for name in COMPARED),
        *(("difference, one class", name) for name in COMPARED_OF_A_CLASS),
    ]


def study_of(design: Design) -> Study:
    """Return a study with the design's classes."""
    study = load_study(ROOT / "manifests" / "demo.toml")
    return study.model_copy(update={"classes": study.classes[: design.classes]})


def true_values(design: Design) -> dict[Key, float]:
    """Return what a very large study finds."""
    rows = rows_of(study_of(design), draw(design, 120_000, np.random.default_rng(0)))
    return {key: row["difference"] if key[0].startswith("difference") else row["value"] for key, row in rows.items()}


class Job(NamedTuple):
    """A design (by number) with so many patients, in so many studies."""

    number: int
    patients: int
    repetitions: int
    truth: dict[Key, float]


def cover(job: Job) -> dict[Key, str]:
    """Return a cell of each row."""
    design, study = DESIGNS[job.number], study_of(DESIGNS[job.number])
    generator = np.random.default_rng([job.number, job.patients])
    found: dict[Key, list[tuple[bool, bool, float]]] = {key: [] for key in shown()}
    for _ in range(job.repetitions):
        rows = rows_of(study, draw(design, job.patients, generator))
        for key, seen in found.items():
            row = rows[key]
            if not np.isnan(row["low"]):
                held = row["low"] - 1e-12 <= job.truth[key] <= row["high"] + 1e-12
                seen.append((row["too_few"], held, row["high"] - row["low"]))
    return {key: _cell(seen) for key, seen in found.items()}


def _cell(seen: list[tuple[bool, bool, float]]) -> str:
    if not seen:
        return "–"
    few = np.mean([marked for marked, _, _ in seen]) > 0.5
    same = [(held, width) for marked, held, width in seen if marked == few]
    held, width = np.mean([held for held, _ in same]), np.median([width for _, width in same])
    return f"{held:.3f} ({width:.2f}){FEW if few else ''}"


def tables(repetitions: dict[int, int], workers: int) -> list[str]:
    """Return a Markdown table of each design."""
    with ProcessPoolExecutor(workers) as pool:
        truths = list(pool.map(true_values, DESIGNS))
        jobs = [
            Job(n, patients, repetitions[patients], truth)
            for patients in PATIENTS[::-1]
            for n, truth in enumerate(truths)
        ]
        cells = {(job.number, job.patients): found for job, found in zip(jobs, pool.map(cover, jobs), strict=True)}
    lines = []
    for number, design in enumerate(DESIGNS):
        lines += ["", f"### Coverage: {design.words}", ""]
        lines += ["| value of | metric | " + " | ".join(f"{patients:,} patients" for patients in PATIENTS) + " |"]
        lines += ["| --- | --- |" + " --- |" * len(PATIENTS)]
        for key in shown():
            own = (cells[number, patients][key] for patients in PATIENTS)
            lines.append(f"| {key[0]} | {key[1]} | " + " | ".join(own) + " |")
    return lines


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=1000, help="studies; of 1,000 patients a quarter of them")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    began = time.perf_counter()
    repetitions = {patients: given.repetitions // (4 if patients >= 1000 else 1) for patients in PATIENTS}
    lines = tables(repetitions, given.workers)
    counts = f"Studies: {given.repetitions} each, {repetitions[1000]} of 1,000 patients."
    text = "\n".join([counts, *lines])
    print(text, f"\n{(time.perf_counter() - began) / 60:.0f} minutes")
    if given.write:
        page = PAGE.read_text(encoding="utf-8")
        before, rest = page.split(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
