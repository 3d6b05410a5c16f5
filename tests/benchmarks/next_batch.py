"""What the next batch teaches: uncertainty with patient spread beside uncertainty alone and random, on a sample study.

The labels of the sample's training patients are hidden but for some patients'; each round a strategy chooses a batch,
its labels are shown, and plain features are trained again. Macro recall is that on validation and test set together.
`--write` puts the table into docs/benchmarks.md.
"""

import argparse
import tempfile
import warnings
from pathlib import Path

import numpy as np
from learning_curve import PAGE, measured
from scipy.stats import entropy

from toolkit.manifest import Study
from toolkit.models import plain
from toolkit.stages.learning_curve import PlainCohort
from toolkit.stats.learning_curve import macro_recall, patient_order
from toolkit.stats.next_batch import next_batch

BEGIN, END = "<!-- next batch: begin -->", "<!-- next batch: end -->"
STRATEGIES = ("random", "uncertainty alone", "uncertainty, spread over patients")
START, BATCH, ROUNDS = 0.1, 25, 6


def chosen(
    strategy: str, left: list[int], whole: PlainCohort, shares: np.ndarray, known: set[str], seed: int
) -> list[int]:
    """Return the cases of a batch."""
    if strategy == "random":
        return np.random.default_rng(seed).permutation(left)[:BATCH].tolist()
    uncertainty = entropy(shares, axis=1)
    if strategy == "uncertainty alone":
        return [left[n] for n in np.argsort(-uncertainty, kind="stable")[:BATCH]]
    patients = [whole.names[n][0] for n in left]
    return [left[n] for n in next_batch(uncertainty, patients, size=BATCH, known=frozenset(known))]


def played(study: Study, whole: PlainCohort, evaluated: list[int], strategy: str, seed: int) -> list[float]:
    """Return macro recall after each round."""
    order = patient_order((whole.names[n] for n in whole.training), seed=seed)
    known = set(order[: round(START * len(order))])
    labelled = [n for n in whole.training if whole.names[n][0] in known]
    classes, values = len(study.class_names), []
    for turn in range(ROUNDS + 1):
        model = plain.fit(whole.features[labelled], whole.truth[labelled], seed=seed)
        predicted = model.probabilities(whole.features[evaluated], classes=classes).argmax(axis=1)
        values.append(float(macro_recall(whole.truth[evaluated], predicted, classes, np.ones((1, len(evaluated))))[0]))
        left = sorted(set(whole.training) - set(labelled))
        shares = model.probabilities(whole.features[left], classes=classes)
        seen = {whole.names[n][0] for n in labelled}
        batch = chosen(strategy, left, whole, shares, known=seen, seed=seed * 1000 + turn)
        labelled = sorted([*labelled, *batch])
    return values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=700)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    values: dict[str, list[list[float]]] = {strategy: [] for strategy in STRATEGIES}
    for seed in range(asked.seeds):
        with tempfile.TemporaryDirectory() as folder:
            study, whole, test = measured(asked.cases, 200 + seed, Path(folder) / "sample")
        for strategy, own in values.items():
            own.append(played(study, whole, [*whole.evaluated, *test], strategy, seed))
            print(seed, strategy, [round(value, 3) for value in own[-1]], flush=True)
    lines = ["| strategy | " + " | ".join(f"+{BATCH * n} cases" for n in range(ROUNDS + 1)) + " |"]
    lines.append("| --- " * (ROUNDS + 2) + "|")
    for strategy, own in values.items():
        cells = [f"{np.mean(step):.3f}" for step in zip(*own, strict=True)]
        lines.append(f"| {strategy} | {' | '.join(cells)} |")
    spread = np.array(values[STRATEGIES[2]]) - np.array(values["random"])
    lines += ["", "Spread minus random, by seed: after two rounds " + ", ".join(f"{x:+.3f}" for x in spread[:, 2])]
    lines[-1] += "; after the last " + ", ".join(f"{x:+.3f}" for x in spread[:, -1]) + "."
    lines[-1] += f" `--cases {asked.cases} --seeds {asked.seeds}`."
    print(table := "\n".join(lines))
    if asked.write:
        before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{table}\n{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
