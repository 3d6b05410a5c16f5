"""Splits against what a user would take instead. `make bench` runs it.

Largest distance of a class from its target, in photographs, over 20 seeds: median and worst; CPU seconds for one split.
DataSAIL is measured where it is installed; it takes one class per patient, the commonest.
"""

import argparse
import csv
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from toolkit.stats.stratified_split import SplitTarget, count_groups, stratified_group_split

SEEDS = 20
FRACTIONS = ([0.6, 0.2, 0.2], [0.64, 0.16, 0.2], [0.7, 0.1, 0.2])
SHARED = Path(__file__).parents[3] / "shared" / "data"


class Cohort(NamedTuple):
    """Cases: the group each belongs to, and its class, as numbers."""

    name: str
    groups: np.ndarray
    classes: np.ndarray


def read(name: str, path: Path, group: str, label: str) -> Cohort:
    """Read a table of cases."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    numbered = (np.unique([row[field] for row in rows], return_inverse=True)[1] for field in (group, label))
    return Cohort(name, *numbered)


def hard(patients: int = 12_000) -> Cohort:
    """Draw patients who have three photographs or more, some over a hundred, mostly of their own class; 12 classes."""
    rng = np.random.default_rng(1)
    share = 1 / np.arange(1, 13) ** 1.5
    share /= share.sum()
    groups = np.repeat(np.arange(patients), np.minimum(2 + rng.zipf(2.0, patients), 120))
    own = rng.choice(12, patients, p=share)[groups]
    classes = np.where(rng.random(len(groups)) < 0.8, own, rng.choice(12, len(groups), p=share))
    return Cohort("hard, 12 000 patients", groups, classes)


def million() -> Cohort:
    """Draw a million cases of some 400 000 patients."""
    rng = np.random.default_rng(5)
    groups = np.repeat(np.arange(410_000), rng.geometric(0.4, 410_000))[:1_000_000]
    return Cohort("one million", groups, rng.choice(8, len(groups), p=[0.3, 0.2, 0.15, 0.1, 0.1, 0.08, 0.05, 0.02]))


def farthest(cohort: Cohort, part_of: np.ndarray, fractions: list[float]) -> float:
    """Return the largest distance of a class from its target over the parts."""
    counts = np.array([np.bincount(cohort.classes[part_of == part], minlength=12) for part in range(len(fractions))])
    return float(np.abs(counts - np.outer(fractions, counts.sum(axis=0))).max())


def bound(cohort: Cohort, fractions: list[float]) -> float:
    """Return the largest of the classes' bounds."""
    strata = stratified_group_split(
        count_groups(cohort.groups, {"class": cohort.classes}), SplitTarget(fractions), seed=0
    ).strata()
    return max(each.bound for each in strata if each.stratum == "class")


def toolkit(cohort: Cohort, fractions: list[float], seed: int) -> np.ndarray:
    """Split with the toolkit."""
    table = count_groups(cohort.groups, {"class": cohort.classes})
    return stratified_group_split(table, SplitTarget(fractions), seed=seed).part_of[table.group_of]


def stratified_group_k_fold(cohort: Cohort, fractions: list[float], seed: int) -> np.ndarray:
    """Take test as one of its folds, then validation as one of the folds of the rest."""
    part_of = np.zeros(len(cohort.groups), dtype=int)
    left = np.arange(len(part_of))
    for part, share in ((2, fractions[2]), (1, fractions[1] / (1 - fractions[2]))):
        taken = left[_folds(cohort, left, share, seed)]
        part_of[taken] = part
        left = np.setdiff1d(left, taken)
    return part_of


