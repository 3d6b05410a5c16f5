"""Published examples and counts that were re-typed into tests/data; data/README.md names their sources."""

import csv
import functools
import tomllib
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data"


@functools.cache
def _examples() -> dict[str, Any]:
    return tomllib.loads((DATA / "published.toml").read_text(encoding="utf-8"))


def example(name: str) -> dict[str, Any]:
    """Return one: its `data`, what is `expected`, and `tolerance_abs`."""
    return _examples()[name]


def pad_patients() -> tuple[list[str], list[str]]:
    """Return patient and class of each of the 2,298 photographs of PAD-UFES-20, from how many of each a patient has."""
    patients, classes = [], []
    with (DATA / "pad_ufes_20_patients.csv").open(newline="", encoding="utf-8") as file:
        profiles = [profile for row in csv.DictReader(file) for profile in [row] * int(row.pop("patients"))]
    for number, profile in enumerate(profiles):
        of_patient = [name for name, count in profile.items() for _ in range(int(count))]
        patients += [f"P{number:04}"] * len(of_patient)
        classes += of_patient
    return patients, classes
