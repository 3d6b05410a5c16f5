"""How many pairs of photographs of one lesion are found among those of a patient, and how many that are none.

`make bench` runs it on synthetic exposures of lesions: the threshold was chosen on seeds 1 to 5. With --photographs and
--metadata it counts on real ones: a CSV file with img_id, patient_id and lesion_id (../shared holds one).
"""

import argparse
import csv
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest

from toolkit.photographs.exposures import SETTINGS, agreement, features_of
from toolkit.photographs.keypoints import Keypoints
from toolkit.synthetic.exposures import exposure
from toolkit.synthetic.plan import Block, PlannedPhotograph, plan

LESIONS = 3
"""Of a patient, at most."""


class Shot(NamedTuple):
    """A photograph: whose, of which lesion, of which class, and its local features."""

    name: str
    patient: str
    lesion: str
    class_name: str
    features: Keypoints


class Pair(NamedTuple):
    """Two photographs, whether they show one lesion of one patient, and how many features agree."""

    one: Shot
    other: Shot
    features: int

    @property
    def is_same(self) -> bool:
        return (self.one.patient, self.one.lesion) == (self.other.patient, self.other.lesion)


def patients(seed: int, number: int) -> list[list[PlannedPhotograph]]:
    """Return a photograph of each lesion of the first patients of a sample who have several."""
    lesions: dict[int, dict[int, PlannedPhotograph]] = defaultdict(dict)
    for photograph in plan(seed, Block(0, 980, 1), first=0):
        lesions[photograph.person.number].setdefault(photograph.lesions[0].number, photograph)
    return [list(own.values())[:LESIONS] for _, own in sorted(lesions.items()) if len(own) > 1][:number]


def synthetic(seed: int, number: int, folder: Path) -> Iterator[Shot]:
    """Yield two exposures of each lesion; files that are there already are taken."""
    (folder / f"e{seed}").mkdir(parents=True, exist_ok=True)
    for own in patients(seed, number):
        for photograph in own:
            patient, lesion, name = (
                f"{seed}/{photograph.person.number}",
                photograph.lesions[0].number,
                photograph.class_names[0],
            )
            for shot in (0, 1):
                file = folder / f"e{seed}" / f"{photograph.person.number}_{lesion}_{name}_{shot}.jpg"
                if not file.exists():
                    file.write_bytes(exposure(photograph, shot, seed=seed))
                yield Shot(file.stem, patient, str(lesion), name, features_of(file.read_bytes()))


def real(photographs: Path, metadata: Path) -> Iterator[Shot]:
    """Yield the photographs of patients with several."""
    rows = list(csv.DictReader(metadata.open(encoding="utf-8")))
    files = {path.stem: path for path in photographs.iterdir()}
    rows = [row for row in rows if Path(row["img_id"]).stem in files]
    of_patient = defaultdict(list)
    for row in sorted(rows, key=lambda row: row["img_id"]):
        of_patient[row["patient_id"]].append(row)
    for own in of_patient.values():
        for row in own if len(own) > 1 else []:
            name = Path(row["img_id"]).stem
            content = files[name].read_bytes()
            yield Shot(name, row["patient_id"], row["lesion_id"], row["diagnostic"], features_of(content))


def compared(shots: list[Shot], *, within: bool, most: int = 10**9) -> list[Pair]:
    """Compare photographs of one patient, or of two patients: no two of these are of one lesion."""
    pairs = [(a, b) for a, b in combinations(shots, 2) if (a.patient == b.patient) == within]
    chosen = np.random.default_rng(0).permutation(len(pairs))[:most]
    return [
        Pair(*pairs[number], agreement(*(shot.features for shot in pairs[number])).features)
        for number in sorted(chosen)
    ]


def share(found: int, number: int) -> str:
    """Return a proportion with its exact interval (Clopper and Pearson)."""
    if not number:
        return "0 of 0"
    low, high = binomtest(found, number).proportion_ci(0.95, "exact")
    return f"{found} of {number} ({found / number:.3f}, {low:.3f} to {high:.3f})"


def thresholds(within: list[Pair], across: list[Pair]) -> None:
    """Print what each threshold finds."""
    same, different = ([pair for pair in within if pair.is_same == which] for which in (True, False))
    print(
        "| features | one lesion, found | two lesions of a patient, taken for one "
        "| two patients, taken for one | precision |"
    )
    print("| --- | --- | --- | --- | --- |")
    for least in range(4, 17):
        right, wrong, beside = (sum(pair.features >= least for pair in own) for own in (same, different, across))
        row = (
            share(right, len(same)),
            share(wrong, len(different)),
            share(beside, len(across)),
            share(right, right + wrong),
        )
        print(f"| {least}{' (chosen)' if least == SETTINGS['least'] else ''} | {' | '.join(row)} |")
    highest = sorted([pair.features for pair in different + across], reverse=True)[:10]
    print("most features that agree on photographs of two lesions:", highest)


def by_class(within: list[Pair]) -> None:
    """Print what is found of each class."""
    print("| class | one lesion, found |\n| --- | --- |")
    for name in sorted({pair.one.class_name for pair in within if pair.is_same}):
        own = [pair.features >= SETTINGS["least"] for pair in within if pair.is_same and pair.one.class_name == name]
        print(f"| {name.replace('_', ' ')} | {share(sum(own), len(own))} |")


def main() -> None:
    """Measure what is asked for."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--seeds", type=int, nargs="*", default=[11])
    reader.add_argument("--patients", type=int, default=20)
    reader.add_argument("--across", type=int, default=5_000, help="pairs of two patients")
    reader.add_argument("--folder", type=Path, help="where exposures are kept")
    reader.add_argument("--photographs", type=Path)
    reader.add_argument("--metadata", type=Path)
    asked = reader.parse_args()
    began = time.process_time()
    if asked.photographs:
        shots = list(real(asked.photographs, asked.metadata))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            folder = asked.folder or Path(temporary)
            shots = [shot for seed in asked.seeds for shot in synthetic(seed, asked.patients, folder)]
    described = time.process_time()
    within = compared(shots, within=True)
    spent = time.process_time() - described
    print(
        f"{len(shots)} photographs, made and described in {described - began:.0f} s of CPU; "
        f"{len(within)} pairs compared in {spent:.1f} s"
    )
    thresholds(within, compared(shots, within=False, most=asked.across))
    by_class(within)
    if asked.photographs:
        for pair in sorted(within, key=lambda pair: -pair.features):
            print(pair.one.name, pair.other.name, "one lesion" if pair.is_same else "two lesions", pair.features)


if __name__ == "__main__":
    main()