def _folds(cohort: Cohort, left: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Return the places of about this share of the cases left: one fold, the nearest there is."""
    from sklearn.model_selection import StratifiedGroupKFold

    cut = StratifiedGroupKFold(round(1 / share), shuffle=True, random_state=seed)
    return next(iter(cut.split(left, cohort.classes[left], cohort.groups[left])))[1]


def best_group_shuffle_split(cohort: Cohort, fractions: list[float], seed: int) -> np.ndarray:
    """Take the best of a hundred draws."""
    from sklearn.model_selection import GroupShuffleSplit

    draws = []
    for draw in range(100):
        part_of = np.zeros(len(cohort.groups), dtype=int)
        left = np.arange(len(part_of))
        for part, share in ((2, fractions[2]), (1, fractions[1] / (1 - fractions[2]))):
            cut = GroupShuffleSplit(1, test_size=share, random_state=seed * 1000 + draw)
            taken = left[next(iter(cut.split(left, groups=cohort.groups[left])))[1]]
            part_of[taken] = part
            left = np.setdiff1d(left, taken)
        draws.append(part_of)
    return min(draws, key=lambda part_of: farthest(cohort, part_of, fractions))


def data_sail(cohort: Cohort, fractions: list[float], _seed: int) -> np.ndarray:
    """Split patients as single entities of a weight, stratified by the commonest class of each."""
    from datasail.sail import datasail

    groups = np.unique(cohort.groups)
    size = np.bincount(cohort.groups)
    class_of = [np.bincount(cohort.classes[cohort.groups == group]).argmax() for group in groups]
    names = [f"g{group}" for group in groups]
    with tempfile.TemporaryDirectory() as folder:
        parts = datasail(
            techniques=["I1e"],
            splits=fractions,
            names=["0", "1", "2"],
            e_type="O",
            e_data=dict(zip(names, names, strict=True)),
            e_weights=dict(zip(names, size[groups].tolist(), strict=True)),
            e_strat=dict(zip(names, map(int, class_of), strict=True)),
            delta=0.05,
            epsilon=0.05,
            max_sec=60,
            verbose="E",
            output=folder,
        )[0]["I1e"][0]
    part_of_group = np.array([int(parts[name]) for name in names])
    return part_of_group[np.searchsorted(groups, cohort.groups)]


WAYS: dict[str, Callable[[Cohort, list[float], int], np.ndarray]] = {
    "toolkit": toolkit,
    "StratifiedGroupKFold": stratified_group_k_fold,
    "best of 100 GroupShuffleSplit": best_group_shuffle_split,
}


def row(cohort: Cohort, fractions: list[float], name: str, seeds: int) -> None:
    """Print what one way reaches on one cohort."""
    way = WAYS[name]
    distances, seconds = [], []
    for seed in range(seeds):
        began = time.process_time()
        part_of = way(cohort, fractions, seed)
        seconds.append(time.process_time() - began)
        distances.append(farthest(cohort, part_of, fractions))
    shares = "/".join(f"{share:.0%}".rstrip("%") for share in fractions)
    distance = f"{statistics.median(distances):.2f} | {max(distances):.2f}"
    print(
        f"| {cohort.name} | {shares} | {bound(cohort, fractions):.2f} | {name} | {distance} | {seeds} | "
        f"{statistics.median(seconds):.2f} |",
        flush=True,
    )


def main() -> None:
    """Measure every cohort, fraction and way in turn."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--seeds", type=int, default=SEEDS)
    seeds = reader.parse_args().seeds
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        import datasail  # noqa: F401
    except ImportError:
        print("DataSAIL is not installed", file=sys.stderr)
    else:
        WAYS["DataSAIL"] = data_sail
    print("| cohort | parts | bound | way | median | worst | seeds | CPU s |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    real = [
        ("PAD-UFES-20", SHARED / "pad_ufes_20" / "metadata.csv", "patient_id", "diagnostic"),
        ("HAM10000 by lesion", SHARED / "ham10000" / "HAM10000_metadata.csv", "lesion_id", "dx"),
    ]
    for cohort in [*(read(*each) for each in real if each[1].is_file()), hard()]:
        for fractions in FRACTIONS:
            for name in WAYS:
                slow = len(cohort.groups) > 50_000 and name != "toolkit"
                row(cohort, fractions, name, 1 if name == "DataSAIL" else min(seeds, 3) if slow else seeds)
    row(million(), FRACTIONS[0], "toolkit", min(seeds, 3))


if __name__ == "__main__":
    main()
