"""Runs the demo and renews what the repository shows of it: the sample report, and the pictures of README and docs.

`make golden` does it; look at the pictures and read the report's diff before committing them.
"""

import io
import re
import shutil
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps
from playwright.sync_api import sync_playwright

from toolkit import cli
from toolkit.console.text import stdout
from toolkit.files import SUMS, digests_of, sums_text
from toolkit.photographs.opening import open_photograph, read_photograph
from toolkit.workspace.registry import Workspace
from toolkit.workspace.runs import find_run

PICTURES = Path(__file__).parent / "images"
REPORT = Path(__file__).parents[1] / "reports" / "sample"
SWITCHES = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
ACROSS, WIDTH, HEIGHT, HEADING = 6, 190, 150, 22


def main() -> None:
    """Run the demo in the folder named on the command line, and renew everything from it."""
    folder = Path(sys.argv[1])
    recorded = terminal(folder)
    workspace = Workspace(folder / "workspace")
    made = workspace.reports / find_run(workspace, "latest")
    shutil.rmtree(REPORT, ignore_errors=True)
    shutil.copytree(
        made, REPORT, ignore=shutil.ignore_patterns("photographs", SUMS)
    )  # six megabytes that no diff shows
    (REPORT / SUMS).write_text(sums_text(digests_of(REPORT)), encoding="utf-8")
    PICTURES.mkdir(exist_ok=True)
    (PICTURES / "terminal.svg").write_text(recorded, encoding="utf-8")
    page(made / "index.html").save(PICTURES / "report.webp", quality=85, method=6)
    contact_sheet(workspace).save(PICTURES / "contact_sheet.webp", quality=80, method=6)


def terminal(folder: Path) -> str:
    """Record what `make demo` says in a terminal; without the web fonts that rich would fetch."""
    sample = folder / "sample"
    stdout.record, stdout.width, stdout.file = True, 80, io.StringIO()
    call("sample", sample)
    where = ("--study", sample / "study.toml", "--workspace", folder / "workspace")
    call(*where, "run", sample / "export.ndjson", "--images", sample / "images")
    svg = stdout.export_svg(title="make demo", unique_id="terminal")
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)


def call(*arguments: object) -> None:
    """Run one command; it must succeed."""
    try:
        cli.main([str(argument) for argument in arguments])
    except SystemExit as left:
        if left.code:
            raise


def page(path: Path) -> Image.Image:
    """Photograph the page's first screen."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=SWITCHES)
        tab = browser.new_context(offline=True, viewport={"width": 1120, "height": 900}).new_page()
        tab.goto(path.resolve().as_uri())
        picture = Image.open(io.BytesIO(tab.screenshot()))
        browser.close()
    return picture.convert("RGB")


def contact_sheet(workspace: Workspace) -> Image.Image:
    """Lay out six photographs of each class, from the training part, under the class's name."""
    rows = workspace.rows(
        "select class_name, path from splits inner join cases using (case_id) inner join images using (image_id) "
        "where part = 'train' order by class_name, case_id"
    )
    classes = sorted({row["class_name"] for row in rows})
    sheet = Image.new("RGB", (ACROSS * WIDTH, len(classes) * (HEIGHT + HEADING)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for line, name in enumerate(classes):
        top = line * (HEIGHT + HEADING)
        pen.text((4, top + 2), name.replace("_", " "), fill="black", font=font)
        for column, row in enumerate([row for row in rows if row["class_name"] == name][:ACROSS]):
            photograph = open_photograph(read_photograph(Path(row["path"])))
            fitted = ImageOps.fit(photograph, (WIDTH - 4, HEIGHT - 4))
            sheet.paste(fitted, (column * WIDTH + 2, top + HEADING))
    return sheet


if __name__ == "__main__":
    main()
