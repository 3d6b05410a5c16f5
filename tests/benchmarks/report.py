"""Measures the report: how long it takes to write, how large it is, how a page with 10,000 errors behaves in a browser.

`make bench` runs it; the browser's numbers are by its own clock.
"""

import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))

import browser
import registries

from toolkit.stages.evaluate import evaluate
from toolkit.stages.report import report
from toolkit.workspace.registry import Workspace

registries.CLASSES = ("nevus", "malignant_melanoma", "keratosis", "lentigo", "ephelis", "melasma", "carcinoma", "adm")
PHOTOGRAPHS = 64
"""Cases share them, and each is opened for every case."""
FILTER = """async (change) => {
  const began = performance.now();
  address.choose(change);
  document.getElementById("cards").getBoundingClientRect();
  return performance.now() - began;
}"""
ENLARGE = """async () => {
  const began = performance.now();
  document.querySelector("#cards button.enlarge").click();
  await document.querySelector("#enlarged img").decode();
  document.getElementById("enlarged").getBoundingClientRect();
  return performance.now() - began;
}"""
PAINT = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN"


def photographs(folder: Path, number: int) -> Path:
    """Return one of the synthetic photographs of 600 by 450 pixels."""
    path = folder / f"{number % PHOTOGRAPHS}.jpg"
    if not path.is_file():
        rng = np.random.default_rng(number)
        skin = rng.normal(150, 25, (45, 60, 3)).clip(0, 255).astype(np.uint8)
        Image.fromarray(skin).resize((600, 450), Image.Resampling.BICUBIC).save(path, quality=90)
    return path


def registry(folder: Path, cases: int, *, wrong: float) -> Workspace:
    """Make a workspace whose run predicted some test cases, a share of them wrong."""
    rng, names = np.random.default_rng(1), registries.CLASSES
    rows = [("validation", name, name, f"v-{name}", 0.7) for name in names]
    for number in range(cases):
        truth = names[rng.integers(len(names))]
        others = [name for name in names if name != truth]
        predicted = others[rng.integers(len(others))] if rng.random() < wrong else truth
        rows.append(("test", truth, predicted, f"p-{number // 2}", float(rng.uniform(0.2, 1))))
    study = registries.a_study()
    made = registries.a_registry(folder, study, rows, photographs)
    evaluate(made, study)
    return made


def written(cases: int, *, wrong: float) -> Path:
    """Write a report and print how long it took; return its page."""
    folder = Path(tempfile.mkdtemp())
    made = registry(folder, cases, wrong=wrong)
    began = (time.monotonic(), time.process_time())
    result = report(made, registries.a_study())
    wall, busy = time.monotonic() - began[0], time.process_time() - began[1]
    size = Path(result.page).stat().st_size / 1e6
    folder = sum(path.stat().st_size for path in Path(result.page).parent.rglob("*") if path.is_file()) / 1e6
    print(
        f"report of {cases} test cases, {result.errors} of them wrong: {wall:.1f} s ({busy:.1f} s of processor); "
        f"page {size:.1f} MB, folder {folder:.0f} MB"
    )
    return Path(result.page)


def browsed(page_file: Path) -> None:
    """Print first paint and the time a filter takes, in headless Chromium, by its own clock."""
    with sync_playwright() as driver:
        chromium = browser.launched(driver)
        page = chromium.new_context(offline=True, viewport={"width": 1120, "height": 900}).new_page()
        page.goto(page_file.as_uri())
        page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length > 0")
        size = page_file.stat().st_size / 1e6
        print(f"page of {size:.1f} MB: first paint after {page.evaluate(PAINT):.0f} ms")
        for change in ({"truth": "nevus"}, {"predicted": "melasma"}, {"text": "keratosis"}, {"truth": "", "text": ""}):
            filters = ", ".join(f"{key} {value or 'any'}" for key, value in change.items())
            print(f"filter {filters}: {page.evaluate(FILTER, change):.0f} ms")
        print(f"enlarging a card: {page.evaluate(ENLARGE):.0f} ms")
        chromium.close()


def main() -> None:
    """Measure reports of 243 and 10,000 test cases, and a page of 10,000 errors."""
    for cases, wrong in ((243, 0.14), (10_000, 0.15), (10_000, 1.0)):
        page_file = written(cases, wrong=wrong)
        if wrong == 1:
            browsed(page_file)
        shutil.rmtree(page_file.parents[2].parent)


if __name__ == "__main__":
    main()
