"""What an audit of synthetic photographs costs, and how the search for duplicates grows with their number.

    python tests/benchmarks/audit.py --cases 2000 --pictures 10000 20000 40000
    python tests/benchmarks/audit.py --cases 2000 --beside ../another_checkout

`make bench` runs the first. With `--beside`, another checkout audits the same workspace in turn.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from toolkit.photographs.duplicates import LONGEST, SETTINGS, find

HERE = Path(__file__).parents[2]


def busy() -> float:
    """Return the processor seconds of this process and of those that it waited for."""
    used = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(each.ru_utime + each.ru_stime for each in used)


def on_sample(cases: int, checkouts: list[Path]) -> None:
    """Print seconds of `toolkit audit` by checkout, on copies of one workspace."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def toolkit(checkout: Path, *words: object) -> None:
            command = [sys.executable, "-m", "toolkit", "--quiet", *map(str, words)]
            environment = os.environ | {"PYTHONPATH": str(checkout)}
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder, env=environment)

        toolkit(checkouts[-1], "sample", folder / "sample", "--cases", cases, "--seed", 5)
        study = ["--study", folder / "sample/study.toml", "--workspace"]
        export, images = folder / "sample/export.ndjson", folder / "sample/images"
        toolkit(checkouts[-1], *study, folder / "parsed", "parse", export, "--images", images)
        print("| photographs | checkout | CPU s | s |\n| --- | --- | --- | --- |")
        for checkout in checkouts:
            shutil.copytree(folder / "parsed", folder / "workspace")
            began, clock = busy(), time.monotonic()
            toolkit(checkout, *study, folder / "workspace", "audit")
            line = f"| {len(list(images.iterdir()))} | {checkout.name} |"
            print(line, f"{busy() - began:.0f} | {time.monotonic() - clock:.0f} |", flush=True)
            shutil.rmtree(folder / "workspace")


def pictures(number: int) -> list[np.ndarray]:
    """Return pictures of their own, and a mirrored crop of every hundredth."""
    rng = np.random.default_rng(0)
    own = []
    for _ in range(number):
        soft = Image.fromarray(rng.integers(40, 215, (12, 16), dtype=np.uint8))
        own.append(soft.resize((LONGEST, LONGEST * 3 // 4), Image.Resampling.BICUBIC))
    size = LONGEST, LONGEST * 3 // 4
    copies = [ImageOps.mirror(picture.crop((6, 4, 122, 91))).resize(size) for picture in own[::100]]
    return [np.asarray(picture) for picture in [*own, *copies]]


def on_growth(numbers: list[int]) -> None:
    """Print the cost of the search by the number of photographs, and how many planted crops it finds."""
    print("| photographs | way | CPU ms a photograph | planted crops found |\n| --- | --- | --- | --- |")
    for number in numbers:
        shown = pictures(number)
        began = busy()
        found = {(pair.first, pair.other) for pair in find(shown)}
        spent = 1_000 * (busy() - began) / len(shown)
        planted = {(100 * copy, number + copy) for copy in range(len(shown) - number)}
        way = "all pairs" if len(shown) <= SETTINGS["most_compared"] else "index"
        print(f"| {len(shown)} | {way} | {spent:.1f} | {len(planted & found)} of {len(planted)} |", flush=True)


def main() -> None:
    """Measure what is asked for."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--cases", type=int, nargs="*", default=[2_000])
    reader.add_argument("--pictures", type=int, nargs="*", default=[5_000, 10_000, 20_000])
    reader.add_argument("--beside", type=Path)
    asked = reader.parse_args()
    for cases in asked.cases:
        on_sample(cases, [path.resolve() for path in (asked.beside, HERE) if path])
    on_growth(asked.pictures)


if __name__ == "__main__":
    main()
