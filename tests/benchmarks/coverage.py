"""How often the intervals of `evaluate` hold the true value, in simulated studies. `make coverage` runs it.

A study: patients of 1 to 3 or 1 to 8 cases; a case is of its patient's own class with probability 0.7, else of any;
the logits are the class's signal, plus noise of which the share ICC belongs to the patient. The true value is that of a
study of 60,000 patients. A line says for how many patients in all, and with cases of the first class on average.
"""

import argparse
import time
from typing import NamedTuple

import numpy as np

from toolkit.stages.evaluate import estimates
from toolkit.stats import metrics
from toolkit.stats.intervals import Interval, bca, patient_bootstrap, patient_jackknife, percentile
from toolkit.workspace.class_arrays import ClassArrays

CONFIDENCE = 0.95


class Design(NamedTuple):
    """A kind of study."""

    classes: int
    most_cases: int
    icc: float
    signal: float


def draw(design: Design, patients: int, generator: np.random.Generator) -> ClassArrays:
    """Draw a study."""
    patient = np.repeat(np.arange(patients), generator.integers(1, design.most_cases + 1, patients))
    own = generator.integers(0, design.classes, patients)
    any_class = generator.integers(0, design.classes, len(patient))
    truth = np.where(generator.random(len(patient)) < 0.7, own[patient], any_class)
    shared = generator.standard_normal((patients, design.classes))[patient]
    noise = np.sqrt(design.icc) * shared
    noise += np.sqrt(1 - design.icc) * generator.standard_normal((len(patient), design.classes))
    logits = noise + design.signal * np.eye(design.classes)[truth]
    probabilities = np.exp(logits)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return ClassArrays(truth, probabilities.argmax(axis=1), probabilities, patient)


def true_values(design: Design) -> dict[str, float]:
    """Return what a very large study finds."""
    data = draw(design, 60_000, np.random.default_rng(0))
    decided = metrics.WeightedMetrics(data.truth, data.probabilities)
    values = decided.per_class()
    macro = {f"macro {name}": float(value.mean()) for name, value in values.items()}
    return macro | {f"one {name}": float(value[0, 0]) for name, value in values.items()}


def defaults(data: ClassArrays) -> dict[str, Interval]:
    """Return the intervals that `evaluate` gives."""
    of_classes = estimates.per_class(data, confidence=CONFIDENCE).estimates
    macro = {f"macro {name}": estimates.macro(estimate)[1] for name, estimate in of_classes.items()}
    return macro | {f"one {name}": estimate.interval_of(0) for name, estimate in of_classes.items()}


def bootstrapped(data: ClassArrays, *, replicates: int, seed: int) -> dict[str, dict[str, Interval]]:
    """Return percentile and BCa intervals."""
    decided = metrics.WeightedMetrics(data.truth, data.probabilities)

    def statistics(weights: np.ndarray) -> dict[str, np.ndarray]:
        values = decided.per_class(weights)
        macro = {f"macro {name}": value for name, value in metrics.macro(values).items()}
        return macro | {f"one {name}": value[:, 0] for name, value in values.items()}

    value = statistics(np.ones((1, len(data.truth))))
    drawn = patient_bootstrap(statistics, data.patient, replicates=replicates, seed=seed)
    left = patient_jackknife(statistics, data.patient)
    return {
        "percentile": {name: percentile(r, confidence=CONFIDENCE) for name, r in drawn.items()},
        "BCa": {name: bca(r, float(value[name][0]), left[name], confidence=CONFIDENCE) for name, r in drawn.items()},
    }


def cover(design: Design, patients: int, *, repetitions: int, replicates: int) -> dict[tuple[str, str], float]:
    """Return how often each interval holds the true value, of the studies in which there is one."""
    truth, counted = true_values(design), {}
    generator = np.random.default_rng([patients, design.classes, design.most_cases, int(100 * design.icc)])
    for repetition in range(repetitions):
        data = draw(design, patients, generator)
        counted.setdefault(("", "patients of a class"), []).append(len(np.unique(data.patient[data.truth == 0])))
        ways = {"default": defaults(data)}
        if replicates and repetition < repetitions // 4:
            ways |= bootstrapped(data, replicates=replicates, seed=repetition)
        for way, intervals in ways.items():
            for name, (low, high) in intervals.items():
                if not np.isnan(low):
                    covered = counted.setdefault((way, name), [])
                    covered.append(low - 1e-12 <= truth[name] <= high + 1e-12)
    return {key: float(np.mean(each)) for key, each in counted.items()}


def main() -> None:
    """Print a line per design and number of patients."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--replicates", type=int, default=400)
    parser.add_argument("--classes", type=int, nargs="*", default=[2, 8])
    parser.add_argument("--patients", type=int, nargs="*", default=[10, 20, 40, 150])
    given = parser.parse_args()
    shown = [f"{scope} {name}" for scope in ("one", "macro") for name in metrics.AVERAGED]
    print("classes cases icc patients of_a_class way", *(name.replace(" ", "_") for name in shown), "seconds")
    for classes in given.classes:
        for most_cases in (3, 8):
            for icc in (0.3, 0.6):
                design = Design(classes, most_cases, icc, signal=2.6 if classes == 8 else 1.8)
                for patients in given.patients:
                    began = time.process_time()
                    found = cover(design, patients, repetitions=given.repetitions, replicates=given.replicates)
                    seconds = round(time.process_time() - began)
                    for way in [way for way in ("default", "percentile", "BCa") if (way, shown[0]) in found]:
                        cells = [f"{found.get((way, name), float('nan')):.3f}" for name in shown]
                        own = round(found["", "patients of a class"])
                        print(classes, f"1-{most_cases}", icc, patients, own, way, *cells, seconds, flush=True)


if __name__ == "__main__":
    main()
