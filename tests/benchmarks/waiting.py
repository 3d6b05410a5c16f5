"""How long scoring waits for photographs of 12 megapixels: JPEG decoded while the model works. `make bench` runs it.

Wall time with a model of 223 M parameters; the same with every photograph decoded when its turn comes. And CPU time of
loading photographs of which features are kept: read and compared with what was parsed, not decoded.
"""

import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import models
import numpy as np
import torch
from PIL import Image

from toolkit.files import sha256_of_file
from toolkit.models.scoring import build_trie, log_likelihoods
from toolkit.photographs.crops import Crops, CropSource, batches
from toolkit.photographs.undecoded import UndecodedCrops

FILES, TIMES, BATCH, SIZE = 8, 6, 4, 224
MEGAPIXELS_12 = (4000, 3000)


def draw(folder: Path) -> list[CropSource]:
    """Write photographs: smooth colours with the grain of a sensor, 4 MB each."""
    generator = np.random.default_rng(1)
    sources = []
    for number in range(FILES):
        coarse = Image.fromarray(generator.integers(60, 200, (30, 40, 3), dtype=np.uint8))
        grain = generator.normal(0, 6, (*MEGAPIXELS_12[::-1], 1))
        pixels = np.asarray(coarse.resize(MEGAPIXELS_12, Image.Resampling.BICUBIC)) + grain
        path = folder / f"{number}.jpg"
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=92)
        sources.append(CropSource(str(number), path, None, sha256_of_file(path)))
    return sources


def one_after_another(crops: Crops) -> Iterator[np.ndarray]:
    """Decode each photograph when its turn comes."""
    for start in range(0, len(crops), BATCH):
        yield np.stack([crops[number] for number in range(start, start + BATCH)])


def cpu_seconds(sources: list[CropSource], *, is_kept: bool) -> float:
    """Return the CPU time in which a photograph is loaded: the lowest of three."""
    costs = []
    for _ in range(3):
        began = time.process_time()
        for batch in UndecodedCrops(Crops(sources, margin=0, size=SIZE)).batches(BATCH, lambda _: is_kept, 1):
            assert all(len(crop.name) == 64 for crop in batch)
        costs.append(time.process_time() - began)
    return min(costs) / len(sources)


@torch.inference_mode()
def main() -> None:
    """Print the share of the wall time that scoring waits, for both ways."""
    torch.set_num_threads(1)
    model, inputs, trie = models.build(), models.inputs(BATCH), build_trie(models.answers(), start=0)
    log_likelihoods(model, inputs, trie)

    def waited(decoded: Iterable[np.ndarray]) -> float:
        spent, began = 0.0, time.monotonic()
        source = iter(decoded)
        while True:
            asked = time.monotonic()
            photographs = next(source, None)
            spent += time.monotonic() - asked
            if photographs is None:
                return spent / (time.monotonic() - began)
            pixels = torch.from_numpy(photographs).permute(0, 3, 1, 2).float() / 128 - 1
            log_likelihoods(model, {**inputs, "pixel_values": pixels}, trie)

    with tempfile.TemporaryDirectory() as folder:
        sources = draw(Path(folder))
        many = sources * TIMES  # decoded anew each time
        plain = waited(one_after_another(Crops(sources, margin=0, size=SIZE)))
        ahead = waited(batches(Crops(many, margin=0, size=SIZE), BATCH))
        first = waited(batches(Crops(sources[:BATCH], margin=0, size=SIZE), BATCH))
        anew, kept = (cpu_seconds(sources, is_kept=is_kept) for is_kept in (False, True))
    print(f"waiting for {len(many)} photographs: {plain:.1%} of the wall time, decoded ahead {ahead:.1%}")
    print(f"(of the first batch alone, for which nothing can be decoded ahead, {first:.1%})")
    print(f"loading a photograph: {anew * 1000:.0f} CPU ms, {kept * 1000:.1f} where its features are kept")
    models.check_ratios(
        [
            models.Ratio("5 % / share of waiting", 0.05 / ahead, at_least=1),
            models.Ratio("loading anew / with kept features", anew / kept, at_least=10),
        ]
    )


if __name__ == "__main__":
    main()
