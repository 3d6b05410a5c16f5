"""How many changed copies of photographs are found, how many pairs are found that are none, and at what cost.

`make bench` runs it: on edits of real photographs (a folder; ../shared holds one), on the copies that a sample plants,
and on 100,000 hashes, held against brute force.
"""

import argparse
import csv
import io
import math
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from toolkit.photographs import hashes
from toolkit.photographs.duplicates import LONGEST, find
from toolkit.photographs.opening import open_photograph
from toolkit.photographs.surrounds import comparable_thumbnail
from toolkit.workspace.registry import Workspace

REAL = Path(__file__).parents[3] / "shared" / "data" / "pad_ufes_20" / "images"
Edit = Callable[[Image.Image, np.random.Generator], Image.Image]


def cut(share: float) -> Edit:
    """Keep a part with this share less of width and of height, anywhere on the photograph."""

    def change(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
        width, height = (round(side * (1 - share)) for side in picture.size)
        left, top = (int(rng.integers(room + 1)) for room in (picture.width - width, picture.height - height))
        return picture.crop((left, top, left + width, top + height))

    return change


def rotated(degrees: float) -> Edit:
    """Turn within the frame; the corners are filled with the colour of the upper edge."""

    def change(picture: Image.Image, _: np.random.Generator) -> Image.Image:
        fill = tuple(int(value) for value in np.asarray(picture)[0].mean(axis=0))
        return picture.rotate(degrees, Image.Resampling.BICUBIC, fillcolor=fill)

    return change


def straightened(degrees: float) -> Edit:
    """Turn, and cut the empty corners away."""

    def change(picture: Image.Image, _: np.random.Generator) -> Image.Image:
        angle = math.radians(abs(degrees))
        kept = 1 / (math.cos(angle) + math.sin(angle))
        turned = picture.rotate(degrees, Image.Resampling.BICUBIC)
        width, height = (round(side * kept) for side in turned.size)
        left, top = (turned.width - width) // 2, (turned.height - height) // 2
        return turned.crop((left, top, left + width, top + height))

    return change


def resized(share: float) -> Edit:
    """Make every side this share as long."""
    return lambda picture, _: picture.resize([round(side * share) for side in picture.size], Image.Resampling.LANCZOS)


def chained(*edits: Edit) -> Edit:
    """Do one after the other."""

    def change(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
        for edit in edits:
            picture = edit(picture, rng)
        return picture

    return change


def brighter(factor: float) -> Edit:
    return lambda picture, _: ImageEnhance.Brightness(picture).enhance(factor)


def flatter(factor: float) -> Edit:
    return lambda picture, _: ImageEnhance.Contrast(picture).enhance(factor)


def mirrored(picture: Image.Image, _: np.random.Generator) -> Image.Image:
    return ImageOps.mirror(picture)


def turned(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    return picture.transpose(Image.Transpose(2 + int(rng.integers(3))))


def nothing(picture: Image.Image, _: np.random.Generator) -> Image.Image:
    return picture


EDITS: dict[str, tuple[Edit, int]] = {
    "saved again at JPEG quality 50": (nothing, 50),
    "half the size": (resized(0.5), 85),
    "a quarter of the size, quality 50": (resized(0.25), 50),
    "brightness × 1.3": (brighter(1.3), 85),
    "contrast × 0.7": (flatter(0.7), 85),
    "mirrored": (mirrored, 85),
    "a quarter, half or three-quarter turn": (turned, 85),
    "5 % of width and height cut off": (cut(0.05), 85),
    "10 % cut off": (cut(0.10), 85),
    "20 % cut off": (cut(0.20), 85),
    "rotated by 2°, corners filled": (rotated(2), 85),
    "rotated by 5°, corners filled": (rotated(-5), 85),
    "rotated by 10°, corners filled": (rotated(10), 85),
    "rotated by 5°, corners cut off": (straightened(5), 85),
    "10 % cut off, mirrored, brighter, half the size, quality 60": (
        chained(cut(0.1), mirrored, brighter(1.2), resized(0.5)),
        60,
    ),
    "10 % cut off, rotated by 5°, quarter turn, quality 60": (chained(cut(0.1), rotated(5), turned), 60),
    "upside down, rotated by 5°, cut, flatter, a third of the size, quality 50": (
        chained(lambda picture, _: ImageOps.flip(picture), straightened(-5), flatter(0.8), resized(1 / 3)),
        50,
    ),
}
"""What is done to a photograph, and the JPEG quality it is saved with."""


def thumbnails_of_copies(photographs: list[bytes], edit: Edit, quality: int) -> list[np.ndarray]:
    """Return changed copies as the search sees them."""
    rng, thumbnails = np.random.default_rng(0), []
    for content in photographs:
        file = io.BytesIO()
        edit(open_photograph(content), rng).save(file, "JPEG", quality=quality)
        thumbnails.append(comparable_thumbnail(file.getvalue(), longest=LONGEST))
    return thumbnails


def on_real(folder: Path, most: int) -> None:
    """Print recall per edit, and the pairs among the photographs themselves."""
    photographs = [path.read_bytes() for path in sorted(folder.iterdir())[:most]]
    began = time.process_time()
    originals = [comparable_thumbnail(content, longest=LONGEST) for content in photographs]
    opened = time.process_time() - began
    own = {(pair.first, pair.other): pair for pair in find(originals)}
    spent = time.process_time() - began - opened
    print(f"{len(photographs)} photographs: opened in {opened:.1f} s of CPU, compared in {spent:.1f} s")
    print("among themselves:", [(*pair, own[pair].score, own[pair].change) for pair in own])
    number = len(originals)
    print("| edit | found | lowest score found | other pairs |\n| --- | --- | --- | --- |")
    for name, (edit, quality) in EDITS.items():
        pairs = find(originals + thumbnails_of_copies(photographs, edit, quality))
        right = [pair for pair in pairs if pair.other == pair.first + number]
        known = [pair for pair in pairs if tuple(sorted((pair.first % number, pair.other % number))) in own]
        least = min(pair.score for pair in right)
        others = len(pairs) - len(right) - len(known)
        print(f"| {name} | {len(right)} of {number} ({len(right) / number:.3f}) | {least:.2f} | {others} |", flush=True)


def on_sample(cases: int, seed: int) -> None:
    """Print how many of a sample's planted copies an audit finds, by kind, and what else it takes for copies."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        toolkit = [sys.executable, "-m", "toolkit", "--quiet"]
        sample = ["sample", folder / "sample", "--cases", str(cases), "--seed", str(seed)]
        subprocess.run([*toolkit, *sample], check=True, stdout=subprocess.DEVNULL)
        here = [*toolkit, "--study", folder / "sample/study.toml", "--workspace", folder / "workspace"]
        parse = ["parse", folder / "sample/export.ndjson", "--images", folder / "sample/images"]
        for command in (parse, ["audit"]):
            subprocess.run([*here, *command], check=True, stdout=subprocess.DEVNULL)
        planted = list(csv.DictReader((folder / "sample/truth/planted.csv").open(encoding="utf-8")))
        rows = Workspace(folder / "workspace").rows(
            "select one.global_key as one, other.global_key as other, score from duplicates "
            "inner join images as one using (image_id) inner join images as other on other.image_id = other_image_id"
        )
    copies = {frozenset((r["global_key"], r["other_global_key"])): r["kind"] for r in planted if "dupl" in r["kind"]}
    found = {frozenset((row["one"], row["other"])): row["score"] for row in rows}
    kinds = Counter(kind.rsplit("_", 1)[0].removeprefix("duplicate_") for kind in copies.values())
    right = Counter(copies[pair].rsplit("_", 1)[0].removeprefix("duplicate_") for pair in found if pair in copies)
    print(f"sample of {cases} cases, seed {seed}: {len(set(found) - set(copies))} other pairs")
    print("| planted | found |\n| --- | --- |")
    for kind, times in sorted(kinds.items()):
        print(f"| {kind.replace('_', ' ')} | {right[kind]} of {times} |")


def on_hashes(number: int) -> None:
    """Print the cost of all pairs of hashes, and whether brute force gives the same."""
    rng = np.random.default_rng(0)
    library = rng.integers(0, 2**64, number, dtype=np.uint64)
    for near in range(number // 50):
        flips = sum(1 << int(bit) for bit in set(rng.integers(0, 64, int(rng.integers(10)))))
        library[near] = library[number - 1 - near] ^ np.uint64(flips)
    began = time.process_time()
    banded = hashes.close_hashes(library, library, distance=6)
    spent = time.process_time() - began
    began = time.process_time()
    near = (np.bitwise_count(library[start : start + 100, None] ^ library) <= 6 for start in range(0, number, 100))
    brute = np.concatenate([np.argwhere(rows) + np.array([100 * block, 0]) for block, rows in enumerate(near)])
    same = np.array_equal(banded, brute)
    took = time.process_time() - began
    print(f"{number} hashes: {len(banded)} pairs in {spent:.1f} s, brute force {took:.1f} s, the same: {same}")


def main() -> None:
    """Measure what is asked for."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--photographs", type=Path, default=REAL)
    reader.add_argument("--most", type=int, default=10_000)
    reader.add_argument("--cases", type=int, default=1_000)
    reader.add_argument("--seed", type=int, default=11)
    reader.add_argument("--hashes", type=int, default=100_000)
    asked = reader.parse_args()
    on_hashes(asked.hashes)
    on_sample(asked.cases, asked.seed)
    if asked.photographs.is_dir():
        on_real(asked.photographs, asked.most)


if __name__ == "__main__":
    main()
